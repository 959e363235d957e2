"""The tab Training: how the served model was trained, epoch by epoch."""

from __future__ import annotations

from .served import ServedModel


def training_to_html(served: ServedModel) -> str:
    """Gives the curves and the table of the training, or says that the model has no trace."""
    return ""
