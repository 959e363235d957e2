"""What the logits would be without a word: exactly, for all words at once, in closed form.

A word is masked in place: the distances between the others stay, and every softmax that it took
part in is normalised again. Nothing else changes, but the bigram of the token after it.

Shapes: B texts, T tokens, W words, C classes, K `head_dim`. With r_j = W_c (x_j - reference), u_j =
W_c W_v (x_j - reference) and the tokens S of a word,

    logits(-S) = b + sum_{i not in S} p_i / (1 - p_S) (r_i + context_i(-S))
    context_i(-S) = (sum_j A_ij u_j - sum_{j in S} A_ij u_j) / (1 - sum_{j in S} A_ij)

The last line loses all digits where token i attends to little else than S. That can be so of one
word in each row of A only; where it is, the row's softmax is computed a second time without it.

With bigrams the token n after the word changes as well. It is taken out together with the word, as
S+ = S and n, and put back with its new features: one more key for every other token, with its share
of their attention, and one more query. As the words overlap then, two in a row of A may need its
softmax again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .modeling_hf_attn import HfAttnClassifier, TokenTerms, hide_scores

# A row of A that has more than this on one word is worth a softmax without it: up to here the
# division costs one digit.
_SHARP = 0.9


def logits_without_words(
    model: HfAttnClassifier,
    outputs: Any,
    input_ids: Tensor,
    attention_mask: Tensor,
    word_of_token: Tensor,
) -> Tensor:
    """Gives the logits of each text without each of its words.

    Time and memory grow with B T (T + W), and not with the number of words times that.

    Args:
        model: The classifier.
        outputs: `HfAttnClassifierOutput`, what it gave for the batch, with `output_contributions`,
            `output_attentions` and `output_intermediates`.
        input_ids: (B, T).
        attention_mask: (B, T), True at tokens.
        word_of_token: (B, T), the word that each token is a part of, counted 0, 1, ... from left to
            right; -1 at padding.

    Returns:
        (B, W, C), W being the most words of a text. A word that a shorter text does not have
        changes nothing; without its only word a text has the bias as its logits.
    """
    bias: Tensor = outputs.bias
    num_words = int(word_of_token.max()) + 1 if word_of_token.numel() else 0
    if not num_words:
        return bias.expand(len(input_ids), 0, -1)
    words = _Words.of(word_of_token, num_words)
    number = torch.arange(num_words, device=input_ids.device).unsqueeze(1)
    gone = word_of_token.unsqueeze(1) == number  # (B, W, T), the tokens S, or S+
    moved = None
    if model.config.ngram_buckets:
        moved = _move_up(model, outputs, input_ids, word_of_token, num_words)
        gone |= moved.is_at(gone.shape[-1])
    stays = attention_mask.unsqueeze(1) & ~gone

    pool, moved_pool = _pool(model, outputs.pool_scores, stays, moved)
    pooled: Tensor = pool @ outputs.direct_values
    pooled = pooled + _pooled_contexts(outputs, words, pool, gone, moved)
    if moved is not None:
        own = moved.terms.direct_values + _context_of(moved, stays, outputs.context_values)
        pooled = pooled + moved_pool * own
    return bias + pooled


@dataclass(frozen=True)
class _Words:
    """Which tokens are one word.

    Attributes:
        of_token: (B, T), the word of each token; 0 at padding.
        count: W.
        are_tokens: Whether each token is a word, so that B x T and B x W are the same.
    """

    of_token: Tensor
    count: int
    are_tokens: bool

    @classmethod
    def of(cls, word_of_token: Tensor, count: int) -> _Words:
        """Takes words as [`logits_without_words`] does."""
        of_token = word_of_token.clamp(min=0)
        length = of_token.shape[1]
        places = torch.arange(length, device=of_token.device)
        are_tokens = count == length and bool(
            ((word_of_token == places) | (word_of_token < 0)).all()
        )
        return cls(of_token, count, are_tokens)

    def sum(self, of_tokens: Tensor) -> Tensor:
        """Gives (B, W, N), sums over each word, from (B, T, N) that is 0 at padding."""
        if self.are_tokens:
            return of_tokens
        index = self.of_token.unsqueeze(-1).expand_as(of_tokens)
        sums = of_tokens.new_zeros(len(index), self.count, of_tokens.shape[-1])
        return sums.scatter_add(1, index, of_tokens)

    def spread(self, of_words: Tensor) -> Tensor:
        """Gives (B, T, N), each token with the row of its word, from (B, W, N)."""
        if self.are_tokens:
            return of_words
        index = self.of_token.unsqueeze(-1).expand(-1, -1, of_words.shape[-1])
        return of_words.gather(1, index)


@dataclass(frozen=True)
class _MovedUp:
    """The token after each word, with the token before the word to its left.

    Attributes:
        exists: (B, W), False where nothing comes after the word.
        place: (B, W), where it stands.
        terms: What the model reads of it, each (B, W, ...).
        as_key: (B, W, T), the score that each token's query gives it.
        as_query: (B, W, T), the score that it gives each token's key.
        of_itself: (B, W, 1), the score that it gives itself.
    """

    exists: Tensor
    place: Tensor
    terms: TokenTerms
    as_key: Tensor
    as_query: Tensor
    of_itself: Tensor

    def is_at(self, length: int) -> Tensor:
        """Gives where it stands, as a mask (B, W, T)."""
        places = torch.arange(length, device=self.place.device)
        return (places == self.place.unsqueeze(-1)) & self.exists.unsqueeze(-1)


def _move_up(
    model: HfAttnClassifier,
    outputs: Any,
    input_ids: Tensor,
    word_of_token: Tensor,
    num_words: int,
) -> _MovedUp:
    """Looks up the token after each word with the bigram that it has without the word."""
    places = torch.arange(word_of_token.shape[1], device=word_of_token.device)
    of_word = word_of_token.clamp(min=0)
    # Padding counts as part of word 0 here, with a place that is neither its first nor its last.
    real = word_of_token >= 0
    nowhere = places.new_full((len(input_ids), num_words + 1), len(places))
    first = nowhere.scatter_reduce(1, of_word, places.where(real, len(places)), "amin")
    last = (nowhere - len(places) - 1).scatter_reduce(1, of_word, places.where(real, -1), "amax")
    place, before = first[:, 1:], last[:, :-1].roll(1, 1)
    before[:, 0] = -1
    exists = place < len(places)
    place = place.clamp(max=len(places) - 1)
    pad = torch.full_like(place, model.config.pad_token_id or 0)
    previous_ids = torch.where(before < 0, pad, input_ids.gather(1, before.clamp(min=0)))
    terms = model.token_terms(input_ids.gather(1, place), previous_ids)

    attention = model.attention_layer
    by_distance = attention.relative_bias(len(places), places.device)
    left_of_it = place.unsqueeze(-1) - places
    query, key = outputs.query, outputs.key
    itself = attention.score(
        terms.query.unsqueeze(-2).flatten(0, 1),
        terms.key.unsqueeze(-2).flatten(0, 1),
        torch.zeros_like(places[:1, None]),
        by_distance,
    )
    return _MovedUp(
        exists,
        place,
        terms,
        attention.score(query, terms.key, left_of_it.mT, by_distance).mT,
        attention.score(terms.query, key, -left_of_it, by_distance),
        itself.view(*place.shape, 1),
    )


def _pool(
    model: HfAttnClassifier, scores: Tensor, stays: Tensor, moved: _MovedUp | None
) -> tuple[Tensor, Tensor]:
    """Gives the pooling weights without each word: (B, W, T), and of the moved token (B, W, 1)."""
    if moved is None:
        present, scores = stays, scores.unsqueeze(1)
    else:
        present = torch.cat([stays, moved.exists.unsqueeze(-1)], dim=-1)
        others = scores.unsqueeze(1).expand(-1, present.shape[1], -1)
        scores = torch.cat([others, moved.terms.pool_scores.unsqueeze(-1)], dim=-1)
    if model.config.classifier_pooling == "mean":
        weights = present / present.sum(-1, keepdim=True, dtype=scores.dtype).clamp(min=1)
    else:
        weights = hide_scores(scores, present).softmax(-1) * present
    return weights[..., : stays.shape[-1]], weights[..., stays.shape[-1] :]


def _pooled_contexts(
    outputs: Any, words: _Words, pool: Tensor, gone: Tensor, moved: _MovedUp | None
) -> Tensor:
    """Gives sum_i p_i context_i (B, W, C) without each word, over the tokens that are as before."""
    weights: Tensor = outputs.attentions[0].squeeze(1)
    scores: Tensor = outputs.attention_scores[0].squeeze(1)
    values: Tensor = outputs.context_values
    mass = words.sum(weights.mT)  # (B, W, T), what each row of A loses with the word
    if moved is not None:
        mass = mass + _columns(weights, moved)
    sharp = torch.nonzero(mass.amax((1, 2)) > _SHARP).squeeze(1)
    again = _rows_again(scores[sharp], mass[sharp], gone[sharp], 1 if moved is None else 2)

    total = torch.zeros_like(pool[..., :1] * values[:, :1])
    if moved is not None:
        share = _share(moved, scores, mass, sharp, again)
        total = (pool * share).sum(-1, keepdim=True) * moved.terms.context_values
        pool = pool * (1 - share)
    spread = pool / (1 - mass)
    for is_word, rest in again:
        contexts = rest.softmax(-1) @ values[sharp]
        total[sharp] += pool[sharp].where(is_word, 0) @ contexts
        spread[sharp] = spread[sharp].masked_fill(is_word, 0)
    return total + spread @ (weights @ values) - _lost(spread, weights, values, words, moved)


def _rows_again(
    scores: Tensor, mass: Tensor, gone: Tensor, count: int
) -> list[tuple[Tensor, Tensor]]:
    """Gives the scores of each row of A without the words that take most of its attention.

    Returns:
        For the first word of each row, and so on to `count` words: where it is, (B, W, T), and the
        scores without it, (B, T, T).
    """
    number = torch.arange(mass.shape[1], device=mass.device).unsqueeze(-1)
    again = []
    for _ in range(count):
        word = mass.argmax(1)
        is_word = number == word.unsqueeze(1)
        hidden = gone.gather(1, word.unsqueeze(-1).expand_as(scores))
        again.append((is_word, hide_scores(scores, ~hidden)))
        mass = mass.masked_fill(is_word, -1)
    return again


def _share(
    moved: _MovedUp,
    scores: Tensor,
    mass: Tensor,
    sharp: Tensor,
    again: list[tuple[Tensor, Tensor]],
) -> Tensor:
    """Gives the share (B, W, T) of each token's attention that the moved token takes."""
    log_rest = scores.logsumexp(-1).unsqueeze(1) + torch.log1p(-mass.clamp(max=1))
    for is_word, rest in again:
        log_rest[sharp] = log_rest[sharp].where(~is_word, rest.logsumexp(-1).unsqueeze(1))
    return (moved.as_key - log_rest).sigmoid() * moved.exists.unsqueeze(-1)


def _columns(weights: Tensor, moved: _MovedUp) -> Tensor:
    """Gives the attention (B, W, T) that each token pays to the token after each word."""
    index = moved.place.unsqueeze(-1).expand(-1, -1, weights.shape[-1])
    return weights.mT.gather(1, index) * moved.exists.unsqueeze(-1)


def _lost(
    spread: Tensor, weights: Tensor, values: Tensor, words: _Words, moved: _MovedUp | None
) -> Tensor:
    """Gives sum_i spread_i sum_{j in S} A_ij u_j, (B, W, C)."""
    by_token = (words.spread(spread) * weights.mT).sum(-1, keepdim=True)
    lost = words.sum(by_token * values)
    if moved is not None:
        its_values = values.gather(1, moved.place.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
        lost = lost + (spread * _columns(weights, moved)).sum(-1, keepdim=True) * its_values
    return lost


def _context_of(moved: _MovedUp, stays: Tensor, values: Tensor) -> Tensor:
    """Gives what the moved token attends to, (B, W, C)."""
    scores = torch.cat([hide_scores(moved.as_query, stays), moved.of_itself], dim=-1)
    weights = scores.softmax(-1)
    return weights[..., :-1] @ values + weights[..., -1:] * moved.terms.context_values
