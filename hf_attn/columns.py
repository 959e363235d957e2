"""Which columns hold the text, its pair and the label."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .errors import InputError

logger = logging.getLogger(__name__)

TEXT_NAMES = {
    "abstract",
    "article",
    "body",
    "comment",
    "content",
    "description",
    "document",
    "headline",
    "message",
    "post",
    "query",
    "question",
    "review",
    "sentence",
    "sms",
    "snippet",
    "text",
    "title",
    "tweet",
    "utterance",
}
LABEL_NAMES = {
    "categories",
    "category",
    "class",
    "classes",
    "emotion",
    "emotions",
    "intent",
    "intents",
    "label",
    "labels",
    "language",
    "polarity",
    "rating",
    "score",
    "sentiment",
    "stars",
    "tag",
    "tags",
    "target",
    "targets",
    "topic",
    "topics",
    "y",
}
PAIR_NAMES = (
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text1", "text2"),
)


class Table(Protocol):
    """Rows that have been read, or the first of them."""

    @property
    def source(self) -> str:
        """File or data set, as error messages name it."""

    @property
    def columns(self) -> Mapping[str, Sequence[Any]]:
        """Column name to values."""

    @property
    def untyped(self) -> bool:
        """Whether the format knows only strings, so that numbers look like text."""


@dataclass(frozen=True)
class Columns:
    """The columns that are used.

    Attributes:
        text: column of the text.
        text_pair: column of the second text, if there is one.
        label: column of the label.
    """

    text: str
    text_pair: str | None
    label: str | None


def choose_columns(
    split: Table,
    *,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    labelled: bool = True,
) -> Columns:
    """Gives the columns to use: those given, and the obvious ones for the rest.

    Args:
        split: the split that decides, usually train.
        text: column of the text, if given.
        text_pair: column of the second text, if given.
        label: column of the label, if given.
        labelled: whether there must be labels.

    Returns:
        Names that are all columns of the split, no two the same.

    Raises:
        InputError: a given column does not exist, or none is obvious.
    """
    for argument, given in (("text", text), ("text-pair", text_pair), ("label", label)):
        if given is not None:
            check_column(split, given, argument)
    guessed_pair = text is None and text_pair is None
    if guessed_pair:
        pairs = [pair for pair in PAIR_NAMES if set(pair) <= set(split.columns) - {label}]
        text, text_pair = pairs[0] if pairs else (None, None)
    free = [name for name in split.columns if name not in (text, text_pair, label)]
    if label is None:
        label = _match(free, LABEL_NAMES, "label")
        free = [name for name in free if name != label]
    if text is None:
        text = _match(free, TEXT_NAMES, "text") or _only_texts(split, free)
        free = [name for name in free if name != text]
    if label is None and text is not None and len(free) == 1:
        label = free[0]
    if text is None or (label is None and labelled):
        raise _not_obvious(split, "text" if text is None else "label")
    used = [name for name in (text, text_pair, label) if name is not None]
    if len(set(used)) < len(used):
        raise InputError(
            f"{split.source}: expected different columns for text, text pair and label, got "
            f"{text!r}, {text_pair!r} and {label!r}. Change --text-column or --label-column."
        )
    chosen = Columns(text, text_pair, label)
    logger.info("%s: using %s", split.source, chosen)
    return chosen


def check_column(split: Table, column: str, argument: str) -> None:
    """Raise unless a split has a column.

    Args:
        split: the split.
        column: name of the column.
        argument: "text", "text-pair" or "label", for the message.

    Raises:
        InputError: there is no such column; a near name is suggested.
    """
    if column in split.columns:
        return
    near = difflib.get_close_matches(column, list(split.columns), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise InputError(
        f"{split.source}: expected the {argument} column {column!r}, got the columns "
        f"{list(split.columns)!r}.{hint} {_name_it(argument)}"
    )


def _match(names: list[str], usual: set[str], exact: str) -> str | None:
    """Gives the column of the exact name, else the only one with a usual name."""
    if exact in names:
        return exact
    matches = [name for name in names if name.lower() in usual]
    return matches[0] if len(matches) == 1 else None


def _only_texts(split: Table, names: list[str]) -> str | None:
    """Gives the only column that holds strings, if no other column has a usual text name."""
    if any(name.lower() in TEXT_NAMES for name in names):
        return None
    texts = []
    for name in names:
        first = next((value for value in split.columns[name] if value is not None), None)
        if isinstance(first, str):
            texts.append(name)
    return texts[0] if len(texts) == 1 else None


def _not_obvious(split: Table, argument: str) -> InputError:
    header = " The first line is read as the header." if split.untyped else ""
    return InputError(
        f"{split.source}: expected an obvious {argument} column, got the columns "
        f"{list(split.columns)!r}.{header} {_name_it(argument)}"
    )


def _name_it(argument: str) -> str:
    return f"Name it with {argument.replace('-', '_')}_column (--{argument}-column)."
