"""What all views of an explanation say in the same words: the prediction, notes and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .explanation import Explanation, Explanations
from .probabilities import THRESHOLD
from .problem_types import MULTI, REGRESSION
from .word_sums import Reading

DELETION_EFFECT = (
    "Deletion effect: what would be lost without the word, its weight shared out among the others."
)


def prediction_line(explanation: Explanation) -> str:
    """Gives the label, how probable it is, and how far it is ahead; for a regression the value."""
    if explanation.problem_type == REGRESSION:
        values = zip(explanation.class_names, explanation.probabilities, strict=True)
        return ", ".join(f"{name}: {value:+.4g}" for name, value in values)
    over = "" if explanation.runner_up is None else f" over {explanation.runner_up}"
    return (
        f"Predicted {explanation.label}: probability {explanation.probability:.1%}, "
        f"margin {explanation.margin:.2f} logit{over}"
    )


def reading_line(explanation: Explanation, reading: Reading) -> str:
    """Gives what a sum is of, and the probability of its class where it is not the label."""
    if explanation.problem_type == REGRESSION or reading.target == explanation.label:
        return reading.title
    return f"{reading.title}: probability {reading.probability:.1%}"


def notes(explanation: Explanation) -> Iterator[str]:
    """Yields what a reader has to know before the numbers: no words, a cut, labels not shown."""
    if not explanation.words:
        yield "No words were read, so the logits are the bias alone."
    if explanation.num_cut:
        yield (
            f"Cut: the model read {explanation.num_tokens:,} tokens, the tokenizer's limit, and "
            f"not the other {explanation.num_cut:,}."
        )
    unknown = len(explanation.known) - int(explanation.known.sum())
    if 2 * unknown > len(explanation.known):
        yield (
            f"{unknown:,} of {len(explanation.known):,} words are not in the vocabulary: the model "
            "reads them all alike."
        )
    if explanation.problem_type == MULTI and explanation.target is None:
        number, total = len(explanation.shown), len(explanation.class_names)
        least = f"{THRESHOLD:.0%}"
        if explanation.label_thresholds is not None:
            least = "the label's threshold"
        why = f"each with a probability of at least {least}"
        if not explanation.predicted:
            why = f"the likeliest; none has a probability of {least}"
        yield f"Shown: {number} of {total} labels, {why}. JSON and data frame hold all."


def legend(explanations: Explanations, unknown_mark: str = "?") -> Iterator[str]:
    """Yields what the columns and the marks in use mean; nothing without words."""
    words = [word for one in explanations for reading in one.shown for word in reading.words]
    if words:
        what = unit(explanations)
        yield f"Contribution: what the word adds; bias and contributions sum to the {what}."
    if any(word.deletion_effect is not None for word in words):
        yield DELETION_EFFECT
    if any(word.signs_differ for word in words):
        yield (
            "≠ Signs differ: the word adds, but less than the others would in its place, or the "
            "reverse."
        )
    if not all(word.is_known for word in words):
        yield f"{unknown_mark} The vocabulary does not have the word, or not all of it."


def unit(explanations: Explanations) -> str:
    """Gives what contributions are counted in: "logit", or for a regression "value"."""
    return next((one.unit for one in explanations), "logit")


def signed(value: float, scale: float) -> str:
    """Writes a number with three digits or more where `scale` is the largest there is."""
    return f"{value:+.{2 + max(0, -math.floor(math.log10(scale)))}f}"
