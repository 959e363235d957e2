"""Brings models from the Hub into the cache whole, or says what is missing there and why."""

from __future__ import annotations

import logging
import shutil
import time
from fnmatch import fnmatch
from pathlib import Path
from typing import cast

from huggingface_hub import constants, get_cached_repo_tree, get_token, snapshot_download
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from .card_page import CARD_FILE, keeps_page
from .errors import InputError
from .hub_errors import in_short, is_passing, refuse_broken_token
from .hub_files import check_place, outdated_files
from .saving import model_type_in, staged

logger = logging.getLogger(__name__)

# Folders hold checkpoints of the training; pickles could run code when they are opened.
_UNWANTED = ["*/*", "*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt", ".gitattributes"]
# Written beside a model by the training of an older one; it is pickled and may hold a token.
_OLD_SETTINGS = "training_args.bin"
_WAITS = (1, 2, 4, 8)  # seconds before each further attempt
_LOG_IN = "Log in with `hf auth login` or set HF_TOKEN"


def fetch_model(repo_id: str, *, revision: str | None = None, only: str | None = None) -> Path:
    """Gives the folder in the cache with a model of the Hub, all its files from one commit.

    What the cache has is not fetched again, a file that was cut is gone on with, and where the Hub
    cannot be reached the cached copy is taken at once.

    Args:
        repo_id: As user/name.
        revision: Branch, tag or commit; the main branch without it.
        only: Name of the one file that is needed.

    Raises:
        InputError: If there is no such model or revision, if it may not be read, or if files are
            missing and the Hub cannot be reached.
    """
    refuse_broken_token(get_token())
    for wait in (*_WAITS, None):
        try:
            found = snapshot_download(
                repo_id, revision=revision, allow_patterns=only, ignore_patterns=_UNWANTED
            )
            return Path(found)
        except Exception as error:  # of the Hub, the connection, the cache or Xet
            if wait is None or not _is_passing(error):
                raise InputError(_explanation(repo_id, revision, error)) from error
            said = in_short(_met(error))
            logger.warning("%s: broke off, goes on in %d s: %s", repo_id, wait, said)
            time.sleep(wait)
    raise AssertionError  # the last attempt gives or raises


def find_folder(
    name_or_path: str | Path, *, revision: str | None = None, only: str | None = None
) -> Path:
    """Gives the folder of a saved model; one of the Hub is fetched into the cache.

    Args:
        name_or_path: A folder, or the id of a Hub repository.
        revision: Branch, tag or commit of the repository.
        only: Name of the one file that is needed.

    Raises:
        InputError: If there is none, or as [`fetch_model`] does.
    """
    folder, name = Path(name_or_path), str(name_or_path)
    looks_like_a_path = name.startswith((".", "/", "~")) or name.count("/") != 1
    if not folder.exists() and not looks_like_a_path:
        folder = fetch_model(name, revision=revision, only=only)
    if not folder.is_dir():
        found = "a file" if folder.exists() else "none"
        raise InputError(
            f"{folder}: expected a folder with a model, found {found}. "
            "Give the --output-dir of `hf-attn train`, or a Hub id such as user/name."
        )
    return folder


def find_file(name_or_path: str | Path, name: str, *, revision: str | None = None) -> Path | None:
    """Gives one file of a saved model; None if the model has no such file.

    Args:
        name_or_path: A folder that training wrote, or the id of a Hub repository.
        name: Of the file.
        revision: Branch, tag or commit of the repository.

    Raises:
        InputError: If there is no such model, or the file cannot be fetched.
    """
    folder = find_folder(name_or_path, revision=revision, only=name)
    path = folder / name
    return path if path.is_file() else None


