import math

import pytest
import torch
from models import (
    DEVICES,
    LENGTH,
    MODES,
    VARIANTS,
    assert_all_equal,
    gradients,
    masked_batch,
    small_classifier,
    small_config,
    variant_name,
)
from reference import hash_bigram, reference_outputs
from torch.nn import functional as F
from transformers import Trainer, TrainingArguments
from transformers.models.t5.modeling_t5 import T5Attention

from hf_attn import HfAttnForSequenceClassification, HfAttnModel, modeling_hf_attn
from hf_attn.modeling_hf_attn import HfAttnRelativeBias

every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
both_modes = pytest.mark.parametrize("mode", MODES)
both_dtypes = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["f64", "f32"]
)
KEPT = {"output_attentions": True, "output_hidden_states": True, "output_contributions": True}


def assert_near(actual, expected, tolerance):
    error = (actual.detach().cpu().double() - expected) / expected.abs().clamp(min=1)
    assert error.abs().max() <= tolerance


# The forward pass


@pytest.mark.parametrize("device", DEVICES)
@both_dtypes
@every_variant
def test_classifier_equals_numpy_reference(variant, dtype, tolerance, device):
    model = small_classifier(dtype=dtype, **variant).to(device)
    batch = {name: tensor.to(device) for name, tensor in masked_batch().items()}
    expected = reference_outputs(model, **batch)
    with torch.no_grad():
        outputs = model(**batch, **KEPT)
    real = batch["attention_mask"].bool().cpu()
    assert_near(outputs.logits, expected["logits"], tolerance)
    assert_near(outputs.attentions[0], expected["attentions"], tolerance)
    assert_near(outputs.hidden_states[0].cpu()[real], expected["features"][real], tolerance)
    assert_near(
        outputs.hidden_states[1].cpu()[real], expected["last_hidden_state"][real], tolerance
    )
    for name in (
        "pool_weights",
        "attention_received",
        "direct_contributions",
        "context_contributions",
    ):
        assert_near(outputs[name], expected[name], tolerance)
    assert_near(
        outputs.contributions,
        expected["direct_contributions"] + expected["context_contributions"],
        tolerance,
    )


def test_small_classifier_attends_far_from_uniformly():
    batch = masked_batch()
    attention = small_classifier()(**batch, output_attentions=True).attentions[0][0, 0]
    assert attention.max(-1).values.median() > 10 / LENGTH


@both_dtypes
@every_variant
def test_base_model_equals_numpy_reference(variant, dtype, tolerance):
    model = small_classifier(dtype=dtype, **variant)
    batch, real = masked_batch(), masked_batch()["attention_mask"].bool()
    model.score.reference.zero_()
    expected = reference_outputs(model, **batch)
    outputs = model.model(**batch)
    assert_near(outputs.last_hidden_state[real], expected["last_hidden_state"][real], tolerance)
    assert_near(outputs.pooler_output, expected["pooled"], tolerance)
    assert_near(outputs.pool_weights, expected["pool_weights"], tolerance)
    assert_near(outputs.attention_received, expected["attention_received"], tolerance)


