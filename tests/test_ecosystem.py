import copy
import math
import pickle

import pytest
import torch
from models import (
    VARIANTS,
    assert_all_equal,
    gradients,
    masked_batch,
    small_classifier,
    small_config,
    variant_name,
)
from reference import reference_outputs
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSequenceClassification, Trainer, TrainingArguments

from hf_attn import HfAttnForSequenceClassification, HfAttnModel, modeling_hf_attn

every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
RICHEST = VARIANTS[-1]
LABELS = torch.tensor([0, 1, 2, 0, 1])


def assert_contributions_sum_to_logits(model, tolerance, **inputs):
    with torch.no_grad():
        outputs = model(**inputs, output_contributions=True)
        assert torch.equal(outputs.logits, model(**inputs).logits)
    total = (outputs.bias + outputs.contributions.sum(1)).double()
    error = (total - outputs.logits.double()) / outputs.logits.double().abs().clamp(min=1)
    assert error.abs().max() <= tolerance
    assert outputs.contributions.abs().max() > 0.1
    return outputs


# Initialisation, saving and loading


@every_variant
def test_fresh_weights_have_the_range_of_the_config(variant):
    fields = {"vocab_size": 4000, "hidden_size": 64, "head_dim": 32, "initializer_range": 0.05}
    if variant["ngram_buckets"]:
        fields["ngram_buckets"] = 4000
    model = HfAttnForSequenceClassification(small_config(**(variant | fields)))
    for name, tensor in model.state_dict().items():
        if name.endswith(("score.bias", "reference", "bias.weight", "ngrams.weight", "slots")):
            assert not tensor.any(), name
        else:
            spread = 0.05 if "embed" in name else 64**-0.5
            # Six standard errors of a standard deviation.
            assert abs(tensor.std() / spread - 1) < 6 / math.sqrt(2 * tensor.numel()) + 1e-3, name
    assert not model.get_input_embeddings().weight[0].any()


def test_same_seed_gives_the_same_fresh_weights():
    def fresh(seed):
        torch.manual_seed(seed)
        return HfAttnForSequenceClassification(small_config()).state_dict()

    assert_all_equal(fresh(3), fresh(3))
    assert not torch.equal(*[fresh(seed)["score.out_proj.weight"] for seed in (3, 4)])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@every_variant
def test_reloaded_model_is_bit_equal(variant, dtype, tmp_path):
    model = small_classifier(dtype=dtype, **variant)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    dtypes = {name: tensor.dtype for name, tensor in loaded.state_dict().items()}
    assert dtypes.pop("model.embeddings.ngram_rows.slots", torch.int32) == torch.int32
    assert set(dtypes.values()) == {dtype}
    assert_all_equal(loaded.state_dict(), model.state_dict())
    assert torch.equal(loaded(**masked_batch()).logits, model(**masked_batch()).logits)


def test_weights_are_saved_as_safetensors_only(tmp_path):
    model = small_classifier(**RICHEST)
    model.save_pretrained(tmp_path)
    names = {path.name for path in tmp_path.iterdir() if path.suffix != ".py"}
    assert names == {"config.json", "model.safetensors"}
    assert_all_equal(load_file(tmp_path / "model.safetensors"), dict(model.state_dict()))


@pytest.mark.parametrize("missing", list(small_classifier(**RICHEST).state_dict()))
def test_parameter_missing_in_a_checkpoint_leaves_the_others(missing, tmp_path):
    model = small_classifier(**RICHEST)
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights[missing]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded, info = HfAttnForSequenceClassification.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert set(info["missing_keys"]) == {missing}
    state = loaded.state_dict()
    fresh = state.pop(missing)
    assert_all_equal(state, weights)
    assert fresh.isfinite().all()
    assert fresh.abs().max() < 2


def test_every_key_fits_between_classifier_and_base(tmp_path):
    model = small_classifier(**RICHEST)
    model.save_pretrained(tmp_path / "classifier")
    base, info = HfAttnModel.from_pretrained(tmp_path / "classifier", output_loading_info=True)
    assert not info["missing_keys"]
    assert_all_equal(base.state_dict(), model.model.state_dict())
    base.save_pretrained(tmp_path / "base")
    again, info = HfAttnForSequenceClassification.from_pretrained(
        tmp_path / "base", num_labels=3, output_loading_info=True
    )
    assert set(info["missing_keys"]) == {"score.out_proj.weight", "score.bias", "score.reference"}
    assert_all_equal(again.model.state_dict(), model.model.state_dict())


