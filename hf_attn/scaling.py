"""Compares attention with and without its division by √K, on a model's own queries and keys.

Shapes: T tokens that are compared, K query and key size, D hidden size, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from .explanation import Explanation
from .modeling_hf_attn import HfAttnForSequenceClassification
from .prediction import evaluating
from .probabilities import logits_to_scores
from .problem_types import problem_type_of
from .stages import MOST_TOKENS_KEPT, Trace, not_seen, to_lists
from .trace import read_text, to_array, token_names
from .trace_wording import trace_notes


@dataclass(frozen=True, eq=False)
class Attending:
    """Attention whose products of queries and keys are multiplied by one factor.

    Attributes:
        factor: 1 / √K, or 1.
        scores: (T, T), s_ij = factor (W_q x_i) · (W_k x_j), plus the score of the distance if the
            model has any; the dtype's lowest number where token i does not see token j.
        weights: (T, T), the softmax of each row.
        entropy: (T,), of each row of weights, in nats: 0 if all is on one token.
        score_gradient_norm: Length of the gradient of the target's logit with respect to the
            scores: what the softmax lets through.
        weight_gradient_norm: The same with respect to W_q and W_k, taken together.
        probabilities: (C,), what the model would predict; for a regression the values.
    """

    factor: float
    scores: NDArray[Any]
    weights: NDArray[Any]
    entropy: NDArray[Any]
    score_gradient_norm: float
    weight_gradient_norm: float
    probabilities: NDArray[Any]

    @property
    def score_spread(self) -> float:
        """The standard deviation of the scores between tokens that see each other."""
        seen = self.scores[~not_seen(self.scores)]
        return float(seen.std(dtype=np.float64)) if seen.size else 0.0

    @property
    def largest_weight(self) -> float:
        """The weight that a token gives to the one it attends to most, on average."""
        return float(self.weights.max(-1).mean()) if self.weights.size else 0.0

    @property
    def mean_entropy(self) -> float:
        """The entropy of a row of weights on average, in nats."""
        return float(self.entropy.mean()) if self.entropy.size else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Gives all of this, of what JSON can hold; None where a token does not see another."""
        return {
            "factor": self.factor,
            "score_spread": self.score_spread,
            "largest_weight": self.largest_weight,
            "mean_entropy": self.mean_entropy,
            "score_gradient_norm": self.score_gradient_norm,
            "weight_gradient_norm": self.weight_gradient_norm,
            "scores": to_lists(self.scores),
            "weights": to_lists(self.weights),
            "entropy": to_lists(self.entropy),
            "probabilities": to_lists(self.probabilities),
        }


@dataclass(frozen=True, eq=False)
class ScalingComparison(Trace):
    """What dividing the scores by √K does to one text.

    Of a long text the first `MOST_TOKENS_KEPT` tokens are compared, as if it ended there.

    Attributes:
        explanation: The prediction for the whole text.
        tokens: T tokens that are compared, as the vocabulary names them.
        token_names: (T) what stands beside a row: the token, or for one that the vocabulary does
            not have the word of the text and a question mark.
        head_dim: K.
        target: The class whose logit the gradients are of: the one that the model predicts; for a
            regression its first value.
        with_scaling: As the model computes it.
        without_scaling: The same without the division.
    """

    explanation: Explanation
    tokens: list[str]
    token_names: list[str]
    head_dim: int
    target: str
    with_scaling: Attending
    without_scaling: Attending

    @property
    def largest_entropy(self) -> float:
        """The mean entropy, in nats, if each token divided its attention evenly."""
        seen = (~not_seen(self.with_scaling.scores)).sum(-1)
        return float(np.log(seen).mean()) if seen.size else 0.0

    @property
    def observation(self) -> str:
        """What the numbers say, in a sentence or two."""
        return _observation(self)

    @property
    def notes(self) -> list[str]:
        """What has to be known to read the numbers, such as what was cut."""
        return trace_notes(self.explanation, len(self.tokens), reads_all=False)

    def to_dict(self) -> dict[str, Any]:
        """Gives both ways with all of their numbers."""
        return {
            "text": self.text,
            **({} if self.pair is None else {"pair": self.pair}),
            "num_tokens": self.num_tokens,
            "num_tokens_kept": len(self.tokens),
            "tokens": self.tokens,
            "class_names": self.class_names,
            "target": self.target,
            "head_dim": self.head_dim,
            "largest_entropy": self.largest_entropy,
            "observation": self.observation,
            "with_scaling": self.with_scaling.to_dict(),
            "without_scaling": self.without_scaling.to_dict(),
        }


