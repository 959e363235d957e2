"""What the numbers of a training say: each rule on both sides of its threshold."""

from itertools import zip_longest

import pytest

from hf_attn.training_observations import (
    divergence,
    observe,
    overfitting,
    plateau,
    score_in_words,
    summarize,
    warning,
)
from hf_attn.training_trace import AttentionSample, EpochTrace, TrainingTrace

SAMPLE = AttentionSample("validation", 40, 256, even_entropy=3.0, even_share=0.05)


def epochs(losses=(), validation=(), scores=(), entropies=(), shares=()):
    rows = zip_longest(losses, validation, scores, entropies, shares)
    return tuple(EpochTrace(float(n), 10 * n, *row) for n, row in enumerate(rows, start=1))


def test_change_is_said_in_percent_points_and_nats():
    two = epochs([0.8, 0.6], scores=[0.71, 0.83], entropies=[2.31, 1.87])
    assert observe(two, "accuracy") == (
        "loss −25 %, accuracy +12 points; attention is concentrating: entropy 2.31 → 1.87 nats"
    )


def test_first_epoch_says_where_it_begins():
    one = epochs([0.762], scores=[0.945], entropies=[2.31])
    assert observe(one, "micro_f1", SAMPLE) == (
        "begins with loss 0.762, micro-F1 94.5 %; "
        "attention entropy 2.31 nats, where even attention has 3.00"
    )


def test_correlation_and_unknown_metric_are_said_as_what_they_are():
    two = epochs([4.0, 4.5], scores=[0.5, 0.46])
    assert observe(two, "pearson") == "loss +12 %, Pearson correlation −0.040"
    assert observe(two, "exact_match") == "loss +12 %, exact match −4.0 points"
    assert score_in_words(-0.5, "pearson") == "-0.500"


@pytest.mark.parametrize(
    ("entropies", "said"),
    [
        ([2.0, 1.96], "steady: entropy 1.96 nats"),
        ([2.0, 1.94], "concentrating: entropy 2.00 → 1.94 nats"),
        ([2.0, 2.04], "steady: entropy 2.04 nats"),
        ([2.0, 2.06], "spreading: entropy 2.00 → 2.06 nats"),
    ],
)
def test_attention_moves_from_five_hundredths_of_a_nat_on(entropies, said):
    assert observe(epochs(entropies=entropies), None) == f"attention is {said}"


@pytest.mark.parametrize(
    ("losses", "expected"),
    [([0.8, 0.8], "loss ±0 %"), ([1.0, 0.9996], "loss ±0 %"), ([1.0, 0.904], "loss −9.6 %"),
     ([1.0, 0.9], "loss −10 %"), ([0.0, 0.5], "loss 0 → 0.5"), ([0.4, 1.0], "loss +150 %")],
)  # fmt: skip
def test_changes_of_the_loss_have_two_digits(losses, expected):
    assert observe(epochs(losses), None).split("; ")[0] == expected


@pytest.mark.parametrize(
    ("validation", "scores", "flat"),
    [
        ([0.500, 0.496, 0.492], [], True),
        ([0.500, 0.494, 0.492], [], False),
        ([0.500, 0.496], [], False),
        ([0.9, 0.500, 0.504, 0.508], [], True),
        ([0.500, 0.496, 0.492], [0.9, 0.904, 0.9], True),
        ([0.500, 0.496, 0.492], [0.9, 0.906, 0.906], False),
        ([0.0, 0.0, 0.0], [], False),
    ],
)
def test_plateau_is_two_changes_below_a_hundredth_and_half_a_point(validation, scores, flat):
    losses = [1.0, 0.5, 0.25, 0.125][: len(validation)]
    seen = epochs(losses, validation, scores)
    said = "plateau: validation loss changed by less than 1 % in each of the last 2 epochs"
    assert plateau(seen) == (said if flat else None)


def test_plateau_of_the_training_loss_where_nothing_is_validated():
    assert plateau(epochs([0.5, 0.499, 0.498])).startswith("plateau: training loss changed")
    assert plateau(epochs([0.5, 0.4, 0.3])) is None


