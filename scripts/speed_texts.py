"""Texts to time classifiers on: of so many words each, no two the same, cut from real ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

# A set whose training split a classifier learns from, to the set that its texts are cut from:
# SST-2 has too few sentences to show a classifier others in each turn, so whole reviews are taken.
SOURCES = {"sst2": "eraser_movies", "ohsumed": "ohsumed"}
_SPLITS = ("test", "validation", "train")
_TEXTS_AT_ONCE = 10_000


def read_texts(folder: Path) -> list[list[str]]:
    """Gives the words of all texts of a set, those that no classifier has learned from first."""
    texts = []
    for split in _SPLITS:
        with (folder / f"{split}.jsonl").open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        texts += [row["tokens"] if "tokens" in row else row["text"].split() for row in rows]
    return texts


def cut(texts: Sequence[Sequence[str]], length: int, parts: int, most: int) -> list[list[str]]:
    """Cuts texts, joined, into new ones of `length` words, each of them once.

    Args:
        texts: Words of each text.
        length: Words of a new text.
        parts: How many lists to give, from different places.
        most: Texts in each list, if there are enough.

    Raises:
        ValueError: If there are too few words for a text in each list.
    """
    words = [word for text in texts for word in text]
    starts = range(0, len(words) - length + 1, length)
    distinct = list(dict.fromkeys(" ".join(words[start : start + length]) for start in starts))
    size = len(distinct) // parts
    if not size:
        raise ValueError(
            f"expected words for {parts} texts of {length}, got {len(words)}. Take a larger set, "
            "or fewer turns."
        )
    return [distinct[first : first + min(size, most)] for first in range(0, parts * size, size)]


def write_many(path: Path, texts: Sequence[Sequence[str]], count: int, seed: int = 0) -> None:
    """Writes texts, one a line, with lengths and words as in real ones, shuffled across them.

    Args:
        path: File to write.
        texts: Words of each real text.
        count: Texts to write.
        seed: Of the shuffling.
    """
    random = np.random.default_rng(seed)
    lengths = np.array([len(text) for text in texts])
    words = [word for text in texts for word in text]
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, count, _TEXTS_AT_ONCE):
            drawn = random.choice(lengths, min(_TEXTS_AT_ONCE, count - start))
            chosen = iter(random.integers(len(words), size=drawn.sum()).tolist())
            for length in drawn:
                file.write(" ".join(words[next(chosen)] for _ in range(length)) + "\n")