def compare_scaling(
    text: str,
    model: HfAttnForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    *,
    pair: str | None = None,
) -> ScalingComparison:
    """Shows what dividing the scores by √K does, on the model's own queries and keys.

    The gradients are those of the predicted class's logit. A loss passes the same on, times how
    wrong the model was.

    Args:
        text: The text; of a long one the beginning is compared.
        model: The classifier, which is left as it is.
        tokenizer: The one it was trained with.
        pair: The second text, for a model of pairs.

    Raises:
        InputError: As [`trace_pipeline`] does.
        TypeError: As [`trace_pipeline`] does.

    Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.2.1, footnote 4.
    """
    explanation, encoding = read_text(text, model, tokenizer, pair)
    target = int(explanation.logits.argmax())
    exact = torch.autocast(model.device.type, enabled=False)
    with evaluating(model), exact, torch.inference_mode():
        ids = torch.tensor([encoding.ids[:MOST_TOKENS_KEPT]], device=model.device)
        with_scaling, without_scaling = _attend(model, ids.long(), target)
    return ScalingComparison(
        explanation=explanation,
        tokens=encoding.tokens[:MOST_TOKENS_KEPT],
        token_names=token_names(encoding, explanation, tokenizer.unk_token_id),
        head_dim=model.config.head_dim,
        target=explanation.class_names[target],
        with_scaling=with_scaling,
        without_scaling=without_scaling,
    )


def _attend(
    model: HfAttnForSequenceClassification, ids: Tensor, target: int
) -> tuple[Attending, Attending]:
    """Gives attention as the model computes it, and without the division by √K.

    The model's own factor stays as it is: another thread may be using it.
    """
    attention, length = model.model.attention, ids.shape[1]
    outputs = model(
        ids,
        output_contributions=True,
        output_hidden_states=True,
        output_intermediates=True,
    )
    places = torch.arange(length, device=ids.device)
    unscaled = attention.score(
        outputs.query / attention.scaling,
        outputs.key,
        places - places[:, None],
        attention.relative_bias(length, ids.device),
    )
    problem_type = problem_type_of(model.config)
    ways = ((attention.scaling, outputs.attention_scores[0][0, 0]), (1.0, unscaled[0]))
    with_scaling, without_scaling = (
        _attending(factor, scores, outputs, attention.scaling, target, problem_type)
        for factor, scores in ways
    )
    return with_scaling, without_scaling


def _attending(
    factor: float, scores: Tensor, outputs: Any, scaling: float, target: int, problem_type: str
) -> Attending:
    """Gives what follows from the scores (T, T) between the tokens of one text.

    The target's logit is Σ_ij p_i A_ij u_j and terms without A, so its gradients have a closed
    form, also where weights are frozen or int8: at A it is p_i u_j.
    """
    features, query, key, pool_weights, values = (
        tensor[0].cpu().double()
        for tensor in (
            outputs.hidden_states[0],
            outputs.query / scaling,
            outputs.key,
            outputs.pool_weights,
            outputs.context_values,
        )
    )
    weights = scores.cpu().double().softmax(-1)
    at_weights = pool_weights[:, None] * values[:, target]
    # Through the softmax of a row: A_ij (g_ij - Σ_k A_ik g_ik).
    at_scores = weights * (at_weights - (weights * at_weights).sum(-1, keepdim=True))
    at_query_weights = factor * (at_scores @ key).T @ features  # (K, D)
    at_key_weights = factor * (at_scores.T @ query).T @ features
    direct = pool_weights @ outputs.direct_values[0].cpu().double()
    logits = outputs.bias.cpu().double() + direct + pool_weights @ weights @ values
    return Attending(
        factor=factor,
        scores=to_array(scores),
        weights=to_array(weights.to(scores.dtype)),
        entropy=to_array(torch.special.entr(weights).sum(-1)),
        score_gradient_norm=at_scores.norm().item(),
        weight_gradient_norm=math.hypot(
            at_query_weights.norm().item(), at_key_weights.norm().item()
        ),
        probabilities=logits_to_scores(logits[None].cpu().numpy(), problem_type)[0],
    )


def _observation(comparison: ScalingComparison) -> str:
    """Gives what a comparison of attention with and without 1/√K shows, from its numbers."""
    scaled, unscaled = comparison.with_scaling, comparison.without_scaling
    if len(comparison.tokens) < 2:
        return "With fewer than two tokens there is nothing to weigh, and scaling changes nothing."
    root = math.sqrt(comparison.head_dim)
    sharper = "sharper" if unscaled.mean_entropy < scaled.mean_entropy else "no sharper"
    return (
        f"Without dividing by √{comparison.head_dim} = {root:.2f} the standard deviation of the "
        f"scores is {_times(unscaled.score_spread, scaled.score_spread)}, and attention is "
        f"{sharper}: its entropy is {unscaled.mean_entropy:.2f} nats instead of "
        f"{scaled.mean_entropy:.2f} (even: {comparison.largest_entropy:.2f}). The gradient that "
        "the softmax lets through to the scores is "
        f"{_times(unscaled.score_gradient_norm, scaled.score_gradient_norm)}."
    )


def _times(value: float, base: float) -> str:
    """Gives how large a value is beside another, in words."""
    if not base or not value:
        return f"{value:.3g} instead of {base:.3g}"
    return f"{value / base:.3g} times as large"
