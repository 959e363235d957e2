"""Trains fastText with the settings that it reads from standard input, and prints what came of it.

    python scripts/fasttext_runs.py FOLDER < runs.json

FOLDER holds train.txt, validation.txt and test.txt in fastText's format. A process of its own, as
`ENVIRONMENT` must be set before Python starts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# On one thread fastText 0.9.3 sets a tenth of its word vectors, on two two tenths, and leaves the
# others as the memory comes: zeros as a rule, now and then NaN. With this, glibc gives zeros.
ENVIRONMENT = {"MALLOC_PERTURB_": "255"}

Row = dict[str, Any]


def run_fasttext(folder: Path, runs: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Gives a row for each run: its settings, scores and seconds.

    Args:
        folder: With train.txt, validation.txt and test.txt.
        runs: Arguments of `train_supervised`, and `save`, the file to save the model as.

    Returns:
        The arguments with `validation` and `test`, the shares of texts that got their label,
        `seconds` of the training, and `start`, those that it took before its first step.
    """
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), str(folder)],
        input=json.dumps(runs),
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"fastText failed:\n{done.stderr}")
    rows: list[Row] = json.loads(done.stdout)
    return rows


def _run(folder: Path, options: Mapping[str, Any]) -> Row:
    import fasttext

    settings = {"verbose": 0, **options}
    path = settings.pop("save", None)

    def timed(**changed: Any) -> tuple[Any, float]:
        started = time.perf_counter()
        given = {**settings, **changed}
        model = fasttext.train_supervised(str(folder / "train.txt"), **given)
        return model, time.perf_counter() - started

    _, start = timed(epoch=0)
    model, seconds = timed()
    if path:
        model.save_model(path)
    scores = {name: model.test(str(folder / f"{name}.txt"))[1] for name in ("validation", "test")}
    return {**options, **scores, "seconds": seconds, "start": start}


if __name__ == "__main__":
    rows = [_run(Path(sys.argv[1]), options) for options in json.load(sys.stdin)]
    json.dump(rows, sys.stdout)
