"""The methods of the accuracy board: each learns a task and scores its validation and test texts.

Every choice is made by the validation texts; nothing is learned from them.
"""

from __future__ import annotations

import itertools
import json
import pickle
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from accuracy_sets import Array, Task, best_threshold, micro_f1
from benchmark_training import say, train_quietly
from fasttext_runs import run_fasttext
from scipy.stats import pearsonr
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hf_attn.batching import TokenizedTexts
from hf_attn.loading import load_classifier
from hf_attn.prediction import predict_logits
from hf_attn.probabilities import logits_to_scores
from hf_attn.saving import written

# 12 settings of words, then the best of them again with sub-words.
FASTTEXT_GRID = {"lr": (0.1, 0.5, 1.0), "epoch": (5, 25), "wordNgrams": (1, 2)}
FASTTEXT_SUBWORDS = {"minn": 2, "maxn": 5}
# A tenth of fastText's default, which makes each model 800 MB large.
FASTTEXT_BUCKETS = 200_000
# C of the SVM, or the penalty of the ridge regression.
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Fitted:
    """What a method gives for one seed.

    Attributes:
        scores: Split to scores (N, C) of its texts.
        seconds: Of training with these settings, reading and tokenizing included, without a search.
        megabytes: Of the saved model, 10^6 bytes.
        settings: What was chosen by the validation texts, or given.
        has_probabilities: Whether scores are probabilities.
        more: What else was measured, by its name.
    """

    scores: Mapping[str, Array]
    seconds: float
    megabytes: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    has_probabilities: bool = True
    more: Mapping[str, Any] = field(default_factory=dict)


# A task, a seed, and a folder to keep choices in for the next seed.
Fit: TypeAlias = Callable[[Task, int, Path], Fitted]


def validate(task: Task, scores: Array) -> float:
    """Gives what choices are made by: accuracy, micro-F1 at its best threshold, or Pearson's r."""
    labels = task.labels("validation")
    if labels.ndim == 2:
        if task.corpus.metrics[0].title == "P@1":
            return float(labels[np.arange(len(labels)), scores.argmax(1)].mean())
        return micro_f1(scores > best_threshold(scores, labels), labels)
    if not task.names:
        return float(pearsonr(scores[:, 0], labels)[0])
    return float((scores.argmax(1) == labels).mean())


def fit_majority(task: Task, _seed: int, _kept: Path) -> Fitted:
    """Scores each class by how often it occurs in training; a regression gets the mean."""
    labels = task.labels("train")
    if labels.ndim == 2:
        guess = labels.mean(0)
    elif task.names:
        guess = np.bincount(labels, minlength=len(task.names)) / len(labels)
    else:
        guess = labels.mean(keepdims=True)
    scores = {split: np.tile(guess, (len(task.split(split)), 1)) for split in task.scored}
    return Fitted(scores, 0.0, 0.0, has_probabilities=bool(task.names))


# hf_attn


class UniformAttention(TrainerCallback):
    """Keeps queries, keys and distances at 0, so that every token is seen with the same weight."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Sets them to 0 and lets none learn."""
        attention = kwargs["model"].model.attention
        for part in (attention.q_proj, attention.k_proj, attention.relative_bias):
            for parameter in part.parameters():
                torch.nn.init.zeros_(parameter.requires_grad_(False))


def fit_hf_attn(
    task: Task,
    seed: int,
    _kept: Path,
    *,
    callbacks: Sequence[type[TrainerCallback]] = (),
    **options: Any,
) -> Fitted:
    """Trains with default settings, but for those that the kind of text asks for."""
    options = {**task.corpus.settings, **options}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        started = time.perf_counter()
        record = train_quietly(
            task.data, path, seed=seed, callbacks=[make() for make in callbacks], **options
        )
        tuning = record["tuning"] or {}
        seconds = time.perf_counter() - started - tuning.get("seconds", 0)
        size = (path / "model.safetensors").stat().st_size
        size += (path / "tokenizer.json").stat().st_size
        model, tokenizer = load_classifier(str(path))
        scores = {}
        for split in task.scored:
            texts = TokenizedTexts.from_texts(task.split(split)["text"][:], tokenizer)
            logits: Array = predict_logits(model, texts).astype(np.float64)
            scores[split] = logits_to_scores(logits, model.config.problem_type)
    settings = {**options, **tuning.get("settings", {})}
    before = (record["calibration"] or {}).get("before", {}).get("test", {})
    more = {UNCALIBRATED: before.get("calibration_error")}
    return Fitted(scores, seconds, size / 1e6, settings, bool(task.names), more)


# Name of the calibration error before the temperature.
UNCALIBRATED = "calibration_error_before"


# fastText


