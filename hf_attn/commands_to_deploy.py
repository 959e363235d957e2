"""Commands that make a classifier ready for where it is to run: fold and export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .command_options import ModelName


def fold(
    model: ModelName,
    folder: Annotated[Path, typer.Argument(help="Where the folded model goes; made if missing.")],
    table_dtype: Annotated[
        str, typer.Option(help="What the tables hold: float32, float16 or int8.")
    ] = "float32",
    attention_window: Annotated[
        int | None,
        typer.Option(min=0, help="How far a token sees to either side; as in training without it."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Labelled file, folder, Hub id or corpus to measure the loss on."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Its split; test if there is one.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a folded model that is there.")
    ] = False,
) -> None:
    """Tabulate what each token alone decides: the same answers, many times faster."""
    from .command_output import folding_report
    from .fold_folder import fold_folder

    folded = fold_folder(
        model,
        folder,
        table_dtype=table_dtype,
        attention_window=attention_window,
        data=data,
        split=split,
        overwrite=overwrite,
    )
    typer.echo(folding_report(folded))


def export(
    model: ModelName,
    folder: Annotated[Path, typer.Argument(help="Where the files go; made if missing.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an older export that is there.")
    ] = False,
) -> None:
    """Write a model as ONNX, to run without torch, and compare the two on 1,000 texts."""
    from .loading import load_classifier
    from .onnx_export import check_onnx
    from .onnx_folder import check_place, export_folder

    check_onnx()
    check_place(folder, overwrite=overwrite)
    classifier, tokenizer = load_classifier(model)
    typer.echo(export_folder(classifier, tokenizer, folder, overwrite=overwrite).report)
