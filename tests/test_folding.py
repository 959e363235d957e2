import copy
import json

import numpy as np
import pytest
import torch
from models import VARIANTS, masked_batch, small_classifier, variant_name
from processes import run_python
from trained import saved_weights
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

from hf_attn import HfAttnTokenizer, explain, fold
from hf_attn.card import render_card
from hf_attn.errors import InputError
from hf_attn.fold_folder import fold_folder
from hf_attn.folding_loss import draw_texts, measure_loss
from hf_attn.predictor.distances import DistanceScores
from hf_attn.predictor.exponentials import base
from hf_attn.predictor.tables import FoldedTables

ASKED = {"output_contributions": True, "output_attentions": True, "output_intermediates": True}
# Fewer classes than features, as many, and more.
WIDTHS = [{"num_labels": 3}, {"num_labels": 8}, {"num_labels": 11}]


def classifier(**fields):
    """A model with a reference, as training leaves it."""
    model = small_classifier(dtype=torch.float32, **fields)
    model.set_reference(torch.linspace(-0.5, 0.5, 8))
    return model


def assert_same_outputs(folded, plain):
    """Logits and contributions within 1e-5, larger numbers within a few units of float32."""
    assert folded.keys() == plain.keys()
    for name in plain:
        actual, expected = folded[name], plain[name]
        if isinstance(expected, tuple):
            actual, expected = actual[0], expected[0]
        rtol = 0 if name in ("logits", "contributions") else 1e-6
        torch.testing.assert_close(actual, expected, rtol=rtol, atol=1e-5, msg=name)


@pytest.mark.parametrize("width", WIDTHS, ids=variant_name)
@pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
def test_folded_outputs_are_those_of_the_model(variant, width):
    model = classifier(**variant, **width)
    batch = masked_batch()
    folded = fold(model)
    assert_same_outputs(folded(**batch, **ASKED), model(**batch, **ASKED))


@pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
def test_folded_logits_are_bias_and_contributions(variant):
    outputs = fold(classifier(**variant))(**masked_batch(), output_contributions=True)
    total = outputs.bias + outputs.contributions.sum(1)
    torch.testing.assert_close(total, outputs.logits, rtol=0, atol=1e-5)
    assert torch.equal(outputs.logits[-1], outputs.bias)  # a text without tokens


# Few buckets, many for few distances, and two pairs at which another logarithm rounds otherwise.
@pytest.mark.parametrize(
    ("buckets", "max_distance"),
    [(4, 2), (8, 9), (32, 128), (64, 17), (64, 1000), (72, 98), (96, 81)],
)
def test_distances_score_the_same_folded_and_in_numpy(buckets, max_distance):
    model = classifier(
        relative_attention_num_buckets=buckets, relative_attention_max_distance=max_distance
    )
    length = max_distance + 3
    expected = model.model.attention.relative_bias(length, torch.device("cpu")).detach()
    folded = fold(model)
    assert folded.attention.relative_bias.scores.shape == (2 * max_distance + 1,)
    assert torch.equal(folded.attention.relative_bias(length, torch.device("cpu")), expected)
    between = DistanceScores(FoldedTables.from_model(folded)).between(0, length, length)
    distance = np.arange(length) - np.arange(length)[:, None]
    np.testing.assert_allclose(
        between.scores / base()[1], expected.numpy()[distance + length], rtol=1e-6
    )
    batch = masked_batch(2 * max_distance + 5)
    assert_same_outputs(folded(**batch, **ASKED), model(**batch, **ASKED))


def test_farthest_distance_of_all_is_folded_and_saved(tmp_path):
    folded = fold(classifier(relative_attention_max_distance=1_000_000))
    folded.save_pretrained(tmp_path)
    scores = FoldedTables.from_folder(tmp_path).distance_scores
    np.testing.assert_array_equal(scores, folded.attention.relative_bias.scores.numpy())


