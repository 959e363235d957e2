"""`Trainer` over [`TokenizedTexts`], and what it pushes to the Hub while and after it trains."""

from __future__ import annotations

import contextlib
import copy
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerBase, Trainer, TrainerState, TrainingArguments
from transformers.trainer_utils import HubStrategy, SaveStrategy, TrainOutput

from .batching import LengthGroupedSampler, TokenizedTexts
from .card import CARD_FILE, keeps_page, make_card
from .errors import InputError
from .explainability import refusal_of_folded
from .hub import PushResult, open_repository, push_folder
from .hub_checkpoints import copy_checkpoint
from .hub_files import files_to_push
from .mean_feature import mean_token_feature
from .model_folder import RunFiles, write_model
from .modeling_hf_attn import (
    HfAttnFoldedForSequenceClassification,
    HfAttnForSequenceClassification,
)
from .push_queue import FailedPush, PushQueue
from .saving import PUSHING, staged

logger = logging.getLogger(__name__)


def group_options(
    name: str, arguments: TrainingArguments, learning_rate: float
) -> dict[str, float]:
    """Gives what the optimizer is to do otherwise with a parameter than with most.

    Most pairs of words occur a few times in training, and Adam moves what is seen rarely as far as
    what is seen often: at the full rate they are learned by heart before words are. The
    attention decays, towards an even one that adds nothing: what it learns must pay in step after
    step.

    Args:
        name: Of the parameter.
        arguments: Where these settings are missing, nothing is done otherwise.
        learning_rate: Of most parameters.
    """
    if "embed_ngrams" in name:
        ratio = getattr(arguments, "ngram_lr_ratio", 1.0)
        return {} if ratio == 1 else {"lr": ratio * learning_rate}
    if any(f".attention.{part}_proj." in name for part in "qkv"):
        # In other optimizers a decay is a part of the gradient, and another thing.
        decay = getattr(arguments, "attention_weight_decay", None)
        if decay is not None and "adamw" in str(arguments.optim).lower():
            return {"weight_decay": decay}
    return {}


