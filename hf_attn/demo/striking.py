"""A text without one of its words: masked in place, exactly, and typed again."""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np

from ..batching import TokenizedTexts
from ..explanation import Explanation
from ..prediction import predict_logits
from ..problem_types import MULTI, REGRESSION
from ..word_sums import Array
from .class_rows import ClassRow, class_rows, likeliest_first
from .served import Sentence, ServedModel

_MOST_LIKELY = 3


class Effect(NamedTuple):
    """What masking a word does to one sum.

    Attributes:
        title: What the sum is of.
        whole: The sum with the word.
        lost: The deletion effect, what masking takes from it.
        left: The sum with the word masked.
    """

    title: str
    whole: float
    lost: float
    left: float


class Struck(NamedTuple):
    """A text without a word.

    Attributes:
        name: The word.
        retyped: The text or pair typed again without it.
        effects: What masking it does to each sum that is shown.
        rows: The classes that are likely with or without it; in each the text as it is, with the
            word masked, and typed again.
        labels: The label of these three; None where a model gives several labels or values.
    """

    name: str
    retyped: Sentence
    effects: list[Effect]
    rows: list[ClassRow]
    labels: tuple[str, ...] | None


def strike(served: ServedModel, sentence: Sentence, explanation: Explanation, index: int) -> Struck:
    """Gives what a model says of a text without a word.

    Args:
        served: The model.
        sentence: The text or pair.
        explanation: Of the sentence, with deletion effects.
        index: Which of its words.
    """
    effects = cast(Array, explanation.deletion_effects)
    retyped = without_word(sentence, explanation, index)
    logits = [explanation.logits, explanation.logits - effects[index], _logits(served, retyped)]
    likely = {place for one in logits for place in likeliest_first(one)[:_MOST_LIKELY]}
    order = [place for place in likeliest_first(explanation.logits) if place in likely]
    labels = None
    if explanation.problem_type not in (MULTI, REGRESSION):
        labels = tuple(explanation.class_names[int(one.argmax())] for one in logits)
    return Struck(
        name=explanation.words[index].name,
        retyped=retyped,
        effects=[
            Effect(reading.title, reading.logit, lost, reading.logit - lost)
            for reading in explanation.shown
            for lost in [cast(float, reading.words[index].deletion_effect)]
        ],
        rows=list(class_rows(explanation, order, logits)),
        labels=labels,
    )


def without_word(sentence: Sentence, explanation: Explanation, index: int) -> Sentence:
    """Gives the sentence as one would type it without a word: the gap closed to one space."""
    word = explanation.words[index]
    text = (sentence.pair or "") if word.in_pair else sentence.text
    before, after = text[: word.start], text[word.end :]
    if not before or before[-1].isspace():
        after = after.lstrip()
    if not after:
        before = before.rstrip()
    return sentence._replace(**{"pair" if word.in_pair else "text": before + after})


def _logits(served: ServedModel, sentence: Sentence) -> Array:
    """Gives the logits (C,) of a sentence."""
    pairs = None if sentence.pair is None else [sentence.pair]
    with served.lock:
        texts = TokenizedTexts.from_texts([sentence.text], served.tokenizer, pairs)
        return np.asarray(predict_logits(served.model, texts)[0], dtype=np.float64)
