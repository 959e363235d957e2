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


def run_fasttext(
    folder: Path,
    runs: Sequence[Mapping[str, Any]],
    splits: Sequence[str] = (),
    labels: Sequence[str] = (),
) -> list[Row]:
    """Gives a row for each run: its settings, scores and seconds.

    Args:
        folder: With train.txt, validation.txt and test.txt.
        runs: Arguments of `train_supervised`, and `save`, the file to save the model as.
        splits: Names of the files, without `.txt`, to give the probabilities of.
        labels: All labels with their prefix, in the order of those probabilities.

    Returns:
        The arguments with `validation` and `test`, the shares of texts that got their label,
        `seconds` of the training, `start`, those that it took before its first step, and `scores`,
        split to the probabilities (N, C) of its texts.
    """
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), str(folder)],
        input=json.dumps({"runs": runs, "splits": splits, "labels": labels}),
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"fastText failed:\n{done.stderr}")
    rows: list[Row] = json.loads(done.stdout)
    return rows


def _run(
    folder: Path, options: Mapping[str, Any], splits: Sequence[str], labels: Sequence[str]
) -> Row:
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
    shares = {name: model.test(str(folder / f"{name}.txt"))[1] for name in ("validation", "test")}
    scores = {name: _probabilities(model, folder / f"{name}.txt", labels) for name in splits}
    return {**options, **shares, "seconds": seconds, "start": start, "scores": scores}


def _probabilities(model: Any, path: Path, labels: Sequence[str]) -> list[list[float]]:
    """Gives the probability of each label for each line, 0 for those that training had none of."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = " ".join(word for word in line.split(" ") if not word.startswith("__label__"))
        # What `model.predict` does before it makes an array, as numpy 2 does not let it.
        found = {label: share for share, label in model.f.predict(f"{text}\n", -1, 0.0, "strict")}
        rows.append([found.get(label, 0.0) for label in labels])
    return rows


if __name__ == "__main__":
    given = json.load(sys.stdin)
    rows = [
        _run(Path(sys.argv[1]), options, given["splits"], given["labels"])
        for options in given["runs"]
    ]
    json.dump(rows, sys.stdout)
