"""One sum of an explanation: the words of a text, and what each adds to a logit.

Shapes: W words of one text, T of its tokens, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# What a word of nothing but white space is shown as.
_WHITE_SPACE = str.maketrans({" ": "\u2423", "\n": "\u21b5", "\t": "\u21e5"})


@dataclass(frozen=True)
class Word:
    """One word of a text in one reading, or a special token of the tokenizer.

    Attributes:
        text: The word as it stands in the text; for a special token its name.
        start: Its first character, counted in the text as given (in the pair if `in_pair`).
        end: One past its last character; `start` for a special token.
        contribution: What it adds to the logit of the reading, `direct + context`.
        direct: The part of its own features.
        context: The part that reaches the text through attention.
        deletion_effect: The logit less the logit without the word, positive where the word supports
            the class; None if it was not asked for.
        pool_weight: How the text weighs it (p), a share.
        attention_received: The attention it gets from the text (a = p A), a share.
        is_known: False if the vocabulary lacks it or a part of it.
        is_special: Whether it is a token that the tokenizer put in, such as `[SEP]`.
        in_pair: Whether it stands in the second text of a pair.
    """

    text: str
    start: int
    end: int
    contribution: float
    direct: float
    context: float
    deletion_effect: float | None
    pool_weight: float
    attention_received: float
    is_known: bool = True
    is_special: bool = False
    in_pair: bool = False

    @property
    def signs_differ(self) -> bool:
        """Whether it adds to the logit and yet the logit would rise without it, or the reverse."""
        return self.deletion_effect is not None and self.contribution * self.deletion_effect < 0

    @property
    def name(self) -> str:
        """The text, with a picture where it is nothing but white space."""
        return self.text.translate(_WHITE_SPACE) if self.text.isspace() else self.text

    def to_dict(self) -> dict[str, Any]:
        """Gives all of this, the text as `word`, as transformers' pipelines of tokens call it."""
        values = vars(self) | {"signs_differ": self.signs_differ}
        return {"word": values.pop("text"), **values}

    @property
    def size(self) -> float:
        """The size of its contribution or of its deletion effect, whichever is larger."""
        return max(abs(self.contribution), abs(self.deletion_effect or 0.0))


@dataclass(frozen=True, eq=False)
class Reading:
    """One sum of an explanation: the logit of a class, or of a class against others.

    Attributes:
        target: Name of the class.
        against: Name of the class it is compared with, "the others" (weighted by the softmax over
            their logits), or None where the logit stands for itself.
        probability: Of the target; for a regression the value.
        logit: From the model's own logits: the target's, less what it is compared with; for a
            regression the value.
        target_logit: The model's logit of the target alone.
        bias: What is there without words.
        words: W words in the order of the text.
        unit: What all of these are counted in, "logit", or for a regression "value".
        attention: (W, W), how word i weighs word j; None if it was not asked for.
        reads: (W, W), what word j adds because word i reads it; a column sums to `context`. None if
            attentions were not asked for.
    """

    target: str
    against: str | None
    probability: float
    logit: float
    target_logit: float
    bias: float
    words: tuple[Word, ...]
    unit: str = "logit"
    attention: Array | None = field(default=None, repr=False)
    reads: Array | None = field(default=None, repr=False)

    @property
    def title(self) -> str:
        """What the sum is of: "acq against the others"."""
        return self.target if self.against is None else f"{self.target} against {self.against}"

    @property
    def total(self) -> float:
        """The sum of the words' contributions."""
        return float(sum(word.contribution for word in self.words))

    @property
    def error(self) -> float:
        """How far bias and contributions are from the model's logit."""
        return abs(self.bias + self.total - self.logit)

    @property
    def check(self) -> str:
        """The sum in one line, to be checked by eye."""
        made_of = ""
        if self.against is not None:
            less = self.target_logit - self.logit
            made_of = f" ({self.target_logit:+.4f} less {less:+.4f} of {self.against})"
        return (
            f"bias {self.bias:+.4f} + sum {self.total:+.4f} = {self.unit} {self.logit:+.4f}"
            f"{made_of}, error {self.error:.0e}"
        )

    @property
    def largest(self) -> float:
        """The largest size of a contribution or a deletion effect, 0 without words."""
        return max((word.size for word in self.words), default=0.0)

    def largest_words(self, limit: int) -> list[int]:
        """Gives the indices of the `limit` words whose contribution or deletion effect is largest.

        They come by the size of their contributions, the largest first.
        """
        chosen = sorted(range(len(self.words)), key=lambda index: -self.words[index].size)[:limit]
        return sorted(chosen, key=lambda index: -abs(self.words[index].contribution))


@dataclass(frozen=True, eq=False)
class TokenWeights:
    """How the tokens of a text were weighed, for the pictures of attention.

    Attributes:
        attention: (T, T), how token i weighs token j.
        pool_weights: (T,), p.
        context_values: (T, C), what a weight of 1 on the token would add to each logit.
        word_of_token: (T,), the word that each token is a part of.
    """

    attention: Array
    pool_weights: Array
    context_values: Array
    word_of_token: NDArray[np.int64]

    def between_words(self, num_words: int, direction: Array) -> tuple[Array, Array]:
        """Gives attention and what is read, both (W, W), from those between tokens.

        A word pays the mean of its tokens' attention and receives the sum over its tokens.

        Args:
            num_words: W.
            direction: (C,), the weights of the logits in a reading.
        """
        part_of = np.zeros((num_words, len(self.word_of_token)))
        part_of[self.word_of_token, np.arange(len(self.word_of_token))] = 1
        attention = part_of @ self.attention @ part_of.T
        read = self.pool_weights[:, None] * self.attention * (self.context_values @ direction)
        return attention / part_of.sum(1, keepdims=True), part_of @ read @ part_of.T