@pytest.mark.parametrize(("buckets", "max_distance"), [(4, 2), (32, 128), (32, 20), (64, 1000)])
def test_distance_buckets_equal_those_of_t5(buckets, max_distance):
    config = small_config(
        relative_attention_num_buckets=buckets, relative_attention_max_distance=max_distance
    )
    expected = T5Attention._relative_position_bucket(
        torch.arange(-3000, 3000), num_buckets=buckets, max_distance=max_distance
    )
    relative_bias = HfAttnRelativeBias(config)
    relative_bias.weight.data = torch.arange(buckets, dtype=torch.float32)
    assert torch.equal(relative_bias(3000, torch.device("cpu")).long(), expected)
    assert set(expected.tolist()) == set(range(buckets)) - {buckets // 2}


def test_word_order_changes_logits_through_buckets_only():
    ids = masked_batch()["input_ids"][:1]
    ordered, unordered = small_classifier(), small_classifier(relative_attention_num_buckets=0)
    assert (ordered(ids).logits - ordered(ids.flip(1)).logits).abs().max() > 1e-2
    torch.testing.assert_close(unordered(ids).logits, unordered(ids.flip(1)).logits)


def test_text_longer_than_any_named_length_is_classified():
    model = small_classifier(ngram_buckets=37)
    ids = torch.randint(1, 50, (1, 1000))
    expected = reference_outputs(model, ids, torch.ones_like(ids))
    assert_near(model(ids).logits, expected["logits"], 1e-12)


@pytest.mark.parametrize("side", ["left", "right"])
def test_bigram_passes_over_what_the_mask_hides(side):
    embeddings = small_classifier(ngram_buckets=37).model.embeddings
    ids = torch.tensor([[7, 9, 11, 13, 15, 17]])
    mask = torch.tensor([[1, 1, 0, 0, 1, 1] if side == "right" else [0, 0, 1, 0, 1, 1]]).bool()
    previous = embeddings.previous_ids(ids, mask)[mask]
    expected = [0, 7, 9, 15] if side == "right" else [0, 11, 15]
    assert previous.tolist() == expected


def test_bigrams_of_ids_in_32_bits_are_the_same():
    model = small_classifier(vocab_size=30_000, ngram_buckets=4096)
    ids = torch.randint(1, 30_000, (3, 20))
    assert torch.equal(model(ids).logits, model(ids.int()).logits)


def test_known_bigrams_have_rows_of_their_own_and_others_none():
    model = small_classifier(vocab_size=3000, ngram_buckets=37)
    pairs = torch.randint(3000, (400, 2), generator=torch.Generator().manual_seed(0))
    model.model.set_known_bigrams(pairs)
    config, embeddings = model.config, model.model.embeddings
    row_of_slot = {}
    for previous, token in pairs.tolist():
        row_of_slot.setdefault(
            hash_bigram(previous, token, config.ngram_slots), len(row_of_slot) + 1
        )
    others = torch.randint(3000, (400, 2), generator=torch.Generator().manual_seed(1))
    asked = torch.cat([pairs, others])
    expected = [row_of_slot.get(hash_bigram(*pair, config.ngram_slots), 0) for pair in asked]
    assert embeddings.ngram_rows(*asked.T).tolist() == expected
    assert len(row_of_slot) > 360  # few pairs meet in a slot,
    assert sum(row > 0 for row in expected[400:]) < 60  # and few others fall on one
    assert config.ngram_buckets == len(embeddings.embed_ngrams.weight) == len(row_of_slot) + 1
    assert not embeddings.embed_ngrams.weight.any()
    assert embeddings.embed_ngrams.weight.dtype == torch.float64


def test_row_of_unknown_bigrams_stays_0_in_training():
    model = small_classifier(ngram_buckets=37).train()
    model.model.set_known_bigrams(torch.tensor([[7, 9]]))
    model(torch.tensor([[7, 9, 11]]), labels=torch.tensor([1])).loss.backward()
    changes = model.model.embeddings.embed_ngrams.weight.grad.abs().sum(1) > 0
    assert changes.tolist() == [False, True]


def test_model_may_know_no_bigram():
    model = small_classifier(ngram_buckets=37)
    model.model.set_known_bigrams(torch.empty(0, 2, dtype=torch.long))
    without = small_classifier()
    without.load_state_dict(model.state_dict(), strict=False)
    ids = masked_batch()["input_ids"]
    assert torch.equal(model(ids).logits, without(ids).logits)


@pytest.mark.parametrize(
    ("fields", "pairs", "message"),
    [
        ({}, [[7, 9]], "expected a model with bigrams, got one with ngram_buckets=0"),
        ({"ngram_buckets": 37}, [7, 9], r"pairs must be \(pairs, 2\), got \(2,\)"),
        ({"ngram_buckets": 37}, [[7, 9, 11]], r"pairs must be \(pairs, 2\), got \(1, 3\)"),
    ],
)
def test_known_bigrams_that_do_not_fit_are_refused(fields, pairs, message):
    with pytest.raises(ValueError, match=message):
        small_classifier(**fields).model.set_known_bigrams(torch.tensor(pairs))


# Intermediates


@both_dtypes
@every_variant
def test_intermediates_lead_to_the_logits(variant, dtype, tolerance):
    model, batch = small_classifier(dtype=dtype, **variant), masked_batch()
    outputs = model(**batch, output_intermediates=True)
    expected = reference_outputs(model, **batch)
    mask = batch["attention_mask"].bool()
    weights = outputs.attention_scores[0].softmax(-1) * (
        mask.unsqueeze(1) & mask.unsqueeze(2)
    ).unsqueeze(1)
    assert_near(weights, expected["attentions"], tolerance)
    pool = outputs.pool_scores.masked_fill(~mask, -torch.inf).softmax(-1).nan_to_num()
    assert_near(pool, expected["pool_weights"], tolerance)
    direct = pool.unsqueeze(-1) * outputs.direct_values
    assert_near(direct, expected["direct_contributions"], tolerance)
    context = (pool.unsqueeze(1) @ weights[:, 0]).mT * outputs.context_values
    assert_near(context, expected["context_contributions"], tolerance)


@every_variant
def test_token_terms_are_the_intermediates(variant):
    model, batch = small_classifier(**variant), masked_batch()
    mask = batch["attention_mask"].bool()
    outputs = model(**batch, output_intermediates=True)
    previous = model.model.embeddings.previous_ids(batch["input_ids"], mask)
    terms = model.token_terms(batch["input_ids"], previous)
    for name, value in terms._asdict().items():
        assert_near(value[mask], outputs[name][mask], 1e-12)


# Contributions


@both_dtypes
@both_modes
@every_variant
def test_bias_and_contributions_sum_to_logits(variant, mode, dtype, tolerance):
    model = small_classifier(dtype=dtype, attention_dropout=0.3, **variant).train(mode == "train")
    outputs = model(**masked_batch(), output_contributions=True)
    total = outputs.bias + outputs.contributions.sum(1)
    assert_near(total, outputs.logits.detach().double(), tolerance)


@every_variant
def test_contributions_are_zero_at_padding(variant):
    batch = masked_batch()
    outputs = small_classifier(**variant)(**batch, output_contributions=True)
    padding = batch["attention_mask"] == 0
    for name in ("contributions", "direct_contributions", "context_contributions"):
        assert outputs[name][padding].abs().max() == 0
        assert outputs[name][~padding].abs().min() > 0


@pytest.mark.parametrize("side", ["left", "right"])
@every_variant
def test_contributions_are_the_same_padded_or_not(variant, side):
    model = small_classifier(**variant)
    ids = torch.randint(1, 50, (1, 9))
    alone = model(ids, output_contributions=True)
    padding = (5, 0) if side == "left" else (0, 5)
    padded = model(
        F.pad(ids, padding), F.pad(torch.ones_like(ids), padding), output_contributions=True
    )
    torch.testing.assert_close(padded.logits, alone.logits, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        padded.contributions, F.pad(alone.contributions, (0, 0, *padding)), rtol=0, atol=1e-12
    )


def test_contributions_are_left_out_unless_asked_for():
    outputs = small_classifier()(**masked_batch())
    assert list(outputs) == ["logits"]


def test_bias_is_the_logit_of_a_text_of_reference_tokens():
    model = small_classifier()
    ids = torch.full((1, 4), 7)
    model.set_reference(model.model(ids, output_hidden_states=True).hidden_states[0][0, 0])
    torch.testing.assert_close(model(ids).logits[0], model.score.bias, rtol=0, atol=1e-12)


@both_modes
@every_variant
def test_set_reference_keeps_logits_of_texts_with_tokens(variant, mode):
    model = small_classifier(**variant).train(mode == "train")
    batch = masked_batch()
    before = model(**batch).logits
    model.set_reference(torch.randn(8))
    after = model(**batch).logits
    torch.testing.assert_close(after[:4], before[:4], rtol=0, atol=1e-12)
    assert (after[4] - before[4]).abs().min() > 1e-2


def test_set_reference_twice_changes_nothing_more():
    model = small_classifier()
    reference = torch.randn(8, dtype=torch.float64)
    model.set_reference(reference)
    once = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.set_reference(reference)
    assert_all_equal(model.state_dict(), once)
    assert torch.equal(model.score.reference, reference)


# Attention weights and the other outputs on request


def save(model, folder):
    model.save_pretrained(folder)
    return folder


def assert_attentions_fit(attentions, attention_mask):
    assert len(attentions) == 1
    batch_size, length = attention_mask.shape
    assert attentions[0].shape == (batch_size, 1, length, length)
    real = attention_mask.bool()
    rows = attentions[0][:, 0]
    torch.testing.assert_close(rows.sum(-1), real.to(rows.dtype), rtol=0, atol=1e-6)
    assert rows[~real].abs().sum() == 0
    assert rows.transpose(1, 2)[~real].abs().sum() == 0


@pytest.mark.parametrize("implementation", [None, "eager", "sdpa"])
@pytest.mark.parametrize("model_class", [HfAttnModel, HfAttnForSequenceClassification])
def test_attentions_come_from_a_loaded_model(implementation, model_class, tmp_path):
    given = {} if implementation is None else {"attn_implementation": implementation}
    model = model_class.from_pretrained(save(small_classifier(), tmp_path), **given)
    batch = masked_batch()
    assert_attentions_fit(
        model(**batch, output_attentions=True).attentions, batch["attention_mask"]
    )
    assert model(**batch).attentions is None


@pytest.mark.parametrize("implementation", [None, "eager", "sdpa"])
def test_attentions_come_from_a_model_loaded_to_give_them(implementation, tmp_path):
    given = {} if implementation is None else {"attn_implementation": implementation}
    model = HfAttnForSequenceClassification.from_pretrained(
        save(small_classifier(), tmp_path), output_attentions=True, **given
    )
    batch = masked_batch()
    assert_attentions_fit(model(**batch).attentions, batch["attention_mask"])
    assert model(**batch, output_attentions=False).attentions is None


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_attentions_come_from_a_config_told_later(implementation, tmp_path):
    model = HfAttnForSequenceClassification.from_pretrained(save(small_classifier(), tmp_path))
    model.set_attn_implementation(implementation)
    model.config.output_attentions = True
    batch = masked_batch()
    assert_attentions_fit(model(**batch).attentions, batch["attention_mask"])


def test_eager_and_sdpa_give_the_same_bits(tmp_path):
    folder = save(small_classifier(), tmp_path)
    logits = [
        HfAttnForSequenceClassification.from_pretrained(folder, attn_implementation=name)(
            **masked_batch()
        ).logits
        for name in ("eager", "sdpa")
    ]
    assert torch.equal(*logits)


@pytest.mark.parametrize("name", ["flash_attention_2", "flex_attention"])
def test_fused_attention_is_refused_when_loading(name, tmp_path):
    message = f'attn_implementation="{name}"` is not supported.*Leave attn_implementation out'
    with pytest.raises(ValueError, match=message):
        HfAttnForSequenceClassification.from_pretrained(
            save(small_classifier(), tmp_path), attn_implementation=name
        )


@pytest.mark.parametrize("name", ["flash_attention_2", "flex_attention"])
def test_fused_attention_is_refused_on_a_built_model(name):
    with pytest.raises(ValueError, match=f'"{name}"` is not supported'):
        small_classifier().set_attn_implementation(name)


def test_return_dict_false_gives_the_outputs_in_order():
    model, batch = small_classifier(), masked_batch()
    labels = torch.tensor([0, 1, 2, 0, 1])
    outputs = model(**batch, labels=labels, **KEPT)
    values = model(**batch, labels=labels, **KEPT, return_dict=False)
    names = [
        "loss",
        "logits",
        "hidden_states",
        "attentions",
        "contributions",
        "direct_contributions",
        "context_contributions",
        "pool_weights",
        "attention_received",
        "bias",
    ]
    assert list(outputs) == names
    assert len(values) == len(names)
    for name, value in zip(names, values, strict=True):
        torch.testing.assert_close(value, outputs[name], rtol=0, atol=0)


def test_base_return_dict_false_gives_the_outputs_in_order():
    model, batch = small_classifier().model, masked_batch()
    asked = {"output_attentions": True, "output_hidden_states": True}
    values = model(**batch, **asked, return_dict=False)
    outputs = model(**batch, **asked)
    assert list(outputs) == [
        "last_hidden_state",
        "pooler_output",
        "hidden_states",
        "attentions",
        "pool_weights",
        "attention_received",
    ]
    torch.testing.assert_close(values, outputs.to_tuple(), rtol=0, atol=0)


@pytest.mark.parametrize("from_config", [False, True])
def test_hidden_states_are_the_features_before_and_after(from_config):
    model, batch = small_classifier(), masked_batch()
    model.config.output_hidden_states = from_config
    asked = {} if from_config else {"output_hidden_states": True}
    states = model(**batch, **asked).hidden_states
    base = model.model(**batch)
    assert len(states) == 2
    embedded = model.model.embeddings.embed_tokens(batch["input_ids"])
    assert torch.equal(states[0], embedded * math.sqrt(model.config.hidden_size))
    assert torch.equal(states[1], base.last_hidden_state)


def test_inputs_embeds_give_what_their_ids_give():
    model, batch = small_classifier(), masked_batch()
    embeds = model.get_input_embeddings()(batch["input_ids"])
    mask = batch["attention_mask"]
    given_ids = model(**batch, **KEPT)
    given_embeds = model(inputs_embeds=embeds, attention_mask=mask, **KEPT)
    torch.testing.assert_close(given_embeds.to_tuple(), given_ids.to_tuple(), rtol=0, atol=0)
    assert torch.equal(model(inputs_embeds=embeds).logits, model(batch["input_ids"]).logits)


@pytest.mark.parametrize("part", ["classifier", "base"])
def test_both_or_neither_inputs_are_refused(part):
    model = small_classifier() if part == "classifier" else small_classifier().model
    ids = masked_batch()["input_ids"]
    with pytest.raises(ValueError, match=r"Exactly one of input_ids and inputs_embeds.*neither"):
        model()
    with pytest.raises(ValueError, match=r"Exactly one of input_ids and inputs_embeds.*both"):
        model(ids, inputs_embeds=model.get_input_embeddings()(ids))


@pytest.mark.parametrize("shape", [(5, LENGTH - 1), (5, 1, 1, LENGTH), (LENGTH,), (1, LENGTH)])
def test_mask_of_another_shape_is_refused(shape):
    message = rf"\(batch, tokens\) like the input, \(5, {LENGTH}\), got \({shape[0]},"
    with pytest.raises(ValueError, match=message):
        small_classifier()(masked_batch()["input_ids"], torch.ones(shape))


def test_inputs_embeds_with_bigrams_are_refused():
    message = r"no token ids, and this model \(ngram_buckets=37\).*Pass input_ids"
    with pytest.raises(ValueError, match=message):
        small_classifier(ngram_buckets=37)(inputs_embeds=torch.randn(1, 4, 8))


# Padding, batches and edges


@both_modes
@every_variant
def test_batch_gives_what_each_text_gives_alone(variant, mode):
    model = small_classifier(**variant).train(mode == "train")
    batch = masked_batch()
    together = model(**batch).logits
    for row, (ids, mask) in enumerate(zip(*batch.values(), strict=True)):
        kept = mask.bool() if row != 3 else slice(None)  # holes belong to the text
        alone = model(ids[kept][None], mask[kept][None])
        torch.testing.assert_close(alone.logits[0], together[row], rtol=0, atol=1e-12)


@every_variant
def test_ids_at_padding_change_nothing(variant):
    model, batch = small_classifier(**variant), masked_batch()
    outputs = model(**batch, output_contributions=True)
    padding = batch["attention_mask"] == 0
    batch["input_ids"][padding] = torch.randint(0, 50, (int(padding.sum()),))
    changed = model(**batch, output_contributions=True)
    assert torch.equal(changed.logits, outputs.logits)
    assert torch.equal(changed.contributions, outputs.contributions)


@both_modes
@every_variant
def test_fully_padded_text_gives_the_bias(variant, mode):
    model = small_classifier(**variant).train(mode == "train")
    outputs = model(**masked_batch(), **KEPT)
    assert torch.equal(outputs.logits[4], outputs.bias)
    assert outputs.contributions[4].abs().max() == 0
    assert outputs.attentions[0][4].abs().max() == 0
    assert outputs.pool_weights[4].abs().max() == 0


@every_variant
def test_fully_padded_texts_give_finite_gradients(variant):
    model = small_classifier(**variant).train()
    batch = {name: tensor[4:] for name, tensor in masked_batch().items()}
    model(**batch, labels=torch.tensor([1])).loss.backward()
    for name, gradient in gradients(model).items():
        assert gradient.isfinite().all(), name
        assert bool(gradient.any()) == (name == "score.bias"), name


@both_modes
@pytest.mark.parametrize("masked", [False, True])
@every_variant
def test_empty_text_of_float_ids_gives_the_bias(variant, masked, mode):
    model = small_classifier(**variant).train(mode == "train")
    ids = torch.zeros(1, 0)  # float, as a tokenizer without special tokens makes of ""
    outputs = model(ids, ids if masked else None, **KEPT)
    assert torch.equal(outputs.logits[0], outputs.bias)
    assert outputs.contributions.shape == (1, 0, 3)
    assert outputs.attentions[0].shape == (1, 1, 0, 0)
    assert model.model(ids).last_hidden_state.shape == (1, 0, 8)


def test_float_ids_of_a_text_with_tokens_are_refused():
    with pytest.raises(RuntimeError, match="indices"):
        small_classifier()(torch.ones(1, 3))


@every_variant
def test_text_of_one_token_attends_to_itself(variant):
    model = small_classifier(**variant)
    ids = torch.tensor([[7]])
    outputs = model(ids, **KEPT)
    assert outputs.attentions[0].flatten().tolist() == [1.0]
    assert outputs.pool_weights.tolist() == outputs.attention_received.tolist() == [[1.0]]
    expected = reference_outputs(model, ids, torch.ones_like(ids))
    assert_near(outputs.logits, expected["logits"], 1e-12)


def test_token_dropout_hides_tokens_in_training_only():
    model = small_classifier(token_dropout=0.5)
    batch = {name: tensor[:1] for name, tensor in masked_batch().items()}
    assert (model(**batch, output_contributions=True).contributions != 0).all()
    weights = model.train()(**batch, output_contributions=True).pool_weights
    hidden = weights == 0
    assert 5 < hidden.sum() < 25
    assert weights[~hidden].unique().tolist() == [1 / int((~hidden).sum())]


def places_looked_up(model):
    """Lists how many places of its texts a model looks up, from now on."""
    widths = []
    embedding = model.get_input_embeddings()
    embedding.register_forward_pre_hook(lambda _, given: widths.append(given[0].shape[1]))
    return widths


@every_variant
def test_hidden_tokens_are_left_out_of_the_work_and_change_nothing(variant):
    model = small_classifier(**variant, token_dropout=0.6).train()
    widths = places_looked_up(model)
    batch = masked_batch()
    left_out, gradients_left_out = forward_and_gradients(model, batch, kept={})
    hidden, gradients_hidden = forward_and_gradients(model, batch)
    places = int((hidden.pool_weights[0] > 0).sum())
    assert 0 < places < LENGTH
    assert widths == [places, LENGTH]
    assert_near(left_out.logits, hidden.logits, 1e-12)
    assert_all_equal(gradients_left_out, gradients_hidden, 1e-12)


def test_hidden_tokens_stay_in_the_work_where_a_window_is_cut_into_pieces(monkeypatch):
    model = small_classifier(attention_window=4, token_dropout=0.6).train()
    widths = places_looked_up(model)
    batch = masked_batch()
    hidden, gradients_hidden = forward_and_gradients(model, batch)
    monkeypatch.setattr(modeling_hf_attn, "ROWS_PER_PIECE", LENGTH - 9)
    in_pieces, gradients_in_pieces = forward_and_gradients(model, batch, kept={})
    monkeypatch.setattr(modeling_hf_attn, "ROWS_PER_PIECE", LENGTH - 8)
    in_one, gradients_in_one = forward_and_gradients(model, batch, kept={})
    assert widths[:2] == [LENGTH, LENGTH]
    assert widths[2] < LENGTH
    for outputs, found in ((in_pieces, gradients_in_pieces), (in_one, gradients_in_one)):
        assert_near(outputs.logits, hidden.logits, 1e-12)
        assert_all_equal(found, gradients_hidden, 1e-12)


def test_what_is_hidden_in_training_counts_as_padding():
    model = small_classifier(ngram_buckets=0, token_dropout=0.5)
    batch = masked_batch()
    torch.manual_seed(0)
    pooled = model.model.train()(**batch, output_last_hidden_state=False)
    kept = pooled.pool_weights[0] > 0
    batch["attention_mask"] *= kept
    expected = model.model.eval()(**batch)
    for name in ("pooler_output", "pool_weights", "attention_received"):
        assert_near(pooled[name], expected[name], 1e-12)


@pytest.mark.parametrize("length", [0, 1, 2, LENGTH])
def test_one_place_is_never_hidden(length):
    model = small_classifier(token_dropout=0.999)
    batch = {name: tensor[:, :length] for name, tensor in masked_batch().items()}
    pooled = model.model.train()(**batch, output_last_hidden_state=False)
    kept = (pooled.pool_weights > 0) | ~batch["attention_mask"].bool()
    assert kept.all(0).sum() == min(length, 1)  # the same in all texts
    if length:
        _, found = forward_and_gradients(model, batch, kept={})
        assert all(gradient.isfinite().all() for gradient in found.values())


@every_variant
def test_hidden_tokens_are_left_out_of_checkpoints_too(variant):
    model = small_classifier(**variant, token_dropout=0.4).train()
    _, expected = forward_and_gradients(model, masked_batch(), kept={})
    model.activation_checkpointing_enable()
    _, found = forward_and_gradients(model, masked_batch(), kept={})
    assert_all_equal(found, expected, 1e-12)


def test_hidden_tokens_are_left_out_of_embeddings_too():
    model = small_classifier(ngram_buckets=0, token_dropout=0.5).train()
    batch = masked_batch()
    from_ids, _ = forward_and_gradients(model, batch, kept={})
    embeds = model.get_input_embeddings()(batch.pop("input_ids"))
    from_embeds, _ = forward_and_gradients(model, batch | {"inputs_embeds": embeds}, kept={})
    assert torch.equal(from_ids.logits, from_embeds.logits)


# Query blocks


def forward_and_gradients(model, batch, seed=0, kept=KEPT):
    torch.manual_seed(seed)
    model.zero_grad()
    outputs = model(**batch, labels=torch.tensor([0, 1, 2, 0, 1]), **kept)
    outputs.loss.backward()
    return outputs, gradients(model)


@both_modes
@pytest.mark.parametrize(
    ("rows", "variant"),
    [(1, VARIANTS[1]), *[(11, variant) for variant in VARIANTS], (LENGTH - 1, VARIANTS[-1])],
    ids=lambda value: variant_name(value) if isinstance(value, dict) else str(value),
)
def test_query_blocks_equal_the_full_matrix(variant, mode, rows, monkeypatch):
    model = small_classifier(**variant).train(mode == "train")
    batch = masked_batch()
    whole, whole_gradients = forward_and_gradients(model, batch)
    monkeypatch.setattr(modeling_hf_attn, "MAX_SCORES_PER_BLOCK", 5 * LENGTH * rows)
    outputs, block_gradients = forward_and_gradients(model, batch)
    torch.testing.assert_close(outputs.to_tuple(), whole.to_tuple(), rtol=0, atol=1e-12)
    assert_all_equal(block_gradients, whole_gradients, atol=1e-11)
    with torch.no_grad():
        without_gradient = model(**batch).logits
    torch.testing.assert_close(without_gradient, whole.logits, rtol=0, atol=1e-12)


@both_modes
@pytest.mark.parametrize("at_once", [1, 4, 1000])
@pytest.mark.parametrize(("window", "rows"), [(1, 1), (4, 3), (3, 11), (9, 5)])
@pytest.mark.parametrize("variant", VARIANTS[:8], ids=variant_name)
def test_pieces_of_a_window_equal_the_full_matrix(
    variant, window, rows, at_once, mode, monkeypatch
):
    model = small_classifier(**variant, attention_window=window).train(mode == "train")
    batch = masked_batch()
    whole, whole_gradients = forward_and_gradients(model, batch)  # attentions are one matrix
    monkeypatch.setattr(modeling_hf_attn, "ROWS_PER_PIECE", rows)
    scores = at_once * rows * (rows + 2 * window)
    monkeypatch.setattr(modeling_hf_attn, "MAX_SCORES_PER_BLOCK", scores)
    kept = {**KEPT, "output_attentions": False}
    outputs, piece_gradients = forward_and_gradients(model, batch, kept=kept)
    assert outputs.attentions is None
    for name in ("logits", "contributions", "attention_received", "hidden_states"):
        torch.testing.assert_close(outputs[name], whole[name], rtol=0, atol=1e-12, msg=name)
    assert_all_equal(piece_gradients, whole_gradients, atol=1e-11)


def pairs_scored(monkeypatch):
    """Lists how many pairs of tokens are scored at a time, from now on."""
    scored = []
    score = modeling_hf_attn.HfAttnAttention.score

    def spy(self, query, key, *args):
        scored.append(len(query) * query.shape[1] * key.shape[1])
        return score(self, query, key, *args)

    monkeypatch.setattr(modeling_hf_attn.HfAttnAttention, "score", spy)
    return scored


@both_modes
@pytest.mark.parametrize("most", [5 * LENGTH**2 - 1, 7 * LENGTH, 1])
@pytest.mark.parametrize("variant", VARIANTS[:8], ids=variant_name)
def test_texts_of_a_large_batch_are_attended_one_by_one(variant, most, mode, monkeypatch):
    model = small_classifier(**variant, token_dropout=0.3).train(mode == "train")
    batch = masked_batch()
    whole, whole_gradients = forward_and_gradients(model, batch, kept={})
    monkeypatch.setattr(modeling_hf_attn, "MAX_SCORES_PER_BLOCK", most)
    outputs, found = forward_and_gradients(model, batch, kept={})
    torch.testing.assert_close(outputs.logits, whole.logits, rtol=0, atol=1e-12)
    assert_all_equal(found, whole_gradients, atol=1e-11)


def test_a_long_text_does_not_make_the_others_cost_as_much(monkeypatch):
    scored = pairs_scored(monkeypatch)
    model, batch = small_classifier(), masked_batch()
    lengths = batch["attention_mask"].sum(1).tolist()
    for most, expected in (
        (5 * LENGTH**2, 5 * LENGTH**2),
        (5 * LENGTH**2 - 1, sum(length**2 for length in lengths)),
    ):
        monkeypatch.setattr(modeling_hf_attn, "MAX_SCORES_PER_BLOCK", most)
        with torch.no_grad():
            model(**batch)
        assert sum(scored) == expected
        scored.clear()


def test_window_scores_no_more_keys_than_it_sees(monkeypatch):
    scored = pairs_scored(monkeypatch)
    model = small_classifier(attention_window=6)
    for length in (1_000, 10_000):
        with torch.no_grad():
            model(torch.ones(1, length, dtype=torch.long))
        assert sum(scored) <= (length + 32) * (32 + 2 * 6)
        scored.clear()


def test_token_sees_nothing_beyond_the_window():
    batch = masked_batch()
    attentions = small_classifier(attention_window=4)(**batch, **KEPT).attentions[0]
    distance = torch.arange(LENGTH) - torch.arange(LENGTH).unsqueeze(1)
    assert attentions[:, 0][:, distance.abs() > 4].unique().tolist() == [0]
    assert (attentions[0, 0][distance.abs() <= 4] > 0).all()


@pytest.mark.parametrize(("rows", "expected"), [(1, [1] * LENGTH), (7, [7, 7, 7, 7, 2])])
def test_query_blocks_have_the_rows_that_fit(rows, expected, monkeypatch):
    seen = []
    attend = modeling_hf_attn.HfAttnAttention.attend

    def spy(self, query, *args, **kwargs):
        seen.append(query.shape[1])
        return attend(self, query, *args, **kwargs)

    monkeypatch.setattr(modeling_hf_attn.HfAttnAttention, "attend", spy)
    monkeypatch.setattr(modeling_hf_attn, "MAX_SCORES_PER_BLOCK", LENGTH * rows)
    with torch.no_grad():
        small_classifier()(torch.ones(1, LENGTH, dtype=torch.long))
    assert seen == expected


def test_query_blocks_recompute_the_same_dropout(monkeypatch):
    model = small_classifier(attention_dropout=0.4).train()
    monkeypatch.setattr(modeling_hf_attn, "MAX_SCORES_PER_BLOCK", 5 * LENGTH * 7)
    batch = masked_batch()
    outputs, recomputed = forward_and_gradients(model, batch)
    _, other_seed = forward_and_gradients(model, batch, seed=1)
    monkeypatch.setattr(
        modeling_hf_attn, "_recompute_in_backward", lambda function, *args: function(*args)
    )
    remembered_outputs, remembered = forward_and_gradients(model, batch)
    assert torch.equal(outputs.loss, remembered_outputs.loss)
    assert_all_equal(recomputed, remembered, atol=1e-12)
    name = "model.attention.v_proj.weight"
    assert (recomputed[name] - other_seed[name]).abs().max() > 1e-3


# Loss

TASKS = {
    "single_label_classification": (
        torch.tensor([0, 2, 1, 1, 0]),
        lambda logits, labels: F.cross_entropy(logits, labels),
    ),
    "multi_label_classification": (
        torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0], [0, 0, 1]]),
        lambda logits, labels: F.binary_cross_entropy_with_logits(logits, labels),
    ),
    "regression": (
        torch.tensor([0.3, -1.2, 4.0, 0.0, 2.0]),
        lambda logits, labels: ((logits[:, 0] - labels) ** 2).mean(),
    ),
}
every_task = pytest.mark.parametrize("task", TASKS)


