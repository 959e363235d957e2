"""Writes files into a folder whole or not at all."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from .configuration_hf_attn import HfAttnConfig
from .errors import InputError

_LAST_FILE_OF_CHECKPOINT = "trainer_state.json"


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


@contextlib.contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Says as an [`InputError`] that a disk is full or read-only; drops checkpoints it cut short.

    Args:
        folder: Where a run writes its checkpoints and its model.

    Raises:
        InputError: If something could not be written.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        # torch.save has no error type of its own for a full disk.
        if isinstance(error, RuntimeError) and "PytorchStreamWriter" not in str(error):
            raise
        for checkpoint in folder.glob("checkpoint-*"):
            if not (checkpoint / _LAST_FILE_OF_CHECKPOINT).is_file():
                shutil.rmtree(checkpoint, ignore_errors=True)
        raise InputError(
            f"{folder}: could not be written: {error}. Free space on the disk or choose another "
            "--output-dir; whole checkpoints are kept, for --resume-from-checkpoint True."
        ) from error


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


def checkpoint_to_resume(wanted: str | bool | None, folder: Path) -> str | None:
    """Gives the checkpoint that a run goes on from, or None for a fresh run.

    Args:
        wanted: A checkpoint, true for the newest one in the folder, or false.
        folder: Where the run writes its checkpoints.

    Raises:
        InputError: If there is none that was written to its end.
    """
    if not wanted or str(wanted).lower() == "false":
        return None
    if str(wanted).lower() != "true":
        if not (Path(str(wanted)) / _LAST_FILE_OF_CHECKPOINT).is_file():
            raise InputError(
                f"{wanted}: expected a checkpoint to resume from, got a folder without "
                f"{_LAST_FILE_OF_CHECKPOINT}. Choose a whole one, or True for the newest."
            )
        return str(wanted)
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{_LAST_FILE_OF_CHECKPOINT}")]
    if not whole:
        raise InputError(
            f"{folder}: expected a checkpoint to resume from, found none. Start without "
            "--resume-from-checkpoint."
        )
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2])))
