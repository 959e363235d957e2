"""Commands that show how a classifier decides: explain, trace and lexicon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .command_options import AsJson, BatchSize, ModelName, Source, TextColumn, TextPair
from .command_output import show
from .errors import InputError

if TYPE_CHECKING:
    from .scaling import ScalingComparison
    from .stages import PipelineTrace
    from .training_trace import TrainingTrace

# So many explanations are in memory where they are printed one by one.
_TEXTS_AT_ONCE = 256


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
        show(explanations, as_json=as_json, html=html, png=png)


def trace(
    model: ModelName,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT",
            help="A text, a file of one, or - for stdin; a sentence of ours without it.",
            show_default=False,
        ),
    ] = None,
    prediction: Annotated[
        bool, typer.Option("--prediction", help="Show the six layers of the prediction instead.")
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Show what scaling by 1/√K does instead.")
    ] = False,
    training: Annotated[
        bool, typer.Option("--training", help="Show how the model's training went instead.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page to this file.")] = None,
    png: Annotated[
        Path | None, typer.Option(help="Write the curves of the training to this file.")
    ] = None,
    text_pair: TextPair = None,
    as_json: AsJson = False,
) -> None:
    """Show a text on its way through a model, in seven stages, or how its training went."""
    if prediction + compare + training > 1:
        raise InputError("expected one of --prediction, --compare and --training, got more.")
    if training and (source is not None or text_pair is not None):
        raise InputError("expected no text beside --training, got one. Leave out one of the two.")
    if png is not None and not training:
        raise InputError("expected --png beside --training. For a text there is --html.")
    made = (
        _training_of(model)
        if training
        else _trace_of(model, source, text_pair, prediction=prediction, compare=compare)
    )
    show(made, as_json=as_json, html=html, png=png)


def _training_of(model: str) -> TrainingTrace:
    from .training_trace import read_training_trace

    trace = read_training_trace(model)
    if trace is None:
        raise InputError(
            f"{model}: expected a model with the trace of its training, found none. `hf-attn "
            "train` writes one beside the weights, unless --training-trace False is given."
        )
    return trace


def _trace_of(
    model: str, source: str | None, text_pair: str | None, *, prediction: bool, compare: bool
) -> PipelineTrace | ScalingComparison:
    from .command_texts import read_texts
    from .loading import load_unfolded
    from .scaling import compare_scaling
    from .trace import DEFAULT_TEXT, trace_pipeline, trace_prediction

    texts, pairs = read_texts(DEFAULT_TEXT if source is None else source, text_pair=text_pair)
    if len(texts) != 1:
        raise InputError(
            f"{source}: expected one text to trace, got {len(texts):,}. Give the one to trace."
        )
    make = compare_scaling if compare else trace_prediction if prediction else trace_pipeline
    classifier, tokenizer = load_unfolded(model, "a trace")
    return make(texts[0], classifier, tokenizer, pair=None if pairs is None else pairs[0])


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
