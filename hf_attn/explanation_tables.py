"""Explanations as data: dictionaries, JSON lines and a data frame."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .explanation import Explanation, Explanations
from .problem_types import MULTI
from .saving import written
from .word_sums import Reading, Word

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = [
    *("text_index", "target", "against", "score", "logit", "bias", "word_index"),
    *("word" if field.name == "text" else field.name for field in fields(Word)),
    "signs_differ",
]


def explanation_to_dict(explanation: Explanation) -> dict[str, Any]:
    """Gives the prediction as `hf-attn predict --json` does, and every reading word for word.

    `score` is a probability, for a regression the value; of several labels `labels` are those that
    reach their thresholds. `readings` holds what was asked for: the
    likeliest class or the target, and for several labels or values each of them.
    """
    scores = zip(explanation.class_names, explanation.probabilities.tolist(), strict=True)
    pair = {} if explanation.pair is None else {"pair": explanation.pair}
    labels = {"labels": explanation.predicted} if explanation.problem_type == MULTI else {}
    return {
        "text": explanation.text,
        **pair,
        "label": explanation.label,
        **labels,
        "score": explanation.probability,
        "scores": dict(sorted(scores, key=lambda item: -item[1])),
        "margin": explanation.margin,
        "num_tokens": explanation.num_tokens,
        "num_cut": explanation.num_cut,
        "read_span": explanation.read_span,
        "pair_read_span": explanation.pair_read_span,
        "readings": [_reading_to_dict(reading) for reading in explanation.readings],
    }


def _reading_to_dict(reading: Reading) -> dict[str, Any]:
    between_words = {}
    if reading.attention is not None and reading.reads is not None:
        between_words = {"attention": reading.attention.tolist(), "reads": reading.reads.tolist()}
    return {
        **_sum_to_dict(reading),
        "total": reading.total,
        "error": reading.error,
        "words": [word.to_dict() for word in reading.words],
        **between_words,
    }


def _sum_to_dict(reading: Reading) -> dict[str, Any]:
    return {
        "target": reading.target,
        "against": reading.against,
        "score": reading.probability,
        "logit": reading.logit,
        "bias": reading.bias,
    }


def explanations_to_json(explanations: Explanations, path: str | Path | None = None) -> str:
    """Gives one JSON object a line, and writes the lines to `path`.

    Raises:
        ValueError: If a number is not finite, which JSON cannot hold.
    """
    lines = "".join(
        json.dumps(explanation_to_dict(one), ensure_ascii=False, allow_nan=False) + "\n"
        for one in explanations
    )
    return written(lines, path)


def explanations_to_dataframe(explanations: Explanations) -> pd.DataFrame:
    """Gives one row for each word of each reading of each text.

    `text_index` and `word_index` count from 0; `word` is the word itself. What belongs to the
    reading (`target` to `bias`) is repeated in each row. A text without words has no rows.
    """
    import pandas as pd

    rows = [
        {
            "text_index": text_index,
            **_sum_to_dict(reading),
            "word_index": word_index,
            **word.to_dict(),
        }
        for text_index, one in enumerate(explanations)
        for reading in one.readings
        for word_index, word in enumerate(reading.words)
    ]
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    return frame.astype({"deletion_effect": float})
