"""One single-head self-attention layer that classifies texts: embed, attend, pool, classify.

Before the attention nothing mixes tokens (but a hashed bigram of neighbours), and after the
attention weights nothing is non-linear, so every logit is a bias plus one number for each token.

Shapes: B texts, T tokens, D `hidden_size`, K `head_dim`, C classes.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils.generic import ModelOutput, can_return_tuple

from .configuration_hf_attn import HfAttnConfig, HfAttnFoldedConfig

# A batch with more attention scores than this is attended to in blocks of queries of about as many,
# each computed again in the backward pass. 8 Mi are 32 MiB in float32, from where on glibc hands
# freed memory back at once: smaller blocks leave holes that add up to the whole T x T.
MAX_SCORES_PER_BLOCK = 1 << 23
# With a window, long texts are cut into pieces of so many queries: fewer make matrices that are
# slow to multiply, more score too many keys that no query sees.
ROWS_PER_PIECE = 32
# There are at least so many slots, of 4 bytes each, for every known pair: the more of them, the
# fewer pairs meet in one.
SLOTS_PER_BIGRAM = 8


class _QuickOutput(ModelOutput):
    """A ModelOutput that is cheap to make.

    The base class goes through all fields for each that is set, and once more at the end, which for
    the outputs below takes as long as the attention of a short text.
    """

    def __post_init__(self) -> None:
        """Leaves to the base class what needs it: a dictionary in the place of the first field."""
        first = next(iter(self.__dataclass_fields__))  # type: ignore[attr-defined]
        if not isinstance(getattr(self, first), Tensor | None):
            super().__post_init__()

    def __setattr__(self, name: str, value: Any) -> None:
        if value is not None and name in self.__dataclass_fields__:  # type: ignore[attr-defined]
            OrderedDict.__setitem__(self, name, value)
        object.__setattr__(self, name, value)


@dataclass
class HfAttnModelOutput(_QuickOutput):
    """What [`HfAttnModel`] returns.

    Attributes:
        last_hidden_state: (B, T, D), each token's features plus the values it attends to.
        pooler_output: (B, D), the pooled text.
        hidden_states: The features before and after the attention, two of (B, T, D).
        attentions: One (B, 1, T, T); row i holds how token i weighs the tokens j, summing to 1.
        pool_weights: (B, T), how the text weighs its tokens (p), summing to 1.
        attention_received: (B, T), the attention each token gets from the pooled text (a = p A),
            summing to 1.
        query: (B, T, K), W_q x / sqrt(K).
        key: (B, T, K), W_k x.
        attention_scores: One (B, 1, T, T); query i times key j plus the score of their distance,
            the dtype's lowest number where token i does not see token j.
        pool_scores: (B, T), the scores that pooling weights are the softmax of; 0 for the mean.
    """

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    pool_weights: Tensor | None = None
    attention_received: Tensor | None = None
    query: Tensor | None = None
    key: Tensor | None = None
    attention_scores: tuple[Tensor, ...] | None = None
    pool_scores: Tensor | None = None


@dataclass
class HfAttnClassifierOutput(_QuickOutput):
    """What [`HfAttnForSequenceClassification`] returns.

    Attributes:
        loss: (), mean over the batch, if labels were given.
        logits: (B, C), at least float32.
        hidden_states: The features before and after the attention, two of (B, T, D).
        attentions: One (B, 1, T, T); row i holds how token i weighs the tokens j, summing to 1.
        contributions: (B, T, C), in logits: `bias + contributions.sum(1)` equals `logits`.
        direct_contributions: (B, T, C), the part of the token's own features.
        context_contributions: (B, T, C), the part that reaches the text through attention.
        pool_weights: (B, T), how the text weighs its tokens (p), summing to 1.
        attention_received: (B, T), the attention each token gets from the pooled text (a = p A),
            summing to 1.
        bias: (C,), the logits of a text without tokens.
        query: (B, T, K), W_q x / sqrt(K).
        key: (B, T, K), W_k x.
        attention_scores: One (B, 1, T, T); query i times key j plus the score of their distance,
            the dtype's lowest number where token i does not see token j.
        pool_scores: (B, T), the scores that pooling weights are the softmax of; 0 for the mean.
        direct_values: (B, T, C), W_c (x - reference): the direct contribution of a token for each
            unit of its pooling weight.
        context_values: (B, T, C), W_c W_v (x - reference): the context contribution for each unit
            of attention received.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    contributions: Tensor | None = None
    direct_contributions: Tensor | None = None
    context_contributions: Tensor | None = None
    pool_weights: Tensor | None = None
    attention_received: Tensor | None = None
    bias: Tensor | None = None
    query: Tensor | None = None
    key: Tensor | None = None
    attention_scores: tuple[Tensor, ...] | None = None
    pool_scores: Tensor | None = None
    direct_values: Tensor | None = None
    context_values: Tensor | None = None


class TokenTerms(NamedTuple):
    """What attention, pooling and classification read of tokens, each token on its own.

    Attributes:
        query: (B, T, K), divided by sqrt(K).
        key: (B, T, K).
        pool_scores: (B, T); 0 where all tokens count the same.
        direct_values: (B, T, C).
        context_values: (B, T, C).
    """

    query: Tensor
    key: Tensor
    pool_scores: Tensor
    direct_values: Tensor
    context_values: Tensor


