"""Folded models in the rest of the package: the same numbers, or a refusal that says what to do."""

import copy
import json
import shutil
import warnings
from dataclasses import asdict

import datasets
import numpy as np
import pytest
import torch
from models import small_classifier
from trained import SHORT, TINY, keyword_data
from transformers import Trainer, TrainingArguments, pipeline
from typer.testing import CliRunner

from hf_attn import (
    HfAttnTokenizer,
    InputError,
    TrainingTraceCallback,
    compare_scaling,
    explain,
    fold,
    read_lexicon,
    trace_pipeline,
    trace_prediction,
    train,
)
from hf_attn.batching import TokenizedTexts, encode
from hf_attn.cli import app
from hf_attn.demo.served import ServedModel
from hf_attn.evaluation import evaluate_texts
from hf_attn.faithfulness import KeptWords, comprehensiveness, leave_one_out, sufficiency
from hf_attn.loading import load_classifier
from hf_attn.mean_feature import mean_token_feature
from hf_attn.trainer import HfAttnTrainer

TEXTS = [
    "oil prices rose and oil exports fell", "the bank cut rates", "", "wheat", "unseen words",
    "the bank of england raised interest rates by half a point after wheat prices rose",
]  # fmt: skip
PAIRS = [text[::-1] for text in TEXTS]
# More classes than the eight features make tables of features, fewer those of logits.
KINDS = [
    {"num_labels": 3},
    {"num_labels": 12, "classifier_pooling": "static"},
    {"num_labels": 3, "ngram_buckets": 37, "classifier_pooling": "static"},
    {"num_labels": 12, "ngram_buckets": 37},
    {"num_labels": 3, "ngram_buckets": 37, "attention_window": 3},
    {"num_labels": 3, "problem_type": "multi_label_classification"},
    {"num_labels": 2, "problem_type": "regression"},
]


@pytest.fixture(scope="module")
def tokenizer():
    return HfAttnTokenizer.train_from_iterator(TEXTS[:4] + TEXTS[5:])


@pytest.fixture(params=KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
def both(request, tokenizer):
    """A classifier, and the same folded."""
    plain = small_classifier(dtype=torch.float32, vocab_size=len(tokenizer), **request.param)
    return plain, fold(plain)


@pytest.fixture(scope="module")
def folded(folded_folder):
    return load_classifier(str(folded_folder))


def assert_same(found, expected, names):
    for name in names:
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=0, atol=1e-5, err_msg=name
        )


# What works


@pytest.mark.parametrize("pairs", [None, PAIRS], ids=["single", "pairs"])
def test_explanations_are_the_same(both, tokenizer, pairs):
    expected, found = (explain(TEXTS, model, tokenizer, pairs=pairs, attentions=True)
                       for model in both)  # fmt: skip
    for one, other in zip(found, expected, strict=True):
        names = ("logits", "probabilities", "bias", "direct", "context", "contributions",
                 "deletion_effects", "pool_weights", "attention_received")  # fmt: skip
        assert_same(one, other, names)
        assert_same(one.weights, other.weights, vars(one.weights))
        assert one.spans.tolist() == other.spans.tolist()
        assert (one.known == other.known).all()


@pytest.mark.parametrize("options", [{}, {"top_k": 2}, {"deletion_effects": False}])
def test_explanation_pipeline_gives_the_same(both, tokenizer, options):
    expected, found = (
        pipeline("explained-text-classification", model=model, tokenizer=tokenizer, device="cpu")(
            TEXTS, batch_size=4, **options
        )
        for model in both
    )
    assert_same_answer(found, expected)


