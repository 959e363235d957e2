"""What a trace is: the stages that a text goes through, each with its shapes and its numbers.

Shapes: T tokens that a trace holds, W words, D hidden size, K query and key size, C classes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .explanation import Explanation
from .saving import written
from .trace_wording import trace_notes
from .word_sums import Array, Word

if TYPE_CHECKING:
    from pathlib import Path

# A trace holds the numbers of so many tokens: 256 x 256 scores are 65,536 numbers, and those of
# 5,000 words would be 25 million.
MOST_TOKENS_KEPT = 256


class Axis(NamedTuple):
    """One dimension of an array.

    Attributes:
        kind: What it counts, in the plural, such as "tokens".
        names: The name of each place along it.
    """

    kind: str
    names: list[str]


@dataclass(frozen=True, eq=False)
class Stage:
    """One step of the computation.

    Attributes:
        number: Counted from 1.
        name: What it is called.
        does: What it does, in one sentence.
        formula: The same as a formula, with this model's sizes.
        learned: The weights that it uses, with their shapes; "" if it uses none.
        takes: The shape of what goes in, in words.
        gives: The shape of what comes out, in words: "1 sentence × 6 tokens × 8 features".
        values: What is computed, by name, the result last: arrays, or strings and lists of them.
        axes: For each array among the values, what its dimensions are.
    """

    number: int
    name: str
    does: str
    formula: str
    learned: str
    takes: str
    gives: str
    values: dict[str, Any]
    axes: dict[str, tuple[Axis, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Gives all of this, of what JSON can hold; None where a token does not see another."""
        return {
            "number": self.number,
            "name": self.name,
            "does": self.does,
            "formula": self.formula,
            "learned": self.learned,
            "takes": self.takes,
            "gives": self.gives,
            "values": {name: to_lists(value) for name, value in self.values.items()},
            "axes": {name: [axis.kind for axis in axes] for name, axes in self.axes.items()},
        }


class Trace:
    """What every trace tells of its text, and can be shown as.

    Attributes:
        explanation: The prediction, and what each word adds to it.
    """

    explanation: Explanation

    @property
    def text(self) -> str:
        """The text as given."""
        return self.explanation.text

    @property
    def pair(self) -> str | None:
        """The second text, if there is one."""
        return self.explanation.pair

    @property
    def num_tokens(self) -> int:
        """Tokens that the model read."""
        return self.explanation.num_tokens

    @property
    def class_names(self) -> list[str]:
        """C names."""
        return list(self.explanation.class_names)

    @property
    def label(self) -> str:
        """The class with the highest logit; for a regression the name of the value."""
        return self.explanation.label

    @property
    def probabilities(self) -> Array:
        """(C,), for a regression the values."""
        return self.explanation.probabilities

    def to_dict(self) -> dict[str, Any]:
        """Gives everything that the trace holds, of what JSON can hold."""
        raise NotImplementedError

    def to_json(self, path: str | Path | None = None) -> str:
        """Gives `to_dict()` as one line of JSON, and writes it.

        Args:
            path: Where to write, in UTF-8; the file is replaced whole or not at all.
        """
        line = json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False) + "\n"
        return written(line, path)

    def to_terminal(self, *, width: int | None = None, color: bool | None = None) -> str:
        """Gives the stages with their tables, cut to what can be read.

        Args:
            width: Columns to keep to; those of the terminal if None.
            color: Whether to use colours; if None, where standard output is a terminal and the
                variable `NO_COLOR` is not set.
        """
        from .trace_view import trace_to_terminal

        return trace_to_terminal(self, width=width, color=color)

    def to_html(self, path: str | Path | None = None) -> str:
        """Gives a page without script or network, and writes it.

        Args:
            path: Where to write, in UTF-8; the file is replaced whole or not at all.
        """
        from .trace_page import trace_to_html

        return trace_to_html(self, path)

    def _repr_html_(self) -> str:
        from .trace_page import trace_to_fragment

        return trace_to_fragment(self)

    def __str__(self) -> str:
        return self.to_terminal(color=False)


