"""The metadata block of a model card: what the Hub reads to list, filter and compare models."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

_TASK = "text-classification"
_TAGS = ["hf_attn", "attention", "explainability"]
_UNKNOWN_LICENSE = "unknown"
SPLITS = ("train", "validation", "test")
# Our names of scores to those of the Hub (empty: it has none), and to those that people read.
_METRICS = {
    "accuracy": ("accuracy", "Accuracy"),
    "macro_f1": ("f1", "Macro-F1"),
    "calibration_error": ("", "Calibration error"),
    "micro_f1": ("f1", "Micro-F1"),
    "precision_at_1": ("precision", "P@1"),
    "pearson": ("pearsonr", "Pearson correlation"),
    "spearman": ("spearmanr", "Spearman correlation"),
    "mse": ("mse", "Mean squared error"),
}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def make_metadata(
    name: str, record: Mapping[str, Any] | None, folding: Mapping[str, Any] | None = None
) -> str:
    """Gives the block in YAML, without the lines around it.

    Args:
        name: What the results are listed under.
        record: What `run.json` holds; None if there is none.
        folding: What the card says of folding; None for a plain model.
    """
    fields: dict[str, Any] = {} if record is None else _of_record(name, record, folding)
    data = ModelCardData(
        **{"license": _UNKNOWN_LICENSE, **fields},
        library_name="transformers",
        pipeline_tag=_TASK,
        tags=_TAGS if folding is None else [*_TAGS, "folded"],
    )
    return data.to_yaml()


def metric_name(score: str) -> str:
    """Gives the name of a score that people read."""
    return _METRICS[score][1]


def split_of_results(record: Mapping[str, Any]) -> str | None:
    """Gives the split whose scores stand for the model: test, or else validation, if any."""
    return next((split for split in ("test", "validation") if split in record["metrics"]), None)


def _of_record(
    name: str, record: Mapping[str, Any], folding: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Gives the fields that depend on the run."""
    settings, data = record["settings"], record["data"]
    fields: dict[str, Any] = {"license": settings["training"]["license"] or _UNKNOWN_LICENSE}
    if settings["training"]["language"]:
        languages = settings["training"]["language"].split(",")
        fields["language"] = languages if len(languages) > 1 else languages[0]
    if data["kind"] == "hub":
        fields["datasets"] = [data["source"]]
    if _HUB_ID.fullmatch(settings["model"]["model"] or ""):
        fields["base_model"] = settings["model"]["model"]
    if folding is not None and _HUB_ID.fullmatch(folding["from"] or ""):
        fields |= {"base_model": folding["from"], "base_model_relation": "quantized"}
    if folding is None or folding["keeps_logits"]:
        results = _results(record)
    else:  # its logits are not those that the record has scores of
        results = _results_of_folding(record, folding["loss"])
    if results:
        fields["metrics"] = list(dict.fromkeys(result.metric_type for result in results))
        fields |= {"model_name": name, "eval_results": results}
    return fields


def _results_of_folding(record: Mapping[str, Any], loss: Mapping[str, Any]) -> list[EvalResult]:
    """Gives the scores of a folded model itself, if it was folded with labelled texts beside."""
    return [
        EvalResult(
            task_type=_TASK,
            dataset_type="other",
            dataset_name=loss.get("source") or record["data"]["source"],
            metric_type=_METRICS[score][0],
            metric_name=_METRICS[score][1],
            metric_value=value,
        )
        for score, value in (loss.get("metrics") or {"after": {}})["after"].items()
        if math.isfinite(value) and _METRICS[score][0]
    ]


def _results(record: Mapping[str, Any]) -> list[EvalResult]:
    """Gives the scores on the texts that nothing was chosen by, or else on those of validation."""
    split = split_of_results(record)
    if split is None:
        return []
    data, settings = record["data"], record["settings"]["data"]
    return [
        EvalResult(
            task_type=_TASK,
            dataset_type=data["source"] if data["kind"] == "hub" else "other",
            dataset_name=data["source"],
            dataset_config=settings["subset"],
            dataset_revision=settings["revision"],
            dataset_split=split,
            dataset_args={
                f"{one}_texts": data["texts"][one] for one in SPLITS if one in data["texts"]
            },
            metric_type=_METRICS[score][0],
            metric_name=_METRICS[score][1],
            metric_value=value,
        )
        for score, value in record["metrics"][split].items()
        if math.isfinite(value) and _METRICS[score][0]
    ]
