"""Questions on attention as such: what it is for, its formula, its scale, and a worked example."""

from __future__ import annotations

from markupsafe import Markup

from . import runs
from .own_words import with_words
from .question import Question
from .served import Sentence, ServedModel


def ask_purpose(served: ServedModel, sentence: Sentence) -> Question:
    """Asks what attention is for."""
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
            "a word that it sees may get very little weight, never exactly none.</p>"
        ),
    )


def ask_formula(served: ServedModel, sentence: Sentence) -> Question:
    """Asks for the formula."""
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


def ask_worked(served: ServedModel, sentence: Sentence) -> Question:
    """Asks what comes out of the worked example."""
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


def ask_transpose(served: ServedModel, sentence: Sentence) -> Question:
    """Asks what happens without the transpose, which may be tried."""
    sentence, _, note = with_words(served, sentence)
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


def ask_why_scale(served: ServedModel, sentence: Sentence) -> Question:
    """Asks why scores are scaled, which may be compared in the model."""
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
        runs.quote(with_words(served, sentence)[0]),
        lambda: runs.scaling(served, with_words(served, sentence)[0]),
        "Compare with and without in this model",
    )


def ask_weight_or_importance(served: ServedModel, sentence: Sentence) -> Question:
    """Asks how a large weight can add nothing."""
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
