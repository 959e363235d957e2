"""Traces as titles, sentences and tables of numbers, for views to draw each in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .explanation import Explanation
from .problem_types import REGRESSION
from .scaling import Attending, ScalingComparison
from .stages import PipelineTrace, PredictionTrace, Stage, Trace, not_seen
from .trace_wording import CAPTIONS, HEADINGS, SHARES
from .wording import prediction_line, signed

Array = NDArray[Any]
Kind = Literal["signed", "share", "percent", "number", "text"]

NOT_SEEN = "·"
_MOST_CLASSES = 10
_OTHERS = "others"


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        name: What stands above it.
        values: What is in it, a number or a text for each row.
        kind: How it is written.
        scale: The value that gets the full colour.
    """

    name: str
    values: Sequence[Any] | Array
    kind: Kind
    scale: float = 1.0

    def text(self, row: int) -> str:
        """Gives what is written in a row."""
        value = self.values[row]
        if self.kind == "text":
            return str(value)
        if self.kind == "number":
            return f"{value:,}"
        if self._is_hidden(row):
            return NOT_SEEN
        if self.kind == "share":
            return f"{value:.2f}"
        return f"{value:.1%}" if self.kind == "percent" else signed(float(value), self.scale)

    def share(self, row: int) -> float:
        """Gives the share of the scale that a row has, from -1 to 1; 0 for what has no colour."""
        if self.kind in ("text", "number") or self._is_hidden(row):
            return 0.0
        return float(np.clip(self.values[row] / self.scale, -1, 1))

    def _is_hidden(self, row: int) -> bool:
        return isinstance(self.values, np.ndarray) and bool(not_seen(self.values[row : row + 1])[0])


@dataclass(frozen=True)
class Grid:
    """A table: a name for each row, and columns.

    Attributes:
        caption: What its numbers are.
        counts: What the rows are, such as "tokens"; "" for a single row.
        rows: Their names.
        columns: The columns; see [`Column`].
        across: What the columns are if all are of one kind, such as "features".
        num_rows: Rows that there are, shown or not.
        num_columns: Columns that there are, shown or not.
        has_bar: Whether a bar beside the last column helps.
        adds_up: Whether a row of shares sums to 1, the left-out columns included.
    """

    caption: str
    counts: str
    rows: Sequence[str]
    columns: Sequence[Column]
    across: str = ""
    num_rows: int = 0
    num_columns: int = 0
    has_bar: bool = False
    adds_up: bool = False

    def cut(self, most_rows: int, most_columns: int) -> Grid:
        """Gives the beginning of the table.

        Of shares that sum to 1 it gives the largest columns, and one more with the others' sum.
        """
        columns = list(self.columns)
        if len(columns) > most_columns or (self.adds_up and self.num_columns > len(columns)):
            shown = max(1, most_columns - self.adds_up)
            if self.adds_up:
                sums = [np.sum(column.values) for column in columns]
                largest = np.sort(np.argsort(-np.array(sums), kind="stable")[:shown])
                columns = [columns[place] for place in largest]
                rest = 1 - np.sum([column.values for column in columns], axis=0)
                columns.append(Column(_OTHERS, np.clip(rest, 0, 1), "share"))
            else:
                columns = columns[:shown]
        return replace(self, rows=self.rows[:most_rows], columns=columns)

    @property
    def left_out(self) -> str:
        """What the table does not show, in words; "" if it shows all."""
        shown = len(self.columns) - any(column.name is _OTHERS for column in self.columns)
        rows, columns = self.num_rows - len(self.rows), self.num_columns - shown
        least = ", with less attention" if self.adds_up else ""
        missing = []
        if rows and self.counts:
            missing.append(f"{_more(rows, self.counts)} below")
        if columns and self.across:
            missing.append(f"{_more(columns, self.across)} beside{least}")
        return " and ".join(missing)


def _more(number: int, kind: str) -> str:
    """Gives "1 more token" or "12 more tokens"; kinds are plurals."""
    one = {"classes": "class"}.get(kind, kind.removesuffix("s"))
    return f"{number:,} more {one if number == 1 else kind}"


class Section(NamedTuple):
    """A part of a trace.

    Attributes:
        number: Its number, None without.
        name: Its title.
        does: What happens in it, in one sentence.
        formula: The same as a formula.
        learned: The weights that it uses.
        shapes: What goes in and what comes out.
        texts: Texts to show as they are.
        grids: Tables to show.
    """

    number: int | None
    name: str
    does: str
    formula: str
    learned: str
    shapes: tuple[str, str] | None
    texts: tuple[str, ...]
    grids: tuple[Grid, ...]


