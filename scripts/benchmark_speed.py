"""Measures how fast a folded model is and what it costs, beside fastText and other classifiers.

    python scripts/benchmark_speed.py --data FOLDER --models MODELS --output speed.json

FOLDER holds sst2, eraser_movies and ohsumed as JSON lines, with files train, validation and test.
Each part is written when it is done, and a later run with the same output does those that are
missing, or the ones that `--only` names again. The Markdown goes beside the JSON file. `--picture`
draws the throughput that the output holds. Needs the extra `bench`, and `onnx` for its rows.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmark_figures import Part, load_parts, part_to_dict, save_parts, to_markdown
from benchmark_training import machine, say
from speed_costs import (
    measure_folding,
    measure_memory,
    measure_size,
    measure_start,
    measure_stream,
)
from speed_models import Models
from speed_picture import draw_speed
from speed_rivals import packages
from speed_texts import SOURCES
from speed_throughput import Setup, measure_latency, measure_natural, measure_throughput
from speed_training import measure_profile, measure_training

PARTS: dict[str, Callable[[Setup], Part]] = {
    "throughput": partial(measure_throughput, 1),
    "throughput-2": partial(measure_throughput, 2),
    "natural": measure_natural,
    "latency": measure_latency,
    "memory": measure_memory,
    "stream": measure_stream,
    "size": measure_size,
    "start": measure_start,
    "folding": measure_folding,
    "training": measure_training,
    "profile": measure_profile,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what is missing, or what was asked for; writes after each part."""
    given = _parse(arguments)
    parts = load_parts(given.output)
    wanted = given.only or [name for name in PARTS if name not in parts]
    settings = {"repeats": given.repeats, "texts of a turn at most": given.texts}
    if given.epochs:
        settings["epochs, not the default"] = given.epochs
    with tempfile.TemporaryDirectory(prefix="hf_attn-benchmark-") as folder:
        models = Models(given.models or Path(folder), given.data, given.window, given.epochs)
        setup = Setup(models, given.repeats, given.texts, given.many)
        for name in wanted:
            say(f"measuring {name}")
            started = time.perf_counter()
            part = PARTS[name](setup)
            about = {**settings, "seconds": round(time.perf_counter() - started)}
            parts[name] = part_to_dict(part, machine=_machine(), settings=about)
            if given.output:
                save_parts(given.output, parts)
    if given.picture:
        draw_speed(parts, given.picture)
    sys.stdout.write(to_markdown(parts))


def _machine() -> dict[str, str]:
    """Gives what the figures depend on; how many threads are used is a part's own matter."""
    about = {**machine(), **packages()}
    del about["threads"]
    return about


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the folder sst2")
    parser.add_argument("--output", type=Path, help="JSON file; the tables go beside it, as .md")
    parser.add_argument("--models", type=Path, help="folder to keep models in for the next run")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--picture", type=Path, help="PNG file to draw the throughput in")
    parser.add_argument("--repeats", type=int, default=7, help="timings of each kind")
    parser.add_argument("--texts", type=int, default=20_000, help="of a turn, at most")
    parser.add_argument("--many", type=int, default=1_000_000, help="texts of the long stream")
    parser.add_argument("--window", type=int, default=32, help="of the model with a window")
    parser.add_argument("--epochs", type=int, help="fewer than by default, to try the script out")
    given = parser.parse_args(arguments)
    for name in ("sst2", *SOURCES.values()):
        if not (given.data / name).is_dir():
            parser.error(
                f"expected --data to be a folder that holds {name}, got {str(given.data)!r}"
            )
    return given


if __name__ == "__main__":
    main()
