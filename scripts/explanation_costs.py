"""What explanations cost: beside plain forward passes, beside the rivals, a second, on a page.

What is compared is timed in turns, so that a busy moment of the machine meets all; a figure is the
median over the turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from benchmark_figures import Figure, Part, median_with_range
from benchmark_training import say
from explanation_setup import SETS, Setup, evenly_spaced
from rival_attributions import (
    METHODS,
    OURS,
    Case,
    Method,
    contributions_of_tokens,
    shap_in_large_batches,
)
from textbook_forward import TextbookClassifier
from torch import Tensor

from hf_attn import HfAttnConfig, HfAttnForSequenceClassification, explain
from hf_attn.batching import TokenizedTexts, encode
from hf_attn.deletion import logits_without_words

BATCH_SIZE = 64
LENGTHS = (20, 100)
CLASSES = (2, 4, 8, 16, 64, 256)
MOST_CLASSES_OF_GOAL = 8
LEAST_WORDS = 20
SPEED_TEXTS = 100
SPEED_TURNS = 2
PASSES = 5
KILOBYTE = 1000
# Method to how many times faster we are to be.
SPEED_GOALS = {"integrated gradients": 10, "LIME": 50, "SHAP": 50}

Run = Callable[[], object]


def time_in_turns(runs: Mapping[str, Run], repeats: int) -> dict[str, list[float]]:
    """Gives the seconds of each run in each turn, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def over(seconds: Mapping[str, Sequence[float]], first: str, second: str) -> list[float]:
    """Gives how many times the second the first took, in each turn."""
    return [one / two for one, two in zip(seconds[first], seconds[second], strict=True)]


def measure_cost(setup: Setup) -> Part:
    """Times contributions and deletion effects against forward passes without them."""
    figures = []
    for length in LENGTHS:
        for num_labels in CLASSES:
            say(f"timing forward passes, {length} tokens, {num_labels} classes")
            runs = _forward_runs(num_labels, length)
            figures += _cost_figures(time_in_turns(runs, setup.repeats), num_labels, length)
    return Part(figures, notes={"texts in a batch": BATCH_SIZE})


def _forward_runs(num_labels: int, length: int) -> dict[str, Run]:
    """Gives what is timed, each on the same batch and a model of default size."""
    torch.manual_seed(0)
    config = HfAttnConfig(id2label={index: str(index) for index in range(num_labels)})
    model = HfAttnForSequenceClassification(config).eval()
    batch = random_batch(length)
    runs: dict[str, Run] = {
        "logits": partial(model, **batch),
        "contributions": partial(model, **batch, output_contributions=True),
        "textbook": partial(TextbookClassifier(model), **batch),
        "fused textbook": partial(TextbookClassifier(model, fused=True), **batch),
        "deletion effects": partial(run_with_deletion_effects, model, **batch),
    }
    return {name: partial(_repeat, run) for name, run in runs.items()}


def _repeat(run: Run) -> None:
    """Runs a few times, as a single pass is too short for the clock's noise."""
    with torch.inference_mode():
        for _ in range(PASSES):
            run()