@pytest.mark.parametrize(
    ("losses", "validation", "found"),
    [
        ([0.5, 0.4], [1.00, 1.06], True),
        ([0.5, 0.4], [1.00, 1.04], False),
        ([0.5, 0.6], [1.00, 1.06], False),  # both rise: that is no overfitting
        ([0.5, 0.4, 0.3], [1.00, 1.20, 1.06], True),  # beside its lowest, not the epoch before
        ([0.5, 0.4, 0.3], [1.20, 1.00, 1.04], False),
        ([0.5, None], [1.00, 1.06], False),
        ([0.5, 0.4], [1.00, None], False),
    ],
)
def test_overfitting_is_a_rise_of_a_twentieth_while_the_training_loss_falls(
    losses, validation, found
):
    assert (overfitting(epochs(losses, validation)) is not None) is found


def test_overfitting_is_said_with_its_numbers():
    seen = epochs([0.5, 0.4, 0.25], [1.2, 1.0, 1.12])
    assert warning(seen) == (
        "overfitting: validation loss 12 % above that of epoch 2, while training loss fell from "
        "0.4 to 0.25"
    )
    assert observe(seen, None).endswith(warning(seen))


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        ([1.0, 0.2, 0.46], True),
        ([1.0, 0.2, 0.44], False),
        ([1.0, 1.26], True),
        ([1.0], False),
        ([0.001, 0.0001, 0.0002], False),  # doubled, but of what it began with it is little
    ],
)
def test_divergence_is_a_rise_of_a_quarter_of_the_first_loss(losses, found):
    assert (divergence(epochs(losses)) is not None) is found


def test_divergence_is_said_with_its_numbers_and_before_all_else():
    seen = epochs([1.0, 0.2, 0.9], [1.0, 0.2, 0.9])
    assert warning(seen) == (
        "divergence: loss rose from 0.2 in epoch 2 to 0.9; try a lower learning rate"
    )


def test_values_that_are_no_numbers_are_a_divergence():
    broken = EpochTrace(2.0, 20, score=0.5, not_finite=("loss", "validation_loss"))
    seen = (*epochs([0.8], [0.8], [0.9]), broken)
    assert observe(seen, "accuracy") == (
        "accuracy −40 points; divergence: not a finite number: training loss, validation loss; "
        "try a lower learning rate"
    )


def test_nothing_known_is_said():
    assert observe((EpochTrace(1.0, 10),), None) == "nothing was logged in epoch 1"


def test_summary_says_the_way_and_where_it_led():
    seen = epochs([0.8, 0.2], [0.5, 0.6], [0.7, 0.9], [2.9, 2.1], [0.05, 0.18])
    assert summarize(TrainingTrace(seen, "accuracy", 1.0, "word", SAMPLE)) == (
        "In 2 epochs: loss 0.8 → 0.2, accuracy 70.0 % → 90.0 %.",
        "Since epoch 1 attention concentrated: entropy 2.90 → 2.10 nats (even attention: 3.00), "
        "share of the most attended word 5.0 % → 18 %.",
        "At the end: overfitting: validation loss 20 % above that of epoch 1, while training loss "
        "fell from 0.8 to 0.2.",
    )


@pytest.mark.parametrize(
    ("entropies", "said"),
    [
        ([2.0], "Attention: entropy 2.00 nats."),
        ([2.0, 2.1, 1.96], "Since epoch 1 attention stayed as it was: entropy 2.00 → 1.96 nats."),
        ([None, 2.0, 2.06], "Since epoch 2 attention spread: entropy 2.00 → 2.06 nats."),
    ],
)
def test_summary_counts_attention_from_the_first_epoch_that_is_known(entropies, said):
    assert summarize(TrainingTrace(epochs(entropies=entropies))) == (said,)


def test_summary_names_the_first_epoch_that_diverged():
    seen = (*epochs([0.8, 0.5]), EpochTrace(3.0, 30, not_finite=("loss",)), EpochTrace(4.0, 40))
    assert summarize(TrainingTrace(seen))[-1] == (
        "Epoch 3: divergence: not a finite number: training loss; try a lower learning rate."
    )
    assert summarize(TrainingTrace(())) == ()
    assert summarize(TrainingTrace((EpochTrace(1.0, 1),))) == ()
