"""The sides that are timed, each in processes of its own, and the turns that they take."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from speed_rivals import SIDES

_Value = TypeVar("_Value")

WORKER = Path(__file__).resolve().parent / "speed_worker.py"
# What the libraries of the sides read when they start.
_THREADS = ("OMP", "MKL", "OPENBLAS", "RAYON", "NUMEXPR")


def thread_variables(threads: int) -> dict[str, str]:
    """Gives the environment of a process that is to use so many threads."""
    numbers = {f"{library}_NUM_THREADS": str(threads) for library in _THREADS}
    return {**os.environ, **numbers, "TOKENIZERS_PARALLELISM": str(threads > 1).lower()}


class Worker:
    """A process that has loaded one side."""

    def __init__(self, side: str, model: Path, threads: int) -> None:
        self.side = side
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115, a pipe that nobody reads gets full
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), side, str(model), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=thread_variables(threads),
        )

    def send(self, **request: Any) -> None:
        """Asks for something.

        Raises:
            RuntimeError: With what the process said, if it has ended.
        """
        requests = cast(IO[str], self._process.stdin)
        with contextlib.suppress(BrokenPipeError):  # `reply` says why
            requests.write(json.dumps(request) + "\n")
            requests.flush()

    def reply(self) -> Any:
        """Waits for the answer to what was asked.

        Raises:
            RuntimeError: With what the process said, if it has ended.
        """
        line = cast(IO[str], self._process.stdout).readline()
        if not line:
            self._said.seek(0)
            raise RuntimeError(f"{self.side} failed:\n{self._said.read()}")
        return json.loads(line)

    def close(self) -> None:
        """Lets the process end."""
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.communicate()
        self._said.close()


@dataclass(frozen=True)
class Team:
    """One process for a side that uses threads, else one for each thread.

    Attributes:
        side: Name of the side.
        workers: The processes.
    """

    side: str
    workers: Sequence[Worker]

    def ask(self, do: str, texts: Sequence[str] = ()) -> list[Any]:
        """Gives each process its share of the texts, then has all do it at the same time."""
        for number, worker in enumerate(self.workers):
            worker.send(do="wait", texts=list(texts[number :: len(self.workers)]))
            worker.reply()
        for worker in self.workers:
            worker.send(do=do)
        return [worker.reply() for worker in self.workers]

    def per_second(self, texts: Sequence[str]) -> float:
        """Gives how many of these texts it labels in a second."""
        seconds: float = max(reply["seconds"] for reply in self.ask("all", texts))
        return len(texts) / seconds


@contextlib.contextmanager
def teams(sides: Sequence[str], folder: Path, threads: int = 1) -> Iterator[dict[str, Team]]:
    """Starts the processes of these sides, and ends them.

    Args:
        sides: Their names.
        folder: With the models of the set that all are of.
        threads: How many each side may use.
    """
    started: dict[str, Team] = {}
    try:
        for name in sides:
            side = SIDES[name]
            count, each = (1, threads) if side.uses_threads else (threads, 1)
            workers = [Worker(name, folder / side.model, each) for _ in range(count)]
            started[name] = Team(name, workers)
        yield started
    finally:
        for team in started.values():
            for worker in team.workers:
                worker.close()


def in_turns(values: Iterable[_Value], turn: int) -> list[_Value]:
    """Gives all values, beginning with another one in each turn."""
    listed = list(values)
    first = turn % len(listed)
    return listed[first:] + listed[:first]
