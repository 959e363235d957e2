"""What commands print of a training, of its scores and of views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from .file_names import TUNED_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from .evaluation import Evaluation
    from .fold_folder import Folded
    from .training_run import TrainingRun


def show(made: Any, *, as_json: bool, html: Path | None = None, png: Path | None = None) -> None:
    """Writes the files that are asked for, and prints what was made if there are none.

    Args:
        made: What has `to_terminal`, `to_json`, and what writes the files that are asked for.
        as_json: Print JSON, also beside files.
        html: File for a page.
        png: File for a picture.
    """
    if html is not None:
        made.to_html(html)
    if png is not None:
        made.to_png(png)
    if as_json:
        typer.echo(made.to_json(), nl=False)
    elif html is None and png is None:
        typer.echo(made.to_terminal())


def print_run(console: Console, run: TrainingRun) -> None:
    """Prints what was trained, how long, and how well."""
    record = run.record
    texts = record["data"]["texts"]
    epochs = len(record["epochs"])
    console.print(
        f"Trained on {texts['train']:,} texts in {record['seconds']['train']:.0f} s "
        f"({epochs} epoch{'' if epochs == 1 else 's'}, {record['sizes']['parameters']:,} "
        "parameters).",
        highlight=False,
    )
    tuning = record["tuning"]
    if tuning is not None:
        console.print(
            f"Settings: {_choice_of(tuning)}, kept in {run.output_dir / TUNED_FILE}.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    task = record["data"]["problem_type"].replace("_", " ")
    num_labels = len(record["data"]["labels"])
    labels = "1 label" if num_labels == 1 else f"{num_labels} labels"
    console.print(f"Task: {task}, {labels}.", highlight=False)
    if record["best_epoch"] is not None:
        console.print(
            f"Kept: epoch {record['best_epoch']:g}, the best on the validation texts.",
            highlight=False,
        )
    if record["best_epoch"] is not None and record["best_epoch"] == len(record["epochs"]):
        console.print("That is the last one: more --num-train-epochs may find a better one.")
    if record["calibration"] is not None:
        console.print(_calibration_line(record["calibration"]), highlight=False)
    for split, scores in record["metrics"].items():
        console.print(
            _score_table(f"{split}: {texts[split]:,} texts", scores, record["baseline"][split])
        )


def _choice_of(tuning: Mapping[str, Any]) -> str:
    trials = f"{tuning['trials']} trials in {tuning['seconds']:.0f} s"
    if tuning["best_trial"] is None:
        return f"as they were, as none of {trials} came as far as a score"
    return f"the best of {trials}"


def _calibration_line(calibration: Mapping[str, Any]) -> str:
    thresholds = calibration["label_thresholds"]
    temperature = calibration["temperature"]
    line = f"Calibrated on validation: temperature {temperature:.3g}"
    if temperature == 1:
        line = "Not calibrated: the validation texts, all right or no better than chance, fit none"
    if thresholds is None:
        return f"{line}."
    least, most = min(thresholds), max(thresholds)
    return f"{line}; thresholds {least:.2f}" + ("." if least == most else f" to {most:.2f}.")


def print_evaluation(console: Console, result: Evaluation) -> None:
    """Prints the scores of a model, and those of each class."""
    console.print(_score_table(f"{result.texts:,} texts", result.scores, result.baseline))
    if result.answered is not None:
        console.print(_abstention_line(result.answered), highlight=False)
    if result.classes:
        from rich.table import Table  # `predict` is to start at once

        table = Table("class", *(name for name in result.classes[0] if name != "label"))
        for row in result.classes:
            table.add_row(
                row["label"], *(_number(value) for name, value in row.items() if name != "label")
            )
        console.print(table)


def _abstention_line(answered: Mapping[str, float | None]) -> str:
    accuracy = answered["accuracy"]
    line = f"Abstaining below {answered['abstain_below']:g}: {answered['coverage']:.1%} answered"
    return f"{line}." if accuracy is None else f"{line}, {accuracy:.1%} of them right."


def folding_report(folded: Folded) -> str:
    """Says what a folding wrote, and what it changed."""
    loss = folded.loss
    before, after = (num_bytes / 1e6 for num_bytes in folded.num_bytes)
    lines = [
        f"Folded into {folded.folder}: {after:.1f} MB of tables in {folded.table_dtype}, from "
        f"{before:.1f} MB of weights.",
        f"On {loss.texts:,} texts ({loss.source}) logits differ by at most "
        f"{loss.largest_logit_difference:.1e}"
        + ("." if loss.changed_labels is None else f"; {loss.changed_labels:,} get other labels."),
    ]
    if loss.metrics is not None:
        scores = loss.metrics["before"].items()
        lines += [
            f"{name}: {_number(old)} before, {_number(loss.metrics['after'][name])} after."
            for name, old in scores
        ]
    return "\n".join(lines)


def _score_table(title: str, scores: dict[str, float], baseline: dict[str, float]) -> Table:
    from rich.table import Table

    table = Table("metric", "model", "one guess for all", title=title, title_justify="left")
    for name, value in scores.items():
        table.add_row(name, _number(value), _number(baseline[name]))
    return table


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
