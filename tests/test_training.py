"""Training: what it gives, that it repeats and resumes to the bit, and what stops it."""

import errno
import json
import math
from collections import Counter
from itertools import chain
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from trained import (
    SHORT,
    TINY,
    WORDS,
    assert_same_weights,
    keyword_data,
    keyword_texts,
    saved_weights,
    split_of,
)
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertTokenizer,
    TrainerCallback,
    pipeline,
)

from hf_attn import HfAttnConfig, HfAttnForSequenceClassification, InputError, train
from hf_attn.arguments import WORDS_ALONE, HfAttnTrainingArguments, ModelArguments
from hf_attn.batching import TokenizedTexts
from hf_attn.frequent_bigrams import frequent_bigrams
from hf_attn.mean_feature import mean_token_feature
from hf_attn.modeling_hf_attn import hash_bigrams
from hf_attn.problem_types import MULTI, REGRESSION, SINGLE
from hf_attn.training import _epochs_for


def test_train_learns_keywords_and_saves_what_auto_classes_load(tmp_path):
    options = {**TINY, "num_train_epochs": 12, "ngram_buckets": 0}
    run = train(keyword_data(), tmp_path / "m", **options)
    assert run.record["metrics"]["test"]["accuracy"] == 1.0
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "m")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "m")
    batch = tokenizer(["wheat harvest", "crude oil of opec"], padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits
        assert torch.equal(logits, run.model(**batch.to(run.model.device)).logits.cpu())
    assert [model.config.id2label[i] for i in logits.argmax(-1).tolist()] == ["farm", "oil"]


def test_train_record_says_what_was_trained_and_how_well(tmp_path):
    run = train(keyword_data(), tmp_path / "m", **TINY, seed=7)
    record = json.loads((tmp_path / "m" / "run.json").read_text())
    assert record == json.loads(json.dumps(run.record, default=str))
    assert record["data"]["texts"] == {"train": 120, "validation": 40, "test": 40}
    assert record["data"]["labels"] == ["farm", "oil"]
    assert record["seed"] == 7
    assert record["baseline"]["test"]["accuracy"] == 0.5
    assert len(record["epochs"]) == 3
    assert {"loss", "eval_loss", "eval_accuracy"} <= record["epochs"][0].keys()
    assert record["best_epoch"] in (1.0, 2.0, 3.0)
    assert record["sizes"]["parameters"] == sum(p.numel() for p in run.model.parameters())
    assert record["versions"]["torch"] == torch.__version__
    assert record["seconds"]["total"] >= record["seconds"]["train"] > 0


def test_train_twice_gives_the_same_bits(tmp_path):
    for name in ("a", "b"):
        train(keyword_data(), tmp_path / name, **TINY)
    assert_same_weights(tmp_path / "a", tmp_path / "b")
    tokenizers = [(tmp_path / name / "tokenizer.json").read_bytes() for name in ("a", "b")]
    assert tokenizers[0] == tokenizers[1]


def test_train_with_another_seed_gives_other_weights(tmp_path):
    for seed in (0, 1):
        train(keyword_data(), tmp_path / str(seed), **TINY, seed=seed)
    first, second = saved_weights(tmp_path / "0"), saved_weights(tmp_path / "1")
    assert any(not torch.equal(first[name], second[name]) for name in first)


class StopAt(TrainerCallback):
    """Breaks the run off as a lost machine would, at a step."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise ConnectionAbortedError(errno.ECONNABORTED, "the machine is gone")


# 120 texts in batches of 32 are 4 steps an epoch: broken off between two checkpoints, with one
# at the end of an epoch, and in the middle of one.
@pytest.mark.parametrize("saves", [{}, {"save_steps": 3, "eval_steps": 3}], ids=["epoch", "step"])
def test_resumed_run_equals_an_uninterrupted_one(tmp_path, saves):
    options = {**TINY, "token_dropout": 0.3, "attention_dropout": 0.1, "embedding_dropout": 0.1}
    if saves:
        options |= {**saves, "save_strategy": "steps", "eval_strategy": "steps"}
    train(keyword_data(), tmp_path / "whole", **options)
    with pytest.raises(ConnectionAbortedError, match="the machine is gone"):
        train(keyword_data(), tmp_path / "cut", **options, callbacks=[StopAt(7)])
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    train(keyword_data(), tmp_path / "cut", **options, resume_from_checkpoint="True")
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")


def test_resume_without_a_checkpoint_says_so(tmp_path):
    with pytest.raises(InputError, match="expected a checkpoint to resume from, found none"):
        train(keyword_data(), tmp_path / "m", **TINY, resume_from_checkpoint="True")
    with pytest.raises(InputError, match="expected a checkpoint to resume from, got a folder"):
        train(keyword_data(), tmp_path / "m", **TINY, resume_from_checkpoint=str(tmp_path))


def test_reference_is_the_mean_feature_of_the_training_tokens(tmp_path):
    data = keyword_data()
    run = train(data, tmp_path / "m", **TINY, ngram_buckets=16)
    features = []
    for text in data["train"]["text"]:
        batch = run.tokenizer(text, return_tensors="pt").to(run.model.device)
        outputs = run.model.model(**batch, output_hidden_states=True)
        features.append(outputs.hidden_states[0][0])
    expected = torch.cat(features).double().mean(0).float()
    torch.testing.assert_close(run.model.score.reference, expected)


def test_mean_token_feature_counts_each_occurrence(tmp_path):
    model = train(keyword_data(), tmp_path / "m", **TINY, ngram_buckets=0).model
    with torch.no_grad():
        model.model.embeddings.embed_tokens.weight[3:6] = torch.eye(8)[:3]
    texts = TokenizedTexts(np.array([3, 3, 3, 4, 5], np.int32), np.array([4, 0, 1]), None, 0)
    expected = torch.tensor([0.6, 0.2, 0.2, 0, 0, 0, 0, 0]) * math.sqrt(8)
    torch.testing.assert_close(mean_token_feature(model, texts).cpu(), expected)


def with_labels(make_label, feature=None):
    data = keyword_data().map(lambda row: {"y": make_label(row["text"])}, remove_columns="label")
    return data if feature is None else data.cast_column("y", feature)


def test_train_on_several_labels_sets_the_problem_type(tmp_path):
    def topics(text):
        return [name for name, words in WORDS.items() if set(words) & set(text.split())]

    options = {**TINY, "num_train_epochs": 16, "ngram_buckets": 0}
    run = train(with_labels(topics), tmp_path / "m", **options)
    assert run.model.config.problem_type == "multi_label_classification"
    assert run.record["metrics"]["test"].keys() == {"micro_f1", "macro_f1", "precision_at_1"}
    assert run.record["metrics"]["test"]["precision_at_1"] == 1.0
    assert run.model.config.classifier_pooling == "static"
    assert run.record["settings"]["model"]["classifier_pooling"] == "static"
    assert "classifier_pooling" not in run.record["settings"]["given"]


def test_train_on_numbers_is_a_regression(tmp_path):
    data = with_labels(lambda text: float("wheat" in text) - float("crude" in text))
    run = train(data, tmp_path / "m", **{**TINY, "num_train_epochs": 8})
    assert run.model.config.problem_type == "regression"
    assert run.model.config.num_labels == 1
    assert run.record["metrics"]["test"]["pearson"] > 0.5
    assert run.record["baseline"]["test"]["pearson"] == 0


def test_train_without_validation_keeps_the_last_epoch(tmp_path):
    data = datasets.DatasetDict(train=keyword_data()["train"])
    run = train(data, tmp_path / "m", **TINY, validation_size=0)
    assert run.record["metrics"] == {}
    assert len(run.record["epochs"]) == 3


def test_early_stopping_ends_a_run_without_progress_where_it_is_asked_for(tmp_path):
    options = {**TINY, "num_train_epochs": 30}
    whole = train(keyword_data(), tmp_path / "whole", **options)
    assert len(whole.record["epochs"]) == 30
    run = train(keyword_data(), tmp_path / "m", **options, early_stopping_patience=2)
    assert len(run.record["epochs"]) < 30
    best = max(epoch["eval_accuracy"] for epoch in run.record["epochs"])
    assert run.record["metrics"]["validation"]["accuracy"] == best


def test_fine_tuning_with_the_same_labels_starts_from_the_saved_weights(tmp_path):
    first = train(keyword_data(), tmp_path / "a", **TINY)
    data = keyword_data()
    second = train(data, tmp_path / "b", model=str(tmp_path / "a"), max_steps=1, learning_rate=0.0)
    assert second.tokenizer.get_vocab() == first.tokenizer.get_vocab()
    batch = first.tokenizer("wheat in april", return_tensors="pt")
    torch.testing.assert_close(
        second.model.cpu()(**batch).logits, first.model.cpu()(**batch).logits
    )


def test_fine_tuning_on_some_of_the_labels_keeps_the_models_order(tmp_path):
    train(keyword_data(), tmp_path / "a", **TINY)
    data = keyword_data().map(lambda row: {"label": row["label"].replace("farm", "grain")})
    train(data, tmp_path / "b", **TINY)
    run = train(keyword_data(), tmp_path / "c", **SHORT, model=str(tmp_path / "b"))
    assert run.model.config.class_names == ["farm", "oil"]
    back = train(data, tmp_path / "d", **SHORT, model=str(tmp_path / "b"))
    assert back.model.config.class_names == ["grain", "oil"]


def test_fine_tuning_with_new_labels_keeps_the_body_and_starts_a_head(tmp_path):
    first = train(keyword_data(), tmp_path / "a", **TINY)
    renamed = keyword_data().map(lambda row: {"label": {"oil": "x", "farm": "y"}[row["label"]]})
    run = train(renamed, tmp_path / "b", model=str(tmp_path / "a"), max_steps=1, learning_rate=0.0)
    for name, tensor in first.model.model.state_dict().items():
        assert torch.equal(tensor, run.model.model.state_dict()[name]), name
    assert not torch.equal(first.model.score.out_proj.weight, run.model.score.out_proj.weight)
    assert run.model.config.class_names == ["x", "y"]


def test_lora_trains_attention_and_head_and_saves_a_plain_model(tmp_path):
    pytest.importorskip("peft")
    first = train(keyword_data(), tmp_path / "a", **TINY)
    run = train(keyword_data(), tmp_path / "b", **SHORT, model=str(tmp_path / "a"), lora_rank=2)
    assert type(run.model) is HfAttnForSequenceClassification
    before, after = first.model.state_dict(), saved_weights(tmp_path / "b")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name].cpu(), after[name])}
    assert "model.attention.q_proj.weight" in changed
    assert "score.out_proj.weight" in changed
    assert "model.embeddings.embed_tokens.weight" not in changed


def test_word_vectors_become_the_first_embeddings(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    lines = [
        f"{word} " + " ".join(map(str, row))
        for word, row in zip(["crude", "wheat", "said", "unheard"], vectors, strict=True)
    ]
    (tmp_path / "some.vec").write_text("4 6\n" + "\n".join(lines) + "\n")
    run = train(
        keyword_data(), tmp_path / "m", **{**TINY, "learning_rate": 0.0},
        embeddings=str(tmp_path / "some.vec"), max_steps=1,
    )  # fmt: skip
    table = run.model.model.embeddings.embed_tokens.weight.detach().cpu().numpy()
    ids = run.tokenizer.convert_tokens_to_ids(["crude", "wheat", "said"])
    centered = vectors[:3] - vectors[:3].mean(0)
    np.testing.assert_allclose(
        table[ids][:, :6] / table[ids].std(), centered / np.pad(centered, ((0, 0), (0, 2))).std(),
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip
    assert (table[ids][:, 6:] == 0).all()
    assert (table[run.tokenizer.pad_token_id] == 0).all()


def test_token_vectors_of_a_model_become_the_first_embeddings(tmp_path):
    source = train(keyword_data(), tmp_path / "a", **TINY)
    run = train(
        keyword_data(), tmp_path / "b", **{**TINY, "learning_rate": 0.0, "hidden_size": 4},
        embeddings=str(tmp_path / "a"), max_steps=1,
    )  # fmt: skip
    ours, theirs = (
        r.model.model.embeddings.embed_tokens.weight.detach().cpu().double()[3:]
        for r in (run, source)
    )
    theirs = theirs - theirs.mean(0)
    # The four main components are kept: distances shrink to those of the best rank-4 picture.
    u, s, _ = torch.linalg.svd(theirs, full_matrices=False)
    expected = torch.cdist(u[:, :4] * s[:4], u[:, :4] * s[:4])
    actual = torch.cdist(ours, ours)
    torch.testing.assert_close(
        actual / actual.max(), expected / expected.max(), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4 2\ncrude 1 2\nwheat 1\n", r"line 3: expected a word and 2 numbers, got 1"),
        ("crude a b\n", r"line 1: expected a word and numbers in UTF-8"),
        ("nothing 1 2\n", r"expected vectors of some of the \d+ tokens, found none"),
    ],
)
def test_broken_word_vectors_name_the_line(tmp_path, text, message):
    (tmp_path / "broken.vec").write_text(text)
    with pytest.raises(InputError, match=message):
        train(keyword_data(), tmp_path / "m", **TINY, embeddings=str(tmp_path / "broken.vec"))


def test_texts_that_are_cut_are_counted_and_said(tmp_path, caplog):
    run = train(keyword_data(), tmp_path / "m", **TINY, max_length=4)
    cut = sum(len(text.split()) > 4 for text in keyword_data()["train"]["text"])
    assert run.record["data"]["texts_cut"]["train"] == cut > 0
    assert f"{cut} of 120 texts were cut at 4 tokens" in caplog.text


def test_an_existing_fast_tokenizer_is_used_as_it_is(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *chain(*WORDS.values())]
    vocab = {word: index for index, word in enumerate(words)}
    BertTokenizer(vocab=vocab).save_pretrained(tmp_path / "t")
    options = {**TINY, "num_train_epochs": 12, "tokenizer": str(tmp_path / "t")}
    options["ngram_buckets"] = 0
    run = train(keyword_data(), tmp_path / "m", **options)
    assert run.record["metrics"]["test"]["accuracy"] == 1.0
    saved = AutoTokenizer.from_pretrained(tmp_path / "m")
    assert type(saved) is BertTokenizer
    assert saved.get_vocab() == vocab
    classify = pipeline("text-classification", str(tmp_path / "m"))
    assert [answer["label"] for answer in classify(["wheat corn", "opec"])] == ["farm", "oil"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hiden_size": 8}, r"Unknown option: 'hiden_size' .* Did you mean 'hidden_size'\?"),
        ({"classifier_pooling": "max"}, "classifier_pooling"),
        ({"token_dropout": 1.0}, r"token_dropout must be in \[0, 1\), got 1.0"),
        ({"algorithm": "wrod"}, "word"),
        ({"train_fraction": 0.0}, r"train_fraction must be in \(0, 1\], got 0.0"),
        ({"eval_strategy": "sometimes"}, "sometimes"),
        ({"model": "x", "embeddings": "y"}, "--model x brings its own embeddings, head_dim"),
        ({"model": "x", "hidden_size": 16}, "brings its own .*hidden_size"),
        ({"lora_rank": 2}, "lora_rank=2 adapts a trained model, and there is none"),
        ({"vocab_size": 12.5}, "vocab_size must be a whole number"),
        ({"report_to": "tensorboard"}, "tensorboard"),
    ],
)
def test_train_refuses_options_it_cannot_use(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        train(keyword_data(), tmp_path / "m", **{**TINY, **options})


def test_train_does_not_overwrite_a_model_unasked(tmp_path):
    train(keyword_data(), tmp_path / "m", **TINY)
    with pytest.raises(InputError, match="holds a model or its checkpoints"):
        train(keyword_data(), tmp_path / "m", **TINY)
    train(keyword_data(), tmp_path / "m", **TINY, overwrite=True)


def test_train_fraction_takes_part_of_the_training_texts(tmp_path):
    run = train(keyword_data(), tmp_path / "m", **TINY, train_fraction=0.5)
    assert run.record["data"]["texts"] == {"train": 60, "validation": 40, "test": 40}


@pytest.mark.parametrize(
    ("options", "best"),
    [
        ({"eval_strategy": "no"}, False),
        ({"save_strategy": "no"}, False),
        ({"save_strategy": "steps", "save_steps": 4, "eval_steps": 4}, True),
        ({"save_strategy": "best"}, True),
        ({"train_sampling_strategy": "random", "gradient_accumulation_steps": 2}, True),
        ({"max_steps": 3}, True),
    ],
)
def test_settings_of_trainer_are_followed(tmp_path, options, best):
    run = train(keyword_data(), tmp_path / "m", **{**TINY, **options})
    settings = run.record["settings"]["training"]
    assert settings["load_best_model_at_end"] is best
    assert {name: settings[name] for name in options} == options


@pytest.mark.parametrize(
    ("texts", "labels", "hidden", "epochs"),
    [
        (6400, 2, 0.0, 4),
        (320, 2, 0.0, 60),
        (6400, 80, 0.0, 9),
        (2, 2, 0.0, 100),
        (6400, 2, 0.5, 8),
        (6400, 80, 0.5, 18),
        (6400, 2, 0.2, 5),
    ],
)
def test_default_epochs_grow_for_few_texts_many_classes_and_hidden_tokens(
    tmp_path, texts, labels, hidden, epochs
):
    arguments = HfAttnTrainingArguments(output_dir=str(tmp_path))
    tokens = TokenizedTexts(np.zeros(0, np.int32), np.zeros(texts, np.int64), None, 0)
    config = HfAttnConfig(vocab_size=9, num_labels=labels, token_dropout=hidden)
    assert _epochs_for(arguments, tokens, config) == epochs


def test_a_metric_of_the_user_picks_the_best_epoch(tmp_path):
    run = train(keyword_data(), tmp_path / "m", **TINY, metric_for_best_model="loss")
    losses = {epoch["epoch"]: epoch["eval_loss"] for epoch in run.record["epochs"]}
    assert run.record["best_epoch"] == min(losses, key=losses.get)
    assert run.record["settings"]["training"]["greater_is_better"] is False


def test_overwriting_waits_until_the_data_is_read(tmp_path):
    train(keyword_data(), tmp_path / "m", **TINY)
    before = sorted(path.name for path in (tmp_path / "m").iterdir())
    with pytest.raises(InputError, match=r"none\.csv"):
        train(str(tmp_path / "none.csv"), tmp_path / "m", **TINY, overwrite=True)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == before


def test_fine_tuning_takes_new_rates_and_records_the_models_sizes(tmp_path):
    train(keyword_data(), tmp_path / "a", **TINY)
    options = {"model": str(tmp_path / "a"), "attention_dropout": 0.25, "max_length": 5}
    run = train(keyword_data(), tmp_path / "b", **options, max_steps=2)
    assert run.model.config.attention_dropout == run.model.model.attention.attention_dropout == 0.25
    assert run.tokenizer.model_max_length == 5
    assert run.record["settings"]["model"]["hidden_size"] == 8
    assert run.record["data"]["texts_cut"]["train"] > 0


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.pt", "rng_state.pth", "trainer_state.json"]
)
def test_broken_checkpoint_is_named(tmp_path, name):
    with pytest.raises(ConnectionAbortedError):
        train(keyword_data(), tmp_path / "m", **TINY, callbacks=[StopAt(7)])
    (broken,) = (tmp_path / "m").glob(f"checkpoint-*/{name}")
    broken.write_bytes(broken.read_bytes()[:-20])
    with pytest.raises(InputError, match=f"{name}: expected a whole checkpoint"):
        train(keyword_data(), tmp_path / "m", **TINY, resume_from_checkpoint="True")


def test_checkpoint_of_another_model_is_refused(tmp_path):
    with pytest.raises(ConnectionAbortedError):
        train(keyword_data(), tmp_path / "m", **TINY, callbacks=[StopAt(7)])
    options = {**TINY, "hidden_size": 16, "resume_from_checkpoint": "True"}
    with pytest.raises(InputError, match=r"got one with hidden_size=8 where .* make 16"):
        train(keyword_data(), tmp_path / "m", **options)


class FirstStep(TrainerCallback):
    """Keeps the weights before the first step, and how far one step of SGD moved them."""

    def on_pre_optimizer_step(self, args, state, control, model, optimizer, **kwargs):
        if state.global_step == 0:
            self.rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
            names = {id(parameter): name for name, parameter in model.named_parameters()}
            self.decays = {
                names[id(parameter)]: group["weight_decay"]
                for group in optimizer.param_groups
                for parameter in group["params"]
            }
            self.num_parameters = sum(len(group["params"]) for group in optimizer.param_groups)
            self.before = {name: p.detach().clone() for name, p in model.named_parameters()}
            self.gradients = {name: p.grad.clone() for name, p in model.named_parameters()}

    def on_step_end(self, args, state, control, model, **kwargs):
        if state.global_step == 1:
            self.moved = {n: p.detach() - self.before[n] for n, p in model.named_parameters()}


@pytest.mark.parametrize("ratio", [None, 0.1, 1.0])
def test_bigrams_learn_at_a_rate_of_their_own(tmp_path, ratio):
    step = FirstStep()
    given = {} if ratio is None else {"ngram_lr_ratio": ratio}
    options = {**TINY, "optim": "sgd", "learning_rate": 0.5, "warmup_steps": 0, "ngram_buckets": 64}
    train(keyword_data(), tmp_path / "m", callbacks=[step], **options, **given, max_grad_norm=0)
    assert step.num_parameters == len(step.before) == len(step.rates)
    for name, gradient in step.gradients.items():
        rate = 0.5 * (ratio or 0.3) if "embed_ngrams" in name else 0.5
        torch.testing.assert_close(step.moved[name], -rate * gradient, rtol=1e-4, atol=1e-6)
        assert gradient.abs().sum() > 0


def test_rate_of_bigrams_is_above_0(tmp_path):
    with pytest.raises(InputError, match="ngram_lr_ratio must be above 0, got 0"):
        train(keyword_data(), tmp_path / "m", ngram_lr_ratio=0)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, 3.0),
        ({"attention_weight_decay": 0.5, "weight_decay": 0.1}, 0.5),
        ({"attention_weight_decay": 0}, 0.0),
        ({"optim": "sgd"}, 0.0),
    ],
)
def test_attention_decays_by_itself(tmp_path, given, expected):
    step = FirstStep()
    options = {name: value for name, value in TINY.items() if "decay" not in name}
    train(keyword_data(), tmp_path / "m", callbacks=[step], **options, **given)
    attention = {f"model.attention.{name}.weight" for name in ("q_proj", "k_proj", "v_proj")}
    assert {step.decays[name] for name in attention} == {expected}
    rest = {name: decay for name, decay in step.decays.items() if name not in attention}
    assert len(rest) == step.num_parameters - 3
    assert set(rest.values()) == {0.0, given.get("weight_decay", 0.0)}


def test_least_frequency_of_bigrams_is_not_below_0(tmp_path):
    with pytest.raises(InputError, match=r"must be 0 \(all pairs share the rows\) or more, got -1"):
        train(keyword_data(), tmp_path / "m", ngram_min_frequency=-1)


def test_decay_of_the_attention_is_not_below_0(tmp_path):
    with pytest.raises(InputError, match=r"must be 0 \(none\) or more, got -1"):
        train(keyword_data(), tmp_path / "m", attention_weight_decay=-1)


def test_smallest_squared_error_is_the_best(tmp_path):
    arguments = HfAttnTrainingArguments(str(tmp_path), metric_for_best_model="mse")
    assert arguments.greater_is_better is False
    arguments = HfAttnTrainingArguments(str(tmp_path), metric_for_best_model="eval_pearson")
    assert arguments.greater_is_better is True


def test_what_a_killed_run_left_is_removed(tmp_path):
    left = tmp_path / "m" / ".unfinished-abc"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"0")
    train(keyword_data(), tmp_path / "m", **TINY)
    assert not list((tmp_path / "m").glob(".*"))


@pytest.mark.parametrize(
    ("given", "texts", "expected"),
    [
        ({}, 1, 1),
        ({}, 999, 1),
        ({}, 1000, 2),
        ({"algorithm": "bpe"}, 1000, 1),
        ({"min_frequency": 3}, 1000, 3),
        ({"tokenizer": "t"}, 1000, None),
        ({"model": "m"}, 1000, None),
        ({"words_alone": True}, 1000, 1),
    ],
)
def test_number_of_texts_sets_rare_words(given, texts, expected):
    split = split_of(["a b"] * texts)
    assert ModelArguments(**given).completed_for(split).min_frequency == expected


@pytest.mark.parametrize(
    ("given", "task", "expected"),
    [
        ({}, SINGLE, 0.3),
        ({}, MULTI, 0.3),
        ({}, REGRESSION, 0.0),
        ({"attention_dropout": 0.1}, REGRESSION, 0.1),
        ({"model": "m"}, SINGLE, None),
    ],
)
def test_kind_of_task_sets_the_dropout_of_attention(given, task, expected):
    split = split_of(["a b"] * 9, task)
    assert ModelArguments(**given).completed_for(split).attention_dropout == expected


@pytest.mark.parametrize(
    ("given", "task", "expected"),
    [
        ({}, SINGLE, "mean"),
        ({}, MULTI, "static"),
        ({}, REGRESSION, "mean"),
        ({"words_alone": True}, MULTI, "static"),
        ({"classifier_pooling": "mean"}, MULTI, "mean"),
        ({"model": "m"}, MULTI, None),
    ],
)
def test_kind_of_task_sets_the_pooling(given, task, expected):
    split = split_of(["a b"] * 9, task)
    assert ModelArguments(**given).completed_for(split).classifier_pooling == expected


@pytest.mark.parametrize(
    ("given", "task", "characters", "expected"),
    [
        ({}, SINGLE, [75], 0.5),
        ({}, SINGLE, [10, 50], 0.2),
        ({}, SINGLE, [1399], 0.5),
        ({}, SINGLE, [2700, 100], 0.7),
        ({}, REGRESSION, [1400], 0.5),
        ({}, MULTI, [1400], 0.1),
        ({}, SINGLE, [0], 0.0),
        ({}, MULTI, [75], 0.1),
        ({"token_dropout": 0.2}, SINGLE, [75], 0.2),
        ({"words_alone": True}, SINGLE, [75], 0.3),
        ({"model": "m"}, SINGLE, [75], None),
    ],
)
def test_length_of_texts_sets_how_many_tokens_are_hidden(given, task, characters, expected):
    split = split_of(["x" * count for count in characters], task)
    assert ModelArguments(**given).completed_for(split).token_dropout == expected


@pytest.mark.parametrize(
    ("given", "task", "characters", "expected"),
    [
        ({}, SINGLE, [999], 2**14),
        ({}, SINGLE, [1900, 100], 2**16),
        ({}, MULTI, [1000], 2**14),
        ({}, REGRESSION, [1000], 2**14),
        ({"ngram_buckets": 9}, SINGLE, [1000], 9),
        ({"token_dropout": 0.5}, SINGLE, [1000], 2**16),
        ({"words_alone": True}, SINGLE, [1000], 0),
        ({"model": "m"}, SINGLE, [1000], None),
    ],
)
def test_length_of_texts_sets_how_many_pairs_have_rows(given, task, characters, expected):
    split = split_of(["x" * count for count in characters], task)
    assert ModelArguments(**given).completed_for(split).ngram_buckets == expected


def test_both_texts_of_a_pair_count_as_long():
    split = split_of(["x" * 20]).add_column("text_pair", ["y" * 10])
    assert ModelArguments().completed_for(split).token_dropout == 0.2


def test_long_texts_are_told_of_a_window(tmp_path, monkeypatch, caplog):
    data = keyword_data()
    options = {**TINY, "token_dropout": 0.5}
    run = train(data, tmp_path / "a", **options)
    assert "attention_window" not in caplog.text
    lengths = [len(run.tokenizer(text)["input_ids"]) for text in data["train"]["text"]]
    pairs = options["num_train_epochs"] * sum((0.5 * length) ** 2 for length in lengths)
    monkeypatch.setattr("hf_attn.training._MANY_PAIRS", pairs)
    train(data, tmp_path / "b", **options)
    assert f"Texts of up to {max(lengths)} tokens" in caplog.text
    caplog.clear()
    train(data, tmp_path / "c", **options, attention_window=4)
    monkeypatch.setattr("hf_attn.training._MANY_PAIRS", pairs + 1)
    train(data, tmp_path / "d", **options)
    assert "attention_window" not in caplog.text


def test_words_alone_have_settings_of_their_own(tmp_path):
    options = {name: value for name, value in TINY.items() if "decay" not in name}
    step = FirstStep()
    alone = train(keyword_data(), tmp_path / "a", words_alone=True, callbacks=[step], **options)
    train(keyword_data(), tmp_path / "b", **WORDS_ALONE, **options)
    assert_same_weights(tmp_path / "a", tmp_path / "b")
    assert alone.model.config.ngram_buckets == 0
    assert set(step.decays.values()) == {0.0}
    settings = alone.record["settings"]
    assert settings["given"].keys() & WORDS_ALONE.keys() == set()
    assert settings["given"]["words_alone"] is True
    both = settings["model"] | settings["training"]
    assert {name: both[name] for name in WORDS_ALONE} == WORDS_ALONE


def test_what_is_given_beside_words_alone_holds(tmp_path):
    given = {"token_dropout": 0.2, "attention_weight_decay": 3.0, "adam_beta2": 0.98}
    run = train(keyword_data(), tmp_path / "m", **{**TINY, **given}, words_alone=True)
    assert run.model.config.token_dropout == 0.2
    training = run.record["settings"]["training"]
    assert (training["attention_weight_decay"], training["adam_beta2"]) == (3.0, 0.98)
    with pytest.raises(InputError, match="looks at no pairs of words, got rows for them too"):
        train(keyword_data(), tmp_path / "n", words_alone=True, ngram_buckets=9)


def test_model_of_words_alone_is_trained_on_as_such(tmp_path):
    options = {name: value for name, value in TINY.items() if "decay" not in name}
    train(keyword_data(), tmp_path / "a", words_alone=True, **options)
    step = FirstStep()
    start = {"model": str(tmp_path / "a"), "max_steps": 2, "weight_decay": 0.1}
    run = train(keyword_data(), tmp_path / "b", callbacks=[step], **start)
    assert step.decays["model.attention.q_proj.weight"] == 0.0
    assert run.record["settings"]["training"]["adam_beta2"] == 0.999


@pytest.mark.parametrize("name", ["adam_beta1", "adam_beta2"])
def test_betas_are_below_1(tmp_path, name):
    with pytest.raises(InputError, match=rf"{name} must be in \[0, 1\), got 1.5"):
        train(keyword_data(), tmp_path / "m", **{name: 1.5})
    assert not (tmp_path / "m").exists()


def test_model_that_a_run_starts_from_keeps_its_dropout_but_where_another_is_given(tmp_path):
    rates = {"token_dropout": 0.4, "attention_dropout": 0.1, "classifier_dropout": 0.2}
    train(keyword_data(), tmp_path / "a", **TINY, **rates)
    start = {**SHORT, "model": str(tmp_path / "a")}
    kept = train(keyword_data(), tmp_path / "b", **start).model.config
    assert {name: getattr(kept, name) for name in rates} == rates
    others = {"token_dropout": 0.2, "classifier_dropout": 0.0}  # as a fresh model has them
    given = train(keyword_data(), tmp_path / "c", **start, **others).model.config
    assert {name: getattr(given, name) for name in rates} == rates | others


def test_values_are_learned_with_an_attention_that_nothing_holds_back(tmp_path):
    data = keyword_data()
    data = data.map(lambda row: {"value": len(row["text"]) / 10 + 0.5}, remove_columns="label")
    step = FirstStep()
    options = {name: value for name, value in TINY.items() if "decay" not in name}
    run = train(
        data, tmp_path / "m", label_column="value", callbacks=[step], **options, weight_decay=0.1
    )
    assert run.model.config.problem_type == "regression"
    assert run.model.config.attention_dropout == 0
    attention = [f"model.attention.{name}.weight" for name in ("q_proj", "k_proj", "v_proj")]
    assert {step.decays[name] for name in attention} == {0.0}
    assert 0.1 in step.decays.values()
    settings = run.record["settings"]
    assert settings["model"]["attention_dropout"] == 0
    assert settings["training"]["attention_weight_decay"] == 0
    assert not {"attention_dropout", "attention_weight_decay"} & set(settings["given"])


def test_record_has_what_the_number_of_texts_has_set(tmp_path):
    run = train(keyword_data(), tmp_path / "m", **TINY, max_steps=1)
    settings = run.record["settings"]
    assert settings["model"]["min_frequency"] == 1
    assert "min_frequency" not in settings["given"]


def count_pairs(run):
    """Counts the pairs of ids of neighbours in the training texts of the keyword data."""
    counts = Counter()
    for text in keyword_data()["train"]["text"]:
        ids = run.tokenizer(text)["input_ids"]
        counts.update(zip([run.tokenizer.pad_token_id, *ids], ids, strict=False))
    return counts


def test_frequent_bigrams_are_those_of_the_texts():
    ids = [[5, 6, 5, 6], [], [6, 5], [5]]
    tokenizer = SimpleNamespace(pad_token_id=3)
    pairs = frequent_bigrams(TokenizedTexts.from_ids(ids, tokenizer), 2)
    assert sorted(pairs.tolist()) == [[3, 5], [5, 6], [6, 5]]
    pairs = frequent_bigrams(TokenizedTexts.from_ids([*ids, [5, 6]], tokenizer), 1).tolist()
    assert sorted(pairs[:2]) == [[3, 5], [5, 6]]  # three times each
    assert pairs[2:] == [[6, 5], [3, 6]]  # twice, and once


def test_pairs_that_occur_often_enough_have_rows(tmp_path):
    options = {**TINY, "token_dropout": 0, "ngram_min_frequency": 3}
    run = train(keyword_data(), tmp_path / "m", **options)
    counts = count_pairs(run)
    frequent = {pair for pair, count in counts.items() if count >= 3}
    embeddings = run.model.model.embeddings
    rows = {pair: int(embeddings.ngram_rows(*torch.tensor(pair))) for pair in counts}
    assert {pair for pair, row in rows.items() if row} >= frequent
    assert 1 < run.model.config.ngram_buckets <= len(frequent) + 1
    assert embeddings.embed_ngrams.weight[1:].abs().sum(1).all()
    assert not embeddings.embed_ngrams.weight[0].any()


def test_most_frequent_pairs_have_the_rows_that_there_are(tmp_path):
    run = train(keyword_data(), tmp_path / "m", **TINY, ngram_buckets=6)
    most = [pair for pair, _ in count_pairs(run).most_common(3)]
    assert run.model.config.ngram_buckets <= 6
    assert all(int(run.model.model.embeddings.ngram_rows(*torch.tensor(pair))) for pair in most)


def test_without_a_least_frequency_all_pairs_are_hashed_into_rows(tmp_path):
    options = {**TINY, "token_dropout": 0, "ngram_buckets": 2**15, "ngram_min_frequency": 0}
    run = train(keyword_data(), tmp_path / "m", **options)
    seen = {int(hash_bigrams(*map(torch.tensor, pair), 2**15)) for pair in count_pairs(run)}
    rows = run.model.model.embeddings.embed_ngrams.weight.abs().sum(-1).cpu() > 0
    assert set(rows.nonzero().flatten().tolist()) == seen
    assert run.model.config.ngram_slots == 0


def test_model_that_a_run_starts_from_keeps_its_pairs(tmp_path):
    first = train(keyword_data(), tmp_path / "a", **TINY)
    data = datasets.DatasetDict(train=datasets.Dataset.from_dict(keyword_texts(60, seed=1)))
    other = train(data, tmp_path / "b", **SHORT, model=str(tmp_path / "a"))
    slots = [run.model.model.embeddings.ngram_rows.slots.cpu() for run in (first, other)]
    assert torch.equal(*slots)
