import json
import logging

import pytest
import torch
from huggingface_hub.errors import (
    StrictDataclassClassValidationError,
    StrictDataclassFieldValidationError,
)
from models import small_classifier
from transformers.utils import logging as transformers_logging

from hf_attn import HfAttnConfig, HfAttnForSequenceClassification


@pytest.fixture
def warnings_logged(caplog):
    """The library's logger does not hand records on, and pytest listens at the root."""
    transformers_logging.enable_propagation()
    caplog.set_level(logging.WARNING)
    yield lambda: [record.getMessage() for record in caplog.records]
    transformers_logging.disable_propagation()


def round_trip(config, folder):
    config.save_pretrained(folder)
    return HfAttnConfig.from_pretrained(folder)


def named(fields):
    return ",".join(f"{name}={value}" for name, value in fields.items())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vocab_size": 0}, "vocab_size must be at least 1, got 0"),
        ({"hidden_size": -2}, "hidden_size must be at least 1, got -2"),
        ({"head_dim": 0}, "head_dim must be at least 1, got 0"),
        (
            {"ngram_slots": -1},
            r"ngram_slots must be 0 \(pairs are hashed into rows\) or more, got -1",
        ),
        (
            {"ngram_slots": 64},
            "ngram_slots=64 hold rows of bigrams, and ngram_buckets=0 leaves none",
        ),
        ({"ngram_buckets": -1}, r"ngram_buckets must be 0 \(no bigrams\) or more, got -1"),
        (
            {"vocab_size": 5, "pad_token_id": 5},
            "pad_token_id must be a row of.*pad_token_id=5 with vocab_size=5",
        ),
        ({"pad_token_id": -1}, "pad_token_id=-1 with vocab_size=30000"),
        ({"num_attention_heads": 2}, "num_attention_heads must be 1, got 2.*raise hidden_size"),
        ({"num_hidden_layers": 2}, "num_hidden_layers must be 1, got 2.*raise hidden_size"),
        (
            {"relative_attention_num_buckets": 2},
            r"relative_attention_num_buckets must be 0 \(off\) or an even number.*got 2",
        ),
        ({"relative_attention_num_buckets": 7}, "even number from 4 on, got 7"),
        (
            {"relative_attention_num_buckets": 32, "relative_attention_max_distance": 8},
            "must be above a quarter.*max_distance=8 with num_buckets=32",
        ),
        (
            {"relative_attention_max_distance": 1_000_001},
            "relative_attention_max_distance must be at most 1,000,000, got 1000001.*in a table",
        ),
        ({"token_dropout": 1.0}, r"token_dropout must be in \[0, 1\), got 1.0"),
        ({"embedding_dropout": -0.1}, r"embedding_dropout must be in \[0, 1\), got -0.1"),
        ({"attention_dropout": 1}, r"attention_dropout must be in \[0, 1\), got 1"),
        ({"classifier_dropout": 2.5}, r"classifier_dropout must be in \[0, 1\), got 2.5"),
        ({"initializer_range": 0.0}, "initializer_range must be above 0, got 0.0"),
        (
            {"problem_type": "ranking"},
            "problem_type must be None or one of regression, single_label.*got 'ranking'",
        ),
        (
            {"id2label": {0: "ham", 1: "spam"}, "label2id": {"ham": 1, "spam": 0}},
            "each other's inverse.*'ham'.*with label2id=.*Give only one",
        ),
        (
            {"id2label": {0: "ham", 1: "spam"}, "num_labels": 3},
            "num_labels must be the number of names.*num_labels=3 with 2 names",
        ),
        ({"id2label": {0: "ham", 1: "ham"}}, "each other's inverse, with distinct names"),
        (
            {"label_thresholds": [0.5], "num_labels": 2},
            "label_thresholds must hold a number for each label, got 1 for 2",
        ),
        (
            {"label_thresholds": [0.5, 1.0]},
            "label_thresholds must be probabilities above 0 and below 1, got 1.0 for 'LABEL_1'",
        ),
        ({"label_thresholds": [0.0, 0.5]}, "above 0 and below 1, got 0.0 for 'LABEL_0'"),
        ({"label_thresholds": [float("nan"), 0.5]}, "above 0 and below 1, got nan"),
        (
            {"label_thresholds": [0.5, 0.5], "problem_type": "regression"},
            "label_thresholds are for problem_type='multi_label_classification', got 'regression'",
        ),
    ],
    ids=lambda value: (
        ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else ""
    ),
)
def test_value_out_of_range_is_refused(fields, message):
    # An error before the validators run, from `__post_init__`, is the bare one.
    with pytest.raises((StrictDataclassClassValidationError, ValueError), match=f"(?s){message}"):
        HfAttnConfig(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"hidden_size": 1, "head_dim": 1, "vocab_size": 1},
        {"pad_token_id": None},
        {"relative_attention_num_buckets": 0, "relative_attention_max_distance": 0},
        {"relative_attention_num_buckets": 4, "relative_attention_max_distance": 2},
        {"attention_dropout": 0.99},
        {"problem_type": "regression", "num_labels": 1},
        {"label_thresholds": [0.001, 0.999]},
    ],
    ids=named,
)
def test_value_at_the_edge_is_accepted(fields):
    config = HfAttnConfig(**fields)
    assert {name: getattr(config, name) for name in fields} == fields


