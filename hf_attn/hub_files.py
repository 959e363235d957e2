"""What of a trained folder goes to the Hub: an allow list, so that no secret and no pickle does."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from .card_page import CARD_FILE, keeps_page
from .errors import InputError
from .file_names import (
    ADAPTER_FILE,
    ADAPTER_WEIGHTS_FILE,
    CONFIG_FILE,
    COUNTS_FILE,
    INDEX_FILE,
    RECORD_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    TRACE_FILE,
    TRACE_PAGE,
    WEIGHTS_FILE,
)
from .json_object import read_json_object

_CODE = ("configuration_hf_attn.py", "modeling_hf_attn.py")
_TOKENIZER_CODE = "tokenization_hf_attn.py"
_TOKENIZER_CLASS = "HfAttnTokenizer"
_TOKENIZER = (TOKENIZER_FILE, TOKENIZER_CONFIG_FILE)
_RECORDS = (RECORD_FILE, COUNTS_FILE, TRACE_FILE, TRACE_PAGE, "all_results.json")
_OPTIONAL = (CARD_FILE, *_RECORDS)
_ADAPTER = (ADAPTER_WEIGHTS_FILE, ADAPTER_FILE)
_OLD_WEIGHTS = re.compile(
    r"(model|adapter_model)(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json"
    r"|(pytorch_model|adapter_model)(-\d+-of-\d+)?\.bin|pytorch_model\.bin\.index\.json"
)
# transformers adds what they say to a tokenizer.json beside them; it does not write them any more.
_OLD_TOKENIZER = ("special_tokens_map.json", "added_tokens.json")
# A base model in a page that PEFT wrote, by a path: absolute, of a drive, or from here.
_LOCAL_BASE = re.compile(r"base_model(?:: *|:adapter:)[\"']?(?:/|\.|~|[A-Za-z]:[\\/])")
# What these are must be readable without importing transformers, which takes seconds.
_PLAIN_TYPE = "hf_attn"
_AUTO_MAPS = {
    _PLAIN_TYPE: {
        "AutoConfig": "configuration_hf_attn.HfAttnConfig",
        "AutoModel": "modeling_hf_attn.HfAttnModel",
        "AutoModelForSequenceClassification": "modeling_hf_attn.HfAttnForSequenceClassification",
    },
    "hf_attn_folded": {
        "AutoConfig": "configuration_hf_attn.HfAttnFoldedConfig",
        "AutoModelForSequenceClassification": (
            "modeling_hf_attn.HfAttnFoldedForSequenceClassification"
        ),
    },
}
MODEL_TYPES = tuple(_AUTO_MAPS)
_TOKENIZER_AUTO_MAP = {"AutoTokenizer": ["tokenization_hf_attn.HfAttnTokenizer", None]}
_TOKEN = re.compile(rb"\bhf_[A-Za-z0-9]{20,}")


@dataclass(frozen=True)
class Content:
    """What a file in the repository is to hold.

    Attributes:
        path: Its path in the repository.
        source: The bytes, or for weights the file that they are read from.
        size: Length in bytes.
        sha256: Hash that the Hub names a large file by.
        blob_id: Hash that git names a small file by.
    """

    path: str
    source: bytes | Path = field(repr=False)
    size: int
    sha256: str
    blob_id: str

    @classmethod
    def of(cls, path: str, source: bytes | Path) -> Content:
        """Gives the content with its hashes; a file is read once and not kept in memory."""
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        sha256, sha1 = hashlib.sha256(), hashlib.sha1(f"blob {size}\0".encode())
        for piece in _pieces(source):
            sha256.update(piece)
            sha1.update(piece)
        return cls(path, source, size, sha256.hexdigest(), sha1.hexdigest())

    @property
    def text(self) -> str:
        """What it holds, for a file of text."""
        source = self.source if isinstance(self.source, bytes) else self.source.read_bytes()
        return source.decode(errors="replace")


def files_to_push(folder: Path) -> dict[str, Path]:
    """Gives what of a trained folder the Hub needs: path in the repository to local file.

    Code that the folder lacks is taken from this package. Checkpoints, pickles such as
    `training_args.bin`, states of optimizers and hidden files are never among them.

    Raises:
        InputError: If a file is missing or broken.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "none"
        raise InputError(
            f"{folder}: expected a folder with a model, found {found}. "
            "Give the --output-dir of `hf-attn train`."
        )
    is_adapter = _holds_adapter(folder)
    needed = _ADAPTER if is_adapter else (CONFIG_FILE, *_weight_files(folder), *_TOKENIZER)
    files = {name: folder / name for name in needed}
    _check_files(folder, files)
    files |= {name: folder / name for name in (*_TOKENIZER, *_OPTIONAL) if (folder / name).exists()}
    files |= {name: _code_file(folder, name) for name in _code_names(folder, is_adapter)}
    return dict(sorted(files.items()))


