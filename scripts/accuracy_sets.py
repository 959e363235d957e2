"""The sets of the accuracy board, and the scores that are read off what a method gives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import datasets
import numpy as np
from numpy.typing import NDArray

from hf_attn import load_text_dataset
from hf_attn.batching import label_array
from hf_attn.data import label_names

Array: TypeAlias = NDArray[Any]

RESAMPLES = 2000
RESAMPLES_AT_ONCE = 100

# Scores (N, C) and labels of the validation texts, then of the test texts, and the class names; to
# numbers (N, k) of each test text, NaN where it does not count, whose means give the score.
Read: TypeAlias = Callable[[Array, Array, Array, Array, Sequence[str]], Array]
# Means (k,) of those numbers to the score.
Combine: TypeAlias = Callable[[Array], float]

# As many bins as the calibration error of hf_attn.metrics has.
BINS = 15
# Share of the validation texts in scope that may be refused, where texts out of scope are to be.
REFUSED_IN_SCOPE = 0.05


@dataclass(frozen=True)
class Metric:
    """A score whose interval can be had by drawing texts again.

    Attributes:
        title: Its name in the board.
        read: What it needs to know of each test text.
        combine: The score from the means of that.
        split: The test file that it is read off.
        of_probabilities: Whether scores must be probabilities.
        has_interval: Whether texts drawn again tell how far the score may be off. They do not where
            it is a sum of distances, which grow with every draw.
    """

    title: str
    read: Read
    combine: Combine
    split: str = "test"
    of_probabilities: bool = False
    has_interval: bool = True

    def __call__(self, numbers: Array) -> float:
        """Gives the score from numbers (N, k)."""
        return self.combine(np.nanmean(numbers, axis=0))

    def mean(self, numbers: Sequence[Array]) -> list[float]:
        """Gives the mean over seeds; with its 95 % interval over texts drawn again, if it has one.

        Args:
            numbers: (N, k) for each seed, of the same texts.
        """
        pooled = np.stack(numbers)
        mean = float(np.mean([self(one) for one in pooled]))
        return [mean, *self._interval(pooled)] if self.has_interval else [mean]

    def _interval(self, pooled: Array) -> tuple[float, float]:
        counted = ~np.isnan(pooled)
        filled = np.where(counted, pooled, 0)
        draws = np.random.default_rng(0)
        size = pooled.shape[1]
        values = []
        for _ in range(RESAMPLES // RESAMPLES_AT_ONCE):
            weights = draws.multinomial(size, np.full(size, 1 / size), RESAMPLES_AT_ONCE)
            weights = weights.astype(float)
            means = (weights @ filled) / np.maximum(weights @ counted, 1)  # seed, draw, number
            for of_seeds in means.swapaxes(0, 1):
                values.append(np.mean([self.combine(one) for one in of_seeds]))
        low, high = np.quantile(values, [0.025, 0.975])
        return float(low), float(high)


def _is_right(_val: Array, _val_labels: Array, scores: Array, labels: Array, _: Any) -> Array:
    right: Array = scores.argmax(1) == labels
    return right[:, None].astype(float)


def _is_right_where(
    is_counted: bool, label: str, val: Array, val_labels: Array, scores: Array, labels: Array,
    names: Sequence[str],
) -> Array:  # fmt: skip
    """Counts only texts that have the label, or only those that have another."""
    right = _is_right(val, val_labels, scores, labels, names)
    right[(labels == names.index(label)) != is_counted] = np.nan
    return right


def _is_refused_where(
    is_counted: bool, label: str, val: Array, val_labels: Array, scores: Array, labels: Array,
    names: Sequence[str],
) -> Array:  # fmt: skip
    """Tells which texts get the label, or too low a score to be answered.

    The least score of an answer is the highest with which, of the validation texts with another
    label, at most one in twenty is refused, if the label itself does not refuse more.
    """
    outside = names.index(label)
    in_scope = np.sort(_answer_scores(val, outside)[val_labels != outside])
    least = in_scope[int(REFUSED_IN_SCOPE * len(in_scope))]
    found = _answer_scores(scores, outside)
    refused: Array = ((found < least) | np.isneginf(found))[:, None].astype(float)
    refused[(labels == outside) != is_counted] = np.nan
    return refused


def _answer_scores(scores: Array, outside: int) -> Array:
    """Gives the highest score of each text, -inf where it is of the class `outside`.

    Args:
        scores: (N, C).
        outside: The class of texts that are not to be answered.
    """
    found: Array = np.where(scores.argmax(1) == outside, -np.inf, scores.max(1))
    return found


def _distance_in_bin(
    _val: Array, _val_labels: Array, scores: Array, labels: Array, _: Any
) -> Array:
    """Gives how far the likeliest class's probability is off, in the column of its bin."""
    highest = scores.max(1)
    bins = np.ceil(highest * BINS).astype(int).clip(max=BINS)  # fastText goes a little above 1
    off = np.zeros((len(scores), BINS + 1))
    off[np.arange(len(scores)), bins] = highest - (scores.argmax(1) == labels)
    return off


