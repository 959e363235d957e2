"""What each word of the vocabulary adds to each class, whatever the text: the global explanation.

Shapes: V words, C classes. Everything is in logits, for a regression in units of the value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .explanation import class_index
from .problem_types import REGRESSION, SINGLE
from .word_sums import Array

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

AGAINST = "the mean of the others"


@dataclass(frozen=True)
class Entry:
    """One word of a lexicon, as one class has it.

    Attributes:
        word: The word as a reader sees it; where several tokens would look the same, the token.
        token: The token that the vocabulary holds.
        value: What it adds to the logit, `direct + context`, where it is the only word of a text.
        direct: The part of its own features; in a longer text multiplied by the pooling weight p.
        context: The part that goes through attention; in a longer text multiplied by the attention
            received, a.
        count: How often it occurred in the training texts; None if the model does not say.
        is_unknown: Whether it stands for all that the vocabulary lacks.
    """

    word: str
    token: str
    value: float
    direct: float
    context: float
    count: int | None
    is_unknown: bool


@dataclass(frozen=True)
class WordList:
    """The words that speak most for one class, and against it.

    Attributes:
        target: Name of the class.
        against: What it is compared with; None where the logit stands for itself.
        bias: What is there without words.
        positive: Words of a value above 0, the largest first.
        negative: Words of a value below 0, the lowest first; empty unless asked for.
    """

    target: str
    against: str | None
    bias: float
    positive: tuple[Entry, ...]
    negative: tuple[Entry, ...]

    @property
    def title(self) -> str:
        """What the values add to: "acq against the mean of the others"."""
        return self.target if self.against is None else f"{self.target} against {self.against}"

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The positive words, then the negative ones."""
        return self.positive + self.negative


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The values of the whole vocabulary. Every word is in it; views show its `lists`.

    The softmax over classes ignores what is added to all logits alike. Where there is one label, a
    class is therefore shown against the mean of the others: its value less the mean of theirs.

    Attributes:
        words: V words as a reader sees them.
        tokens: V tokens.
        counts: (V,), how often each occurred in the training texts; None if that is not known.
        unknown: (V,), True for the token of all that the vocabulary lacks.
        direct: (V, C), what each adds to each logit by its own features, in a text of it alone.
        context: (V, C), what it adds through attention.
        bias: (C,), the logits of a text without words.
        class_names: C names.
        problem_type: As in the model's configuration.
        kind: What the tokenizer splits texts into, "word" or "token".
        has_bigrams: Whether the values hold the bigram of the word and the start of a text.
        top: Words to show of each sign for a class; None for all.
        min_count: Times that a word must have occurred to be shown, where that is known.
        target: The class to show; None for all.
        with_negative: Whether to show the words that speak against a class.
    """

    words: Sequence[str]
    tokens: Sequence[str]
    counts: NDArray[np.int64] | None
    unknown: NDArray[np.bool_]
    direct: NDArray[np.floating[Any]]
    context: NDArray[np.floating[Any]]
    bias: Array
    class_names: Sequence[str]
    problem_type: str
    kind: str = "word"
    has_bigrams: bool = False
    top: int | None = 20
    min_count: int = 5
    target: int | None = None
    with_negative: bool = False

    def showing(
        self,
        *,
        top: int | None = 20,
        min_count: int = 5,
        target: str | int | None = None,
        negative: bool = False,
    ) -> Lexicon:
        """Gives the same lexicon with other words to show.

        Args:
            top: Words of each sign for a class, 1 or more; None for all.
            min_count: Times that a word must have occurred in the training texts: values of rare
                words are noise. The unknown token is shown whatever its count.
            target: Name or index of the class; None for all.
            negative: Whether to show the words that speak against a class, too.

        Raises:
            InputError: If there is no such class, or a number is out of range.
        """
        for name, value, least in (("top", top, 1), ("min_count", min_count, 0)):
            if value is not None and value < least:
                raise InputError(f"{name} must be {least} or more, got {value!r}.")
        return replace(
            self,
            top=top,
            min_count=min_count,
            target=class_index(target, self.class_names),
            with_negative=negative,
        )

    @cached_property
    def lists(self) -> tuple[WordList, ...]:
        """The words to show, a list for each class."""
        targets = range(len(self.class_names)) if self.target is None else [self.target]
        return tuple(self._list_of(target) for target in targets)

    @property
    def num_hidden(self) -> int:
        """How many words occurred too rarely to be shown."""
        return int((~self._shown).sum())

    @property
    def unit(self) -> str:
        """What values are counted in: "logit", or for a regression "value"."""
        return "value" if self.problem_type == REGRESSION else "logit"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers has to know, in sentences."""
        notes = [
            f"Unit: {self.unit}. value = direct + context is exactly what the {self.kind} adds to "
            "the bias in a text of nothing else, not even special tokens. In a longer text it adds "
            "p × direct + a × context, with its pooling weight p and the attention a it receives."
        ]
        if self._compares:
            notes.append(f"Each class is counted against {AGAINST}.")
        if self.kind == "token":
            notes.append("The tokenizer splits words into parts: the units are tokens.")
        if self.has_bigrams:
            notes.append(
                f"The model reads pairs of neighbours: a value holds the pair of the {self.kind} "
                "and the start of a text, and elsewhere another pair takes its place."
            )
        unknown = {entry.word for one in self.lists for entry in one.entries if entry.is_unknown}
        notes += [f"{word} stands for what the vocabulary lacks." for word in unknown]
        if self.counts is None:
            notes.append(
                "How often they occurred in training is not known: the model has no "
                "token_counts.json. Values of rare ones are noise."
            )
        elif self.num_hidden:
            notes.append(
                f"{self.num_hidden:,} of {len(self.words):,} {self.kind}s are left out, as they "
                f"occurred fewer than {self.min_count} times in training."
            )
        return tuple(notes)

    @property
    def _compares(self) -> bool:
        return self.problem_type == SINGLE and len(self.class_names) > 1

    @cached_property
    def _shown(self) -> NDArray[np.bool_]:
        """Gives (V,), whether a word occurred often enough to be shown."""
        if self.counts is None:
            return np.ones(len(self.words), dtype=np.bool_)
        return (self.counts >= self.min_count) | self.unknown

    def _list_of(self, target: int) -> WordList:
        direct, context = (self._of_class(part, target) for part in (self.direct, self.context))
        value = direct + context
        order = np.flatnonzero(self._shown)
        order = order[np.argsort(-value[order], kind="stable")]
        positive = order[value[order] > 0][: self.top]
        negative = order[value[order] < 0][::-1][: self.top]

        def entry(index: int) -> Entry:
            return Entry(
                word=self.words[index],
                token=self.tokens[index],
                value=float(value[index]),
                direct=float(direct[index]),
                context=float(context[index]),
                count=None if self.counts is None else int(self.counts[index]),
                is_unknown=bool(self.unknown[index]),
            )

        return WordList(
            target=self.class_names[target],
            against=self._against(target),
            bias=float(self._of_class(self.bias, target)),
            positive=tuple(map(entry, positive.tolist())),
            negative=tuple(map(entry, negative.tolist())) if self.with_negative else (),
        )

    def _against(self, target: int) -> str | None:
        if not self._compares:
            return None
        return AGAINST if len(self.class_names) > 2 else self.class_names[1 - target]

    def _of_class(self, values: NDArray[np.floating[Any]], target: int) -> Array:
        """Gives (...), in float64, from the values (..., C) of all classes, contrasted."""
        own: Array = values[..., target].astype(np.float64)
        if not self._compares:
            return own
        others: Array = (values.sum(-1, dtype=np.float64) - own) / (values.shape[-1] - 1)
        return np.subtract(own, others)

    def to_dict(self) -> dict[str, Any]:
        """Gives the lists and how to read them, of what JSON can hold."""
        from .lexicon_tables import lexicon_to_dict

        return lexicon_to_dict(self)

    def to_json(self, path: str | Path | None = None) -> str:
        """Gives `to_dict()` as JSON, and writes it.

        Args:
            path: Where to write, in UTF-8; the file is replaced whole or not at all.
        """
        from .lexicon_tables import lexicon_to_json

        return lexicon_to_json(self, path)

    def to_csv(self, path: str | Path | None = None) -> str:
        """Gives a table with one line for each word of each list, and writes it.

        Args:
            path: Where to write, in UTF-8; the file is replaced whole or not at all.
        """
        from .lexicon_tables import lexicon_to_csv

        return lexicon_to_csv(self, path)

    def to_dataframe(self) -> pd.DataFrame:
        """Gives one row for each word of each list."""
        from .lexicon_tables import lexicon_to_dataframe

        return lexicon_to_dataframe(self)

    def to_html(self, path: str | Path | None = None) -> str:
        """Gives a page without script or network that shows the lists as bars, and writes it.

        Args:
            path: Where to write, in UTF-8; the file is replaced whole or not at all.
        """
        from .lexicon_view import lexicon_to_html

        return lexicon_to_html(self, path)

    def to_terminal(self, *, width: int | None = None, color: bool | None = None) -> str:
        """Gives the lists as tables for a terminal.

        Args:
            width: Columns to keep to; those of the terminal if None.
            color: Whether to use colours; if None, where standard output is a terminal and the
                variable `NO_COLOR` is not set.
        """
        from .lexicon_view import lexicon_to_terminal

        return lexicon_to_terminal(self, width=width, color=color)

    def __str__(self) -> str:
        return self.to_terminal(color=False)
