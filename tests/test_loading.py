"""Loading: a saved classifier comes back, and a broken one says which file is broken."""

import json
import shutil
import sys

import pytest
import torch
from models import small_classifier
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification

from hf_attn import HfAttnFoldedForSequenceClassification, HfAttnModel, InputError
from hf_attn.loading import load_classifier, load_label_names, load_unfolded


@pytest.fixture
def folder(trained_folder, tmp_path):
    return shutil.copytree(trained_folder, tmp_path / "model")


@pytest.fixture
def folded(folded_folder, tmp_path):
    return shutil.copytree(folded_folder, tmp_path / "folded")


def assert_refused(folder, *patterns):
    with pytest.raises(InputError) as caught:
        load_classifier(str(folder))
    for pattern in patterns:
        assert pattern in str(caught.value)


def test_load_classifier_gives_model_and_tokenizer(folder):
    model, tokenizer = load_classifier(str(folder))
    assert not model.training
    assert model(**tokenizer("wheat", return_tensors="pt")).logits.shape == (1, 2)
    assert load_label_names(str(folder)) == model.config.class_names == ["farm", "oil"]


def test_model_in_shards_loads(folder):
    model, tokenizer = load_classifier(str(folder))
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="1KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    inputs = tokenizer("wheat", return_tensors="pt")
    again, _ = load_classifier(str(folder))
    assert torch.equal(again(**inputs).logits, model(**inputs).logits)


def test_folded_model_loads_and_answers_the_same(folder, folded):
    model, tokenizer = load_classifier(str(folded))
    assert type(model) is HfAttnFoldedForSequenceClassification
    assert not model.training
    assert load_label_names(str(folded)) == model.config.class_names == ["farm", "oil"]
    inputs = tokenizer(["wheat of the market", "crude"], padding=True, return_tensors="pt")
    expected = load_classifier(str(folder))[0](**inputs).logits
    torch.testing.assert_close(model(**inputs).logits, expected, rtol=0, atol=1e-5)


def test_folded_model_in_shards_loads(folded):
    model, tokenizer = load_classifier(str(folded))
    (folded / "model.safetensors").unlink()
    model.save_pretrained(folded, max_shard_size=200)
    assert len(list(folded.glob("model-*.safetensors"))) > 1
    inputs = tokenizer("wheat", return_tensors="pt")
    again, _ = load_classifier(str(folded))
    assert torch.equal(again(**inputs).logits, model(**inputs).logits)


def test_folded_model_without_a_table_is_refused(folded):
    tables = load_file(folded / "model.safetensors")
    del tables["tables.tokens.key"]
    save_file(tables, folded / "model.safetensors", {"format": "pt"})
    assert_refused(folded, "got none for tables.tokens.key", "`hf-attn fold` finished")


def test_tables_of_another_size_are_refused(folded):
    config = json.loads((folded / "config.json").read_text())
    (folded / "config.json").write_text(json.dumps(config | {"head_dim": 16}))
    assert_refused(folded, "the weights cannot be loaded")


def test_table_type_that_there_is_not_is_refused(folded):
    config = json.loads((folded / "config.json").read_text())
    (folded / "config.json").write_text(json.dumps(config | {"table_dtype": "int4"}))
    assert_refused(folded, "the configuration cannot be loaded", "table_dtype")


def test_folded_model_is_refused_where_embeddings_are_needed(folder, folded):
    assert type(load_unfolded(str(folder), "a trace")[0]) is type(load_classifier(str(folder))[0])
    message = (
        f"{folded}: expected a model with embeddings and projections for a trace, got one that is "
        "folded: it has tables in their place. Give the folder that it was folded from."
    )
    with pytest.raises(InputError) as caught:
        load_unfolded(str(folded), "a trace")
    assert str(caught.value) == message


def test_missing_folder_says_what_to_give(tmp_path):
    assert_refused(tmp_path / "none", "expected a folder with a model, found none", "--output-dir")


def test_file_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    assert_refused(tmp_path / "file", "expected a folder with a model, found a file")


def test_folder_without_a_model_is_refused(tmp_path):
    assert_refused(tmp_path, "there is no config.json in it")


def test_hub_id_that_cannot_be_reached_names_it():
    assert_refused(
        "nobody/nothing", "nobody/nothing: cannot be fetched", "What has arrived is kept"
    )


@pytest.fixture
def adapter(folder, tmp_path):
    """A LoRA adapter of the model in `folder`, and what the model answers with it."""
    peft = pytest.importorskip("peft", reason="needs the extra hf-attn[lora]")
    model, tokenizer = load_classifier(str(folder))
    config = peft.LoraConfig(
        task_type="SEQ_CLS", target_modules=["q_proj", "v_proj"], modules_to_save=["score"], r=2
    )
    adapted = peft.get_peft_model(model, config).eval()
    with torch.no_grad():
        for parameter in adapted.parameters():
            parameter.add_(0.5 * parameter.requires_grad)
    adapted.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", adapted(**tokenizer("wheat crude", return_tensors="pt")).logits


