"""Measures whether explanations are right, and what they cost, beside those of other packages.

    python scripts/benchmark_explanations.py --data FOLDER --output explanations.json

FOLDER holds sst2, trec, sst_tokens and eraser_movies as JSON lines, with files train, validation
and test. Each part is written when it is done, and a later run with the same output does those that
are missing, or the ones that `--only` names again. The Markdown goes beside the JSON file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from benchmark_figures import Part, load_parts, part_to_dict, save_parts, to_markdown
from benchmark_training import machine, say
from explanation_costs import (
    measure_cost,
    measure_html,
    measure_speed,
    measure_throughput,
)
from explanation_plausibility import measure_leaves, measure_movies
from explanation_quality import measure_baselines, measure_faithfulness, measure_stability
from explanation_setup import SETS, Setup

PARTS: dict[str, Callable[[Setup], Part]] = {
    "cost": measure_cost,
    "speed": measure_speed,
    "throughput": measure_throughput,
    "html": measure_html,
    **{name: partial(measure_faithfulness, name) for name in SETS},
    "leaves": measure_leaves,
    "movies": measure_movies,
    "stability": measure_stability,
    "baselines": measure_baselines,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what is missing, or what was asked for; writes after each part."""
    given = _parse(arguments)
    torch.set_num_threads(1)
    parts = load_parts(given.output)
    wanted = given.only or [name for name in PARTS if name not in parts]
    settings = {"seeds": given.seeds, "texts at most": given.texts, "repeats": given.repeats}
    if given.epochs:
        settings["epochs, not the default"] = given.epochs
    with tempfile.TemporaryDirectory(prefix="hf_attn-benchmark-") as folder:
        setup = Setup(
            given.models or Path(folder),
            given.data,
            given.seeds,
            given.texts,
            given.repeats,
            given.epochs,
        )
        for name in wanted:
            say(f"measuring {name}")
            started = time.perf_counter()
            part = PARTS[name](setup)
            about = {**settings, "seconds": round(time.perf_counter() - started)}
            parts[name] = part_to_dict(part, machine=machine(), settings=about)
            if given.output:
                save_parts(given.output, parts)
    sys.stdout.write(to_markdown(parts))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the folder sst2")
    parser.add_argument("--output", type=Path, help="JSON file; the tables go beside it, as .md")
    parser.add_argument("--models", type=Path, help="folder to keep models in for the next run")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--texts", type=int, default=500, help="of each set, at most")
    parser.add_argument("--repeats", type=int, default=25, help="timings of each kind")
    parser.add_argument("--epochs", type=int, help="fewer than by default, to try the script out")
    given = parser.parse_args(arguments)
    if not (given.data / "sst2").is_dir():
        parser.error(f"expected --data to be a folder that holds sst2, got {str(given.data)!r}")
    return given


if __name__ == "__main__":
    main()
