"""Makes the stages of a trace of what the model computed: words, numbers, names of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray
from tokenizers import Encoding

from .explanation import Explanation
from .modeling_hf_attn import HfAttnForSequenceClassification
from .problem_types import REGRESSION
from .stages import MOST_TOKENS_KEPT, Axis, PipelineTrace, Stage
from .trace_sizes import sizes_of
from .trace_wording import Wording, layer_wordings, stage_wordings, word_names


def pipeline_stages(
    model: HfAttnForSequenceClassification,
    explanation: Explanation,
    encoding: Encoding,
    arrays: dict[str, NDArray[Any]],
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


def prediction_layers(
    pipeline: PipelineTrace, model: HfAttnForSequenceClassification
) -> tuple[Stage, ...]:
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


def _predicted(explanation: Explanation, logits: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Gives the probabilities, or the values of a regression, which has none."""
    if explanation.problem_type == REGRESSION:
        return {"logits": logits}
    return {"probabilities": explanation.probabilities}


def _axes(
    model: HfAttnForSequenceClassification, explanation: Explanation, names: list[str]
) -> dict[str, tuple[Axis, ...]]:
    """Gives what the dimensions of each array are, by its name."""
    tokens = Axis("tokens", names)
    words = Axis("words", word_names(explanation)[:MOST_TOKENS_KEPT])
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
        "attention_received": (words,),
        "pooled": (features,),
        "bias": (classes,),
        "contributions": (words, classes),
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