def _sum_of_distances(means: Array) -> float:
    return float(np.abs(means).sum())


def _best_is_true(_val: Array, _val_labels: Array, scores: Array, labels: Array, _: Any) -> Array:
    best: Array = labels[np.arange(len(labels)), scores.argmax(1)]
    return best[:, None].astype(float)


def _counts_above_threshold(
    val: Array, val_labels: Array, scores: Array, labels: Array, _: Any
) -> Array:
    """Gives hits, guesses and true labels, with the threshold that validates best."""
    chosen = scores > best_threshold(val, val_labels)
    return np.stack([(chosen & (labels > 0)).sum(1), chosen.sum(1), labels.sum(1)], 1).astype(float)


def best_threshold(scores: Array, labels: Array) -> float:
    """Gives the one threshold for scores (N, C) with the highest micro-F1 on labels (N, C).

    Scores above it count; it is a score itself, or below all of them.
    """
    order = np.argsort(-scores, axis=None, kind="stable")
    ordered = np.append(scores.ravel()[order].astype(float), -np.inf)
    last = np.flatnonzero(ordered[:-1] > ordered[1:])  # of each run of equal scores
    hits = np.cumsum(labels.ravel()[order] > 0)[last]
    f1 = 2 * hits / (last + 1 + (labels > 0).sum())
    return float(ordered[last[f1.argmax()] + 1])


def micro_f1(chosen: Array, labels: Array) -> float:
    """Gives micro-F1 of chosen labels (N, C), 0 where none is chosen and none is true."""
    hits = (chosen & (labels > 0)).sum()
    return float(2 * hits / max(chosen.sum() + labels.sum(), 1))


def _f1_of_means(means: Array) -> float:
    hits, guesses, true = means
    return float(2 * hits / max(guesses + true, 1e-12))


def _moments(_val: Array, _val_labels: Array, scores: Array, labels: Array, _: Any) -> Array:
    given, true = scores[:, 0].astype(float), labels.astype(float)
    return np.stack([given, true, given * true, given**2, true**2], 1)


def _correlation(means: Array) -> float:
    given, true, both, given_squared, true_squared = means
    spread = (given_squared - given**2) * (true_squared - true**2)
    return float((both - given * true) / np.sqrt(spread)) if spread > 0 else 0.0


def _only(means: Array) -> float:
    return float(means[0])


ACCURACY = Metric("accuracy", _is_right, _only)
PRECISION = Metric("P@1", _best_is_true, _only)
MICRO_F1 = Metric("micro-F1", _counts_above_threshold, _f1_of_means)
PEARSON = Metric("Pearson", _moments, _correlation)
CALIBRATION_ERROR = Metric(
    "calibration error",
    _distance_in_bin,
    _sum_of_distances,
    of_probabilities=True,
    has_interval=False,
)


def _in_and_out_of_scope(label: str) -> Sequence[Metric]:
    """Gives the metrics of a set with a class of texts that belong to no other."""

    def metric(title: str, read: Callable[..., Array], is_outside: bool) -> Metric:
        return Metric(title, functools.partial(read, is_outside, label), _only)

    return (
        metric("accuracy in scope", _is_right_where, False),
        metric("recall out of scope", _is_right_where, True),
        metric("refused out of scope", _is_refused_where, True),
        metric("refused in scope", _is_refused_where, False),
        CALIBRATION_ERROR,
    )