@pytest.mark.parametrize("width", WIDTHS, ids=variant_name)
def test_tables_hold_what_the_model_computes_of_a_token(width):
    model = classifier(classifier_pooling="static", **width)
    folded = fold(model)
    ids = torch.arange(50).unsqueeze(0)
    plain, table = model.token_terms(ids, None), folded.token_terms(ids, None)
    for name in plain._fields:
        torch.testing.assert_close(getattr(table, name), getattr(plain, name))
    tokens = folded.tables.tokens
    assert tokens.query.shape == tokens.key.shape == (50, 6)
    assert tokens.direct_values.shape == (50, min(width["num_labels"], 8))


@pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
def test_explanations_of_a_folded_model_are_those_of_the_model(variant):
    texts = ["oil prices rose and rose", "the bank cut rates", "", "wheat"]
    tokenizer = HfAttnTokenizer.train_from_iterator(texts)
    model = classifier(vocab_size=50, **variant)
    plain = explain(texts, model, tokenizer, attentions=True)
    folded = explain(texts, fold(model), tokenizer, attentions=True)
    for one, other in zip(folded, plain, strict=True):
        for name in ("logits", "direct", "context", "deletion_effects", "attention_received"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-5)
        assert [word.text for word in one.words] == [word.text for word in other.words]


def test_float16_and_int8_lose_what_their_rounding_explains():
    model = classifier(ngram_buckets=37)
    batch = masked_batch()
    exact = model(**batch).logits
    for table_dtype, atol in (("float16", 0.01), ("int8", 0.15)):
        folded = fold(model, table_dtype=table_dtype)
        assert folded.tables.tokens.query.dtype == getattr(torch, table_dtype)
        error = (folded(**batch).logits - exact).abs().max()
        assert 0 < error < atol


def test_int8_rows_are_within_half_a_step_of_the_numbers():
    model = classifier()
    with torch.no_grad():
        model.model.embeddings.embed_tokens.weight[7] = 0
        model.score.reference.zero_()
    stored = fold(model, table_dtype="int8").tables.tokens
    exact = fold(model).tables.tokens.key
    step = stored.key_scale
    assert step[7] == 0
    assert (stored.key[7] == 0).all()
    error = (stored.key * step.unsqueeze(1) - exact).abs()
    assert (error <= step.unsqueeze(1) / 2 * 1.0001).all()
    assert stored.key.abs().max() == 127


