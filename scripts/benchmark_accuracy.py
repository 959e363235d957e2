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
import io
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accuracy_methods import (
    Fit,
    UniformAttention,
    fit_fasttext,
    fit_hf_attn,
    fit_majority,
    fit_svm,
)
from accuracy_sets import CORPORA, SINGLE_LABEL, Corpus, Task, load_task
from benchmark_figures import Figure, Part, Table, part_to_dict, save_parts, to_markdown
from benchmark_training import machine, say
from speed_rivals import packages

from hf_attn.arguments import WORDS_ALONE
from hf_attn.saving import staged_file

OURS, UNIFORM, TUNED = "hf_attn", "hf_attn, uniform attention", "hf_attn, tuned"
WORDS = "hf_attn, words alone"
FASTTEXT, SVM, MAJORITY = "fastText", "TF-IDF + linear SVM", "majority"
METHODS: Mapping[str, Fit] = {
    OURS: fit_hf_attn,
    UNIFORM: functools.partial(fit_hf_attn, callbacks=[UniformAttention]),
    WORDS: functools.partial(fit_hf_attn, **WORDS_ALONE),
    TUNED: functools.partial(fit_hf_attn, autotune_seconds=120),
    FASTTEXT: fit_fasttext,
    SVM: fit_svm,
    MAJORITY: fit_majority,
}


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
    settings = {"seeds": given.seeds, "threads": 1}
    parts = {"accuracy": part_to_dict(part, machine=_machine(), settings=settings)}
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


def cell_path(work: Path, name: str, method: str, seed: int) -> Path:
    """Gives the file of one method on one set with one seed."""
    return work / name / f"{_file_name(method)}-{seed}.npz"


def _file_name(method: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in method.lower())


def do_cell(task: Task, method: str, seed: int, path: Path) -> None:
    """Fits a method and keeps what its scores are read off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    started = time.perf_counter()
    fitted = METHODS[method](task, seed, path.parent)
    val, val_labels = fitted.scores["validation"], task.labels("validation")
    numbers = {
        metric.title: metric.read(
            val, val_labels, fitted.scores[metric.split], task.labels(metric.split), task.names
        )
        for metric in task.corpus.metrics
    }
    about = {
        "seconds": fitted.seconds,
        "megabytes": fitted.megabytes,
        "settings": dict(fitted.settings),
        "seconds with choices": time.perf_counter() - started,
    }
    content = io.BytesIO()
    np.savez_compressed(content, **numbers, about=np.array(json.dumps(about)))  # type: ignore[arg-type]
    with staged_file(path) as unfinished:
        unfinished.write_bytes(content.getvalue())


def to_part(work: Path) -> Part:
    """Gives the board of all that is done: a table of each set, and what was to be reached."""
    tables, figures = [], []
    means: dict[str, dict[str, float]] = {}
    for name, corpus in CORPORA.items():
        done = {method: load_cells(work, name, method) for method in METHODS}
        done = {method: cells for method, cells in done.items() if cells}
        if not done:
            continue
        tables.append(_table(corpus, done))
        first = corpus.metrics[0]
        means[name] = {
            method: _mean(first(cell[first.title]) for cell in cells)
            for method, cells in done.items()
        }
        if OURS in done:
            mean, *interval = first.with_interval([cell[first.title] for cell in done[OURS]])
            what = f"{corpus.title}: {first.title} of {OURS}"
            figures.append(Figure(what, mean, "share", interval, corpus.goal, high=True))
    figures += _figures_of_means(means)
    settings = {
        f"{name}, {method}, seed {seed}": cell["about"]["settings"]
        for name in CORPORA
        for method in METHODS
        for seed, cell in enumerate(load_cells(work, name, method))
        if cell["about"]["settings"]
    }
    return Part(figures, tables, {"settings": settings})


def load_cells(work: Path, name: str, method: str) -> list[dict[str, Any]]:
    """Gives what was kept of a method on a set, one for each seed."""
    cells = []
    for path in sorted(work.glob(f"{name}/{_file_name(method)}-?.npz")):
        with np.load(path) as kept:
            cell: dict[str, Any] = dict(kept)
        cells.append({**cell, "about": json.loads(str(cell["about"]))})
    return cells


Cells = Mapping[str, Sequence[Mapping[str, Any]]]


def _table(corpus: Corpus, done: Cells) -> Table:
    columns = [metric.title for metric in corpus.metrics]
    rows: dict[str, list[Sequence[float] | None]] = {}
    for method, cells in done.items():
        scores: list[Sequence[float] | None] = [
            metric.with_interval([cell[metric.title] for cell in cells])
            for metric in corpus.metrics
        ]
        costs = [
            [_mean(cell["about"][what] for cell in cells)] for what in ("seconds", "megabytes")
        ]
        seeds = "1 seed" if len(cells) == 1 else f"{len(cells)} seeds"
        rows[f"{method}, {seeds}"] = [*scores, *costs]
    units = ["share"] * len(columns) + ["seconds", "MB"]
    return Table(corpus.title, [*columns, "training", "size"], rows, units)


def _mean(values: Any) -> float:
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
