"""Whether attributions are where people marked the words that decide: ERASER movies, SST leaves."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_figures import Measured, Part, compare, pool_seeds, to_table
from benchmark_training import say
from datasets import Dataset, DatasetDict
from explanation_setup import Setup, evenly_spaced
from rival_attributions import GRADIENTS, METHODS, OURS, QUICK, Case, Method

from hf_attn.faithfulness import Array, Kept, mean_share, plausibility_auprc, plausibility_f1

SPLITS = ("train", "validation", "test")
COLUMNS = {"AUPRC": "AUPRC ↑", "token F1": "token F1 ↑"}
NEUTRAL_LEAF = 2


@dataclass(frozen=True, eq=False)
class MarkedText:
    """A text with the tokens that speak for each class, as people see it.

    Attributes:
        tokens: As people were shown them; the text is these with blanks between.
        label: The text's class.
        marks: Class to True at the tokens that speak for it, as many as `tokens`.
    """

    tokens: Sequence[str]
    label: str
    marks: Mapping[str, Kept]

    @property
    def text(self) -> str:
        """The text that a model reads."""
        return " ".join(self.tokens)

    def to_tokens(self, attributions: Array, spans: Sequence[tuple[int, int]]) -> Array:
        """Sums the attributions of words over the tokens that they begin in."""
        starts = np.cumsum([0, *(len(token) + 1 for token in self.tokens[:-1])])
        token = np.searchsorted(starts, [start for start, _ in spans], side="right") - 1
        sums = np.bincount(token, attributions, len(self.tokens))
        return sums.astype(np.float64, copy=False)


def read_movies(folder: Path) -> dict[str, list[MarkedText]]:
    """Reads ERASER's movie reviews, each with the tokens of its human rationale.

    Source: DeYoung et al. 2020, after Zaidan and Eisner 2008.
    """
    return {split: [_movie(row) for row in _rows(folder, split)] for split in SPLITS}


def _movie(row: Mapping[str, Any]) -> MarkedText:
    rationale = np.array(row["rationale"], dtype=np.bool_)
    return MarkedText(row["tokens"], row["label"], {"neg": rationale, "pos": rationale})


def read_leaves(folder: Path) -> dict[str, list[MarkedText]]:
    """Reads SST's sentences that are not neutral, with the polar tokens of each direction.

    People judged each token without its sentence.

    Source: Socher et al. 2013.
    """
    return {
        split: [_leaves(row) for row in _rows(folder, split) if row["label"] != "neutral"]
        for split in SPLITS
    }


def _leaves(row: Mapping[str, Any]) -> MarkedText:
    sentiment = np.array(row["token_sentiment"])
    marks = {"negative": sentiment < NEUTRAL_LEAF, "positive": sentiment > NEUTRAL_LEAF}
    return MarkedText(row["tokens"], row["label"].removeprefix("very "), marks)


def _rows(folder: Path, split: str) -> Iterator[dict[str, Any]]:
    with (folder / f"{split}.jsonl").open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def to_dataset(splits: Mapping[str, Sequence[MarkedText]]) -> DatasetDict:
    """Gives what `hf_attn.train` reads: texts and classes, without the marks."""
    columns = {
        split: {"text": [one.text for one in texts], "label": [one.label for one in texts]}
        for split, texts in splits.items()
    }
    return DatasetDict({split: Dataset.from_dict(rows) for split, rows in columns.items()})


def measure_leaves(setup: Setup) -> Part:
    """Compares with the tokens that people find polar in the direction of the prediction.

    Trained on the sentences of the same trees' train split: no other set is safe, as SST-2 shares
    its sentences.
    """
    texts = read_leaves(setup.data / "sst_tokens")
    return _measure(setup, "sst_tokens", "SST leaves", texts, METHODS)


def measure_movies(setup: Setup) -> Part:
    """Compares with people's rationales for movie reviews, those methods that take no minutes."""
    texts = read_movies(setup.data / "eraser_movies")
    return _measure(setup, "eraser_movies", "ERASER movies", texts, QUICK)


def _measure(
    setup: Setup,
    name: str,
    title: str,
    splits: Mapping[str, Sequence[MarkedText]],
    methods: Mapping[str, Method],
) -> Part:
    """Compares the attributions of the class that the model predicts with the marks for it."""
    tests = evenly_spaced(splits["test"], setup.texts)
    measured = []
    for seed in setup.seeds:
        model, tokenizer = setup.load(name, seed, to_dataset(splits))
        say(f"attributing {len(tests)} texts of {name}, seed {seed}")
        cases = [Case.of(text.text, model, tokenizer) for text in tests]
        classes = [model.config.class_names[case.kept.target] for case in cases]
        marks = [text.marks[label] for text, label in zip(tests, classes, strict=True)]
        share = mean_share([mark for mark in marks if mark.any()])
        marked = zip(tests, cases, marks, strict=True)
        measured.append([_plausibility(*one, share, methods) for one in marked])
    values = pool_seeds(measured)
    figures = [compare(title, metric, values, (OURS, GRADIENTS), -0.02) for metric in COLUMNS]
    table = to_table(f"{title}: agreement with human marks", values, COLUMNS)
    without = float(np.isnan(values[OURS]["AUPRC"]).mean())
    notes = {"texts": len(tests), "share of texts left out, without a mark": round(without, 3)}
    return Part(figures, [table], {**notes, "share of tokens marked": round(share, 3)})


def _plausibility(
    text: MarkedText, case: Case, marks: Kept, share: float, methods: Mapping[str, Method]
) -> Measured:
    """Gives the metrics of each method; NaN for a text without a mark."""
    if not marks.any():
        return {method: dict.fromkeys(COLUMNS, math.nan) for method in methods}
    measured = {}
    for name, method in methods.items():
        values = text.to_tokens(method(case), case.spans)
        measured[name] = {
            "AUPRC": plausibility_auprc(values, marks),
            "token F1": plausibility_f1(values, marks, share),
        }
    return measured