@pytest.mark.parametrize("table_dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("fields", [{}, {"ngram_buckets": 37, "classifier_pooling": "static"}])
def test_saved_folded_model_loads_bit_equal(table_dtype, fields, tmp_path):
    folded = fold(classifier(num_labels=11, **fields), table_dtype=table_dtype)
    folded.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert again.state_dict().keys() == folded.state_dict().keys()
    for name, tensor in folded.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
        assert again.state_dict()[name].dtype == tensor.dtype, name
    batch = masked_batch()
    assert torch.equal(again(**batch).logits, folded(**batch).logits)


def test_folded_model_loads_without_the_package(tmp_path):
    folded = fold(classifier(ngram_buckets=37), table_dtype="int8")
    folded.save_pretrained(tmp_path)
    ids = masked_batch()["input_ids"][:1]
    code = """
        import json, sys
        sys.modules["hf_attn"] = None  # as if it were not installed
        import torch
        from transformers import AutoModelForSequenceClassification
        model = AutoModelForSequenceClassification.from_pretrained(
            sys.argv[1], trust_remote_code=True
        )
        print(json.dumps(model(torch.tensor(json.loads(sys.argv[2]))).logits.tolist()))
    """
    printed = run_python(code, tmp_path, json.dumps(ids.tolist()))
    torch.testing.assert_close(torch.tensor(json.loads(printed)), folded(ids).logits)


def test_numpy_tables_of_a_model_and_of_its_folder_are_the_same(tmp_path):
    folded = fold(classifier(ngram_buckets=37, num_labels=11), table_dtype="int8")
    folded.save_pretrained(tmp_path)
    in_memory, read = FoldedTables.from_model(folded), FoldedTables.from_folder(tmp_path)
    for of in ("tokens", "ngrams"):
        for name, array in vars(getattr(in_memory, of)).items():
            np.testing.assert_array_equal(getattr(getattr(read, of), name), array)
    np.testing.assert_array_equal(read.out_proj, folded.score.out_proj.weight.numpy())
    query = folded.tables.tokens.query * folded.tables.tokens.query_scale.unsqueeze(1)
    np.testing.assert_array_equal(read.tokens.query, query.numpy())
    assert read.class_names == tuple(folded.config.class_names)


def test_numpy_tables_of_a_plain_folder_are_refused(tmp_path):
    classifier().save_pretrained(tmp_path)
    with pytest.raises(
        InputError, match="expected a model of type 'hf_attn_folded', got 'hf_attn'"
    ):
        FoldedTables.from_folder(tmp_path)


@pytest.mark.parametrize("broken", ["cut", "absent", "another"])
def test_numpy_tables_of_a_broken_folder_are_refused(broken, tmp_path):
    fold(classifier()).save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    if broken == "cut":
        weights.write_bytes(weights.read_bytes()[:100])
    elif broken == "absent":
        weights.unlink()
    else:
        classifier().save_pretrained(tmp_path / "plain")
        weights.write_bytes((tmp_path / "plain" / weights.name).read_bytes())
    with pytest.raises(InputError, match=r"Fold|fold the model again"):
        FoldedTables.from_folder(tmp_path)


def test_folded_window_is_that_of_a_model_with_it():
    model = classifier()
    windowed = classifier(attention_window=4)
    windowed.load_state_dict(model.state_dict())
    batch = masked_batch()
    logits = fold(model, attention_window=4)(**batch).logits
    torch.testing.assert_close(logits, windowed(**batch).logits, rtol=0, atol=1e-5)
    assert (logits - model(**batch).logits).abs().max() > 1e-3


def test_model_stays_as_it_is_when_folded():
    model = classifier(ngram_buckets=37)
    before = copy.deepcopy(model.state_dict())
    model.train()
    fold(model)
    assert model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_folded_model_refuses_training(tmp_path):
    folded = fold(classifier())
    with pytest.raises(ValueError, match=r"cannot be trained.*fold it again"):
        folded.train()
    rows = [{"input_ids": [1, 2], "labels": 0}] * 4
    trainer = Trainer(
        folded,
        TrainingArguments(str(tmp_path), report_to=[], dataloader_pin_memory=False),
        train_dataset=rows,
    )
    with pytest.raises(ValueError, match=r"cannot be trained.*fold it again"):
        trainer.train()


def test_folded_model_gives_a_loss_in_evaluation():
    model, batch = classifier(), masked_batch()
    labels = torch.tensor([0, 1, 2, 0, 1])
    loss = fold(model)(**batch, labels=labels).loss
    torch.testing.assert_close(loss, model(**batch, labels=labels).loss, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"inputs_embeds": torch.zeros(1, 2, 8)}, "inputs_embeds"),
        ({"input_ids": torch.ones(1, 2).long(), "output_hidden_states": True}, "hidden states"),
    ],
)
def test_folded_model_says_what_it_has_not(inputs, named):
    with pytest.raises(ValueError, match=f"neither embeddings nor hidden states.*{named}"):
        fold(classifier())(**inputs)


def test_folding_what_is_no_plain_classifier_is_refused():
    model = classifier()
    with pytest.raises(InputError, match="table_dtype must be one of float32, float16, int8"):
        fold(model, table_dtype="int4")
    with pytest.raises(TypeError, match="folded already"):
        fold(fold(model))
    with pytest.raises(TypeError, match="expected an HfAttnForSequenceClassification"):
        fold(model.model)


