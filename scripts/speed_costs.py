"""What a side costs beside time: memory, room on disk, a start, and what smaller tables lose."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
from benchmark_figures import Figure, Part, Table, median_with_range
from benchmark_training import COMMAND, MEGABYTE, run_quietly, say
from speed_rivals import (
    DISTILBERT,
    FASTTEXT,
    FOLDED,
    PLAIN,
    SIDES,
    SVM,
    TINY_BERT,
    load_folded,
    load_plain,
)
from speed_teams import in_turns, teams, thread_variables
from speed_texts import SOURCES, cut, read_texts, write_many
from speed_throughput import Setup, sides_that_are_there

from hf_attn import load_text_dataset

MEMORY_LENGTH = 21
FEW = 10_000
MOST_MEMORY = 600
SECONDS_BETWEEN_SAMPLES = 0.1
EARLY = 0.25  # when the start is over and the caches are full
MOMENTS = (0.1, EARLY, 0.5, 0.75, 1.0)
TEXT = "a warm , funny and engaging film that never once talks down to its audience"
CLASSIFY = Path(__file__).resolve().parent / "classify_with_onnx.py"

_FASTTEXT_START = """
import sys, fasttext
model = fasttext.load_model(sys.argv[1])
print(model.predict(sys.argv[2]))
"""
_SVM_START = """
import sys, pickle
with open(sys.argv[1], "rb") as file:
    print(pickle.load(file).predict([sys.argv[2]]))
"""
_PREDICTOR_START = """
import sys
from hf_attn.predictor.predictor import Predictor
print(Predictor.from_pretrained(sys.argv[1]).predict([sys.argv[2]]).labels)
"""
_PIPELINE_START = """
import sys
from transformers import pipeline, PreTrainedTokenizerFast
tokenizer = PreTrainedTokenizerFast(
    tokenizer_file=sys.argv[1] + "/tokenizer.json", pad_token="[PAD]"
)
print(pipeline("text-classification", sys.argv[1], tokenizer=tokenizer)(sys.argv[2]))
"""
# Prints the seconds that a predictor takes for a file of texts, from the second one on.
_STREAM = """
import sys, time
from itertools import islice
from hf_attn.predictor.predictor import Predictor
predictor = Predictor.from_pretrained(sys.argv[1])
with open(sys.argv[2], encoding="utf-8") as file:
    lines = (line.rstrip("\\n") for line in file)
    predictor.predict(list(islice(lines, 1)))
    started = time.perf_counter()
    batches = iter(lambda: list(islice(lines, 8192)), [])
    number = sum(len(predictions.labels) for predictions in predictor.stream(batches))
    print(number / (time.perf_counter() - started))
