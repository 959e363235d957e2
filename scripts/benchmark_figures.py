"""Figures and tables of the benchmarks: their intervals, goals, files and Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hf_attn.faithfulness import Array

RESAMPLES = 2000
FORMATS = {
    "score": "{:.3f}",
    "ratio": "{:.2f} ×",
    "milliseconds": "{:.2f} ms",
    "microseconds": "{:,.0f} µs",
    "per second": "{:,.0f} / s",
    "seconds": "{:.2f} s",
    "kB": "{:.1f} kB",
    "MB": "{:,.1f} MB",
    "share": "{:.2%}",
    "points": "{:+.2%}",
    "error": "{:.1e}",
}

# Method to metric to one text's value.
Measured = Mapping[str, Mapping[str, float]]
# Method to metric to values (S, N): a row for each seed, a column for each text.
Values = Mapping[str, Mapping[str, Array]]


@dataclass(frozen=True)
class Figure:
    """One row of the table of figures.

    Attributes:
        what: What was measured, in words.
        value: The figure.
        unit: One of FORMATS.
        interval: Its 95 % interval, or the smallest and largest of repeated timings.
        goal: What to reach, if anything.
        high: Whether to reach means from the goal up.
    """

    what: str
    value: float
    unit: str
    interval: Sequence[float] | None = None
    goal: float | None = None
    high: bool = False

    def to_row(self) -> list[str]:
        """Gives the cells of the Markdown table."""
        show = FORMATS[self.unit].format
        between = "" if self.interval is None else " to ".join(map(show, self.interval))
        if self.goal is None:
            return [self.what, show(self.value), between, "", ""]
        reached = self.value >= self.goal if self.high else self.value <= self.goal
        sign = "≥" if self.high else "≤"
        cells = f"{sign} {show(self.goal)}", "yes" if reached else "no"
        return [self.what, show(self.value), between, *cells]


@dataclass(frozen=True)
class Table:
    """A table of methods, one a row.

    Attributes:
        title: What it shows.
        columns: Names of the columns after the first.
        rows: Method to its cells: one number, or mean and both ends of the 95 % interval, or median
            and both ends of the range of timings. None where nothing was measured.
        units: Of the columns, of FORMATS; all are scores without them.
        first: Name of the first column.
    """

    title: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Sequence[float] | None]]
    units: Sequence[str] = ()
    first: str = "method"

    def to_lines(self) -> list[str]:
        """Gives the Markdown table."""
        units = self.units or ["score"] * len(self.columns)
        cells = [
            [name, *(_cell(*pair) for pair in zip(row, units, strict=True))]
            for name, row in self.rows.items()
        ]
        return ["", f"## {self.title}", "", *_markdown([self.first, *self.columns], cells)]


def _cell(numbers: Sequence[float] | None, unit: str) -> str:
    if numbers is None:
        return ""
    middle, *ends = map(FORMATS[unit].format, numbers)
    return f"{middle} ({' to '.join(ends)})" if ends else middle


@dataclass(frozen=True)
class Part:
    """What one part of the benchmark measured.

    Attributes:
        figures: Rows of the table of figures.
        tables: Tables of methods.
        notes: On what it was measured.
    """

    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)


def mean_with_interval(values: Array) -> tuple[float, float, float]:
    """Gives the mean of values (S, N) and the ends of its 95 % interval.

    The S seeds are pooled: N texts are drawn again with replacement, each with all its seeds, and
    the interval holds the middle 95 % of the means. NaN is left out.
    """
    counts = (~np.isnan(values)).sum(0)
    of_texts = np.nansum(values, axis=0)[counts > 0] / counts[counts > 0]
    draws = np.random.default_rng(0).integers(len(of_texts), size=(RESAMPLES, len(of_texts)))
    low, high = np.quantile(of_texts[draws].mean(1), [0.025, 0.975])
    return float(of_texts.mean()), float(low), float(high)


def pool_seeds(seeds: Sequence[Sequence[Measured]]) -> Values:
    """Puts what was measured on each text of each seed into arrays."""
    first = seeds[0][0]
    return {
        method: {
            metric: np.array([[text[method][metric] for text in texts] for texts in seeds])
            for metric in first[method]
        }
        for method in first
    }


def to_table(title: str, values: Values, columns: Mapping[str, str]) -> Table:
    """Gives means and intervals: a row for each method, a column for each metric."""
    rows = {
        method: [mean_with_interval(metrics[metric]) for metric in columns]
        for method, metrics in values.items()
    }
    return Table(title, list(columns.values()), rows)


def compare(
    where: str, metric: str, values: Values, pair: tuple[str, str], goal: float | None = None
) -> Figure:
    """Gives how far the first method is above the second, the mean over texts."""
    first, second = pair
    mean, *interval = mean_with_interval(values[first][metric] - values[second][metric])
    what = f"{where}: {metric} of {first} less that of {second}"
    return Figure(what, mean, "score", interval, goal, high=True)


def median_with_range(
    what: str,
    unit: str,
    values: Sequence[float],
    goal: float | None = None,
    high: bool = False,
) -> Figure:
    """Gives the median of repeated timings, or of ratios of those taken in turns."""
    spread = (min(values), max(values))
    return Figure(what, float(np.median(values)), unit, spread, goal, high)


def load_parts(path: Path | None) -> dict[str, Any]:
    """Gives the parts that an earlier run left in the file."""
    if path is None or not path.exists():
        return {}
    parts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["parts"]
    return parts


def save_parts(path: Path, parts: Mapping[str, Any]) -> None:
    """Writes all parts as JSON, and as Markdown beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"parts": parts}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(to_markdown(parts), encoding="utf-8")


def part_to_dict(part: Part, **about: Any) -> dict[str, Any]:
    """Gives what JSON can hold of a part and of the run that measured it."""
    return {**about, **asdict(part)}


def to_markdown(parts: Mapping[str, Any]) -> str:
    """Gives the figures of all parts in one table, the tables of methods, and what they are of."""
    figures = [Figure(**row) for part in parts.values() for row in part["figures"]]
    head = ["what", "measured", "95 % interval, or range of timings", "to reach", "reached"]
    lines = _markdown(head, [figure.to_row() for figure in figures])
    for part in parts.values():
        for table in part["tables"]:
            lines += Table(**table).to_lines()
    lines += ["", "## Measured on", ""]
    for name, part in parts.items():
        about = {**part["machine"], **part["settings"], **part["notes"]}
        lines.append(f"- {name}: " + ", ".join(f"{key} {value}" for key, value in about.items()))
    return "\n".join(lines) + "\n"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