def fit_fasttext(task: Task, seed: int, kept: Path) -> Fitted:
    """Trains with the settings of the grid that validate best."""
    if not task.names:
        raise NotImplementedError("fastText has no regression")
    path = kept / "fasttext.json"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_for_fasttext(task, folder)
        base = {"bucket": FASTTEXT_BUCKETS, "thread": 1, "loss": _fasttext_loss(task)}
        if not path.exists():
            grid = [
                {**base, **dict(zip(FASTTEXT_GRID, values, strict=True))}
                for values in itertools.product(*FASTTEXT_GRID.values())
            ]
            say(f"{task.name}: {len(grid) + 1} fastText models")
            rows = _fasttext_rows(task, folder, grid)
            best = max(rows, key=lambda row: row[0])
            rows += _fasttext_rows(task, folder, [{**best[1], **FASTTEXT_SUBWORDS}])
            written(json.dumps(rows), path)
        rows = json.loads(path.read_text(encoding="utf-8"))
        _, settings = max(rows, key=lambda row: row[0])
        row = run_fasttext(
            folder,
            [{**settings, "seed": seed, "save": str(folder / "model.bin")}],
            splits=task.scored,
            labels=_fasttext_labels(task),
        )[0]
        size = (folder / "model.bin").stat().st_size
    return Fitted(_as_arrays(row["scores"]), row["seconds"], size / 1e6, settings)


def _fasttext_rows(
    task: Task, folder: Path, runs: Sequence[Mapping[str, Any]]
) -> list[tuple[float, Mapping[str, Any]]]:
    """Gives the validation score of each setting that fastText can train with."""
    rows = []
    for run in runs:
        try:
            row = run_fasttext(folder, [run], splits=["validation"], labels=_fasttext_labels(task))[
                0
            ]
        except RuntimeError as error:
            if "Encountered NaN" not in str(error):  # it diverges at a rate that is too high
                raise
            say(f"{task.name}: fastText diverges with {run}")
            continue
        rows.append((validate(task, _as_arrays(row["scores"])["validation"]), run))
    return rows


def _as_arrays(scores: Mapping[str, Any]) -> dict[str, Array]:
    return {split: np.asarray(rows) for split, rows in scores.items()}


def _fasttext_loss(task: Task) -> str:
    return "ova" if task.labels("train").ndim == 2 else "softmax"


def _fasttext_labels(task: Task) -> list[str]:
    return [f"__label__{number}" for number in range(len(task.names))]


def write_for_fasttext(task: Task, folder: Path) -> None:
    """Writes all splits in fastText's format, in lower case as our tokenizer reads words.

    Lines are shuffled in training: fastText takes them in their order, and some files have one
    class after the other.
    """
    for split in ("train", *task.scored):
        rows = task.split(split)
        labels = rows["labels"][:] if "labels" in rows.column_names else rows["label"][:]
        lines = [
            " ".join([*_marks(label), *_cased(text, task).split()]) + "\n"
            for label, text in zip(labels, rows["text"][:], strict=True)
        ]
        if split == "train":
            random.Random(0).shuffle(lines)
        (folder / f"{split}.txt").write_text("".join(lines), encoding="utf-8")


def _marks(label: int | Iterable[int]) -> list[str]:
    numbers = [label] if isinstance(label, int) else label
    return [f"__label__{number}" for number in numbers]


def _cased(text: str, task: Task) -> str:
    return text if task.corpus.characters else text.lower()


# scikit-learn


def fit_svm(task: Task, seed: int, kept: Path) -> Fitted:
    """Trains a linear SVM, or a ridge regression, on TF-IDF of words and pairs of them.

    Languages get one to four characters in the place of words.
    """
    if task.corpus.characters:
        vectorizer = TfidfVectorizer(
            analyzer="char", ngram_range=(1, 4), sublinear_tf=True, lowercase=False
        )
    else:
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    started = time.perf_counter()
    train = vectorizer.fit_transform(task.split("train")["text"][:])
    reading = time.perf_counter() - started
    rows = {s: vectorizer.transform(task.split(s)["text"][:]) for s in task.scored}
    labels = task.labels("train")
    # Of classes, those that a training text has.
    learned = np.flatnonzero(labels.any(0)) if labels.ndim == 2 else np.unique(labels)

    def fit(strength: float) -> Any:
        if not task.names:
            return Ridge(alpha=strength, random_state=seed).fit(train, labels)
        machine = LinearSVC(C=strength, random_state=seed)
        if labels.ndim == 2:
            return OneVsRestClassifier(machine).fit(train, labels[:, learned])
        return machine.fit(train, labels)

    def scores_of(model: Any, split: str) -> Array:
        if not task.names:
            return np.asarray(model.predict(rows[split]))[:, None]
        found = model.decision_function(rows[split])
        if found.ndim == 1:  # one of several labels, or two classes
            found = found[:, None] if labels.ndim == 2 else np.stack([-found, found], 1)
        every = np.full((len(found), len(task.names)), -np.inf)  # where training lacks a class
        every[:, learned] = found
        return every

    path = kept / "svm.json"
    if not path.exists():
        say(f"{task.name}: SVM")
        tried = {
            strength: validate(task, scores_of(fit(strength), "validation"))
            for strength in STRENGTHS
        }
        written(json.dumps(list(tried.items())), path)
    strength = max(json.loads(path.read_text(encoding="utf-8")), key=lambda row: row[1])[0]
    started = time.perf_counter()
    model = fit(strength)
    seconds = reading + time.perf_counter() - started
    size = len(pickle.dumps((vectorizer, model)))
    settings = {"C" if task.names else "alpha": strength}
    return Fitted({s: scores_of(model, s) for s in rows}, seconds, size / 1e6, settings, False)
