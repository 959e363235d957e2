"""The tab Check yourself: one question after the other, each answer explained, and the score."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..templating import render
from .question import Question
from .questions import NUM_QUESTIONS, make_question
from .served import Sentence, ServedModel
from .tab import AT_ONCE, SAID_ALOUD, Tab, message


class Answer(NamedTuple):
    """A question that was answered.

    Attributes:
        ask: The question, as it was then.
        chosen: Index of the choice.
        right: Index of the right one.
    """

    ask: str
    chosen: int
    right: int


class Progress(NamedTuple):
    """How far a visitor is.

    Attributes:
        sentence: What the question on show is about, whatever has been typed since.
        answers: One for each question answered so far.
        is_answered: Whether the last answer is that of the question on show.
    """

    sentence: Sentence
    answers: tuple[Answer, ...] = ()
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
        return sum(answer.chosen == answer.right for answer in self.answers)

    def question(self, served: ServedModel) -> Question:
        """Gives the question on show."""
        return make_question(self.number, served, self.sentence)

    def answered(self, question: Question, choice: int) -> Progress:
        """Gives the progress with an answer to the question on show."""
        answer = Answer(question.ask, choice, question.right)
        return self._replace(answers=(*self.answers, answer), is_answered=True)

    def moved_on(self, sentence: Sentence) -> Progress:
        """Gives the progress with the next question on show, about what is typed by now."""
        return self._replace(sentence=sentence, is_answered=False)


def add_check_yourself(served: ServedModel, sentence: Any) -> Tab:
    """Adds the tab's components to the page that is being built.

    Args:
        served: The model.
        sentence: Gradio's state that holds what is on show.
    """
    import gradio as gr

    start = Progress(served.example)
    progress = gr.State(start)
    asked, runs, ran, choices, answered, goes_on = _show(served, start)
    live = {"js_on_load": SAID_ALOUD, "apply_default_css": False, "elem_classes": "quiet"}
    ask = gr.HTML(**asked, **live)
    run = gr.Button(**runs, size="md", elem_classes=["step", "live"])
    computed = gr.HTML(**ran, **live)
    choice = gr.Radio(**choices, label="Your answer", elem_classes="answers")
    answer = gr.HTML(**answered, **live)
    act = gr.Button(**goes_on, variant="primary", elem_classes="step")
    parts = [ask, run, computed, choice, answer, act]

    def move(progress: Progress, choice: int | None, sentence: Sentence) -> list[Any]:
        if progress.is_over:
            progress = Progress(sentence)
        elif progress.is_answered:
            progress = progress.moved_on(sentence)
        elif choice is None:
            return [progress, *[gr.skip()] * 4, message("Choose an answer first."), gr.skip()]
        else:
            progress = progress.answered(progress.question(served), choice)
            shown = _show(served, progress)
            # What the visitor has let the model compute stays on show.
            return [progress, gr.skip(), gr.skip(), gr.skip(), *map(_update, shown[3:])]
        return [progress, *map(_update, _show(served, progress))]

    def compute(progress: Progress) -> str:
        live = progress.question(served).run
        return "" if live is None else render("demo/computed.html", computed=live())

    def update(sentence: Sentence, progress: Progress) -> list[Any]:
        if progress.is_answered or progress.is_over:
            return [gr.skip()] * (1 + len(parts))
        progress = progress._replace(sentence=sentence)
        return [progress, *map(_update, _show(served, progress))]

    act.click(move, [progress, choice, sentence], [progress, *parts], **AT_ONCE)
    run.click(compute, progress, computed, **AT_ONCE)
    return Tab([progress], [progress, *parts], update)


def _update(settings: dict[str, Any]) -> Any:
    import gradio as gr

    return gr.update(**settings)


def _show(served: ServedModel, progress: Progress) -> list[dict[str, Any]]:
    """Gives the settings of question, button to run, what ran, choices, answer and button to go on.

    Args:
        served: The model.
        progress: How far the visitor is.
    """
    hidden: dict[str, Any] = {"visible": False}
    if progress.is_over:
        score = {"value": score_to_html(progress)}
        return [score, hidden, {"value": ""}, hidden, {"value": ""}, {"value": "Start again"}]
    question = progress.question(served)
    choices = [(text, place) for place, text in enumerate(question.choices)]
    is_last = progress.number == NUM_QUESTIONS - 1
    go_on = "See the score" if is_last else "Next question"
    return [
        {"value": question_to_html(progress, question)},
        {"visible": question.run is not None, "value": question.run_label},
        {"value": ""},
        {
            "choices": choices,
            "value": progress.answers[-1].chosen if progress.is_answered else None,
            "interactive": not progress.is_answered,
            "visible": True,
        },
        {"value": answer_to_html(progress, question) if progress.is_answered else ""},
        {"value": go_on if progress.is_answered else "Answer"},
    ]


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
    return render("demo/answer.html", choice=progress.answers[-1].chosen, question=question)


def score_to_html(progress: Progress) -> str:
    """Gives the score, and the questions to read again."""
    return render(
        "demo/score.html", answers=progress.answers, score=progress.score, of=NUM_QUESTIONS
    )