def task_model(task, **fields):
    return small_classifier(num_labels=1 if task == "regression" else 3, **fields)


@both_modes
@pytest.mark.parametrize("given", [False, True], ids=["inferred", "given"])
@every_task
def test_loss_equals_that_of_torch(task, given, mode):
    labels, loss = TASKS[task]
    model = task_model(task, problem_type=task if given else None).train(mode == "train")
    labels = labels.double() if labels.is_floating_point() else labels
    outputs = model(**masked_batch(), labels=labels)
    torch.testing.assert_close(outputs.loss, loss(outputs.logits, labels))


def test_regression_of_several_targets_is_their_mean_square():
    model = small_classifier(problem_type="regression")
    labels = torch.randn(5, 3, dtype=torch.float64)
    outputs = model(**masked_batch(), labels=labels)
    torch.testing.assert_close(outputs.loss, ((outputs.logits - labels) ** 2).mean())


@every_task
def test_evaluation_stores_no_problem_type(task):
    model = task_model(task)
    before = model.config.to_dict()
    model(**masked_batch(), labels=TASKS[task][0])
    assert model.config.to_dict() == before
    assert model.config.problem_type is None


@every_task
def test_training_stores_the_problem_type(task):
    model = task_model(task).train()
    model(**masked_batch(), labels=TASKS[task][0])
    assert model.config.problem_type == task


def test_training_keeps_a_problem_type_that_is_set():
    model = small_classifier(problem_type="regression").train()
    model(**masked_batch(), labels=torch.rand(5, 3))
    assert model.config.problem_type == "regression"


@every_task
def test_gradient_accumulation_equals_one_large_batch(task, tmp_path):
    labels, _ = TASKS[task]
    batch = masked_batch()
    batch["labels"] = labels
    rows = [{name: tensor[row] for name, tensor in batch.items()} for row in range(4)]
    trained = []
    for size, steps in ((4, 1), (1, 4), (2, 2)):
        model = task_model(task, dtype=torch.float32, problem_type=task)
        start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
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
        assert (trained[-1]["score.bias"] - start["score.bias"]).abs().max() > 1e-3
    assert_all_equal(trained[1], trained[0], atol=2e-6)
    assert_all_equal(trained[2], trained[0], atol=2e-6)
