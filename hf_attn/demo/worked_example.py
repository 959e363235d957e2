"""Attention on three matrices small enough to check by hand, by the attention that models run."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor

from ..configuration_hf_attn import HfAttnConfig
from ..modeling_hf_attn import HfAttnAttention

# One query, two keys, two values: the query fits the first key and not at all the second.
QUERY = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
KEY = torch.tensor([[1.0, 0.0], [-10.0, 1.0]], dtype=torch.float64)
VALUE = torch.tensor([[10.0, 20.0], [30.0, 40.0]], dtype=torch.float64)


class Worked(NamedTuple):
    """What attention makes of Q queries and T keys.

    Attributes:
        scores: (Q, T).
        weights: (Q, T), the softmax of each row.
        values: (Q, D), the values summed with these weights.
    """

    scores: Tensor
    weights: Tensor
    values: Tensor


def attend(query: Tensor, key: Tensor, value: Tensor, *, scaled: bool) -> Worked:
    """Gives what the package's one attention makes of these matrices.

    Args:
        query: (Q, K), of the first Q of T tokens.
        key: (T, K).
        value: (T, D).
        scaled: Whether queries are divided by sqrt(K) first, as a model's are.
    """
    attention = HfAttnAttention(
        HfAttnConfig(hidden_size=value.shape[1], head_dim=query.shape[1])
    ).eval()
    length = len(key)
    with torch.inference_mode():
        block = attention.attend(
            (query * (attention.scaling if scaled else 1)).unsqueeze(0),
            query.new_full((1, len(query)), 1 / len(query)),
            0,
            key=key.unsqueeze(0),
            value=value.unsqueeze(0),
            attention_mask=torch.ones(1, length, dtype=torch.bool),
            distance_scores=None,
            output_attentions=True,
            output_scores=True,
        )
    weights, scores, values = cast(tuple[Tensor, Tensor, Tensor], block[1:])
    return Worked(scores[0, 0], weights[0, 0], values[0])


def multiply_without_transpose(query: Tensor, key: Tensor) -> Tensor | str:
    """Gives Q K in place of Q K transposed, or what torch says of it."""
    try:
        return query @ key
    except RuntimeError as error:
        return str(error)
