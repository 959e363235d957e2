"""What an explanation is: for each word of a text, what it adds to a logit and what its loss does.

Shapes: W words of one text, T of its tokens, C classes. Everything is in logits, in float64.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .probabilities import predicted_labels
from .problem_types import MULTI, REGRESSION
from .word_sums import Array, Reading, TokenWeights, Word

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

OTHERS = "the others"


class Piece(NamedTuple):
    """A piece of a text, for views that show it whole.

    Attributes:
        text: The characters; for a special token its name.
        word: Which word it is; None for what stands between words.
        was_read: False beyond the tokenizer's limit.
    """

    text: str
    word: int | None = None
    was_read: bool = True


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a model gave a text its label. Every class is in it; views show its `readings`.

    Attributes:
        text: The text as given.
        pair: The second text, if there is one.
        class_names: C names.
        problem_type: As in the model's configuration.
        logits: (C,), the model's.
        probabilities: (C,), softmax or sigmoid of the logits; for a regression the values.
        bias: (C,), the logits of a text without words.
        spans: (W, 2), first character of each word and one past its last.
        in_pair: (W,), whether it stands in the second text.
        special: Index of a word to the name of the special token it is.
        known: (W,), False if the vocabulary lacks the word or a part of it.
        direct: (W, C), what each word adds to each logit by its own features.
        context: (W, C), what it adds through attention.
        deletion_effects: (W, C), the logits less those without the word; None if not asked for.
        pool_weights: (W,), how the text weighs its words, summing to 1.
        attention_received: (W,), the attention each word gets from the text, summing to 1.
        num_tokens: Tokens that the model read.
        num_cut: Tokens beyond the tokenizer's limit, which it did not; of a pair those of both.
        target: Class that the readings are of; None for the likeliest, or for several labels each.
        against: Class it is compared with; None for the others, weighted by probability.
        weights: Attention between the tokens; None if not asked for.
        label_thresholds: The probability from which on each of several labels is predicted; None
            for one half.
    """

    text: str
    pair: str | None
    class_names: Sequence[str]
    problem_type: str
    logits: Array
    probabilities: Array
    bias: Array
    spans: NDArray[np.int64]
    in_pair: NDArray[np.bool_]
    special: dict[int, str]
    known: NDArray[np.bool_]
    direct: Array
    context: Array
    deletion_effects: Array | None
    pool_weights: Array
    attention_received: Array
    num_tokens: int
    num_cut: int = 0
    target: int | None = None
    against: int | None = None
    weights: TokenWeights | None = None
    label_thresholds: Sequence[float] | None = None

    @property
    def label(self) -> str:
        """The class with the highest logit; for a regression the name of the value."""
        return self.class_names[int(self.logits.argmax())]

    @property
    def probability(self) -> float:
        """The probability of `label`; for a regression the value."""
        return float(self.probabilities[int(self.logits.argmax())])

    @property
    def predicted(self) -> list[str]:
        """Of several labels those that reach their thresholds, the likeliest first.

        Of one class, or of values, `label` alone.
        """
        if self.problem_type != MULTI:
            return [self.label]
        order = np.argsort(-self.logits, kind="stable").tolist()
        reached = predicted_labels(self.probabilities, self.label_thresholds)
        return [self.class_names[index] for index in order if reached[index]]

    @property
    def margin(self) -> float | None:
        """How far the highest logit is above the next; for several labels above 0.

        None for a regression.
        """
        if self.problem_type == REGRESSION:
            return None
        if self.problem_type == MULTI or len(self.logits) == 1:
            return float(self.logits.max())
        second, first = np.partition(self.logits, -2)[-2:]
        return float(first - second)

    @property
    def unit(self) -> str:
        """What contributions are counted in: "logit", or for a regression "value"."""
        return "value" if self.problem_type == REGRESSION else "logit"

    @property
    def runner_up(self) -> str | None:
        """The class that the margin is over; None where it is over nothing."""
        if self.problem_type in (MULTI, REGRESSION) or len(self.logits) == 1:
            return None
        return self.class_names[int(np.argsort(-self.logits, kind="stable")[1])]

    @property
    def contributions(self) -> Array:
        """(W, C), what each word adds to each logit; with `bias` they sum to `logits`."""
        return self.direct + self.context

    @property
    def read_span(self) -> tuple[int, int] | None:
        """The characters of the text between which it was read, None if all of it was."""
        return self._read_span(in_pair=False)

    @property
    def pair_read_span(self) -> tuple[int, int] | None:
        """The characters of the second text between which it was read, None if all of it was."""
        return self._read_span(in_pair=True)

    def _read_span(self, *, in_pair: bool) -> tuple[int, int] | None:
        if not self.num_cut:
            return None
        text = (self.pair or "") if in_pair else self.text
        places = [
            (start, end)
            for index, (_, start, end) in enumerate(self._word_texts)
            if self.in_pair[index] == in_pair and index not in self.special
        ]
        start, end = (places[0][0], places[-1][1]) if places else (0, 0)
        return (start, end) if text[:start].strip() or text[end:].strip() else None

    def aimed_at(
        self, target: str | int | None = None, against: str | int | None = None
    ) -> Explanation:
        """Gives the same explanation with other readings.

        Args:
            target: Name or index of the class; None for the likeliest one (but `against`), and for
                several labels or values all.
            against: Name or index of the class to compare it with; None for the others, weighted by
                the softmax over their logits (for several labels and values, for nothing).

        Raises:
            InputError: If there is no such class, or both are the same.
        """
        first, second = (class_index(aim, self.class_names) for aim in (target, against))
        if second is not None and len(self.class_names) == 1:
            raise InputError("against compares classes, and this model has one: leave it out.")
        if second is not None and second == first:
            raise InputError(
                f"against must be another class than the target, got {self.class_names[second]!r} "
                "for both. Leave it out to compare with all others."
            )
        if second is not None and self.problem_type == REGRESSION:
            raise InputError("against compares classes, and this model gives values: leave it out.")
        return replace(self, target=first, against=second)

    @cached_property
    def readings(self) -> tuple[Reading, ...]:
        """The sums asked for: one, or for several labels one for each, the likeliest first."""
        return tuple(self._read(index) for index in self._targets)

    @cached_property
    def shown(self) -> tuple[Reading, ...]:
        """The readings that a view shows: of several labels the predicted ones, or the first."""
        targets = self._targets
        if self.target is None and self.problem_type == MULTI:
            reached = predicted_labels(self.probabilities, self.label_thresholds)
            targets = [index for index in targets if reached[index]] or targets[:1]
        return tuple(self._read(index) for index in targets)

    @property
    def _targets(self) -> list[int]:
        """The classes of the readings."""
        if self.target is not None or self.problem_type not in (MULTI, REGRESSION):
            return [self._likeliest() if self.target is None else self.target]
        if self.problem_type == REGRESSION:
            return list(range(len(self.logits)))
        order = np.argsort(-self.logits, kind="stable").tolist()
        return [index for index in order if index != self.against]

    def _likeliest(self) -> int:
        """The class with the highest logit, of those that are not what it is compared with."""
        logits = self.logits.copy()
        if self.against is not None:
            logits[self.against] = -np.inf
        return int(logits.argmax())

    @property
    def words(self) -> tuple[Word, ...]:
        """The words as the first reading has them."""
        return self.shown[0].words

    @property
    def largest(self) -> float:
        """The largest size of a contribution or effect that a view shows."""
        return max(reading.largest for reading in self.shown)

    def _direction(self, target: int) -> tuple[Array, str | None]:
        """Gives the weights (C,) of the logits in a reading, and what the target is against."""
        direction = np.zeros(len(self.logits))
        direction[target] = 1
        if self.against is not None:
            direction[self.against] = -1
            return direction, self.class_names[self.against]
        if self.problem_type in (MULTI, REGRESSION) or len(direction) == 1:
            return direction, None
        others = np.delete(np.arange(len(direction)), target)
        odds = np.exp(self.logits[others] - self.logits[others].max())
        direction[others] = -odds / odds.sum()
        return direction, OTHERS if len(others) > 1 else self.class_names[int(others[0])]

    def _read(self, target: int) -> Reading:
        direction, against = self._direction(target)
        attention = reads = None
        if self.weights is not None:
            attention, reads = self.weights.between_words(len(self.spans), direction)
        return Reading(
            target=self.class_names[target],
            against=against,
            probability=float(self.probabilities[target]),
            logit=float(self.logits @ direction),
            target_logit=float(self.logits[target]),
            bias=float(self.bias @ direction),
            words=tuple(self._words_along(direction)),
            unit=self.unit,
            attention=attention,
            reads=reads,
        )

    def _words_along(self, direction: Array) -> Iterator[Word]:
        direct, context = self.direct @ direction, self.context @ direction
        effects = None if self.deletion_effects is None else self.deletion_effects @ direction
        for index, (text, start, end) in enumerate(self._word_texts):
            yield Word(
                text=text,
                start=start,
                end=end,
                contribution=float(direct[index] + context[index]),
                direct=float(direct[index]),
                context=float(context[index]),
                deletion_effect=None if effects is None else float(effects[index]),
                pool_weight=float(self.pool_weights[index]),
                attention_received=float(self.attention_received[index]),
                is_known=bool(self.known[index]),
                is_special=index in self.special,
                in_pair=bool(self.in_pair[index]),
            )

    @cached_property
    def _word_texts(self) -> list[tuple[str, int, int]]:
        """Gives each word with its first character and one past its last, without white space.

        A mark that a tokenizer left outside a slice belongs to the letter before it.
        """
        places = []
        for index, (start, end) in enumerate(self.spans.tolist()):
            if index in self.special:
                places.append((self.special[index], start, start))
                continue
            text = (self.pair or "") if self.in_pair[index] else self.text
            following = self.spans[index + 1, 0] if index + 1 < len(self.spans) else -1
            while end < len(text) and end != following and unicodedata.combining(text[end]):
                end += 1
            if not text[start:end].isspace():
                start, end = _without_white_space(text, start, end)
            places.append((text[start:end], start, end))
        return places

    def pieces(self, *, in_pair: bool = False) -> Iterator[Piece]:
        """Yields the text cut at its words; joined without the special tokens it is the text.

        Args:
            in_pair: Whether to cut the second text of the pair.
        """
        text = (self.pair or "") if in_pair else self.text
        read_from = (self._read_span(in_pair=in_pair) or (0, 0))[0]
        position, side = 0, False
        for index, (word, start, end) in enumerate(self._word_texts):
            if index in self.special:
                if side == in_pair:
                    yield Piece(word, index)
                continue
            side = bool(self.in_pair[index])
            if side == in_pair:
                yield Piece(text[position:start], was_read=position >= read_from)
                yield Piece(word, index)
                position = end
        yield Piece(text[position:], was_read=not self.num_cut)

    def to_dict(self) -> dict[str, Any]:
        """Gives the prediction and all readings, of what JSON can hold."""
        from .explanation_tables import explanation_to_dict

        return explanation_to_dict(self)

    def to_json(self, path: str | Path | None = None) -> str:
        """Gives `to_dict()` as JSON, and writes it."""
        return Explanations([self]).to_json(path)

    def to_dataframe(self) -> pd.DataFrame:
        """Gives one row for each word of each reading."""
        return Explanations([self]).to_dataframe()

    def to_terminal(self, *, width: int | None = None, color: bool | None = None) -> str:
        """Gives a table for a terminal; see [`Explanations.to_terminal`]."""
        return Explanations([self]).to_terminal(width=width, color=color)

    def to_html(self, path: str | Path | None = None) -> str:
        """Gives a page of its own, and writes it; see [`Explanations.to_html`]."""
        return Explanations([self]).to_html(path)

    def to_png(self, path: str | Path) -> None:
        """Draws a picture; see [`Explanations.to_png`]."""
        Explanations([self]).to_png(path)

    def _repr_html_(self) -> str:
        return Explanations([self])._repr_html_()

    def __str__(self) -> str:
        return self.to_terminal(color=False)


