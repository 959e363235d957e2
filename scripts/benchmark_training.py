"""Measures what training costs and what it reaches: the source of the figures in the README.

    python scripts/benchmark_training.py --data FOLDER --output figures.json

The Markdown table goes to standard output and beside the JSON file. 1 MB is 10^6 bytes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import datasets
import torch
import transformers
from bare_loop import time_bare_loop

from hf_attn import train
from hf_attn.arguments import WORDS_ALONE

MEGABYTE = 10**6
HELP_RUNS = 5
FRACTIONS = (0.1, 1.0)
# Settings that a model that is started from brings itself.
OF_A_MODEL = ("ngram_buckets", "min_frequency")
FORMATS = {"share": "{:.2%}", "seconds": "{:.2f} s", "MB": "{:.4g} MB", "ratio": "{:.3f}"}
COMMAND = Path(sysconfig.get_path("scripts")) / "hf-attn"
# Prints the peak memory of a command. A process of its own, as a child's peak counts from its
# parent's memory at the start, and that of several children is the largest.
PEAK_OF_COMMAND = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        name: Key in the JSON file.
        what: What was measured, in words.
        value: The figure, a mean, a median or a sum of `single`.
        unit: One of FORMATS; a share is to be high, anything else low.
        single: What it is made of: name of a seed, run or file to its value.
        goal: What to reach, if anything.
    """

    name: str
    what: str
    value: float
    unit: str
    single: Mapping[str, float] = field(default_factory=dict)
    goal: float | None = None

    def to_row(self) -> str:
        """Gives the row of the Markdown table."""
        show = FORMATS[self.unit].format
        single = ", ".join(f"{name} {show(value)}" for name, value in self.single.items())
        goal = ""
        if self.goal is not None:
            high = self.unit == "share"
            reached = self.value >= self.goal if high else self.value <= self.goal
            goal = f"{'≥' if high else '≤'} {show(self.goal)}: {'yes' if reached else 'no'}"
        return f"| {self.what} | {show(self.value)} | {single} | {goal} |"


@dataclass(frozen=True)
class Setup:
    """What the parts share.

    Attributes:
        folder: Where models are written.
        seeds: Of the runs whose scores are averaged.
        repeats: Timings of each kind.
        options: What differs from the default settings; nothing in a real measurement.
        data: Folder with more data sets.
        records: Name of a model in the folder to its run record.
    """

    folder: Path
    seeds: Sequence[int]
    repeats: int
    options: Mapping[str, Any]
    data: Path | None = None
    records: dict[str, dict[str, Any]] = field(default_factory=dict)

    def train(self, name: str, dataset: str, seed: int, **options: Any) -> dict[str, Any]:
        """Trains a model, unless another part has done so, and gives its run record."""
        if name not in self.records:
            say(f"training {name}")
            given = {**self.options, **options}
            if "model" in options:
                given = {what: value for what, value in given.items() if what not in OF_A_MODEL}
            self.records[name] = train_quietly(dataset, self.folder / name, seed=seed, **given)
        return self.records[name]

    def train_r8(self, seed: int) -> dict[str, Any]:
        """Trains the model `r8-SEED` with default settings."""
        return self.train(f"r8-{seed}", "r8", seed)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what was asked for; writes after each part, so that a late failure costs little."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--repeats", type=int, default=3, help="timings of each kind")
    parser.add_argument("--epochs", type=int, help="fewer than by default, to try the script out")
    parser.add_argument("--words-alone", action="store_true", help="models without bigrams")
    parser.add_argument("--data", type=Path, help="folder with the folder sst2")
    parser.add_argument("--output", type=Path, help="JSON file; the table goes beside it, as .md")
    given = parser.parse_args(arguments)
    if given.data and not (given.data / "sst2").is_dir():
        parser.error(f"expected --data to be a folder that holds sst2, got {str(given.data)!r}")
    options = dict(WORDS_ALONE) if given.words_alone else {}
    if given.epochs:
        options["num_train_epochs"] = given.epochs
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="hf_attn-benchmark-") as folder:
        setup = Setup(Path(folder), given.seeds, given.repeats, options, given.data)
        for part in given.only:
            figures += PARTS[part](setup)
            if given.output:
                write_results(given.output, figures, options)
    sys.stdout.write(to_markdown(figures, options))


