"""The ten questions of the tab Check yourself, easy to hard, answered by the served model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from markupsafe import Markup

from ..explanation import Explanation
from ..problem_types import REGRESSION
from ..trace import DEFAULT_TEXT
from ..wording import signed
from . import own_words, runs
from .served import Sentence, ServedModel


@dataclass(frozen=True)
class Question:
    """One question with its choices.

    Attributes:
        ask: The question.
        choices: Answers to choose from.
        right: Index of the right one.
        why: What explains the answer, whichever was chosen.
        given: What is shown above the choices, in HTML.
        run: What the visitor may let the model compute before answering, as HTML; None for nothing.
        run_label: What the button says that does it.
    """

    ask: str
    choices: list[str]
    right: int
    why: Markup
    given: Markup = field(default_factory=Markup)
    run: Callable[[], Markup] | None = None
    run_label: str = ""


def make_question(number: int, served: ServedModel, sentence: Sentence) -> Question:
    """Gives a question.

    Args:
        number: 0 to `NUM_QUESTIONS` - 1.
        served: The model that answers.
        sentence: The visitor's; where it has too few words the default one takes its place.
    """
    return _QUESTIONS[number](served, sentence)


def _purpose(served: ServedModel, sentence: Sentence) -> Question:
    return Question(
        "What does attention do for a word in a sentence?",
        [
            "It sorts the words by how frequent they are",
            "It lets the word take in other words, each by a weight computed from the two",
            "It removes the words that do not matter",
            "It remembers the sentences seen before",
        ],
        1,
        Markup(
            "<p>Each word asks every word of the sentence how well it fits, turns the answers into "
            "weights that sum to 1, and takes in the others by these weights. Nothing is removed: "
            "a word may get very little weight, never exactly none.</p>"
        ),
    )


def _formula(served: ServedModel, sentence: Sentence) -> Question:
    return Question(
        "Q holds a query for each word, K a key, V a value. Which formula gives the output of "
        "attention, scaling left aside?",
        ["softmax(Q V) Kᵀ", "Q Kᵀ V", "softmax(Q Kᵀ) V", "softmax(Q + K) V"],
        2,
        Markup(
            "<p>Q Kᵀ scores every query against every key. The softmax turns each row of scores "
            "into weights: positive, summing to 1. Times V they give a weighted mean of the values."
            " Without the softmax (Q Kᵀ V) scores could be negative or as large as they like, and "
            "the output would be no mean.</p>"
        ),
    )


def _number_of_weights(served: ServedModel, sentence: Sentence) -> Question:
    sentence, explanation, note = _with_words(served, sentence, 2)
    tokens = explanation.num_tokens
    counts = [tokens, 2 * tokens, tokens**2, tokens * served.model.config.hidden_size]
    choices = sorted(set(counts))
    return Question(
        f"The model reads this text as {tokens} tokens. How many attention weights does its one "
        "head compute?",
        [f"{count:,}" for count in choices],
        choices.index(tokens**2),
        Markup(
            "<p>Every token weighs every token, itself too: a table of {0} rows and {0} columns, "
            "{1} weights. Twice the words are four times the weights.</p>"
        ).format(tokens, f"{tokens**2:,}"),
        note + runs.quote(sentence),
        lambda: runs.attention_shape(served, sentence),
        "Count them in the model",
    )


def _worked(served: ServedModel, sentence: Sentence) -> Question:
    return Question(
        "What comes out of softmax(Q Kᵀ) V, about?",
        ["[[20, 30]]", "[[30, 40]]", "[[10, 20]]", "[[40, 60]]"],
        2,
        Markup(
            "<p>The query scores 1·1 + 0·0 = 1 with the first key and 1·(−10) + 0·1 = −10 with the "
            "second. A difference of 11 is a factor of e¹¹ ≈ 60,000 between the weights: the "
            "output is the first value, all but 17 millionths of it.</p>"
        )
        + runs.worked(scaled=False),
        runs.matrices(),
        lambda: runs.worked(scaled=False),
        "Run attention on it",
    )


def _transpose(served: ServedModel, sentence: Sentence) -> Question:
    sentence, _, note = _with_words(served, sentence, 2)
    return Question(
        "Someone forgot the transpose and wrote softmax(Q K) V. What happens?",
        [
            "The shapes do not fit and it stops; with a square K it runs, and is wrong",
            "Nothing: Q K and Q Kᵀ are the same",
            "It always stops with an error",
            "It runs and gives the same weights in another order",
        ],
        0,
        Markup(
            "<p>Q and K have one row for each token. In Q K the columns of Q would have to be as "
            "many as the rows of K, features as many as tokens, and that is chance. The worked "
            "example is that chance: its K is 2 × 2, so nothing stops you, and the weights come "
            "from keys mixed up with each other. An error is the better of the two.</p>"
        ),
        note + runs.quote(sentence) + runs.matrices(),
        lambda: runs.without_transpose(served, sentence),
        "Run it without the transpose",
    )


def _why_scale(served: ServedModel, sentence: Sentence) -> Question:
    return Question(
        "Why are the scores divided by √K, K being the length of a query?",
        [
            "So that the weights sum to 1",
            "So that scores do not grow with K, which would leave nearly all weight on one word "
            "and next to no gradient",
            "So that they are computed faster",
            "So that no score is negative",
        ],
        1,
        Markup(
            "<p>A score is a sum of K products. If these are independent with variance 1, the sum "
            "has variance K, so it is typically √K in size; divided by √K it is about 1 whatever "
            "the K. In the worked example K is 2, and dividing moves the output from 10.0003 to "
            "10.008: the weights are a little more even.</p>"
        )
        + runs.worked(scaled=False)
        + runs.worked(scaled=True),
        runs.quote(_with_words(served, sentence, 2)[0]),
        lambda: runs.scaling(served, _with_words(served, sentence, 2)[0]),
        "Compare with and without in this model",
    )


def _most_attention(served: ServedModel, sentence: Sentence) -> Question:
    sentence, explanation, note = _with_words(served, sentence, 2)
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


def _most_contribution(served: ServedModel, sentence: Sentence) -> Question:
    sentence, explanation, note = _with_words(served, sentence, 2)
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


def _masked(served: ServedModel, sentence: Sentence) -> Question:
    sentence, explanation, note = _with_words(served, sentence, 2)
    reading = explanation.shown[0]
    word = own_words.telling(explanation)
    contribution = signed(word.contribution, explanation.largest or 1.0)
    effect = word.deletion_effect or 0.0
    right = 2 if abs(effect) < own_words.NO_DIFFERENCE else 0 if effect < 0 else 1
    differs = (
        "Here the two have different signs: the word adds something, but less than the others "
        "would in its place, or the reverse."
        if word.signs_differ
        else "Here the two have the same sign; for about one word in four they do not."
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


def _weight_or_importance(served: ServedModel, sentence: Sentence) -> Question:
    return Question(
        "A word receives 60 % of the attention, and its contribution to the label is nearly 0. "
        "How can that be?",
        [
            "It cannot: the word with most attention decides",
            "The softmax has rounded its weight",
            "What is taken in from it, its value, hardly tells this label from the others",
            "The model has not been trained for long enough",
        ],
        2,
        Markup(
            "<p>What a word adds through attention is weight times value, and the value is "
            "measured along the direction of the label. A large weight on a value that points "
            "elsewhere adds nothing. So an attention map shows where a model looks, and not why it "
            "decides: for that, read contributions and deletion effects.</p>"
        ),
    )


def _said(explanation: Explanation) -> str:
    if explanation.problem_type == REGRESSION:
        return f"{explanation.label} is {explanation.probability:+.4g}"
    return f"{explanation.label} ({explanation.probability:.0%})"


def _with_words(
    served: ServedModel, sentence: Sentence, least: int
) -> tuple[Sentence, Explanation, Markup]:
    """Gives a sentence with enough words, its explanation, and a note if it is not the visitor's.

    Args:
        served: The model.
        sentence: The visitor's.
        least: How many words are needed.
    """
    explanation = served.explain(sentence)
    if len(own_words.typed(explanation)) >= least:
        return sentence, explanation, Markup()
    pair = None if sentence.pair is None else ""
    sentence = Sentence(DEFAULT_TEXT, pair)
    note = Markup("<p>Your text has fewer than {} words, so this is about another one.</p>")
    return sentence, served.explain(sentence), note.format(least)


_QUESTIONS = (
    _purpose,
    _formula,
    _number_of_weights,
    _worked,
    _most_attention,
    _transpose,
    _why_scale,
    _most_contribution,
    _masked,
    _weight_or_importance,
)
NUM_QUESTIONS = len(_QUESTIONS)