def _at_least_float32(tensor: Tensor) -> Tensor:
    """Gives the tensor in the precision that weights, sums and logits are computed in."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


class HfAttnEmbeddings(nn.Module):
    """Turns token ids into token features, x_j = sqrt(D) (E[t_j] + G[row(t_{j-1}, t_j)]).

    [`HfAttnBigramRows`] finds the row of a pair. The factor lets tables of small numbers, in which
    a rare word weighs nothing, learn as fast as the projections do.

    Source: Joulin et al. 2016, "Bag of Tricks for Efficient Text Classification", section 2.2;
    Vaswani et al. 2017, "Attention Is All You Need", section 3.4.
    """

    def __init__(self, config: HfAttnConfig) -> None:
        super().__init__()
        self.scale = math.sqrt(config.hidden_size)
        self.pad_token_id = config.pad_token_id or 0
        self.ngram_buckets = config.ngram_buckets
        self.embed_tokens = nn.Embedding(
            config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id
        )
        if self.ngram_buckets:
            self.ngram_rows = HfAttnBigramRows(config)
            self.embed_ngrams = HfAttnBigramEmbedding(config)
        self.dropout = nn.Dropout(config.embedding_dropout)

    def forward(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor,
        inputs_embeds: Tensor | None,
        places: Tensor | None = None,
    ) -> Tensor:
        """Gives token features (B, T, D) from ids (B, T) or embeddings (B, T, D).

        Args:
            input_ids: (B, T), or None.
            attention_mask: (B, T), True at tokens and False at padding.
            inputs_embeds: (B, T, D), or None.
            places: (P,), the places that features are wanted of, (B, P, D); None for all.

        Raises:
            ValueError: If embeddings come to a model with bigrams.
        """
        if input_ids is not None:
            previous_ids = self.previous_ids(input_ids, attention_mask)
            if previous_ids is not None:
                previous_ids = _at(places, previous_ids)
            return self.embed(_at(places, input_ids), previous_ids)
        if self.ngram_buckets:
            raise ValueError(
                f"inputs_embeds carry no token ids, and this model (ngram_buckets="
                f"{self.ngram_buckets}) looks pairs of ids up. Pass input_ids, or use a model "
                "with ngram_buckets=0."
            )
        return cast(Tensor, self.dropout(self.scale * _at(places, cast(Tensor, inputs_embeds))))

    def embed(self, input_ids: Tensor, previous_ids: Tensor | None) -> Tensor:
        """Gives features (..., D) of tokens, from their ids (...) and those before them (...)."""
        features = self.embed_tokens(input_ids)
        if previous_ids is not None:
            features = features + self.embed_ngrams(self.ngram_rows(previous_ids, input_ids))
        return cast(Tensor, self.dropout(self.scale * features))

    def previous_ids(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor | None:
        """Gives the id before each token (B, T), or None for a model without bigrams.

        What the mask hides is passed over, so a token in a gap leaves its neighbours side by side.
        Before the first token stands the pad id.
        """
        if not self.ngram_buckets:
            return None
        return ids_before(input_ids, attention_mask, self.pad_token_id)


class HfAttnBigramEmbedding(nn.Embedding):
    """Starts at 0, so that a row that no pair of the training texts falls on says nothing.

    Where only known pairs have rows, row 0 is of all others and stays 0.
    """

    def __init__(self, config: HfAttnConfig) -> None:
        padding_idx = 0 if config.ngram_slots else None
        super().__init__(config.ngram_buckets, config.hidden_size, padding_idx=padding_idx)


class HfAttnBigramRows(nn.Module):
    """Finds the row that each pair of neighbouring tokens has in a table of bigrams.

    Pairs are hashed into slots, as fastText does. Without `ngram_slots` a slot is a row, and rare
    pairs share the rows of frequent ones. With them a slot holds the row of the pair it belongs to,
    and 0 where it belongs to none: slots are cheap, so there are enough to keep pairs apart.

    Attributes:
        slots: (S,), the row of each slot; None where slots are rows.
    """

    slots: Tensor | None

    def __init__(self, config: HfAttnConfig) -> None:
        super().__init__()
        self.num_slots = config.ngram_slots or config.ngram_buckets
        slots = torch.zeros(config.ngram_slots, dtype=torch.int32) if config.ngram_slots else None
        self.register_buffer("slots", slots)

    def forward(self, previous_ids: Tensor, input_ids: Tensor) -> Tensor:
        """Gives the row (...) of each pair of ids (...)."""
        slot = hash_bigrams(previous_ids, input_ids, self.num_slots)
        return slot if self.slots is None else self.slots[slot].long()


def _at(places: Tensor | None, tensor: Tensor) -> Tensor:
    """Gives the places (P,) of a tensor (B, T, ...), (B, P, ...); None stands for all."""
    return tensor if places is None else tensor[:, places]


def _spread(weights: Tensor, places: Tensor | None, length: int) -> Tensor:
    """Gives the weights (B, P) of those places among 0 at all others, (B, T)."""
    if places is None:
        return weights
    return weights.new_zeros(len(weights), length).index_copy(1, places, weights)


def ids_before(input_ids: Tensor, attention_mask: Tensor, pad_token_id: int) -> Tensor:
    """Gives the id before each token (B, T), the pad id before the first one."""
    rank = attention_mask.cumsum(-1)
    ids = input_ids.masked_fill(~attention_mask, pad_token_id)
    before_first = F.pad(torch.zeros_like(ids), (0, 1)) + pad_token_id
    in_a_row = before_first.scatter(-1, rank * attention_mask, ids)
    return in_a_row.gather(-1, (rank - 1).clamp(min=0))


def hash_bigrams(previous_ids: Tensor, input_ids: Tensor, num_slots: int) -> Tensor:
    """Gives the slot (...) of each pair of ids (...)."""
    # Ids stay far below 2**31, so no product leaves 63 bits; both factors are primes.
    hashed = previous_ids.long() * 1_000_003 + input_ids.long() * 16_777_619
    return hashed % 2_147_483_647 % num_slots


class HfAttnPooler(nn.Module):
    """Weighs the tokens of a text, all the same or by a learned score of the token alone."""

    def __init__(self, config: HfAttnConfig) -> None:
        super().__init__()
        self.score_proj = (
            nn.Linear(config.hidden_size, 1, bias=False)
            if config.classifier_pooling == "static"
            else None
        )

    def forward(self, features: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Gives pooling weights p and the scores behind them, from features (B, T, D).

        Returns:
            The weights (B, T), 0 at padding and summing to 1 for a text with tokens, and the scores
            (B, T) that they are the softmax of.
        """
        scores = self.scores(features)
        return pool_by_scores(scores, attention_mask, self.score_proj is not None), scores

    def scores(self, features: Tensor) -> Tensor:
        """Gives the pooling scores (...) of features (..., D): 0 where all count the same."""
        if self.score_proj is None:
            return _at_least_float32(torch.zeros_like(features[..., 0]))
        return _at_least_float32(self.score_proj(features).squeeze(-1))


def pool_by_scores(scores: Tensor, attention_mask: Tensor, is_static: bool) -> Tensor:
    """Gives the pooling weights p (B, T), 0 at padding and summing to 1 for a text with tokens.

    Args:
        scores: (B, T), the pooling scores; only their dtype matters for a mean.
        attention_mask: (B, T), True at tokens and False at padding.
        is_static: Whether the weights are the scores' softmax, and not a mean.
    """
    if is_static:
        return hide_scores(scores, attention_mask).softmax(-1) * attention_mask
    weights = attention_mask.to(scores.dtype)
    return weights / weights.sum(-1, keepdim=True).clamp(min=1)


def hide_scores(scores: Tensor, mask: Tensor) -> Tensor:
    """Gives the scores with the dtype's lowest number where the mask is False."""
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min)


class HfAttnRelativeBias(nn.Module):
    """Scores the distance between two tokens, r[bucket(j - i)].

    Source: Raffel et al. 2020 (T5), section 2.1: one learned scalar for each bucket of distances,
    exact for near tokens and growing with the logarithm of the distance for far ones.
    """

    buckets: Tensor

    def __init__(self, config: HfAttnConfig) -> None:
        super().__init__()
        self.num_buckets = config.relative_attention_num_buckets
        self.max_distance = config.relative_attention_max_distance
        if self.num_buckets:
            self.weight = nn.Parameter(torch.zeros(self.num_buckets))
            self.register_buffer("buckets", self.tabulate_buckets(), persistent=False)

    def forward(self, length: int, device: torch.device) -> Tensor | None:
        """Gives the scores (2 T,) of the distances -T ... T - 1, or None without buckets."""
        if not self.num_buckets:
            return None
        return self.weight[self.buckets[distance_places(length, self.max_distance, device)]]

    def tabulate_buckets(self) -> Tensor:
        """Gives the bucket of each distance j - i from -max_distance to max_distance.

        Farther ones share the buckets at the ends.
        """
        distance = torch.arange(-self.max_distance, self.max_distance + 1)
        one_way = self.num_buckets // 2
        near = one_way // 2
        steps = distance.abs()
        beyond = torch.log(steps.clamp(min=near) / near) / math.log(self.max_distance / near)
        far = (near + (beyond * (one_way - near)).long()).clamp(max=one_way - 1)
        return torch.where(steps < near, steps, far) + one_way * (distance > 0)


def distance_places(length: int, max_distance: int, device: torch.device) -> Tensor:
    """Gives where the distances -T ... T - 1 stand from -max_distance on, (2 T,).

    Farther ones stand at the ends.
    """
    distance = torch.arange(2 * length, device=device) - length
    return distance.clamp(-max_distance, max_distance) + max_distance


