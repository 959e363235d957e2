"""The tab Classify: labels, what each word adds, and what is left without a word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from ..batching import TokenizedTexts
from ..errors import InputError
from ..explanation import Explanation, Explanations
from ..html_view import view_values
from ..prediction import logits_to_scores, predict_logits
from ..problem_types import MULTI, REGRESSION
from ..templating import render
from ..word_sums import Array
from .served import Sentence, ServedModel
from .tab import AT_ONCE, Tab, message

_MOST_CLASSES = 8
# The choice of a list that stands for none of the classes.
_NO_CLASS = -1


def add_classify(served: ServedModel, sentence: Any) -> Tab:
    """Adds the tab's components to the page that is being built.

    Args:
        served: The model.
        sentence: Gradio's state that holds what is on show.
    """
    import gradio as gr

    classes = [(name, place) for place, name in enumerate(served.class_names)]
    is_regression = served.problem_type == REGRESSION
    start = _show(served, served.example, _NO_CLASS, _NO_CLASS, None)
    labels = gr.HTML(start[0], apply_default_css=False)
    with gr.Row(visible=len(classes) > 1, elem_classes="choices"):
        all_of_them = "every value" if is_regression else "the likeliest label"
        target = gr.Dropdown([(all_of_them, _NO_CLASS), *classes], value=_NO_CLASS, label="Why")
        against = gr.Dropdown(
            [("any other", _NO_CLASS), *classes],
            value=_NO_CLASS,
            label="and not",
            visible=not is_regression,
        )
    struck = gr.State(None)
    script = (Path(__file__).parent / "words.js").read_text(encoding="utf-8")
    words = gr.HTML(start[1], js_on_load=script, apply_default_css=False)

    def update(sentence: Sentence, target: int, against: int) -> list[Any]:
        return [*_show(served, sentence, target, against, None), None]

    def aim(sentence: Sentence, target: int, against: int, struck: int | None) -> str:
        return _show(served, sentence, target, against, struck)[1]

    def strike_out(
        sentence: Sentence, target: int, against: int, struck: int | None, event: gr.EventData
    ) -> list[Any]:
        word = None if event.word == struck else event.word
        return [aim(sentence, target, against, word), word]

    # Gradio looks for the class itself, and finds a name as long as annotations are not evaluated.
    strike_out.__annotations__["event"] = gr.EventData
    aims = [sentence, target, against, struck]
    gr.on([target.input, against.input], aim, aims, words, **AT_ONCE)
    words.select(strike_out, aims, [words, struck], **AT_ONCE)
    return Tab([target, against], [labels, words, struck], update)


def _show(
    served: ServedModel, sentence: Sentence, target: int, against: int, struck: int | None
) -> tuple[str, str]:
    """Gives what the tab shows of a sentence: its labels, and its words or why they cannot be."""
    explanation = served.explain(sentence)
    try:
        explanation = explanation.aimed_at(
            None if target == _NO_CLASS else target, None if against == _NO_CLASS else against
        )
    except InputError as error:
        return labels_to_html(explanation), message(error)
    return labels_to_html(explanation), words_to_html(served, sentence, explanation, struck)


def labels_to_html(explanation: Explanation) -> str:
    """Gives every class with its probability, the likeliest first."""
    order = np.argsort(-explanation.logits, kind="stable").tolist()
    return render(
        "demo/labels.html",
        one=explanation,
        rows=list(_rows(explanation, order, [explanation.logits])),
        most_classes=_MOST_CLASSES,
        is_regression=explanation.problem_type == REGRESSION,
        **view_values(Explanations([explanation])),
    )


def words_to_html(
    served: ServedModel, sentence: Sentence, explanation: Explanation, struck: int | None = None
) -> str:
    """Gives the words with what each adds, and what is left without one that is struck out.

    Args:
        served: The model.
        sentence: What the visitor typed.
        explanation: Of the sentence, aimed at the classes that the visitor chose.
        struck: Index of the word that is struck out.
    """
    if struck not in range(len(explanation.words)):
        struck = None
    return render(
        "demo/reading.html",
        one=explanation,
        is_regression=explanation.problem_type == REGRESSION,
        struck=struck,
        without=None if struck is None else strike(served, sentence, explanation, struck),
        **view_values(Explanations([explanation])),
    )


def strike(
    served: ServedModel, sentence: Sentence, explanation: Explanation, index: int
) -> Struck:
    """Gives what a model says of a text without a word: masked in place, and typed again."""
    effects = cast(Array, explanation.deletion_effects)
    retyped = without_word(sentence, explanation, index)
    logits = [explanation.logits, explanation.logits - effects[index], _logits(served, retyped)]
    likely = {int(place) for one in logits for place in np.argsort(-one, kind="stable")[:3]}
    order = [int(place) for place in np.argsort(-explanation.logits, kind="stable")]
    labels = None
    if explanation.problem_type not in (MULTI, REGRESSION):
        labels = tuple(explanation.class_names[int(one.argmax())] for one in logits)
    return Struck(
        name=explanation.words[index].name,
        retyped=retyped,
        readings=[
            (
                reading.title,
                reading.logit,
                reading.words[index].deletion_effect or 0.0,
                reading.logit - (reading.words[index].deletion_effect or 0.0),
            )
            for reading in explanation.shown
        ],
        rows=list(_rows(explanation, [place for place in order if place in likely], logits)),
        labels=labels,
    )


def without_word(sentence: Sentence, explanation: Explanation, index: int) -> Sentence:
    """Gives the sentence as one would type it without a word: the gap closed to one space."""
    word = explanation.words[index]
    text = (sentence.pair or "") if word.in_pair else sentence.text
    before, after = text[: word.start], text[word.end :]
    if not before or before[-1].isspace():
        after = after.lstrip()
    if not after:
        before = before.rstrip()
    return sentence._replace(**{"pair" if word.in_pair else "text": before + after})


def _logits(served: ServedModel, sentence: Sentence) -> Array:
    """Gives the logits (C,) of a sentence."""
    pairs = None if sentence.pair is None else [sentence.pair]
    with served.lock:
        texts = TokenizedTexts.from_texts([sentence.text], served.tokenizer, pairs)
        return predict_logits(served.model, texts)[0].astype(np.float64)


def _rows(explanation: Explanation, order: list[int], logits: list[Array]) -> Iterator[ClassRow]:
    """Yields the classes in an order, each with its scores and logits."""
    both = np.stack(logits)
    scores = logits_to_scores(both.astype(np.float32), explanation.problem_type)
    for place in order:
        yield ClassRow(
            explanation.class_names[place],
            tuple(scores[:, place].tolist()),
            tuple(both[:, place].tolist()),
        )
