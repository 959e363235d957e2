"""Explanations made by hand, for the tests of what shows them."""

import re

import numpy as np

from hf_attn.explanation import Explanation
from hf_attn.word_sums import TokenWeights

SINGLE = "single_label_classification"


def explanation(text="wheat exports fell", class_names=("grain", "trade", "ship"), **fields):
    """Gives an explanation of a text whose words are what stands between white space.

    The numbers are drawn, each of its own, and the logits are their sums.
    """
    spans = fields.pop("spans", None)
    if spans is None:
        spans = [match.span() for match in re.finditer(r"\S+", text)]
    draw = np.random.default_rng(0)
    shape = (len(spans), len(class_names))
    direct, context, effects = (
        fields.pop(name, np.round(draw.normal(size=shape), 2))
        for name in ("direct", "context", "deletion_effects")
    )
    pool_weights = np.full(len(spans), 1 / max(len(spans), 1))
    weights = None
    if fields.pop("attention", False):
        attention = draw.dirichlet(np.ones(len(spans)), size=len(spans))
        values = draw.normal(size=shape)
        weights = TokenWeights(attention, pool_weights, values, np.arange(len(spans)))
        context = (pool_weights @ attention)[:, None] * values
    direct, context = np.array(direct, dtype=float), np.array(context, dtype=float)
    bias = np.round(draw.normal(size=len(class_names)), 2)
    logits = bias + (direct + context).sum(0)
    problem_type = fields.pop("problem_type", SINGLE)
    if problem_type == SINGLE:
        probabilities = np.exp(logits) / np.exp(logits).sum()
    elif problem_type == "regression":
        probabilities = logits
    else:
        probabilities = 1 / (1 + np.exp(-logits))
    defaults = {
        "text": text,
        "pair": None,
        "class_names": list(class_names),
        "problem_type": problem_type,
        "logits": logits,
        "probabilities": probabilities,
        "bias": bias,
        "spans": np.array(spans, dtype=np.int64).reshape(-1, 2),
        "in_pair": np.zeros(len(spans), dtype=bool),
        "special": {},
        "known": np.ones(len(spans), dtype=bool),
        "direct": direct,
        "context": context,
        "deletion_effects": effects,
        "pool_weights": pool_weights,
        "attention_received": pool_weights,
        "num_tokens": len(spans),
        "weights": weights,
    }
    return Explanation(**(defaults | fields))


def explained_pair():
    """[CLS] and the first text, [SEP], the second text and [SEP] again."""
    spans = [(0, 0), (0, 3), (4, 8), (0, 0), (1, 6), (7, 12), (0, 0)]
    return explanation(
        "the dog, ",
        pair=" barks loud!",
        spans=spans,
        in_pair=np.array([False] * 4 + [True] * 2 + [False]),
        special={0: "[CLS]", 3: "[SEP]", 6: "[SEP]"},
    )
