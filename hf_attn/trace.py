"""Traces a text through a model: seven stages to its logits, or the six layers of a prediction."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from tokenizers import Encoding
from transformers import PreTrainedTokenizerBase

from .batching import encode
from .errors import InputError
from .explainability import check_unfolded
from .explainer import MOST_TOKENS, explain
from .explanation import Explanation
from .modeling_hf_attn import HfAttnForSequenceClassification
from .prediction import evaluating
from .stages import MOST_TOKENS_KEPT, PipelineTrace, PredictionTrace
from .trace_steps import pipeline_stages, prediction_layers

DEFAULT_TEXT = "The cat sat on the mat"


def trace_pipeline(
    text: str,
    model: HfAttnForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    *,
    pair: str | None = None,
) -> PipelineTrace:
    """Shows a text on its way through a model, with the model's own numbers.

    The model is in evaluation mode meanwhile, and automatic mixed precision is off. Memory grows
    with the square of the text's length; what is kept of it does not.

    Args:
        text: The text; an empty one has no tokens, and the bias as its logits.
        model: The classifier.
        tokenizer: The one it was trained with.
        pair: The second text, for a model of pairs.

    Returns:
        The seven stages from the text to its probabilities.

    Raises:
        InputError: If the text is no string or too long, if the model is folded, if the tokenizer
            belongs to another model, or if the model's weights hold NaN.
        TypeError: If the model is not a classifier of this package, or the tokenizer is not a fast
            one.

    Example:
        >>> trace = trace_pipeline("The cat sat on the mat", model, tokenizer)
        >>> trace.stages[4].values["weights"]  # (6, 6), each row sums to 1
    """
    explanation, encoding = read_text(text, model, tokenizer, pair)
    names = token_names(encoding, explanation, tokenizer.unk_token_id)
    arrays = _run(model, encoding)
    return PipelineTrace(
        explanation=explanation,
        tokens=encoding.tokens[:MOST_TOKENS_KEPT],
        token_names=names,
        token_ids=arrays["token_ids"],
        stages=pipeline_stages(model, explanation, encoding, arrays, names),
    )


def trace_prediction(
    text: str,
    model: HfAttnForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    *,
    pair: str | None = None,
) -> PredictionTrace:
    """Shows how one prediction came about: six layers, and what each word received and added.

    Args and errors are those of [`trace_pipeline`].
    """
    pipeline = trace_pipeline(text, model, tokenizer, pair=pair)
    return PredictionTrace(**vars(pipeline), layers=prediction_layers(pipeline, model))


def read_text(
    text: str,
    model: HfAttnForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    pair: str | None,
) -> tuple[Explanation, Encoding]:
    """Gives the explanation of a text, and its tokens.

    Raises:
        InputError: As [`trace_pipeline`] does.
    """
    check_unfolded(model, "a trace")
    for one in (text, "" if pair is None else pair):
        if not isinstance(one, str):
            raise InputError(
                f"expected one text, a string, got {type(one).__name__} {one!r:.60}. Trace texts "
                "one by one."
            )
    explanation = explain(text, model, tokenizer, pairs=pair, deletion_effects=False)
    if explanation.num_tokens > MOST_TOKENS:
        raise InputError(
            f"expected a text of at most {MOST_TOKENS:,} tokens, got {explanation.num_tokens:,}: "
            "a trace takes memory with the square of the length. Trace a part of the text, or "
            "lower the tokenizer's model_max_length."
        )
    (encoding,) = encode([text], tokenizer, None if pair is None else [pair]).encodings or []
    return explanation, encoding


def token_names(encoding: Encoding, explanation: Explanation, unknown_id: int | None) -> list[str]:
    """Gives what stands beside the row of each token that is kept.

    That is the token as the vocabulary names it; an unknown one is what the text has there and a
    question mark, as [UNK] would say nothing.
    """
    sides = encoding.sequence_ids
    names = []
    for place, token in enumerate(encoding.tokens[:MOST_TOKENS_KEPT]):
        text = (explanation.pair or "") if sides[place] == 1 else explanation.text
        read = text[slice(*encoding.offsets[place])]
        names.append(f"{read}?" if encoding.ids[place] == unknown_id and read else token)
    return names


def _run(model: HfAttnForSequenceClassification, encoding: Encoding) -> dict[str, NDArray[Any]]:
    """Gives what the model computes of one text, of the tokens that are kept."""
    exact = torch.autocast(model.device.type, enabled=False)
    with evaluating(model), exact, torch.inference_mode():
        token_ids = torch.tensor([encoding.ids], dtype=torch.long, device=model.device)
        outputs = model.model(
            token_ids,
            output_attentions=True,
            output_hidden_states=True,
            output_intermediates=True,
            reference=model.score.reference,
            return_dict=True,
        )
        logits = model.score(outputs.pooler_output)
    kept = slice(0, MOST_TOKENS_KEPT)
    weights = outputs.attentions[0][0, 0]
    arrays = {
        "token_ids": token_ids[0, kept],
        "features": outputs.hidden_states[0][0, kept],
        "query": outputs.query[0, kept],
        "key": outputs.key[0, kept],
        "scores": outputs.attention_scores[0][0, 0, kept, kept],
        "weights": weights[kept, kept],
        "last_hidden_state": outputs.last_hidden_state[0, kept],
        "pool_weights": outputs.pool_weights[0, kept],
        "pooled": outputs.pooler_output[0],
        "logits": logits[0],
    }
    if len(encoding) > MOST_TOKENS_KEPT:
        arrays["weights_beyond"] = weights[kept, MOST_TOKENS_KEPT:].sum(-1)
    return {name: to_array(tensor) for name, tensor in arrays.items()}


def to_array(tensor: torch.Tensor) -> NDArray[Any]:
    """Gives a copy, which keeps nothing alive of what the tensor is a part of."""
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    return tensor.detach().cpu().numpy().copy()
