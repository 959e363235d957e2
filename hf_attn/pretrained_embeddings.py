"""Word or token vectors from elsewhere as the first values of a token embedding."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from .errors import InputError
from .hub_errors import without_secrets

logger = logging.getLogger(__name__)


@torch.no_grad()
def copy_embeddings(
    source: str, embedding: nn.Embedding, tokenizer: PreTrainedTokenizerBase
) -> int:
    """Fills the rows of tokens that the source knows; the others stay as they are.

    Vectors of another width are reduced to their principal components, or filled up with 0. All
    are scaled to the spread of fresh rows, so that the learning rate keeps its meaning.

    Args:
        source: A text file of word vectors (`.vec`: a word and its numbers in each line), or a
            folder or Hub id of a model whose token vectors are taken.
        embedding: (V, D), changed in place.
        tokenizer: Of the V tokens.

    Returns:
        The number of rows filled.

    Raises:
        InputError: If the source cannot be read, or knows no token.
    """
    words = _readable_tokens(tokenizer)
    if Path(source).is_file():
        found = _read_vectors(Path(source), words)
    elif source.endswith(".vec"):
        raise InputError(f"{source}: expected a file of word vectors, found none.")
    else:
        found = _vectors_of_model(source, words)
    if not found:
        raise InputError(
            f"{source}: expected vectors of some of the {len(words)} tokens, found none. Is it "
            "for another language, or for words in another case (--lowercase)?"
        )
    vectors = torch.from_numpy(_to_width(np.stack(list(found.values())), embedding.embedding_dim))
    vectors = vectors.to(embedding.weight) * embedding.weight.std()
    for word, vector in zip(found, vectors, strict=True):
        embedding.weight[words[word]] = vector
    if embedding.padding_idx is not None:
        embedding.weight[embedding.padding_idx] = 0
    filled = sum(len(words[word]) for word in found)
    logger.info("%s: vectors for %d of %d tokens", source, filled, len(embedding.weight))
    return filled


def _readable_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, list[int]]:
    """Gives the rows of each token as it stands in a text, at the start of a word or within."""
    special = set(tokenizer.all_special_ids)
    rows: dict[str, list[int]] = {}
    for token, index in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        if index not in special:
            readable = tokenizer.convert_tokens_to_string([token]).strip() or token
            rows.setdefault(readable.removeprefix("##") or readable, []).append(index)
    return rows


def _read_vectors(path: Path, words: Mapping[str, list[int]]) -> dict[str, NDArray[np.float32]]:
    found: dict[str, NDArray[np.float32]] = {}
    width: int | None = None
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            try:
                word, *values = raw.decode("utf-8").rstrip().split(" ")
                if number == 1 and len(values) == 1:
                    continue  # the header: number of words and width
                width = width or len(values)
                if len(values) != width or not width:
                    raise InputError(
                        f"{path}, line {number}: expected a word and {width or 'some'} numbers, "
                        f"got {len(values)} numbers. The file is cut or not in .vec format."
                    )
                if word in words and word not in found:
                    found[word] = np.array(values, dtype=np.float32)
            except (UnicodeDecodeError, ValueError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(
                    f"{path}, line {number}: expected a word and numbers in UTF-8, got {error}."
                ) from error
    return found


def _vectors_of_model(
    source: str, words: Mapping[str, list[int]]
) -> dict[str, NDArray[np.float32]]:
    """Gives each word the mean of the vectors of the pieces another model splits it into."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        vectors = AutoModel.from_pretrained(source).get_input_embeddings().weight
    except Exception as error:  # of many kinds: no such file, no connection, no such type
        raise InputError(
            f"{source}: expected a .vec file or a model with token vectors, got: "
            f"{without_secrets(str(error))}"
        ) from error
    table = vectors.detach().float().numpy()
    pieces = tokenizer(list(words), add_special_tokens=False)["input_ids"]
    return {
        word: table[ids].mean(0)
        for word, ids in zip(words, pieces, strict=True)
        if ids and tokenizer.unk_token_id not in ids
    }


def _to_width(vectors: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Gives (N, width) with mean 0 and spread 1: principal components, or columns of 0 added."""
    centered = vectors - vectors.mean(0)
    if vectors.shape[1] > width:
        _, _, components = torch.linalg.svd(torch.from_numpy(centered), full_matrices=False)
        centered = centered @ components[:width].numpy().T
    missing = width - centered.shape[1]
    centered = np.pad(centered, ((0, 0), (0, max(missing, 0))))
    spread = centered.std()
    return np.asarray(centered / (spread if spread > 0 else 1), dtype=np.float32)
