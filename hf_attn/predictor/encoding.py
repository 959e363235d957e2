"""Texts to token ids: those of the ordinary tokenizer, many times faster for one of ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..errors import InputError
from ..texts import check_text
from ..words import Words
from .by_chunks import ChunkwiseEncoder
from .by_texts import OrdinaryEncoder
from .chunks import Index
from .pipelines import splits_at_white_space

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# So many at once that setting up does not count, and so few that they fit into memory.
_TEXTS_AT_ONCE = 1 << 14
_CHARACTERS_AT_ONCE = 1 << 20
# More than this means "no limit": transformers writes 1e30.
_MOST_TOKENS = 1e20


# Token ids, lengths, and whether each text was cut; see `EncodedTexts`.
Encoded: TypeAlias = tuple[NDArray[np.int32], Index, NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class EncodedTexts:
    """The token ids of N texts, one after the other.

    Attributes:
        token_ids: (sum of lengths,), the ids of all texts.
        lengths: (N,), tokens of each text.
        cut: (N,), whether the text was cut at the longest length.
    """

    token_ids: NDArray[np.int32]
    lengths: Index
    cut: NDArray[np.bool_]
    _find_words: Callable[[Sequence[int]], Words] = field(repr=False)

    def words(self, texts: Sequence[int] | None = None) -> Words:
        """Finds the words of texts and which tokens make up each, as `find_words` does.

        Args:
            texts: Numbers of the texts wanted, counted from 0; all texts if left out.

        Returns:
            The words of these texts alone, in this order.
        """
        return self._find_words(range(len(self.lengths)) if texts is None else texts)


class TextEncoder:
    """Gives the token ids that a transformers tokenizer gives with `truncation=True`.

    Args:
        tokenizer: The tokenizer of the `tokenizers` library; its truncation and padding are
            changed, so give one that nothing else uses.
        max_length: The most tokens of a text, or of a pair together; None for no limit.
        truncation_side: What a longer text loses: its end ("right") or its beginning ("left").

    Attributes:
        vocab_size: How many tokens there are, special ones included.

    Raises:
        InputError: `truncation_side` is neither.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, max_length: int | None, truncation_side: str = "right"
    ) -> None:
        if truncation_side not in ("left", "right"):
            raise InputError(
                f"expected truncation_side 'left' or 'right', got {truncation_side!r}: "
                "set it in tokenizer_config.json."
            )
        self._tokenizer = tokenizer
        self.vocab_size = tokenizer.get_vocab_size()
        kind = ChunkwiseEncoder if splits_at_white_space(tokenizer) else OrdinaryEncoder
        self._encoder: ChunkwiseEncoder | OrdinaryEncoder = kind(
            tokenizer, max_length, truncation_side
        )

    @classmethod
    def from_folder(cls, folder: Path) -> TextEncoder:
        """Loads the tokenizer that stands beside a model.

        Args:
            folder: Holds `tokenizer.json` and `tokenizer_config.json`.

        Raises:
            InputError: A file is missing or cannot be read.
        """
        tokenizer = _read(folder / "tokenizer.json", Tokenizer.from_str)
        config = _read(folder / "tokenizer_config.json", json.loads)
        tokenizer.encode_special_tokens = config.get("split_special_tokens", False)
        saved_side = (tokenizer.truncation or {}).get("direction", "right")
        return cls(
            tokenizer,
            max_length=_limit(config.get("model_max_length")),
            truncation_side=config.get("truncation_side", saved_side),
        )

    @classmethod
    def from_tokenizer(cls, tokenizer: PreTrainedTokenizerBase) -> TextEncoder:
        """Takes over a fast tokenizer as it is now; later changes to it have no effect.

        Args:
            tokenizer: Any fast tokenizer of transformers.

        Raises:
            InputError: It is a tokenizer written in Python.
        """
        if not tokenizer.is_fast:
            raise InputError(
                f"expected a fast tokenizer, got {type(tokenizer).__name__}, which is written in "
                "Python: load it with AutoTokenizer.from_pretrained(...)."
            )
        backend: Tokenizer = tokenizer.backend_tokenizer
        copy = Tokenizer.from_str(backend.to_str())
        copy.encode_special_tokens = tokenizer.split_special_tokens
        return cls(
            copy,
            max_length=_limit(tokenizer.model_max_length),
            truncation_side=tokenizer.truncation_side,
        )

    def token_name(self, token_id: int) -> str:
        """Gives the token of an id."""
        return str(self._tokenizer.id_to_token(token_id))

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> EncodedTexts:
        """Encodes texts, or pairs of texts.

        Args:
            texts: N texts.
            pairs: N second texts, if there are any.

        Raises:
            InputError: A text is no string of valid Unicode, or there are not N second texts.
        """
        texts, pairs = _listed(texts), None if pairs is None else _listed(pairs)
        if pairs is not None and len(pairs) != len(texts):
            raise InputError(
                f"expected a second text for each of the {len(texts)} texts, got {len(pairs)}."
            )
        parts = []
        for part in _parts(texts, pairs):
            here = texts[part], None if pairs is None else pairs[part]
            try:
                parts.append(self._encoder.encode(*here))
            except (TypeError, ValueError):  # which names no text
                for text in (*here[0], *(here[1] or ())):
                    check_text(text)
                raise

        return self._encoded(parts, texts, pairs)

    def join(
        self,
        parts: Sequence[EncodedTexts],
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
    ) -> EncodedTexts:
        """Gives what `encode` gives of all texts from what it gave of them part by part.

        Args:
            parts: One after the other.
            texts: All texts.
            pairs: All second texts, if there are any.
        """
        arrays = [(part.token_ids, part.lengths, part.cut) for part in parts]
        return self._encoded(arrays, texts, pairs)

    def _encoded(
        self, parts: Sequence[Encoded], texts: Sequence[str], pairs: Sequence[str] | None
    ) -> EncodedTexts:
        def words_of(rows: Sequence[int]) -> Words:
            wanted = [texts[row] for row in rows]
            return self._encoder.words(
                wanted, None if pairs is None else [pairs[row] for row in rows]
            )

        token_ids, lengths, cut = parts[0]
        if len(parts) > 1:
            token_ids, lengths, cut = map(np.concatenate, zip(*parts, strict=True))
        return EncodedTexts(token_ids, lengths, cut, words_of)


