"""Raw label values to class numbers, sets of classes, or numbers."""

from __future__ import annotations

import difflib
import logging
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, get_args

from .errors import InputError
from .problem_types import MULTI, REGRESSION, SINGLE, ProblemType
from .raw_labels import RawLabels

logger = logging.getLogger(__name__)

UnseenLabels = Literal["error", "drop"]

INTEGER = re.compile(r"[+-]?\d+")
# Values of the rows that are kept, and the indices of those rows; None for all.
Encoded = tuple[list[Any], list[int] | None]
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class EncodedLabels:
    """The labels of all splits as a model learns them.

    Attributes:
        problem_type: the task.
        names: class names in the order of the class numbers; None for regression.
        values: split to one value a row: a class number, a list of them, or a float.
        rows: split to the indices of the rows that `values` belongs to; None for all rows.
    """

    problem_type: ProblemType
    names: list[str] | None
    values: dict[str, list[Any]]
    rows: dict[str, list[int] | None]


def encode_labels(
    raw: Mapping[str, RawLabels],
    *,
    problem_type: ProblemType | None = None,
    names: Sequence[str] | None = None,
    unseen: UnseenLabels = "error",
) -> EncodedLabels:
    """Gives the labels of all splits, encoded by the classes of the first.

    Args:
        raw: split to labels; the first split, usually train, decides task and classes.
        problem_type: the task; None infers it.
        names: classes to use instead of those that the first split holds.
        unseen: what to do with a class of another split that is not among them: "error", or
            "drop" (the row of a single-label task, the one label of a multi-label task).

    Returns:
        The encoded labels.

    Raises:
        InputError: labels do not fit the task or each other, a class is unseen, or there are
            fewer than two classes to learn.
    """
    task = problem_type or _infer_task(raw)
    if task not in get_args(ProblemType):
        raise InputError(f"Expected problem_type {get_args(ProblemType)}, got {task!r}.")
    if task == REGRESSION:
        values = {name: _to_floats(labels) for name, labels in raw.items()}
        return EncodedLabels(task, None, values, dict.fromkeys(raw))
    first = next(iter(raw))
    encoded: dict[str, Encoded] = {}
    if task == SINGLE:
        single = {name: _to_single(labels) for name, labels in raw.items()}
        names = names or _class_names(raw[first], set(single[first]), every_row=True)
        for name, labels in raw.items():
            encoded[name] = _encode_single(labels, single[name], names, unseen)
    else:
        sets = {name: _to_sets(labels) for name, labels in raw.items()}
        occurring = set(chain.from_iterable(sets[first]))
        names = names or _class_names(raw[first], occurring, every_row=all(sets[first]))
        for name, labels in raw.items():
            encoded[name] = _encode_sets(labels, sets[name], names, unseen)
    return EncodedLabels(
        problem_type=task,
        names=list(names),
        values={name: values for name, (values, _) in encoded.items()},
        rows={name: rows for name, (_, rows) in encoded.items()},
    )


def _infer_task(raw: Mapping[str, RawLabels]) -> ProblemType:
    first, *others = raw.values()
    kinds = _kinds(raw.values())
    for labels, kind in zip(others, kinds[1:], strict=True):
        comparable = {"integers", "numbers"}
        if labels.split.untyped != first.split.untyped:
            comparable.add("names")  # CSV holds numbers as strings.
        if kind != kinds[0] and not comparable.issuperset({kind, kinds[0]}):
            raise InputError(
                f"{labels.split.source}: expected {kinds[0]} as labels as in "
                f"{first.split.source}, got {kind} in column {labels.column!r}. "
                "Write them all alike."
            )
    if kinds[0] == "lists":
        return MULTI
    if kinds[0] == "numbers" or (first.split.untyped and _are_decimals(first.values)):
        logger.info("%s: decimal labels, so this is a regression", first.split.source)
        return REGRESSION
    return SINGLE


