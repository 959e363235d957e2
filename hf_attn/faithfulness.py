"""How well attributions tell what a model does, and what people marked.

An attribution is one number for each word of a text, from any method: higher means that the word
speaks more for the explained class. What the model does is a score of the words that are kept,
which [`KeptWords`] gives for the classifiers of this package; any function of the kind will do.

Shapes: W words of one text, T of its tokens, N choices of words to keep, C classes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logsumexp
from scipy.stats import kendalltau
from sklearn.metrics import auc, precision_recall_curve

from .modeling_hf_attn import HfAttnClassifier
from .prediction import evaluating

Array = NDArray[np.float64]
Kept = NDArray[np.bool_]
Score = Callable[[Kept], Array]

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)
# Scores between tokens in one forward pass: what many small ones cost, without their memory.
_SCORES_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False)
class KeptWords:
    """Runs a classifier on what is left of one text when only some of its words are kept.

    Attributes:
        model: The classifier.
        token_ids: (T,), the text.
        word_of_token: (T,), the number of each token's word; -1 for a token that always stays.
        target: Index of the class whose score is asked for.
        masked: Whether the other words are masked where they stand, so that distances between the
            kept ones stay; if not they are deleted, as from a text typed again without them.

    Example:
        >>> text = KeptWords(model, token_ids, word_of_token, target=1)
        >>> comprehensiveness(attributions, text.probability)
    """

    model: HfAttnClassifier
    token_ids: NDArray[np.int64]
    word_of_token: NDArray[np.int64]
    target: int
    masked: bool = False

    @property
    def num_words(self) -> int:
        """W."""
        return int(self.word_of_token.max(initial=-1)) + 1

    def logits(self, kept: Kept) -> Array:
        """Gives the logits (N, C) of the texts with these words (N, W)."""
        always = np.ones((len(kept), 1), dtype=np.bool_)
        tokens = np.concatenate([kept, always], axis=1)[:, self.word_of_token]
        rows = max(1, _SCORES_AT_ONCE // max(1, len(self.token_ids)) ** 2)
        with evaluating(self.model), torch.inference_mode():
            parts = [
                self._forward(tokens[start : start + rows]) for start in range(0, len(kept), rows)
            ]
        return np.concatenate(parts)

    def _forward(self, tokens: Kept) -> Array:
        ids, mask = np.broadcast_to(self.token_ids, tokens.shape), tokens
        if not self.masked:
            lengths = tokens.sum(1, keepdims=True)
            kept_first = np.argsort(~tokens, axis=1, kind="stable")[:, : lengths.max()]
            ids = self.token_ids[kept_first]
            mask = np.arange(ids.shape[1]) < lengths
        device = self.model.device
        outputs = self.model(
            torch.tensor(ids, device=device), torch.from_numpy(mask).to(device), return_dict=True
        )
        return np.asarray(outputs.logits.double().cpu().numpy())

    def log_odds(self, kept: Kept) -> Array:
        """Gives log p / (1 - p) of the target (N,), which does not saturate as p does."""
        logits = self.logits(kept)
        others = logsumexp(np.delete(logits, self.target, axis=1), axis=1)
        return np.asarray(logits[:, self.target] - others)

    def probability(self, kept: Kept) -> Array:
        """Gives the probability p of the target (N,), a softmax over the classes."""
        return np.asarray(expit(self.log_odds(kept)))


def completeness_error(attributions: ArrayLike, base: float, score: float) -> float:
    """Gives how far the attributions are from adding up, |base + their sum - score|.

    Args:
        attributions: (W,).
        base: The score without any word, as the method counts it.
        score: The score of the text that the method claims to take apart.

    Source: Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks", section 3.
    """
    return float(abs(base + np.sum(attributions) - score))


def comprehensiveness(
    attributions: ArrayLike, score: Score, shares: Sequence[float] = SHARES
) -> float:
    """Gives what the score loses without the words of the highest attribution; high is good.

    Args:
        attributions: (W,), at least one.
        score: Gives the scores (N,) of the text with only these words (N, W).
        shares: Of the words to remove; the losses are averaged over them (AOPC, an area over the
            perturbation curve). A share is at least one word, and is rounded up.

    Returns:
        The mean loss. The mean is over the shares given, where DeYoung et al. also count the share
        of 0, at which nothing is lost.

    Source: DeYoung et al. 2020, "ERASER: A Benchmark to Evaluate Rationalized NLP Models",
    section 4.2.
    """
    return _mean_loss(~top_words(attributions, shares), score)


def sufficiency(attributions: ArrayLike, score: Score, shares: Sequence[float] = SHARES) -> float:
    """Gives what the score loses with only the words of the highest attribution; low is good.

    Args:
        attributions: (W,), at least one.
        score: Gives the scores (N,) of the text with only these words (N, W).
        shares: Of the words to keep, as in [`comprehensiveness`].

    Source: As of [`comprehensiveness`].
    """
    return _mean_loss(top_words(attributions, shares), score)


def _mean_loss(kept: Kept, score: Score) -> float:
    everything = np.ones((1, kept.shape[1]), dtype=np.bool_)
    whole, *parts = score(np.concatenate([everything, kept]))
    return float(whole - np.mean(parts))


def top_words(attributions: ArrayLike, shares: Sequence[float] = SHARES) -> Kept:
    """Gives for each share (N,) its words of the highest attribution, (N, W).

    A share is at least one word, and is rounded up; of equal words the earlier comes first.
    """
    values = np.asarray(attributions, dtype=np.float64)
    rank = np.empty(len(values), dtype=np.int64)
    rank[np.argsort(-values, kind="stable")] = np.arange(len(values))
    # Rounded before it is rounded up: 0.1 * 70 is a little above 7 in binary numbers.
    counts = [max(1, math.ceil(round(share * len(values), 6))) for share in shares]
    return rank < np.array(counts)[:, None]


def leave_one_out(score: Score, num_words: int) -> Array:
    """Gives what the score loses without each word (W,), by running the model W + 1 times."""
    all_but_one = ~np.eye(num_words, dtype=np.bool_)
    whole, *parts = score(np.concatenate([np.ones((1, num_words), dtype=np.bool_), all_but_one]))
    return np.asarray(whole - np.array(parts, dtype=np.float64))


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Gives Kendall's tau-b of two attributions (W,): 1 for the same order, -1 for the reverse.

    NaN, for the caller to leave out, if one of them has a single value for all words.

    Source: Kendall 1945, "The treatment of ties in ranking problems".
    """
    return float(kendalltau(first, second).statistic)


