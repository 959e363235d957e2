"""From token ids to logits, and to what each token adds to them, with NumPy alone.

Shapes: N texts, n tokens in all of them, B texts of a group, T tokens of its longest text, C
classes, W numbers in a token's value.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .attention import Attention, base
from .distances import DistanceScores
from .flat_texts import flatten
from .length_groups import group_by_length
from .token_rows import TokenRows, check_finite
from .whole_texts import WholeTexts
from .windowed_texts import WindowedTexts, longest_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .flat_texts import FlatTexts
    from .length_groups import Group
    from .tables import FoldedTables

    Array = NDArray[np.float32]
    Integers = NDArray[np.intp]


@dataclass(frozen=True)
class Scored:
    """What [`FoldedForward`] gives for N texts with n tokens in all.

    Attributes:
        logits: (N, C).
        contributions: (n,), what each token adds to the reading of its text: the logit of the
            likeliest class, or how far it stands above those of the others, weighted by the softmax
            over them. None unless asked for.
        bias: (N,), what the reading is without tokens: with the contributions of the text's tokens
            it sums to the reading. None unless asked for.
    """

    logits: Array
    contributions: Array | None = None
    bias: Array | None = None


class FoldedForward:
    """Scores texts with the tables of a folded model.

    Args:
        tables: The tables.
        num_threads: How many groups of texts are scored side by side.
        against_others: Whether a token's contribution is to the likeliest class against the others,
            and not to the likeliest class alone (as for several labels, and for values).

    Raises:
        InputError: If a number in the tables is NaN or infinite.
    """

    def __init__(
        self, tables: FoldedTables, num_threads: int = 1, *, against_others: bool = True
    ) -> None:
        self._tables = tables
        self._distances = DistanceScores(tables)
        self._rows = TokenRows(tables, scale=base()[1])
        self._attention = Attention(self._rows.largest_score + self._distances.largest)
        for numbers in (tables.bias, tables.out_proj, tables.distance_scores):
            if numbers is not None:
                check_finite(numbers)
        self._against_others = against_others and len(tables.bias) > 1
        window = tables.attention_window
        self._longest_whole = longest_whole(window)
        self._num_threads = num_threads
        self._threads = ThreadPoolExecutor(max(1, num_threads - 1))  # none is started before use

    def __call__(
        self, token_ids: NDArray[np.integer], lengths: NDArray[np.integer], *, explain: bool = False
    ) -> Scored:
        """Scores texts.

        Args:
            token_ids: (n,), the ids of all texts, one after the other.
            lengths: (N,), tokens of each text; may be 0.
            explain: Whether to give what each token adds.

        Raises:
            ValueError: If an id is not of the vocabulary, or the lengths do not sum to n.
        """
        tables = self._tables
        token_ids, lengths = token_ids.astype(np.intp), lengths.astype(np.intp)
        self._check(token_ids, lengths)
        logits = np.tile(tables.bias, (len(lengths), 1)).astype(np.float32)
        scored = Scored(logits)
        if explain:
            scored = Scored(
                logits,
                contributions=np.zeros(len(token_ids) + 1, dtype=np.float32),
                bias=(self._direction(logits) @ tables.bias).astype(np.float32),
            )
        texts = flatten(token_ids, lengths, tables, self._rows.padding)
        groups = deque(group_by_length(lengths, self._longest_whole))
        score = partial(self._score_all, groups, texts, scored)
        others = [self._threads.submit(score) for _ in range(self._num_threads - 1)]
        score()
        for other in others:
            other.result()
        if scored.contributions is not None:
            scored = Scored(logits, scored.contributions[:-1], scored.bias)
        return scored

    def _check(self, token_ids: Integers, lengths: Integers) -> None:
        if lengths.sum() != len(token_ids):
            raise ValueError(
                f"expected lengths that sum to the {len(token_ids)} token ids, got {lengths.sum()}."
            )
        num = len(self._tables.tokens.query)
        if len(token_ids) and not 0 <= token_ids.min() <= token_ids.max() < num:
            raise ValueError(
                f"expected token ids from 0 to {num - 1}, got {token_ids.min()} to "
                f"{token_ids.max()}. Use the tokenizer that the model was trained with."
            )

    def _score_all(self, groups: deque[Group], texts: FlatTexts, scored: Scored) -> None:
        """Scores groups until none is left; other threads may take from them, too."""
        while True:
            try:
                group = groups.popleft()
            except IndexError:
                return
            self._score(group, texts, scored)

    def _score(self, group: Group, texts: FlatTexts, scored: Scored) -> None:
        """Writes down what it finds of a group of texts."""
        in_windows = self._longest_whole is not None and group.longest > self._longest_whole
        attended = (WindowedTexts if in_windows else WholeTexts)(
            texts, group, self._rows, self._attention, self._distances
        )
        out_proj, bias = self._tables.out_proj, self._tables.bias
        added = attended.pooled if out_proj is None else attended.pooled @ out_proj.T
        logits = added + bias
        scored.logits[group.texts] = logits
        if scored.contributions is not None and scored.bias is not None:
            direction = self._direction(logits)
            scored.bias[group.texts] = direction @ bias
            if out_proj is not None:
                direction = direction @ out_proj
            scored.contributions[attended.places] = attended.contributions(direction)

    def _direction(self, logits: Array) -> Array:
        """Gives the weights (B, C) that a reading gives to logits (B, C)."""
        text, target = np.arange(len(logits)), logits.argmax(axis=1)
        # Classes first: NumPy is slow along a last axis of few.
        others = logits.T.copy()
        if self._against_others:
            others[target, text] = -np.inf
            others -= others.max(axis=0)
            np.exp(others, out=others)
            others /= -others.sum(axis=0)
        else:
            others[:] = 0
        others[target, text] = 1
        return others.T
