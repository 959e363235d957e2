"""The tab Check yourself: one question after the other, each answer explained, and the score."""

from __future__ import annotations

from typing import NamedTuple

from ..templating import render
from .questions import NUM_QUESTIONS, Question, make_question
from .served import Sentence, ServedModel


class Progress(NamedTuple):
    """How far a visitor is.

    Attributes:
        sentence: What the question on show is about, whatever has been typed since.
        answers: The choice and the right one of each question answered so far.
        is_answered: Whether the last answer is that of the question on show.
    """

    sentence: Sentence
    answers: tuple[tuple[int, int], ...] = ()
    is_answered: bool = False

    @property
    def number(self) -> int:
        """The question on show, from 0; `NUM_QUESTIONS` after the last."""
        return len(self.answers) - self.is_answered

    @property
    def is_over(self) -> bool:
        """Whether all questions are answered and the score is on show."""
        return self.number == NUM_QUESTIONS

    @property
    def score(self) -> int:
        """How many answers were right."""
        return sum(chosen == right for chosen, right in self.answers)

    def answered(self, served: ServedModel, choice: int) -> Progress:
        """Gives the progress with an answer to the question on show."""
        right = self.question(served).right
        return self._replace(answers=(*self.answers, (choice, right)), is_answered=True)

    def moved_on(self, sentence: Sentence) -> Progress:
        """Gives the progress with the next question on show, about what is typed by now."""
        return self._replace(sentence=sentence, is_answered=False)

    def about(self, sentence: Sentence) -> Progress:
        """Gives the progress with the question on show about another sentence, if still open."""
        return self if self.is_answered else self._replace(sentence=sentence)

    def question(self, served: ServedModel) -> Question:
        """Gives the question on show."""
        return make_question(self.number, served, self.sentence)


def question_to_html(progress: Progress, question: Question) -> str:
    """Gives which question it is and what it is about; the choices are Gradio's."""
    return render(
        "demo/question.html",
        number=progress.number + 1,
        of=NUM_QUESTIONS,
        score=progress.score,
        question=question,
    )


def answer_to_html(progress: Progress, question: Question) -> str:
    """Gives whether the answer is right, and why."""
    return render("demo/answer.html", choice=progress.answers[-1][0], question=question)


def score_to_html(progress: Progress, served: ServedModel) -> str:
    """Gives the score and the questions that were missed."""
    questions = [make_question(number, served, progress.sentence) for number in range(NUM_QUESTIONS)]
    missed = [
        (number + 1, question.ask)
        for number, (question, (chosen, right)) in enumerate(
            zip(questions, progress.answers, strict=True)
        )
        if chosen != right
    ]
    return render("demo/score.html", score=progress.score, of=NUM_QUESTIONS, missed=missed)
