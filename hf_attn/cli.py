"""The `hf-attn` command: train, evaluate, predict, explain, lexicon, card, push, pull and demo."""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .command_output import print_evaluation, print_run, to_json_line, to_score_line
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
# `train` and `demo` hand their flags to transformers' own parser, which has one for each setting.
_PASS_ON = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}
_DEMO_FOLDER = "r8-model"
_DEMO_TEXTS = (
    "oil prices rose after opec agreed to cut crude output",
    "net profit for the quarter rose to two mln dlrs or eleven cts per share",
    "wheat and corn exports fell in april the agriculture department said",
)
# So many explanations are in memory where they are printed one by one.
_TEXTS_AT_ONCE = 256
_USAGE_ERROR = 2
_INTERRUPTED = 130
_HOW_TO_GO_ON = {
    "train": " To go on, add --resume-from-checkpoint True to the same command.",
    "push": " Run the same command again: a commit holds all files, and is made only once.",
}

ModelName = Annotated[str, typer.Argument(help="Folder that training wrote, or a Hub id.")]
Source = Annotated[
    str, typer.Argument(help="A text, a file (lines, CSV, TSV, JSON, Parquet), or - for stdin.")
]
TextColumn = Annotated[str | None, typer.Option(help="Column of the text in a table.")]
TextPair = Annotated[str | None, typer.Option(help="Second text of each, for a model of pairs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Texts at once.")]


