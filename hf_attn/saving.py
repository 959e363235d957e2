"""Writes files into a folder whole or not at all."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .configuration_hf_attn import HfAttnConfig
from .errors import InputError


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Gives an empty folder whose files move to `folder` at the end, or vanish after an error.

    Args:
        folder: Where the files are wanted; made if missing. Files of the same name are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
    try:
        yield staging
        for path in sorted(staging.iterdir()):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check_output_folder(folder: Path, *, overwrite: bool, resume: bool) -> None:
    """Makes the folder ready to be written to, before any work is done for it.

    Args:
        folder: Where a model is to be saved.
        overwrite: Whether a model of ours may be replaced; its checkpoints are then deleted.
        resume: Whether the run goes on from a checkpoint in it.

    Raises:
        InputError: If it is a file, cannot be written to, or holds a model that would be lost.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: expected a folder to save the model in, got a file.")
    model_type = _model_type_in(folder)
    if model_type is not None and model_type != HfAttnConfig.model_type:
        raise InputError(
            f"{folder}: expected a new folder, got one with a model of type {model_type!r}, "
            "which would be lost. Choose another --output-dir."
        )
    checkpoints = sorted(folder.glob("checkpoint-*"))
    if not resume and (model_type is not None or checkpoints):
        if not overwrite:
            raise InputError(
                f"{folder}: expected a new folder, got one that holds a model or its checkpoints. "
                "Choose another --output-dir, replace it with --overwrite, or go on with "
                "--resume-from-checkpoint True."
            )
        for checkpoint in checkpoints:
            shutil.rmtree(checkpoint)
    try:
        with staged(folder):
            pass
    except OSError as error:
        raise InputError(
            f"{folder}: expected a folder that can be written to, got: {error}. Choose another "
            "--output-dir."
        ) from error


def _model_type_in(folder: Path) -> str | None:
    config = folder / "config.json"
    if not config.is_file():
        return None
    try:
        return str(json.loads(config.read_text(encoding="utf-8")).get("model_type"))
    except (ValueError, AttributeError):
        return "unreadable"


def last_whole_checkpoint(folder: Path) -> Path:
    """Gives the newest checkpoint in the folder that was written to its end.

    Raises:
        InputError: If there is none.
    """
    # `Trainer` writes this file last.
    whole = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json")]
    if not whole:
        raise InputError(
            f"{folder}: expected a checkpoint to resume from, found none. Start without "
            "--resume-from-checkpoint."
        )
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]))
