"""Reads texts in a thread of its own, a little ahead of what is done with them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from types import TracebackType

from .text_block import TextBlock
from .text_source import TextSource

# Enough that setting up a batch does not count, and few enough for memory.
_MOST_ROWS = 8192
_MOST_CHARACTERS = 1 << 22


class BlockReader:
    """Gives the rows of a source in large blocks, or in small ones where they come slowly.

    What is there is given at once, and what can be read meanwhile is in the next block. As a
    context manager it closes itself.

    Args:
        source: The texts; reading begins at once.

    Attributes:
        error: What ended the reading before the end of the source.
    """

    def __init__(self, source: TextSource) -> None:
        self.error: Exception | None = None
        self._source = source
        self._waiting: deque[TextBlock] = deque()
        self._changed = threading.Condition()
        self._has_ended = self._is_closed = False
        # A thread that waits for input must not keep the process from ending.
        self._thread = threading.Thread(target=self._read, name="read texts", daemon=True)
        self._thread.start()

    def __enter__(self) -> BlockReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[TextBlock]:
        """Yields blocks until the source ends, or cannot be read, or the reader is closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._has_ended or self._is_closed)
                blocks = self._take()
            if self._is_closed or not blocks:
                return
            yield TextBlock.join(blocks)

    def stop(self) -> None:
        """Gives no more blocks; a signal handler may call it."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Ends the reading, too, unless it waits for another process."""
        self.stop()
        if not self._source.may_wait:
            self._thread.join()

    def _take(self) -> list[TextBlock]:
        """Gives the next blocks, as many as go together."""
        taken: list[TextBlock] = []
        rows = characters = 0
        while self._waiting:
            rows += self._waiting[0].num_rows
            characters += self._waiting[0].num_characters
            if taken and (rows > _MOST_ROWS or characters > _MOST_CHARACTERS):
                break
            taken.append(self._waiting.popleft())
        self._changed.notify_all()
        return taken

    def _read(self) -> None:
        try:
            for block in self._source.blocks:
                if not self._put(block):
                    break
        except Exception as error:  # given to who asks for it, in another thread
            self.error = error
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def _put(self, block: TextBlock) -> bool:
        """Waits until there is room, and tells whether there are to be more blocks."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._has_room())
            if not self._is_closed:
                self._waiting.append(block)
                self._changed.notify_all()
            return not self._is_closed

    def _has_room(self) -> bool:
        rows = sum(block.num_rows for block in self._waiting)
        characters = sum(block.num_characters for block in self._waiting)
        return rows < _MOST_ROWS and characters < _MOST_CHARACTERS
