"""Questions about a visitor's own words: which to ask about, and which to choose from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from ..explanation import Explanation
from ..trace import DEFAULT_TEXT
from ..word_sums import Word
from .served import Sentence, ServedModel

# What is closer than this counts as the same: it is less than the numbers shown can tell apart.
NO_DIFFERENCE = 1e-6
ALL_THE_SAME = "All of them the same"
_MOST_CHOICES = 4
_FEWEST_WORDS = 2
_LONGEST_NAME = 40


class Choice(NamedTuple):
    """Words to choose from.

    Attributes:
        names: In the order of the text, and `ALL_THE_SAME` as the last.
        right: Index of the right one.
    """

    names: list[str]
    right: int


def typed(explanation: Explanation) -> list[int]:
    """Gives the indices of the words that the visitor typed, without the tokenizer's own."""
    return [index for index, word in enumerate(explanation.words) if not word.is_special]


def largest(explanation: Explanation, values: Sequence[float]) -> Choice:
    """Gives the word with the largest value among others that have clearly less.

    Args:
        explanation: Of the text.
        values: One for each of its words.
    """
    order = sorted(typed(explanation), key=lambda index: -values[index])
    best = values[order[0]]
    less = [index for index in order if best - values[index] > NO_DIFFERENCE]
    if not less:
        chosen = sorted(order[: _MOST_CHOICES - 1])
        return Choice([*_names(explanation, chosen), ALL_THE_SAME], len(chosen))
    # The runner-up, the last, and one between them.
    others = {less[0], less[len(less) // 2], less[-1]}
    chosen = sorted({order[0], *others})
    return Choice([*_names(explanation, chosen), ALL_THE_SAME], chosen.index(order[0]))


def telling(explanation: Explanation) -> Word:
    """Gives the word whose masking teaches most.

    The one with the largest contribution of those whose deletion effect has another sign, or else
    of all.
    """
    words = [explanation.words[index] for index in typed(explanation)]
    surprising = [word for word in words if word.signs_differ]
    return max(surprising or words, key=lambda word: abs(word.contribution))


def name_of(word: Word) -> str:
    """Gives what a question calls a word: its text, or the beginning of a very long one."""
    return word.name if len(word.name) <= _LONGEST_NAME else f"{word.name[: _LONGEST_NAME - 1]}…"


def _names(explanation: Explanation, indices: Sequence[int]) -> list[str]:
    """Gives the words at these places, with the place where one occurs more than once."""
    names = [name_of(word) for word in explanation.words]
    times = Counter(name.casefold() for name in names)
    return [
        names[index]
        if times[names[index].casefold()] == 1
        else f"{names[index]} (word {index + 1})"
        for index in indices
    ]


def with_words(served: ServedModel, sentence: Sentence) -> tuple[Sentence, Explanation, Markup]:
    """Gives a sentence with enough words, its explanation, and a note if it is not the visitor's.

    Args:
        served: The model.
        sentence: The visitor's.
    """
    explanation = served.explain(sentence)
    if len(typed(explanation)) >= _FEWEST_WORDS:
        return sentence, explanation, Markup()
    pair = None if sentence.pair is None else ""
    sentence = Sentence(DEFAULT_TEXT, pair)
    note = Markup("<p>Your text has fewer than {} words, so this is about another one.</p>")
    return sentence, served.explain(sentence), note.format(_FEWEST_WORDS)