class Attended(NamedTuple):
    """What [`HfAttnAttention`] gives.

    Attributes:
        pooled: (B, D), the attended text, W_v sum_j a_j (x_j - reference).
        received: (B, T), the attention received a = p A.
        weights: (B, 1, T, T), the attention weights A, or None.
        scores: (B, 1, T, T), what they are the softmax of, or None.
        values: (B, T, D), the attended values A W_v x, or None.
        query: (B, T, K).
        key: (B, T, K).
    """

    pooled: Tensor
    received: Tensor
    weights: Tensor | None
    scores: Tensor | None
    values: Tensor | None
    query: Tensor
    key: Tensor


# Attention received, weights, scores and values, of all queries or of a block of them.
Block: TypeAlias = tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]


class HfAttnScoredAttention(GradientCheckpointingLayer):
    """What attention is from queries and keys on: scores, softmax, and how the text is weighed.

    Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.2.1; for the window, Beltagy
    et al. 2020, "Longformer", section 3.1.
    """

    def __init__(
        self, config: HfAttnConfig, relative_bias: "HfAttnRelativeBias | HfAttnFoldedRelativeBias"
    ) -> None:
        super().__init__()
        self.window = config.attention_window
        self.attention_dropout = config.attention_dropout
        self.relative_bias = relative_bias

    def attend_all(
        self,
        query: Tensor,
        key: Tensor,
        pool_weights: Tensor,
        attention_mask: Tensor,
        *,
        value: Tensor | None = None,
        output_attentions: bool = False,
        output_scores: bool = False,
        places: Tensor | None = None,
        length: int | None = None,
    ) -> Block:
        """Attends between all tokens of each text, in blocks where they are many.

        Args:
            query: (B, T, K), already divided by sqrt(K).
            key: (B, T, K).
            pool_weights: (B, T), how the text weighs its tokens, p.
            attention_mask: (B, T), True at tokens and False at padding.
            value: (B, T, N), what is to be attended to, or None.
            output_attentions: Whether to give the attention weights.
            output_scores: Whether to give the scores that they are the softmax of.
            places: (T,), where the tokens stand in their texts, rising; by default side by side.
            length: Number of places of a text, by default T.

        Returns:
            Attention received (B, T), weights and scores (B, 1, T, T) or None, and the attended
            values (B, T, N) or None.
        """
        # Who asks for all pairs of tokens pays for them: they are computed as one matrix.
        wants_pairs = output_attentions or output_scores or torch.compiler.is_exporting()
        if not wants_pairs and self.cuts_into_pieces(key.shape[1]):
            pieces = _Pieces(key.shape[1], ROWS_PER_PIECE, self.window)
            return self._attend_in_pieces(pieces, query, key, pool_weights, attention_mask, value)
        distance_scores = self.relative_bias(key.shape[1] if length is None else length, key.device)
        if (
            not wants_pairs
            and not torch.compiler.is_compiling()  # each text has a size of its own
            and value is None
            and key.shape[0] > 1
            and key.shape[0] * key.shape[1] ** 2 > MAX_SCORES_PER_BLOCK
        ):
            return self._attend_one_by_one(
                query, key, pool_weights, attention_mask, places, distance_scores
            )
        attend = partial(
            self.attend,
            key=key,
            value=value,
            attention_mask=attention_mask,
            distance_scores=distance_scores,
            output_attentions=output_attentions,
            output_scores=output_scores,
            places=places,
        )
        return self._attend_in_blocks(attend, query, pool_weights)

    def cuts_into_pieces(self, length: int) -> bool:
        """Says whether a window cuts texts of so many tokens, side by side, into pieces."""
        return bool(self.window) and length > ROWS_PER_PIECE + 2 * self.window

    def _attend_in_pieces(
        self,
        pieces: "_Pieces",
        query: Tensor,
        key: Tensor,
        pool_weights: Tensor,
        attention_mask: Tensor,
        value: Tensor | None,
    ) -> Block:
        """Attends in each piece of the texts as if it were a text, so that cost is linear in T."""
        distance_scores = self.relative_bias(pieces.width, key.device)

        def attend(
            query: Tensor,
            pool_weights: Tensor,
            key: Tensor,
            attention_mask: Tensor,
            value: Tensor | None,
        ) -> Block:
            return self.attend(
                query,
                pool_weights,
                self.window,
                key=key,
                value=value,
                attention_mask=attention_mask,
                distance_scores=distance_scores,
            )

        inputs = (
            pieces.queries(query),
            pieces.queries(pool_weights),
            pieces.cut(key),
            pieces.cut(attention_mask),
            None if value is None else pieces.cut(value),
        )
        at_once = max(1, MAX_SCORES_PER_BLOCK // (pieces.rows * pieces.width))
        blocks = []
        for start in range(0, len(inputs[0]), at_once):
            part = slice(start, start + at_once)
            these = (None if tensor is None else tensor[part] for tensor in inputs)
            blocks.append(_recompute_in_backward(attend, *these))
        received = pieces.add_up(torch.cat([block[0] for block in blocks]))
        if value is None:
            return received, None, None, None
        return received, None, None, pieces.join(torch.cat([block[3] for block in blocks]))

    def score(
        self, query: Tensor, key: Tensor, distance: Tensor, distance_scores: Tensor | None
    ) -> Tensor:
        """Gives what each query scores each key, the lowest number beyond the window.

        Args:
            query: (B, Q, K).
            key: (B, T, K).
            distance: (Q, T) or (B, Q, T), how far right of the query the key stands.
            distance_scores: (2 T,), what [`HfAttnRelativeBias`] gives for the text's length T.

        Returns:
            (B, Q, T), at least float32.
        """
        scores = _at_least_float32(query @ key.transpose(-1, -2))
        if distance_scores is not None:
            by_distance = distance_scores[distance + distance_scores.shape[0] // 2]
            scores = scores + by_distance.to(scores.dtype)
        if self.window:
            scores = scores.masked_fill(distance.abs() > self.window, torch.finfo(scores.dtype).min)
        return scores

    def _attend_one_by_one(
        self,
        query: Tensor,
        key: Tensor,
        pool_weights: Tensor,
        attention_mask: Tensor,
        places: Tensor | None,
        distance_scores: Tensor | None,
    ) -> Block:
        """Attends in each text on its own: beside a long one, all others are mostly padding.

        Args:
            query: (B, T, K).
            key: (B, T, K).
            pool_weights: (B, T).
            attention_mask: (B, T).
            places: (T,), or None where the tokens stand side by side.
            distance_scores: (2 L,) for texts of L places, or None.
        """
        if places is None:
            places = torch.arange(key.shape[1], device=key.device)
        received = torch.zeros_like(pool_weights)
        for row, mask in enumerate(attention_mask):
            this, real = slice(row, row + 1), mask.nonzero().squeeze(-1)
            if not len(real):
                continue
            attend = partial(
                self.attend,
                key=key[this, real],
                value=None,
                attention_mask=mask[None, real],
                distance_scores=distance_scores,
                places=places[real],
            )
            block = self._attend_in_blocks(
                attend, query[this, real], pool_weights[this, real], recomputes=True
            )
            received[row, real] = block[0].squeeze(0)
        return received, None, None, None

    def _attend_in_blocks(
        self,
        attend: Callable[..., Any],
        query: Tensor,
        pool_weights: Tensor,
        *,
        recomputes: bool = False,
    ) -> Block:
        """Runs as many queries at once as memory makes good, and all in an export.

        Args:
            attend: Attends from some of the queries.
            query: (B, T, K).
            pool_weights: (B, T).
            recomputes: Whether a single block, too, is computed again in the backward pass.
        """
        batch_size, length = pool_weights.shape
        rows = max(1, math.ceil(MAX_SCORES_PER_BLOCK / max(1, batch_size) / max(1, length)))
        # In this order: an export that compared the sizes would be bound to them.
        if torch.compiler.is_exporting() or (rows >= length and not recomputes):
            block: Block = attend(query, pool_weights, 0)
            return block
        blocks = [
            _recompute_in_backward(
                attend, query[:, start : start + rows], pool_weights[:, start : start + rows], start
            )
            for start in range(0, length, rows)
        ]
        received = torch.stack([block[0] for block in blocks]).sum(0)
        weights, scores, values = (
            None if parts[0] is None else torch.cat(parts, dim=-2)
            for parts in zip(*(block[1:] for block in blocks), strict=True)
        )
        return received, weights, scores, values

    def attend(
        self,
        query: Tensor,
        pool_weights: Tensor,
        start: int,
        *,
        key: Tensor,
        value: Tensor | None,
        attention_mask: Tensor,
        distance_scores: Tensor | None,
        output_attentions: bool = False,
        output_scores: bool = False,
        places: Tensor | None = None,
    ) -> Block:
        """Attends from a block of queries to all keys: softmax, then weighted sums.

        Args:
            query: (B, Q, K), already divided by sqrt(K).
            pool_weights: (B, Q), how the text weighs the tokens of the queries, p.
            start: Which token the first query is of.
            key: (B, T, K).
            value: (B, T, N), or None.
            attention_mask: (B, T), True at tokens and False at padding.
            distance_scores: (2 T,), what [`HfAttnRelativeBias`] gives, or None.
            output_attentions: Whether to give the attention weights.
            output_scores: Whether to give the scores that they are the softmax of.
            places: (T,), where the tokens stand; by default side by side.

        Returns:
            Attention received (B, T), weights and scores (B, 1, Q, T) or None, and the attended
            values (B, Q, N) or None.
        """
        if places is None:
            places = torch.arange(key.shape[1], device=key.device)
        distance = places - places[start : start + query.shape[1], None]
        scores = self.score(query, key, distance, distance_scores)
        # In place, as nobody else reads them: memory for a second matrix costs more than the fill.
        scores.masked_fill_(~attention_mask[:, None], torch.finfo(scores.dtype).min)
        weights = scores.softmax(-1)
        query_mask = attention_mask[:, start : start + query.shape[1], None]
        attentions = None
        if output_attentions:
            attentions = (weights * (query_mask & attention_mask[:, None])).unsqueeze(1)
            weights = attentions.squeeze(1)  # what is returned gets the gradient
        dropped = F.dropout(weights, self.attention_dropout, self.training)
        received = (pool_weights.unsqueeze(1) @ dropped).squeeze(1)
        values = None
        if value is not None:  # nothing flows to padding, whether attentions are wanted or not
            values = (dropped.to(value.dtype) @ value) * query_mask
        return received, attentions, scores.unsqueeze(1) if output_scores else None, values


class _Pieces:
    """Texts cut into pieces of so many queries each, with the window to either side.

    Args:
        length: T.
        rows: Queries of a piece.
        window: Tokens that a query sees to either side.
    """

    def __init__(self, length: int, rows: int, window: int) -> None:
        self.length = length
        self.rows = rows
        self.window = window
        self.count = math.ceil(length / rows)
        self.width = rows + 2 * window
        self._extra = self.count * rows - length

    def cut(self, tokens: Tensor) -> Tensor:
        """Gives what each piece sees, (B count, width, ...), of tokens (B, T, ...)."""
        padded = _pad_tokens(tokens, self.window, self.window + self._extra)
        seen: Tensor = padded.unfold(1, self.width, self.rows).movedim(-1, 2).flatten(0, 1)
        return seen

    def queries(self, tokens: Tensor) -> Tensor:
        """Gives the tokens that attend in each piece, (B count, rows, ...), of (B, T, ...)."""
        padded = _pad_tokens(tokens, 0, self._extra)
        rows: Tensor = padded.unflatten(1, (self.count, self.rows)).flatten(0, 1)
        return rows

    def join(self, pieces: Tensor) -> Tensor:
        """Gives (B, T, N) of the queries of the pieces, (B count, rows, N)."""
        tokens: Tensor = pieces.unflatten(0, (-1, self.count)).flatten(1, 2)[:, : self.length]
        return tokens

    def add_up(self, pieces: Tensor) -> Tensor:
        """Gives (B, T), the sums of what the pieces say of a token, (B count, width)."""
        places = torch.arange(self.width, device=pieces.device)
        places = places + self.rows * torch.arange(self.count, device=pieces.device).unsqueeze(1)
        of_text: Tensor = pieces.unflatten(0, (-1, self.count)).flatten(1)
        sums = of_text.new_zeros(len(of_text), self.count * self.rows + 2 * self.window)
        sums = sums.index_add(1, places.flatten(), of_text)
        return sums[:, self.window : self.window + self.length]


def _pad_tokens(tokens: Tensor, before: int, after: int) -> Tensor:
    """Gives tokens (B, T, ...) with zeros before the first and after the last."""
    return F.pad(tokens, (0, 0) * (tokens.dim() - 2) + (before, after))


class HfAttnAttention(HfAttnScoredAttention):
    """One head of scaled dot-product attention between the tokens of a text.

    A classification needs only how the pooled text weighs the tokens, a = p A, and one weighted
    sum of features: the value projection runs once for each text and not for each token.
    """

    relative_bias: HfAttnRelativeBias

    def __init__(self, config: HfAttnConfig) -> None:
        super().__init__(config, HfAttnRelativeBias(config))
        self.scaling = config.head_dim**-0.5
        self.q_proj = nn.Linear(config.hidden_size, config.head_dim, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, config.head_dim, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(
        self,
        features: Tensor,
        pool_weights: Tensor,
        attention_mask: Tensor,
        reference: Tensor | None = None,
        output_attentions: bool = False,
        output_scores: bool = False,
        output_values: bool = False,
        places: Tensor | None = None,
        length: int | None = None,
    ) -> Attended:
        """Attends between the tokens of each text.

        Args:
            features: (B, T, D), token features x.
            pool_weights: (B, T), how the text weighs its tokens, p.
            attention_mask: (B, T), True at tokens and False at padding.
            reference: (D,), subtracted from the features that are summed.
            output_attentions: Whether to give the attention weights.
            output_scores: Whether to give the scores that they are the softmax of.
            output_values: Whether to give the values that each token attends to.
            places: (T,), where the tokens stand in their texts, rising; by default side by side.
            length: Number of places of a text, by default T.
        """
        query, key = self.project(features)
        received, weights, scores, values = self.attend_all(
            query,
            key,
            pool_weights,
            attention_mask,
            value=self.v_proj(features) if output_values else None,
            output_attentions=output_attentions,
            output_scores=output_scores,
            places=places,
            length=length,
        )
        pooled = self.v_proj(weighted_sum(received, features, reference))
        return Attended(pooled, received, weights, scores, values, query, key)

    def project(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Gives queries, divided by sqrt(K), and keys, both (..., K), of features (..., D)."""
        return self.q_proj(features) * self.scaling, self.k_proj(features)


def _recompute_in_backward(function: Callable[..., Any], *args: Any) -> Any:
    """Calls the function; where a gradient is wanted it is run again instead of remembered."""
    if torch.is_grad_enabled():
        return checkpoint(function, *args, use_reentrant=False)
    return function(*args)


def weighted_sum(weights: Tensor, features: Tensor, reference: Tensor | None = None) -> Tensor:
    """Gives sum_j w_j (x_j - reference) in the features' dtype, summed in float32 or finer.

    Args:
        weights: (B, T), 0 at padding.
        features: (B, T, D), token features x.
        reference: (D,), or None for 0.

    Returns:
        (B, D); 0 for a text without tokens.
    """
    total = (weights.unsqueeze(1) @ features.to(weights.dtype)).squeeze(1)
    if reference is not None:
        total = total - weights.sum(-1, keepdim=True) * reference
    return total.to(features.dtype)


class HfAttnClassificationHead(nn.Module):
    """Turns a pooled text into class logits, and keeps the reference they are counted from.

    The reference is the mean token feature of the training texts. With it the bias reads as the
    logit of a text made of average tokens, and a token's contribution as its difference to one.
    """

    reference: Tensor

    def __init__(self, config: HfAttnConfig) -> None:
        super().__init__()
        self.out_proj = nn.Linear(config.hidden_size, len(config.class_names), bias=False)
        self.bias = nn.Parameter(torch.zeros(len(config.class_names)))
        self.register_buffer("reference", torch.zeros(config.hidden_size))

    def forward(self, pooled: Tensor) -> Tensor:
        """Gives logits (B, C), at least float32, from pooled texts (B, D)."""
        return _at_least_float32(self.out_proj(pooled)) + self.bias

    @torch.no_grad()
    def divide_logits(self, temperature: float) -> None:
        """Divides all logits, and with them the contributions, by a temperature.

        The order of the classes stays, and so does the reference.

        Args:
            temperature: Above 0; above 1 makes the probabilities more even.

        Raises:
            ValueError: If it is not a number above 0.
            TypeError: If the weights are not plain: adapted by LoRA, for example.

        Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2.
        """
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature must be a number above 0, got {temperature!r}.")
        if type(self.out_proj) is not nn.Linear:
            raise TypeError(
                "expected plain weights to divide, got a head whose out_proj is a "
                f"{type(self.out_proj).__name__}. Merge what adapts it first: "
                "model.merge_and_unload()."
            )
        self.out_proj.weight.div_(temperature)
        self.bias.div_(temperature)


class HfAttnFoldedTable(nn.Module):
    """What the model reads of tokens on their own, one row for each token or bucket of bigrams.

    In int8 each row of a table has a factor, its largest number divided by 127. Pooling scores are
    single numbers and stay in float32.

    Args:
        rows: V, or the number of buckets.
        config: Of the folded model.
    """

    pool_scores: Tensor | None

    def __init__(self, rows: int, config: HfAttnFoldedConfig) -> None:
        super().__init__()
        dtype = getattr(torch, config.table_dtype)
        widths = {
            "query": config.head_dim,
            "key": config.head_dim,
            "direct_values": config.value_width,
            "context_values": config.value_width,
        }
        for name, width in widths.items():
            self.register_buffer(name, torch.zeros(rows, width, dtype=dtype))
            if dtype == torch.int8:
                self.register_buffer(f"{name}_scale", torch.zeros(rows))
        self.register_buffer(
            "pool_scores", torch.zeros(rows) if config.classifier_pooling == "static" else None
        )

    def forward(self, rows: Tensor) -> TokenTerms:
        """Looks rows (...) up; values are as wide as the tables, (..., W)."""
        query = self._look_up("query", rows)
        return TokenTerms(
            query,
            self._look_up("key", rows),
            query.new_zeros(rows.shape)
            if self.pool_scores is None
            else self.pool_scores[rows].to(query.dtype),
            self._look_up("direct_values", rows),
            self._look_up("context_values", rows),
        )

    def _look_up(self, name: str, rows: Tensor) -> Tensor:
        found = _at_least_float32(F.embedding(rows, getattr(self, name)))
        scale = getattr(self, f"{name}_scale", None)
        return found if scale is None else found * _at_least_float32(scale[rows]).unsqueeze(-1)


class HfAttnFoldedTables(nn.Module):
    """The tables of tokens and, for a model with bigrams, those of the rows of pairs."""

    def __init__(self, config: HfAttnFoldedConfig) -> None:
        super().__init__()
        self.pad_token_id = config.pad_token_id or 0
        self.ngram_buckets = config.ngram_buckets
        self.tokens = HfAttnFoldedTable(config.vocab_size, config)
        if self.ngram_buckets:
            self.ngram_rows = HfAttnBigramRows(config)
            self.ngrams = HfAttnFoldedTable(self.ngram_buckets, config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> TokenTerms:
        """Looks up tokens (B, T), each with the one before it where there are bigrams."""
        if not self.ngram_buckets:
            return self.look_up(input_ids, None)
        return self.look_up(input_ids, ids_before(input_ids, attention_mask, self.pad_token_id))

    def look_up(self, input_ids: Tensor, previous_ids: Tensor | None) -> TokenTerms:
        """Looks up tokens (...) beside those before them (...), None without bigrams."""
        terms: TokenTerms = self.tokens(input_ids)
        if previous_ids is None:
            return terms
        added = self.ngrams(self.ngram_rows(previous_ids, input_ids))
        return TokenTerms(*(one + other for one, other in zip(terms, added, strict=True)))


class HfAttnFoldedRelativeBias(nn.Module):
    """Scores the distance between two tokens, from a table of all distances that differ.

    No logarithm has to be taken, and rounded, where the model runs. In float32 the table takes 1 KB
    for the usual `max_distance` of 128, and 8 MB for the largest, a million.

    Attributes:
        scores: (2 max_distance + 1,), from -max_distance on; None without buckets.
    """

    scores: Tensor | None

    def __init__(self, config: HfAttnFoldedConfig) -> None:
        super().__init__()
        self.max_distance = config.relative_attention_max_distance
        has_scores = config.relative_attention_num_buckets > 0
        self.register_buffer(
            "scores", torch.zeros(2 * self.max_distance + 1) if has_scores else None
        )

    def forward(self, length: int, device: torch.device) -> Tensor | None:
        """Gives the scores (2 T,) of the distances -T ... T - 1, or None without buckets."""
        if self.scores is None:
            return None
        return self.scores[distance_places(length, self.max_distance, device)]


class HfAttnFoldedAttention(HfAttnScoredAttention):
    """The attention of a folded model: its queries and keys come from tables."""

    relative_bias: HfAttnFoldedRelativeBias

    def __init__(self, config: HfAttnFoldedConfig) -> None:
        super().__init__(config, HfAttnFoldedRelativeBias(config))

    def forward(
        self,
        terms: TokenTerms,
        pool_weights: Tensor,
        attention_mask: Tensor,
        output_attentions: bool = False,
        output_scores: bool = False,
    ) -> Block:
        """Attends between the tokens of each text, as `attend_all` does, without values."""
        return self.attend_all(
            terms.query,
            terms.key,
            pool_weights,
            attention_mask,
            output_attentions=output_attentions,
            output_scores=output_scores,
        )


class HfAttnFoldedHead(nn.Module):
    """Turns pooled values into class logits; they are logits already unless C is above D.

    Attributes:
        bias: (C,), the logits of a text without tokens.
        reference: (D,), what the values in the tables are counted from; kept for the record.
    """

    reference: Tensor

    def __init__(self, config: HfAttnFoldedConfig) -> None:
        super().__init__()
        num_labels, width = len(config.class_names), config.value_width
        self.out_proj = nn.Linear(width, num_labels, bias=False) if width < num_labels else None
        self.bias = nn.Parameter(torch.zeros(num_labels))
        self.register_buffer("reference", torch.zeros(config.hidden_size))
        self.requires_grad_(False)

    def forward(self, pooled: Tensor) -> Tensor:
        """Gives logits (..., C), at least float32, from pooled values (..., W)."""
        return self.project(pooled) + self.bias

    def project(self, values: Tensor) -> Tensor:
        """Gives values (..., C), at least float32, from those of the tables (..., W)."""
        values = _at_least_float32(values)
        if self.out_proj is None:
            return values
        # A dtype that is asked for when loading is that of weights; tables keep their own.
        return _at_least_float32(F.linear(values, self.out_proj.weight.to(values.dtype)))


class HfAttnPreTrainedModel(PreTrainedModel):
    """Loads, saves and initialises the models of this file."""

    config: HfAttnConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _no_split_modules = [  # noqa: RUF012
        "HfAttnEmbeddings",
        "HfAttnAttention",
        "HfAttnClassificationHead",
    ]
    # The one computation runs under both names; see `get_correct_attn_implementation`.
    _supports_sdpa = True
    _can_compile_fullgraph = True
    # Which Auto class loads which class from the code that is saved along.
    _auto_classes: ClassVar[dict[str, str]] = {
        "AutoModel": "HfAttnModel",
        "AutoModelForSequenceClassification": "HfAttnForSequenceClassification",
    }

    def get_correct_attn_implementation(
        self, requested_attention: str | None, is_init_check: bool = False
    ) -> str:
        """Gives the attention implementation: one computation that two names stand for.

        Raises:
            ValueError: If another one than `"eager"` or `"sdpa"` is asked for.
        """
        if requested_attention not in (None, "eager", "sdpa"):
            raise ValueError(
                f'Specified `attn_implementation="{requested_attention}"` is not supported: only '
                f'"eager" and "sdpa" are. {type(self).__name__} pools the attention weights '
                "themselves, which fused kernels do not give. Leave attn_implementation out."
            )
        return super().get_correct_attn_implementation(requested_attention, is_init_check)

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """Saves as the base class does, and notes that the code copied along has both models.

        transformers notes the saved class only; a classifier could then not be loaded as a base
        model, nor the other way round, where this package is not installed.
        """
        noted = getattr(self.config, "auto_map", None) or {}
        classes = {name: f"modeling_hf_attn.{of}" for name, of in self._auto_classes.items()}
        self.config.auto_map = noted | classes
        super().save_pretrained(*args, **kwargs)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, std=module.in_features**-0.5)
        elif isinstance(module, HfAttnRelativeBias) and module.num_buckets:
            init.zeros_(module.weight)
            init.copy_(module.buckets, module.tabulate_buckets())
        elif isinstance(module, HfAttnBigramEmbedding):
            init.zeros_(module.weight)
        elif isinstance(module, HfAttnBigramRows) and module.slots is not None:
            init.zeros_(module.slots)
        elif isinstance(module, HfAttnClassificationHead):
            init.zeros_(module.bias)
            init.zeros_(module.reference)


class HfAttnModel(HfAttnPreTrainedModel):
    """Embeds the tokens of texts, lets them attend to each other, and pools them."""

    _keys_to_ignore_on_load_unexpected = [r"^score\."]  # noqa: RUF012, a classifier's head

    def __init__(self, config: HfAttnConfig) -> None:
        super().__init__(config)
        self.token_dropout = config.token_dropout
        self.embeddings = HfAttnEmbeddings(config)
        self.pooler = HfAttnPooler(config)
        self.attention = HfAttnAttention(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """Gives the token embedding, (V, D)."""
        return self.embeddings.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the token embedding."""
        self.embeddings.embed_tokens = cast(nn.Embedding, value)

    @torch.no_grad()
    def set_known_bigrams(self, pairs: Tensor) -> None:
        """Gives these pairs of tokens rows of their own in the table of bigrams, and others none.

        Rows start at 0: call it before training. A few pairs share the slot of one that stands
        before them, and with it the row; the other way round, a few that are not among these fall
        on a slot that is taken, at most one in `SLOTS_PER_BIGRAM`.

        Args:
            pairs: (P, 2), ids of a token and the one after it, the most important pair first.

        Raises:
            ValueError: If the model has no bigrams, or the pairs are no (P, 2).
        """
        if not self.config.ngram_buckets:
            raise ValueError("expected a model with bigrams, got one with ngram_buckets=0.")
        if pairs.dim() != 2 or pairs.shape[1] != 2:
            raise ValueError(f"pairs must be (pairs, 2), got {tuple(pairs.shape)}.")
        num_slots = 1 << (SLOTS_PER_BIGRAM * max(len(pairs), 1) - 1).bit_length()
        slots = hash_bigrams(pairs[:, 0], pairs[:, 1], num_slots)
        taken, owner = slots.unique(return_inverse=True)
        # The first pair of each slot decides on the order of the rows.
        first = torch.full_like(taken, len(pairs)).scatter_reduce(
            0, owner, torch.arange(len(pairs), device=pairs.device), "amin"
        )
        self.config.ngram_slots, self.config.ngram_buckets = num_slots, len(taken) + 1
        embeddings, device = self.embeddings, self.device
        embeddings.ngram_buckets = self.config.ngram_buckets
        embeddings.ngram_rows = HfAttnBigramRows(self.config).to(device)
        embeddings.embed_ngrams = HfAttnBigramEmbedding(self.config).to(device, self.dtype)
        embeddings.embed_ngrams.weight.zero_()
        rows = first.argsort().argsort() + 1
        cast(Tensor, embeddings.ngram_rows.slots)[taken.to(device)] = rows.to(device, torch.int32)

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        output_last_hidden_state: bool = True,
        output_intermediates: bool = False,
        reference: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> HfAttnModelOutput:
        """Pools each text, and gives the weights it was pooled with.

        Args:
            input_ids: (B, T), token ids; T may be 0 and has no upper limit.
            attention_mask: (B, T), 1 at tokens and 0 at padding, which may be on either side.
                Without it every position counts as a token.
            inputs_embeds: (B, T, D), token embeddings in place of `input_ids`.
            output_attentions: Whether to return the attention weights.
            output_hidden_states: Whether to return the token features.
            output_last_hidden_state: Whether to compute the T x D hidden states at all; a
                classification does without.
            output_intermediates: Whether to return queries, keys and the scores before each
                softmax.
            reference: (D,), subtracted from the token features when they are pooled.
            token_type_ids: (B, T), not used: other models' tokenizers give them.

        Returns:
            The pooled texts, and what was asked for.

        Raises:
            ValueError: If not exactly one of ids and embeddings is given, if the mask is not
                (B, T), or if embeddings come to a model with bigrams.
        """
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        input_ids = _to_ids(input_ids)
        attention_mask = _to_bool_mask(attention_mask, input_ids, inputs_embeds)

        asks_for_tokens = (
            output_attentions
            or output_hidden_states
            or output_last_hidden_state
            or output_intermediates
        )
        length = attention_mask.shape[1]
        kept = self._kept_places(length, attention_mask.device)
        # What is hidden can be left out of the work where nothing of single tokens is asked for.
        # How much it is changes with each draw, and a compiled model has one size for a length.
        places = None
        leaves_out = not (asks_for_tokens or torch.compiler.is_compiling())
        if kept is not None and leaves_out and not self.attention.cuts_into_pieces(length):
            places = kept.nonzero().squeeze(-1)
        features = self.embeddings(input_ids, attention_mask, inputs_embeds, places)
        if kept is not None:
            attention_mask = _at(places, attention_mask & kept)
        pool_weights, pool_scores = self.pooler(features, attention_mask)
        attended = Attended(  # again, as checkpointing gives it back as a mere tuple
            *self.attention(
                features,
                pool_weights,
                attention_mask,
                reference,
                output_attentions=bool(output_attentions),
                output_scores=output_intermediates,
                output_values=output_last_hidden_state,
                places=places,
                length=length,
            )
        )
        last_hidden_state = None if attended.values is None else features + attended.values
        intermediates = {}
        if output_intermediates:
            intermediates = {
                "query": attended.query,
                "key": attended.key,
                "attention_scores": (attended.scores,),
                "pool_scores": pool_scores,
            }
        return HfAttnModelOutput(
            last_hidden_state=last_hidden_state,
            pooler_output=weighted_sum(pool_weights, features, reference) + attended.pooled,
            hidden_states=_present(features, last_hidden_state) if output_hidden_states else None,
            attentions=_present(attended.weights) if output_attentions else None,
            pool_weights=_spread(pool_weights, places, length),
            attention_received=_spread(attended.received, places, length),
            **intermediates,
        )

    def _kept_places(self, length: int, device: torch.device) -> Tensor | None:
        """Gives which places (T,) token dropout leaves to the texts of a batch; None for all.

        The same for all texts, so that what is hidden need not be computed; what stands at a place
        differs from text to text. One at least is left.
        """
        if not (self.training and self.token_dropout and length):
            return None
        drawn = torch.rand(length, device=device)
        return drawn >= drawn.max().clamp(max=self.token_dropout)


def _to_ids(input_ids: Tensor | None) -> Tensor | None:
    """Gives the ids as integers, which what a tokenizer makes of an empty text is not."""
    if input_ids is not None and input_ids.is_floating_point() and not input_ids.shape[1]:
        return input_ids.long()
    return input_ids


def _to_bool_mask(
    attention_mask: Tensor | None, input_ids: Tensor | None, inputs_embeds: Tensor | None
) -> Tensor:
    """Gives the mask (B, T) of the tokens, True everywhere without one."""
    if input_ids is not None and inputs_embeds is None:
        tokens = input_ids
    elif inputs_embeds is not None and input_ids is None:
        tokens = inputs_embeds[..., 0]
    else:
        raise ValueError(
            "Exactly one of input_ids and inputs_embeds is expected, got "
            f"{'neither' if input_ids is None else 'both'}."
        )
    if tokens.dim() != 2:
        raise ValueError(
            "Inputs must be a batch, (batch, tokens), got ids or embeddings of shape "
            f"{tuple(tokens.shape if inputs_embeds is None else inputs_embeds.shape)}. For one "
            "text, add a first dimension of 1."
        )
    if attention_mask is None:
        return torch.ones_like(tokens, dtype=torch.bool)
    if attention_mask.shape != tokens.shape:
        raise ValueError(
            "attention_mask must be (batch, tokens) like the input, "
            f"{tuple(tokens.shape)}, got {tuple(attention_mask.shape)}."
        )
    return attention_mask.to(torch.bool)


def _present(*tensors: Tensor | None) -> tuple[Tensor, ...]:
    return tuple(tensor for tensor in tensors if tensor is not None)


_INTERMEDIATES = ("query", "key", "attention_scores", "pool_scores")


class _Task(NamedTuple):
    """What transformers' loss reads from a configuration, and must not write there."""

    num_labels: int
    problem_type: str


class HfAttnClassifier(HfAttnPreTrainedModel):
    """What the plain and the folded classifier share: a loss, and logits that are sums over tokens.

    Attributes:
        num_labels: C.
        score: The head, with `bias` (C,) and `reference` (D,).
    """

    # The loss is a mean over the batch: Trainer is to divide it by the accumulation steps.
    accepts_loss_kwargs = False
    num_labels: int
    score: HfAttnClassificationHead | HfAttnFoldedHead

    @property
    def attention_layer(self) -> HfAttnScoredAttention:
        """The attention, which scores pairs of tokens."""
        raise NotImplementedError

    def token_terms(self, input_ids: Tensor, previous_ids: Tensor | None) -> TokenTerms:
        """Gives what the model reads of tokens on their own, each beside any token before it.

        Args:
            input_ids: (B, T).
            previous_ids: (B, T), the token before each; None for a model without bigrams.
        """
        raise NotImplementedError

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Gives the mean loss; a problem type that is not set is told from the labels.

        Only training stores it, so that a saved model's pipeline picks softmax or sigmoid.
        """
        problem_type = self.config.problem_type
        if problem_type is None:
            if self.num_labels == 1:
                problem_type = "regression"
            elif labels.is_floating_point():
                problem_type = "multi_label_classification"
            else:
                problem_type = "single_label_classification"
            if self.training:
                self.config.problem_type = problem_type
        task = _Task(self.num_labels, problem_type)
        return cast(Tensor, self.loss_function(labels=labels, pooled_logits=logits, config=task))

    def _contributions(
        self,
        pool_weights: Tensor,
        received: Tensor,
        direct_values: Tensor,
        context_values: Tensor,
    ) -> dict[str, Tensor]:
        """Distributes the logits over the tokens, from the same weights that made them."""
        direct = pool_weights.unsqueeze(-1) * direct_values
        context = received.unsqueeze(-1) * context_values
        return {
            "contributions": direct + context,
            "direct_contributions": direct,
            "context_contributions": context,
            "pool_weights": pool_weights,
            "attention_received": received,
        }


class HfAttnForSequenceClassification(HfAttnClassifier):
    """Classifies texts, and can say what each token adds to each logit.

    Example:
        >>> outputs = model(**tokenizer("oil prices rose", return_tensors="pt"),
        ...                 output_contributions=True)
        >>> outputs.bias + outputs.contributions.sum(1)  # equals outputs.logits
    """

    score: HfAttnClassificationHead

    def __init__(self, config: HfAttnConfig) -> None:
        super().__init__(config)
        self.num_labels = len(config.class_names)
        self.model = HfAttnModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.score = HfAttnClassificationHead(config)
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        output_contributions: bool = False,
        output_intermediates: bool = False,
        token_type_ids: Tensor | None = None,
    ) -> HfAttnClassifierOutput:
        """Gives the logits of each text, and the loss if labels are given.

        Args:
            input_ids: (B, T), token ids; T may be 0 and has no upper limit.
            attention_mask: (B, T), 1 at tokens and 0 at padding, which may be on either side.
                Without it every position counts as a token.
            inputs_embeds: (B, T, D), token embeddings in place of `input_ids`.
            labels: (B,) class ids, (B, C) float 0 or 1 for many labels, or (B,) or (B, C) floats
                to regress to.
            output_attentions: Whether to return the attention weights.
            output_hidden_states: Whether to return the token features.
            output_contributions: Whether to return what each token adds to each logit, with the
                weights it comes from.
            output_intermediates: Whether to return what the logits are computed from on the way:
                queries, keys, the scores before each softmax, and the class values of each token.
            token_type_ids: (B, T), not used: other models' tokenizers give them.

        Returns:
            The logits, and what was asked for.

        Raises:
            ValueError: As [`HfAttnModel.forward`] does.
        """
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        pooled = self.model(
            input_ids,
            attention_mask,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=(
                output_hidden_states or output_contributions or output_intermediates
            ),
            output_last_hidden_state=bool(output_hidden_states),
            output_intermediates=output_intermediates,
            reference=self.score.reference,
            return_dict=True,
        )
        logits = self.score(self.dropout(pooled.pooler_output))
        details: dict[str, Any] = {}
        if output_contributions or output_intermediates:
            values = self._class_values(pooled.hidden_states[0])
            if output_contributions:
                details |= self._contributions(
                    pooled.pool_weights, pooled.attention_received, *values
                )
                details["bias"] = self.score(torch.zeros_like(self.score.reference))
            if output_intermediates:
                details |= {name: pooled[name] for name in _INTERMEDIATES}
                details |= {"direct_values": values[0], "context_values": values[1]}
        return HfAttnClassifierOutput(
            loss=None if labels is None else self._loss(logits, labels),
            logits=logits,
            hidden_states=pooled.hidden_states if output_hidden_states else None,
            attentions=pooled.attentions,
            **details,
        )

    def _class_values(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Gives W_c (x - reference) and W_c W_v (x - reference), both (..., C), of (..., D)."""
        size = features.shape[-1]
        identity = torch.eye(size, dtype=features.dtype, device=features.device)
        # Module calls only: the weights may be int8 or carry LoRA, which a product would miss.
        both = self.score.out_proj(torch.cat([identity, self.model.attention.v_proj(identity)]))
        # (2 C, D), W_c above W_c W_v: a product with few columns is slow the other way round.
        to_classes = both.reshape(2, size, -1).transpose(1, 2).reshape(-1, size)
        values = _at_least_float32(F.linear(features, to_classes))
        values = values - _at_least_float32(F.linear(self.score.reference, to_classes))
        return cast(tuple[Tensor, Tensor], values.chunk(2, dim=-1))

    @property
    def attention_layer(self) -> HfAttnScoredAttention:
        """The attention, which scores pairs of tokens."""
        attention: HfAttnAttention = self.model.attention
        return attention

    def token_terms(self, input_ids: Tensor, previous_ids: Tensor | None) -> TokenTerms:
        """Gives what the model reads of tokens on their own; see [`HfAttnClassifier`]."""
        features = self.model.embeddings.embed(input_ids, previous_ids)
        query, key = self.model.attention.project(features)
        pool_scores = self.model.pooler.scores(features)
        return TokenTerms(query, key, pool_scores, *self._class_values(features))

    @torch.no_grad()
    def set_reference(self, reference: Tensor) -> None:
        """Counts contributions from another token feature; logits of texts with tokens stay.

        What the reference takes from the tokens goes into the bias.

        Args:
            reference: (D,), for example the mean token feature of the training texts.
        """
        shift = reference.to(self.score.reference) - self.score.reference
        self.score.bias.add_(self.score.out_proj(shift + self.model.attention.v_proj(shift)))
        self.score.reference.copy_(reference)


class HfAttnFoldedForSequenceClassification(HfAttnClassifier):
    """Classifies texts from tables of what each token alone decides; see `hf_attn.fold`.

    Its logits and explanations are those of the model that was folded. It cannot be trained, and
    has neither embeddings nor hidden states.
    """

    config: HfAttnFoldedConfig
    score: HfAttnFoldedHead
    attention: HfAttnFoldedAttention
    supports_gradient_checkpointing = False
    _no_split_modules = [  # noqa: RUF012
        "HfAttnFoldedTables",
        "HfAttnFoldedAttention",
        "HfAttnFoldedHead",
    ]
    _auto_classes: ClassVar[dict[str, str]] = {
        "AutoModelForSequenceClassification": "HfAttnFoldedForSequenceClassification",
    }

    def __init__(self, config: HfAttnFoldedConfig) -> None:
        super().__init__(config)
        self.num_labels = len(config.class_names)
        self.tables = HfAttnFoldedTables(config)
        self.attention = HfAttnFoldedAttention(config)
        self.score = HfAttnFoldedHead(config)
        self.requires_grad_(False)
        self.post_init()
        self.eval()

    def train(self, mode: bool = True) -> "HfAttnFoldedForSequenceClassification":
        """Refuses to be trained.

        Raises:
            ValueError: If `mode` is True.
        """
        if mode:
            raise ValueError(
                "A folded model cannot be trained: its tables no longer have the weights that they "
                "were computed from. Train the model that it was folded from, and fold it again "
                "with hf_attn.fold or `hf-attn fold`."
            )
        super().train(mode)
        return self

    @property
    def attention_layer(self) -> HfAttnScoredAttention:
        """The attention, which scores pairs of tokens."""
        return self.attention

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        output_contributions: bool = False,
        output_intermediates: bool = False,
        token_type_ids: Tensor | None = None,
    ) -> HfAttnClassifierOutput:
        """Gives the logits of each text, and the loss if labels are given.

        Args:
            input_ids: (B, T), token ids; T may be 0 and has no upper limit.
            attention_mask: (B, T), 1 at tokens and 0 at padding, which may be on either side.
                Without it every position counts as a token.
            inputs_embeds: Refused: tables are looked up by ids.
            labels: As [`HfAttnForSequenceClassification.forward`] takes them.
            output_attentions: Whether to return the attention weights.
            output_hidden_states: Refused where True: there are none.
            output_contributions: Whether to return what each token adds to each logit, with the
                weights it comes from.
            output_intermediates: Whether to return what the logits are computed from on the way:
                queries, keys, the scores before each softmax, and the class values of each token.
            token_type_ids: (B, T), not used: other models' tokenizers give them.

        Returns:
            The logits, and what was asked for.

        Raises:
            ValueError: If there are no ids or the mask is not (B, T), or if hidden states are
                asked for.
        """
        if inputs_embeds is not None or output_hidden_states or self.config.output_hidden_states:
            raise ValueError(
                "A folded model looks ids up and has neither embeddings nor hidden states, but "
                f"{'hidden states' if inputs_embeds is None else 'inputs_embeds'} came or were "
                "asked for. Pass input_ids alone, or use the model that it was folded from."
            )
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        input_ids = _to_ids(input_ids)
        attention_mask = _to_bool_mask(attention_mask, input_ids, None)
        terms = self.tables(input_ids, attention_mask)
        pool_weights = pool_by_scores(
            terms.pool_scores, attention_mask, self.config.classifier_pooling == "static"
        )
        received, weights, scores, _ = self.attention(
            terms, pool_weights, attention_mask, bool(output_attentions), output_intermediates
        )
        weighted = pool_weights.unsqueeze(-1) * terms.direct_values
        weighted = weighted + received.unsqueeze(-1) * terms.context_values
        # Not a matrix product: that sums the tokens of a long text in a row, and rounds more.
        pooled = weighted.sum(1)
        logits = self.score(pooled)
        details: dict[str, Any] = {}
        if output_contributions or output_intermediates:
            terms = self._in_classes(terms)
        if output_contributions:
            details |= self._contributions(
                pool_weights, received, terms.direct_values, terms.context_values
            )
            details["bias"] = self.score(torch.zeros_like(pooled[0]))
        if output_intermediates:
            details |= terms._asdict() | {"attention_scores": (scores,)}
        return HfAttnClassifierOutput(
            loss=None if labels is None else self._loss(logits, labels),
            logits=logits,
            attentions=_present(weights) if output_attentions else None,
            **details,
        )

    def token_terms(self, input_ids: Tensor, previous_ids: Tensor | None) -> TokenTerms:
        """Gives what the model reads of tokens on their own; see [`HfAttnClassifier`]."""
        return self._in_classes(self.tables.look_up(input_ids, previous_ids))

    def _in_classes(self, terms: TokenTerms) -> TokenTerms:
        """Gives the terms with values (..., C)."""
        return terms._replace(
            direct_values=self.score.project(terms.direct_values),
            context_values=self.score.project(terms.context_values),
        )


__all__ = [
    "HfAttnClassifier",
    "HfAttnClassifierOutput",
    "HfAttnFoldedForSequenceClassification",
    "HfAttnForSequenceClassification",
    "HfAttnModel",
    "HfAttnModelOutput",
    "HfAttnPreTrainedModel",
]
