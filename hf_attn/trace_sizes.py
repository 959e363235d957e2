"""How large a traced text and its model are, in numbers and in words."""

from __future__ import annotations

from typing import NamedTuple

from .explanation import Explanation
from .modeling_hf_attn import HfAttnForSequenceClassification
from .problem_types import REGRESSION, problem_type_of


class Sizes(NamedTuple):
    """What the words depend on: how large a text and a model are, and what the model has.

    Attributes:
        noun: What a text is called, "sentence" or "pair of sentences".
        num_characters: Of the text, and of the second one.
        num_tokens: T, all that the model read.
        hidden_size: D.
        head_dim: K.
        num_classes: C.
        vocab_size: Rows of the embedding table.
        ngram_buckets: Rows of the table of bigrams; 0 without.
        num_distances: Learned scores of distances; 0 without.
        window: How far a token sees; 0 for all.
        learns_pooling: Whether tokens count by a learned score, and not all the same.
        has_reference: Whether features are counted from a reference.
        problem_type: The task.
    """

    noun: str
    num_characters: int
    num_tokens: int
    hidden_size: int
    head_dim: int
    num_classes: int
    vocab_size: int
    ngram_buckets: int
    num_distances: int
    window: int
    learns_pooling: bool
    has_reference: bool
    problem_type: str

    def shape(self, *parts: str) -> str:
        """Gives a shape in words: "1 sentence × 6 tokens × 8 features"."""
        return " × ".join([f"1 {self.noun}", *parts])

    @property
    def tokens(self) -> str:
        """The tokens, counted."""
        return count(self.num_tokens, "token")

    @property
    def features(self) -> str:
        """The features, counted."""
        return count(self.hidden_size, "feature")

    @property
    def outputs(self) -> str:
        """What the model gives, counted."""
        if self.problem_type == REGRESSION:
            return count(self.num_classes, "value")
        return count(self.num_classes, "probability", "probabilities")


def sizes_of(model: HfAttnForSequenceClassification, explanation: Explanation) -> Sizes:
    """Gives what the words of a trace depend on."""
    config = model.config
    return Sizes(
        noun="sentence" if explanation.pair is None else "pair of sentences",
        num_characters=len(explanation.text) + len(explanation.pair or ""),
        num_tokens=explanation.num_tokens,
        hidden_size=config.hidden_size,
        head_dim=config.head_dim,
        num_classes=len(explanation.class_names),
        vocab_size=config.vocab_size,
        ngram_buckets=config.ngram_buckets,
        num_distances=config.relative_attention_num_buckets,
        window=config.attention_window,
        learns_pooling=config.classifier_pooling == "static",
        has_reference=bool(model.score.reference.any()),
        problem_type=problem_type_of(config),
    )


def count(number: int, noun: str, nouns: str | None = None) -> str:
    """Gives a number with its noun: "1 token", "5,000 tokens"."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"
