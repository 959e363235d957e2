"""The tab Classify: labels, what each word adds, and what is left without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import InputError
from ..explanation import Explanation, Explanations
from ..html_view import view_values
from ..problem_types import MULTI, REGRESSION, SINGLE
from ..templating import render
from ..wording import notes
from .class_rows import class_rows, likeliest_first
from .served import Sentence, ServedModel
from .striking import strike
from .tab import AT_ONCE, Tab, message

_MOST_CLASSES = 8
# The choice of a list that stands for none of the classes.
_NO_CLASS = -1
# What the lists say for it: what is explained, and what it is compared with.
_DEFAULTS = {
    SINGLE: ("the likeliest label", "any other"),
    MULTI: ("every likely label", "no other"),
    REGRESSION: ("every value", ""),
}


def add_classify(served: ServedModel, sentence: Any) -> Tab:
    """Adds the tab's components to the page that is being built.

    Args:
        served: The model.
        sentence: Gradio's state that holds what is on show.
    """
    import gradio as gr

    classes = [(name, place) for place, name in enumerate(served.class_names)]
    all_of_them, nothing = _DEFAULTS[served.problem_type]
    start = _show(served, served.example, _NO_CLASS, _NO_CLASS, None)
    labels = gr.HTML(start[0], apply_default_css=False)
    with gr.Row(visible=len(classes) > 1, elem_classes="choices"):
        target = gr.Dropdown([(all_of_them, _NO_CLASS), *classes], value=_NO_CLASS, label="Why")
        against = gr.Dropdown(
            [(nothing, _NO_CLASS), *classes],
            value=_NO_CLASS,
            label="and not",
            visible=served.problem_type != REGRESSION,
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
    order = likeliest_first(explanation.logits)
    rows = class_rows(explanation, order, [explanation.logits])
    values = view_values(Explanations([explanation]))
    # With a target there is no note on which of several labels are shown: the table shows all.
    values["notes"] = list(notes(explanation.aimed_at(order[0])))
    return render(
        "demo/labels.html",
        rows=list(rows),
        most_classes=_MOST_CLASSES,
        is_regression=explanation.problem_type == REGRESSION,
        **values,
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