def wants_card(folder: Path) -> bool:
    """Says whether a push needs a card made: for a whole model without a page of somebody."""
    return not _holds_adapter(folder) and not keeps_page(folder)


def contents_to_push(folder: Path, card: str | None = None) -> list[Content]:
    """Gives what a push of the folder publishes, by path; reads files only.

    Args:
        folder: A folder that training wrote.
        card: Text of the README.md; without it that of the folder, if there is one.

    Raises:
        InputError: As [`files_to_push`] does.
    """
    files = files_to_push(folder)
    # Weights may be large and are streamed. All else is read once, so that nothing that is written
    # meanwhile gets half of an old state and half of a new one published.
    weights = {name: path for name, path in files.items() if path.suffix == ".safetensors"}
    texts = {name: files[name].read_bytes() for name in files.keys() - weights}
    if CONFIG_FILE in texts:
        auto_map = _AUTO_MAPS[json.loads(texts[CONFIG_FILE])["model_type"]]
        texts[CONFIG_FILE] = _naming_code(texts[CONFIG_FILE], auto_map)
    if _TOKENIZER_CODE in texts:
        named = _naming_code(texts[TOKENIZER_CONFIG_FILE], _TOKENIZER_AUTO_MAP)
        texts[TOKENIZER_CONFIG_FILE] = named
    if ADAPTER_FILE in texts:
        _check_base_model(folder)
    if card is not None:
        texts[CARD_FILE] = card.encode()
    sources: dict[str, bytes | Path] = {**weights, **texts}
    return [Content.of(name, source) for name, source in sorted(sources.items())]


def base_of_adapter(contents: Iterable[Content]) -> str | None:
    """Gives the id of the model that a pushed adapter changes; None for a whole model."""
    for content in contents:
        if content.path == ADAPTER_FILE:
            return str(json.loads(content.text)["base_model_name_or_path"])
    return None


def model_type_of(contents: Iterable[Content]) -> str:
    """Gives the type of a model that is pushed; for an adapter that of the models it can change."""
    for content in contents:
        if content.path == CONFIG_FILE:
            return str(json.loads(content.text)["model_type"])
    return _PLAIN_TYPE


def refuse_secrets(contents: Iterable[Content], token: str | None) -> None:
    """Refuses contents that hold an access token of the Hub.

    Raises:
        InputError: If one does; names the file and not the token.
    """
    for content in contents:
        text = content.source
        if isinstance(text, bytes) and (
            _TOKEN.search(text) or (token is not None and token.encode() in text)
        ):
            raise InputError(
                f"{content.path}: expected no secrets, got an access token in this file. Remove "
                "it from the file and revoke it in the settings of your account; nothing was sent."
            )


def outdated_files(paths: Iterable[str], new: Iterable[str]) -> list[str]:
    """Gives what of another model could be mixed up with the new one.

    That are weights, code and parts of a tokenizer, which a loader would find, and the records of
    how they were trained.

    Args:
        paths: What a repository or a folder holds.
        new: The files of the new model.
    """
    of_models = {*_RECORDS, *_CODE, _TOKENIZER_CODE, *_OLD_TOKENIZER, ADAPTER_FILE}
    old = (path for path in paths if _OLD_WEIGHTS.fullmatch(path) or path in of_models)
    return sorted(set(old) - set(new))


