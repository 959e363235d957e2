"""Attributions of words by our model itself and by the packages people use, all for one text.

Every method gets the same model, words and class. Gradients go to token embeddings, and the tokens
of a word are summed; LIME and SHAP see words, and what they take out is deleted from the text. They
get the text in tokens already, where ours begins with the characters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
import shap
import torch
from captum.attr import InputXGradient, IntegratedGradients
from lime.lime_text import LimeTextExplainer
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_attn import HfAttnForSequenceClassification, explain
from hf_attn.batching import encode
from hf_attn.faithfulness import Array, Kept, KeptWords, Score, leave_one_out
from hf_attn.word_sums import Reading
from hf_attn.words import find_words

GRADIENT_STEPS = 50
LIME_SAMPLES = 500
SHAP_EVALUATIONS = 500
# Steps times tokens squared in one pass of integrated gradients, to bound its memory.
_SCORES_AT_ONCE = 1 << 22


@dataclass(frozen=True, eq=False)
class Case:
    """One text with its words and the class to explain, as every method gets it.

    Attributes:
        text: The text.
        spans: (W, 2), first character of each word and one past its last.
        kept: The model on what is left of the text when words are deleted.
        tokenizer: The model's.
    """

    text: str
    spans: Sequence[tuple[int, int]]
    kept: KeptWords
    tokenizer: PreTrainedTokenizerBase

    @classmethod
    def of(
        cls,
        text: str,
        model: HfAttnForSequenceClassification,
        tokenizer: PreTrainedTokenizerBase,
        target: int | None = None,
    ) -> Case:
        """Finds the words of a text, and the class that the model gives it if none is given."""
        encodings = encode([text], tokenizer).encodings or []
        words = find_words(encodings, [text])
        ids = np.array(encodings[0].ids, dtype=np.int64)
        kept = KeptWords(model, ids, words.of_token, target=target or 0)
        if target is None:
            whole = np.ones((1, len(words.spans)), dtype=np.bool_)
            kept = KeptWords(model, ids, kept.word_of_token, int(kept.logits(whole).argmax()))
        return cls(text, [(start, end) for start, end in words.spans.tolist()], kept, tokenizer)

    @property
    def num_words(self) -> int:
        """W."""
        return len(self.spans)

    @cached_property
    def masked(self) -> KeptWords:
        """The model on what is left of the text when words are masked in place."""
        kept = self.kept
        return KeptWords(kept.model, kept.token_ids, kept.word_of_token, kept.target, masked=True)

    @cached_property
    def direction(self) -> Tensor:
        """How our reading weighs the logits (C,), which the gradients are taken of, too."""
        whole = np.ones((1, self.num_words), dtype=np.bool_)
        logits = torch.from_numpy(self.kept.logits(whole)[0])
        return against_others(logits, self.kept.target).float()

    @cached_property
    def embeddings(self) -> Tensor:
        """(1, T, D), the token embeddings of the text."""
        embed = self.kept.model.get_input_embeddings()
        return cast(Tensor, embed(torch.from_numpy(self.kept.token_ids)[None])).detach()

    def margin(self, embeddings: Tensor) -> Tensor:
        """Gives the logit that our reading takes apart (B,), from embeddings (B, T, D)."""
        return cast(Tensor, self.kept.model(inputs_embeds=embeddings).logits @ self.direction)

    def reading(self, **options: Any) -> Reading:
        """Explains the text from its characters on, with our own method."""
        target = self.kept.target
        explanation = explain(self.text, self.kept.model, self.tokenizer, target=target, **options)
        return cast(Reading, explanation.readings[0])

    def sum_tokens(self, values: Tensor) -> Array:
        """Gives the sums of token features (1, T, D) over each word (W,)."""
        of_tokens = values[0].sum(-1).double().numpy()
        sums = np.bincount(self.kept.word_of_token, of_tokens, self.num_words)
        return sums.astype(np.float64, copy=False)


Method = Callable[[Case], Array]


def against_others(logits: Tensor, target: int) -> Tensor:
    """Gives 1 for the target, and for the other classes less their share of the others' softmax.

    Args:
        logits: (C,), of the whole text.
        target: Index of the class that is explained.

    Returns:
        (C,), the weights of the logits.
    """
    target_only = torch.zeros_like(logits)
    target_only[target] = 1
    return target_only - logits.masked_fill(target_only.bool(), -torch.inf).softmax(0)


def contributions(case: Case) -> Array:
    """Gives our exact contributions, of the target against the others."""
    reading = case.reading(deletion_effects=False)
    return np.array([word.contribution for word in reading.words])


def contributions_of_tokens(case: Case) -> Array:
    """Gives the same from where the rivals begin: one forward pass of tokens."""
    with torch.inference_mode():
        ids = torch.from_numpy(case.kept.token_ids)[None]
        outputs = case.kept.model(ids, output_contributions=True)
        direction = against_others(outputs.logits[0], case.kept.target)
        return case.sum_tokens(outputs.contributions * direction)


def deletion_effects(case: Case) -> Array:
    """Gives our closed form of what masking each word in place does, and contributions with it."""
    return np.array([word.deletion_effect for word in case.reading().words], dtype=np.float64)


def attention_alone(case: Case) -> Array:
    """Gives the attention that each word gets, which knows nothing of the class."""
    reading = case.reading(deletion_effects=False)
    return np.array([word.attention_received for word in reading.words])


def rerun_without_each(case: Case) -> Array:
    """Gives what deleting each word does to the class, by running the model W + 1 times."""
    return leave_one_out(case.kept.log_odds, case.num_words)


def random_order(case: Case) -> Array:
    """Gives noise, the same whenever a text is asked for."""
    return np.random.default_rng(case.kept.token_ids).standard_normal(case.num_words)


def zero_embedding(case: Case) -> Tensor:
    """Gives the padding's embedding (D,)."""
    return torch.zeros(case.embeddings.shape[-1])