class HfAttnTrainer(Trainer):
    """`Trainer` over [`TokenizedTexts`], in batches of similar length, that pushes whole models.

    Each push is one commit with configuration, code, weights, tokenizer and card of one save, so
    every commit loads. Saves wait for the push before them; none is skipped. With `hub_strategy`
    "checkpoint" the commit has a folder `last-checkpoint` too, with "all_checkpoints" a folder
    `checkpoint-STEP`, to resume from: weights and the trainer's state. What optimizer, schedule and
    random generators remember is pickled, and pickles are not pushed: such a run goes on at its
    step, but not to the same bits. LoRA is pushed merged, but for that folder.

    The access token is taken out of the arguments, as each checkpoint holds a copy of them.

    Args:
        args: As of `Trainer`.
        describe: Gives what is known of the run so far, to be pushed with a save of it.
        **options: As of `Trainer`.

    Raises:
        InputError: If the model is folded.
    """

    def __init__(
        self,
        *,
        args: TrainingArguments,
        describe: Callable[[HfAttnForSequenceClassification, TrainerState], RunFiles] | None = None,
        **options: Any,
    ) -> None:
        if isinstance(options.get("model"), HfAttnFoldedForSequenceClassification):
            raise InputError(f"expected {refusal_of_folded('model', 'training')}")
        args = copy.copy(args)  # the caller's may serve for another run
        self._token, args.hub_token = args.hub_token, None
        self._pushes = PushQueue()
        self._describe = describe
        super().__init__(args=args, **options)

    def train(self, *arguments: Any, wait_for_pushes: bool = True, **options: Any) -> TrainOutput:
        """Trains as `Trainer` does, and logs which pushes failed, where the training fails too.

        Args:
            *arguments: As of `Trainer`.
            wait_for_pushes: Whether to end only after them. Without it they go on, and
                [`failed_pushes`] waits: no other process is to wait for what this one sends.
            **options: As of `Trainer`.
        """
        try:
            output = super().train(*arguments, **options)
        except BaseException as error:
            # Who interrupts a training does not want to wait for what it has queued.
            self.tell_of_pushes(wait=isinstance(error, Exception))
            raise
        if wait_for_pushes:
            self.tell_of_pushes(wait=True)
        return output

    def trained_classifier(self) -> HfAttnForSequenceClassification:
        """Gives the classifier in evaluation mode, LoRA merged into its weights."""
        return _merged(self.accelerator.unwrap_model(self.model))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Gives Trainer's optimizer, with `group_options` of their own for some parameters."""
        is_given = self.optimizer is not None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if is_given:
            return optimizer
        trained = cast(nn.Module, self.model if model is None else model)
        names = {id(parameter): name for name, parameter in trained.named_parameters()}
        for group in list(optimizer.param_groups):
            apart: dict[tuple[tuple[str, float], ...], list[nn.Parameter]] = {}
            for parameter in group["params"]:
                options = group_options(names.get(id(parameter), ""), self.args, group["lr"])
                apart.setdefault(tuple(options.items()), []).append(parameter)
            group["params"] = apart.pop((), [])
            for options_of_group, parameters in apart.items():
                optimizer.add_param_group({**group, **dict(options_of_group), "params": parameters})
        return optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:
        if self.args.train_sampling_strategy != "group_by_length":
            return cast("Sampler[int] | None", super()._get_train_sampler(train_dataset))
        texts = cast(TokenizedTexts, self.train_dataset if train_dataset is None else train_dataset)
        return LengthGroupedSampler(
            texts.lengths, self._train_batch_size, cast(int, self.args.data_seed)
        )

    # The Hub

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Makes the repository if it is missing.

        Raises:
            InputError: If it cannot be pushed to.
        """
        if self.is_world_process_zero():
            self._token = token or self._token
            repo_id = prepare_repository(self.args, self._token, private)
            self.hub_model_id = repo_id  # type: ignore[assignment]

    def push_to_hub(  # type: ignore[override]
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **card: Any,
    ) -> PushResult | None:
        """Saves the model in the output folder and pushes it, with a page that somebody wrote.

        Args:
            commit_message: Title of the commit.
            blocking: Whether to wait for it; without, [`failed_pushes`] does.
            token: Access token; without it that of the arguments, of HF_TOKEN or of the login.
            revision: Branch; that of the arguments without it.
            private: Whether a repository that is made is private.
            **card: What `Trainer` writes its card from. Ours is made from the record of the run.

        Returns:
            What was pushed; None without waiting, and in all processes but the first.

        Raises:
            InputError: If it could not be pushed.
        """
        if card:
            logger.warning("not used, as the card is made from the run: %s", ", ".join(card))
        if self.hub_model_id is None or token is not None:
            self.init_hf_repo(token, private)
        if not self.is_world_process_zero():
            return None
        revision = revision or self.args.hub_revision
        with self._copying() as copied:
            card_text = self._write_save(_model_in(copied), revision)
            with staged(self._output_folder) as saved:
                shutil.copytree(_model_in(copied), saved, dirs_exist_ok=True)
            if keeps_page(self._output_folder):
                card_text = (self._output_folder / CARD_FILE).read_text(encoding="utf-8")
            pushed = self._push(
                copied, self._output_folder, str(commit_message), revision, card=card_text
            )
        return pushed.result() if blocking else None

    def push_output_folder(self) -> PushResult:
        """Pushes what the output folder holds, after all pushes before.

        Raises:
            InputError: If it could not be pushed.
        """
        folder = self._output_folder
        with self._copying() as copied:
            for name, file in files_to_push(folder).items():
                shutil.copyfile(file, _model_in(copied) / name)
            pushed = self._push(copied, folder, "End of training", self.args.hub_revision)
        return pushed.result()

    def failed_pushes(self) -> list[FailedPush]:
        """Waits for all pushes and gives those that failed."""
        return self._pushes.failed()

    def tell_of_pushes(self, *, wait: bool) -> None:
        """Logs which pushes failed and which have not ended.

        Args:
            wait: Whether to wait for all first.
        """
        for failed in self._pushes.failed(wait=wait):
            logger.error(
                "%s: %r is not on the Hub: %s To push it: hf-attn push %s %s",
                self.hub_model_id, failed.title, failed.error, failed.folder, self.hub_model_id,
            )  # fmt: skip
        unfinished = self._pushes.unfinished()
        if unfinished:
            logger.error(
                "%s: not sent yet, and perhaps not on the Hub: %s.",
                self.hub_model_id, ", ".join(unfinished),
            )  # fmt: skip

    def create_model_card(self, *_card: Any, **_more: Any) -> None:
        """Writes the card that is made from the record of the run, but over no other page."""
        if self.is_world_process_zero() and not keeps_page(self._output_folder):
            model = self._copy_of_model()
            name = str(self.hub_model_id or self._output_folder.resolve().name)
            with staged(self._output_folder) as folder:
                card = self._card(model, self._known_of(model), name, self.args.hub_revision)
                (folder / CARD_FILE).write_text(card, encoding="utf-8")

    @property
    def _output_folder(self) -> Path:
        return Path(str(self.args.output_dir))

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Pushes what was just saved, in the background; the training goes on if it cannot be."""
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        title, checkpoint = self._title_of_save(), Path(checkpoint_folder)
        revision = self.args.hub_revision
        try:
            with self._copying() as copied:
                card = self._write_save(_model_in(copied), revision)
                place = self._place_of(checkpoint)
                if place is not None:
                    copy_checkpoint(checkpoint, Path(copied.name, "beside"))
                self._push(copied, checkpoint, title, revision, card=card, place=place)
        except Exception as error:  # a full disk, say, on which the checkpoint itself had space
            self._pushes.refuse(title, checkpoint, error)

    def _finish_current_push(self) -> None:
        """Does nothing: [`train`] and [`failed_pushes`] wait for the pushes."""

    def _write_save(self, folder: Path, revision: str | None) -> str:
        """Writes the classifier as it is now into a folder, and gives its card."""
        model, tokenizer = self._copy_of_model(), self._tokenizer
        known = self._known_of(model)
        write_model(folder, model, tokenizer, known)
        return self._card(model, known, str(self.hub_model_id), revision)

    def _copy_of_model(self) -> HfAttnForSequenceClassification:
        """Gives the classifier as it is now, with its reference, apart from the training."""
        model = _merged(copy.deepcopy(self.accelerator.unwrap_model(self.model)))
        model.set_reference(mean_token_feature(model, cast(TokenizedTexts, self.train_dataset)))
        return model

    def _known_of(self, model: HfAttnForSequenceClassification) -> RunFiles:
        return RunFiles() if self._describe is None else self._describe(model, self.state)

    def _card(
        self,
        model: HfAttnForSequenceClassification,
        known: RunFiles,
        name: str,
        revision: str | None,
    ) -> str:
        return make_card(model, self._tokenizer, known, name, revision=revision)

    @property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        return cast(PreTrainedTokenizerBase, self.processing_class)

    def _title_of_save(self) -> str:
        if self.args.save_strategy == SaveStrategy.STEPS:
            return f"Training in progress, step {self.state.global_step}"
        return f"Training in progress, epoch {self.state.epoch:g}"

    @contextlib.contextmanager
    def _copying(self) -> Iterator[tempfile.TemporaryDirectory[str]]:
        """Gives a folder for what is pushed, on the disk of the saves; gone after an error."""
        self._output_folder.mkdir(parents=True, exist_ok=True)
        copied = tempfile.TemporaryDirectory(
            prefix=PUSHING, dir=self._output_folder, ignore_cleanup_errors=True
        )
        try:
            _model_in(copied).mkdir()
            yield copied
        except BaseException:
            copied.cleanup()
            raise

    def _push(
        self,
        copied: tempfile.TemporaryDirectory[str],
        saved_in: Path,
        title: str,
        revision: str | None,
        *,
        card: str | None = None,
        place: str | None = None,
    ) -> Future[PushResult]:
        """Pushes what was copied, when the pushes before are done, and removes the copy."""
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        beside = Path(copied.name, "beside").glob("*")

        def push() -> PushResult:
            with copied:
                result = push_folder(
                    _model_in(copied),
                    str(self.hub_model_id),
                    private=self.args.hub_private_repo,
                    revision=revision,
                    message=title,
                    token=self._token,
                    card=card,
                    beside={f"{place}/{path.name}": path for path in beside},
                )
            for note in result.notes:
                logger.warning("%s, %r: %s", result.repo_id, title, note)
            return result

        return self._pushes.add(title, saved_in, push)

    def _place_of(self, checkpoint: Path) -> str | None:
        """Gives the folder of the repository that a checkpoint is wanted in."""
        if self.args.hub_strategy == HubStrategy.EVERY_SAVE:
            return None
        last_only = self.args.hub_strategy == HubStrategy.CHECKPOINT
        return "last-checkpoint" if last_only else checkpoint.name


def prepare_repository(
    arguments: TrainingArguments, token: str | None, private: bool | None = None
) -> str:
    """Gives the id of the repository that a run pushes to, made if it is missing.

    Args:
        arguments: With `hub_model_id`; without it the output folder's name is taken.
        token: Access token; that of HF_TOKEN or of the login without it.
        private: Whether to make it private; as the arguments say without it.

    Raises:
        InputError: If it cannot be pushed to.
    """
    return open_repository(
        arguments.hub_model_id or Path(str(arguments.output_dir)).resolve().name,
        private=arguments.hub_private_repo if private is None else private,
        revision=arguments.hub_revision,
        token=token,
    )


def _merged(model: Any) -> HfAttnForSequenceClassification:
    """Gives the classifier in evaluation mode, LoRA merged into its weights."""
    if not isinstance(model, HfAttnForSequenceClassification):
        model = model.merge_and_unload()
    return cast(HfAttnForSequenceClassification, model.eval())


def _model_in(copied: tempfile.TemporaryDirectory[str]) -> Path:
    return Path(copied.name, "model")
