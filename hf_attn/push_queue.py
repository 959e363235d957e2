"""Pushes of a training that wait for each other in the background, and which of them failed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from .hub import PushResult

# Saves that wait as copies on the disk; training waits while there are more.
_MOST_WAITING = 4


@dataclass(frozen=True)
class FailedPush:
    """A save that is not on the Hub.

    Attributes:
        title: Of the commit that was to hold it.
        folder: Where it was saved; later saves may have taken its place.
        error: Why.
    """

    title: str
    folder: Path
    error: BaseException


@dataclass(frozen=True)
class _Push:
    title: str
    folder: Path
    future: Future[PushResult]


class PushQueue:
    """Pushes that are made one after the other in the background; only so many wait."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[Future[PushResult], Callable[[], PushResult]]]
        self._waiting = queue.Queue(_MOST_WAITING)
        self._pushes: list[_Push] = []
        self._starting = threading.Lock()
        self._works = False

    def add(self, title: str, folder: Path, push: Callable[[], PushResult]) -> Future[PushResult]:
        """Queues a push.

        Args:
            title: Of its commit.
            folder: Where the same is saved, to be named if the push fails.
            push: Makes it.
        """
        future: Future[PushResult] = Future()
        self._pushes.append(_Push(title, folder, future))
        try:
            self._waiting.put((future, push))
        except BaseException as error:  # of who interrupts the waiting
            future.set_exception(error)
            raise
        with self._starting:
            if not self._works:  # not kept alive by a push: an interrupted run ends at once
                self._works = True
                threading.Thread(target=self._work, daemon=True).start()
        return future

    def refuse(self, title: str, folder: Path, error: Exception) -> None:
        """Notes a push that could not even be queued, as one that failed."""

        def push() -> PushResult:
            raise error

        self.add(title, folder, push)

    def failed(self, *, wait: bool = True) -> list[FailedPush]:
        """Gives the pushes that failed.

        Args:
            wait: Whether to wait for all; without, only those that have ended count.
        """
        ended = [push for push in self._pushes if wait or push.future.done()]
        failed = [(push, push.future.exception()) for push in ended]
        return [FailedPush(push.title, push.folder, error) for push, error in failed if error]

    def unfinished(self) -> list[str]:
        """Gives the titles of the pushes that have not ended."""
        return [push.title for push in self._pushes if not push.future.done()]

    def _work(self) -> None:
        """Makes the pushes that wait, and ends: a thread would keep the trainer in memory."""
        while True:
            with self._starting:
                try:
                    future, push = self._waiting.get_nowait()
                except queue.Empty:
                    self._works = False
                    return
            try:
                future.set_result(push())
            except BaseException as error:  # told by the future, whatever a client's core raises
                future.set_exception(error)
