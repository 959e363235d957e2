"""What is kept of each method, set and seed of the accuracy board: scores, to be read off later.

A folder for each set, with its labels, and in it a file for each method and seed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accuracy_methods import Fitted
from accuracy_sets import Array, Metric, Task

from hf_attn.saving import staged_file

LABELS_FILE = "labels.npz"


@dataclass(frozen=True)
class Truth:
    """The labels of a set.

    Attributes:
        labels: Split to (N,) or (N, C).
        names: The class names; none for a regression.
    """

    labels: Mapping[str, Array]
    names: Sequence[str]

    def equals(self, other: Truth) -> bool:
        """Says whether another has the same labels and names."""
        same_splits = self.labels.keys() == other.labels.keys()
        return (
            same_splits
            and list(self.names) == list(other.names)
            and all(np.array_equal(self.labels[one], other.labels[one]) for one in self.labels)
        )


@dataclass(frozen=True)
class Cell:
    """What a method gave for one seed.

    Attributes:
        scores: Split to scores (N, C) of its texts.
        about: `settings`, `seconds`, `megabytes`, `has_probabilities`, and what else was measured.
    """

    scores: Mapping[str, Array]
    about: Mapping[str, Any]

    def read(self, metric: Metric, truth: Truth) -> Array | None:
        """Gives a metric's numbers (N, k) of the test texts; None where it wants probabilities."""
        if metric.of_probabilities and not self.about["has_probabilities"]:
            return None
        return metric.read(
            self.scores["validation"],
            truth.labels["validation"],
            self.scores[metric.split],
            truth.labels[metric.split],
            truth.names,
        )


def cell_path(work: Path, name: str, method: str, seed: int) -> Path:
    """Gives the file of one method on one set with one seed."""
    return work / name / f"{_file_name(method)}-{seed}.npz"


def _file_name(method: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in method.lower())


def save_cell(fitted: Fitted, path: Path) -> None:
    """Keeps what a method gave."""
    about = {
        "settings": dict(fitted.settings),
        "seconds": fitted.seconds,
        "megabytes": fitted.megabytes,
        "has_probabilities": fitted.has_probabilities,
        **fitted.more,
    }
    scores = {split: rows.astype(np.float32) for split, rows in fitted.scores.items()}
    _save(path, scores, about)


def load_cells(work: Path, name: str, method: str) -> list[Cell]:
    """Gives what was kept of a method on a set, one for each seed."""
    paths = sorted(work.glob(f"{name}/{_file_name(method)}-?.npz"))
    return [Cell(*_load(path)) for path in paths]


def save_truth(task: Task, folder: Path) -> None:
    """Keeps the labels of a set.

    Raises:
        ValueError: If the scores that are kept there are of other texts.
    """
    truth = Truth({split: task.labels(split) for split in task.scored}, task.names)
    kept = load_truth(folder)
    if kept is None:
        if any(folder.glob("*.npz")):
            raise ValueError(f"{folder}: expected labels beside the scores. Choose another --work.")
        _save(folder / LABELS_FILE, truth.labels, {"names": truth.names})
    elif not kept.equals(truth):
        raise ValueError(
            f"{folder}: expected the labels that are kept beside the scores, got others: the data "
            "have changed. Choose another --work."
        )


def load_truth(folder: Path) -> Truth | None:
    """Gives the labels of a set; None where nothing was done on it."""
    path = folder / LABELS_FILE
    if not path.exists():
        return None
    labels, about = _load(path)
    return Truth(labels, about["names"])


def _save(path: Path, arrays: Mapping[str, Array], about: Mapping[str, Any]) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, about=np.array(json.dumps(about)), **arrays)
    with staged_file(path) as unfinished:
        unfinished.write_bytes(content.getvalue())


def _load(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    with np.load(path) as kept:
        arrays: dict[str, Array] = dict(kept)
    return arrays, json.loads(str(arrays.pop("about")))
