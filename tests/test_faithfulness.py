"""Measures of attributions, against bag-of-words models worked out by hand and brute force."""

import itertools
import math

import numpy as np
import pytest
import torch
from models import VARIANTS, small_classifier, variant_name

from hf_attn import faithfulness
from hf_attn.faithfulness import KeptWords

WEIGHTS = np.array([0.1, -0.2, 0.4, 0.3, 0.05, 0.0, -0.1, 0.2, 0.01, 0.02])
TOKEN_IDS = np.array([7, 3, 3, 12, 40, 9, 21])
WORD_OF_TOKEN = np.array([0, 1, 1, 2, 3, 3, 4])


def bag_of_words(kept):
    """A score that each word raises by its weight, whatever the others are."""
    return 0.2 + kept @ WEIGHTS


def kept_words(model=None, **options):
    return KeptWords(model or small_classifier(), TOKEN_IDS, WORD_OF_TOKEN, target=1, **options)


def all_choices(num_words):
    return np.array(list(itertools.product([True, False], repeat=num_words)))


def test_comprehensiveness_of_a_bag_of_words_is_the_weight_removed():
    by_hand = (0.4 + (0.4 + 0.3) + 0.9 + 1.0 + 1.05) / 5
    assert faithfulness.comprehensiveness(WEIGHTS, bag_of_words) == pytest.approx(by_hand)


def test_sufficiency_of_a_bag_of_words_is_the_weight_not_kept():
    total = 0.78
    by_hand = total - (0.4 + 0.7 + 0.9 + 1.0 + 1.05) / 5
    assert faithfulness.sufficiency(WEIGHTS, bag_of_words) == pytest.approx(by_hand)


def test_comprehensiveness_of_wrong_attributions_is_low():
    reverse = faithfulness.comprehensiveness(-WEIGHTS, bag_of_words)
    assert reverse == pytest.approx(-(0.2 + 0.3 + 0.3 + 0.29 + 0.27) / 5)


def test_shares_are_rounded_up_and_ties_go_to_the_earlier_word():
    top = faithfulness.top_words([1.0, 2.0, 2.0], shares=[0.1, 0.5, 1.0])
    assert top.tolist() == [[False, True, False], [False, True, True], [True, True, True]]


@pytest.mark.parametrize("num_words", [10, 30, 70, 90, 700])
def test_shares_of_round_numbers_are_not_one_word_too_many(num_words):
    counts = faithfulness.top_words(np.arange(num_words)).sum(1)
    assert counts.tolist() == [num_words * tenths // 10 for tenths in range(1, 6)]


def test_leave_one_out_of_a_bag_of_words_is_its_weights():
    effects = faithfulness.leave_one_out(bag_of_words, len(WEIGHTS))
    np.testing.assert_allclose(effects, WEIGHTS, atol=1e-15)


def test_completeness_error_is_what_the_sum_misses():
    assert faithfulness.completeness_error([0.5, -0.25], 0.1, 0.3) == pytest.approx(0.05)


def kendall_by_counting(first, second):
    """Tau-b: agreeing less disagreeing pairs, over the pairs without ties in either."""
    pairs = list(itertools.combinations(range(len(first)), 2))
    one = np.array([np.sign(first[i] - first[j]) for i, j in pairs])
    two = np.array([np.sign(second[i] - second[j]) for i, j in pairs])
    return (one * two).sum() / math.sqrt((one != 0).sum() * (two != 0).sum())


def test_rank_correlation_counts_pairs():
    first, second = [3.0, 1.0, 2.0, 2.0, 5.0], [1.0, 0.0, 4.0, 3.0, 3.0]
    expected = kendall_by_counting(first, second)
    assert faithfulness.rank_correlation(first, second) == pytest.approx(expected)


def test_rank_correlation_of_equal_values_is_not_a_number():
    assert math.isnan(faithfulness.rank_correlation([1.0, 1.0], [1.0, 2.0]))


def test_stability_averages_the_pairs_of_models():
    models = [[1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [3.0, 2.0, 1.0]]
    by_hand = (1 / 3 - 1 - 1 / 3) / 3
    assert faithfulness.stability(models) == pytest.approx(by_hand)


def test_auprc_is_the_area_under_the_points_of_every_threshold():
    values, marks = [0.9, 0.8, 0.7, 0.6], [True, False, True, False]
    points = [(0, 1), (1 / 2, 1), (1 / 2, 1 / 2), (1, 2 / 3)]
    by_hand = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(points))
    assert faithfulness.plausibility_auprc(values, marks) == pytest.approx(by_hand)


def test_f1_takes_the_top_share_of_the_words():
    values, marks = [0.9, 0.8, 0.7, 0.6], [True, False, True, False]
    precision, recall = 2 / 3, 1.0
    by_hand = 2 * precision * recall / (precision + recall)
    assert faithfulness.plausibility_f1(values, marks, share=0.75) == pytest.approx(by_hand)
    assert faithfulness.plausibility_f1([0.0, 1.0], [True, False], share=0.5) == 0


def test_mean_share_weighs_texts_the_same():
    assert faithfulness.mean_share([[1, 0, 0, 0], [1, 1]]) == pytest.approx((0.25 + 1) / 2)


@pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
def test_deleting_runs_the_text_without_the_tokens(variant):
    model = small_classifier(**variant)
    choices = all_choices(5)
    logits = kept_words(model).logits(choices)
    for kept, row in zip(choices, logits, strict=True):
        ids = torch.from_numpy(TOKEN_IDS[kept[WORD_OF_TOKEN]])[None]
        np.testing.assert_allclose(row, model(ids).logits[0].detach().numpy(), atol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
def test_masking_runs_the_text_with_the_tokens_masked_in_place(variant):
    model = small_classifier(**variant)
    choices = all_choices(5)
    logits = kept_words(model, masked=True).logits(choices)
    for kept, row in zip(choices, logits, strict=True):
        mask = torch.from_numpy(kept[WORD_OF_TOKEN])[None]
        expected = model(torch.from_numpy(TOKEN_IDS)[None], mask).logits[0]
        np.testing.assert_allclose(row, expected.detach().numpy(), atol=1e-12)


def test_many_choices_of_a_long_text_are_run_in_parts(monkeypatch):
    choices = all_choices(5)
    whole = kept_words().logits(choices)
    monkeypatch.setattr(faithfulness, "_SCORES_AT_ONCE", 3 * len(TOKEN_IDS) ** 2)
    np.testing.assert_allclose(kept_words().logits(choices), whole, atol=1e-12)


def test_probability_is_the_softmax_and_log_odds_its_logit():
    text, choices = kept_words(), all_choices(5)
    probability = torch.from_numpy(text.logits(choices)).softmax(1)[:, 1].numpy()
    np.testing.assert_allclose(text.probability(choices), probability, atol=1e-12)
    odds = np.log(probability / (1 - probability))
    np.testing.assert_allclose(text.log_odds(choices), odds, atol=1e-10)


def test_a_token_of_no_word_always_stays():
    model = small_classifier()
    text = KeptWords(model, np.array([5, 8, 6]), np.array([-1, 0, -1]), target=0)
    assert text.num_words == 1
    without = text.logits(np.array([[False]]))[0]
    expected = model(torch.tensor([[5, 6]])).logits[0].detach().numpy()
    np.testing.assert_allclose(without, expected, atol=1e-12)


def test_kept_words_leaves_a_training_model_in_training():
    model = small_classifier(classifier_dropout=0.5).train()
    text = kept_words(model)
    first, second = text.logits(np.ones((2, 5), dtype=bool))
    assert np.array_equal(first, second)
    assert model.training
