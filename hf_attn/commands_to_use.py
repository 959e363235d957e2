"""Commands that train, score and use a classifier: train, evaluate, predict and quickstart."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from .command_options import (
    AbstainBelow,
    AsJson,
    BatchSize,
    ModelName,
    Source,
    TextColumn,
    TextPair,
)
from .command_output import print_evaluation, print_run
from .errors import InputError

_QUICKSTART_FOLDER = "r8-model"
_QUICKSTART_TEXTS = (
    "oil prices rose after opec agreed to cut crude output",
    "net profit for the quarter rose to two mln dlrs or eleven cts per share",
    "wheat and corn exports fell in april the agriculture department said",
)


def train(context: typer.Context) -> None:
    """Train a classifier: hf-attn train DATA --output-dir MODEL. Flags: hf-attn train --help."""
    from accelerate import PartialState
    from rich.console import Console

    from .progress import write_line
    from .settings import settings_from_flags
    from .training import run_training
    from .training_run import PushError

    try:
        run = run_training(settings_from_flags(context.args, "hf-attn train"), tell=write_line)
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
    abstain_below: AbstainBelow = None,
    as_json: AsJson = False,
) -> None:
    """Score a classifier on labelled texts."""
    from rich.console import Console

    from .evaluation import evaluate_texts
    from .labelled_texts import labelled_texts_for
    from .loading import load_classifier

    classifier, tokenizer = load_classifier(model)
    texts = labelled_texts_for(
        model,
        classifier,
        tokenizer,
        data,
        split,
        unseen_labels=unseen_labels,
        text_column=text_column,
        text_pair_column=text_pair_column,
        label_column=label_column,
        label_separator=label_separator,
    )
    result = evaluate_texts(classifier, texts, batch_size=batch_size, abstain_below=abstain_below)
    if as_json:
        typer.echo(json.dumps(result.to_dict(), ensure_ascii=False))
    else:
        print_evaluation(Console(), result)


def predict(
    model: ModelName,
    source: Source,
    text_column: TextColumn = None,
    text_pair: TextPair = None,
    top_k: Annotated[int, typer.Option(min=1, help="Classes to show for each text.")] = 1,
    explain: Annotated[bool, typer.Option("--explain", help="Show what words add, too.")] = False,
    words: Annotated[
        int | None,
        typer.Option(min=1, help="Words to show: 3, with --json all.", show_default=False),
    ] = None,
    abstain_below: AbstainBelow = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads that score; as many as cores.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Classify texts, one in each line: class and probability, or with --json all classes."""
    if words is not None and not explain:
        raise InputError("expected --words beside --explain. Add --explain or leave it out.")

    from .command_predict import predict_source
    from .prediction_lines import PredictionLines

    code = predict_source(
        model,
        source,
        PredictionLines(as_json=as_json, top_k=top_k, explained=explain, num_words=words),
        text_column=text_column,
        text_pair=text_pair,
        num_threads=threads,
        abstain_below=abstain_below,
    )
    if code:
        raise typer.Exit(code)


def quickstart(context: typer.Context) -> None:
    """Train on 5,485 Reuters texts (R8) and classify three sentences. Takes the flags of train."""
    from rich.console import Console

    from .predictor.predictor import Predictor
    from .progress import write_line
    from .settings import settings_from_flags
    from .training import run_training

    settings = settings_from_flags(
        ["r8", "--output_dir", _QUICKSTART_FOLDER, "--overwrite", "True", *context.args],
        "hf-attn quickstart",
    )
    console = Console()
    console.print("Training on R8: Reuters newswire texts of 8 topics ...")
    run = run_training(settings, tell=write_line)
    print_run(console, run)
    predictor = Predictor.from_model(run.model, run.tokenizer)
    for text, prediction in zip(
        _QUICKSTART_TEXTS, predictor.predict(_QUICKSTART_TEXTS), strict=True
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
