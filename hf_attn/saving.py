"""Writes files into a folder whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from .checkpoints import drop_unfinished_checkpoints
from .configuration_hf_attn import HfAttnConfig
from .errors import InputError
from .file_names import CONFIG_FILE

# Start of the name of a folder with what waits to be pushed; a killed run may leave one.
PUSHING = ".pushing-"
_UNFINISHED = ".unfinished-"
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Gives an empty folder whose files move to `folder` at the end, or vanish after an error.

    Args:
        folder: Where the files are wanted; made if missing. Files of the same name are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder))
    try:
        yield staging
        for path in sorted(staging.iterdir()):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def staged_file(path: str | Path) -> Iterator[Path]:
    """Gives where to write a file that moves to `path` at the end, or vanishes after an error.

    A link stays one, and what it leads to is replaced.

    Raises:
        InputError: If its folder does not exist, or if it is no ordinary file.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: expected an ordinary file, or none yet. Choose another name.")
    if not path.parent.is_dir():
        raise InputError(
            f"{path}: expected a file in a folder that exists, but there is no {path.parent}. "
            "Make it, or choose another file."
        )
    with staged(path.parent) as folder:
        yield folder / path.name


def written(text: str, path: str | Path | None) -> str:
    """Gives the text, and writes it in UTF-8 where there is a path.

    Raises:
        InputError: As [`staged_file`] does.
    """
    if path is not None:
        with staged_file(path) as file:
            file.write_bytes(text.encode())
    return text


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
        if not _is_of_the_disk(error):
            raise
        drop_unfinished_checkpoints(folder)
        raise InputError(
            f"{folder}: could not be written: {error}. Free space on the disk or choose another "
            "--output-dir; whole checkpoints are kept, for --resume-from-checkpoint True."
        ) from error


def _is_of_the_disk(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _DISK_ERRORS
    # safetensors and torch have no error type of their own for a full disk.
    return any(sign in str(error) for sign in ("serializing", "PytorchStreamWriter"))


def check_output_folder(folder: Path, *, overwrite: bool, resume: bool) -> None:
    """Refuses a folder that a model must not be saved in; changes nothing.

    Args:
        folder: Where a model is to be saved.
        overwrite: Whether a model of ours may be replaced.
        resume: Whether the run goes on from a checkpoint in it.

    Raises:
        InputError: If it is a file, or holds a model that would be lost.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: expected a folder to save the model in, got a file.")
    model_type = model_type_in(folder)
    if model_type is not None and model_type != HfAttnConfig.model_type:
        raise InputError(
            f"{folder}: expected a new folder, got one with a model of type {model_type!r}, "
            "which would be lost. Choose another --output-dir."
        )
    holds_a_run = model_type is not None or any(folder.glob("checkpoint-*"))
    if holds_a_run and not overwrite and not resume:
        raise InputError(
            f"{folder}: expected a new folder, got one that holds a model or its checkpoints. "
            "Choose another --output-dir, replace it with --overwrite, or go on with "
            "--resume-from-checkpoint True."
        )


def make_output_folder(folder: Path, *, keep_checkpoints: bool) -> None:
    """Makes the folder, and writes to it once; for a fresh run, drops the checkpoints in it.

    Raises:
        InputError: If it cannot be written to.
    """
    try:
        with staged(folder):
            pass
    except OSError as error:
        raise InputError(
            f"{folder}: expected a folder that can be written to, got: {error}. Choose another "
            "--output-dir."
        ) from error
    for prefix in (PUSHING, _UNFINISHED):  # of a run that was killed
        for leftover in folder.glob(f"{prefix}*"):
            shutil.rmtree(leftover)
    if not keep_checkpoints:
        for checkpoint in folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)


def model_type_in(folder: Path) -> str | None:
    """Gives the type that a folder's configuration names; None without a configuration."""
    config = folder / CONFIG_FILE
    if not config.is_file():
        return None
    try:
        return str(json.loads(config.read_text(encoding="utf-8")).get("model_type"))
    except (ValueError, AttributeError):
        return "unreadable"
