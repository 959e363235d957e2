"""The same classifier as a textbook writes it: values for each token, then the mean of the tokens.

The cost of our explanations is compared with it, so it does nothing that it could leave out.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hf_attn import HfAttnForSequenceClassification


class TextbookClassifier(nn.Module):
    """Computes A V for every token, with the weights of one of our models.

    Args:
        model: Whose weights to use.
        fused: Whether torch's fused kernel attends, which gives no attention weights.

    Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.2.1.
    """

    bias: Tensor

    def __init__(self, model: HfAttnForSequenceClassification, fused: bool = False) -> None:
        super().__init__()
        self.base, self.score, self.fused = model.model, model.score, fused
        reference = model.score.reference
        with torch.no_grad():
            shift = model.score.out_proj(reference + model.model.attention.v_proj(reference))
            self.register_buffer("bias", model.score.bias - shift)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Gives logits (B, C) of ids and a mask (B, T)."""
        features = self.base.embeddings(input_ids, attention_mask, None)
        hidden = features + self._attend(features, attention_mask)
        pool_weights = self.base.pooler(features, attention_mask)[0]
        pooled = (pool_weights.unsqueeze(1) @ hidden).squeeze(1)
        return cast(Tensor, self.score.out_proj(pooled) + self.bias)

    def _attend(self, features: Tensor, attention_mask: Tensor) -> Tensor:
        """Gives the attended values (B, T, D)."""
        attention = self.base.attention
        query, key = attention.q_proj(features), attention.k_proj(features)
        value = attention.v_proj(features)
        distance_scores = self._distance_scores(features.shape[1], features.device)
        lowest = torch.finfo(features.dtype).min
        padding_scores = features.new_zeros(attention_mask.shape)
        padding_scores = padding_scores.masked_fill(~attention_mask, lowest).unsqueeze(1)
        if self.fused:
            bias = distance_scores + padding_scores
            return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        scores = query * attention.scaling @ key.transpose(1, 2)
        return cast(Tensor, (scores + distance_scores + padding_scores).softmax(-1) @ value)

    def _distance_scores(self, length: int, device: torch.device) -> Tensor:
        """Gives the scores of the distances between tokens (T, T)."""
        by_distance = self.base.attention.relative_bias(length, device)
        if by_distance is None:
            return torch.zeros(length, length, device=device)
        places = torch.arange(length, device=device)
        return cast(Tensor, by_distance[places - places.unsqueeze(1) + length])
