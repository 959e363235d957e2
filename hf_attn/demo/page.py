"""The page: a text, and four tabs that show what a model makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..templating import render
from .check_yourself import add_check_yourself
from .classify import add_classify
from .look_inside import add_look_inside
from .served import Sentence, ServedModel, check_length
from .tab import AT_ONCE, SAID_ALOUD, message
from .training import training_to_html

if TYPE_CHECKING:
    import gradio as gr


def build_page(served: ServedModel) -> gr.Blocks:
    """Gives the page of a model; it needs the extra `demo`."""
    import gradio as gr

    example = served.example
    with gr.Blocks(title=f"{served.name} - hf_attn", analytics_enabled=False) as page:
        sentence = gr.State(example)
        gr.HTML(render("demo/header.html", served=served), apply_default_css=False)
        with gr.Row(equal_height=False):
            with gr.Column(scale=1):
                text = gr.Textbox(example.text, label="Text", lines=1, max_lines=8)
                pair = gr.Textbox(
                    example.pair or "",
                    label="Second text",
                    lines=1,
                    max_lines=8,
                    visible=served.reads_pairs,
                )
            button = gr.Button("Read", variant="primary", scale=0, min_width=96, elem_id="read")
        notice = gr.HTML(js_on_load=SAID_ALOUD, apply_default_css=False, elem_id="notice")
        with gr.Tabs(overflow_behavior="wrap"):  # a menu would hide tabs on a phone
            with gr.Tab("Classify"):
                tabs = [add_classify(served, sentence)]
            with gr.Tab("Look inside"):
                tabs.append(add_look_inside(served, sentence))
            with gr.Tab("Training"):
                gr.HTML(training_to_html(served), apply_default_css=False)
            with gr.Tab("Check yourself"):
                tabs.append(add_check_yourself(served, sentence))

        def read(text: str, pair: str, *values: Any) -> list[Any]:
            typed = Sentence(text, pair if served.reads_pairs else None)
            try:
                check_length(typed)
                shown: list[Any] = []
                for tab in tabs:
                    own, values = values[: len(tab.inputs)], values[len(tab.inputs) :]
                    shown += tab.update(typed, *own)
            except InputError as error:
                return [message(error), gr.skip()] + [
                    gr.skip() for tab in tabs for _ in tab.outputs
                ]
            return ["", typed, *shown]

        inputs = [text, pair, *(part for tab in tabs for part in tab.inputs)]
        outputs = [notice, sentence, *(part for tab in tabs for part in tab.outputs)]
        button.click(
            read, inputs, outputs, **{**AT_ONCE, "api_visibility": "public"}, api_name="read"
        )
        gr.on([text.submit, pair.submit], read, inputs, outputs, **AT_ONCE)
    return page
