"""`Trainer` over [`TokenizedTexts`], and what it pushes to the Hub while and after it trains."""

from __future__ import annotations

import copy
import json
import logging
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

from torch.utils.data import Sampler
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import HubStrategy, SaveStrategy

from .batching import LengthGroupedSampler, TokenizedTexts
from .card import CARD_FILE, keeps_page, make_card, render_card
from .hub import PushResult, files_to_push, open_repository, push_folder
from .mean_feature import mean_token_feature
from .modeling_hf_attn import HfAttnForSequenceClassification
from .saving import staged

logger = logging.getLogger(__name__)

_STATE_FILE = "trainer_state.json"
_ADAPTER_FILE, _BASE = "adapter_config.json", "base_model_name_or_path"
# Saves that wait as copies on the disk; training waits while there are more.
_MOST_WAITING = 4


class HfAttnTrainer(Trainer):
    """`Trainer` over [`TokenizedTexts`], in batches of similar length, that pushes whole models.

    Each push is one commit with configuration, code, weights, tokenizer and card of one save, so
    every commit loads. Saves wait for the push before them; none is skipped. With `hub_strategy`
    "checkpoint" the commit has a folder `last-checkpoint` too, with "all_checkpoints" a folder
    `checkpoint-STEP`, to resume from: weights and the trainer's state. What optimizer, schedule and
    random generators remember is pickled, and pickles are not pushed: such a run goes on at its
    step, but not to the same bits. LoRA is pushed merged, but for that folder.

    The access token is taken out of the arguments, as each checkpoint holds a copy of them.
    """

    def __init__(self, *, args: TrainingArguments, **options: Any) -> None:
        args = copy.copy(args)  # the caller's may serve for another run
        self._token, args.hub_token = args.hub_token, None
        self._pushes = _Pushes()
        super().__init__(args=args, **options)

    def trained_classifier(self) -> HfAttnForSequenceClassification:
        """Gives the classifier in evaluation mode, LoRA merged into its weights."""
        return _merged(self.accelerator.unwrap_model(self.model))

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
        """Saves the model in the output folder and pushes that folder.

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
        with staged(self._output_folder) as folder:
            self._copy_of_model().save_pretrained(folder)
            cast(Any, self.processing_class).save_pretrained(folder)
        pushed = self._push(self._output_folder, str(commit_message), revision=revision)
        return pushed.result() if blocking else None

    def push_output_folder(self) -> PushResult:
        """Pushes what the output folder holds, after all pushes before.

        Raises:
            InputError: If it could not be pushed.
        """
        return self._push(self._output_folder, "End of training").result()

    def failed_pushes(self) -> dict[str, BaseException]:
        """Waits for all pushes and gives those that failed: title of the commit to the error."""
        return self._pushes.failures()

    def create_model_card(self, *_card: Any, **_more: Any) -> None:
        """Writes the card that is made from the record of the run, but over no other page."""
        if self.is_world_process_zero() and not keeps_page(self._output_folder):
            card = render_card(self._output_folder, self.hub_model_id)
            (self._output_folder / CARD_FILE).write_text(card, encoding="utf-8")

    @property
    def _output_folder(self) -> Path:
        return Path(str(self.args.output_dir))

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Pushes what was just saved, in the background."""
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        model, tokenizer = self._copy_of_model(), cast(Any, self.processing_class)
        with tempfile.TemporaryDirectory(prefix="hf_attn-") as folder:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            self._push(
                Path(folder),
                self._title_of_save(),
                card=make_card(model, tokenizer, None, None, str(self.hub_model_id)),
                checkpoint=Path(checkpoint_folder),
            )

    def _finish_current_push(self) -> None:
        """Waits for the pushes at the end of the training, and says which of them failed."""
        for title, error in self.failed_pushes().items():
            logger.error(
                "%s: %r is not on the Hub: %s To push the output folder: hf-attn push %s %s",
                self.hub_model_id, title, error, self._output_folder, self.hub_model_id,
            )  # fmt: skip

    def _copy_of_model(self) -> HfAttnForSequenceClassification:
        """Gives the classifier as it is now, with its reference, apart from the training."""
        model = _merged(copy.deepcopy(self.accelerator.unwrap_model(self.model)))
        model.set_reference(mean_token_feature(model, cast(TokenizedTexts, self.train_dataset)))
        return model

    def _title_of_save(self) -> str:
        if self.args.save_strategy == SaveStrategy.STEPS:
            return f"Training in progress, step {self.state.global_step}"
        return f"Training in progress, epoch {self.state.epoch:g}"

    def _push(
        self,
        folder: Path,
        title: str,
        *,
        revision: str | None = None,
        card: str | None = None,
        checkpoint: Path | None = None,
    ) -> Future[PushResult]:
        """Pushes the folder's files as they are now, when the pushes before are done."""
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        copied = tempfile.TemporaryDirectory(prefix="hf_attn-", ignore_cleanup_errors=True)
        model, beside = Path(copied.name, "model"), Path(copied.name, "beside")
        _copy_files(folder, model)
        place = self._place_of(checkpoint)
        if checkpoint is not None and place is not None:
            _copy_checkpoint(checkpoint, beside)

        def push() -> PushResult:
            with copied:
                return push_folder(
                    model,
                    str(self.hub_model_id),
                    private=self.args.hub_private_repo,
                    revision=revision or self.args.hub_revision,
                    message=title,
                    token=self._token,
                    card=card,
                    beside={f"{place}/{path.name}": path for path in beside.glob("*")},
                )

        return self._pushes.add(title, push)

    def _place_of(self, checkpoint: Path | None) -> str | None:
        """Gives the folder of the repository that a checkpoint is wanted in."""
        if checkpoint is None or self.args.hub_strategy == HubStrategy.EVERY_SAVE:
            return None
        last_only = self.args.hub_strategy == HubStrategy.CHECKPOINT
        return "last-checkpoint" if last_only else checkpoint.name


