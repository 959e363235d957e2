"""Arguments and options that several commands of `hf-attn` take."""

from __future__ import annotations

from typing import Annotated

import typer

ModelName = Annotated[str, typer.Argument(help="Folder that training wrote, or a Hub id.")]
Source = Annotated[
    str, typer.Argument(help="A text, a file (lines, CSV, TSV, JSON, Parquet), or - for stdin.")
]
TextColumn = Annotated[str | None, typer.Option(help="Column of the text in a table.")]
TextPair = Annotated[str | None, typer.Option(help="Second text of each, for a model of pairs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Texts at once.")]
AbstainBelow = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="Least probability that gives a label; less: none.", show_default=False
    ),
]