def assert_same_answer(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, part in expected.items():
            assert_same_answer(found[name], part)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same_answer(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1e-5, rel=0)
    else:
        assert found == expected


def test_lexicon_is_the_same(both, tokenizer):
    expected, found = (read_lexicon(model, tokenizer) for model in both)
    assert found.words == expected.words
    assert_same(found, expected, ("direct", "context", "bias"))


def test_evaluation_is_the_same(trained_folder, folded):
    plain, tokenizer = load_classifier(str(trained_folder))
    rows = keyword_data()["test"]
    names = plain.config.class_names
    labels = datasets.ClassLabel(names=names)
    rows = rows.cast_column("label", labels).rename_column("label", "labels")
    texts = TokenizedTexts.from_texts(rows["text"][:], tokenizer)
    texts = TokenizedTexts(texts.token_ids, texts.lengths, np.array(rows["labels"][:]), 0)
    expected, found = (asdict(evaluate_texts(model, texts)) for model in (plain, folded[0]))
    assert_same_answer(found, expected)


def test_command_evaluates_the_same(trained_folder, folded_folder, tmp_path):
    keyword_data()["test"].to_csv(tmp_path / "test.csv", index=False)
    printed = []
    for folder in (trained_folder, folded_folder):
        arguments = ["evaluate", str(folder), str(tmp_path / "test.csv"), "--json"]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        printed.append(json.loads(result.stdout))
    assert_same_answer(printed[1], printed[0])


@pytest.mark.parametrize("masked", [False, True])
def test_faithfulness_is_the_same(both, tokenizer, masked):
    text = TEXTS[-1]
    ids = np.array(encode([text], tokenizer)["input_ids"][0])
    words = np.arange(len(ids))
    attributions = np.sin(words)
    measured = []
    for model in both:
        kept = KeptWords(model, ids, words, target=1, masked=masked)
        score = kept.log_odds
        measured.append(
            [comprehensiveness(attributions, score), sufficiency(attributions, score),
             *leave_one_out(score, len(words))]
        )  # fmt: skip
    np.testing.assert_allclose(measured[0], measured[1], rtol=0, atol=1e-4)
    assert np.abs(measured[0]).max() > 1e-2


# What is refused


REFUSED = {
    "trace": lambda model, tokenizer: trace_pipeline("crude oil", model, tokenizer),
    "prediction": lambda model, tokenizer: trace_prediction("crude oil", model, tokenizer),
    "scaling": lambda model, tokenizer: compare_scaling("crude oil", model, tokenizer),
    "mean feature": lambda model, tokenizer: mean_token_feature(
        model, TokenizedTexts.from_texts(["oil"], tokenizer)
    ),
    "trainer": lambda model, tokenizer: HfAttnTrainer(
        args=TrainingArguments("unused"), model=model, processing_class=tokenizer
    ),
}


@pytest.mark.parametrize("tool", REFUSED)
def test_what_needs_embeddings_refuses_a_folded_model(tool, folded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError,
        match=r"^expected a model with embeddings and projections for .*, got one that is folded: "
        r"it has tables in their place\. Give the model that it was folded from\.$",
    ):
        REFUSED[tool](*folded)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [[], ["--prediction"], ["--compare"]])
def test_command_traces_no_folded_model_and_names_its_folder(folded_folder, options):
    result = CliRunner().invoke(app, ["trace", str(folded_folder), "crude oil", *options])
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(f"{folded_folder}: expected a model with embeddings")
    assert str(result.exception).endswith("Give the folder that it was folded from.")


def test_trace_of_the_training_is_that_of_the_model_before(trained_folder, folded_folder):
    printed = [
        CliRunner().invoke(app, ["trace", str(folder), "--training", "--json"]).stdout
        for folder in (trained_folder, folded_folder)
    ]
    assert printed[0] == printed[1] != ""


def test_page_refuses_a_folded_model(folded_folder):
    with pytest.raises(InputError, match=r"for the page, which shows them, got one that is folded"):
        ServedModel.load(str(folded_folder))


def test_training_from_a_folded_model_is_refused_before_anything_is_written(
    folded_folder, tmp_path, monkeypatch
):
    def refuse(*_, **__):
        raise AssertionError("the Hub was asked")

    monkeypatch.setattr("hf_attn.training.prepare_repository", refuse)
    for options in ({}, {"lora_rank": 2}, {"push_to_hub": True}):
        with pytest.raises(InputError, match="projections for training, got one that is folded"):
            train(keyword_data(), tmp_path / "m", **SHORT, model=str(folded_folder), **options)
    assert not list(tmp_path.iterdir())


def test_training_does_not_replace_a_folded_model(folded_folder, tmp_path):
    folder = shutil.copytree(folded_folder, tmp_path / "m")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError, match="a model of type 'hf_attn_folded', which would be lost"):
        train(keyword_data(), folder, **TINY, overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_trainer_of_transformers_evaluates_a_folded_model_and_trains_none(folded, tmp_path):
    model, tokenizer = folded
    rows = [{"input_ids": tokenizer(text)["input_ids"], "labels": label}
            for text, label in (("wheat", 0), ("crude", 1))]  # fmt: skip
    for callbacks, error in (([], ValueError), ([TrainingTraceCallback()], InputError)):
        arguments = TrainingArguments(tmp_path / "out", use_cpu=True, disable_tqdm=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = Trainer(
                model=copy.deepcopy(model), args=arguments, train_dataset=rows,
                eval_dataset=rows, callbacks=callbacks, processing_class=tokenizer,
            )  # fmt: skip
        assert trainer.evaluate()["eval_loss"] > 0
        with pytest.raises(error, match="folded"):
            trainer.train()
        assert not list((tmp_path / "out").iterdir())


def test_folded_model_cannot_be_put_into_training(folded):
    with pytest.raises(ValueError, match="A folded model cannot be trained"):
        folded[0].train()
    assert not folded[0].training