class _Pushes:
    """Pushes that are made one after the other in the background; only so many wait."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[Future[PushResult], Callable[[], PushResult]]]
        self._waiting = queue.Queue(_MOST_WAITING)
        self._futures: list[tuple[str, Future[PushResult]]] = []

    def add(self, title: str, push: Callable[[], PushResult]) -> Future[PushResult]:
        """Queues a push."""
        if not self._futures:  # not kept alive by a push: an interrupted run ends at once
            threading.Thread(target=self._work, daemon=True).start()
        future: Future[PushResult] = Future()
        self._futures.append((title, future))
        self._waiting.put((future, push))
        return future

    def failures(self) -> dict[str, BaseException]:
        """Waits for all, and gives the title and the error of each that failed."""
        failed = ((title, future.exception()) for title, future in self._futures)
        return {title: error for title, error in failed if error is not None}

    def _work(self) -> None:
        while True:
            future, push = self._waiting.get()
            try:
                future.set_result(push())
            except BaseException as error:  # told by the future, whatever a client's core raises
                future.set_exception(error)


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


def _copy_files(folder: Path, target: Path) -> None:
    """Copies what of a folder can be pushed."""
    target.mkdir()
    for name, file in files_to_push(folder).items():
        shutil.copyfile(file, target / name)


def _copy_checkpoint(checkpoint: Path, target: Path) -> None:
    """Copies what a run can go on from, but for the folders that it names on this machine."""
    _copy_files(checkpoint, target)
    (target / CARD_FILE).unlink(missing_ok=True)  # the one of PEFT, which names the base's folder
    shutil.copyfile(checkpoint / _STATE_FILE, target / _STATE_FILE)
    _keep_last_name(target / _STATE_FILE, "best_model_checkpoint")
    if (target / _ADAPTER_FILE).exists():
        _keep_last_name(target / _ADAPTER_FILE, _BASE)


def _keep_last_name(file: Path, field: str) -> None:
    """Replaces a path in a JSON file by its last name, but for the id of a Hub repository."""
    content = json.loads(file.read_text(encoding="utf-8"))
    path = content.get(field)
    is_id = field == _BASE and path is not None and path.count("/") == 1 and not Path(path).exists()
    if path is not None and not is_id:
        content[field] = Path(path).name
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
