"""Commands that publish and fetch classifiers: push, pull and card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def push(
    folder: Annotated[Path, typer.Argument(help="Folder that training wrote.")],
    repository: Annotated[str, typer.Argument(help="Where to: user/name.")],
    private: Annotated[
        bool | None, typer.Option("--private", help="Make a repository nobody else may see.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch; main without it.")] = None,
    create_pr: Annotated[
        bool, typer.Option("--create-pr", help="Open a pull request instead.")
    ] = False,
    message: Annotated[str | None, typer.Option(help="Title of the commit.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show files and card; send nothing.")
    ] = False,
) -> None:
    """Publish a model on the Hub, with its code, card and record, in one commit."""
    from .hub import contents_of_push, push_folder
    from .push_view import plan_of_push, report_of_push

    if dry_run:
        typer.echo(plan_of_push(contents_of_push(folder, repository, revision=revision)))
        return
    result = push_folder(
        folder,
        repository,
        private=private,
        revision=revision,
        create_pr=create_pr,
        message=message,
    )
    typer.echo(report_of_push(result))


def pull(
    repository: Annotated[str, typer.Argument(help="Which model: user/name.")],
    folder: Annotated[Path, typer.Argument(help="Where to; made if missing.")],
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit; main without it.")
    ] = None,
) -> None:
    """Copy a model of the Hub into a folder; what was cut off is gone on with."""
    from .fetching import pull as pull_model

    for path in pull_model(repository, folder, revision=revision):
        typer.echo(path)


def card(
    folder: Annotated[Path, typer.Argument(help="Folder that training wrote.")],
    repo_id: Annotated[
        str | None, typer.Option(help="Hub id to write it for; the folder's name without it.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch that it goes to; main without it.")
    ] = None,
) -> None:
    """Show the model card: what the README.md of the model's repository says."""
    from .card import render_card

    typer.echo(render_card(folder, repo_id, revision=revision), nl=False)
