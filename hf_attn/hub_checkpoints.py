"""What of a checkpoint goes to the Hub beside the model, for a run to go on from there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from .card_page import CARD_FILE
from .file_names import ADAPTER_FILE, STATE_FILE
from .hub_files import files_to_push

_BASE = "base_model_name_or_path"


def copy_checkpoint(checkpoint: Path, target: Path) -> None:
    """Copies what a run can go on from, but for the folders that it names on this machine.

    Raises:
        InputError: If the checkpoint is not whole.
    """
    target.mkdir()
    for name, file in files_to_push(checkpoint).items():
        shutil.copyfile(file, target / name)
    (target / CARD_FILE).unlink(missing_ok=True)  # the one of PEFT, which names the base's folder
    shutil.copyfile(checkpoint / STATE_FILE, target / STATE_FILE)
    _keep_last_name(target / STATE_FILE, "best_model_checkpoint")
    if (target / ADAPTER_FILE).exists():
        _keep_last_name(target / ADAPTER_FILE, _BASE)


def _keep_last_name(file: Path, field: str) -> None:
    """Replaces a path in a JSON file by its last name, but for the id of a Hub repository."""
    content = json.loads(file.read_text(encoding="utf-8"))
    path = content.get(field)
    is_id = field == _BASE and path is not None and path.count("/") == 1 and not Path(path).exists()
    if path is not None and not is_id:
        content[field] = Path(path).name
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
