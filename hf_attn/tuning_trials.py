"""The trials of a search for settings, kept in the output folder so that it can go on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import datasets

from .errors import InputError
from .file_names import TRIALS_FILE, TUNED_FILE
from .saving import staged

_FINISHED = "is_finished"
_BROKEN = "The file is broken: delete it to search anew."
_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Trial:
    """A training with settings that were tried.

    Attributes:
        params: What was drawn, by the name of the setting.
        state: "complete", or "pruned" if it was given up or ended before it had a score.
        score: The validation score of its best epoch; None if it was pruned.
        seconds: From the end of the trial before to its own.
        scores: Step to the score by then.
    """

    params: dict[str, Any]
    state: Literal["complete", "pruned"]
    score: float | None
    seconds: float
    scores: dict[int, float] = field(default_factory=dict)


def best_of(trials: Iterable[Trial], *, greater_is_better: bool) -> int | None:
    """Gives the number of the best trial, the first of several that are alike; None without any."""
    sign = 1 if greater_is_better else -1
    scored = {
        number: sign * trial.score for number, trial in enumerate(trials) if trial.score is not None
    }
    return max(scored, key=scored.__getitem__, default=None)


def write_trials(folder: Path, search: Mapping[str, Any], trials: Iterable[Trial]) -> None:
    """Writes the trials so far, whole or not at all.

    Args:
        folder: The output folder of the run.
        search: What they are the trials of, of what JSON can hold.
        trials: In their order.
    """
    _write(folder, {_FINISHED: False, "search": search, "trials": [asdict(one) for one in trials]})


def read_trials(folder: Path, search: Mapping[str, Any]) -> list[Trial]:
    """Gives the trials of a search that was broken off; none if there was none.

    Args:
        folder: The output folder of the run.
        search: What they are to be the trials of.

    Raises:
        InputError: If they are of another search, or the file is broken.
    """
    content = _read(folder)
    if content is None:
        return []
    other = [name for name in search if content["search"].get(name) != _as_json(search[name])]
    if other:
        raise InputError(
            f"{folder / TRIALS_FILE}: expected the trials of this search, got those of one with "
            f"other {' and '.join(other)}. Go on with what it was started with, delete the file to "
            "search anew, or choose another --output-dir."
        )
    return [
        Trial(**{**trial, "scores": {int(step): one for step, one in trial["scores"].items()}})
        for trial in content["trials"]
    ]


def search_is_open(folder: Path) -> bool:
    """Says whether a folder holds a search that was broken off before its model was saved."""
    content = _read(folder)
    return content is not None and not content[_FINISHED]


def finish_search(folder: Path) -> None:
    """Notes that the model of a search is saved: the next one in this folder starts anew."""
    content = _read(folder)
    if content is not None:
        _write(folder, {**content, _FINISHED: True})


def drop_search(folder: Path) -> None:
    """Removes what a search left beside a model that is replaced by one without."""
    for name in (TRIALS_FILE, TUNED_FILE):
        (folder / name).unlink(missing_ok=True)


def digest(splits: Iterable[datasets.Dataset]) -> str:
    """Gives a name for labelled texts that is the same for the same texts alone."""
    read = hashlib.sha256()
    for split in splits:
        for rows in split.iter(batch_size=_ROWS_AT_ONCE):
            read.update(json.dumps(rows, default=str, sort_keys=True).encode())
    return read.hexdigest()


def _write(folder: Path, content: Mapping[str, Any]) -> None:
    with staged(folder) as staging:
        (staging / TRIALS_FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")


def _read(folder: Path) -> dict[str, Any] | None:
    path = folder / TRIALS_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: expected JSON, got {error}. {_BROKEN}") from error
    if not isinstance(content, dict) or {_FINISHED, "search", "trials"} - content.keys():
        raise InputError(f"{path}: expected the trials of a search, got something else. {_BROKEN}")
    return content


def _as_json(value: Any) -> Any:
    """Gives a value as it comes back from a file."""
    return json.loads(json.dumps(value))