def stability(attributions: Sequence[ArrayLike]) -> float:
    """Gives the mean rank correlation between attributions of one text from several models.

    Args:
        attributions: Of the same class and words, one (W,) for each model; the models differ in
            their seed, say.
    """
    pairs = itertools.combinations(attributions, 2)
    return float(np.mean([rank_correlation(*pair) for pair in pairs]))


def plausibility_auprc(attributions: ArrayLike, marks: ArrayLike) -> float:
    """Gives the area under the curve of precision over recall against human marks; high is good.

    Args:
        attributions: (W,).
        marks: (W,), True at the words that a person marked; at least one.

    Source: DeYoung et al. 2020, section 4.1; the mean over texts is theirs too.
    """
    precision, recall, _ = precision_recall_curve(np.asarray(marks), np.asarray(attributions))
    return float(auc(recall, precision))


def plausibility_f1(attributions: ArrayLike, marks: ArrayLike, share: float) -> float:
    """Gives the F1 of the words of the highest attribution against human marks; high is good.

    Args:
        attributions: (W,).
        marks: (W,), True at the words that a person marked.
        share: Of the words to pick, one for a data set: the mean share that people mark there
            ([`mean_share`]), so that nothing is fitted to the attributions.

    Source: DeYoung et al. 2020, section 4.1; the share as their k of section 4.2.
    """
    picked, marked = top_words(attributions, [share])[0], np.asarray(marks, dtype=np.bool_)
    return float(2 * (picked & marked).sum() / (picked.sum() + marked.sum()))


def mean_share(marks: Sequence[ArrayLike]) -> float:
    """Gives the mean, over texts, of the share of words that are marked."""
    return float(np.mean([np.mean(np.asarray(mark, dtype=np.float64)) for mark in marks]))
