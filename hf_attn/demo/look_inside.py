"""The tab Look inside: the seven stages from a text to its label, one at a time."""

from __future__ import annotations

from typing import Any

from ..errors import InputError
from ..trace import trace_pipeline
from .served import Sentence, ServedModel
from .tab import AT_ONCE, Tab, message

NUM_STAGES = 7


def add_look_inside(served: ServedModel, sentence: Any) -> Tab:
    """Adds the tab's components to the page that is being built.

    Args:
        served: The model.
        sentence: Gradio's state that holds what is on show.
    """
    import gradio as gr

    stage = gr.Slider(1, NUM_STAGES, value=1, step=1, label="Stage")
    shown = gr.HTML(_show(served, served.example, 1), apply_default_css=False)

    def look(sentence: Sentence, stage: float) -> str:
        return _show(served, sentence, int(stage))

    def update(sentence: Sentence, stage: float) -> list[Any]:
        return [look(sentence, stage)]

    stage.change(look, [sentence, stage], shown, **AT_ONCE)
    return Tab([stage], [shown], update)


def _show(served: ServedModel, sentence: Sentence, number: int) -> str:
    """Gives a stage of a sentence, or why it cannot be shown."""
    try:
        return stage_to_html(served, sentence, number)
    except InputError as error:
        return message(error)


def stage_to_html(served: ServedModel, sentence: Sentence, number: int) -> str:
    """Gives one stage of the model's computation, with its numbers.

    Args:
        served: The model.
        sentence: What the visitor typed.
        number: 1 to `NUM_STAGES`.
    """
    with served.lock:
        trace = trace_pipeline(sentence.text, served.model, served.tokenizer, pair=sentence.pair)
    return trace.stages[number - 1].name