# Embedding size, dtype and device


@pytest.mark.parametrize("size", [40, 50, 57])
def test_resized_embedding_keeps_known_tokens(size):
    model, batch = small_classifier(**RICHEST), masked_batch(vocab_size=40)
    before = model(**batch).logits
    model.resize_token_embeddings(size)
    assert model.config.vocab_size == model.get_input_embeddings().num_embeddings == size
    assert torch.equal(model(**batch).logits, before)
    assert_contributions_sum_to_logits(model, 1e-12, **masked_batch(vocab_size=size))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@every_variant
def test_half_precision_gives_float32_logits_near_the_full_ones(variant, dtype, tmp_path):
    model = small_classifier(dtype=torch.float32, **variant)
    model.save_pretrained(tmp_path)
    loaded = HfAttnForSequenceClassification.from_pretrained(tmp_path, dtype=dtype)
    assert {parameter.dtype for parameter in loaded.parameters()} == {dtype}
    batch = masked_batch()
    outputs = loaded(**batch, output_contributions=True)
    # The exact result for these rounded weights; what is left are about ten roundings of numbers
    # up to the size of the summed contributions.
    expected = reference_outputs(loaded, **batch)
    parts = expected["direct_contributions"].abs() + expected["context_contributions"].abs()
    bound = 20 * torch.finfo(dtype).eps * (1 + parts.sum(1))
    for value in (outputs.logits, outputs.bias + outputs.contributions.sum(1)):
        assert value.dtype == torch.float32
        assert ((value - expected["logits"]).abs() <= bound).all()


def test_half_precision_trains(tmp_path):
    model = small_classifier(dtype=torch.bfloat16, **RICHEST).train()
    model(**masked_batch(), labels=LABELS).loss.backward()
    for name, gradient in gradients(model).items():
        assert gradient.isfinite().all(), name
        assert gradient.dtype == torch.bfloat16


def test_autocast_gives_float32_logits():
    model = small_classifier(dtype=torch.float32, **RICHEST)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(**masked_batch(), labels=LABELS)
    assert outputs.logits.dtype == torch.float32
    torch.testing.assert_close(outputs.logits, model(**masked_batch()).logits, rtol=0.1, atol=0.3)


@pytest.mark.parametrize("placed", ["cpu", "disk"])
def test_device_map_places_and_computes_the_same(placed, tmp_path):
    model = small_classifier(**RICHEST)
    model.save_pretrained(tmp_path / "model")
    device_map = {"": "cpu"} if placed == "cpu" else {"model": "cpu", "score": "disk"}
    loaded = HfAttnForSequenceClassification.from_pretrained(
        tmp_path / "model", device_map=device_map, offload_folder=tmp_path / "offload"
    )
    for asked in ({}, {"output_contributions": True}):
        torch.testing.assert_close(
            loaded(**masked_batch(), **asked).to_tuple(),
            model(**masked_batch(), **asked).to_tuple(),
            rtol=0,
            atol=0,
        )


# Activation checkpointing, compilation and export


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_activation_checkpointing_gives_equal_gradients(dropout, monkeypatch):
    model = small_classifier(attention_dropout=dropout, **RICHEST).train()
    calls = []
    attend = modeling_hf_attn.HfAttnAttention.attend

    def spy(*args, **kwargs):
        calls.append(args)
        return attend(*args, **kwargs)

    monkeypatch.setattr(modeling_hf_attn.HfAttnAttention, "attend", spy)

    def run():
        torch.manual_seed(0)
        model.zero_grad()
        calls.clear()
        model(**masked_batch(), labels=LABELS).loss.backward()
        return len(calls), gradients(model)

    once, expected = run()
    model.activation_checkpointing_enable()
    twice, recomputed = run()
    assert (once, twice) == (1, 2)
    assert_all_equal(recomputed, expected, atol=1e-13)