def _listed(texts: Sequence[str]) -> list[str]:
    """Gives texts as a list of plain strings."""
    if isinstance(texts, str):
        raise InputError(
            f"expected a list of texts, got one string {texts!r:.60}: put it into a list, [text]."
        )
    texts = list(texts)
    if set(map(type, texts)) - {str}:
        for text in texts:
            check_text(text)
        return list(map(str, texts))
    return texts


def _parts(texts: list[str], pairs: list[str] | None) -> Iterator[slice]:
    """Yields slices of the texts, each small enough to be encoded at once; at least one."""
    characters = np.cumsum([0, *map(len, texts)])
    if pairs is not None:
        characters += np.cumsum([0, *map(len, pairs)])
    start = 0
    while True:
        most = characters[start] + _CHARACTERS_AT_ONCE
        fitting = int(np.searchsorted(characters, most, "right")) - 1
        end = min(max(fitting, start + 1), start + _TEXTS_AT_ONCE)
        yield slice(start, end)
        start = end
        if start >= len(texts):
            return


def _limit(model_max_length: float | None) -> int | None:
    if model_max_length is None or model_max_length > _MOST_TOKENS:
        return None
    return int(model_max_length)


def _read(file: Path, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"expected {file.name} in {file.parent}, which has none: save the tokenizer there "
            "with tokenizer.save_pretrained(folder)."
        ) from error
    except Exception as error:  # the tokenizers library raises no narrower one
        raise InputError(f"{file} cannot be read: {error}. Save the tokenizer again.") from error