def write_results(path: Path, figures: Iterable[Figure], options: Mapping[str, Any]) -> None:
    """Writes the figures as JSON, and as a table beside it."""
    rows = {figure.name: asdict(figure) for figure in figures}
    content = {"machine": machine(), "options": options, "figures": rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(to_markdown(figures, options), encoding="utf-8")


def to_markdown(figures: Iterable[Figure], options: Mapping[str, Any]) -> str:
    """Gives the figures as a table, and below it what they were measured on."""
    head = ["| what | measured | made of | to reach |", "|---|---|---|---|"]
    settings = "default settings" if not options else f"not the default settings: {options}"
    foot = ["", ", ".join([*(f"{key} {value}" for key, value in machine().items()), settings])]
    return "\n".join([*head, *(figure.to_row() for figure in figures), *foot]) + "\n"


def machine() -> dict[str, Any]:
    """Gives what a figure depends on beside the code."""
    return {
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def say(text: str) -> None:
    """Tells on standard error how far the measurement is."""
    sys.stderr.write(f"{text} ...\n")


def train_quietly(dataset: Any, folder: Path, **options: Any) -> dict[str, Any]:
    """Trains without progress bars and gives the run record."""
    datasets.disable_progress_bars()
    transformers.logging.disable_progress_bar()
    return train(dataset, folder, disable_tqdm=True, **options).record


def score_figures(
    name: str, what: str, records: Mapping[int, dict[str, Any]], goal: float | None = None
) -> list[Figure]:
    """Gives test accuracy and macro-F1, each the mean over the records of the seeds."""
    figures = []
    for score, words in (("accuracy", "accuracy"), ("macro_f1", "macro-F1")):
        single = {f"seed {s}": r["metrics"]["test"][score] for s, r in records.items()}
        mean = statistics.fmean(single.values())
        label = f"{what}: test {words}, mean over seeds"
        wanted = goal if score == "accuracy" else None
        figures.append(Figure(f"{name}_{score}", label, mean, "share", single, wanted))
    return figures


def measure_accuracy(setup: Setup) -> list[Figure]:
    """Scores R8, and SST-2 if its folder is known, on their official test splits."""
    r8 = {seed: setup.train_r8(seed) for seed in setup.seeds}
    figures = score_figures("r8", "R8", r8, goal=0.97)
    if setup.data is None:
        say("SST-2 skipped: name the folder that holds sst2 with --data")
        return figures
    source = str(setup.data / "sst2")
    sst2 = {seed: setup.train(f"sst2-{seed}", source, seed) for seed in setup.seeds}
    return figures + score_figures("sst2", "SST-2", sst2, goal=0.805)


def measure_fine_tuning(setup: Setup) -> list[Figure]:
    """Scores R52 with few and with all texts, from an R8 model of the same seed and from scratch.

    R8 is the part of R52 with its eight largest classes, in the same split. So the R8 model knows
    most training and validation texts of R52 with their classes even where it then gets 10 %.
    """
    figures = []
    for fraction in FRACTIONS:
        for start in ("r8", "scratch"):
            records = {}
            for seed in setup.seeds:
                setup.train_r8(seed)
                options = {"model": str(setup.folder / f"r8-{seed}")} if start == "r8" else {}
                name = f"r52-{fraction}-{start}-{seed}"
                records[seed] = setup.train(name, "r52", seed, train_fraction=fraction, **options)
            begun = "from a model of all R8 texts" if start == "r8" else "from scratch"
            what = f"R52, {fraction:.0%} of its training texts, {begun}"
            figures += score_figures(f"r52_{round(fraction * 100)}_{start}", what, records)
    return figures


def measure_size(setup: Setup) -> list[Figure]:
    """Weighs the files that load a trained R8 model, and its record; no checkpoints."""
    setup.train_r8(setup.seeds[0])
    files = sorted((setup.folder / f"r8-{setup.seeds[0]}").glob("*.*"))
    single = {file.name: file.stat().st_size / MEGABYTE for file in files if file.is_file()}
    what = "Saved R8 model with its tokenizer, code and run record"
    return [Figure("r8_size", what, sum(single.values()), "MB", single, goal=20)]


def measure_memory(setup: Setup) -> list[Figure]:
    """Takes the peak memory of `hf-attn train r8`, and of the imports that it cannot do without."""
    say("measuring memory")
    command = [str(COMMAND), "train", "r8", "--output_dir", str(setup.folder / "r8-memory")]
    command += [word for name, value in setup.options.items() for word in (f"--{name}", str(value))]
    imports = [sys.executable, "-c", "import hf_attn.cli, hf_attn.training"]
    return [
        Figure("r8_memory", "Peak memory of `hf-attn train r8`", peak_of(command), "MB", goal=1500),
        Figure("imports_memory", "Peak memory of its imports alone", peak_of(imports), "MB"),
    ]


def peak_of(command: Sequence[str]) -> float:
    """Gives the most memory in MB that a command had in use at once."""
    printed = run_quietly([sys.executable, "-c", PEAK_OF_COMMAND, *command])
    return int(printed) * (1 if sys.platform == "darwin" else 1024) / MEGABYTE


def run_quietly(command: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """Gives what a command prints; what it says besides is shown if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def measure_help(_: Setup) -> list[Figure]:
    """Times `hf-attn --help` in turns with an import of torch."""
    say("timing hf-attn --help")
    commands = {
        "`hf-attn --help`": [str(COMMAND), "--help"],
        "torch": [sys.executable, "-c", "import torch"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _run in range(HELP_RUNS):
        for name, command in commands.items():
            started = time.perf_counter()
            run_quietly(command)
            seconds[name].append(time.perf_counter() - started)
    ours, torchs = seconds.values()
    what = "`hf-attn --help`"
    return [
        median("help", f"{what}, median of fresh processes", "seconds", ours, goal=1),
        median("import_torch", "`python -c 'import torch'`, likewise", "seconds", torchs),
        median("help_ratio", f"{what} over the import of torch", "ratio", ratios(ours, torchs)),
    ]


def median(
    name: str, what: str, unit: str, values: Sequence[float], goal: float | None = None
) -> Figure:
    """Gives the median of repeated measurements as a figure."""
    single = {f"run {number}": value for number, value in enumerate(values, start=1)}
    return Figure(name, what, statistics.median(values), unit, single, goal)


def ratios(ours: Sequence[float], others: Sequence[float]) -> list[float]:
    """Gives one ratio for each pair of measurements that were taken in turns."""
    return [our / other for our, other in zip(ours, others, strict=True)]


def measure_speed(setup: Setup) -> list[Figure]:
    """Times Trainer in turns with the bare loop, each run in a fresh process."""
    whole = time_in_turns(setup, evaluates=True)
    steps = time_in_turns(setup, evaluates=False)
    evaluation = "evaluation on the validation texts after each epoch"
    return [
        median(
            "r8_seconds",
            f"R8 training by Trainer: steps, {evaluation}, a checkpoint with the optimizer's state "
            "after each epoch, the best weights loaded at the end",
            "seconds",
            whole[0],
            goal=90,
        ),
        median("bare_seconds", f"Bare loop: the same steps, {evaluation}", "seconds", whole[1]),
        median("speed_ratio", "Trainer over bare loop, as above", "ratio", ratios(*whole), 1.3),
        median("r8_steps_seconds", "R8 training by Trainer: steps only", "seconds", steps[0]),
        median("bare_steps_seconds", "Bare loop: the same steps only", "seconds", steps[1]),
        median("steps_ratio", "Trainer over bare loop, steps only", "ratio", ratios(*steps), 1.3),
    ]


def time_in_turns(setup: Setup, *, evaluates: bool) -> tuple[list[float], list[float]]:
    """Gives the seconds of Trainer's runs and of the bare loop's."""
    off = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
    options = {**setup.options, **({} if evaluates else off)}
    trainer, bare = [], []
    for number in range(setup.repeats):
        say(f"timing {'training' if evaluates else 'steps'}, run {number + 1} of {setup.repeats}")
        folder = setup.folder / f"timed-{evaluates}-{number}"
        record = in_fresh_process(train_quietly, "r8", folder, **options)
        trainer.append(record["seconds"]["train"])
        planned = record["settings"]["training"]["num_train_epochs"]
        timed = {**options, "num_train_epochs": planned}
        bare.append(in_fresh_process(time_bare_loop, "r8", len(record["epochs"]), **timed))
    return trainer, bare


def in_fresh_process(function: Callable[..., _Value], *args: Any, **kwargs: Any) -> _Value:
    """Calls the function in a process that has run nothing before."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


PARTS: dict[str, Callable[[Setup], list[Figure]]] = {
    "accuracy": measure_accuracy,
    "speed": measure_speed,
    "memory": measure_memory,
    "size": measure_size,
    "help": measure_help,
    "fine-tuning": measure_fine_tuning,
}


if __name__ == "__main__":
    main()