@pytest.mark.parametrize(
    "asked",
    [{}, {"output_attentions": True}, {"output_contributions": True}],
    ids=lambda asked: "".join(asked) or "logits",
)
def test_compiled_model_equals_eager(asked):
    # Inductor's C++ toolchain is not everywhere; tracing whole and lowering is what can break.
    torch.compiler.reset()
    model = small_classifier(**RICHEST)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for length in (30, 17):
        batch = masked_batch(length)
        with torch.no_grad():
            actual, expected = compiled(**batch, **asked), model(**batch, **asked)
        assert list(actual) == list(expected)
        torch.testing.assert_close(actual.to_tuple(), expected.to_tuple(), rtol=0, atol=1e-12)


def test_compiled_model_trains_like_eager():
    torch.compiler.reset()
    model = small_classifier(problem_type="single_label_classification", **RICHEST).train()
    model(**masked_batch(), labels=LABELS).loss.backward()
    expected = gradients(model)
    model.zero_grad()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    compiled(**masked_batch(), labels=LABELS).loss.backward()
    assert_all_equal(gradients(model), expected, atol=1e-12)


def test_compiled_model_that_hides_tokens_trains_on_any_length():
    torch.compiler.reset()
    model = small_classifier(token_dropout=0.5).train()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for length in (30, 30, 24, 17):
        outputs = compiled(**masked_batch(length), labels=LABELS)
        outputs.loss.backward()
    assert model.score.bias.grad.isfinite().all()


@pytest.mark.parametrize("asked", [{}, {"output_attentions": True, "output_contributions": True}])
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_exported_model_equals_eager(dynamic, asked, monkeypatch):
    monkeypatch.setattr(modeling_hf_attn, "MAX_SCORES_PER_BLOCK", 100)  # an export has one block
    model, batch = small_classifier(**RICHEST), masked_batch()
    axes = {0: torch.export.Dim("batch", max=64), 1: torch.export.Dim("tokens", max=4096)}
    shapes = {"input_ids": axes, "attention_mask": axes} | dict.fromkeys(asked)
    program = torch.export.export(
        model, (), batch | asked, dynamic_shapes=shapes if dynamic else None, strict=False
    ).module()
    batches = [batch]
    if dynamic:
        batches += [{name: tensor[:2] for name, tensor in masked_batch(71).items()}]
        batches += [{name: tensor[:1, :1] for name, tensor in batch.items()}]
    for inputs in batches:
        actual, expected = program(**inputs, **asked), model(**inputs, **asked)
        torch.testing.assert_close(actual.to_tuple(), expected.to_tuple(), rtol=0, atol=1e-12)


# Adapters and int8


def adapted(model):
    peft = pytest.importorskip("peft", reason="needs the extra hf-attn[lora]")
    config = peft.LoraConfig(
        task_type="SEQ_CLS", target_modules=["q_proj", "k_proj", "v_proj"], r=2, lora_alpha=8
    )
    torch.manual_seed(0)
    return peft.get_peft_model(model, config)


def move(parameters):
    """Takes a step away from LoRA's start, where an adapter changes nothing."""
    with torch.no_grad():
        for parameter in parameters:
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)


def test_lora_trains_adapters_and_the_whole_head():
    model = adapted(small_classifier(**RICHEST))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.removeprefix("base_model.model.") for name in trained} == {
        *(
            f"model.attention.{projection}.lora_{side}.default.weight"
            for projection in ("q_proj", "k_proj", "v_proj")
            for side in "AB"
        ),
        "score.modules_to_save.default.out_proj.weight",
        "score.modules_to_save.default.bias",
    }


def test_contributions_stay_exact_under_lora():
    model, batch = small_classifier(**RICHEST), masked_batch()
    before = model(**batch).logits.detach()
    model = adapted(model).eval()
    move(model.parameters())
    outputs = assert_contributions_sum_to_logits(model, 1e-12, **batch)
    assert (outputs.logits - before).abs().max() > 0.1
    merged = model.merge_and_unload()
    torch.testing.assert_close(merged(**batch).logits, outputs.logits, rtol=0, atol=1e-11)


