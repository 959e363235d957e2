"""The tables of a model card: scores, labels with their words, one decision, and epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from .card_metadata import SPLITS, metric_name, split_of_results
from .explanation import Explanation
from .lexicon import Lexicon, WordList
from .markdown import escape_markdown, table
from .problem_types import REGRESSION
from .training_trace import TrainingTrace
from .training_trace_series import attention_series
from .wording import signed

_MOST_LABELS = 20
_EPOCHS_EVENLY = 4
_MOST_WORDS = 14
_WORDS_A_LABEL = 5


def results_table(record: Mapping[str, Any]) -> Markup:
    """Gives the scores on each split beside those of one guess for all texts."""
    metrics, sizes = record["metrics"], record["data"]["texts"]
    scores = list(metrics[split_of_results(record)])
    header = ["split", "texts"]
    for score in scores:
        header += [metric_name(score), "baseline"]
    rows = []
    for split in filter(metrics.__contains__, SPLITS):
        row = [split, f"{sizes[split]:,}"]
        for score in scores:
            for values in (metrics, record["baseline"]):
                row.append(number(values[split][score]))
        rows.append(row)
    return table(header, rows)


def shown_labels(names: Sequence[str], classes: Sequence[Mapping[str, Any]]) -> list[int]:
    """Gives the indices of the labels that a card has room for: those with the most texts."""
    texts = [-row["texts"] for row in classes] or [0] * len(names)
    return sorted(np.argsort(texts, kind="stable")[:_MOST_LABELS].tolist())


def label_table(
    names: Sequence[str],
    classes: Sequence[Mapping[str, Any]],
    shown: Sequence[int],
    lexicon: Lexicon | None,
) -> Markup:
    """Gives a row for each label: its scores, and the words that add most to it.

    Args:
        names: C class names.
        classes: C rows of an evaluation, or none.
        shown: Indices of the labels to show.
        lexicon: Where the words come from; None leaves them out.
    """
    is_regression = lexicon is not None and lexicon.problem_type == REGRESSION
    header = ["value" if is_regression else "label"]
    if classes:
        header += ["texts", "precision", "recall", "F1"]
    if lexicon is not None:
        header += ["words that raise it most"] if is_regression else ["words that add most"]
        header += ["words that lower it most"] if is_regression else []
    rows = []
    for index in shown:
        row: list[object] = [names[index]]
        if classes:
            one = classes[index]
            row += [f"{one['texts']:,}", *(number(one[x]) for x in ("precision", "recall", "f1"))]
        if lexicon is not None:
            row += _words(lexicon, index, is_regression)
        rows.append(row)
    return table(header, rows)


def decision_table(explanation: Explanation) -> tuple[Markup, int]:
    """Gives the words of a text side by side with their numbers, and how many are left out."""
    reading = explanation.shown[0]
    chosen = sorted(reading.largest_words(_MOST_WORDS))
    words = [reading.words[index] for index in chosen]
    scale = reading.largest or 1.0
    rows = [
        ["contribution", *(signed(word.contribution, scale) for word in words)],
        ["deletion effect", *(signed(word.deletion_effect or 0.0, scale) for word in words)],
    ]
    return table(["", *(word.text for word in words)], rows), len(reading.words) - len(words)


def epochs_table(
    record: Mapping[str, Any], trace: TrainingTrace | None = None
) -> tuple[Markup, int]:
    """Gives what was logged of the epochs, and how many of them are left out.

    Args:
        record: What `run.json` holds.
        trace: Where the columns on attention come from; None leaves them out.
    """
    epochs = record["epochs"]
    columns = {"epoch": "epoch", "loss": "training loss", "eval_loss": "validation loss"}
    for score in record["metrics"].get("validation", {}):
        if not any(f"eval_{score}" in one for one in epochs):
            continue  # the calibration error is of the end alone
        columns[f"eval_{score}"] = metric_name(score)
    evenly = np.linspace(0, len(epochs) - 1, min(len(epochs), _EPOCHS_EVENLY)).round().astype(int)
    best = [n for n, one in enumerate(epochs) if one["epoch"] == record["best_epoch"]]
    attention = () if trace is None else attention_series(trace)
    rows = [
        [
            f"{epochs[n]['epoch']:g}",
            *(number(epochs[n].get(key)) for key in list(columns)[1:]),
            *(one.cell_at(epochs[n]["epoch"]) for one in attention),
        ]
        for n in sorted({*evenly.tolist(), *best})
    ]
    header = [*columns.values(), *(one.name for one in attention)]
    return table(header, rows), len(epochs) - len(rows)


def _words(lexicon: Lexicon, index: int, with_negative: bool) -> list[Markup]:
    """Gives the cells with the first words of a label: those for it, and those against it."""
    words = lexicon.showing(top=_WORDS_A_LABEL, target=index, negative=with_negative).lists[0]
    return [_cell(words, part) for part in ("positive", "negative")[: 1 + with_negative]]


def _cell(words: WordList, part: str) -> Markup:
    entries = getattr(words, part)
    scale = max((abs(entry.value) for entry in entries), default=0.0) or 1.0
    cells = (f"{escape_markdown(one.word)} {signed(one.value, scale)}" for one in entries)
    return Markup(", ".join(cells))


def number(value: float | None) -> str:
    """Gives a score as tables have it; nothing where there is none."""
    return "" if value is None else f"{value:.4f}"
