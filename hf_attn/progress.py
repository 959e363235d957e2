"""What a person at a terminal sees of a training run: a bar, and a line for each evaluation."""

from __future__ import annotations

from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ProgressCallback

_NOT_SCORES = ("_runtime", "_per_second")


class LineProgress(ProgressCallback):
    """The bar of `Trainer`, with a line of scores in place of its raw logs."""

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
        if scores and state.is_world_process_zero and self.training_bar is not None:
            self.training_bar.write(scores)


def evaluation_line(logs: dict[str, Any]) -> str:
    """Gives "epoch 2: loss 0.1234, accuracy 0.9700", or "" for logs of no evaluation."""
    scores = [
        f"{name.removeprefix('eval_')} {value:.4f}"
        for name, value in logs.items()
        if name.startswith("eval_") and not name.endswith(_NOT_SCORES)
    ]
    return f"epoch {logs['epoch']:g}: {', '.join(scores)}" if scores else ""
