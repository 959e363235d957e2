"""Measures how well the default settings label texts, beside fastText and linear models.

    python scripts/benchmark_accuracy.py --data FOLDER --work WORK --output accuracy.json

FOLDER holds the sets that no package has, each a folder of JSON lines with files train, validation
and test. Whatever is done is kept in WORK, a file for each set, method and seed, and a later run
goes on from there; `--only` and `--methods` name some of them. All choices are made by the
validation texts, which no method learns from. Needs the extra `bench`, and `tune` for the row of
tuned models.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accuracy_cells import Cell, Truth, cell_path, load_cells, load_truth, save_cell, save_truth
from accuracy_methods import (
    UNCALIBRATED,
    Fit,
    UniformAttention,
    fit_fasttext,
    fit_hf_attn,
    fit_majority,
    fit_svm,
)
from accuracy_published import published_figures
from accuracy_sets import (
    CALIBRATION_ERROR,
    CORPORA,
    SINGLE_LABEL,
    Array,
    Corpus,
    Metric,
    Task,
    load_task,
)
from benchmark_figures import Figure, Part, Table, part_to_dict, save_parts, to_markdown
from benchmark_training import machine, say
from speed_rivals import packages

OURS, UNIFORM, TUNED = "hf_attn", "hf_attn, uniform attention", "hf_attn, tuned"
WORDS = "hf_attn, words alone"
FASTTEXT, SVM, MAJORITY = "fastText", "TF-IDF + linear SVM", "majority"
METHODS: Mapping[str, Fit] = {
    OURS: fit_hf_attn,
    UNIFORM: functools.partial(fit_hf_attn, callbacks=[UniformAttention]),
    WORDS: functools.partial(fit_hf_attn, words_alone=True),
    TUNED: functools.partial(fit_hf_attn, autotune_seconds=120),
    FASTTEXT: fit_fasttext,
    SVM: fit_svm,
    MAJORITY: fit_majority,
}
# What a table says of costs, and its units.
COSTS = {"seconds": "seconds", "megabytes": "MB"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Does what is missing, set by set, and shows all that is done."""
    given = _parse(arguments)
    for name in given.only or CORPORA:
        task: Task | None = None
        for method in given.methods or METHODS:
            for seed in range(given.seeds):
                path = cell_path(given.work, name, method, seed)
                if path.exists() or (method == FASTTEXT and not is_classified(CORPORA[name])):
                    continue
                task = task or load_task(name, given.data)
                say(f"{name}, {method}, seed {seed}")
                do_cell(task, method, seed, path)
    part = to_part(given.work)
    parts = {"accuracy": part_to_dict(part, machine=_machine(), settings={"threads": 1})}
    if given.output:
        save_parts(given.output, parts)
    sys.stdout.write(to_markdown(parts))


def _machine() -> dict[str, str]:
    about = {**machine(), **packages()}
    del about["threads"]
    return about


def is_classified(corpus: Corpus) -> bool:
    """Whether texts have classes, and not values."""
    return corpus.metrics[0].title != "Pearson"


