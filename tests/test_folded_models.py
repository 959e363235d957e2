"""Folded models as models of transformers: saved, loaded, and in other dtypes and places."""

import copy

import pytest
import torch
from models import DEVICES, masked_batch, small_classifier
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from hf_attn import HfAttnFoldedConfig, HfAttnFoldedForSequenceClassification, fold

TABLE_DTYPES = ["float32", "float16", "int8"]
# Three classes are tabulated as logits; twelve, more than the eight features, as features.
KINDS = [
    {"num_labels": num_labels, "classifier_pooling": pooling, "ngram_buckets": 37}
    for num_labels in (3, 12)
    for pooling in ("mean", "static")
]


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind['num_labels']}-{kind['classifier_pooling']}")
def plain(request):
    return small_classifier(dtype=torch.float32, **request.param)


def answers(model, **batch):
    with torch.inference_mode():
        outputs = model(
            **batch, output_contributions=True, output_attentions=True, output_intermediates=True
        )
    return {name: outputs[name] for name in ("logits", "contributions", "attention_received")}


def assert_answers_close(model, expected, atol):
    found = answers(model, **{k: v.to(model.device) for k, v in masked_batch().items()})
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name].cpu().double(), tensor.double(), rtol=0, atol=atol, msg=name
        )


@pytest.mark.parametrize("table_dtype", TABLE_DTYPES)
def test_save_and_load_keep_every_bit(plain, table_dtype, tmp_path):
    folded = fold(plain, table_dtype=table_dtype)
    folded.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded) is HfAttnFoldedForSequenceClassification
    assert not loaded.training
    saved = folded.state_dict()
    assert saved.keys() == loaded.state_dict().keys()
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == saved[name].dtype, name
        assert torch.equal(tensor, saved[name]), name
    assert loaded.tables.tokens.query.dtype == getattr(torch, table_dtype)
    batch = masked_batch()
    for name, tensor in answers(loaded, **batch).items():
        assert torch.equal(tensor, answers(folded, **batch)[name]), name


@pytest.mark.parametrize("table_dtype", TABLE_DTYPES)
def test_auto_config_tells_what_the_tables_hold(table_dtype, tmp_path):
    fold(small_classifier(dtype=torch.float32), table_dtype=table_dtype).save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert type(config) is HfAttnFoldedConfig
    assert config.table_dtype == table_dtype


@pytest.mark.parametrize("table_dtype", TABLE_DTYPES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_that_is_asked_for_when_loading_leaves_the_tables(
    plain, table_dtype, dtype, tmp_path
):
    folded = fold(plain, table_dtype=table_dtype)
    folded.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=dtype)
    for name in ("query", "key", "direct_values", "context_values"):
        assert torch.equal(
            getattr(loaded.tables.tokens, name), getattr(folded.tables.tokens, name)
        ), name
    assert loaded.score.bias.dtype == dtype
    atol = {torch.float16: 1e-2, torch.bfloat16: 1e-1, torch.float64: 1e-5}[dtype]
    assert_answers_close(loaded, answers(folded, **masked_batch()), atol)


@pytest.mark.parametrize("table_dtype", TABLE_DTYPES)
@pytest.mark.parametrize(
    ("convert", "atol"), [("half", 1e-2), ("bfloat16", 1e-1), ("double", 1e-5)]
)
def test_model_in_another_dtype_answers_nearly_the_same(plain, table_dtype, convert, atol):
    folded = fold(plain, table_dtype=table_dtype)
    expected = answers(folded, **masked_batch())
    converted = getattr(copy.deepcopy(folded), convert)()
    if table_dtype == "int8":
        assert converted.tables.tokens.query.dtype == torch.int8
    assert_answers_close(converted, expected, atol)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("table_dtype", TABLE_DTYPES)
def test_model_on_a_device_answers_the_same(plain, table_dtype, device):
    folded = fold(plain, table_dtype=table_dtype)
    expected = answers(folded, **masked_batch())
    assert_answers_close(copy.deepcopy(folded).to(device), expected, 1e-5)


def test_base_model_of_a_folded_one_is_refused(tmp_path):
    fold(small_classifier(dtype=torch.float32)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"Unrecognized configuration class.*HfAttnFoldedConfig"):
        AutoModel.from_pretrained(tmp_path)
