"""What a tab hands to the page, so that a new text is read in all tabs at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from markupsafe import Markup

# Answers come at once, on the thread that asks for them: a queue would add its own waiting.
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
# For what changes without the visitor going there: a screen reader says it.
SAID_ALOUD = "element.setAttribute('aria-live', 'polite');"


class Tab(NamedTuple):
    """How a tab shows another text.

    Attributes:
        inputs: Gradio's components that it depends on.
        outputs: Those that it changes.
        update: Gives the values of the outputs, from a sentence and the values of the inputs.
    """

    inputs: list[Any]
    outputs: list[Any]
    update: Callable[..., list[Any]]


def message(text: object) -> str:
    """Gives a message to the visitor in HTML."""
    return Markup('<p class="message">{}</p>').format(str(text))