class TraceView(NamedTuple):
    """What is shown of a trace.

    Attributes:
        title: What it is.
        lead: What it says in a line.
        notes: What has to be known to read it.
        sections: Its parts.
        explanation: What each word adds, to be shown after them, if that belongs to the trace.
    """

    title: str
    lead: str
    notes: list[str]
    sections: tuple[Section, ...]
    explanation: Explanation | None = None


def view_of(trace: Trace, most_rows: int) -> TraceView:
    """Gives what is shown of a trace, sums with at most so many words."""
    if isinstance(trace, ScalingComparison):
        return _comparison_view(trace)
    if isinstance(trace, PipelineTrace):
        title, stages = "From text to prediction in seven stages", trace.stages
    elif isinstance(trace, PredictionTrace):
        title, stages = "One prediction in six layers", trace.layers
    else:
        raise TypeError(f"expected a trace of a text, got {type(trace).__name__}.")
    one = trace.explanation
    return TraceView(
        title=title,
        lead=prediction_line(one),
        notes=trace.notes,
        sections=tuple(_section(stage, one, trace, most_rows) for stage in stages),
        explanation=one if isinstance(trace, PredictionTrace) else None,
    )


def _section(
    stage: Stage, one: Explanation, trace: PipelineTrace | PredictionTrace, most_rows: int
) -> Section:
    pipeline = trace if isinstance(trace, PipelineTrace) else trace.pipeline
    totals = {"tokens": pipeline.num_tokens, "words": len(one.words)}
    return Section(
        number=stage.number,
        name=stage.name,
        does=stage.does,
        formula=stage.formula,
        learned=stage.learned,
        shapes=(stage.takes, stage.gives),
        texts=tuple(stage.values[name] for name in ("text", "pair") if name in stage.values),
        grids=tuple(_grids(stage, one, totals, most_rows)),
    )


def _grids(stage: Stage, one: Explanation, totals: dict[str, int], most_rows: int) -> list[Grid]:
    """Gives the tables of a stage; what belongs to the same rows is one table."""
    if "contributions" in stage.values:
        return [_sum_grid(one, most_rows)]
    grids: list[Grid] = []
    for name, axes in stage.axes.items():
        values = stage.values[name]
        is_even = name == "pool_weights" and len(values) and not np.ptp(values)
        if not len(values) or name == "weights_beyond" or is_even:  # the formula says how even
            continue
        if len(axes) == 2:
            grids.append(_matrix(name, values, axes[0].names, axes[1].names, axes, totals))
        elif axes[0].kind == "features":
            grids.append(_matrix(name, values[None], [""], axes[0].names, ("", axes[0]), totals))
        else:
            grids = _with_column(grids, name, values, axes[0], one, totals)
    return grids


def _matrix(
    name: str,
    values: Array,
    rows: Sequence[str],
    columns: Sequence[str],
    axes: Sequence[Any],
    totals: dict[str, int],
) -> Grid:
    kinds = [getattr(axis, "kind", "") for axis in axes]
    kind, scale = _kind(name, values)
    return Grid(
        caption=CAPTIONS[name],
        counts=kinds[0],
        rows=rows,
        columns=[
            Column(column, values[:, place], kind, scale) for place, column in enumerate(columns)
        ],
        across=kinds[1],
        num_rows=totals.get(kinds[0], len(rows)),
        num_columns=totals.get(kinds[1], len(columns)),
        adds_up=name == "weights",
    )


def _with_column(
    grids: list[Grid],
    name: str,
    values: Any,
    axis: Any,
    one: Explanation,
    totals: dict[str, int],
) -> list[Grid]:
    """Gives the tables with one more column, in the last of them if its rows are the same."""
    rows, total = list(axis.names), totals.get(axis.kind, len(axis.names))
    if axis.kind == "classes":
        order = _classes(one)
        rows, values = [rows[index] for index in order], np.asarray(values)[order]
    kind, scale = _kind(name, values)
    is_value = name == "logits" and one.problem_type == REGRESSION
    column = Column("value" if is_value else HEADINGS[name], values, kind, scale)
    if grids and list(grids[-1].rows) == rows and not grids[-1].across:
        last = grids[-1]
        caption = f"{last.caption}; {CAPTIONS[name]}" if CAPTIONS[name] else last.caption
        columns = [*last.columns, column]
        has_bar = last.has_bar or kind in ("share", "percent")
        return [
            *grids[:-1],
            replace(
                last, caption=caption, columns=columns, num_columns=len(columns), has_bar=has_bar
            ),
        ]
    has_bar = kind in ("share", "percent")
    return [
        *grids,
        Grid(CAPTIONS[name], axis.kind, rows, [column], "", total, 1, has_bar=has_bar),
    ]