def pull(repo_id: str, folder: Path, *, revision: str | None = None) -> list[Path]:
    """Copies a model of the Hub into a folder: all its files, or none.

    What the folder has of another model, and could be mixed up with this one, is removed: weights,
    code, parts of a tokenizer, an adapter, the records of a training and a card that was made from
    them. All other files are kept.

    Args:
        repo_id: As user/name.
        folder: Where to; made if missing. Files of the same name are replaced.
        revision: Branch, tag or commit; the main branch without it.

    Returns:
        The files that were written.

    Raises:
        InputError: As [`fetch_model`] does; if the folder cannot be written to, or holds a model of
            another type, or a whole one where an adapter comes.
    """
    source = fetch_model(repo_id, revision=revision)
    names = _listed(repo_id, source)
    outdated = _outdated(folder, source, names)
    try:
        with staged(folder) as staging:
            for name in names:
                shutil.copyfile(source / name, staging / name)
            # Before the new files move in: a folder without weights is an error, a mixture is not.
            for name in outdated:
                (folder / name).unlink()
    except OSError as error:
        raise InputError(
            f"{folder}: could not be written: {error}. Free space on the disk or choose another "
            f"folder, and run the same command again: {repo_id} is in the cache."
        ) from error
    if outdated:
        logger.warning("%s: removed as parts of an older model: %s", folder, ", ".join(outdated))
    return [folder / name for name in names]


def _outdated(folder: Path, source: Path, new: list[str]) -> list[str]:
    """Gives what of an older model in the folder the new one would be mixed up with.

    Raises:
        InputError: If the folder holds a model of another type, which would be lost.
    """
    if not folder.is_dir():
        return []
    held = [path.name for path in folder.iterdir() if path.is_file()]
    check_place(folder, held, model_type_in(folder), new, model_type_in(source))
    outdated = {*outdated_files(held, new), *({_OLD_SETTINGS} & set(held))}
    if CARD_FILE in held and CARD_FILE not in new and not keeps_page(folder):
        outdated.add(CARD_FILE)
    return sorted(outdated)


def _listed(repo_id: str, source: Path) -> list[str]:
    """Gives the wanted files of a cached commit; the cache knows them once it was all fetched."""
    try:
        tree = get_cached_repo_tree(repo_id, revision=source.name)
    except CachedRepoTreeNotFoundError as error:
        found = ", ".join(sorted(path.name for path in source.iterdir()))
        raise InputError(
            f"{repo_id}: the Hub cannot be reached, and the cache {source} may lack files: it has "
            f"{found}. Try again with a connection."
        ) from error
    names = sorted(file.path for file in tree)
    return [name for name in names if not any(fnmatch(name, mark) for mark in _UNWANTED)]


def _is_passing(error: Exception) -> bool:
    """Says whether trying again may help: not where the Hub could not be reached at all."""
    met = _met(error)
    return is_passing(met) and (met is error or isinstance(met, HfHubHTTPError))


def _met(error: Exception) -> Exception:
    """Gives the error that the client met, where it says only that a file is not in the cache."""
    cause = error.__cause__
    found = isinstance(error, LocalEntryNotFoundError) and isinstance(cause, Exception)
    return cast(Exception, cause) if found else error


def _explanation(repo_id: str, revision: str | None, error: Exception) -> str:
    if isinstance(error, GatedRepoError):
        return (
            f"{repo_id}: its owner grants access one by one, and this login has none. Ask for it "
            f"on the model's page. {_LOG_IN}."
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{repo_id}: expected a branch, tag or commit of it, got revision={revision!r}."
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{repo_id}: expected a folder or a model on the Hub, found neither; or it is private. "
            f"Check the name. {_LOG_IN} to read private models."
        )
    if isinstance(error, HfHubHTTPError) and error.response.status_code == 401:
        return f"{repo_id}: the Hub does not know the token that was sent. {_LOG_IN}."
    if isinstance(error, HFValidationError):
        return f"Expected a folder or a Hub id such as user/name, got {repo_id!r}."
    said, met = in_short(error).rstrip("."), _met(error)
    if met is not error:  # of the two the first may name the missing files
        said = f"{said} ({in_short(met).rstrip('.')})"
    return (
        f"{repo_id}: cannot be fetched, and not all its files are in the cache "
        f"{constants.HF_HUB_CACHE}: {said}. What has arrived is kept: try again with a connection "
        "and space on the disk, or give a folder."
    )