def do_cell(task: Task, method: str, seed: int, path: Path) -> None:
    """Fits a method and keeps its scores."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_truth(task, path.parent)
    torch.set_num_threads(1)
    save_cell(METHODS[method](task, seed, path.parent), path)


def to_part(work: Path) -> Part:
    """Gives the board of all that is done: a table of each set, and what was to be reached."""
    boards = [board for name in CORPORA if (board := load_board(work, name))]
    figures = [board.figure() for board in boards if OURS in board.cells]
    means = {board.name: {method: board.mean(method) for method in board.cells} for board in boards}
    figures += _figures_of_means(means)
    settings = {
        f"{board.name}, {method}, seed {seed}": cell.about["settings"]
        for board in boards
        for method, cells in board.cells.items()
        for seed, cell in enumerate(cells)
        if cell.about["settings"]
    }
    tables = [board.table() for board in boards]
    calibration = _calibration(boards)
    if calibration.rows:
        tables = [calibration, *tables]
    published = published_figures([board.name for board in boards])
    if published.rows:
        tables.append(published)
    return Part(figures, tables, {"settings": settings})


@dataclass(frozen=True)
class Board:
    """What is done on one set.

    Attributes:
        name: Of the corpus.
        truth: Its labels.
        cells: Method to what it gave for each seed.
    """

    name: str
    truth: Truth
    cells: Mapping[str, Sequence[Cell]]

    @property
    def corpus(self) -> Corpus:
        """What is known of the set."""
        return CORPORA[self.name]

    def mean(self, method: str) -> float:
        """Gives the first score of a method, the mean over seeds."""
        metric = self.corpus.metrics[0]
        return _mean(metric(numbers) for numbers in self._numbers(method, metric))

    def score(self, method: str, metric: Metric) -> list[float] | None:
        """Gives the mean over seeds, and the ends of its 95 % interval if it has one.

        None where nothing is done, or where the metric wants probabilities and there are none.
        """
        numbers = self._numbers(method, metric)
        return metric.mean(numbers) if numbers else None

    def _numbers(self, method: str, metric: Metric) -> list[Array]:
        found = [cell.read(metric, self.truth) for cell in self.cells.get(method, ())]
        return [one for one in found if one is not None]

    def figure(self) -> Figure:
        """Gives our first score beside what it is to reach."""
        metric = self.corpus.metrics[0]
        mean, *interval = metric.mean(self._numbers(OURS, metric))
        what = f"{self.corpus.title}: {metric.title} of {OURS}"
        return Figure(what, mean, "share", interval, self.corpus.goal, high=True)

    def table(self) -> Table:
        """Gives all scores of all methods, with seconds and megabytes."""
        metrics = self.corpus.metrics
        rows: dict[str, list[Sequence[float] | None]] = {}
        for method, cells in self.cells.items():
            scores = [self.score(method, metric) for metric in metrics]
            costs = [[_mean(cell.about[what] for cell in cells)] for what in COSTS]
            seeds = "1 seed" if len(cells) == 1 else f"{len(cells)} seeds"
            rows[f"{method}, {seeds}"] = [*scores, *costs]
        units = [*(["share"] * len(metrics)), *COSTS.values()]
        columns = [*(metric.title for metric in metrics), "training", "size"]
        return Table(self.corpus.title, columns, rows, units)


def load_board(work: Path, name: str) -> Board | None:
    """Gives what is done on a set; None where nothing is."""
    truth = load_truth(work / name)
    found = {method: load_cells(work, name, method) for method in METHODS}
    cells = {method: of_method for method, of_method in found.items() if of_method}
    return Board(name, truth, cells) if truth and cells else None


def _calibration(boards: Sequence[Board]) -> Table:
    """Gives the calibration errors of all sets side by side, ours also without the temperature."""
    run = {method for board in boards for method in board.cells}
    methods = [one for one in (OURS, UNIFORM, TUNED, FASTTEXT) if one in run]
    rows: dict[str, list[Sequence[float] | None]] = {}
    for board in boards:
        if CALIBRATION_ERROR not in board.corpus.metrics or OURS not in board.cells:
            continue
        before = _mean(cell.about[UNCALIBRATED] for cell in board.cells[OURS])
        after = [board.score(method, CALIBRATION_ERROR) for method in methods]
        rows[board.corpus.title] = [[before], *after]
    columns = [f"{OURS}, without temperature", *methods]
    return Table("Calibration error", columns, rows, ["share"] * len(columns), first="set")


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _figures_of_means(means: Mapping[str, Mapping[str, float]]) -> list[Figure]:
    """Gives how far we are above the others: on the mean of the single-label sets, and at worst.

    Args:
        means: Set to method to its first score.
    """
    figures = []
    for others, goal, least in (((FASTTEXT, SVM), 0.01, -0.003), ((UNIFORM,), None, -0.003)):
        names = [name for name in SINGLE_LABEL if {OURS, *others} <= set(means.get(name, ()))]
        if not names:
            continue
        ours = _mean(means[name][OURS] for name in names)
        theirs = max(_mean(means[name][other] for name in names) for other in others)
        less = {name: means[name][OURS] - max(means[name][o] for o in others) for name in names}
        worst = min(names, key=lambda name: less[name])
        rest = f"{OURS} less {' or '.join(others)}"
        what = f"mean of {len(names)} single-label sets, {rest}"
        figures.append(Figure(what, ours - theirs, "points", None, goal, high=True))
        what = f"the worst of them ({CORPORA[worst].title}), {rest}"
        figures.append(Figure(what, less[worst], "points", None, least, high=True))
    return figures


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder of each set")
    parser.add_argument("--work", type=Path, required=True, help="folder to keep what is done in")
    parser.add_argument("--output", type=Path, help="JSON file; the tables go beside it, as .md")
    parser.add_argument(
        "--only", nargs="+", choices=CORPORA, metavar="SET", help=", ".join(CORPORA)
    )
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, metavar="METHOD", help=", ".join(METHODS)
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of each method")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
