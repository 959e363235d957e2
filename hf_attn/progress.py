"""What a person at a terminal sees of a training run: a bar, and a line for each evaluation."""

from __future__ import annotations

import sys
from typing import Any

from tqdm.auto import tqdm
from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ProgressCallback

_NOT_SCORES = ("_runtime", "_per_second")


class LineProgress(ProgressCallback):
    """The bar of `Trainer`, with a line of scores in place of its raw logs.

    Args:
        tells_of_epochs: Whether there is a line for an evaluation at the end of an epoch, too: the
            training trace has its own.
    """

    def __init__(self, *, tells_of_epochs: bool = True) -> None:
        super().__init__()
        self._tells_of_epochs = tells_of_epochs

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Writes the scores of an evaluation above the bar."""
        scores = evaluation_line(logs or {})
        told_elsewhere = not self._tells_of_epochs and float(state.epoch or 0).is_integer()
        if scores and self.training_bar is not None and not told_elsewhere:
            self.training_bar.write(scores)


def write_line(text: str) -> None:
    """Writes a text to standard output, above a progress bar where there is one.

    What the output's encoding lacks is replaced: no training ends because of a sign in a chart.
    """
    encoding = sys.stdout.encoding or "utf-8"
    tqdm.write(text.encode(encoding, errors="replace").decode(encoding))
    sys.stdout.flush()  # a log file is to show it at once, too


def evaluation_line(logs: dict[str, Any]) -> str:
    """Gives "epoch 2: loss 0.1234, accuracy 0.9700", or "" for logs of no evaluation."""
    scores = [
        f"{name.removeprefix('eval_')} {value:.4f}"
        for name, value in logs.items()
        if name.startswith("eval_") and not name.endswith(_NOT_SCORES)
    ]
    return f"epoch {logs['epoch']:g}: {', '.join(scores)}" if scores else ""