def _sum_grid(one: Explanation, most_rows: int) -> Grid:
    """Gives the sum of each logit: the bias, what each word adds, and the total."""
    classes = _classes(one)
    contributions = one.contributions[:, classes]
    words = one.words
    shown = np.arange(len(words))
    if len(words) > most_rows:
        largest = np.argsort(-abs(contributions[:, 0]), kind="stable")[:most_rows]
        shown = np.sort(largest)
    rest = np.delete(contributions, shown, axis=0)
    rows = ["bias", *(f"{words[i].name}{'' if words[i].is_known else '?'}" for i in shown)]
    parts = [one.bias[classes][None], contributions[shown]]
    if len(rest):
        rows.append(f"{len(rest):,} other word{'s' * (len(rest) > 1)}")
        parts.append(rest.sum(0)[None])
    rows.append("= value" if one.problem_type == REGRESSION else "= logit")
    values = np.concatenate([*parts, one.logits[classes][None]])
    scale = _scale(values)
    columns = [
        Column(one.class_names[index], values[:, place], "signed", scale)
        for place, index in enumerate(classes)
    ]
    return Grid(
        CAPTIONS["contributions"], "words", rows, columns, "classes", len(rows), len(one.logits)
    )


def _classes(one: Explanation) -> list[int]:
    """Gives the classes that are shown, the likeliest first; of a regression all."""
    if one.problem_type == REGRESSION:
        return list(range(len(one.logits)))
    return [int(index) for index in np.argsort(-one.logits, kind="stable")[:_MOST_CLASSES]]


def _kind(name: str, values: Any) -> tuple[Kind, float]:
    """Gives how the numbers of an array are written, and which gets the full colour."""
    if name == "tokens":
        return "text", 1.0
    if name == "token_ids":
        return "number", 1.0
    if name in SHARES:
        return ("percent" if name == "probabilities" else "share"), 1.0
    return "signed", _scale(values)


def _scale(values: Array) -> float:
    """Gives the largest size among the numbers that are one."""
    return float(abs(values[~not_seen(values)]).max(initial=0.0)) or 1.0


def _comparison_view(trace: ScalingComparison) -> TraceView:
    root = f"√{trace.head_dim} = {trace.head_dim**0.5:.2f}"
    both = (trace.with_scaling, trace.without_scaling)
    texts = (trace.text,) if trace.pair is None else (trace.text, trace.pair)
    return TraceView(
        title=f"What dividing the scores by {root} does",
        lead=trace.observation,
        notes=trace.notes,
        sections=(
            Section(None, "Side by side", "", "", "", None, texts, (_measures(trace),)),
            _both("Scores", "s_ij, before the softmax", "scores", both, trace),
            _both("Attention weights", "A_ij = softmax of a row of scores", "weights", both, trace),
        ),
    )


def _measures(trace: ScalingComparison) -> Grid:
    """Gives what can be said of both ways in a number each."""
    target = trace.class_names.index(trace.target)
    is_regression = trace.explanation.problem_type == REGRESSION
    even = f" (even: {trace.largest_entropy:.2f})"
    rows: list[tuple[str, str, Any]] = [
        ("scores: standard deviation", ".2f", lambda one: one.score_spread),
        ("attention: largest weight, mean", ".2f", lambda one: one.largest_weight),
        (f"attention: entropy in nats, mean{even}", ".2f", lambda one: one.mean_entropy),
        ("gradient at the scores, length", ".3g", lambda one: one.score_gradient_norm),
        ("gradient at W_q and W_k, length", ".3g", lambda one: one.weight_gradient_norm),
        (
            f"{'value' if is_regression else 'probability'} of {trace.target}",
            ".3f" if is_regression else ".1%",
            lambda one: one.probabilities[target],
        ),
    ]
    columns = [
        Column(name, [format(measure(one), form) for _, form, measure in rows], "text")
        for name, one in (
            ("with 1/√K", trace.with_scaling),
            ("without", trace.without_scaling),
        )
    ]
    return Grid("", "", [name for name, _, _ in rows], columns, "", len(rows), 2)


def _both(
    heading: str,
    formula: str,
    name: str,
    both: tuple[Attending, Attending],
    trace: ScalingComparison,
) -> Section:
    """Gives one matrix of both ways, each on its own scale."""
    names = trace.token_names
    grids = []
    if names:
        for one, how in zip(both, ("with 1/√K", "without"), strict=True):
            values = getattr(one, name)
            kind, scale = _kind(name, values)
            columns = [Column(n, values[:, place], kind, scale) for place, n in enumerate(names)]
            adds_up = name == "weights"
            grids.append(
                Grid(
                    how, "tokens", names, columns, "tokens", len(names), len(names),
                    adds_up=adds_up,
                )
            )  # fmt: skip
    return Section(None, heading, "", formula, "", None, (), tuple(grids))