def check_place(
    place: object,
    paths: Iterable[str],
    model_type: str | None,
    new: Iterable[str],
    new_type: str | None,
) -> None:
    """Refuses a repository or a folder whose model would be mixed up with the new one, or lost.

    Args:
        place: Its name.
        paths: What it holds.
        model_type: Of its model; None without one.
        new: The files of the new model.
        new_type: Of the new model; None for an adapter.

    Raises:
        InputError: If it holds a model of another type, or a whole one where an adapter comes.
    """
    if ADAPTER_WEIGHTS_FILE in new and {WEIGHTS_FILE, INDEX_FILE} & set(paths):
        raise InputError(
            f"{place}: expected a place for an adapter, got one that holds a whole model. Choose "
            "another name; nothing in it was changed."
        )
    if model_type is not None and new_type not in (None, model_type):
        raise InputError(
            f"{place}: expected a new place or one with a model of type {new_type!r}, got one with "
            f"a model of type {model_type!r}. Choose another name; nothing in it was changed."
        )


def _pieces(source: bytes | Path) -> Iterable[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file:
        while piece := file.read(1 << 20):
            yield piece


def _holds_adapter(folder: Path) -> bool:
    return (folder / ADAPTER_WEIGHTS_FILE).is_file() and not (folder / WEIGHTS_FILE).is_file()


def _weight_files(folder: Path) -> list[str]:
    if (folder / WEIGHTS_FILE).is_file() or not (folder / INDEX_FILE).is_file():
        return [WEIGHTS_FILE]
    index = read_json_object(folder / INDEX_FILE)
    return [INDEX_FILE, *sorted({str(shard) for shard in index.get("weight_map", {}).values()})]


def _code_names(folder: Path, is_adapter: bool) -> list[str]:
    """Gives the files of code that this model runs.

    An adapter has its model's code in the base's repository, and may have no tokenizer; a tokenizer
    may be one of another library.
    """
    path = folder / TOKENIZER_CONFIG_FILE
    has_ours = path.is_file() and read_json_object(path).get("tokenizer_class") == _TOKENIZER_CLASS
    return [*(() if is_adapter else _CODE), *([_TOKENIZER_CODE] if has_ours else ())]


def _code_file(folder: Path, name: str) -> Path:
    saved = folder / name
    return saved if saved.is_file() and saved.stat().st_size else Path(__file__).with_name(name)


def _check_files(folder: Path, files: Mapping[str, Path]) -> None:
    missing = [name for name, path in files.items() if not path.is_file()]
    if missing:
        raise InputError(
            f"{folder}: expected a whole model, but there is no {', '.join(missing)} in it. Give a "
            "folder that `hf-attn train` finished, or save both model and tokenizer in it."
        )
    for path in files.values():
        if path.suffix == ".json":
            read_json_object(path)
        else:
            check_weights(path)
    if CONFIG_FILE in files:
        model_type = read_json_object(files[CONFIG_FILE]).get("model_type")
        if model_type not in MODEL_TYPES:
            raise InputError(
                f"{folder}: expected a model of type {' or '.join(map(repr, MODEL_TYPES))}, got "
                f"{model_type!r}. Push it with transformers' own `push_to_hub`."
            )


def check_weights(path: Path) -> None:
    """Refuses weights that cannot be read.

    Raises:
        InputError: If the file is not in the safetensors format, or cut.
    """
    try:
        with safe_open(path, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: expected weights in the safetensors format, got {error}. The file is broken "
            "or cut: train again or take it from another copy."
        ) from error


def _check_base_model(folder: Path) -> None:
    """Refuses an adapter, or a page of one, that names a base which nobody else has."""
    path = folder / ADAPTER_FILE
    base = read_json_object(path).get("base_model_name_or_path")
    if not base or str(base).count("/") != 1 or Path(base).exists():
        raise InputError(
            f"{path}: expected base_model_name_or_path to be the Hub id of the model that the "
            f"adapter belongs to, got {base!r}, which nobody else has. Push that model first and "
            "write its id there, or merge the adapter: model.merge_and_unload()."
        )
    page = folder / CARD_FILE
    if page.is_file() and _LOCAL_BASE.search(page.read_text(encoding="utf-8", errors="replace")):
        raise InputError(
            f"{page}: expected base_model to be {base!r}, got a path of this machine, as PEFT "
            "writes it. Write the id there and in the tags, or delete the page."
        )


def _naming_code(text: bytes, auto_map: Mapping[str, Any]) -> bytes:
    """Gives a configuration whose `auto_map` names the code beside it; unchanged if it does."""
    config = json.loads(text)
    named = {**(config.get("auto_map") or {}), **auto_map}
    if named == config.get("auto_map"):
        return text
    return (json.dumps({**config, "auto_map": named}, indent=2, sort_keys=True) + "\n").encode()
