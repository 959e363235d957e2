"""Traces a text through a model: seven stages to its logits, or the six layers of a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from tokenizers import Encoding
from transformers import PreTrainedTokenizerBase

from .batching import encode
from .errors import InputError
from .explainer import MOST_TOKENS, explain
from .explanation import Explanation
from .modeling_hf_attn import HfAttnForSequenceClassification
from .prediction import evaluating
from .problem_types import REGRESSION
from .stages import MOST_TOKENS_KEPT, Axis, PipelineTrace, PredictionTrace, Stage
from .trace_wording import Wording, layer_wordings, sizes_of, stage_wordings

Array = NDArray[Any]
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
        InputError: If the text is no string or too long, if the tokenizer belongs to another model,
            or if the model's weights hold NaN.
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
        text=text,
        pair=pair,
        tokens=encoding.tokens[:MOST_TOKENS_KEPT],
        token_names=names,
        token_ids=arrays["token_ids"],
        num_tokens=len(encoding),
        stages=_stages(model, explanation, encoding, arrays, names),
        explanation=explanation,
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
    return PredictionTrace(pipeline, _layers(pipeline, model))


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


def _run(model: HfAttnForSequenceClassification, encoding: Encoding) -> dict[str, Array]:
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


def to_array(tensor: torch.Tensor) -> Array:
    """Gives a copy, which keeps nothing alive of what the tensor is a part of."""
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    return tensor.detach().cpu().numpy().copy()


def _stages(
    model: HfAttnForSequenceClassification,
    explanation: Explanation,
    encoding: Encoding,
    arrays: dict[str, Array],
    names: list[str],
) -> tuple[Stage, ...]:
    """Gives the seven stages from the arrays of one run."""
    axes = _axes(model, explanation, names)
    texts = {"text": explanation.text}
    if explanation.pair is not None:
        texts["pair"] = explanation.pair
    tokens = {"tokens": encoding.tokens[:MOST_TOKENS_KEPT], "token_ids": arrays["token_ids"]}
    last = {"pool_weights": arrays["pool_weights"], "pooled": arrays["pooled"]}
    last |= {"logits": arrays["logits"], **_predicted(explanation, arrays["logits"])}
    held: list[dict[str, Any]] = [
        texts,
        tokens,
        {"features": arrays["features"]},
        {name: arrays[name] for name in ("query", "key", "scores")},
        {name: arrays[name] for name in ("weights_beyond", "weights") if name in arrays},
        {"last_hidden_state": arrays["last_hidden_state"]},
        last,
    ]
    return _numbered(stage_wordings(sizes_of(model, explanation)), held, axes)


def _layers(pipeline: PipelineTrace, model: HfAttnForSequenceClassification) -> tuple[Stage, ...]:
    """Gives the six layers from the seven stages, and from what each word adds."""
    one = pipeline.explanation
    found = {name: value for stage in pipeline.stages for name, value in stage.values.items()}
    kept = slice(0, MOST_TOKENS_KEPT)
    contributions: dict[str, Any] = {"bias": one.bias}
    if len(one.contributions) > MOST_TOKENS_KEPT:
        contributions["contributions_beyond"] = one.contributions[MOST_TOKENS_KEPT:].sum(0)
    contributions |= {"contributions": one.contributions[kept], "logits": found["logits"]}
    received = {
        "pool_weights": found["pool_weights"],
        "attention_received": one.attention_received[kept],
        "pooled": found["pooled"],
    }
    weights: dict[str, Any] = {
        name: found[name] for name in ("scores", "weights_beyond", "weights") if name in found
    }
    held: list[dict[str, Any]] = [
        {"tokens": found["tokens"], "token_ids": found["token_ids"]},
        {"features": found["features"]},
        weights,
        received,
        contributions,
        _predicted(one, found["logits"]),
    ]
    axes = _axes(model, one, pipeline.token_names)
    return _numbered(layer_wordings(sizes_of(model, one)), held, axes)


def _predicted(explanation: Explanation, logits: Array) -> dict[str, Array]:
    """Gives the probabilities, or the values of a regression, which has none."""
    if explanation.problem_type == REGRESSION:
        return {"logits": logits}
    return {"probabilities": explanation.probabilities}


def _axes(
    model: HfAttnForSequenceClassification, explanation: Explanation, names: list[str]
) -> dict[str, tuple[Axis, ...]]:
    """Gives what the dimensions of each array are, by its name."""
    words = explanation.words[:MOST_TOKENS_KEPT]
    tokens = Axis("tokens", names)
    word = Axis("words", [f"{one.name}{'' if one.is_known else '?'}" for one in words])
    features = Axis("features", _counted(model.config.hidden_size))
    part = Axis("features", _counted(model.config.head_dim))
    classes = Axis("classes", list(explanation.class_names))
    return {
        "tokens": (tokens,),
        "token_ids": (tokens,),
        "features": (tokens, features),
        "query": (tokens, part),
        "key": (tokens, part),
        "scores": (tokens, tokens),
        "weights": (tokens, tokens),
        "weights_beyond": (tokens,),
        "last_hidden_state": (tokens, features),
        "pool_weights": (tokens,),
        "attention_received": (word,),
        "pooled": (features,),
        "bias": (classes,),
        "contributions": (word, classes),
        "contributions_beyond": (classes,),
        "logits": (classes,),
        "probabilities": (classes,),
    }


def _counted(size: int) -> list[str]:
    return [str(number) for number in range(1, size + 1)]


def _numbered(
    wordings: Sequence[Wording],
    held: Sequence[Mapping[str, Any]],
    axes: Mapping[str, tuple[Axis, ...]],
) -> tuple[Stage, ...]:
    return tuple(
        Stage(
            number=number,
            **wording._asdict(),
            values=dict(values),
            axes={name: axes[name] for name in values if name in axes},
        )
        for number, (wording, values) in enumerate(zip(wordings, held, strict=True), start=1)
    )