class Explanations(Sequence[Explanation]):
    """Explanations of a batch, shown on one scale so that colours can be compared."""

    def __init__(self, explanations: Iterable[Explanation]) -> None:
        self._explanations = list(explanations)

    def __len__(self) -> int:
        return len(self._explanations)

    @overload
    def __getitem__(self, index: int) -> Explanation: ...

    @overload
    def __getitem__(self, index: slice) -> Explanations: ...

    def __getitem__(self, index: int | slice) -> Explanation | Explanations:
        if isinstance(index, slice):
            return Explanations(self._explanations[index])
        return self._explanations[index]

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self._explanations)

    @property
    def scale(self) -> float:
        """The value, in logits, that gets the full colour: the largest that is shown, or 1."""
        return max((one.largest for one in self), default=0.0) or 1.0

    def to_json(self, path: str | Path | None = None) -> str:
        """Gives one JSON object a line, each as [`Explanation.to_dict`] gives it, and writes them.

        Args:
            path: Where to write, in UTF-8; the file is replaced whole or not at all.
        """
        from .explanation_tables import explanations_to_json

        return explanations_to_json(self, path)

    def to_dataframe(self) -> pd.DataFrame:
        """Gives one row for each word of each reading of each text."""
        from .explanation_tables import explanations_to_dataframe

        return explanations_to_dataframe(self)

    def to_terminal(self, *, width: int | None = None, color: bool | None = None) -> str:
        """Gives a table of words with bars and numbers.

        Args:
            width: Columns to keep to; those of the terminal if None.
            color: Whether to use colours; if None, where standard output is a terminal and the
                variable `NO_COLOR` is not set.
        """
        from .terminal_view import explanations_to_terminal

        return explanations_to_terminal(self, width=width, color=color)

    def to_html(self, path: str | Path | None = None) -> str:
        """Gives a page without script or network that shows the words coloured, and the numbers.

        Attention is drawn where it was asked for.

        Args:
            path: Where to write, in UTF-8; the file is replaced whole or not at all.
        """
        from .html_view import explanations_to_html

        return explanations_to_html(self, path)

    def to_png(self, path: str | Path) -> None:
        """Draws the contributions as bars, and attention where it was asked for.

        Raises:
            InputError: If matplotlib (the extra `viz`) is not installed.
        """
        from .png_view import explanations_to_png

        explanations_to_png(self, path)

    def _repr_html_(self) -> str:
        from .html_view import explanations_to_fragment

        return explanations_to_fragment(self)

    def __str__(self) -> str:
        return self.to_terminal(color=False)


def _without_white_space(text: str, start: int, end: int) -> tuple[int, int]:
    """Gives the span without the white space at its ends."""
    stripped = text[start:end].lstrip()
    start = end - len(stripped)
    return start, start + len(stripped.rstrip())


def class_index(name: str | int | None, class_names: Sequence[str]) -> int | None:
    """Gives the index of a class from its name or its index; None stays None.

    Raises:
        InputError: If there is no such class; the message gives the nearest name.
    """
    if name is None:
        return None
    if isinstance(name, str):
        if name in class_names:
            return class_names.index(name)
        by_lower_case = {known.lower(): known for known in class_names}
        near = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.5)
        hint = f" Did you mean {by_lower_case[near[0]]!r}?" if near else ""
    else:
        is_index = isinstance(name, (int, np.integer)) and not isinstance(name, bool)
        if is_index and 0 <= name < len(class_names):
            return int(name)
        hint = ""
    known = ", ".join(class_names[:20]) + (", ..." if len(class_names) > 20 else "")
    raise InputError(f"expected a class of the model ({known}), got {name!r}.{hint}")
