"""What a question of the tab Check yourself is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from markupsafe import Markup


@dataclass(frozen=True)
class Question:
    """One question with its choices.

    Attributes:
        ask: The question.
        choices: Answers to choose from.
        right: Index of the right one.
        why: What explains the answer, whichever was chosen.
        given: What is shown above the choices, in HTML.
        run: What the visitor may let the model compute before answering, as HTML; None for nothing.
        run_label: What the button says that does it.
    """

    ask: str
    choices: list[str]
    right: int
    why: Markup
    given: Markup = field(default_factory=Markup)
    run: Callable[[], Markup] | None = None
    run_label: str = ""
