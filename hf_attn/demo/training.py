"""The tab Training: how the served model was trained, epoch by epoch."""

from __future__ import annotations

from markupsafe import Markup

from ..errors import InputError
from ..templating import render
from ..training_trace import read_training_trace
from ..training_trace_page import trace_to_fragment
from .served import ServedModel
from .tab import message


def training_to_html(served: ServedModel) -> str:
    """Gives the curves and the table of the training, or says that the model has no trace."""
    try:
        trace = read_training_trace(served.folder)
    except InputError as error:  # the other tabs do not need it
        return message(error)
    if trace is None:
        return message(
            "This model was saved without a training trace. `hf-attn train` writes one, "
            "training_trace.json, beside the weights."
        )
    return render("demo/training.html", trace=Markup(trace_to_fragment(trace)))
