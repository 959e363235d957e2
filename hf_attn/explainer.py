"""Explains what a model says of texts, in batches: one forward pass and a closed form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Encoding
from transformers import PreTrainedTokenizerBase

from .batching import TokenizedTexts, encode
from .deletion import logits_without_words
from .errors import InputError
from .explainability import check_explainable, check_finite
from .explanation import Explanation, Explanations, class_index
from .modeling_hf_attn import HfAttnClassifier
from .prediction import evaluating
from .probabilities import logits_to_scores
from .problem_types import problem_type_of
from .word_sums import Array, TokenWeights
from .words import Words, find_words

_TEXTS_AT_ONCE = 4096
# The most tokens of a text whose deletion effects or attentions are given: some gigabytes.
MOST_TOKENS = 16_384
# What a batch may hold of the scores between tokens: several matrices of this size are in memory.
_SCORES_AT_ONCE = 1 << 20


@overload
def explain(  # type: ignore[overload-overlap]  # a string is a sequence of strings, too
    texts: str,
    model: HfAttnClassifier,
    tokenizer: PreTrainedTokenizerBase,
    *,
    pairs: str | None = ...,
    target: str | int | None = ...,
    against: str | int | None = ...,
    deletion_effects: bool = ...,
    attentions: bool = ...,
    batch_size: int = ...,
) -> Explanation: ...


@overload
def explain(
    texts: Sequence[str],
    model: HfAttnClassifier,
    tokenizer: PreTrainedTokenizerBase,
    *,
    pairs: Sequence[str] | None = ...,
    target: str | int | None = ...,
    against: str | int | None = ...,
    deletion_effects: bool = ...,
    attentions: bool = ...,
    batch_size: int = ...,
) -> Explanations: ...


def explain(
    texts: str | Sequence[str],
    model: HfAttnClassifier,
    tokenizer: PreTrainedTokenizerBase,
    *,
    pairs: str | Sequence[str] | None = None,
    target: str | int | None = None,
    against: str | int | None = None,
    deletion_effects: bool = True,
    attentions: bool = False,
    batch_size: int = 64,
) -> Explanation | Explanations:
    """Gives for each word what it adds to a logit, exactly, and what the logit loses without it.

    The model is in evaluation mode meanwhile, and automatic mixed precision is off. Deletion
    effects and attentions take memory with the square of a text's length.

    Args:
        texts: One text, or N; an empty one has no words, and the bias as its logits.
        model: The classifier.
        tokenizer: The one it was trained with.
        pairs: The second text of each, for a model of pairs.
        target: Name or index of the class to explain; None for the likeliest one (but `against`),
            for several labels and for values for each.
        against: Name or index of the class to compare it with; None for the others, weighted by
            their probability.
        deletion_effects: Whether to compute what each word's absence would do.
        attentions: Whether to keep how the words weigh each other, T x T numbers a text.
        batch_size: Texts at once, at most.

    Returns:
        An explanation for one text, or N of them in the order of the texts.

    Raises:
        InputError: If a class does not exist, if texts and pairs do not fit together, if a text has
            too many tokens for its deletion effects, if the tokenizer belongs to another model, or
            if the model's weights hold NaN.
        TypeError: If the model is not a classifier of this package, or the tokenizer is not a fast
            one.

    Example:
        >>> explanation = explain("oil prices rose", model, tokenizer)
        >>> [(word.text, word.contribution) for word in explanation.words]
    """
    check_explainable(model, tokenizer)
    for aim in (target, against):
        class_index(aim, model.config.class_names)
    if batch_size < 1:
        raise InputError(f"batch_size must be 1 or more, got {batch_size!r}.")
    all_texts = [texts] if isinstance(texts, str) else list(texts)
    all_pairs = [pairs] if isinstance(pairs, str) else None if pairs is None else list(pairs)
    if all_pairs is not None and len(all_pairs) != len(all_texts):
        raise InputError(
            f"expected a second text for each of {len(all_texts):,} texts, got {len(all_pairs):,}."
        )
    explanations: list[Explanation] = []
    exact = torch.autocast(model.device.type, enabled=False)
    with evaluating(model), exact, torch.inference_mode():
        for start in range(0, len(all_texts), _TEXTS_AT_ONCE):
            part = slice(start, start + _TEXTS_AT_ONCE)
            explainer = _Explainer(
                model,
                tokenizer,
                all_texts[part],
                None if all_pairs is None else all_pairs[part],
                deletion_effects=deletion_effects,
                attentions=attentions,
            )
            explanations += explainer.explain(batch_size)
    if target is not None or against is not None:
        explanations = [one.aimed_at(target, against) for one in explanations]
    return explanations[0] if isinstance(texts, str) else Explanations(explanations)


class _Explainer:
    """Explains texts that are tokenized together, longest first."""

    def __init__(
        self,
        model: HfAttnClassifier,
        tokenizer: PreTrainedTokenizerBase,
        texts: Sequence[str],
        pairs: Sequence[str] | None,
        *,
        deletion_effects: bool,
        attentions: bool,
    ) -> None:
        self.model = model
        self.device = model.device
        self.texts = texts
        self.pairs = pairs
        self.unknown_id = tokenizer.unk_token_id
        self.deletion_effects = deletion_effects
        self.attentions = attentions
        encoded = encode(texts, tokenizer, pairs)
        self.encodings = encoded.encodings or []
        self.tokenized = TokenizedTexts.from_ids(encoded["input_ids"], tokenizer)
        self._check_tokens()
        self.num_cut = _count_cut(self.encodings, texts, tokenizer, pairs)

    def _check_tokens(self) -> None:
        largest = int(self.tokenized.token_ids.max(initial=0))
        if largest >= self.model.config.vocab_size:
            raise InputError(
                f"expected a tokenizer of at most vocab_size={self.model.config.vocab_size} tokens,"
                f" got token id {largest}. It belongs to another model."
            )
        longest = int(self.tokenized.lengths.max(initial=0))
        if (self.deletion_effects or self.attentions) and longest > MOST_TOKENS:
            raise InputError(
                f"expected texts of at most {MOST_TOKENS:,} tokens, got one of {longest:,}: "
                "deletion effects and attentions take memory with the square of the length. Use "
                "deletion_effects=False (--no-deletion-effects) without attentions, or lower the "
                "tokenizer's model_max_length."
            )

    def explain(self, batch_size: int) -> list[Explanation]:
        """Gives the explanations in the order of the texts."""
        explanations: dict[int, Explanation] = {}
        for rows in self._batches(batch_size):
            explanations.update(zip(rows, self._explain_batch(rows), strict=True))
        return [explanations[row] for row in range(len(self.texts))]

    def _batches(self, batch_size: int) -> Iterator[list[int]]:
        order = np.argsort(-self.tokenized.lengths, kind="stable").tolist()
        while order:
            longest = max(int(self.tokenized.lengths[order[0]]), 1)
            size = max(1, min(batch_size, _SCORES_AT_ONCE // longest**2))
            yield order[:size]
            order = order[size:]

    def _explain_batch(self, rows: Sequence[int]) -> Iterator[Explanation]:
        texts = [self.texts[row] for row in rows]
        pairs = None if self.pairs is None else [self.pairs[row] for row in rows]
        encodings = [self.encodings[row] for row in rows]
        words = find_words(encodings, texts, pairs)
        batch = {k: v.to(self.device) for k, v in self.tokenized.batch(rows).items()}
        outputs = self.model(
            **batch,
            output_contributions=True,
            output_attentions=self.deletion_effects or self.attentions,
            output_intermediates=self.deletion_effects or self.attentions,
        )
        check_finite(outputs.logits)
        mask = batch["attention_mask"]
        parts = {
            name: _sum_words(outputs[name][mask], words.first_token)
            for name in (
                "direct_contributions",
                "context_contributions",
                "pool_weights",
                "attention_received",
            )
        }
        effects = None
        if self.deletion_effects:
            effects = self._deletion_effects(batch, outputs, words)
        known = np.ones(len(words.spans), dtype=np.bool_)
        if self.unknown_id is not None and len(known):
            ids = batch["input_ids"][mask].cpu().numpy()
            known = np.minimum.reduceat(ids != self.unknown_id, words.first_token)
            known |= words.is_special
        return self._take_apart(rows, encodings, words, outputs, parts, effects, known)

    def _deletion_effects(
        self, batch: dict[str, torch.Tensor], outputs: Any, words: Words
    ) -> Array:
        """Gives (W, C), the words of all texts of the batch."""
        mask = batch["attention_mask"]
        word_of_token = torch.full_like(batch["input_ids"], -1)
        word_of_token[mask] = torch.from_numpy(words.of_token).to(mask.device)
        without = logits_without_words(self.model, outputs, batch["input_ids"], mask, word_of_token)
        counts = torch.from_numpy(np.diff(words.of_text)).to(mask.device)
        exists = torch.arange(without.shape[1], device=mask.device) < counts.unsqueeze(1)
        effects = outputs.logits.unsqueeze(1) - without
        # What rounding makes of no effect at all would have a sign, and a wrong one half the time.
        rounding = 16 * torch.finfo(effects.dtype).eps
        noise = rounding * outputs.logits.abs().amax(-1).clamp(min=1)
        effects = effects.masked_fill(effects.abs() <= noise.view(-1, 1, 1), 0)
        return _numpy(effects[exists])

    def _take_apart(
        self,
        rows: Sequence[int],
        encodings: Sequence[Encoding],
        words: Words,
        outputs: Any,
        parts: dict[str, Array],
        effects: Array | None,
        known: NDArray[np.bool_],
    ) -> Iterator[Explanation]:
        """Yields the explanation of each text of a batch."""
        config = self.model.config
        problem_type = problem_type_of(config)
        logits = outputs.logits.cpu().numpy()
        scores = logits_to_scores(logits, problem_type).astype(np.float64)
        logits = logits.astype(np.float64)
        bias = _numpy(outputs.bias)
        class_names = config.class_names
        has_special = bool(words.is_special.any())
        for position, row in enumerate(rows):
            here = slice(*words.of_text[position : position + 2])
            encoding = encodings[position]
            yield Explanation(
                text=self.texts[row],
                pair=None if self.pairs is None else self.pairs[row],
                class_names=class_names,
                problem_type=problem_type,
                logits=logits[position],
                probabilities=scores[position],
                bias=bias,
                spans=words.spans[here],
                in_pair=words.in_pair[here],
                special=_special_names(encoding, words, here) if has_special else {},
                known=known[here],
                direct=parts["direct_contributions"][here],
                context=parts["context_contributions"][here],
                deletion_effects=None if effects is None else effects[here],
                pool_weights=parts["pool_weights"][here],
                attention_received=parts["attention_received"][here],
                num_tokens=len(encoding),
                num_cut=self.num_cut.get(row, 0),
                weights=self._weights(outputs, position, words, len(encoding)),
                label_thresholds=config.label_thresholds,
            )

    def _weights(
        self, outputs: Any, position: int, words: Words, length: int
    ) -> TokenWeights | None:
        if not self.attentions:
            return None
        first, stop = words.of_text[position : position + 2]
        start = words.first_token[first] if stop > first else 0
        word_of_token = words.of_token[start : start + length]
        return TokenWeights(
            _numpy(outputs.attentions[0][position, 0, :length, :length]),
            _numpy(outputs.pool_weights[position, :length]),
            _numpy(outputs.context_values[position, :length]),
            word_of_token,
        )


def _sum_words(values: torch.Tensor, first_token: NDArray[np.int64]) -> Array:
    """Gives the sums (W, ...) in float64 of the values (T, ...) of the tokens of each word."""
    array = _numpy(values)
    if len(first_token) == len(array):
        return array
    return np.add.reduceat(array, first_token)


def _numpy(tensor: torch.Tensor) -> Array:
    return tensor.cpu().double().numpy()


def _special_names(encoding: Encoding, words: Words, here: slice) -> dict[int, str]:
    """Gives the number of each word of a text that is a special token, and the token's name."""
    first_token = words.first_token[here]
    return {
        int(word): encoding.tokens[first_token[word] - first_token[0]]
        for word in np.flatnonzero(words.is_special[here])
    }


def _count_cut(
    encodings: Sequence[Encoding],
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[str] | None,
) -> dict[int, int]:
    """Gives how many tokens were cut of each text (or pair) of which some were."""
    rows = [row for row, encoding in enumerate(encodings) if encoding.overflowing]
    whole = (
        tokenizer(
            [texts[row] for row in rows],
            None if pairs is None else [pairs[row] for row in rows],
            return_attention_mask=False,
            verbose=False,
        )["input_ids"]
        if rows
        else []
    )
    return {row: len(ids) - len(encodings[row]) for row, ids in zip(rows, whole, strict=True)}
