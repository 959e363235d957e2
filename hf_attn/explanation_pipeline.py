"""The pipeline of the task `explained-text-classification`: classes, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from transformers import Pipeline

from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from .explanation import Explanation

# Everyone who uses pipelines imports this module: what the task needs is imported when it runs.
TASK = "explained-text-classification"
_OPTIONS = ("target", "against", "top_k", "deletion_effects")


class ExplanationPipeline(Pipeline):
    """Classifies texts and says what each word adds to the logit, as `hf_attn.explain` does.

    Example:
        >>> from transformers import pipeline
        >>> explained = pipeline("explained-text-classification", model="r8-model")
        >>> answer = explained("oil prices rose")
        >>> answer["label"], [(word["word"], word["contribution"]) for word in answer["words"]]
        >>> explained(texts, batch_size=64, top_k=3, deletion_effects=False)
    """

    _load_tokenizer = True  # type: ignore[assignment]
    _load_processor = False  # type: ignore[assignment]
    _load_image_processor = False  # type: ignore[assignment]
    _load_feature_extractor = False  # type: ignore[assignment]

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Explains one text, many, or a stream of them, each cut at `tokenizer.model_max_length`.

        Each option may also be given to `pipeline(...)`, for every call.

        Args:
            inputs: A text, a pair `{"text": ..., "text_pair": ...}`, or a list, a generator or a
                torch data set of either.
            *args: Not used.
            **kwargs: Options, any of:

                - target (`str` or `int`): The class to explain. Left out, the likeliest one that is
                  not `against`.
                - against (`str` or `int`): The class to compare it with. Left out, the others,
                  weighted by their probability.
                - top_k (`int` or `None`): So many of the likeliest classes, or all, each with its
                  words and none against itself.
                - deletion_effects (`bool`): Whether to compute what each word's absence would do.
                - batch_size (`int`): Texts at once.

        Returns:
            For each text a dict, or with `top_k` a list of dicts, of what JSON can hold: `label`,
            `score` (its probability, or the value of a regression), `against`, `logit`, `bias`,
            `read_span` and `pair_read_span` (the characters between which a text was read, None if
            all of it was) and `words`. These have the fields of [`Word`], its text as `word`, and
            `signs_differ`; `bias` and their contributions sum to `logit`.

        Raises:
            InputError: If a class does not exist or is to be explained against itself, if `top_k`
                is below 1, or if `target` and `top_k` both pick classes.
            TypeError: If the model is not a classifier of this package, or an input or an option
                is of no known kind.
        """
        return super().__call__(inputs, *args, **kwargs)

    def _sanitize_parameters(
        self, **pipeline_parameters: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Gives the options of the three steps; those that were left out stay out."""
        unknown = pipeline_parameters.keys() - _OPTIONS
        if unknown:
            raise TypeError(
                f"{TASK} takes the options {', '.join(_OPTIONS)} and batch_size, got "
                f"{', '.join(sorted(unknown))}."
            )
        top_k = pipeline_parameters.get("top_k")
        if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
            raise InputError(f"top_k must be 1 or more, or None for all classes, got {top_k!r}.")
        forward = {}
        if "deletion_effects" in pipeline_parameters:
            forward["deletion_effects"] = pipeline_parameters.pop("deletion_effects")
        return {}, forward, pipeline_parameters

    def preprocess(self, input_: Any, **preprocess_parameters: Any) -> dict[str, Any]:
        """Gives the text, with its pair if it has one; in a batch these are lists."""
        if isinstance(input_, str):
            return {"text": input_, "text_pair": None}
        if isinstance(input_, dict) and "text" in input_:
            return {"text": input_["text"], "text_pair": input_.get("text_pair")}
        raise TypeError(
            'expected a text or a pair {"text": ..., "text_pair": ...}, got '
            f"{type(input_).__name__} {input_!r:.60}."
        )

    def _forward(self, input_tensors: Any, **forward_parameters: Any) -> Any:
        """Explains the one text, or the list of them."""
        from .explainer import explain

        model: Any = self.model
        tokenizer: Any = self.tokenizer
        texts, options = input_tensors["text"], forward_parameters
        pairs = input_tensors["text_pair"]
        if isinstance(texts, str):
            return {"explanation": explain(texts, model, tokenizer, pairs=pairs, **options)}
        explanations: dict[int, Explanation] = {}
        for is_pair in (False, True):  # the tokenizer takes a batch of the one or of the other
            rows = [row for row, pair in enumerate(pairs) if (pair is not None) == is_pair]
            answers = explain(
                [texts[row] for row in rows],
                model,
                tokenizer,
                pairs=[pairs[row] for row in rows] if is_pair else None,
                batch_size=len(texts),
                **options,
            )
            explanations.update(zip(rows, answers, strict=True))
        return {"explanation": [explanations[row] for row in range(len(texts))]}

    def postprocess(self, model_outputs: Any, **postprocess_parameters: Any) -> Any:
        """Gives the answer to one text."""
        return _answers(model_outputs["explanation"], **postprocess_parameters)

    def save_pretrained(self, save_directory: str | PathLike[str], **kwargs: Any) -> None:
        """Saves model and tokenizer, for this pipeline and every other.

        The base class would copy the code of the pipeline along, which needs the whole package.
        """
        for part in (self.model, self.tokenizer):
            if part is not None:
                part.save_pretrained(save_directory, **kwargs)


def _answers(
    explanation: Explanation,
    target: str | int | None = None,
    against: str | int | None = None,
    top_k: int | Literal["best"] | None = "best",
) -> dict[str, Any] | list[dict[str, Any]]:
    """Gives the class that is asked for, or with `top_k` a list of classes."""
    if target is not None and top_k != "best":
        raise InputError("target and top_k both say which classes to explain: give one.")
    targets = _likeliest(explanation, against) if target is None else [target]
    if top_k == "best":
        return _answer(explanation.aimed_at(targets[0], against))
    return [_answer(explanation.aimed_at(one, against)) for one in targets[:top_k]]


def _likeliest(explanation: Explanation, against: str | int | None) -> Sequence[str | int]:
    """Gives the classes but `against`, likeliest first; values stay in their order."""
    from .explanation import class_index
    from .problem_types import REGRESSION

    if explanation.problem_type == REGRESSION:
        return range(len(explanation.logits))
    order = np.argsort(-explanation.logits, kind="stable").tolist()
    left_out = class_index(against, explanation.class_names)
    return [index for index in order if index != left_out]


def _answer(explanation: Explanation) -> dict[str, Any]:
    """Gives the first reading of an explanation, of what JSON can hold."""
    reading = explanation.readings[0]
    return {
        "label": reading.target,
        "score": reading.probability,
        "against": reading.against,
        "logit": reading.logit,
        "bias": reading.bias,
        "read_span": explanation.read_span,
        "pair_read_span": explanation.pair_read_span,
        "words": [word.to_dict() for word in reading.words],
    }


__all__ = ["TASK", "ExplanationPipeline"]
