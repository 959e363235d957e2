"""Commands that teach what a classifier does: demo."""

from __future__ import annotations

from typing import Annotated

import typer

from .command_options import ModelName


def demo(
    model: ModelName,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.")] = 7860,
) -> None:
    """Serve a page for a browser: try a model, look inside it, and learn what attention is."""
    from .demo.server import start_page

    page = start_page(model, host=host, port=port)
    typer.echo(f"{model}: {page.local_url} (Ctrl-C ends it)")
    page.block_thread()
