"""The checkpoint that a run goes on from, and whether it is whole."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

from .configuration_hf_attn import HfAttnConfig
from .errors import InputError
from .file_names import CONFIG_FILE, STATE_FILE

_MUST_AGREE = ("vocab_size", "hidden_size", "head_dim", "ngram_buckets", "ngram_slots", "id2label")


def checkpoint_to_resume(wanted: str | bool | None, folder: Path) -> Path | None:
    """Gives the checkpoint that a run goes on from, or None for a fresh run.

    Args:
        wanted: A checkpoint, true for the newest one in the folder, or false.
        folder: Where the run writes its checkpoints.

    Raises:
        InputError: If there is none, or one of its files is broken.
    """
    if not wanted or str(wanted).lower() == "false":
        return None
    if str(wanted).lower() == "true":
        whole = [path.parent for path in folder.glob(f"checkpoint-*/{STATE_FILE}")]
        if not whole:
            raise InputError(
                f"{folder}: expected a checkpoint to resume from, found none. Start without "
                "--resume-from-checkpoint."
            )
        checkpoint = max(whole, key=lambda path: int(path.name.rpartition("-")[2]))
    else:
        checkpoint = Path(str(wanted))
        if not (checkpoint / STATE_FILE).is_file():
            raise InputError(
                f"{checkpoint}: expected a checkpoint to resume from, got a folder without "
                f"{STATE_FILE}. Choose a whole one, or True for the newest."
            )
    _check_files(checkpoint)
    return checkpoint


def check_same_model(checkpoint: Path, config: HfAttnConfig) -> None:
    """Refuses a checkpoint of another model than the settings and the data make.

    Raises:
        InputError: If sizes or labels differ; names the field with both values.
    """
    path = checkpoint / CONFIG_FILE
    if not path.is_file():
        return  # LoRA saves what it adds only
    saved = HfAttnConfig.from_pretrained(checkpoint)
    for name in _MUST_AGREE:
        theirs, ours = getattr(saved, name), getattr(config, name)
        if theirs != ours:
            raise InputError(
                f"{checkpoint}: expected a checkpoint of this run, got one with {name}={theirs!r} "
                f"where the settings and the data make {ours!r}. Resume with what the run was "
                "started with."
            )


def drop_unfinished_checkpoints(folder: Path) -> None:
    """Removes the checkpoints whose writing was cut short."""
    for checkpoint in folder.glob("checkpoint-*"):
        if not (checkpoint / STATE_FILE).is_file():
            shutil.rmtree(checkpoint, ignore_errors=True)


def _check_files(checkpoint: Path) -> None:
    for path in sorted(checkpoint.iterdir()):
        try:
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".safetensors":
                with safe_open(path, framework="pt"):
                    pass
            elif path.suffix in {".pt", ".pth", ".bin"} and not zipfile.is_zipfile(path):
                raise ValueError("no whole file of torch.save")  # noqa: TRY301
        except (ValueError, SafetensorError) as error:
            raise InputError(
                f"{path}: expected a whole checkpoint, but this file is broken: {error}. Resume "
                "from another checkpoint, or start again."
            ) from error