@dataclass(frozen=True)
class Corpus:
    """A set of the board.

    Attributes:
        title: Its name for people.
        metrics: What is read off; the first is compared over sets.
        goal: What the first metric is to reach, of 1.
        characters: Whether words say little and characters much, as for languages.
        settings: Of hf_attn, where the kind of text asks for others than the defaults.
        extra: More test files: name to file.
    """

    title: str
    metrics: Sequence[Metric] = (ACCURACY, CALIBRATION_ERROR)
    goal: float | None = None
    characters: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)


CORPORA: Mapping[str, Corpus] = {
    "r8": Corpus("R8", goal=0.98),
    "r52": Corpus("R52", goal=0.951),
    "20ng": Corpus("20 Newsgroups", goal=0.875),
    "ohsumed": Corpus("Ohsumed", goal=0.675),
    "trec": Corpus("TREC-6", goal=0.925),
    "sst2": Corpus("SST-2", goal=0.83),
    "clinc150": Corpus("CLINC150", _in_and_out_of_scope("oos"), goal=0.935),
    "banking77": Corpus("Banking77", goal=0.905),
    "tweeteval_emotion": Corpus("TweetEval emotion"),
    "tweeteval_irony": Corpus("TweetEval irony"),
    "tweeteval_offensive": Corpus("TweetEval offensive"),
    "langid75": Corpus(
        "75 languages",
        (
            ACCURACY,
            CALIBRATION_ERROR,
            Metric("accuracy on word pairs", _is_right, _only, "word_pairs"),
            Metric("accuracy on words", _is_right, _only, "words"),
        ),
        goal=0.975,
        characters=True,
        settings={"algorithm": "unigram", "lowercase": False},
        extra={"word_pairs": "test_word_pairs.jsonl", "words": "test_words.jsonl"},
    ),
    "cooking": Corpus("Cooking", (PRECISION, MICRO_F1), goal=0.73),
    "goemotions": Corpus("GoEmotions", (MICRO_F1, PRECISION), goal=0.53),
    "vader_tweets": Corpus("VADER tweets", (PEARSON,), goal=0.80),
}
# The sets with one label for each text, whose means are compared.
SINGLE_LABEL = [
    name for name, one in CORPORA.items() if not {PRECISION, PEARSON} & set(one.metrics)
]


@dataclass(frozen=True)
class Task:
    """What a method learns from and is scored on.

    Attributes:
        name: Of the corpus.
        corpus: What is known of it.
        data: Splits train, validation and test.
        extra: Name to more test texts.
    """

    name: str
    corpus: Corpus
    data: datasets.DatasetDict
    extra: Mapping[str, datasets.Dataset]

    @property
    def names(self) -> list[str]:
        """The class names; none for a regression."""
        return label_names(self.data) or []

    def labels(self, split: str) -> Array:
        """Gives the labels of a split: (N,) or (N, C)."""
        labels = label_array(self.split(split))
        if labels is None:
            raise ValueError(f"{self.name}, {split}: expected labels, got none.")
        return labels

    def split(self, name: str) -> datasets.Dataset:
        """Gives a split by its name."""
        return self.extra[name] if name in self.extra else self.data[name]

    @property
    def scored(self) -> list[str]:
        """The splits that methods give scores of."""
        return ["validation", "test", *self.extra]


def load_task(name: str, folder: Path) -> Task:
    """Reads a corpus, with all its test texts.

    Args:
        name: One of CORPORA.
        folder: With the sets that no package has.
    """
    corpus = CORPORA[name]
    source = name if name in ("r8", "r52", "20ng") else str(folder / name)
    # A label that the training texts lack can be predicted by none of the methods.
    data = load_text_dataset(source, unseen_labels="drop")
    names = label_names(data)
    extra = {
        part: load_text_dataset(str(folder / name / file), labels=names, validation_size=0)["train"]
        for part, file in corpus.extra.items()
    }
    return Task(name, corpus, data, extra)
