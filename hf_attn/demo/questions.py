"""The ten questions of the tab Check yourself, easy to hard."""

from __future__ import annotations

from .question import Question
from .questions_on_attention import (
    ask_formula,
    ask_purpose,
    ask_transpose,
    ask_weight_or_importance,
    ask_why_scale,
    ask_worked,
)
from .questions_on_texts import (
    ask_masked,
    ask_most_attention,
    ask_most_contribution,
    ask_number_of_weights,
)
from .served import Sentence, ServedModel

_QUESTIONS = (
    ask_purpose,
    ask_formula,
    ask_number_of_weights,
    ask_worked,
    ask_most_attention,
    ask_transpose,
    ask_why_scale,
    ask_most_contribution,
    ask_masked,
    ask_weight_or_importance,
)
NUM_QUESTIONS = len(_QUESTIONS)


def make_question(number: int, served: ServedModel, sentence: Sentence) -> Question:
    """Gives a question.

    Args:
        number: 0 to `NUM_QUESTIONS` - 1.
        served: The model that answers.
        sentence: The visitor's; where it has too few words the default one takes its place.
    """
    return _QUESTIONS[number](served, sentence)
