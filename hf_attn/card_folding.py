"""What a model card says of a folded model: its tables, what folding changed, and how to use it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from .card_metadata import metric_name
from .card_tables import number
from .markdown import table
from .modeling_hf_attn import HfAttnClassifier, HfAttnFoldedForSequenceClassification

# What the model that was folded is called where its name is not known.
_SOME_MODEL = "unfolded"
# Up to here megabytes would be nought point something.
_SMALL = 1_000_000


def folding_of(
    model: HfAttnClassifier, record: Mapping[str, Any] | None, name: str
) -> dict[str, Any] | None:
    """Gives what the template says of folding; None for a plain model.

    Args:
        model: The classifier.
        record: What `run.json` holds; None if there is none.
        name: Id of the model's repository, or the name of its folder.
    """
    if not isinstance(model, HfAttnFoldedForSequenceClassification):
        return None
    tables, known = model.tables.state_dict().values(), (record or {}).get("folding") or {}
    source = (known.get("from") or _SOME_MODEL).rpartition("/")[2]
    loss = known.get("loss") or {}
    window = _other_window(model, record)
    return {
        "table_dtype": model.config.table_dtype,
        "window": window,
        "keeps_logits": model.config.table_dtype == "float32" and window is None,
        "num_rows": model.config.vocab_size,
        "num_buckets": model.config.ngram_buckets,
        "num_values": sum(values.numel() for values in tables),
        "size": _size(sum(values.nbytes for values in tables)),
        "from": known.get("from"),
        "source": source,
        "loss": loss,
        "metrics": _metrics_table(loss.get("metrics")),
        "fold": _fold_command(source, name.rpartition("/")[2], model.config.table_dtype, window),
        "predict": _predict_command(name, bool(record and record["data"]["pairs"])),
    }


def _size(num_bytes: int) -> str:
    return f"{num_bytes:,} bytes" if num_bytes < _SMALL else f"{num_bytes / 1e6:,.1f} MB"


def _other_window(model: HfAttnClassifier, record: Mapping[str, Any] | None) -> int | None:
    """Gives how far a token sees where it is not as far as in training; else None."""
    window: int = model.config.attention_window
    trained = window if record is None else record["settings"]["model"].get("attention_window", 0)
    return None if window == trained else window


def _fold_command(source: str, target: str, table_dtype: str, window: int | None) -> Markup:
    target = f"{target}-folded" if target == source else target
    options = [] if window is None else ["--attention-window", str(window)]
    words = ["hf-attn", "fold", source, target, "--table-dtype", table_dtype, *options]
    return Markup(shlex.join(words))


def _predict_command(name: str, reads_pairs: bool) -> Markup:
    pair = ["--text-pair", "a second text"] if reads_pairs else []
    return Markup(shlex.join(["hf-attn", "predict", name, "a text of yours", *pair]))


def _metrics_table(metrics: Mapping[str, Mapping[str, float]] | None) -> Markup | None:
    """Gives the scores of the model and of its folded form on the same texts."""
    if not metrics:
        return None
    header = ["", *map(metric_name, metrics["before"])]
    return table(header, [[name, *map(number, metrics[name].values())] for name in metrics])
