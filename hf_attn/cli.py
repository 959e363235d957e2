"""The `hf-attn` command: which commands there are, and how what goes wrong is said."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Annotated

import typer

from . import (
    commands_to_deploy,
    commands_to_read,
    commands_to_share,
    commands_to_teach,
    commands_to_use,
)
from .errors import InputError

# Everything that imports torch or transformers is imported by the command that needs it:
# `hf-attn --help` is to answer at once.
app = typer.Typer(
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
# These two hand their flags to transformers' own parser, which has one for each setting.
_PASS_ON = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}
# transformers imports torchao where it is installed, to nobody's use unless weights are int8, and
# these two warn then of libraries for other GPUs and of what torchao calls in torch.
_WARN_OF_TORCHAO = ("torchao", "torch.utils._pytree")
_USAGE_ERROR = 2
_INTERRUPTED = 130
_HOW_TO_GO_ON = {
    "train": " To go on, add --resume-from-checkpoint True to the same command.",
    "push": " Run the same command again: a commit holds all files, and is made only once.",
    "pull": " Run the same command again: what has arrived is kept.",
}


@app.callback()
def describe(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Text classifiers with one attention head, whose every decision can be read."""
    if version:
        from . import __version__

        typer.echo(__version__)
        raise typer.Exit


app.command(context_settings=_PASS_ON)(commands_to_use.train)
app.command()(commands_to_use.evaluate)
app.command()(commands_to_use.predict)
app.command()(commands_to_read.explain)
app.command()(commands_to_read.trace)
app.command()(commands_to_read.lexicon)
app.command()(commands_to_deploy.fold)
app.command()(commands_to_deploy.export)
app.command()(commands_to_teach.demo)
app.command()(commands_to_share.push)
app.command()(commands_to_share.pull)
app.command()(commands_to_share.card)
app.command(context_settings=_PASS_ON)(commands_to_use.quickstart)


def main() -> None:
    """Runs the command; what the user can mend is said in one line, with exit code 2."""
    # Bars are for people; read when the libraries are imported.
    if sys.stderr is None or not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        # transformers turns them off and on again around a training that pushes.
        warnings.filterwarnings("ignore", message="Cannot enable progress bars")
    for name in _WARN_OF_TORCHAO:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        app()
    except (InputError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(_USAGE_ERROR)
    except SystemExit as stopped:
        if isinstance(stopped.__context__, BrokenPipeError):  # of `| head`: typer gives 1 for it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        if stopped.code == _INTERRUPTED:  # what typer makes of Ctrl-C
            typer.echo(f"Interrupted.{_HOW_TO_GO_ON.get(''.join(sys.argv[1:2]), '')}", err=True)
        raise