@dataclass(frozen=True, eq=False)
class PipelineTrace(Trace):
    """A text on its way through the model, in seven stages.

    Of a long text the model reads all tokens, and the trace holds the first
    `MOST_TOKENS_KEPT` of them.

    Attributes:
        explanation: The prediction, and what each word adds to it.
        tokens: T tokens, as the vocabulary names them.
        token_names: (T) what stands beside a row: the token, or for one that the vocabulary does
            not have the word of the text and a question mark.
        token_ids: (T,), their numbers in the vocabulary.
        stages: The seven, in their order.
    """

    explanation: Explanation
    tokens: list[str]
    token_names: list[str]
    token_ids: NDArray[np.int64]
    stages: tuple[Stage, ...]

    @property
    def notes(self) -> list[str]:
        """What has to be known to read the numbers, such as what was cut; in most cases nothing."""
        return trace_notes(self.explanation, len(self.tokens))

    def to_dict(self) -> dict[str, Any]:
        """Gives the text, the prediction, and every stage with all of its numbers."""
        return {**_prediction_to_dict(self), "stages": [one.to_dict() for one in self.stages]}


@dataclass(frozen=True, eq=False)
class PredictionTrace(PipelineTrace):
    """The same in the six layers of one prediction, with what each word received and added.

    Attributes:
        layers: The six, in their order.
    """

    layers: tuple[Stage, ...]

    @property
    def attention(self) -> NDArray[np.floating[Any]]:
        """(T, T), how the token of a row weighs those of the columns."""
        weights: NDArray[np.floating[Any]] = self.layers[2].values["weights"]
        return weights

    @property
    def words(self) -> tuple[Word, ...]:
        """Each word with what it received (`attention_received`) and adds (`contribution`)."""
        return self.explanation.words

    @property
    def attention_received(self) -> Array:
        """(W,), the share of the text's attention that each word gets, summing to 1."""
        return self.explanation.attention_received

    @property
    def contributions(self) -> Array:
        """(W, C), what each word adds to each logit."""
        return self.explanation.contributions

    def to_dict(self) -> dict[str, Any]:
        """Gives the text, the prediction, and every layer with all of its numbers."""
        words = self.words[:MOST_TOKENS_KEPT]
        return {
            **_prediction_to_dict(self),
            "words": [word.text for word in words],
            "layers": [one.to_dict() for one in self.layers],
        }


def _prediction_to_dict(trace: PipelineTrace) -> dict[str, Any]:
    """Gives what `hf-attn predict --json` gives, and the tokens."""
    one = trace.explanation
    scores = zip(one.class_names, one.probabilities.tolist(), strict=True)
    return {
        "text": one.text,
        **({} if one.pair is None else {"pair": one.pair}),
        "label": one.label,
        "score": one.probability,
        "scores": dict(sorted(scores, key=lambda item: -item[1])),
        "class_names": trace.class_names,
        "num_tokens": trace.num_tokens,
        "num_tokens_kept": len(trace.tokens),
        "num_cut": one.num_cut,
        "tokens": trace.tokens,
    }


def to_lists(value: Any) -> Any:
    """Gives an array as lists, each number in the digits that its dtype tells apart."""
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype != np.float32:
        lists = value.tolist()
    else:  # the double of a float32 is written with eight digits too many
        lists = value.astype(str).astype(np.float64).tolist()
    if value.ndim == 2 and not_seen(value).any():
        hidden = not_seen(value)
        lists = [
            [None if hides else number for number, hides in zip(row, hiding, strict=True)]
            for row, hiding in zip(lists, hidden, strict=True)
        ]
    return lists


def not_seen(scores: NDArray[Any]) -> NDArray[np.bool_]:
    """Tells where a token does not see another: their score is the dtype's lowest number."""
    if not np.issubdtype(scores.dtype, np.floating):
        return np.zeros(scores.shape, dtype=np.bool_)
    return np.asarray(scores == np.finfo(scores.dtype).min)
