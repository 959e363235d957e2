"""The tables of a folded model as numpy arrays.

Shapes: V tokens, N rows of a table, K `head_dim`, C classes, D `hidden_size`, W = min(C, D).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ..errors import InputError
from ..json_object import read_json_object

if TYPE_CHECKING:
    from ..modeling_hf_attn import HfAttnFoldedForSequenceClassification

FOLDED_TYPE = "hf_attn_folded"
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"

Array = NDArray[np.float32]
Integers = NDArray[np.intp]


# The names that transformers gives where nobody has, and leaves out of the file.
_UNNAMED = {"0": "LABEL_0", "1": "LABEL_1"}


@dataclass(frozen=True)
class TokenTables:
    """What is read of tokens, or of bigrams, each on its own.

    Attributes:
        query: (N, K), divided by sqrt(K).
        key: (N, K).
        pool_scores: (N,); None where all tokens of a text count the same.
        direct_values: (N, W).
        context_values: (N, W).
    """

    query: Array
    key: Array
    pool_scores: Array | None
    direct_values: Array
    context_values: Array


@dataclass(frozen=True)
class FoldedTables:
    """All that a folded model holds, in float32.

    logits = bias + out_proj (sum_j p_j direct_values_j + a_j context_values_j)

    Attributes:
        tokens: V rows.
        ngrams: The rows that are added to those of tokens; None for a model without bigrams.
        ngram_slots: (S,), the row in `ngrams` of each slot that a bigram hashes into; None where
            slots are rows.
        distance_scores: (2 R + 1,), the scores of the distances -R ... R, those at the ends for
            farther ones, too; None where distances do not matter.
        attention_window: How far a token sees to either side; 0 for all the way.
        out_proj: (C, W), from values to logits; None where values are logits (W = C).
        bias: (C,), the logits of a text without tokens.
        pad_token_id: What stands before the first token in a bigram.
        class_names: C names, in the order of the logits.
        problem_type: The task, as the configuration has it.
        label_thresholds: C probabilities, from which on each of several labels is predicted; None
            for one half.
    """

    tokens: TokenTables
    ngrams: TokenTables | None
    distance_scores: Array | None
    attention_window: int
    out_proj: Array | None
    bias: Array
    pad_token_id: int
    class_names: tuple[str, ...]
    problem_type: str | None
    label_thresholds: tuple[float, ...] | None = None
    ngram_slots: Integers | None = None

    @classmethod
    def from_model(cls, model: HfAttnFoldedForSequenceClassification) -> FoldedTables:
        """Copies the tables of a folded model."""
        tensors = {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
        return cls._of(model.config.to_dict(), tensors)

    @classmethod
    def from_folder(cls, folder: Path) -> FoldedTables:
        """Reads the tables of a folder that `hf-attn fold` wrote.

        Raises:
            InputError: If a file is missing or broken, or the folder's model is not folded.
        """
        config = read_config(folder)
        if config.get("model_type") != FOLDED_TYPE:
            raise InputError(
                f"{folder}: expected a model of type {FOLDED_TYPE!r}, got "
                f"{config.get('model_type')!r}. Fold it with `hf-attn fold`."
            )
        path = folder / _WEIGHTS
        try:
            return cls._of(config, load_file(path))
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"{path}: expected tables in the safetensors format, got {error}. The file is "
                "broken or cut: fold the model again or take it from another copy."
            ) from error
        except KeyError as error:
            raise InputError(
                f"{folder}: expected all tables and sizes of a folded model, but {error} is "
                "missing. Fold the model again or take it from another copy."
            ) from error

    @classmethod
    def _of(cls, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> FoldedTables:
        def optional(name: str) -> Array | None:
            return _floats(tensors[name]) if name in tensors else None

        named = config.get("id2label") or _UNNAMED
        names = {int(index): name for index, name in named.items()}
        return cls(
            tokens=_token_tables("tables.tokens", tensors),
            ngrams=_token_tables("tables.ngrams", tensors) if config["ngram_buckets"] else None,
            distance_scores=_floats(tensors["attention.relative_bias.scores"])
            if config["relative_attention_num_buckets"]
            else None,
            attention_window=config["attention_window"],
            out_proj=optional("score.out_proj.weight"),
            bias=_floats(tensors["score.bias"]),
            pad_token_id=config["pad_token_id"] or 0,
            class_names=tuple(names[index] for index in sorted(names)),
            problem_type=config.get("problem_type"),
            label_thresholds=_thresholds(config.get("label_thresholds"), len(names)),
            ngram_slots=tensors["tables.ngram_rows.slots"].astype(np.intp)
            if config.get("ngram_slots")
            else None,
        )


def read_config(folder: Path) -> dict[str, Any]:
    """Gives what the configuration in a folder says.

    Raises:
        InputError: If there is none, or it is broken.
    """
    path = folder / _CONFIG
    if not path.is_file():
        raise InputError(f"{folder}: expected a model, but there is no {_CONFIG} in it.")
    return read_json_object(path)


def _token_tables(prefix: str, tensors: Mapping[str, NDArray[Any]]) -> TokenTables:
    def table(name: str) -> Array:
        rows = _floats(tensors[f"{prefix}.{name}"])
        scale = tensors.get(f"{prefix}.{name}_scale")
        return rows if scale is None else rows * _floats(scale)[:, None]

    scores = tensors.get(f"{prefix}.pool_scores")
    return TokenTables(
        query=table("query"),
        key=table("key"),
        pool_scores=None if scores is None else _floats(scores),
        direct_values=table("direct_values"),
        context_values=table("context_values"),
    )


def _thresholds(numbers: Any, num_labels: int) -> tuple[float, ...] | None:
    """Gives the thresholds of the labels.

    Raises:
        InputError: If there is not one probability for each.
    """
    if numbers is None:
        return None
    is_whole = isinstance(numbers, list) and len(numbers) == num_labels
    if not is_whole or not all(isinstance(one, float) and 0 < one < 1 for one in numbers):
        raise InputError(
            f"expected label_thresholds of {num_labels} numbers above 0 and below 1 in "
            f"{_CONFIG}, got {numbers!r}. Fold the model again or take it from another copy."
        )
    return tuple(numbers)


def _floats(array: NDArray[Any]) -> Array:
    return array.astype(np.float32)
