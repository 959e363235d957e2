"""The model card: the README.md of a model's repository, rendered from the files of its folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub.constants import DEFAULT_REVISION
from markupsafe import Markup
from transformers import PreTrainedTokenizerBase

from .card_folding import folding_of
from .card_metadata import make_metadata, split_of_results
from .card_page import CARD_FILE as CARD_FILE
from .card_page import CARD_MARK
from .card_page import keeps_page as keeps_page
from .card_tables import decision_table, epochs_table, label_table, results_table, shown_labels
from .card_training import WATTS_A_THREAD, calibration_line, energy, reproduction, settings_line
from .corpora import CORPORA
from .errors import InputError
from .explainer import explain
from .lexicon import AGAINST, Lexicon
from .lexicon_reader import read_lexicon
from .loading import load_classifier
from .markdown import python_string
from .model_folder import RunFiles, read_run_files
from .modeling_hf_attn import HfAttnClassifier
from .problem_types import MULTI, REGRESSION, SINGLE
from .templating import render
from .training_trace import TrainingTrace
from .training_trace_series import legend
from .wording import prediction_line

logger = logging.getLogger(__name__)

_LONGEST_EXAMPLE = 200
_LONGEST_IN_CODE = 60
# What the template asks for of a model without a record, too.
_UNKNOWN = {"license": None, "language": None, "calibration": None}


def render_card(folder: Path, repo_id: str | None = None, *, revision: str | None = None) -> str:
    """Gives the model card of a saved classifier, without any network.

    Args:
        folder: What `hf-attn train` wrote, or a classifier and tokenizer that were saved otherwise.
        repo_id: Id of the Hub repository that the card is for; None for the folder's name.
        revision: Branch that it goes to; main without it.

    Raises:
        InputError: If the folder holds no classifier of this package, or its files are broken.
    """
    folder = Path(folder).resolve()
    model, tokenizer = load_classifier(str(folder))
    return make_card(
        model, tokenizer, read_run_files(folder), repo_id or folder.name, revision=revision
    )


def make_card(
    model: HfAttnClassifier,
    tokenizer: PreTrainedTokenizerBase,
    run: RunFiles,
    name: str,
    *,
    revision: str | None = None,
) -> str:
    """Gives the model card of a classifier.

    Args:
        model: The classifier.
        tokenizer: Its tokenizer.
        run: What is known of the training.
        name: Id of its repository, or the name of its folder.
        revision: Branch of the repository; main without it.
    """
    record = run.record
    folding = folding_of(model, record, name)
    trained = name.rpartition("/")[2] if folding is None else folding["source"]
    lexicon = _lexicon(model, tokenizer, run.token_counts)
    card = render(
        "model_card.md",
        metadata=Markup(make_metadata(name, record, folding)),
        name=name,
        revision=revision or DEFAULT_REVISION,
        code=_code(model, record, name, revision or DEFAULT_REVISION),
        record=record,
        folding=folding,
        **_of_model(model, tokenizer, lexicon),
        **_of_labels(model, record, lexicon),
        **(_UNKNOWN if record is None else _of_training(record, run.trace, trained)),
        decision=None if lexicon is None else _decision(model, tokenizer, record),
    )
    return f"{card}\n{CARD_MARK}\n"


def _lexicon(
    model: HfAttnClassifier,
    tokenizer: PreTrainedTokenizerBase,
    token_counts: Mapping[str, int] | None,
) -> Lexicon | None:
    """Gives the lexicon, or None for weights or a tokenizer that cannot be explained."""
    try:
        return read_lexicon(model, tokenizer, token_counts)
    except (InputError, TypeError) as error:
        logger.warning("The model card goes without words: %s", error)
        return None


def _of_model(
    model: HfAttnClassifier,
    tokenizer: PreTrainedTokenizerBase,
    lexicon: Lexicon | None,
) -> dict[str, Any]:
    """Gives what the template says of the model itself."""
    limit = tokenizer.model_max_length
    return {
        "is_regression": model.config.problem_type == REGRESSION,
        "num_labels": model.num_labels,
        "num_parameters": model.num_parameters(),
        "unit": "token" if lexicon is None else lexicon.kind,
        "knows_words_only": lexicon is not None and lexicon.kind == "word",
        "has_reference": bool(model.score.reference.any()),
        # transformers has a huge number where there is no limit.
        "max_length": limit if limit < 1 << 40 else None,
    }


def _of_labels(
    model: HfAttnClassifier,
    record: Mapping[str, Any] | None,
    lexicon: Lexicon | None,
) -> dict[str, Any]:
    """Gives what the template says of scores and labels."""
    split = None if record is None else split_of_results(record)
    classes = [] if record is None or split is None else record["classes"][split]
    names = model.config.class_names
    shown = shown_labels(names, classes)
    is_compared = lexicon is not None and lexicon.problem_type == SINGLE and len(names) > 1
    return {
        "split": split,
        "results": None if record is None or split is None else results_table(record),
        "labels": label_table(names, classes, shown, lexicon),
        "has_classes": bool(classes),
        "num_shown": len(shown),
        "lexicon": lexicon,
        "against": (AGAINST if len(names) > 2 else "the other") if is_compared else None,
    }


def _of_training(
    record: Mapping[str, Any], trace: TrainingTrace | None, name: str
) -> dict[str, Any]:
    """Gives what the template says of the run, which wrote a folder of this name."""
    epochs, num_left_out = epochs_table(record, trace)
    data, training = record["data"], record["settings"]["training"]
    return {
        "epochs": epochs,
        "num_epochs_left_out": num_left_out,
        "observations": () if trace is None else trace.summary,
        "trace_legend": () if trace is None else legend(trace),
        "corpus": CORPORA.get(data["source"]) if data["kind"] == "corpus" else None,
        "num_cut": sum(data["texts_cut"].values()),
        "settings": settings_line(record),
        "calibration": calibration_line(record),
        "energy": energy(record),
        "watts": WATTS_A_THREAD,
        "reproduction": Markup(reproduction(record, name)),
        "license": training["license"],
        "language": training["language"],
    }


def _code(
    model: HfAttnClassifier,
    record: Mapping[str, Any] | None,
    name: str,
    revision: str,
) -> dict[str, Markup]:
    """Gives the parts of the code examples that depend on the model."""
    example = _example(record)
    text = python_string(_for_code(example["text"], "a text of yours"))
    pair = python_string(_for_code(example["pair"], "a second text"))
    is_pair = example["pair"] is not None or (record is not None and record["data"]["pairs"])
    inputs = f'{{"text": {text}, "text_pair": {pair}}}' if is_pair else text
    if model.config.problem_type == MULTI:
        inputs = f"{inputs}, top_k=None"
    return {
        "name": python_string(name),
        "revision": python_string(revision),
        "text": text,
        "input": Markup(inputs),
        "pair": Markup(f", {pair}" if is_pair else ""),
        "pairs": Markup(f", pairs={pair}" if is_pair else ""),
    }


def _example(record: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return (record or {}).get("example") or {"text": None, "pair": None, "split": None}


def _for_code(text: str | None, otherwise: str) -> str:
    return otherwise if text is None or len(text) > _LONGEST_IN_CODE else text


def _decision(
    model: HfAttnClassifier,
    tokenizer: PreTrainedTokenizerBase,
    record: Mapping[str, Any] | None,
) -> dict[str, Any] | None:
    """Gives the explanation of the record's example; None without one, or if it has no words."""
    text, pair = (_example(record)[part] for part in ("text", "pair"))
    if text is None:
        return None
    explanation = explain(text, model, tokenizer, pairs=pair)
    if not explanation.words:
        return None
    words, num_left_out = decision_table(explanation)
    reading = explanation.shown[0]
    return {
        "text": _shortened(text),
        "pair": _shortened(pair or ""),
        "prediction": prediction_line(explanation),
        "unit": explanation.unit,
        "title": reading.title,
        "table": words,
        "num_left_out": num_left_out,
        # The error is left out: its digits differ between two loads of one model.
        "sum": reading.check.rpartition(", error")[0],
    }


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_EXAMPLE else f"{text[:_LONGEST_EXAMPLE]} …"
