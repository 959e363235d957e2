"""A training that has ended: what it gave, and its push to the Hub."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from .errors import InputError
from .modeling_hf_attn import HfAttnForSequenceClassification
from .trainer import HfAttnTrainer
from .training_trace import TrainingTrace


@dataclass(frozen=True)
class TrainingRun:
    """A trained classifier, and the record of how it came about.

    Attributes:
        model: The classifier, in evaluation mode.
        tokenizer: Its tokenizer.
        record: What `run.json` holds.
        output_dir: The folder that all of it is saved in.
        trace: How the training went, epoch by epoch; None if it was not traced, and in all
            processes but the first.
    """

    model: HfAttnForSequenceClassification
    tokenizer: PreTrainedTokenizerBase
    record: dict[str, Any]
    output_dir: Path
    trace: TrainingTrace | None = None


class PushError(InputError):
    """A trained model is saved, but not all that was to be pushed is on the Hub.

    Attributes:
        run: What was trained.
    """

    def __init__(self, message: str, run: TrainingRun) -> None:
        super().__init__(message)
        self.run = run


def push_run(trainer: HfAttnTrainer, run: TrainingRun) -> None:
    """Pushes the trained model, and says of all that could not be pushed how to do it.

    Raises:
        PushError: If something could not be pushed.
    """
    branch = trainer.args.hub_revision
    to_branch = [] if branch is None else ["--revision", branch]
    try:
        trainer.push_output_folder()
    except Exception as error:  # whatever it is, the model is there and the way to push it
        command = ["hf-attn", "push", str(run.output_dir), str(trainer.hub_model_id), *to_branch]
        raise PushError(
            f"The model is trained and saved in {run.output_dir}, but it is not on the Hub: "
            f"{error} To try again: {shlex.join(command)}",
            run,
        ) from error
    failed = trainer.failed_pushes()
    if failed:
        titles = ", ".join(push.title for push in failed)
        again = [push.folder for push in failed if push.folder.is_dir()]
        command = ["hf-attn", "push", *map(str, again[:1]), str(trainer.hub_model_id)]
        raise PushError(
            f"The trained model is in {run.output_dir} and on the Hub, but of the saves before it "
            f"are not: {titles}. The first error: {failed[0].error}"
            + (f" To push one: {shlex.join(command)} --revision NAME" if again else ""),
            run,
        )
