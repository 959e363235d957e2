"""What a model says of texts: arrays for many, objects for those that are looked at.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from ..probabilities import logits_to_scores, predicted_labels, reach
from ..problem_types import MULTI
from .encoding import EncodedTexts
from .forward import Scored
from .word_columns import WordColumns, WordContribution, word_columns


@dataclass(frozen=True)
class Prediction:
    """What the model says of one text.

    Attributes:
        label: The class with the highest score, None where the predictor abstains; for regression
            the name of the value.
        score: The highest probability; for regression the value.
        scores: Name and probability of every class, highest first.
        labels: Of several labels those that reach their thresholds, the likeliest first; else
            `label` alone. None of them where the predictor abstains.
    """

    label: str | None
    score: float
    scores: dict[str, float]
    labels: tuple[str, ...] = ()


class TextBatch(NamedTuple):
    """Texts to classify together.

    Attributes:
        texts: N texts.
        pairs: N second texts, for a model of pairs.
    """

    texts: Sequence[str]
    pairs: Sequence[str] | None = None


@dataclass(frozen=True, eq=False)
class Predictions(Sequence[Prediction]):
    """What the model says of N texts, in their order.

    Where it was asked for, each word has its exact contribution to a reading: the logit of the
    likeliest class against the others, weighted by their softmax; for several labels and for values
    the logit of the first of them alone. `bias[n]` and the contributions of text n sum to it.

    Attributes:
        batch: The texts.
        class_names: C names.
        problem_type: The task.
        encoded: Their tokens.
        scored: Logits, and the tokens' contributions if they were asked for.
        token_name: Gives the name of a token from its id.
        label_thresholds: The probability from which on each of several labels is predicted; None
            for one half.
        abstain_below: The least probability of the likeliest class that gives a label, or None.
    """

    batch: TextBatch
    class_names: tuple[str, ...]
    problem_type: str
    encoded: EncodedTexts
    scored: Scored
    token_name: Callable[[int], str] = field(repr=False)
    label_thresholds: Sequence[float] | None = None
    abstain_below: float | None = None

    @property
    def logits(self) -> NDArray[np.float32]:
        """(N, C)."""
        return self.scored.logits

    @cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """(N, C), each of its own for several labels; for regression the values."""
        return logits_to_scores(self.logits, self.problem_type)

    @cached_property
    def label_ids(self) -> NDArray[np.intp]:
        """(N,), the class with the highest logit."""
        ids: NDArray[np.intp] = self.logits.argmax(1)
        return ids

    @cached_property
    def labels(self) -> list[str | None]:
        """The name of each text's likeliest class, None where the predictor abstains."""
        return [
            self.class_names[index] if answered else None
            for index, answered in zip(self.label_ids.tolist(), self.answered.tolist(), strict=True)
        ]

    @cached_property
    def answered(self) -> NDArray[np.bool_]:
        """(N,), False where the likeliest class is less probable than `abstain_below`."""
        if self.abstain_below is None:
            return np.ones(len(self), np.bool_)
        return reach(self.scores, self.abstain_below)

    @cached_property
    def predicted(self) -> NDArray[np.bool_]:
        """(N, C), which labels each text gets: of several labels those that reach their thresholds.

        Of one class, or of values, the likeliest alone; none where the predictor abstains.
        """
        if self.problem_type == MULTI:
            predicted = predicted_labels(self.probabilities, self.label_thresholds)
        else:
            predicted = np.arange(len(self.class_names)) == self.label_ids[:, None]
        return predicted & self.answered[:, None]

    @cached_property
    def scores(self) -> NDArray[np.float32]:
        """(N,), the probability of the likeliest class; for regression the value."""
        return self.probabilities[np.arange(len(self)), self.label_ids]

    def __len__(self) -> int:
        return len(self.logits)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...

    @overload
    def __getitem__(self, index: slice) -> list[Prediction]: ...

    def __getitem__(self, index: int | slice) -> Prediction | list[Prediction]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        row = self.probabilities[index]
        # Not by probabilities, which are 1 for more than one label where logits are large.
        order = np.argsort(-self.logits[index], kind="stable")
        scores = {self.class_names[one]: float(row[one]) for one in order}
        predicted = self.predicted[index]
        labels = tuple(self.class_names[one] for one in order if predicted[one])
        label = self.class_names[order[0]] if self.answered[index] else None
        return Prediction(label, float(row[order[0]]), scores, labels)

    @property
    def bias(self) -> NDArray[np.float32]:
        """(N,), what each reading is without words.

        Raises:
            ValueError: If contributions were not asked for.
        """
        if self.scored.bias is None:
            raise _not_explained()
        return self.scored.bias

    def words(self, index: int) -> list[WordContribution]:
        """Gives the words of one text in its order, each with its contribution.

        Args:
            index: Number of the text; a negative one counts from the end.

        Raises:
            ValueError: If contributions were not asked for.
        """
        row = range(len(self))[index]
        stop = int(self.encoded.lengths[: row + 1].sum())
        tokens = slice(stop - int(self.encoded.lengths[row]), stop)
        texts, pairs = self.batch
        columns = word_columns(
            self.encoded.words([row]),
            self._of_tokens[tokens],
            [texts[row]],
            None if pairs is None else [pairs[row]],
            lambda place: self.token_name(int(self.encoded.token_ids[tokens][place])),
        )
        return columns.of_each_text()[0]

    def top_words(self, count: int) -> list[list[WordContribution]]:
        """Gives for each text the `count` words of largest contribution, the largest first.

        Args:
            count: How many; of a shorter text all.

        Raises:
            ValueError: If contributions were not asked for.
        """
        return self.word_columns(count).of_each_text()

    def word_columns(self, count: int | None = None) -> WordColumns:
        """Gives the words of all texts as columns, for many of them the fastest way.

        Args:
            count: As in `top_words`; None for all words, in their order.

        Raises:
            ValueError: If contributions were not asked for.
        """
        return word_columns(
            self.encoded.words(),
            self._of_tokens,
            *self.batch,
            lambda place: self.token_name(int(self.encoded.token_ids[place])),
            count,
        )

    @property
    def _of_tokens(self) -> NDArray[np.float32]:
        if self.scored.contributions is None:
            raise _not_explained()
        return self.scored.contributions


def _not_explained() -> ValueError:
    return ValueError(
        "expected predictions with contributions, got some without. Ask for them: "
        "predictor.predict(texts, explain=True)."
    )
