"""Predictions as lines for a terminal, for `cut` or for a reader of JSON lines.

Shapes: N texts, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from json.encoder import encode_basestring as quoted
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .errors import InputError
from .predictor.arrow import encode_texts, from_numpy, strings
from .problem_types import MULTI

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .predictor.predictions import Predictions
    from .predictor.text_block import BrokenRow
    from .predictor.word_columns import WordColumns

# What would end a line or a column, or move the cursor of a terminal.
_SEPARATORS = dict.fromkeys([*range(32), *range(127, 160), 0x2028, 0x2029], " ")
_WORDS_IN_A_COLUMN = 3
_SCORES_AT_ONCE = 1 << 18
# In the column of a label where there is none: many readers of columns skip an empty one.
NO_LABEL = "-"


@dataclass(frozen=True)
class PredictionLines:
    """How predictions are written: a line for each text.

    Attributes:
        as_json: Whether a line is an object with the text and all scores, or the likeliest classes
            and their scores between tabs.
        top_k: How many classes there are between the tabs.
        explained: Whether a line has words and what they add.
        num_words: How many words at most; None for three between tabs, and for all in JSON.
    """

    as_json: bool = False
    top_k: int = 1
    explained: bool = False
    num_words: int | None = None

    def write(self, predictions: Predictions, broken: Sequence[BrokenRow]) -> bytes:
        """Gives the lines of some rows in order, each with its end.

        Args:
            predictions: Of the rows that could be read.
            broken: The other ones.
        """
        lines = list(self._json_lines(predictions) if self.as_json else self._columns(predictions))
        if broken:
            at = {row.place: row for row in broken}
            others = iter(lines)
            lines = [
                self._broken_line(at[place]) if place in at else next(others)
                for place in range(len(lines) + len(broken))
            ]
        return "".join([f"{line}\n" for line in lines]).encode()

    def _columns(self, predictions: Predictions) -> Iterator[str]:
        lines = iter(_score_columns(predictions, self.top_k))
        if not self.explained:
            return lines
        words = _word_columns(predictions, self.num_words or _WORDS_IN_A_COLUMN)
        return (f"{line}\t{some}" for line, some in zip(lines, words, strict=True))

    def _json_lines(self, predictions: Predictions) -> Iterator[str]:
        scores = _json_scores(predictions)
        texts = map(quoted, predictions.batch.texts)
        if not self.explained:
            return (f'{{"text": {text}, {one}}}' for text, one in zip(texts, scores, strict=True))
        words = _json_words(predictions, self.num_words)
        return (
            f'{{"text": {text}, {one}, "words": [{some}]}}'
            for text, one, some in zip(texts, scores, words, strict=True)
        )

    def _broken_line(self, row: BrokenRow) -> str:
        if not self.as_json:
            return ""
        return json.dumps({row.unit: row.number, "error": row.problem}, ensure_ascii=False)


def _score_columns(predictions: Predictions, top_k: int) -> list[str]:
    """Gives the `top_k` likeliest classes, each with its score, between tabs.

    Raises:
        InputError: If a class has the name that stands for no label.
    """
    names = [name.translate(_SEPARATORS) for name in predictions.class_names]
    names.append(NO_LABEL)  # the last one, with the index -1
    if predictions.abstain_below is not None and NO_LABEL in predictions.class_names:
        raise InputError(
            f"expected no class of the name {NO_LABEL!r}, which stands for no label in columns. "
            "Abstain with --json."
        )
    if top_k == 1:
        label_ids = np.where(predictions.answered, predictions.label_ids, -1)
        best = zip(label_ids.tolist(), predictions.scores.tolist(), strict=True)
        return [f"{names[label]}\t{score:.4f}" for label, score in best]
    order, scores = _sorted_scores(predictions, slice(None), top_k)
    order = np.where(predictions.answered[:, None], order, -1)
    rows = zip(order.tolist(), scores.tolist(), strict=True)
    return [
        "\t".join([f"{names[one]}\t{score:.4f}" for one, score in zip(*row, strict=True)])
        for row in rows
    ]


def _json_scores(predictions: Predictions) -> Iterator[str]:
    """Yields the members "label", "score" and "scores" of each text's object.

    Of several labels there are "labels", too.
    """
    names = [quoted(name) for name in predictions.class_names]
    starts, data = encode_texts([f"{name}: " for name in names])
    keys = strings(starts, pa.py_buffer(data))
    at_once = max(1, _SCORES_AT_ONCE // len(names))
    for start in range(0, len(predictions), at_once):
        order, scores = _sorted_scores(predictions, slice(start, start + at_once), len(names))
        numbers = _shortest(scores.ravel())
        members = pc.binary_join_element_wise(keys.take(from_numpy(order.ravel())), numbers, "")
        first = from_numpy(np.arange(0, order.size + 1, len(names)))
        objects = pc.binary_join(pa.LargeListArray.from_arrays(first, members), ", ").to_pylist()
        best = numbers.take(first[:-1]).to_pylist()
        labels = _json_labels(predictions, order, start, names)
        for label, score, rest in zip(labels, best, objects, strict=True):
            yield f'"label": {label}, "score": {score}, "scores": {{{rest}}}'


def _json_labels(
    predictions: Predictions, order: NDArray[np.intp], start: int, names: list[str]
) -> Iterator[str]:
    """Yields what "label" is of the texts from `start` on, and of several labels what "labels" is.

    Args:
        predictions: Of all texts.
        order: (M, C), the numbers of the classes of M texts, the likeliest first.
        start: The first of the texts.
        names: C, in quotes.
    """
    answered = predictions.answered[start : start + len(order)].tolist()
    likeliest = (
        names[label] if answer else "null"
        for label, answer in zip(order[:, 0].tolist(), answered, strict=True)
    )
    if predictions.problem_type != MULTI:
        yield from likeliest
        return
    predicted = predictions.predicted[start : start + len(order)]
    in_order = np.take_along_axis(predicted, order, axis=1)
    for label, row, is_predicted in zip(likeliest, order, in_order, strict=True):
        some = ", ".join([names[index] for index in row[is_predicted].tolist()])
        yield f'{label}, "labels": [{some}]'


def _shortest(numbers: NDArray[np.floating[Any]]) -> pa.StringArray:
    """Writes the shortest numbers that are read as the same float32s, faster than Python does."""
    return pc.cast(from_numpy(numbers.astype(np.float32)), pa.string())


def _sorted_scores(
    predictions: Predictions, rows: slice, top_k: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Gives the numbers of the classes with the highest logits (N, top_k), and their scores."""
    order = np.argsort(-predictions.logits[rows], axis=1, kind="stable")[:, :top_k]
    return order, np.take_along_axis(predictions.probabilities[rows], order, axis=1)