def random_batch(length: int) -> dict[str, Tensor]:
    """Gives a padded batch of texts of this length, give or take a fifth."""
    random = np.random.default_rng(0)
    lengths = random.integers(length * 4 // 5, length * 6 // 5 + 1, BATCH_SIZE)
    ids = random.integers(1, HfAttnConfig().vocab_size, lengths.sum(), dtype=np.int32)
    return TokenizedTexts(ids, lengths, None, 0).batch(range(BATCH_SIZE))


def run_with_deletion_effects(
    model: HfAttnForSequenceClassification, input_ids: Tensor, attention_mask: Tensor
) -> Tensor:
    """Gives the logits without each token (B, T, C), each token being a word."""
    outputs = model(
        input_ids,
        attention_mask,
        output_attentions=True,
        output_contributions=True,
        output_intermediates=True,
    )
    word_of_token = (attention_mask.cumsum(1) - 1).masked_fill(~attention_mask, -1)
    return logits_without_words(model, outputs, input_ids, attention_mask, word_of_token)


def _cost_figures(
    seconds: Mapping[str, Sequence[float]], num_labels: int, length: int
) -> list[Figure]:
    of_goal = num_labels <= MOST_CLASSES_OF_GOAL
    pairs = [
        ("contributions", "textbook", 1.0 if of_goal else None),
        ("contributions", "fused textbook", None),
        ("contributions", "logits", 2.5 if of_goal else None),
        ("deletion effects", "logits", 4.0 if of_goal else None),
    ]
    where = f"{length} tokens, {num_labels} classes"
    return [
        median_with_range(
            f"{where}: logits with {one} over {two}", "ratio", over(seconds, one, two), goal
        )
        for one, two, goal in pairs
    ]


def measure_speed(setup: Setup) -> Part:
    """Times every method on single texts of 20 words or more, SST-2's and R8's."""
    figures = []
    for name in ("sst2", "r8"):
        cases = setup.cases(name, setup.seeds[0])
        long_ones = [case for case in cases if case.num_words >= LEAST_WORDS]
        cases = evenly_spaced(long_ones, SPEED_TEXTS)
        say(f"timing {len(cases)} texts of {name}")
        figures += _speed_figures(SETS[name], time_methods(cases))
    return Part(figures, notes={"texts at most": SPEED_TEXTS})


def time_methods(cases: Sequence[Case]) -> dict[str, list[float]]:
    """Gives the milliseconds of each method on each text, one text after the other.

    The methods take turns, each with all texts: the median over the turns. A first turn with a few
    texts does not count.
    """
    methods: dict[str, Method] = {
        f"{OURS} from tokens": contributions_of_tokens,
        **METHODS,
        "SHAP in batches of 100": shap_in_large_batches,
    }
    turns: dict[str, list[list[float]]] = {name: [] for name in methods}
    for turn in range(1 + SPEED_TURNS):
        for name, run in methods.items():
            times = [_milliseconds(partial(run, case)) for case in (cases if turn else cases[:3])]
            if turn:
                turns[name].append(times)
    return {name: np.median(times, axis=0).tolist() for name, times in turns.items()}


def _milliseconds(run: Run) -> float:
    started = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - started)


def _speed_figures(where: str, milliseconds: Mapping[str, Sequence[float]]) -> list[Figure]:
    figures = [
        median_with_range(f"{where}: {name}, a text", "milliseconds", values)
        for name, values in milliseconds.items()
    ]
    starts = {f"{OURS} from tokens": "the same tokens on", OURS: "the text on, by `explain`"}
    for ours, start in starts.items():
        for rival, goal in {**SPEED_GOALS, "SHAP in batches of 100": 50}.items():
            what = f"{where}: time of {rival} over that of {OURS} from {start}"
            ratios = over(milliseconds, rival, ours)
            figures.append(median_with_range(what, "ratio", ratios, goal, high=True))
    return figures


def measure_throughput(setup: Setup) -> Part:
    """Counts the words that `explain` does in a second, less what the tokenizer takes of it."""
    figures = []
    for name in ("sst2", "r8"):
        say(f"timing all texts of {name}")
        model, tokenizer = setup.load(name, setup.seeds[0])
        texts = setup.all_texts(name)
        runs: dict[str, Run] = {
            "tokenizer": partial(encode, texts, tokenizer),
            "contributions": partial(explain, texts, model, tokenizer, deletion_effects=False),
            "deletion effects, too": partial(explain, texts, model, tokenizer),
        }
        explanations = explain(texts, model, tokenizer, deletion_effects=False)
        num_words = sum(len(explanation.spans) for explanation in explanations)
        seconds = time_in_turns(runs, min(setup.repeats, PASSES))
        for run, goal in (("contributions", 300_000), ("deletion effects, too", None)):
            turns = zip(seconds[run], seconds["tokenizer"], strict=True)
            speeds = [num_words / (whole - tokenizing) for whole, tokenizing in turns]
            what = f"{SETS[name]}: words explained a second, tokenizer apart: {run}"
            figures.append(median_with_range(what, "per second", speeds, goal, high=True))
    return Part(figures, notes={"words of the last set": num_words})


def measure_html(setup: Setup) -> Part:
    """Weighs the page of the first R8 text of 100 words or more, cut to 100."""
    model, tokenizer = setup.load("r8", setup.seeds[0])
    text = next(text for text in setup.all_texts("r8") if len(text.split()) >= 100)
    explanation = explain(" ".join(text.split()[:100]), model, tokenizer)
    size = len(explanation.to_html().encode()) / KILOBYTE
    what = f"HTML page of {len(explanation.spans)} words with deletion effects"
    return Part([Figure(what, size, "kB", None, 20)])