"""
TORCH = "`python -c 'import torch'`"
PREDICT = "`hf-attn predict`, folded"
SCRIPT = "`classify_with_onnx.py`, folded"
FASTTEXT_START = "fastText in Python"


def measure_memory(setup: Setup) -> Part:
    """Takes the peak memory of each side in a process of its own, loaded and after many texts."""
    names = sides_that_are_there()
    folder = setup.models.make_for("sst2", names)
    (part,) = cut(read_texts(setup.data / SOURCES["sst2"]), MEMORY_LENGTH, 1, min(FEW, setup.texts))
    rows = {}
    for name in names:
        say(f"weighing {name}")
        with teams([name], folder) as started:
            texts = part[: SIDES[name].words // MEMORY_LENGTH]
            (loaded,) = started[name].ask("weigh")
            started[name].ask("all", texts)
            (used,) = started[name].ask("weigh")
            rows[name] = [[loaded["memory"]], [used["memory"]]]
    columns = ["model loaded", f"after {len(part):,} texts, or fewer for the slowest"]
    table = Table("Peak memory of a process", columns, rows, ["MB", "MB"])
    return Part(tables=[table], notes={"words in a text": MEMORY_LENGTH})


def measure_stream(setup: Setup) -> Part:
    """Streams a file of very many texts: its memory over time, and its speed against a few."""
    model = setup.models.make("sst2", SIDES[FOLDED].model)
    texts = read_texts(setup.data / "sst2")
    many, few = (model.parent / f"{count}.txt" for count in (setup.many, min(FEW, setup.many)))
    for path in (many, few):
        if not path.exists():
            write_many(path, texts, int(path.stem))
    say(f"streaming {setup.many} texts")
    seconds, samples = watch([str(COMMAND), "predict", str(model), str(many)])
    early, late = memory_at(samples, EARLY), memory_at(samples, 1.0)
    rows = {PREDICT: [[memory_at(samples, moment)] for moment in MOMENTS]}
    columns = [f"{moment:.0%} of the time" for moment in MOMENTS]
    what = f"{setup.many:,} texts through `hf-attn predict`, folded"
    figures = [
        Figure(f"{what}: peak memory", max(size for _, size in samples), "MB", None, MOST_MEMORY),
        Figure(
            f"{what}: memory at the end over that after a quarter", late / early, "ratio", None, 1.1
        ),
        Figure(f"{what}, start included", setup.many / seconds, "per second"),
    ]
    table = Table("Memory in use while texts are streamed", columns, rows, ["MB"] * len(columns))
    return Part([*figures, *_stream_figures(setup, model, many, few)], [table])


def _stream_figures(setup: Setup, model: Path, many: Path, few: Path) -> list[Figure]:
    """Compares the speed of many texts with that of a few, each in a fresh process."""
    speeds: dict[Path, list[float]] = {many: [], few: []}
    for turn in range(setup.repeats):
        for path in in_turns(speeds, turn):
            command = [sys.executable, "-c", _STREAM, str(model), str(path)]
            printed = run_quietly(command, env=thread_variables(1))
            speeds[path].append(float(printed))
    ratios = [one / other for one, other in zip(speeds[many], speeds[few], strict=True)]
    return [
        median_with_range(f"`Predictor.stream`, {many.stem} texts", "per second", speeds[many]),
        median_with_range(f"`Predictor.stream`, {few.stem} texts", "per second", speeds[few]),
        median_with_range("the one over the other", "ratio", ratios, 0.9, high=True),
    ]


def watch(command: Sequence[str]) -> tuple[float, list[tuple[float, float]]]:
    """Gives the seconds of a command, and its memory in MB at moments from its start to its end.

    Raises:
        RuntimeError: If it fails.
    """
    started = time.perf_counter()
    samples = []
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=said, env=thread_variables(1)
        ) as process,
    ):
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            size = watched.memory_info().rss / MEGABYTE
            samples.append((time.perf_counter() - started, size))
            time.sleep(SECONDS_BETWEEN_SAMPLES)
        seconds = time.perf_counter() - started
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed:\n{said.read()}")
    # A process that is about to end has given its memory back.
    return seconds, [(moment, size) for moment, size in samples if size]


def memory_at(samples: Sequence[tuple[float, float]], share: float) -> float:
    """Gives the memory after this share of the time."""
    return samples[min(int(share * len(samples)), len(samples) - 1)][1]


def measure_size(setup: Setup) -> Part:
    """Weighs the files of models of SST-2 and of R8."""
    models = [
        *("plain", "folded", "folded-float16", "folded-int8", "bigrams-folded"),
        *("fasttext/unigrams.bin", "fasttext/bigrams.bin", "fasttext/best.bin"),
        *("fasttext/best.ftz", "svm.pickle"),
    ]
    rows: dict[str, list[list[float] | None]] = {
        model: [[size_of(setup.models.make(name, model))] for name in ("sst2", "r8")]
        for model in models
    }
    for model in ("bert-tiny", "distilbert"):  # as large for every set
        rows[model] = [[size_of(setup.models.make("sst2", model))], None]
    of_int8 = size_of(setup.models.make("r8", "folded-int8"))
    figures = [Figure("Folded int8 model of R8 on disk", of_int8, "MB", None, 5)]
    return Part(figures, [Table("On disk", ["SST-2", "R8"], rows, ["MB", "MB"])])


def size_of(path: Path) -> float:
    """Gives the MB of a file, or of the files of a folder, not of folders in it."""
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
    return sum(file.stat().st_size for file in files) / MEGABYTE


def measure_start(setup: Setup) -> Part:
    """Times whole processes from their start to a first prediction, in turns."""
    commands = _starts(setup)
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(setup.repeats + 1):
        say(f"timing starts, turn {turn} of {setup.repeats}")
        for name in in_turns(commands, turn):
            started = time.perf_counter()
            run_quietly(commands[name], env=thread_variables(1))
            if turn:
                seconds[name].append(time.perf_counter() - started)
    rows = {
        name: [(statistics.median(taken), min(taken), max(taken))]
        for name, taken in seconds.items()
    }
    figures = [
        median_with_range(f"Start of {ours} over that of {other}", "ratio", ratios, goal)
        for ours, other, goal in (
            (PREDICT, TORCH, 1.3),
            (SCRIPT, FASTTEXT_START, 2.0),
            (PREDICT, FASTTEXT_START, None),
        )
        if (ratios := _ratios(seconds, ours, other))
    ]
    return Part(figures, [Table("From start to first prediction", ["time"], rows, ["seconds"])])


def _ratios(seconds: Mapping[str, Sequence[float]], ours: str, other: str) -> list[float]:
    if ours not in seconds or other not in seconds:
        return []
    return [one / two for one, two in zip(seconds[ours], seconds[other], strict=True)]


def _starts(setup: Setup) -> dict[str, list[str]]:
    """Gives the commands that load a model and label one text, where their packages are there."""

    def model(side: str) -> str:
        return str(setup.models.make("sst2", SIDES[side].model))

    def python(code: str, side: str) -> list[str]:
        return [sys.executable, "-c", code, model(side), TEXT]

    onnx = f"{FOLDED}, ONNX"
    commands = {
        TORCH: [sys.executable, "-c", "import torch"],
        PREDICT: [str(COMMAND), "predict", model(FOLDED), TEXT],
        "`Predictor` in Python": python(_PREDICTOR_START, FOLDED),
        "`hf-attn predict`, plain": [str(COMMAND), "predict", model(PLAIN), TEXT],
        SVM: python(_SVM_START, SVM),
        TINY_BERT: python(_PIPELINE_START, TINY_BERT),
        DISTILBERT: python(_PIPELINE_START, DISTILBERT),
    }
    if SIDES[FASTTEXT].is_there:
        commands[FASTTEXT_START] = python(_FASTTEXT_START, FASTTEXT)
    if SIDES[onnx].is_there:
        commands[SCRIPT] = [sys.executable, str(CLASSIFY), model(onnx), TEXT]
    return commands


def measure_folding(setup: Setup) -> Part:
    """Compares the accuracy of folded models of R8 on its test texts with that of the plain one."""
    test = load_text_dataset(setup.models.source("r8"))["test"]
    names = test.features["label"].names
    labels = [names[number] for number in test["label"][:]]
    shares = {}
    for model in ("plain", "folded", "folded-float16", "folded-int8"):
        say(f"scoring {model} on R8")
        # A predictor would fold the plain one.
        load = load_plain if model == "plain" else load_folded
        found = load(setup.models.make("r8", model), 1)(test["text"][:])
        shares[model] = sum(map(str.__eq__, found, labels)) / len(labels)
    figures = [
        Figure(
            f"R8 accuracy of {model} less that of plain, in points",
            100 * (share - shares["plain"]),
            "score",
            None,
            -0.2,
            high=True,
        )
        for model, share in shares.items()
        if model != "plain"
    ]
    rows = {model: [[share]] for model, share in shares.items()}
    return Part(figures, [Table("R8 accuracy", ["test"], rows, ["share"])])
