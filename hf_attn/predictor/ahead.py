"""Makes the next thing in a thread of its own while the one before is used."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

_Made = TypeVar("_Made")


def made_ahead(make: Callable[[], _Made | None], name: str) -> Iterator[_Made]:
    """Yields what a function gives until that is None, always one call ahead.

    Who leaves early does not wait for the call that is under way: its thread ends after it, or with
    the process.

    Args:
        make: Called in the thread; what it raises is raised here, in its turn.
        name: Of the thread.
    """
    asked = threading.Semaphore()
    given: queue.SimpleQueue[tuple[_Made | None, BaseException | None]] = queue.SimpleQueue()
    has_left = threading.Event()

    def work() -> None:
        while True:
            asked.acquire()
            if has_left.is_set():
                return
            try:
                given.put((make(), None))
            except BaseException as error:
                given.put((None, error))

    threading.Thread(target=work, name=name, daemon=True).start()
    try:
        while True:
            made, error = given.get()
            if error is not None:
                raise error
            if made is None:
                return
            asked.release()
            yield made
    finally:
        has_left.set()
        asked.release()