def test_set_reference_reaches_the_trained_head_under_lora(tmp_path):
    peft = pytest.importorskip("peft", reason="needs the extra hf-attn[lora]")
    model = small_classifier(**RICHEST)
    model.save_pretrained(tmp_path / "base")
    model = adapted(model).eval()
    move(model.parameters())
    batch, names = masked_batch(), set(model.state_dict())
    before = model(**batch).logits
    model.base_model.model.set_reference(torch.ones(8, dtype=torch.float64))
    assert set(model.state_dict()) == names
    after = model(**batch)
    torch.testing.assert_close(after.logits[:4], before[:4], rtol=0, atol=1e-11)
    assert (after.logits[4] - before[4]).abs().max() > 1e-2
    model.save_pretrained(tmp_path / "adapter")
    base = HfAttnForSequenceClassification.from_pretrained(tmp_path / "base")
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "adapter")
    assert torch.equal(loaded(**batch).logits, after.logits)


def test_adapter_is_the_same_after_saving(tmp_path):
    peft = pytest.importorskip("peft", reason="needs the extra hf-attn[lora]")
    model = small_classifier(**RICHEST)
    model.save_pretrained(tmp_path / "base")
    model = adapted(model).eval()
    move(model.parameters())
    model.save_pretrained(tmp_path / "adapter")
    base = HfAttnForSequenceClassification.from_pretrained(tmp_path / "base")
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "adapter")
    assert torch.equal(loaded(**masked_batch()).logits, model(**masked_batch()).logits)


def test_accumulation_under_lora_equals_one_large_batch(tmp_path):
    rows = [
        {name: tensor[row] for name, tensor in (masked_batch() | {"labels": LABELS}).items()}
        for row in range(4)
    ]
    trained = []
    for size, steps in ((4, 1), (1, 4)):
        model = adapted(small_classifier(dtype=torch.float32, **RICHEST))
        arguments = TrainingArguments(
            tmp_path,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=steps,
            max_steps=1,
            optim="sgd",
            learning_rate=0.1,
            max_grad_norm=0,  # clipping would hide a gradient that is some times too large
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
        )
        Trainer(model, arguments, train_dataset=rows).train()
        trained.append(model.state_dict())
    assert_all_equal(trained[1], trained[0], atol=2e-6)


@pytest.mark.parametrize("head", ["kept", "converted"])
def test_contributions_stay_exact_in_int8(head, tmp_path):
    quantization = pytest.importorskip(
        "torchao.quantization", reason="needs the extra hf-attn[int8]"
    )
    from transformers import TorchAoConfig

    model = small_classifier(dtype=torch.float32, hidden_size=64, head_dim=32, **RICHEST)
    with torch.no_grad():
        for projection in (model.model.attention.q_proj, model.model.attention.k_proj):
            projection.weight.div_(8)  # wider features make larger scores
    model.save_pretrained(tmp_path)
    loaded = HfAttnForSequenceClassification.from_pretrained(
        tmp_path,
        quantization_config=TorchAoConfig(
            quantization.Int8WeightOnlyConfig(),
            modules_to_not_convert=["score"] if head == "kept" else [],
        ),
    )
    converted = [
        name
        for name, module in loaded.named_modules()
        if isinstance(module, torch.nn.Linear) and type(module.weight) is not torch.nn.Parameter
    ]
    attention = [f"model.attention.{name}_proj" for name in "qkv"]
    assert set(converted) >= set(attention)
    assert ("score.out_proj" in converted) == (head == "converted")
    # Weights of 8 bits, sums in float32: what a logit loses is float32 rounding.
    outputs = assert_contributions_sum_to_logits(loaded, 1e-5, **masked_batch())
    expected = model(**masked_batch()).logits
    assert (outputs.logits - expected).norm() < 0.1 * expected.norm()


# Copies


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deepcopy", "pickle"],
)
def test_copied_model_is_equal_and_independent(copied):
    model = small_classifier(**RICHEST)
    expected = model(**masked_batch(), output_attentions=True)
    twin = copied(model)
    actual = twin(**masked_batch(), output_attentions=True)
    torch.testing.assert_close(actual.to_tuple(), expected.to_tuple(), rtol=0, atol=0)
    move(twin.parameters())
    assert torch.equal(model(**masked_batch()).logits, expected.logits)


def test_auto_model_from_config_is_the_base():
    assert type(AutoModel.from_config(small_config())) is HfAttnModel
