"""Which tokens make up a word, told from where they stand in the text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding
from tokenizers.models import WordLevel

Index = NDArray[np.int64]


class Words(NamedTuple):
    """The words of some texts, one after the other: W words and T tokens in all.

    Attributes:
        of_text: (N + 1,), index of the first word of each text; the last is W.
        of_token: (T,), the number of each token's word, counted in its text.
        first_token: (W,), index of the first token of each word, counted through all texts.
        spans: (W, 2), its first character and one past its last.
        in_pair: (W,), whether it stands in the second text of a pair.
        is_special: (W,), whether it is a token that the tokenizer put in.
    """

    of_text: Index
    of_token: Index
    first_token: Index
    spans: Index
    in_pair: NDArray[np.bool_]
    is_special: NDArray[np.bool_]


def find_words(
    encodings: Sequence[Encoding], texts: Sequence[str], pairs: Sequence[str] | None = None
) -> Words:
    """Groups tokens into words, by their offsets and never by the marks in their names.

    A new word begins where the tokenizer's own splitting does, or after white space. Tokens that
    share characters, such as the bytes of an emoji, belong to one word, and so does an accent that
    is a token of its own. A special token is a word of its own.

    Args:
        encodings: N encodings of the texts, without padding.
        texts: N texts.
        pairs: N second texts, if there are any.
    """
    lengths = np.fromiter(map(len, encodings), np.int64, len(encodings))
    text_of_token = np.repeat(np.arange(len(encodings)), lengths)
    flat_offsets = chain.from_iterable(chain.from_iterable(one.offsets for one in encodings))
    offsets = np.fromiter(flat_offsets, np.int64, 2 * len(text_of_token)).reshape(-1, 2)
    special = _numbers(one.special_tokens_mask for one in encodings) == 1
    sides = np.zeros(len(text_of_token), np.int64)
    if pairs is not None:
        sides = _numbers(_without_none(one.sequence_ids) for one in encodings)
    word_ids: Iterable[Sequence[Any]] = (one.word_ids for one in encodings)
    if special.any():
        word_ids = map(_without_none, word_ids)
    splits = _numbers(word_ids)

    begins = np.ones(len(text_of_token), dtype=np.bool_)
    neighbours = (text_of_token[1:] == text_of_token[:-1]) & (sides[1:] == sides[:-1])
    neighbours &= ~special[1:]
    overlap = offsets[1:, 0] < offsets[:-1, 1]
    same_split = splits[1:] == splits[:-1]
    begins[1:] = ~neighbours | ~(same_split | overlap)
    for token in np.flatnonzero(~begins & (offsets[:, 0] < offsets[:, 1])).tolist():
        text = (pairs if pairs is not None and sides[token] else texts)[text_of_token[token]]
        (start_before, end_before), start = offsets[token - 1], offsets[token, 0]
        between = text[end_before : start + 1]  # a slice may begin with the space before its word
        begins[token] = (
            any(map(str.isspace, between)) and not text[start_before:end_before].isspace()
        )

    touches = np.zeros_like(begins)
    touches[1:] = neighbours & (offsets[1:, 0] == offsets[:-1, 1])
    for token in _in_other_scripts(begins & touches, text_of_token, sides, texts, pairs):
        text = (pairs if pairs is not None and sides[token] else texts)[text_of_token[token]]
        begins[token] = not all(map(_is_mark, text[slice(*offsets[token])]))

    return group_tokens(begins, offsets, lengths, sides, special)


def group_tokens(
    begins: NDArray[np.bool_],
    offsets: Index,
    lengths: Index,
    sides: Index,
    special: NDArray[np.bool_],
) -> Words:
    """Gives the words of N texts, T tokens in all, from which tokens begin one.

    Args:
        begins: (T,), whether a token is the first of a word.
        offsets: (T, 2), its first character and one past its last.
        lengths: (N,), tokens of each text.
        sides: (T,), 1 where a token stands in the second text of a pair.
        special: (T,), whether it is a token that the tokenizer put in.
    """
    first_token = np.flatnonzero(begins)
    starts = np.minimum.reduceat(offsets[:, 0], first_token) if len(first_token) else first_token
    ends = np.maximum.reduceat(offsets[:, 1], first_token) if len(first_token) else first_token
    words_before = np.concatenate([[0], np.cumsum(begins)])
    of_text = words_before[np.concatenate([[0], np.cumsum(lengths)])]
    return Words(
        of_text=of_text,
        of_token=words_before[1:] - 1 - np.repeat(of_text[:-1], lengths),
        first_token=first_token,
        spans=np.stack([starts, ends], axis=1),
        in_pair=sides[first_token] == 1,
        is_special=special[first_token],
    )


def token_kind(tokenizer: Any) -> str:
    """Gives what a tokenizer splits texts into: "word", or "token" where it may split words."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return "word" if backend is not None and isinstance(backend.model, WordLevel) else "token"


def _in_other_scripts(
    tokens: NDArray[np.bool_],
    text_of_token: Index,
    sides: Index,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
) -> list[int]:
    """Gives the index of those of the tokens (T,) whose text is not all ASCII."""
    of_texts = [not text.isascii() for text in texts]
    of_pairs = of_texts if pairs is None else [not text.isascii() for text in pairs]
    return [
        token
        for token in np.flatnonzero(tokens).tolist()
        if (of_pairs if sides[token] else of_texts)[text_of_token[token]]
    ]


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _numbers(rows: Iterable[Sequence[int]]) -> Index:
    return np.fromiter(chain.from_iterable(rows), np.int64)


def _without_none(numbers: Sequence[int | None]) -> list[int]:
    """Gives -1 where a token is in no word and no text."""
    return [-1 if number is None else number for number in numbers]
