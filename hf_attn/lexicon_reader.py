"""Reads from a model what each word of its vocabulary adds: a forward pass over one-word texts.

Shapes: V words, C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from .errors import InputError
from .explainability import check_explainable, check_finite
from .lexicon import Lexicon
from .modeling_hf_attn import HfAttnClassifier
from .prediction import evaluating
from .problem_types import problem_type_of
from .word_sums import Array
from .words import token_kind

_TOKENS_AT_ONCE = 4096


def read_lexicon(
    model: HfAttnClassifier,
    tokenizer: PreTrainedTokenizerBase,
    token_counts: Mapping[str, int] | None = None,
) -> Lexicon:
    """Gives what each word of the vocabulary adds to each class, from the model's own forward.

    A text of one token has p = a = 1, so its contributions are the token's class values.

    Args:
        model: The classifier.
        tokenizer: The one it was trained with. Its special tokens are left out, but for the one of
            unknown words.
        token_counts: How often each token occurred in training, as [`read_token_counts`] gives it;
            tokens that are not in it count 0.

    Raises:
        InputError: If the tokenizer has more tokens than the model, or the weights hold NaN.
        TypeError: If the model is not a classifier of this package, or the tokenizer is not a fast
            one.

    Example:
        >>> lexicon = read_lexicon(model, tokenizer, read_token_counts("r8-model"))
        >>> lexicon.showing(target="grain", top=3).lists[0].positive
    """
    check_explainable(model, tokenizer)
    config = model.config
    if len(tokenizer) > config.vocab_size:
        raise InputError(
            f"expected a tokenizer of at most vocab_size={config.vocab_size} tokens, got one of "
            f"{len(tokenizer)}. It belongs to another model."
        )
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    ids = np.array(sorted(set(tokenizer.get_vocab().values()) - special), np.int64)
    tokens = cast("list[str]", tokenizer.convert_ids_to_tokens(ids.tolist()))
    direct, context, bias = _values(model, ids)
    counts = None
    if token_counts is not None:
        counts = np.array([token_counts.get(token, 0) for token in tokens], np.int64)
    return Lexicon(
        words=_readable(tokens, tokenizer),
        tokens=tokens,
        counts=counts,
        unknown=np.isin(ids, [tokenizer.unk_token_id]),
        direct=direct,
        context=context,
        bias=bias,
        class_names=config.class_names,
        problem_type=problem_type_of(config),
        kind=token_kind(tokenizer),
        has_bigrams=config.ngram_buckets > 0,
    )


def _values(
    model: HfAttnClassifier, ids: NDArray[np.int64]
) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]], Array]:
    """Gives direct and context values (V, C) of token ids (V,), and the bias (C,)."""
    parts = []
    with evaluating(model), torch.inference_mode():
        for batch in torch.from_numpy(ids).split(_TOKENS_AT_ONCE):
            outputs = model(batch.unsqueeze(1).to(model.device), output_contributions=True)
            check_finite(outputs.logits)
            parts.append((outputs.direct_contributions[:, 0], outputs.context_contributions[:, 0]))
    direct, context = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
    return direct, context, outputs.bias.cpu().double().numpy()


def _readable(tokens: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Gives each token as it stands in a text, or as it is where that is empty or ambiguous."""
    readable = [tokenizer.convert_tokens_to_string([token]).strip() for token in tokens]
    seen = Counter(readable)
    return [
        word if word and seen[word] == 1 and "\ufffd" not in word else token
        for word, token in zip(readable, tokens, strict=True)
    ]
