"""What a model says of texts: arrays for many, objects for those that are looked at.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from ..probabilities import logits_to_scores
from .encoding import EncodedTexts
from .forward import Scored
from .top_words import sum_words, top_words


@dataclass(frozen=True)
class Prediction:
    """What the model says of one text.

    Attributes:
        label: The class with the highest score; for regression the name of the value.
        score: Its probability; for regression the value.
        scores: Name and probability of every class, highest first.
    """

    label: str
    score: float
    scores: dict[str, float]


class TextBatch(NamedTuple):
    """Texts to classify together.

    Attributes:
        texts: N texts.
        pairs: N second texts, for a model of pairs.
    """

    texts: Sequence[str]
    pairs: Sequence[str] | None = None


class WordContribution(NamedTuple):
    """A word and what it adds to the reading of its text.

    Attributes:
        word: As it stands in the text; the name of a special token.
        start: Its first character, counted in the text (in the pair if `in_pair`).
        end: One past its last character.
        contribution: In logits.
        in_pair: Whether it stands in the second text of a pair.
    """

    word: str
    start: int
    end: int
    contribution: float
    in_pair: bool


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
    """

    batch: TextBatch
    class_names: tuple[str, ...]
    problem_type: str
    encoded: EncodedTexts
    scored: Scored
    token_name: Callable[[int], str] = field(repr=False)

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
    def labels(self) -> list[str]:
        """The name of each text's likeliest class."""
        return [self.class_names[index] for index in self.label_ids.tolist()]

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
        order = np.argsort(-row, kind="stable")
        scores = {self.class_names[one]: float(row[one]) for one in order}
        return Prediction(self.class_names[order[0]], float(row[order[0]]), scores)

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
        words = self.encoded.words([row])
        sums = sum_words(self.of_tokens[tokens], words.first_token)
        token_ids = self.encoded.token_ids[tokens][words.first_token]
        return [
            self._word(row, start, end, contribution, in_pair, token_id if is_special else None)
            for (start, end), contribution, in_pair, token_id, is_special in zip(
                words.spans.tolist(),
                sums.tolist(),
                words.in_pair.tolist(),
                token_ids.tolist(),
                words.is_special.tolist(),
                strict=True,
            )
        ]

    def top_words(self, count: int) -> list[list[WordContribution]]:
        """Gives for each text the `count` words of largest contribution, the largest first.

        Args:
            count: How many; of a shorter text all. Special tokens are left out.

        Raises:
            ValueError: If contributions were not asked for.
        """
        found = top_words(self.encoded.words(), self.of_tokens, count)
        words = map(
            self._word,
            found.of_text.tolist(),
            *found.spans.T.tolist(),
            found.contributions.tolist(),
            found.in_pair.tolist(),
        )
        return [list(islice(words, of_text)) for of_text in found.counts.tolist()]

    @property
    def of_tokens(self) -> NDArray[np.float32]:
        """(n,), what each token adds, the texts one after the other.

        Raises:
            ValueError: If contributions were not asked for.
        """
        if self.scored.contributions is None:
            raise _not_explained()
        return self.scored.contributions

    def _word(
        self,
        row: int,
        start: int,
        end: int,
        contribution: float,
        in_pair: bool,
        special_id: int | None = None,
    ) -> WordContribution:
        if special_id is not None:
            return WordContribution(self.token_name(special_id), start, end, contribution, in_pair)
        side = (self.batch.pairs or ()) if in_pair else self.batch.texts
        return WordContribution(side[row][start:end], start, end, contribution, in_pair)


def _not_explained() -> ValueError:
    return ValueError(
        "expected predictions with contributions, got some without. Ask for them: "
        "predictor.predict(texts, explain=True)."
    )
