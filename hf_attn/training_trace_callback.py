"""Traces a training while it runs: what `Trainer` logs, and how the model attends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .batching import TokenizedTexts
from .errors import InputError
from .explainability import check_unfolded
from .modeling_hf_attn import HfAttnClassifier, HfAttnForSequenceClassification
from .problem_types import MAIN_METRIC, problem_type_of
from .run_record import best_epoch
from .saving import staged
from .training_attention import MAX_TOKENS, even_attention, measure_attention, sample_texts
from .training_trace import (
    ENTROPY,
    SHARE,
    AttentionSample,
    TrainingTrace,
    epochs_of,
    write_training_trace,
)
from .training_trace_view import epoch_lines
from .words import token_kind

logger = logging.getLogger(__name__)

_SHARDED = {DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM}


class TrainingTraceCallback(TrainerCallback):
    """Notes after each epoch how the model attends, and says what the numbers of the epoch say.

    `hf_attn.train` has one by default; it serves transformers' own `Trainer` too. The numbers are
    kept in the trainer's history, so a resumed run still has those of its first part. Nothing that
    is trained changes: attention is measured in evaluation mode, without gradients and random
    numbers, by the first of several processes alone.

    Args:
        texts: What attention is measured on, a data set whose items hold `input_ids`; the training
            texts if None.
        split: What to call these texts.
        metric: Name of the score among those of the evaluation, without "eval_"; that of the task
            if None.
        tell: Called with some lines of text after each epoch; they are logged if None.
        writes: Whether to write `training_trace.json` and `training_trace.md` into the output
            folder at the end.

    Attributes:
        trace: The trace so far.

    Example:
        >>> Trainer(model=model, callbacks=[TrainingTraceCallback(tokenized)], ...)
    """

    def __init__(
        self,
        texts: Any = None,
        *,
        split: str = "given",
        metric: str | None = None,
        tell: Callable[[str], object] | None = None,
        writes: bool = True,
    ) -> None:
        self.trace = TrainingTrace(())
        self._given, self._split = texts, split
        self._metric = metric
        self._tell = tell or logger.info
        self._writes = writes
        self._texts: TokenizedTexts | None = None
        self._untold = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **of_run: Any
    ) -> None:
        """Picks the texts to measure attention on.

        Raises:
            InputError: If the model is not a classifier of this package.
        """
        if not state.is_world_process_zero:
            return
        config = _classifier_in(of_run["model"]).config
        self._metric = self._metric or MAIN_METRIC[problem_type_of(config)]
        self._texts = self._pick_texts(of_run["train_dataloader"])
        sample = None
        if self._texts is not None:
            sample = AttentionSample(
                "train" if self._given is None else self._split,
                len(self._texts),
                MAX_TOKENS,
                *even_attention(self._texts, config.attention_window),
            )
        self.trace = TrainingTrace((), unit=token_kind(of_run["processing_class"]), sample=sample)

    def _pick_texts(self, train_dataloader: Any) -> TokenizedTexts | None:
        if AcceleratorState().distributed_type in _SHARDED:  # a forward pass needs all processes
            logger.warning("attention is not traced: the weights are spread over processes")
            return None
        return sample_texts(train_dataloader.dataset if self._given is None else self._given)

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **of_run: Any
    ) -> None:
        """Tells of the epoch before, of which by now all is logged."""
        self._tell_of_epoch(state)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **of_run: Any
    ) -> None:
        """Measures attention, and notes it in the trainer's history."""
        if not state.is_world_process_zero:
            return
        self._untold = True
        if self._texts is not None:
            entropy, share = measure_attention(_classifier_in(of_run["model"]), self._texts)
            of_epoch = {"epoch": state.epoch, "step": state.global_step}
            state.log_history.append({ENTROPY: entropy, SHARE: share, **of_epoch})

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **of_run: Any
    ) -> None:
        """Tells of the epoch that was evaluated."""
        self._tell_of_epoch(state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **of_run: Any
    ) -> None:
        """Tells what the whole run says, and writes the trace."""
        if not state.is_world_process_zero:
            return
        self._tell_of_epoch(state)
        self.trace = replace(self.trace_of(state), best_epoch=best_epoch(state))
        for sentence in self.trace.summary:
            self._tell(sentence)
        if self._writes:
            with staged(Path(str(args.output_dir))) as folder:
                write_training_trace(self.trace, folder)

    def _tell_of_epoch(self, state: TrainerState) -> None:
        if self._untold:
            self._untold = False
            self.trace = self.trace_of(state)
            self._tell(epoch_lines(self.trace))

    def trace_of(self, state: TrainerState) -> TrainingTrace:
        """Gives the trace of a training that has come so far, from the trainer's history."""
        epochs = epochs_of(state.log_history, self._metric)
        scored = any("score" in one.not_finite or one.score is not None for one in epochs)
        metric = self._metric if scored else None
        return replace(self.trace, epochs=epochs, metric=metric)


def _classifier_in(model: Any) -> HfAttnForSequenceClassification:
    """Gives our classifier, whatever is around it: LoRA, a compiled or a distributed model.

    Raises:
        InputError: If there is none, or if it is folded.
    """
    for module in model.modules():
        if isinstance(module, HfAttnClassifier):
            check_unfolded(module, "training")
            return cast(HfAttnForSequenceClassification, module)
    raise InputError(
        "TrainingTraceCallback: expected a classifier of hf_attn, got "
        f"{type(model).__name__}. Leave the callback out for other models."
    )
