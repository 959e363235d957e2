"""The tab Look inside: the seven stages from a text to its label, one at a time."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from ..templating import render
from ..trace import trace_pipeline
from ..trace_page import trace_to_fragment
from .served import Sentence, ServedModel
from .tab import AT_ONCE, Tab

NUM_STAGES = 7


def add_look_inside(served: ServedModel, sentence: Any) -> Tab:
    """Adds the tab's components to the page that is being built.

    Args:
        served: The model.
        sentence: Gradio's state that holds what is on show.
    """
    import gradio as gr

    with gr.Row(elem_classes="stages"):
        stage = gr.Slider(1, NUM_STAGES, value=1, step=1, label="Stage", buttons=[], scale=4)
        back = gr.Button("Back", size="md", elem_classes="step", scale=0, min_width=80)
        on = gr.Button("Next", size="md", elem_classes="step", scale=0, min_width=80)
    shown = gr.HTML(stage_to_html(served, served.example, 1), apply_default_css=False)

    def look(sentence: Sentence, stage: float) -> str:
        return stage_to_html(served, sentence, int(stage))

    def update(sentence: Sentence, stage: float) -> list[Any]:
        return [look(sentence, stage)]

    stage.change(look, [sentence, stage], shown, **AT_ONCE)
    back.click(lambda stage: max(stage - 1, 1), stage, stage, **AT_ONCE)
    on.click(lambda stage: min(stage + 1, NUM_STAGES), stage, stage, **AT_ONCE)
    return Tab([stage], [shown], update)


def stage_to_html(served: ServedModel, sentence: Sentence, number: int) -> str:
    """Gives one stage of the model's computation with its numbers, and where it stands.

    Args:
        served: The model.
        sentence: What the visitor typed.
        number: 1 to `NUM_STAGES`.
    """
    with served.lock:
        trace = trace_pipeline(sentence.text, served.model, served.tokenizer, pair=sentence.pair)
    return render(
        "demo/stage.html",
        names=[stage.name for stage in trace.stages],
        number=number,
        stage=Markup(trace_to_fragment(trace, stage=number)),
    )
