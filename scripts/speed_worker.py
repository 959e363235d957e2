"""One side in a process of its own: it loads a model, then times itself on what it is sent.

    python scripts/speed_worker.py SIDE MODEL THREADS

It reads one request as JSON from each line of standard input and writes one reply for each.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speed_rivals import SIDES, Predict

MEGABYTE = 10**6
_STATUS = Path("/proc/self/status")


def main() -> None:
    """Answers until the standard input ends."""
    name, model, threads = sys.argv[1:]
    # What a library prints is not to come between the replies.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    started = time.perf_counter()
    predict = SIDES[name].load(Path(model), int(threads))
    loading = time.perf_counter() - started
    texts: list[str] = []
    for line in sys.stdin:
        request = json.loads(line)
        texts = request.get("texts", texts)
        reply = {"loading": loading, **_answer(request, predict, texts)}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _answer(
    request: Mapping[str, Any], predict: Predict, texts: Sequence[str]
) -> Mapping[str, Any]:
    """Gives seconds for all texts, or for each, or the peak memory in MB, or nothing."""
    if request["do"] == "all":
        started = time.perf_counter()
        labels = predict(texts)
        seconds = time.perf_counter() - started
        if len(labels) != len(texts):
            raise RuntimeError(f"expected {len(texts)} labels, got {len(labels)}")
        return {"seconds": seconds}
    if request["do"] == "each":
        return {"seconds": [_seconds_of(predict, text) for text in texts]}
    return {"memory": peak_memory()} if request["do"] == "weigh" else {}


def _seconds_of(predict: Predict, text: str) -> float:
    started = time.perf_counter()
    predict([text])
    return time.perf_counter() - started


def peak_memory() -> float:
    """Gives the most memory in MB that this process had in use at once, not that of its parent."""
    if _STATUS.exists():
        (line,) = (row for row in _STATUS.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / MEGABYTE
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


if __name__ == "__main__":
    main()
