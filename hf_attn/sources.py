"""What the user named (file, folder, corpus, Hub id, data set) to raw splits."""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import datasets

from .corpora import CORPORA, corpus_path, find_corpus, nearest_corpus
from .errors import InputError
from .raw_split import RawSplit, read_dataset
from .reading import READERS, read_corpus_file, read_file
from .rows import file_format

logger = logging.getLogger(__name__)

SourceKind: TypeAlias = Literal["memory", "hub", "corpus", "file"]
Source: TypeAlias = str | os.PathLike[str] | datasets.Dataset | datasets.DatasetDict

SPLIT_NAMES = {
    "train": ("train",),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test",),
}
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def read_source(
    source: Source, *, subset: str | None = None, revision: str | None = None
) -> dict[str, RawSplit]:
    """Gives the raw splits of whatever the user named.

    A named corpus wins over a file of the same name; "./r8" means the file.

    Args:
        source: named corpus, file, folder, Hub id or loaded data set.
        subset: configuration of a Hub data set.
        revision: branch, tag or commit of a Hub data set.

    Returns:
        Those of "train", "validation" and "test" that there are; a single file is "train".

    Raises:
        InputError: nothing can be read there, or `subset` or `revision` without a Hub id.
    """
    if isinstance(source, (str, os.PathLike)) and _is_hub_id(os.fspath(source)):
        return _read_hub(os.fspath(source), subset, revision)
    for argument, value in (("subset", subset), ("revision", revision)):
        if value is not None:
            raise InputError(
                f"Expected {argument} only with a Hub id, got {argument}={value!r} with "
                f"{source!r}. Leave it out."
            )
    if isinstance(source, datasets.Dataset):
        return {"train": read_dataset(source, "the data set")}
    if isinstance(source, datasets.DatasetDict):
        return _read_splits(source, "the data set")
    if isinstance(source, str) and source in CORPORA:
        return {
            split: read_corpus_file(corpus_path(source, split)) for split in CORPORA[source].files
        }
    path = _existing_path(source)
    return _read_folder(path) if path.is_dir() else {"train": read_file(path)}


def source_kind(source: Source) -> SourceKind:
    """Says what [`read_source`] takes a source for; "file" stands for folders, too."""
    if not isinstance(source, (str, os.PathLike)):
        return "memory"
    name = os.fspath(source)
    if _is_hub_id(name):
        return "hub"
    return "corpus" if name in CORPORA and isinstance(source, str) else "file"


def read_one_split(source: Source, argument: str) -> RawSplit:
    """Gives the raw rows given for one split alone.

    Args:
        source: file or loaded data set.
        argument: name of the argument that gave it, for messages.

    Returns:
        The rows.

    Raises:
        InputError: the file cannot be read, or the source is not one split.
    """
    if isinstance(source, datasets.Dataset):
        return read_dataset(source, f"the data set given as {argument}")
    path = _existing_path(source)
    if path.is_dir():
        raise InputError(f"Expected one file for {argument}, got the folder {str(path)!r}.")
    return read_file(path)


def _existing_path(source: object) -> Path:
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(
            "Expected a path, a Hub id, a named corpus, a Dataset or a DatasetDict, got "
            f"{type(source).__name__}. Streaming data sets must be loaded without streaming."
        )
    path = Path(source).expanduser()
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, siblings, n=1)
        hint = f" Did you mean {str(path.with_name(near[0]))!r}?" if near else ""
        raise InputError(
            f"Expected a file or folder, but {str(path)!r} does not exist.{hint} Check the path."
        )
    return path


def _is_hub_id(name: str) -> bool:
    """Return whether a name can only mean a data set on the Hub."""
    if name in CORPORA or Path(name).expanduser().exists():
        return False
    if not HUB_ID.fullmatch(name) or name.startswith("."):
        return False
    if file_format(Path(name)) in READERS:
        return False
    if "/" not in name and nearest_corpus(name):
        find_corpus(name)
    return True


def _read_hub(name: str, subset: str | None, revision: str | None) -> dict[str, RawSplit]:
    try:
        loaded = datasets.load_dataset(name, subset, revision=revision)
    except Exception as error:  # Scripts, hubs and files fail in ways that share no base class.
        said = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(
            f"{name!r} is no file or folder here and no named corpus ({', '.join(CORPORA)}), and "
            f"could not be loaded from the Hub ({said}). Check the spelling, subset and revision; "
            "without a network give a local file or folder, or a data set already in the cache."
        ) from error
    return _read_splits(loaded, name)


def _read_splits(loaded: Mapping[str, datasets.Dataset], source: str) -> dict[str, RawSplit]:
    """Gives the splits that have a usual name; others, such as "unsupervised", are left out."""
    splits = {}
    for split, aliases in SPLIT_NAMES.items():
        present = [name for name in loaded if str(name).lower() in aliases]
        for name in sorted(present, key=lambda name: aliases.index(str(name).lower()))[:1]:
            splits[split] = read_dataset(loaded[name], f"{source}, split {str(name)!r}")
    if not splits:
        raise InputError(f"{source}: expected a split 'train', got {sorted(map(str, loaded))!r}.")
    return splits


def _read_folder(folder: Path) -> dict[str, RawSplit]:
    """Gives the splits of a folder: named files, a saved data set, or Parquet shards."""
    if (folder / "dataset_dict.json").is_file() or (folder / "dataset_info.json").is_file():
        return read_source(datasets.load_from_disk(folder))
    entries = sorted(path for path in folder.iterdir() if path.is_file())
    files = [path for path in entries if file_format(path) in READERS]
    splits = {}
    for split, aliases in SPLIT_NAMES.items():
        named = [path for path in files if path.name.lower().split(".")[0] in aliases]
        if len(named) > 1:
            raise InputError(
                f"{folder}: expected one file for the {split} split, got "
                f"{[path.name for path in named]!r}. Keep one, or pass the file itself."
            )
        if named:
            splits[split] = read_file(named[0])
    if not splits and next(folder.rglob("*.parquet"), None):
        return _read_splits(datasets.load_dataset(str(folder)), str(folder))
    if not splits:
        raise InputError(
            f"{folder}: expected files named train.*, validation.* or test.* ending in "
            f"{', '.join(READERS)}, got {[path.name for path in entries][:10]!r}. Rename them."
        )
    return splits
