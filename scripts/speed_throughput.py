"""How many texts a side labels in a second, and how long a single text takes: text in, label out.

All sides take turns, so that a busy moment of the machine meets all. In each turn all get the same
texts, which none has seen before: what a tokenizer remembers of words helps it as it would in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmark_figures import Figure, Part, Table, median_with_range
from benchmark_training import say
from speed_models import Models
from speed_rivals import (
    DISTILBERT,
    EXPLAINED,
    FASTTEXT,
    FOLDED,
    MANY_WORDS,
    PLAIN,
    SIDES,
    SVM,
    TOP_WORDS,
    WINDOW,
)
from speed_teams import Team, in_turns, teams
from speed_texts import SOURCES, cut, read_texts

LENGTHS = (3, 21, 100, 800)
NATURAL_LENGTHS = (21, 100)
SINGLE_LENGTH = 21
# Texts of a turn, one at a time, and for the slowest side.
SINGLES, FEW_SINGLES = 400, 20
LEAST = 4
MICROSECONDS = 1e6
# What is compared: ours, the other, words in a text, and how many times as fast it is to be.
Pair = tuple[str, str, int, float | None]
PAIRS: Sequence[Pair] = (
    *((FOLDED, f"{FASTTEXT}{kind}", 3, None) for kind in ("", ", bigrams", ", best of the grid")),
    (FOLDED, FASTTEXT, 21, 1.0),
    (FOLDED, f"{FASTTEXT}, bigrams", 21, None),
    (FOLDED, f"{FASTTEXT}, best of the grid", 21, None),
    (f"{FOLDED}, bigrams", f"{FASTTEXT}, bigrams", 21, None),
    (FOLDED, FASTTEXT, 100, 1.0),
    (FOLDED, FASTTEXT, 800, None),
    (WINDOW, FASTTEXT, 21, None),
    (WINDOW, FASTTEXT, 100, None),
    (WINDOW, FASTTEXT, 800, 1.0),
    (FOLDED, SVM, 21, 3.0),
    (FOLDED, SVM, 100, None),
    (WINDOW, SVM, 800, None),
    (FOLDED, DISTILBERT, 21, 500.0),
    (FOLDED, DISTILBERT, 100, None),
    (FOLDED, PLAIN, 21, None),
)
MOST_FOR_EXPLANATIONS = 1.15

# Side to words in a text to texts a second, one of each turn.
Speeds = Mapping[str, Mapping[int, Sequence[float]]]


@dataclass(frozen=True)
class Setup:
    """What the parts share.

    Attributes:
        models: Makes them.
        repeats: Turns that count; one more comes first.
        texts: Most texts of a turn.
        many: Texts of the long stream.
    """

    models: Models
    repeats: int
    texts: int
    many: int

    @property
    def data(self) -> Path:
        """Folder with the sets that no package has."""
        return self.models.data


def sides_that_are_there() -> list[str]:
    """Gives the names of all sides whose packages are installed, and says which are not."""
    for name, side in SIDES.items():
        if not side.is_there:
            say(f"without {name}: it needs {', '.join(side.needs)}")
    return [name for name, side in SIDES.items() if side.is_there]


def measure_throughput(threads: int, setup: Setup) -> Part:
    """Times reviews of all lengths with so many threads."""
    names = sides_that_are_there()
    speeds = _speeds(setup, "sst2", names, LENGTHS, threads)
    figures = _ratios(speeds, PAIRS, f"{_threads(threads)}, ", judged=threads == 1)
    figures += _costs_of_explanations(speeds, threads)
    title = f"Texts in a second, {_threads(threads)}"
    return Part(figures, [_table(title, speeds, LENGTHS)], _notes(setup, "sst2", threads))


def measure_natural(setup: Setup) -> Part:
    """Times abstracts, whose words come with their commas and full stops, on one thread."""
    names = [name for name in sides_that_are_there() if "BERT" not in name]
    speeds = _speeds(setup, "ohsumed", names, NATURAL_LENGTHS, 1)
    pairs = [
        (FOLDED, rival, length, None) for length in NATURAL_LENGTHS for rival in (FASTTEXT, SVM)
    ]
    title = "Texts in a second, medical abstracts of 23 classes, one thread"
    return Part(
        _ratios(speeds, pairs, "Abstracts, ", judged=False),
        [_table(title, speeds, NATURAL_LENGTHS)],
        _notes(setup, "ohsumed", 1),
    )


def _threads(threads: int) -> str:
    return "one thread" if threads == 1 else f"{threads} threads"


def _notes(setup: Setup, name: str, threads: int) -> dict[str, object]:
    alone = [side for side, about in SIDES.items() if not about.uses_threads]
    processes = {f"{threads} processes": "; ".join(alone)} if threads > 1 else {}
    return {
        "threads": threads,
        "learned from": name,
        "texts cut from": SOURCES[name],
        "words of a turn at most": "; ".join(
            f"{side} {about.words:,}" for side, about in SIDES.items() if about.words < MANY_WORDS
        ),
        **processes,
    }


def _speeds(
    setup: Setup, name: str, sides: Sequence[str], lengths: Sequence[int], threads: int
) -> Speeds:
    """Gives the speed of each side in each turn, but for the first one."""
    folder = setup.models.make_for(name, sides)
    texts = read_texts(setup.data / SOURCES[name])
    speeds: dict[str, dict[int, list[float]]] = {side: {} for side in sides}
    with teams(sides, folder, threads) as started:
        for length in lengths:
            say(f"timing texts of {length} words, {_threads(threads)}")
            parts = cut(texts, length, setup.repeats + 1, setup.texts)
            of_length = take_turns(started, parts, length)
            for side in sides:
                speeds[side][length] = of_length[side]
    return speeds


def take_turns(
    started: Mapping[str, Team], parts: Sequence[Sequence[str]], length: int
) -> dict[str, list[float]]:
    """Gives texts a second of each side in each turn, without the first.

    Args:
        started: The sides.
        parts: The texts of each turn, of which slow sides get the first ones.
        length: Words of each text.
    """
    speeds: dict[str, list[float]] = {side: [] for side in started}
    for turn, part in enumerate(parts):
        for side in in_turns(started, turn):
            most = max(LEAST, SIDES[side].words // length)
            speed = started[side].per_second(part[:most])
            if turn:
                speeds[side].append(speed)
    return speeds


def _ratios(speeds: Speeds, pairs: Iterable[Pair], where: str, *, judged: bool) -> list[Figure]:
    """Gives how many times as fast the first of each pair is, turn by turn."""
    return [
        median_with_range(
            f"{where}{length} words: {ours} over {other}",
            "ratio",
            _over(speeds[ours][length], speeds[other][length]),
            goal if judged else None,
            high=True,
        )
        for ours, other, length, goal in pairs
        if ours in speeds and other in speeds
    ]


def _over(first: Sequence[float], second: Sequence[float]) -> list[float]:
    return [one / two for one, two in zip(first, second, strict=True)]


def _costs_of_explanations(speeds: Speeds, threads: int) -> list[Figure]:
    goal = MOST_FOR_EXPLANATIONS if threads == 1 else None
    return [
        median_with_range(
            f"{_threads(threads)}, {length} words: time with {kind} over that without",
            "ratio",
            _over(speeds[FOLDED][length], speeds[side][length]),
            goal if side == EXPLAINED else None,
        )
        for side, kind in (
            (EXPLAINED, "each token's contribution"),
            (TOP_WORDS, "the three words that add most, as strings and numbers"),
        )
        if side in speeds
        for length in speeds[side]
    ]


def _table(title: str, speeds: Speeds, lengths: Sequence[int]) -> Table:
    rows = {
        side: [_median_and_range(of_side[length]) for length in lengths]
        for side, of_side in speeds.items()
    }
    columns = [f"{length} words" for length in lengths]
    return Table(title, columns, rows, ["per second"] * len(columns))


def _median_and_range(values: Sequence[float]) -> tuple[float, float, float]:
    return float(np.median(values)), min(values), max(values)


def measure_latency(setup: Setup) -> Part:
    """Times single texts on one thread, warm: the median and what one in a hundred takes."""
    names = sides_that_are_there()
    folder = setup.models.make_for("sst2", names)
    texts = read_texts(setup.data / SOURCES["sst2"])
    parts = cut(texts, SINGLE_LENGTH, setup.repeats + 1, min(SINGLES, setup.texts))
    seconds: dict[str, list[float]] = {name: [] for name in names}
    say("timing single texts")
    with teams(names, folder) as started:
        for turn, part in enumerate(parts):
            for name in in_turns(started, turn):
                few = part[:FEW_SINGLES] if name == DISTILBERT else part
                (reply,) = started[name].ask("each", few)
                if turn:
                    seconds[name] += reply["seconds"]
    rows = {
        name: [[MICROSECONDS * value] for value in np.percentile(taken, [50, 99]).tolist()]
        for name, taken in seconds.items()
    }
    table = Table("Single texts, one thread", ["median", "p99"], rows, ["microseconds"] * 2)
    figures = [
        Figure(f"Single text, {name}, median", rows[name][0][0], "microseconds", None, goal)
        for name, goal in ((FOLDED, 300), (EXPLAINED, None), (FASTTEXT, None))
        if name in rows
    ]
    return Part(figures, [table], {"threads": 1, "words in a text": SINGLE_LENGTH})
