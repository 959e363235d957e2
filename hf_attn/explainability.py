"""What a model, its tokenizer and its logits have to be for an explanation."""

from __future__ import annotations

import logging
import weakref
from typing import Any

import torch

from .errors import InputError
from .modeling_hf_attn import HfAttnClassifier, HfAttnFoldedForSequenceClassification

logger = logging.getLogger(__name__)

_CLASSIFIERS = ("HfAttnForSequenceClassification", "HfAttnFoldedForSequenceClassification")
_warned_of: weakref.WeakSet[HfAttnClassifier] = weakref.WeakSet()


def check_explainable(model: Any, tokenizer: Any) -> None:
    """Refuses a model or a tokenizer of another kind, and warns of a model without a reference.

    Raises:
        TypeError: If the model is not a classifier of this package, or the tokenizer is not a fast
            one.
    """
    check_classifier(model)
    if not getattr(tokenizer, "is_fast", False):
        raise TypeError(
            "expected a fast tokenizer, which knows where its tokens stand in a text, got "
            f"{type(tokenizer).__name__}. Load it with AutoTokenizer.from_pretrained."
        )
    if not model.score.reference.any() and model not in _warned_of:
        _warned_of.add(model)
        logger.warning(
            "The model has no reference (score.reference is 0): contributions are counted from a "
            "token feature of zeros, and the bias is not that of average words. Set it with "
            "model.set_reference(hf_attn.mean_feature.mean_token_feature(model, texts))."
        )


def check_classifier(model: Any) -> None:
    """Refuses what is no classifier of this package.

    Raises:
        TypeError: If the model is of another class, or wrapped in one.
    """
    if not isinstance(model, HfAttnClassifier):
        raise TypeError(
            "expected an HfAttnForSequenceClassification, whose logits are sums over tokens, got "
            f"{type(model).__module__}.{type(model).__name__}. {_remedy(model)}"
        )


def check_unfolded(model: Any, purpose: str) -> None:
    """Refuses a folded model where embeddings and projections are needed.

    Args:
        model: What came.
        purpose: What they are needed for, such as "training".

    Raises:
        InputError: If the model is folded.
        TypeError: As [`check_classifier`] does.
    """
    check_classifier(model)
    if isinstance(model, HfAttnFoldedForSequenceClassification):
        raise InputError(f"expected {refusal_of_folded('model', purpose)}")


def refusal_of_folded(given: str, purpose: str) -> str:
    """Says what was expected where a folded model came.

    Args:
        given: What the model is given as, "model" or "folder".
        purpose: As in [`check_unfolded`].
    """
    return (
        f"a model with embeddings and projections for {purpose}, got one that is folded: it has "
        f"tables in their place. Give the {given} that it was folded from."
    )


def _remedy(model: Any) -> str:
    """Says how to get a classifier of ours from what came in its place."""
    if type(model).__name__ in _CLASSIFIERS:
        return "It runs the code saved with it: load it again after `import hf_attn`."
    for attribute, inner in (("get_base_model", "get_base_model()"), ("_orig_mod", "_orig_mod")):
        if hasattr(model, attribute):
            return f"Pass model.{inner}."
    if isinstance(getattr(model, "module", None), HfAttnClassifier):
        return "Pass model.module."
    return "Load one with AutoModelForSequenceClassification, or train one with `hf-attn train`."


def check_finite(logits: torch.Tensor) -> None:
    """Refuses what broken weights give.

    Raises:
        InputError: If a logit is NaN or infinite.
    """
    if not logits.isfinite().all():
        raise InputError(
            "expected logits that are numbers, got NaN or infinity: the model's weights are broken "
            "(training may have diverged). Train it again with a lower --learning-rate."
        )