def _kinds(raw: Collection[RawLabels]) -> list[str]:
    """Gives the kind of each split; fastText lists are names where none is longer than one."""
    lists = [labels.values for labels in raw if labels.split.one_label_lists]
    single = all(len(value) <= 1 for values in lists for value in values)
    return ["names" if single and labels.split.one_label_lists else labels.kind for labels in raw]


def _are_decimals(values: Sequence[Any]) -> bool:
    """Return whether all strings are numbers and one is not an integer: 0.5, but not 01."""
    return all(isinstance(value, str) and NUMBER.fullmatch(value.strip()) for value in values) and (
        any(not INTEGER.fullmatch(value.strip()) for value in values)
    )


def _to_floats(labels: RawLabels) -> list[float]:
    numbers = []
    for row, value in enumerate(labels.values):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise InputError(
                f"{labels.where(row)}: expected a finite number for regression, got {value!r}. "
                "Correct it, or set problem_type (--problem-type) if the labels are classes."
            )
        numbers.append(number)
    return numbers


def _name(value: str | int | float) -> str:
    """Gives the class name that a value stands for."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value)


def _to_single(labels: RawLabels) -> list[str]:
    if labels.kind != "lists":
        return list(map(_name, labels.values))
    for row, value in enumerate(labels.values):
        if len(value) != 1:
            raise InputError(
                f"{labels.where(row)}: expected one label, got {value!r}. "
                f"Use problem_type={MULTI!r} (--problem-type) for several or none."
            )
    return [_name(value[0]) for value in labels.values]


def _to_sets(labels: RawLabels) -> list[list[str]]:
    if labels.kind != "lists":
        return [[_name(value)] for value in labels.values]
    return [list(dict.fromkeys(map(_name, value))) for value in labels.values]


def _class_names(labels: RawLabels, occurring: set[str], *, every_row: bool) -> list[str]:
    """Gives the classes of the first split: in declared, numeric or alphabetical order."""
    if not occurring or (len(occurring) == 1 and every_row):
        only = f"only {next(iter(occurring))!r}" if occurring else "no label at all"
        raise InputError(
            f"{labels.split.source}: expected at least two classes in column {labels.column!r}, "
            f"got {only}. Add texts of another class, or name another column (--label-column)."
        )
    declared = labels.split.class_names.get(labels.column)
    if declared:
        return declared
    if all(INTEGER.fullmatch(name) for name in occurring):
        return sorted(occurring, key=lambda name: (int(name), name))
    return sorted(occurring)


def _unseen(labels: RawLabels, row: int, name: str, names: Sequence[str]) -> InputError:
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return InputError(
        f"{labels.where(row)}: expected one of the {len(names)} labels known from training, got "
        f"{name!r}, which does not occur there.{hint} Correct it, add training texts with it, or "
        "leave such labels out with unseen_labels='drop' (--unseen-labels drop)."
    )


def _encode_single(
    labels: RawLabels, values: list[str], names: Sequence[str], unseen: UnseenLabels
) -> Encoded:
    numbers = {name: number for number, name in enumerate(names)}
    encoded = [numbers.get(name, -1) for name in values]
    if -1 not in encoded:
        return encoded, None
    if unseen != "drop":
        row = encoded.index(-1)
        raise _unseen(labels, row, values[row], names)
    rows = [row for row, number in enumerate(encoded) if number >= 0]
    lost = len(values) - len(rows)
    logger.warning("%s: %d rows with unseen labels are left out", labels.split.source, lost)
    return [encoded[row] for row in rows], rows


def _encode_sets(
    labels: RawLabels, values: list[list[str]], names: Sequence[str], unseen: UnseenLabels
) -> Encoded:
    """Gives the class numbers of each row, sorted; an unseen label goes, its row stays."""
    numbers = {name: number for number, name in enumerate(names)}
    strange = [
        (row, name) for row, held in enumerate(values) for name in held if name not in numbers
    ]
    if strange and unseen != "drop":
        raise _unseen(labels, *strange[0], names)
    if strange:
        logger.warning("%s: %d unseen labels are left out", labels.split.source, len(strange))
    return [sorted(numbers[name] for name in held if name in numbers) for held in values], None