def mean_embedding(case: Case) -> Tensor:
    """Gives the mean token embedding of the training texts (D,)."""
    model = case.kept.model
    return cast(Tensor, model.score.reference / model.model.embeddings.scale)


def integrated_gradients(case: Case, baseline: Callable[[Case], Tensor] = mean_embedding) -> Array:
    """Gives Captum's integrated gradients of our margin, 50 steps, summed over features.

    Args:
        case: The text.
        baseline: Gives what the path of each token begins with.
    """
    at_once = max(1, _SCORES_AT_ONCE // len(case.kept.token_ids) ** 2)
    values = IntegratedGradients(case.margin).attribute(
        case.embeddings,
        baselines=baseline(case).expand_as(case.embeddings),
        n_steps=GRADIENT_STEPS,
        internal_batch_size=None if at_once >= GRADIENT_STEPS else at_once,
    )
    return case.sum_tokens(cast(Tensor, values).detach())


def gradient_x_input(case: Case, baseline: Callable[[Case], Tensor] = mean_embedding) -> Array:
    """Gives Captum's gradient times input of our margin, the input counted from the baseline."""
    origin = baseline(case)
    values = InputXGradient(lambda shifted: case.margin(shifted + origin)).attribute(
        (case.embeddings - origin).requires_grad_()
    )
    return case.sum_tokens(cast(Tensor, values).detach())


def lime(case: Case, score: Score | None = None) -> Array:
    """Gives LIME's weights of the words for the probability of the class, from 500 samples.

    LIME gets the words' numbers for a text, so that two same words are not one, and so that what
    comes back can be deleted without tokenizing it.

    Args:
        case: The text.
        score: What to explain instead of the probability.
    """
    explained_score = score or case.kept.probability

    def scores_of_classes(texts: Sequence[str]) -> Array:
        kept = np.zeros((len(texts), case.num_words), dtype=np.bool_)
        for row, text in enumerate(texts):
            kept[row, [int(number) for number in text.split()]] = True
        return explained_score(kept)[:, None]

    explainer = LimeTextExplainer(split_expression=r"\s+", feature_selection="none", random_state=0)
    explained = explainer.explain_instance(
        " ".join(map(str, range(case.num_words))),
        scores_of_classes,
        labels=(0,),
        num_features=case.num_words,
        num_samples=LIME_SAMPLES,
    )
    weights = dict(explained.as_map()[0])
    return np.array([weights[word] for word in range(case.num_words)])


def lime_of_log_odds(case: Case) -> Array:
    """Gives LIME's weights for the log-odds of the class, which are nearer to linear."""
    return lime(case, case.kept.log_odds)


class _WordMasker(shap.maskers.Text):  # type: ignore[misc]
    """SHAP's own tree over words, with what to keep handed on instead of a string."""

    def __init__(self, case: Case) -> None:
        self._spans = case.spans
        super().__init__(self._split, mask_token=0)

    def _split(self, text: str, **_: Any) -> dict[str, Any]:
        spans = self._spans if text else []
        return {"input_ids": list(range(len(spans))), "offset_mapping": spans}

    def __call__(self, mask: Kept, s: str) -> tuple[Kept]:
        return (np.array([self._standardize_mask(mask, s)]),)


def shap_partition(
    case: Case, score: Score | None = None, batch_size: int | Literal["auto"] = "auto"
) -> Array:
    """Gives SHAP's Owen values for the probability of the class, up to 500 evaluations.

    Args:
        case: The text.
        score: What to explain instead of the probability.
        batch_size: Evaluations at once.
    """
    explained_score = score or case.kept.probability
    if case.num_words == 1:
        return leave_one_out(explained_score, 1)  # there is no tree of one word
    explainer = shap.PartitionExplainer(explained_score, _WordMasker(case))
    explained = explainer(
        [case.text], max_evals=SHAP_EVALUATIONS, batch_size=batch_size, silent=True
    )
    return np.asarray(explained.values[0], dtype=np.float64)


def shap_of_log_odds(case: Case) -> Array:
    """Gives SHAP's Owen values for the log-odds of the class."""
    return shap_partition(case, case.kept.log_odds)


def shap_in_large_batches(case: Case) -> Array:
    """Gives SHAP's Owen values of the probability faster than its own setting does."""
    return shap_partition(case, batch_size=100)


OURS = "contributions"
EFFECTS = "deletion effects"
GRADIENTS = "integrated gradients"
ATTENTION = "attention alone"
RANDOM = "random"
LIME = "LIME"
SHAP = "SHAP"
# Those that a text of 800 words does not take minutes for.
QUICK: dict[str, Method] = {
    OURS: contributions,
    EFFECTS: deletion_effects,
    GRADIENTS: integrated_gradients,
    "gradient × input": gradient_x_input,
    ATTENTION: attention_alone,
    RANDOM: random_order,
}
METHODS: dict[str, Method] = {
    **QUICK,
    "leave-one-out": rerun_without_each,
    LIME: lime,
    f"{LIME} of log-odds": lime_of_log_odds,
    SHAP: shap_partition,
    f"{SHAP} of log-odds": shap_of_log_odds,
}
