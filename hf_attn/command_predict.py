"""What `hf-attn predict` does: texts in, lines out, as they come and whatever happens."""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from .errors import InputError
from .prediction_lines import PredictionLines
from .predictor.block_reader import BlockReader
from .predictor.predictions import Predictions, TextBatch
from .predictor.predictor import Predictor
from .predictor.text_block import TextBlock
from .predictor.text_source import TextSource, open_source

_BROKEN_ROWS_TOLD = 10


def predict_source(
    model: str,
    source: str,
    lines: PredictionLines,
    *,
    text_column: str | None = None,
    text_pair: str | None = None,
    num_threads: int | None = None,
    abstain_below: float | None = None,
) -> int:
    """Writes a line for each text to standard output.

    Args:
        model: A folder, or a Hub id.
        source: A text, a file, or "-" for standard input.
        lines: What a line looks like.
        text_column: Column of the text in a table; None to find it.
        text_pair: Second text of all.
        num_threads: How many threads score texts; None for as many as the process has cores.
        abstain_below: The least probability of the likeliest class that gives a label.

    Returns:
        The exit code: 1 if rows could not be read, else 0.

    Raises:
        InputError: If the model cannot be loaded, nothing be read of the source, or nothing be
            written.
        KeyboardInterrupt: After Ctrl-C, with whole lines written.
    """
    texts = open_source(source, text_column, text_pair)
    with BlockReader(texts) as reader:
        predictor = Predictor.from_pretrained(model, num_threads=num_threads or _num_cores())
        account = _Account(texts)
        with _interrupted_between_blocks(reader.stop) as is_interrupted:
            for block, predictions in _predict(
                predictor, reader, explain=lines.explained, abstain_below=abstain_below
            ):
                if is_interrupted():
                    break
                account.add(block, predictions)
                _write(lines.write(predictions, block.broken))
        if is_interrupted():
            raise KeyboardInterrupt
        return account.close(reader.error)


def _num_cores() -> int:
    """Gives how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _predict(
    predictor: Predictor, reader: BlockReader, *, explain: bool, abstain_below: float | None
) -> Iterator[tuple[TextBlock, Predictions]]:
    """Yields each block with the predictions of its texts."""
    scored: deque[TextBlock] = deque()

    def batches() -> Iterator[TextBatch]:
        for block in reader:
            scored.append(block)
            yield TextBatch(block.texts, block.pairs)

    for predictions in predictor.stream(batches(), explain=explain, abstain_below=abstain_below):
        yield scored.popleft(), predictions


def _write(lines: bytes) -> None:
    """Writes all of it: where Python's output is unbuffered, a signal ends a writing half-way.

    Raises:
        InputError: If standard output was closed when the process began.
    """
    if sys.stdout is None:
        raise InputError("standard output: expected a terminal, a pipe or a file, found it closed.")
    stream = getattr(sys.stdout, "buffer", None)
    if stream is None:  # of a notebook, or of who caught the output
        sys.stdout.write(lines.decode())
        return
    rest = memoryview(lines)
    while rest:
        rest = rest[stream.write(rest) :]
    stream.flush()


@contextmanager
def _interrupted_between_blocks(stop: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Keeps Ctrl-C from cutting a line; a second one ends at once.

    Args:
        stop: What makes no more blocks come.

    Yields:
        Tells whether there was one.
    """
    received = []
    before = signal.getsignal(signal.SIGINT)

    def take_note(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, before)
        stop()

    if before is signal.default_int_handler:  # not where the signal is ignored, as under nohup
        signal.signal(signal.SIGINT, take_note)
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGINT, before)


class _Account:
    """Says on standard error what became of the rows."""

    def __init__(self, texts: TextSource) -> None:
        self._texts = texts
        self._num_rows = self._num_broken = self._num_cut = self._limit = 0

    def add(self, block: TextBlock, predictions: Predictions) -> None:
        """Names the first broken rows at once."""
        for row in block.broken[: max(_BROKEN_ROWS_TOLD - self._num_broken, 0)]:
            _tell(row.message(self._texts.name))
        self._num_rows += block.num_rows
        self._num_broken += len(block.broken)
        encoded = predictions.encoded
        if encoded.cut.any():
            self._num_cut += int(encoded.cut.sum())
            self._limit = int(encoded.lengths[encoded.cut].max())

    def close(self, error: Exception | None) -> int:
        """Tells the rest, and gives the exit code.

        Raises:
            InputError: As what ended the reading, if nothing was read before.
        """
        if self._num_cut:
            texts = "1 text was" if self._num_cut == 1 else f"{self._num_cut:,} texts were"
            _tell(f"{texts} cut at {self._limit:,} tokens, the tokenizer's model_max_length.")
        if self._num_broken > _BROKEN_ROWS_TOLD:
            _tell(
                f"{self._texts.name}: {self._num_broken:,} of {self._num_rows:,} rows could not be "
                f"read; the first {_BROKEN_ROWS_TOLD} are named above."
            )
        if error is not None:
            if not isinstance(error, InputError) or not self._num_rows:
                raise error
            _tell(f"error: {error} Reading ended there, after {self._num_rows:,} rows.")
        elif not self._num_rows:
            _tell(f"{self._texts.name}: no texts.")
        return int(self._num_broken > 0 or error is not None)


def _tell(message: str) -> None:
    typer.echo(message, err=True)
