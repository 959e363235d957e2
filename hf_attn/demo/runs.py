"""What the tab Check yourself computes live: small matrices, and the model on a visitor's text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor

from ..batching import TokenizedTexts, encode
from ..explanation import Explanation
from ..scaling import compare_scaling
from ..templating import render, short
from ..word_sums import Word
from ..wording import signed
from .own_words import name_of
from .served import Sentence, ServedModel
from .worked_example import KEY, QUERY, VALUE, attend, multiply_without_transpose

_MOST_BARS = 40
_DIGITS = 6


def quote(sentence: Sentence) -> Markup:
    """Gives the text that a question is about."""
    return Markup(render("demo/quote.html", sentence=sentence))


def matrices() -> Markup:
    """Gives Q, K and V of the worked example."""
    return _matrices({"Q": QUERY, "K": KEY, "V": VALUE})


def worked(*, scaled: bool) -> Markup:
    """Gives each step of the worked example, from the attention that models run."""
    result = attend(QUERY, KEY, VALUE, scaled=scaled)
    return _matrices(
        {
            "Q Kᵀ / √2" if scaled else "Q Kᵀ": result.scores,
            "softmax: the weights": result.weights,
            "times V: the output": result.values,
        },
    )


def without_transpose(served: ServedModel, sentence: Sentence) -> Markup:
    """Gives what happens to the model's own Q and K, and to the worked example, without it."""
    outputs = run_model(served, sentence)
    query, key = outputs.query[0], outputs.key[0]
    if query.shape[0] == query.shape[1]:  # by chance it would run
        query, key = query[1:], key[1:]
    # The attention transposes what it gets, so that of K transposed it computes softmax(Q K) V.
    wrong = attend(QUERY, KEY.T, VALUE, scaled=False)
    return Markup(
        "<p>Q and K of the text, {} each:</p><pre>{}</pre>"
        "<p>Q and K of the worked example, 1 × 2 and 2 × 2: it runs.</p>"
    ).format(_shape(query), multiply_without_transpose(query, key)) + _matrices(
        {"Q K": wrong.scores, "softmax": wrong.weights, "times V": wrong.values}
    )


def scaling(served: ServedModel, sentence: Sentence) -> Markup:
    """Gives the scores and weights of the model with and without dividing by the root of K."""
    with served.lock:
        comparison = compare_scaling(
            sentence.text, served.model, served.tokenizer, pair=sentence.pair
        )
    return Markup(render("demo/scaling.html", comparison=comparison))


def attention_shape(served: ServedModel, sentence: Sentence) -> Markup:
    """Gives the shape of the attention weights that the model computed."""
    weights = run_model(served, sentence).attentions[0][0, 0]
    return Markup("<p>The table of attention weights is {}: {:,} numbers.</p>").format(
        _shape(weights), weights.numel()
    )


def bars(
    explanation: Explanation, values: Sequence[float], heading: str, *, are_shares: bool = False
) -> Markup:
    """Gives the words of a text with a value each, as bars and numbers, the largest first.

    Args:
        explanation: Of the text.
        values: One for each of its words.
        heading: What the values are.
        are_shares: Whether they are written in percent.
    """
    order = sorted(range(len(values)), key=lambda index: -values[index])
    largest = max((abs(value) for value in values), default=0.0) or 1.0
    rows = [
        (
            _name(explanation.words[index]),
            short(abs(values[index]) / largest),
            values[index] < 0,
            f"{values[index]:.1%}" if are_shares else signed(values[index], largest),
        )
        for index in order[:_MOST_BARS]
    ]
    left_out = len(order) - len(rows)
    return Markup(render("demo/bars.html", rows=rows, heading=heading, left_out=left_out))


def _name(word: Word) -> str:
    name = name_of(word)
    return f"{name} (put in by the tokenizer)" if word.is_special else name


def run_model(served: ServedModel, sentence: Sentence) -> Any:
    """Gives what the model returns of a sentence, with queries, keys and attention weights."""
    pairs = None if sentence.pair is None else [sentence.pair]
    with served.lock, torch.inference_mode():
        ids = encode([sentence.text], served.tokenizer, pairs)["input_ids"]
        batch = TokenizedTexts.from_ids(ids, served.tokenizer).batch([0])
        return served.model(**batch, output_attentions=True, output_intermediates=True)


def _matrices(named: dict[str, Tensor]) -> Markup:
    written = {
        name: [[_to_text(value) for value in row] for row in matrix.tolist()]
        for name, matrix in named.items()
    }
    return Markup(render("demo/matrices.html", matrices=written))


def _to_text(value: float) -> str:
    """Writes a number with six digits and no exponent: 10.0003, 0.0000167014, 40."""
    return np.format_float_positional(value + 0, _DIGITS, fractional=False, trim="-")


def _shape(matrix: Tensor) -> str:
    return " × ".join(map(str, matrix.shape))
