"""Some rows of texts as they were read, in order, with those that could not be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

from ..texts import LONGEST_CHUNK, text_problem

_MOST_ROWS = 1024
_MOST_CHARACTERS = 1 << 18


class BrokenRow(NamedTuple):
    """A row that could not be read.

    Attributes:
        place: Its number among all rows of its block, counted from 0.
        unit: What rows of its file are numbered by: "line" or "row".
        number: Its number in the file, counted from 1.
        problem: What was expected, what came and what to do.
    """

    place: int
    unit: str
    number: int
    problem: str

    def message(self, source: str) -> str:
        """Gives what is said of it, with the name of its source."""
        return f"{source}, {self.unit} {self.number}: {self.problem}"


@dataclass(frozen=True)
class TextBlock:
    """Rows that follow each other.

    Attributes:
        texts: N texts.
        pairs: N second texts, or None where there are none.
        broken: The rows between them that could not be read.
    """

    texts: list[str] = field(default_factory=list)
    pairs: list[str] | None = None
    broken: list[BrokenRow] = field(default_factory=list)

    @property
    def num_rows(self) -> int:
        """How many rows were read, broken ones included."""
        return len(self.texts) + len(self.broken)

    @cached_property
    def num_characters(self) -> int:
        """How long all texts are together."""
        return sum(map(len, self.texts)) + sum(map(len, self.pairs or ()))

    @classmethod
    def join(cls, blocks: Sequence[TextBlock]) -> TextBlock:
        """Gives the rows of all blocks, of which there is at least one."""
        if len(blocks) == 1:
            return blocks[0]
        broken, before = [], 0
        for block in blocks:
            broken += [row._replace(place=before + row.place) for row in block.broken]
            before += block.num_rows
        of_pairs = [block.pairs for block in blocks if block.pairs is not None]
        return cls(
            list(chain.from_iterable(block.texts for block in blocks)),
            list(chain.from_iterable(of_pairs)) if of_pairs else None,
            broken,
        )


def in_blocks(
    rows: Iterable[tuple[int, Sequence[Any], str]], unit: str, *, in_pairs: bool
) -> Iterator[TextBlock]:
    """Puts rows together.

    Args:
        rows: Of each row its number, its text and perhaps its second one, and what is wrong, or "".
        unit: What the rows are numbered by.
        in_pairs: Whether there are second texts.
    """
    block, place, characters = _empty(in_pairs), 0, 0
    for number, values, found in rows:
        problem = found
        for value in values:
            if not isinstance(value, str) or not value.isascii() or len(value) >= LONGEST_CHUNK:
                problem = problem or _problem_of(value)
        if problem:
            block.broken.append(BrokenRow(place, unit, number, problem))
        else:
            block.texts.append(values[0])
            characters += len(values[0])
            if block.pairs is not None:
                block.pairs.append(values[1])
                characters += len(values[1])
        place += 1
        if place == _MOST_ROWS or characters >= _MOST_CHARACTERS:
            yield block
            block, place, characters = _empty(in_pairs), 0, 0
    if place:
        yield block


def not_utf_8(error: UnicodeError) -> str:
    """Says what is wrong with bytes that could not be decoded."""
    return f"expected UTF-8, got {error}. Convert the text to UTF-8."


def _empty(in_pairs: bool) -> TextBlock:
    return TextBlock(pairs=[] if in_pairs else None)


def _problem_of(value: object) -> str:
    """Says why a value is no text; what was no UTF-8 has been decoded to lone surrogates."""
    problem = text_problem(value)
    if problem and isinstance(value, str):
        try:
            value.encode("utf-8", "surrogateescape").decode()
        except UnicodeDecodeError as error:
            return not_utf_8(error)
        except UnicodeEncodeError:  # another surrogate, from an escape in JSON
            return problem
    return problem