@pytest.mark.parametrize(("value", "table_dtype"), [(float("nan"), "float32"), (1e6, "float16")])
def test_numbers_that_do_not_fit_are_refused(value, table_dtype):
    model = classifier()
    with torch.no_grad():
        model.model.embeddings.embed_tokens.weight[3, 0] = value
    with pytest.raises(InputError, match="expected numbers that fit into"):
        fold(model, table_dtype=table_dtype)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a model, its tokenizer and the counts of its tokens."""
    folder = tmp_path_factory.mktemp("model")
    texts = ["oil prices rose", "the bank cut rates", "wheat and oil exports fell"]
    tokenizer = HfAttnTokenizer.train_from_iterator(texts)
    names = {0: "oil", 1: "bank", 2: "grain"}
    model = small_classifier(dtype=torch.float32, vocab_size=len(tokenizer), id2label=names)
    model.set_reference(torch.ones(8))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "token_counts.json").write_text(json.dumps({"oil": 2, "bank": 1}))
    return folder


def test_folded_folder_has_tokenizer_counts_record_and_card(trained_folder, tmp_path):
    data = tmp_path / "test.jsonl"
    rows = [{"text": "wheat", "label": "farm"}, {"text": "opec", "label": "oil"}]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folded = fold_folder(str(trained_folder), tmp_path / "out", table_dtype="int8", data=str(data))
    names = {path.name for path in folded.folder.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "token_counts.json", "run.json"} <= names
    record = json.loads((folded.folder / "run.json").read_text())
    folding = record.pop("folding")
    assert record == json.loads((trained_folder / "run.json").read_text())
    assert folding["from"] == trained_folder.name
    assert folding["table_dtype"] == "int8"
    assert folding["loss"]["texts"] == 2
    assert folding["loss"]["metrics"]["before"].keys() == folding["loss"]["metrics"]["after"].keys()
    both = trained_folder, folded.folder
    assert folded.num_bytes == tuple(
        sum(tensor.nbytes for tensor in saved_weights(one).values()) for one in both
    )
    assert (folded.folder / "README.md").read_text() == render_card(folded.folder)


def test_model_without_a_record_is_folded_with_a_card(saved, tmp_path):
    folder = fold_folder(str(saved), tmp_path).folder
    assert not (folder / "run.json").exists()
    assert "folded" in (folder / "README.md").read_text()


def test_folding_again_writes_the_card_again_and_keeps_a_page_of_somebody(saved, tmp_path, caplog):
    card = fold_folder(str(saved), tmp_path).folder / "README.md"
    fold_folder(str(saved), tmp_path, table_dtype="float16", overwrite=True)
    assert "--table-dtype float16" in card.read_text()
    card.write_text("# mine\n")
    fold_folder(str(saved), tmp_path, overwrite=True)
    assert card.read_text() == "# mine\n"
    assert f"hf-attn card {tmp_path}" in caplog.text


def test_loss_is_the_difference_of_the_logits(saved):
    model = AutoModelForSequenceClassification.from_pretrained(saved)
    tokenizer = HfAttnTokenizer.from_pretrained(saved)
    shifted = copy.deepcopy(model)
    with torch.no_grad():
        shifted.score.bias += torch.tensor([0.0, 100.0, 0.0])
    texts = draw_texts(tokenizer, {"oil": 2, "bank": 1})
    assert set(texts.token_ids.tolist()) == set(tokenizer.convert_tokens_to_ids(["oil", "bank"]))
    loss = measure_loss(model, shifted, texts, "drawn words")
    assert loss.largest_logit_difference == pytest.approx(100, abs=1e-4)
    assert 0 < loss.changed_labels <= len(texts)
    assert loss.metrics is None


def test_a_model_in_the_way_is_kept(saved, tmp_path):
    with pytest.raises(InputError, match="would be lost"):
        fold_folder(str(saved), saved)
    fold_folder(str(saved), tmp_path)
    with pytest.raises(InputError, match="--overwrite"):
        fold_folder(str(saved), tmp_path)
    fold_folder(str(saved), tmp_path, overwrite=True, table_dtype="float16")
    assert json.loads((tmp_path / "config.json").read_text())["table_dtype"] == "float16"


def test_command_prints_what_folding_changed(saved, tmp_path):
    printed = run_python(
        "from hf_attn.cli import main; main()", "fold", saved, tmp_path / "out", "--table-dtype",
        "int8",
    )  # fmt: skip
    assert "of tables in int8" in printed
    assert "On 1,000 texts (drawn words) logits differ by at most" in printed