def test_saving_checks_values_again(tmp_path):
    config = HfAttnConfig()
    config.attention_dropout = 3.0
    with pytest.raises(StrictDataclassClassValidationError, match="attention_dropout"):
        config.save_pretrained(tmp_path)


def test_single_label_with_one_class_is_refused():
    with pytest.raises((ValueError, StrictDataclassClassValidationError), match="num_labels"):
        HfAttnConfig(num_labels=1, problem_type="single_label_classification")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_size", "32"),
        ("hidden_size", True),
        ("vocab_size", 100.0),
        ("attention_dropout", "0.1"),
        ("classifier_pooling", "max"),
        ("pad_token_id", "[PAD]"),
    ],
)
def test_value_of_another_type_is_refused(name, value):
    with pytest.raises(StrictDataclassFieldValidationError, match=name):
        HfAttnConfig(**{name: value})
    with pytest.raises(StrictDataclassFieldValidationError, match=name):
        setattr(HfAttnConfig(), name, value)


def test_positional_values_are_refused():
    with pytest.raises((TypeError, ValueError), match="positional"):
        HfAttnConfig(100)


def test_default_config_warns_of_nothing(warnings_logged):
    HfAttnConfig()
    assert warnings_logged() == []


@pytest.mark.parametrize(("saved", "window", "changes_from"), [(0, 4, 5), (4, 0, 5), (4, 6, 5)])
def test_another_window_than_in_training_says_what_changes(
    saved, window, changes_from, tmp_path, warnings_logged
):
    HfAttnConfig(attention_window=saved).save_pretrained(tmp_path)
    assert HfAttnConfig.from_pretrained(tmp_path, attention_window=saved).attention_window == saved
    assert not warnings_logged()
    config = HfAttnConfig.from_pretrained(tmp_path, attention_window=window)
    assert config.attention_window == window
    (message,) = warnings_logged()
    assert f"attention_window={window} is not the {saved}" in message
    assert f"texts with more than {changes_from} tokens change" in message


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("hiden_size", "hidden_size"),
        ("attention_droput", "attention_dropout"),
        ("num_label", "num_labels"),
        ("clasifier_pooling", "classifier_pooling"),
    ],
)
def test_misspelt_field_warns_with_the_nearest(misspelt, meant, warnings_logged):
    HfAttnConfig(**{misspelt: 7})
    (message,) = warnings_logged()
    assert f"no field `{misspelt}` (value 7)" in message
    assert f"Did you mean `{meant}`?" in message


def test_unlike_any_field_warns_without_a_guess(warnings_logged):
    HfAttnConfig(zzzz=1)
    (message,) = warnings_logged()
    assert "no field `zzzz`" in message
    assert "Did you mean" not in message


def test_saved_config_loads_without_a_warning(warnings_logged, tmp_path):
    small_classifier(num_labels=4).save_pretrained(tmp_path)
    HfAttnForSequenceClassification.from_pretrained(tmp_path, output_attentions=True)
    assert warnings_logged() == []


def test_id2label_fills_label2id():
    config = HfAttnConfig(id2label={0: "ham", 1: "spam", 2: "eggs"})
    assert config.label2id == {"ham": 0, "spam": 1, "eggs": 2}
    assert config.num_labels == 3


