"""What a model card says of the training beside its tables: the command, settings and cost."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from .markdown import escape_markdown

# No machine measures its energy in the same way, so it is estimated, with what a busy thread of a
# server's processor takes.
WATTS_A_THREAD = 10.0


def reproduction(record: Mapping[str, Any], name: str) -> str:
    """Gives the command that trains the model again, or the call where no command could.

    Args:
        record: What `run.json` holds.
        name: Of the folder to train into.
    """
    given, data = record["settings"]["given"], record["data"]
    if data["kind"] == "memory" or None in given.values():
        source = "data" if data["kind"] == "memory" else repr(data["source"])
        options = "".join(f", {option}={value!r}" for option, value in given.items())
        return f"hf_attn.train({source}, {name!r}{options})"
    words = ["hf-attn", "train", data["source"], "--output-dir", name]
    for option, value in given.items():
        words += [f"--{option.replace('_', '-')}", *_flag_values(value)]
    return shlex.join(words)


def settings_line(record: Mapping[str, Any]) -> Markup:
    """Gives the settings that differ from their defaults, with their values."""
    given = record["settings"]["given"]
    values = (f"`{name}` {escape_markdown(_in_words(value))}" for name, value in given.items())
    return Markup(", ".join(values))


def calibration_line(record: Mapping[str, Any]) -> str | None:
    """Gives what was fitted to the validation texts after the training; None if nothing was."""
    fitted = record["calibration"]
    if fitted is None or (fitted["temperature"] == 1 and fitted["label_thresholds"] is None):
        return None
    parts = []
    if fitted["temperature"] != 1:
        parts.append(f"The logits are divided by a temperature, {fitted['temperature']:.3g}.")
    if fitted["label_thresholds"] is not None:
        least, most = min(fitted["label_thresholds"]), max(fitted["label_thresholds"])
        span = f"{least:.2f}" if least == most else f"{least:.2f} to {most:.2f}"
        parts.append(
            f"A label counts as predicted from a probability of {span} on (`label_thresholds` in "
            "`config.json`, which transformers' own pipeline does not read)."
        )
    parts.append("Fitted to the validation texts.")
    return " ".join(parts)


def energy(record: Mapping[str, Any]) -> float | None:
    """Gives an estimate of the energy that a run on CPUs took, in watt-hours; else None."""
    if record["device"] != "cpu":
        return None
    threads = record["threads"] * record["processes"]
    return float(record["seconds"]["total"] * threads * WATTS_A_THREAD / 3600)


def _flag_values(value: Any) -> Iterator[str]:
    for part in value if isinstance(value, list) else [value]:
        yield _in_words(part)


def _in_words(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)