def change_adapter(path, **fields):
    config = path / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **fields}))


def test_adapter_loads_merged_into_the_model_that_it_names(folder, adapter):
    path, logits = adapter
    model, tokenizer = load_classifier(str(path))
    inputs = tokenizer("wheat crude", return_tensors="pt")
    torch.testing.assert_close(model(**inputs).logits, logits, rtol=0, atol=1e-5)
    base, _ = load_classifier(str(folder))
    assert (base(**inputs).logits - logits).abs().max() > 0.1
    assert type(model) is type(base)
    assert not model.training
    assert load_label_names(str(path)) == ["farm", "oil"]


def test_adapter_without_its_model_or_its_weights_says_so(folder, adapter):
    path, _ = adapter
    change_adapter(path, base_model_name_or_path=str(path))
    assert_refused(path, "expected base_model_name_or_path to be a whole model, got", "an adapter")
    change_adapter(path, base_model_name_or_path=str(folder / "none"))
    assert_refused(path, "the adapter needs the model that it changes", "found none")
    (path / "adapter_model.safetensors").unlink()
    assert_refused(path, "there is no adapter_model.safetensors in it. Save the adapter again.")
    (path / "adapter_config.json").write_text("{}")
    assert_refused(path, "adapter_config.json: expected the configuration of an adapter in JSON")


def test_adapter_of_a_folded_model_is_refused(folded, adapter):
    change_adapter(adapter[0], base_model_name_or_path=str(folded))
    assert_refused(
        adapter[0], f"adapter_config.json: {folded}: expected a model with embeddings and",
        "for an adapter, got one that is folded",
    )  # fmt: skip


def test_adapter_of_another_shape_is_refused(folder, adapter):
    path, _ = adapter
    small_classifier(dtype=torch.float32, vocab_size=9).save_pretrained(folder)
    assert_refused(path, "the adapter cannot be loaded", "size mismatch")


def test_adapter_without_peft_says_what_to_install(adapter, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    assert_refused(adapter[0], "needs the package peft", "pip install 'hf-attn[lora]'")


def test_int8_weights_without_torchao_say_what_to_install(folder, monkeypatch):
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "torchao"}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("hf_attn.loading.is_torchao_available", lambda: False)
    assert_refused(folder, "int8 need the package torchao", "pip install 'hf-attn[int8]'")


@pytest.mark.parametrize("text", ["{", "[]", "\0\0"])
def test_broken_configuration_is_named(folder, text):
    (folder / "config.json").write_text(text)
    assert_refused(folder, "config.json: expected ")


def test_configuration_with_a_refused_value_is_named(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"head_dim": "wide"}))
    assert_refused(folder, "the configuration cannot be loaded", "head_dim")


def test_model_of_another_type_is_refused(tmp_path):
    config = BertConfig(
        vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=4,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    assert_refused(
        tmp_path, "expected a model of type 'hf_attn' or 'hf_attn_folded', got 'bert'", "hf-attn"
    )
    (tmp_path / "config.json").write_text('{"model_type": []}')
    assert_refused(tmp_path, "or 'hf_attn_folded', got []")


@pytest.mark.parametrize("content", [b"", b"not weights", None])
def test_broken_weights_are_named(folder, content):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100] if content is None else content)
    assert_refused(folder, "model.safetensors: expected weights in the safetensors format")


def test_missing_weights_are_named(folder):
    (folder / "model.safetensors").unlink()
    assert_refused(folder, "there is no model.safetensors in it")


def test_weights_without_a_head_are_refused(folder):
    HfAttnModel.from_pretrained(folder).save_pretrained(folder)
    assert_refused(folder, "expected the weights of a whole classifier", "score.out_proj.weight")


def test_weights_of_another_size_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 16}))
    assert_refused(folder, "the weights cannot be loaded")


@pytest.mark.parametrize("text", ["", "{}", '{"version": "1.0"'])
def test_broken_tokenizer_is_named(folder, text):
    (folder / "tokenizer.json").write_text(text)
    assert_refused(folder, "the tokenizer cannot be loaded")


def test_missing_tokenizer_is_named(folder):
    (folder / "tokenizer.json").unlink()
    assert_refused(folder, "there is no tokenizer.json in it")


def test_tokenizer_of_another_model_is_refused(folder):
    _, tokenizer = load_classifier(str(folder))
    tokenizer.add_tokens(["more", "words"])
    tokenizer.save_pretrained(folder)
    assert_refused(folder, "expected a tokenizer of at most vocab_size=", "another model")


def test_save_and_load_keep_every_bit_for_three_generations(folder, tmp_path):
    first, tokenizer = load_classifier(str(folder))
    model = first
    for generation in range(3):
        model.save_pretrained(tmp_path / str(generation))
        tokenizer.save_pretrained(tmp_path / str(generation))
        model, tokenizer = load_classifier(str(tmp_path / str(generation)))
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    names = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
    for name in names:
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name
