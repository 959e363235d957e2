"""Questions on what the visitor typed, whose answers the served model computes."""

from __future__ import annotations

from markupsafe import Markup

from ..explanation import Explanation
from ..problem_types import REGRESSION
from ..wording import signed
from . import own_words, runs
from .own_words import with_words
from .question import Question
from .served import Sentence, ServedModel


def ask_number_of_weights(served: ServedModel, sentence: Sentence) -> Question:
    """Asks how many attention weights there are."""
    sentence, explanation, note = with_words(served, sentence)
    tokens, window = explanation.num_tokens, served.model.config.attention_window
    counts = [tokens, 2 * tokens, tokens**2, tokens * served.model.config.hidden_size]
    choices = sorted(set(counts))
    return Question(
        f"The model reads this text as {tokens} tokens. How many attention weights are in the "
        "table of its one head?",
        [f"{count:,}" for count in choices],
        choices.index(tokens**2),
        Markup(
            "<p>Every token weighs every token, itself too: a table of {0} rows and {0} columns, "
            "{1} weights. {2}</p>"
        ).format(
            tokens,
            f"{tokens**2:,}",
            f"In this model those of tokens more than {window} apart are 0 and left out, so the "
            "cost of a long text grows with its length alone."
            if window
            else "Twice the words are four times the weights.",
        ),
        note + runs.quote(sentence),
        lambda: runs.attention_shape(served, sentence),
        "Count them in the model",
    )


def ask_most_attention(served: ServedModel, sentence: Sentence) -> Question:
    """Asks which word received most attention."""
    sentence, explanation, note = with_words(served, sentence)
    received = [word.attention_received for word in explanation.words]
    choice = own_words.largest(explanation, received)
    return Question(
        "Which word of this text received most attention from the text as a whole?",
        choice.names,
        choice.right,
        Markup(
            "<p>The attention that a word receives is the mean of its column in the table of "
            "weights, each row counted as much as the text counts its word. Here is the whole "
            "list.</p>"
        )
        + runs.bars(explanation, received, "attention received", are_shares=True),
        note + runs.quote(sentence),
    )


def ask_most_contribution(served: ServedModel, sentence: Sentence) -> Question:
    """Asks which word adds most to the label."""
    sentence, explanation, note = with_words(served, sentence)
    reading = explanation.shown[0]
    added = [word.contribution for word in explanation.words]
    choice = own_words.largest(explanation, added)
    return Question(
        f"The model says {_said(explanation)}. Which word adds most to “{reading.title}”?",
        choice.names,
        choice.right,
        Markup(
            "<p>Contributions are exact terms of a sum: the bias and these numbers are the {} that "
            "the model gave. They are not the attention a word gets: a weight says how much of a "
            "word is taken in, its value says what that does to the {}.</p>"
        ).format(reading.unit, reading.unit)
        + runs.bars(explanation, added, "contribution"),
        note + runs.quote(sentence),
    )


def ask_masked(served: ServedModel, sentence: Sentence) -> Question:
    """Asks what masking a word does."""
    sentence, explanation, note = with_words(served, sentence)
    reading = explanation.shown[0]
    word = own_words.telling(explanation)
    contribution = signed(word.contribution, explanation.largest or 1.0)
    effect = word.deletion_effect or 0.0
    right = 2 if abs(effect) < own_words.NO_DIFFERENCE else 0 if effect < 0 else 1
    differs = (
        "Here the two have different signs: the word adds something, but less than the others "
        "would in its place, or the reverse."
        if word.signs_differ
        else "Here the two have the same sign. In this text they differ for "
        f"{sum(one.signs_differ for one in explanation.words)} of {len(explanation.words)} words."
    )
    return Question(
        f"“{own_words.name_of(word)}” contributes {contribution} to “{reading.title}”. Mask it, "
        f"so that the others share its weight: does the {reading.unit} rise or fall?",
        ["It rises", "It falls", "It stays"],
        right,
        Markup(
            "<p>It was {:+.4f} and is {:+.4f} without the word, computed exactly: a deletion "
            "effect of {:+.4f}. A contribution says how the sum was made, a deletion effect what "
            "another sum would be, in which all weights are shared out again. {}</p>"
        ).format(reading.logit, reading.logit - effect, effect, differs),
        note + runs.quote(sentence),
    )


def _said(explanation: Explanation) -> str:
    if explanation.problem_type == REGRESSION:
        return f"{explanation.label} is {explanation.probability:+.4g}"
    return f"{explanation.label} ({explanation.probability:.0%})"
