"""From token ids to logits, and to what each token adds to them, with NumPy alone.

Shapes: N texts, n tokens in all of them, B texts of a group, T tokens of its longest text, C
classes, W numbers in a token's value.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .distances import DistanceScores
from .exponentials import base
from .flat_texts import TextFlattener
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


def join_scored(parts: Sequence[Scored]) -> Scored:
    """Gives what was found of texts part by part as one, the parts one after the other."""
    contributions = [part.contributions for part in parts if part.contributions is not None]
    bias = [part.bias for part in parts if part.bias is not None]
    return Scored(
        np.concatenate([part.logits for part in parts]),
        np.concatenate(contributions) if contributions else None,
        np.concatenate(bias) if bias else None,
    )


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
        if num_threads < 1:
            raise ValueError(f"expected num_threads of 1 or more, got {num_threads!r}.")
        tokens, ngrams = tables.tokens, tables.ngrams
        pool_scores = (tokens.pool_scores, None if ngrams is None else ngrams.pool_scores)
        self._bias, self._out_proj = tables.bias, tables.out_proj
        for numbers in (self._bias, self._out_proj, tables.distance_scores, *pool_scores):
            if numbers is not None:
                check_finite(numbers)
        self._vocab_size = len(tokens.query)
        self._distances = DistanceScores(tables)
        self._rows = TokenRows(tables, scale=base()[1])
        self._flatten = TextFlattener(
            self._rows.padding,
            _num_slots(tables),
            tables.ngram_slots,
            tables.pad_token_id,
            *pool_scores,
        )
        self._against_others = against_others and len(self._bias) > 1
        self._longest_whole = longest_whole(tables.attention_window)
        self._num_threads = num_threads
        self._threads = ThreadPoolExecutor(max(1, num_threads - 1))  # none is started before use

    def __call__(
        self, token_ids: NDArray[Any], lengths: NDArray[Any], *, explain: bool = False
    ) -> Scored:
        """Scores texts.

        Args:
            token_ids: (n,), integers, the ids of all texts, one after the other.
            lengths: (N,), integers, tokens of each text; may be 0.
            explain: Whether to give what each token adds.

        Raises:
            InputError: If a logit is NaN or infinite.
            ValueError: If an id is not of the vocabulary, or the lengths do not sum to n.
        """
        self._check(token_ids, lengths)
        scored = self._score_empty(len(token_ids), len(lengths), explain=explain)
        texts = self._flatten(token_ids.astype(np.intp), lengths.astype(np.intp))
        groups = deque(group_by_length(lengths.astype(np.intp), self._longest_whole))
        score = partial(self._score_all, groups, texts, scored)
        others = [self._threads.submit(score) for _ in range(self._num_threads - 1)]
        score()
        for other in others:
            other.result()
        check_finite(scored.logits)
        if scored.contributions is None:
            return scored
        return replace(scored, contributions=scored.contributions[: texts.padding])

    def _check(self, token_ids: NDArray[Any], lengths: NDArray[Any]) -> None:
        if lengths.sum() != len(token_ids):
            raise ValueError(
                f"expected lengths that sum to the {len(token_ids)} token ids, got {lengths.sum()}."
            )
        if not len(token_ids):
            return
        lowest, highest = int(token_ids.min()), int(token_ids.max())
        if lowest < 0 or highest >= self._vocab_size:
            raise ValueError(
                f"expected token ids from 0 to {self._vocab_size - 1}, got {lowest} to {highest}. "
                "Use the tokenizer that the model was trained with."
            )

    def _score_empty(self, num_tokens: int, num_texts: int, *, explain: bool) -> Scored:
        """Gives what texts without tokens score, with a place for padding's contribution."""
        logits = np.empty((num_texts, len(self._bias)), dtype=np.float32)
        logits[:] = self._bias
        if not explain:
            return Scored(logits)
        bias = float(self._direction(self._bias[None])[0] @ self._bias)
        return Scored(
            logits,
            contributions=np.zeros(num_tokens + 1, dtype=np.float32),
            bias=np.full(num_texts, bias, dtype=np.float32),
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
            texts, group, self._rows, self._distances
        )
        out_proj, logits = self._out_proj, attended.pooled
        if out_proj is not None:
            logits = logits @ out_proj.T
        logits += self._bias
        scored.logits[group.texts] = logits
        if scored.contributions is not None and scored.bias is not None:
            direction = self._direction(logits)
            scored.bias[group.texts] = direction @ self._bias
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


def _num_slots(tables: FoldedTables) -> int:
    """Gives how many slots bigrams are hashed into, 0 without bigrams."""
    if tables.ngram_slots is not None:
        return len(tables.ngram_slots)
    return 0 if tables.ngrams is None else len(tables.ngrams.query)