def _word_columns(predictions: Predictions, count: int) -> Iterator[str]:
    """Yields the words of each text that add most, such as "oil +8.02, rose -1.45"."""
    columns = predictions.word_columns(count)
    parts = zip(columns.words, columns.contributions.tolist(), strict=True)
    words = [
        f"{word if word.isprintable() else word.translate(_SEPARATORS)} {contribution:+.3g}"
        for word, contribution in parts
    ]
    return _joined(words, columns)


def _json_words(predictions: Predictions, count: int | None) -> Iterator[str]:
    """Yields the objects of each text's words."""
    columns = predictions.word_columns(count)
    in_pair = [""] * len(columns.words)
    if predictions.batch.pairs is not None:
        in_pair = [f', "in_pair": {json.dumps(one)}' for one in columns.in_pair]
    parts = zip(
        map(quoted, columns.words),
        columns.starts,
        columns.ends,
        in_pair,
        _shortest(columns.contributions).to_pylist(),
        strict=True,
    )
    words = [
        f'{{"word": {word}, "start": {start}, "end": {end}{pair}, "contribution": {contribution}}}'
        for word, start, end, pair, contribution in parts
    ]
    return _joined(words, columns)


def _joined(words: list[str], columns: WordColumns) -> Iterator[str]:
    """Yields the words of each text with commas between them."""
    others = iter(words)
    return (", ".join(islice(others, count)) for count in columns.counts.tolist())