def test_label2id_fills_id2label():
    config = HfAttnConfig(label2id={"ham": 0, "spam": 1, "eggs": 2})
    assert config.id2label == {0: "ham", 1: "spam", 2: "eggs"}
    assert config.num_labels == 3


def test_num_labels_gives_that_many_names():
    config = HfAttnConfig(num_labels=4)
    assert config.id2label == {i: f"LABEL_{i}" for i in range(4)}
    assert config.label2id == {f"LABEL_{i}": i for i in range(4)}


def test_class_names_follow_the_logits():
    assert HfAttnConfig(id2label={1: "spam", 0: "ham"}).class_names == ["ham", "spam"]
    names = [f"class {index}" for index in range(12)]
    assert HfAttnConfig(id2label=dict(enumerate(names))).class_names == names


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"num_labels": 1, "problem_type": "regression"},
        {"id2label": {0: "ham", 1: "spam", 2: "eggs"}},
        {"num_labels": 12},
        {
            "hidden_size": 12,
            "classifier_pooling": "static",
            "ngram_buckets": 1000,
            "attention_dropout": 0.25,
            "pad_token_id": None,
        },
    ],
    ids=lambda fields: "-".join(fields) or "default",
)
def test_config_is_the_same_after_saving(fields, tmp_path):
    config = HfAttnConfig(**fields)
    loaded = round_trip(config, tmp_path)
    written = {"transformers_version", "_name_or_path", "architectures", "auto_map"}
    assert {k: v for k, v in loaded.to_dict().items() if k not in written} == {
        k: v for k, v in config.to_dict().items() if k not in written
    }
    assert loaded.id2label == config.id2label
    assert loaded.label2id == config.label2id
    assert {name: getattr(loaded, name) for name in fields} == fields


@pytest.mark.parametrize("name", ["attention_dropout", "token_dropout", "classifier_dropout"])
def test_dropout_of_integer_zero_saves_and_loads(name, tmp_path):
    assert getattr(round_trip(HfAttnConfig(**{name: 0}), tmp_path), name) == 0
    assert getattr(HfAttnConfig.from_dict(json.loads(HfAttnConfig().to_json_string())), name) == 0


def test_loading_with_num_labels_makes_new_names(tmp_path):
    HfAttnConfig(id2label={0: "ham", 1: "spam"}).save_pretrained(tmp_path)
    config = HfAttnConfig.from_pretrained(tmp_path, num_labels=5)
    assert config.num_labels == 5
    assert config.label2id == {f"LABEL_{i}": i for i in range(5)}


def test_loading_with_the_same_num_labels_keeps_the_names(tmp_path):
    HfAttnConfig(id2label={0: "ham", 1: "spam"}).save_pretrained(tmp_path)
    assert HfAttnConfig.from_pretrained(tmp_path, num_labels=2).class_names == ["ham", "spam"]


@pytest.mark.parametrize(
    "given",
    [
        {"id2label": {0: "a", 1: "b", 2: "c"}},
        {"label2id": {"a": 0, "b": 1, "c": 2}},
        {"id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"a": 0, "b": 1, "c": 2}},
        {"id2label": {0: "a", 1: "b", 2: "c"}, "num_labels": 3},
    ],
    ids="-".join,
)
def test_loading_with_label_names_replaces_both_maps(given, tmp_path):
    HfAttnConfig(id2label={0: "ham", 1: "spam"}).save_pretrained(tmp_path)
    config = HfAttnConfig.from_pretrained(tmp_path, **given)
    assert config.id2label == {0: "a", 1: "b", 2: "c"}
    assert config.label2id == {"a": 0, "b": 1, "c": 2}
    round_trip(config, tmp_path / "again")


def test_model_loads_with_another_number_of_labels(tmp_path):
    model = small_classifier(num_labels=3)
    model.save_pretrained(tmp_path)
    loaded = HfAttnForSequenceClassification.from_pretrained(
        tmp_path, num_labels=5, ignore_mismatched_sizes=True
    )
    assert loaded.score.bias.shape == (5,)
    assert (loaded.score.reference == model.score.reference).all()


def test_outputs_of_our_own_are_ignored_at_inference():
    outputs = small_classifier()(
        torch.ones(1, 2, dtype=torch.long),
        output_attentions=True,
        output_hidden_states=True,
        output_contributions=True,
        output_intermediates=True,
    )
    assert set(outputs) - {"logits"} == set(HfAttnConfig.keys_to_ignore_at_inference)