@app.callback()
def describe(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Text classifiers with one attention head, whose every decision can be read."""
    if version:
        from . import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command(context_settings=_PASS_ON)
def train(context: typer.Context) -> None:
    """Train a classifier: hf-attn train DATA --output-dir MODEL. Flags: hf-attn train --help."""
    from accelerate import PartialState

    from .arguments import settings_from_flags
    from .training import PushError, run_training

    try:
        run = run_training(settings_from_flags(context.args, "hf-attn train"))
    except PushError as error:
        print_run(Console(), error.run)
        raise
    if PartialState().is_main_process:
        console = Console()
        print_run(console, run)
        console.print(
            f'Saved in {run.output_dir}. Next: hf-attn explain {run.output_dir} "a text of yours"',
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


@app.command()
def evaluate(
    model: ModelName,
    data: Annotated[str, typer.Argument(help="Labelled file, folder, Hub id or corpus.")],
    split: Annotated[str | None, typer.Option(help="Split to score; test if there is one.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Column of the text.")] = None,
    text_pair_column: Annotated[str | None, typer.Option(help="Column of a second text.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of the label.")] = None,
    label_separator: Annotated[
        str | None, typer.Option(help="Mark between several labels in one column.")
    ] = None,
    unseen_labels: Annotated[
        str, typer.Option(help="Labels that the model does not have: error or drop.")
    ] = "error",
    batch_size: BatchSize = 64,
    as_json: AsJson = False,
) -> None:
    """Score a classifier on labelled texts."""
    from .batching import TokenizedTexts
    from .data import load_labelled_split
    from .evaluation import evaluate_texts
    from .loading import load_classifier
    from .run_record import read_record

    classifier, tokenizer = load_classifier(model)
    columns = {
        "text_column": text_column,
        "text_pair_column": text_pair_column,
        "label_column": label_column,
        "label_separator": label_separator,
    }
    if not any(columns.values()):  # then as in training
        trained_on = (read_record(Path(model)) or {}).get("settings", {}).get("data", {})
        columns = {name: trained_on.get(name) for name in columns}
    labelled = load_labelled_split(
        data,
        split,
        labels=classifier.config.class_names,
        problem_type=classifier.config.problem_type,
        unseen_labels=unseen_labels,
        **columns,
    )
    texts = TokenizedTexts.from_dataset(labelled, tokenizer)
    result = evaluate_texts(classifier, texts, batch_size=batch_size)
    if as_json:
        typer.echo(json.dumps(result.to_dict(), ensure_ascii=False))
    else:
        print_evaluation(Console(), result)


@app.command()
def predict(
    model: ModelName,
    source: Source,
    text_column: TextColumn = None,
    text_pair: TextPair = None,
    top_k: Annotated[int, typer.Option(min=1, help="Classes to show for each text.")] = 1,
    batch_size: BatchSize = 64,
    as_json: AsJson = False,
) -> None:
    """Classify texts, one in each line: class and probability, or with --json all classes."""
    from .command_texts import read_texts
    from .loading import load_classifier
    from .prediction import predict as predict_texts

    texts, pairs = read_texts(source, text_column, text_pair)
    classifier, tokenizer = load_classifier(model)
    predictions = predict_texts(texts, classifier, tokenizer, pairs=pairs, batch_size=batch_size)
    for text, prediction in zip(texts, predictions, strict=True):
        typer.echo(to_json_line(text, prediction) if as_json else to_score_line(prediction, top_k))


@app.command()
def explain(
    model: ModelName,
    source: Source = "-",
    target: Annotated[
        str | None, typer.Option(help="Class to explain; the likeliest without it.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Class to compare it with; all others without it.")
    ] = None,
    attention: Annotated[
        bool, typer.Option("--attention", help="Show how the words weigh each other, too.")
    ] = False,
    deletion_effects: Annotated[
        bool, typer.Option(help="Compute what is lost without each word.")
    ] = True,
    html: Annotated[Path | None, typer.Option(help="Write a page to this file.")] = None,
    png: Annotated[Path | None, typer.Option(help="Write a picture to this file.")] = None,
    text_column: TextColumn = None,
    text_pair: TextPair = None,
    batch_size: BatchSize = 64,
    as_json: AsJson = False,
) -> None:
    """Show what each word of a text adds to the logit of a class, and what is lost without it."""
    from .command_texts import read_texts
    from .explainer import explain as explain_texts
    from .loading import load_classifier

    texts, pairs = read_texts(source, text_column, text_pair)
    classifier, tokenizer = load_classifier(model)
    only_json = as_json and html is None and png is None
    at_once = _TEXTS_AT_ONCE if only_json else max(len(texts), 1)
    for start in range(0, len(texts), at_once):
        part = slice(start, start + at_once)
        explanations = explain_texts(
            texts[part],
            classifier,
            tokenizer,
            pairs=None if pairs is None else pairs[part],
            target=target,
            against=against,
            deletion_effects=deletion_effects,
            attentions=attention,
            batch_size=batch_size,
        )
        if html is not None:
            explanations.to_html(html)
        if png is not None:
            explanations.to_png(png)
        if as_json:
            typer.echo(explanations.to_json(), nl=False)
        elif html is None and png is None:
            typer.echo(explanations.to_terminal())


@app.command()
def lexicon(
    model: ModelName,
    top: Annotated[int, typer.Option(min=1, help="Words to show for each class.")] = 20,
    class_name: Annotated[
        str | None, typer.Option("--class", help="The class to show; all without it.")
    ] = None,
    min_count: Annotated[
        int, typer.Option(min=0, help="Times that a word must have occurred in training.")
    ] = 5,
    negative: Annotated[
        bool, typer.Option("--negative", help="Show the words that speak against a class, too.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(help="Write a table to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what the words of the vocabulary add to each class, whatever the text."""
    from .lexicon_reader import read_lexicon
    from .loading import load_classifier
    from .token_counts import read_token_counts

    classifier, tokenizer = load_classifier(model)
    shown = read_lexicon(classifier, tokenizer, read_token_counts(model)).showing(
        top=top, min_count=min_count, target=class_name, negative=negative
    )
    if csv is not None:
        shown.to_csv(csv)
    if html is not None:
        shown.to_html(html)
    if as_json:
        typer.echo(shown.to_json(), nl=False)
    elif csv is None and html is None:
        typer.echo(shown.to_terminal())


@app.command()
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
        typer.echo(plan_of_push(contents_of_push(folder, repository)))
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


@app.command()
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


@app.command()
def card(
    folder: Annotated[Path, typer.Argument(help="Folder that training wrote.")],
    repo_id: Annotated[
        str | None, typer.Option(help="Hub id to write it for; the folder's name without it.")
    ] = None,
) -> None:
    """Show the model card: what the README.md of the model's repository says."""
    from .card import render_card

    typer.echo(render_card(folder, repo_id), nl=False)


@app.command(context_settings=_PASS_ON)
def demo(context: typer.Context) -> None:
    """Train on 5,485 Reuters texts (R8) and classify three sentences. Takes the flags of train."""
    from .arguments import settings_from_flags
    from .prediction import predict as predict_texts
    from .training import run_training

    settings = settings_from_flags(
        ["r8", "--output_dir", _DEMO_FOLDER, "--overwrite", "True", *context.args], "hf-attn demo"
    )
    console = Console()
    console.print("Training on R8: Reuters newswire texts of 8 topics ...")
    run = run_training(settings)
    print_run(console, run)
    for text, prediction in zip(
        _DEMO_TEXTS, predict_texts(_DEMO_TEXTS, run.model, run.tokenizer), strict=True
    ):
        console.print(f"{prediction.label:>10} {prediction.score:6.1%}  {text}", soft_wrap=True)
    console.print(
        f"\nThe model is in {run.output_dir}. What to type next:\n"
        f"{_activation()}"
        f'  hf-attn predict {run.output_dir} "the bank of england raised interest rates"\n'
        f'  hf-attn explain {run.output_dir} "shipping of wheat stopped after the strike"\n'
        f"  hf-attn evaluate {run.output_dir} r8\n"
        "  hf-attn train YOUR.csv --output-dir YOUR-MODEL",
        highlight=False,
        markup=False,
    )


def _activation() -> str:
    """Gives the line to type first where the command is not on the path."""
    if shutil.which("hf-attn"):
        return ""
    return f"  . {Path(sys.prefix, 'bin', 'activate')}\n"


def main() -> None:
    """Runs the command; what the user can mend is said in one line, with exit code 2."""
    if not sys.stderr.isatty():  # bars are for people; read when the libraries are imported
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        # transformers turns them off and on again around a training that pushes.
        warnings.filterwarnings("ignore", message="Cannot enable progress bars")
    try:
        app()
    except (InputError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        typer.echo(f"error: {error}", err=True)
        sys.exit(_USAGE_ERROR)
    except SystemExit as stopped:
        if stopped.code == _INTERRUPTED:  # what typer makes of Ctrl-C
            typer.echo(f"Interrupted.{_HOW_TO_GO_ON.get(''.join(sys.argv[1:2]), '')}", err=True)
        raise
