"""Deletion effects in closed form, against running the model again without each word."""

import pytest
import torch
from models import DEVICES, VARIANTS, masked_batch, small_classifier, variant_name

from hf_attn.deletion import logits_without_words

LENGTH = 12
# Words of one, two and three tokens, among the real tokens of a text.
SUB_WORDS = torch.tensor([0, 1, 1, 1, 2, 3, 3, 4, 5, 5, 5, 6])
ASKED = {"output_contributions": True, "output_attentions": True, "output_intermediates": True}
every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)


def words_of(mask, numbers):
    rank = mask.cumsum(-1) - 1
    return torch.where(mask, numbers.to(mask.device)[rank.clamp(min=0)], -1)


def closed_form(model, ids, mask, words):
    with torch.no_grad():
        return logits_without_words(model, model(ids, mask, **ASKED), ids, mask, words)


def run_again(model, ids, mask, words):
    with torch.no_grad():
        without = [model(ids, mask & (words != word)).logits for word in range(words.max() + 1)]
    return torch.stack(without, dim=1)


def classifier(variant, sharpness=1, dtype=torch.float64, device="cpu"):
    """Gives a model whose scores between tokens are `sharpness` squared times the usual ones."""
    model = small_classifier(dtype=dtype, **variant).to(device)
    with torch.no_grad():
        model.model.attention.q_proj.weight *= sharpness
        model.model.attention.k_proj.weight *= sharpness
    model.set_reference(torch.linspace(-1, 1, 8, dtype=dtype, device=device))
    return model


def batch_of(device="cpu"):
    batch = masked_batch(LENGTH)
    return batch["input_ids"].to(device), batch["attention_mask"].bool().to(device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("sharpness", [1, 20, 60])
@pytest.mark.parametrize("numbers", [torch.arange(LENGTH), SUB_WORDS], ids=["tokens", "words"])
@every_variant
def test_closed_form_equals_running_again(variant, numbers, sharpness, device):
    model = classifier(variant, sharpness, device=device)
    ids, mask = batch_of(device)
    words = words_of(mask, numbers)
    error = closed_form(model, ids, mask, words) - run_again(model, ids, mask, words)
    assert error.abs().max() <= 1e-8


def test_sharp_attention_leaves_nothing_of_one_minus_its_weight():
    ids, mask = batch_of()
    weights = classifier({}, 20)(ids, mask, output_attentions=True).attentions[0]
    assert (weights == 1).any()


@every_variant
def test_closed_form_in_float32_is_near(variant):
    model = classifier(variant, 3, torch.float32)
    ids, mask = batch_of()
    words = words_of(mask, SUB_WORDS)
    error = closed_form(model, ids, mask, words) - run_again(model, ids, mask, words)
    assert error.abs().max() <= 2e-5


@pytest.mark.parametrize("scale", [1, 300])
def test_one_token_that_takes_all_pooling_weight_can_be_deleted(scale):
    model = classifier(VARIANTS[4])
    with torch.no_grad():
        model.model.pooler.score_proj.weight *= scale
    ids, mask = batch_of()
    words = words_of(mask, torch.arange(LENGTH))
    error = closed_form(model, ids, mask, words) - run_again(model, ids, mask, words)
    assert error.abs().max() <= 1e-8


@every_variant
def test_text_without_its_only_word_has_the_bias(variant):
    model = classifier(variant)
    ids, mask = batch_of()
    without = closed_form(model, ids, mask, torch.where(mask, 0, -1))
    assert without.shape == (5, 1, 3)
    assert torch.equal(without, model.score.bias.expand(5, 1, 3))
    one_token = closed_form(model, ids[:1, :1], mask[:1, :1], torch.zeros(1, 1, dtype=torch.long))
    assert torch.equal(one_token, model.score.bias.expand(1, 1, 3))


@pytest.mark.parametrize("length", [0, 4])
def test_texts_without_words_give_no_rows(length):
    ids = torch.zeros(2, length, dtype=torch.long)
    without = closed_form(small_classifier(), ids, ids.bool(), ids - 1)
    assert without.shape == (2, 0, 3)


@every_variant
def test_padding_changes_nothing(variant):
    model = classifier(variant)
    ids, mask = batch_of()
    words = words_of(mask, SUB_WORDS)
    together = closed_form(model, ids, mask, words)
    for row in range(3):
        real = mask[row]
        alone = closed_form(model, *(part[row : row + 1, real] for part in (ids, mask, words)))
        torch.testing.assert_close(together[row, : alone.shape[1]], alone[0], rtol=0, atol=1e-12)


def test_token_after_a_word_gets_the_bigram_with_the_token_before_it():
    model = classifier({"ngram_buckets": 37})
    ids = torch.tensor([[5, 6, 7]])
    mask = torch.ones_like(ids, dtype=torch.bool)
    without = closed_form(model, ids, mask, torch.tensor([[0, 1, 2]]))
    with torch.no_grad():
        apart = model(torch.tensor([[5, 9, 7]]), torch.tensor([[1, 0, 1]])).logits
    torch.testing.assert_close(without[:, 1], apart, rtol=0, atol=1e-12)
