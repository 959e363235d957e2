"""Folds a saved classifier into a folder of its own, and measures what that changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from .card import CARD_FILE, keeps_page, make_card
from .configuration_hf_attn import HfAttnFoldedConfig
from .errors import InputError
from .fetching import find_folder
from .folding import fold
from .folding_loss import FoldingLoss, draw_texts, measure_loss
from .labelled_texts import labelled_texts_for
from .loading import load_classifier
from .model_folder import RunFiles, read_run_files, write_model
from .modeling_hf_attn import HfAttnForSequenceClassification
from .saving import model_type_in, staged


@dataclass(frozen=True)
class Folded:
    """What a folding did.

    Attributes:
        folder: Where the folded model is.
        table_dtype: What its tables hold.
        loss: What it changed.
        num_bytes: Size of the weights before and of the tables after.
    """

    folder: Path
    table_dtype: str
    loss: FoldingLoss
    num_bytes: tuple[int, int]


def fold_folder(
    source: str,
    folder: Path,
    *,
    table_dtype: str = "float32",
    attention_window: int | None = None,
    data: str | None = None,
    split: str | None = None,
    overwrite: bool = False,
) -> Folded:
    """Folds a saved classifier and writes it with its tokenizer, record and card, all or nothing.

    A README.md that somebody wrote is kept in place of the card.

    Args:
        source: A folder that training wrote, or a Hub id.
        folder: Where to; made if missing.
        table_dtype: What the tables hold: "float32", "float16" or "int8".
        attention_window: How far a token sees to either side; None for the model's own.
        data: Labelled texts to measure the loss on; without them it is measured on texts of words
            drawn as often as in training.
        split: Of the data; None takes "test", or the only one there is.
        overwrite: Whether a folded model in the folder may be replaced.

    Raises:
        InputError: If the source is no whole classifier, if the folder holds a model that would be
            lost, if the data cannot be used, or as [`fold`] does.
    """
    _check_target(folder, overwrite)
    model, tokenizer = load_classifier(source)
    if not isinstance(model, HfAttnForSequenceClassification):
        raise InputError(
            f"{source}: expected a classifier that training wrote, got one that is folded already. "
            "Give the folder that it was folded from."
        )
    folded = fold(model, table_dtype=table_dtype, attention_window=attention_window)
    run = read_run_files(find_folder(source))
    if data is None:
        texts, name = draw_texts(tokenizer, run.token_counts), "drawn words"
    else:
        texts, name = labelled_texts_for(source, model, tokenizer, data, split), data
    loss = measure_loss(model, folded, texts, name)
    run = _with_folding(run, source, table_dtype, loss)
    with staged(folder) as staging:
        write_model(staging, folded, tokenizer, run)
        if not keeps_page(folder):
            card = make_card(folded, tokenizer, run, folder.resolve().name)
            (staging / CARD_FILE).write_text(card, encoding="utf-8")
    sizes = (sum(tensor.nbytes for tensor in one.state_dict().values()) for one in (model, folded))
    return Folded(folder, table_dtype, loss, (next(sizes), next(sizes)))


def _check_target(folder: Path, overwrite: bool) -> None:
    """Refuses a folder with a model that would be lost."""
    held = model_type_in(folder)
    if held is not None and held != HfAttnFoldedConfig.model_type:
        raise InputError(
            f"{folder}: expected a new folder, got one with a model of type {held!r}, which would "
            "be lost. Choose another name."
        )
    if held is not None and not overwrite:
        raise InputError(
            f"{folder}: expected a new folder, got one that holds a folded model. Choose another "
            "name, or replace it with --overwrite."
        )


def _with_folding(run: RunFiles, source: str, table_dtype: str, loss: FoldingLoss) -> RunFiles:
    """Gives the run's files, its record saying that and how the model was folded."""
    if run.record is None:
        return run
    folding = {"from": Path(source).name, "table_dtype": table_dtype, "loss": loss.to_dict()}
    return replace(run, record={**run.record, "folding": folding})
