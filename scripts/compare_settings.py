"""Compares settings with the defaults by cross-validation on training texts: no test text is read.

    python scripts/compare_settings.py --data FOLDER --work WORK --output settings.json

The training texts of each set are dealt into four parts. Each change of the defaults trains on
three of them, chooses its epoch by the validation texts, and is scored on the fourth. So every
training text is scored once, and tells apart what a few hundred validation texts could not. Of
several labels the likeliest counts as right where it is among those of the text.
Intervals are of the texts alone: another seed moves an accuracy, too. fastText and the linear model
of the accuracy board stand beside them. What is done is kept in WORK, and a later run goes on from
there, but takes another WORK where code or settings have changed. FOLDER and the extras are those
of `benchmark_accuracy.py`.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from accuracy_cells import Cell, cell_path, load_cells, load_truth, save_cell, save_truth
from accuracy_methods import Fit, UniformAttention, fit_fasttext, fit_hf_attn, fit_svm
from accuracy_sets import CORPORA, PEARSON, Array, Task, load_task
from benchmark_accuracy import FASTTEXT, OURS, SVM, UNIFORM
from benchmark_figures import Part, Table, part_to_dict, save_parts, to_markdown
from benchmark_training import machine, say

FOLDS = 4
# Standard errors to each side of a 95 % interval.
NORMAL_95 = 1.96
# The sets whose texts have classes, and of them those whose trainings take seconds.
CLASSED = [name for name, corpus in CORPORA.items() if PEARSON not in corpus.metrics]
SETS = ["trec", "sst2", "tweeteval_emotion", "tweeteval_irony", "banking77"]
# The change in words, to the settings it gives.
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "no token dropout": {"token_dropout": 0.0},
    "token dropout 0.3": {"token_dropout": 0.3},
    "token dropout 0.5": {"token_dropout": 0.5},
    "token dropout 0.7": {"token_dropout": 0.7},
    "no attention dropout": {"attention_dropout": 0.0},
    "no attention decay": {"attention_weight_decay": 0.0},
    "attention decay 10": {"attention_weight_decay": 10.0},
    "all words have rows": {"min_frequency": 1},
    "pairs that occur once, too": {"ngram_min_frequency": 1, "ngram_buckets": 65_536},
    "pairs by their hash": {"ngram_min_frequency": 0, "ngram_buckets": 32_768},
    "pairs at the same rate": {"ngram_lr_ratio": 1.0},
    "words alone": {"words_alone": True},
    "static pooling": {"classifier_pooling": "static"},
    "32 features": {"hidden_size": 32},
    "128 features": {"hidden_size": 128},
    "half the rate": {"learning_rate": 1e-3},
    "twice the rate": {"learning_rate": 4e-3},
    "batches of 16": {"per_device_train_batch_size": 16},
    "label smoothing 0.1": {"label_smoothing_factor": 0.1},
    "epoch by the loss": {"metric_for_best_model": "eval_loss"},
    "stops early, patience 5": {"early_stopping_patience": 5},
}
# Changes for the other sets: the small ones have these by default, and not many pairs.
CHANGES_OF_OTHERS: Mapping[str, Mapping[str, Any]] = {
    "rows for 16,384 pairs": {"ngram_buckets": 16_384},
    "rows for 65,536 pairs": {"ngram_buckets": 65_536},
    "mean pooling": {"classifier_pooling": "mean"},
}
METHODS: Mapping[str, Fit] = {
    OURS: fit_hf_attn,
    **{
        name: functools.partial(fit_hf_attn, **values)
        for name, values in {**CHANGES, **CHANGES_OF_OTHERS}.items()
    },
    UNIFORM: functools.partial(fit_hf_attn, callbacks=[UniformAttention]),
    FASTTEXT: fit_fasttext,
    SVM: fit_svm,
}
COMPARED = [method for method in METHODS if method != OURS]


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains what is missing, fold by fold, and shows all that is done."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder of each set")
    parser.add_argument("--work", type=Path, required=True, help="folder to keep what is done in")
    parser.add_argument("--output", type=Path, help="JSON file; the tables go beside it, as .md")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=CLASSED,
        default=SETS,
        metavar="SET",
        help=f"{', '.join(CLASSED)}; the small ones by default",
    )
    parser.add_argument(
        "--changes",
        nargs="+",
        choices=COMPARED,
        default=[method for method in COMPARED if method not in CHANGES_OF_OTHERS],
        metavar="CHANGE",
        help=f"{'; '.join(COMPARED)}; by default all but {'; '.join(CHANGES_OF_OTHERS)}",
    )
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for name in given.only:
        task = load_task(name, given.data)
        for fold in range(FOLDS):
            folded = hold_out(task, fold)
            for method in (OURS, *given.changes):
                path = cell_path(given.work, _folder(name, fold), method, fold)
                if not path.exists():
                    say(f"{name}, fold {fold}, {method}")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    save_truth(folded, path.parent)
                    save_cell(METHODS[method](folded, fold, path.parent), path)
    part = Part(tables=to_tables(given.work))
    parts = {"settings": part_to_dict(part, machine=machine(), settings={"threads": 1})}
    if given.output:
        save_parts(given.output, parts)
    sys.stdout.write(to_markdown(parts))


def _folder(name: str, fold: int) -> str:
    return f"{name}-fold-{fold}"


def hold_out(task: Task, fold: int) -> Task:
    """Gives the task of learning from three parts of the training texts and scoring the fourth.

    Args:
        task: With the official splits, of which the test texts are left out.
        fold: Number of the part that is scored, as the split "test".
    """
    train = task.data["train"]
    dealt = np.random.default_rng(0).permutation(len(train)) % FOLDS
    splits = {
        "train": train.select(np.flatnonzero(dealt != fold)),
        "validation": task.data["validation"],
        "test": train.select(np.flatnonzero(dealt == fold)),
    }
    return Task(task.name, task.corpus, datasets.DatasetDict(splits), {})


def to_tables(work: Path) -> list[Table]:
    """Gives accuracies, and what each change or other method adds to that of the defaults."""
    right = {name: found for name in CORPORA if (found := rights(work, name))}
    titles = [CORPORA[name].title for name in right]
    accuracies = {
        method: [_accuracy(of_set, method) for of_set in right.values()]
        for method in (OURS, FASTTEXT, SVM)
    }
    changes = {
        method: added
        for method in COMPARED
        if any(added := [_added(of_set, method) for of_set in right.values()])
    }
    shares, points = ["share"] * len(right), ["points"] * (len(right) + 1)
    rows = {method: [_mean_of_sets(added), *added] for method, added in changes.items()}
    return [
        Table("Accuracy, cross-validated", titles, accuracies, shares),
        Table("What it adds to the defaults", ["mean", *titles], rows, points, first="change"),
    ]


def _accuracy(right: Mapping[str, Array], method: str) -> list[float] | None:
    return [float(right[method].mean())] if method in right else None


def _added(right: Mapping[str, Array], method: str) -> list[float] | None:
    """Gives an accuracy less that of the defaults, and the ends of its 95 % interval."""
    if method not in right:
        return None
    less = right[method] - right[OURS]
    return _with_interval(float(less.mean()), float(less.std(ddof=1) / len(less) ** 0.5))


def _mean_of_sets(added: Sequence[Sequence[float] | None]) -> list[float] | None:
    """Gives the mean over the sets, with its interval; None where one is missing."""
    done = [one for one in added if one is not None]
    if len(done) < len(added):
        return None
    error = np.linalg.norm([middle - low for middle, low, _ in done]) / NORMAL_95 / len(done)
    return _with_interval(float(np.mean([middle for middle, *_ in done])), float(error))


def _with_interval(mean: float, error: float) -> list[float]:
    return [mean, mean - NORMAL_95 * error, mean + NORMAL_95 * error]


def rights(work: Path, name: str) -> dict[str, Array]:
    """Gives which training texts (N,) each method is right on; none that lacks a fold."""
    found = {}
    for method in METHODS:
        folds = [_right(work, _folder(name, fold), method) for fold in range(FOLDS)]
        done = [one for one in folds if one is not None]
        if len(done) == FOLDS:
            found[method] = np.concatenate(done)
    return found if OURS in found else {}


def _right(work: Path, folder: str, method: str) -> Array | None:
    truth, cells = load_truth(work / folder), load_cells(work, folder, method)
    if truth is None or not cells:
        return None
    cell: Cell = cells[0]
    likeliest, labels = cell.scores["test"].argmax(1), truth.labels["test"]
    is_one = labels.ndim == 1
    right: Array = likeliest == labels if is_one else labels[np.arange(len(labels)), likeliest]
    return right.astype(float)


if __name__ == "__main__":
    main()
