"""The stages of a trace as sections and tables, for views to draw each in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .explanation import Explanation
from .problem_types import REGRESSION
from .scaling import ScalingComparison
from .scaling_tables import comparison_view
from .stages import PipelineTrace, PredictionTrace, Stage, Trace
from .trace_parts import Column, Grid, Section, TraceView, kind_of, scale_of
from .trace_wording import word_names
from .wording import prediction_line

_MOST_CLASSES = 10
# What each array of a trace is, by its name among the values of a stage.
CAPTIONS = {
    "tokens": "",
    "token_ids": "",
    "features": "x: the features of each token",
    "query": "W_q x / √K: the query of each token, what it looks for",
    "key": "W_k x: the key of each token, what it is found by",
    "scores": "s: how high the token of a row scores those of the columns",
    "weights": "A: how the token of a row divides its attention among those of the columns",
    "last_hidden_state": "y: each token with what it read of all of them",
    "pool_weights": "p: how much each token counts in the text",
    "attention_received": "a: how much attention each word receives",
    "pooled": "h: the text as one row of features",
    "contributions": "c: what each word adds to the logit of each class",
    "logits": "",
    "probabilities": "",
}
# What stands above a column of such numbers.
HEADINGS = {
    "tokens": "read as",
    "token_ids": "number",
    "pool_weights": "p",
    "attention_received": "a",
    "logits": "logit",
    "probabilities": "probability",
}


def view_of(trace: Trace, most_rows: int) -> TraceView:
    """Gives what is shown of a trace, sums with at most so many words."""
    if isinstance(trace, ScalingComparison):
        return comparison_view(trace)
    if isinstance(trace, PredictionTrace):
        title, stages = "One prediction in six layers", trace.layers
    elif isinstance(trace, PipelineTrace):
        title, stages = "From text to prediction in seven stages", trace.stages
    else:
        raise TypeError(f"expected a trace of a text, got {type(trace).__name__}.")
    one = trace.explanation
    return TraceView(
        title=title,
        lead=prediction_line(one),
        notes=trace.notes,
        sections=tuple(_section(stage, one, most_rows) for stage in stages),
        explanation=one if isinstance(trace, PredictionTrace) else None,
    )


def _section(stage: Stage, one: Explanation, most_rows: int) -> Section:
    totals = {"tokens": one.num_tokens, "words": len(one.words)}
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
    values: NDArray[Any],
    rows: Sequence[str],
    columns: Sequence[str],
    axes: Sequence[Any],
    totals: dict[str, int],
) -> Grid:
    kinds = [getattr(axis, "kind", "") for axis in axes]
    kind, scale = kind_of(name, values)
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
    kind, scale = kind_of(name, values)
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
    names = word_names(one)
    shown = np.arange(len(names))
    if len(names) > most_rows:
        largest = np.argsort(-abs(contributions[:, 0]), kind="stable")[:most_rows]
        shown = np.sort(largest)
    rest = np.delete(contributions, shown, axis=0)
    rows = ["bias", *(names[index] for index in shown)]
    parts = [one.bias[classes][None], contributions[shown]]
    if len(rest):
        rows.append(f"{len(rest):,} other word{'s' * (len(rest) > 1)}")
        parts.append(rest.sum(0)[None])
    rows.append("= value" if one.problem_type == REGRESSION else "= logit")
    values = np.concatenate([*parts, one.logits[classes][None]])
    scale = scale_of(values)
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
