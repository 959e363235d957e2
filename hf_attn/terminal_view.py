"""Explanations for a terminal: the coloured text, and its largest words with bars and numbers."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.style import Style
from rich.table import Table
from rich.text import Text

from .explanation import Explanation, Explanations
from .terminal import BLUE, ORANGE, PICTURES, in_a_line, new_console, shade
from .word_sums import Reading, Word
from .wording import legend, notes, prediction_line, reading_line, signed, unit

_MOST_WORDS = 20
_MOST_READS = 5
_MOST_CHARACTERS = 3000
_WIDEST_WORD = 24
_NARROWEST_BAR = 7
_WIDEST_BAR = 41
# Below this root of its share of the scale a word is not coloured.
_LEAST_SHARE = 0.2
_KEPT_IN_TEXT = {ord("\n"): "\n", ord("\t"): "\t", ord("\r"): ""}


def explanations_to_terminal(
    explanations: Explanations, *, width: int | None = None, color: bool | None = None
) -> str:
    """Gives for each text the prediction, the coloured text, and a table for each reading.

    Args:
        explanations: What to show, on one scale.
        width: Columns to keep to; those of the terminal if None.
        color: Whether to use colours; if None, where standard output is a terminal and the
            variable `NO_COLOR` is not set.
    """
    console = new_console(width, color)
    view = _View(explanations, console.width, in_color=console.color_system is not None)
    with console.capture() as capture:
        for number, explanation in enumerate(explanations, start=1):
            if len(explanations) > 1:
                console.print(Rule(f"text {number} of {len(explanations)}", style="dim"))
            console.print(view.explanation(explanation))
        if view.widest_word:
            for line in (view.scale_line(unit(explanations)), *legend(explanations)):
                console.print(Text(line))
    return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n"))


class _View:
    """Renders explanations on the scale of their batch."""

    def __init__(self, explanations: Explanations, width: int, *, in_color: bool) -> None:
        self.scale = explanations.scale
        self.in_color = in_color
        shown = [reading for one in explanations for reading in one.shown]
        words = [r.words[index] for r in shown for index in r.largest_words(_MOST_WORDS)]
        widest = max((cell_len(in_a_line(word.name)) for word in words), default=0)
        if any(len(reading.words) > _MOST_WORDS for reading in shown):
            widest = max(widest, len(_other_words(1000)))
        self.widest_word = min(max(widest, len("word")), _WIDEST_WORD) if words else 0
        numbers = 2 * (max(8, len(signed(self.scale, self.scale))) + 2)
        room = width - self.widest_word - 2 - numbers - 5
        # An odd number of cells, with the axis in the middle; none where it is too narrow.
        self.half_bar = min(room, _WIDEST_BAR) // 2 if room >= _NARROWEST_BAR else 0

    def explanation(self, explanation: Explanation) -> RenderableType:
        """Gives the prediction, and text, words and check of each reading; no colour, one text."""
        parts: list[RenderableType] = [Text(in_a_line(prediction_line(explanation)), "bold")]
        parts += [Text(note) for note in notes(explanation)]
        for reading in explanation.shown:
            if self.in_color or reading is explanation.shown[0]:
                parts += self.texts(explanation, reading)
            parts.append(Text(in_a_line(reading_line(explanation, reading)), "underline"))
            if reading.words:
                parts.append(self.table(reading))
            parts += self.reads(reading)
            parts += [Text(in_a_line(reading.check)), ""]
        return Group(*parts)

    def scale_line(self, unit: str) -> str:
        """Gives the legend of bars and colours."""
        return (
            f"Unit: {unit}; a full bar is {self.number(self.scale).lstrip('+')}. "
            f"To the right, blue: adds to the {unit}. To the left, orange: takes from it."
        )

    def texts(self, explanation: Explanation, reading: Reading) -> Iterator[RenderableType]:
        """Yields the text, or the two of a pair, with words coloured by their contributions."""
        yield ""
        for in_pair in (False, True)[: 1 if explanation.pair is None else 2]:
            text = self.text(explanation, reading, in_pair=in_pair)
            if text.plain.strip():
                yield Padding(text, (0, 2, 1, 2))

    def text(self, explanation: Explanation, reading: Reading, *, in_pair: bool = False) -> Text:
        """Gives one of the texts, or the beginning of a very long one."""
        text = Text()
        for piece in explanation.pieces(in_pair=in_pair):
            style: Style | str = "" if piece.was_read else "strike dim"
            if piece.word is not None:
                style = self.highlight(reading.words[piece.word])
            shown = piece.text[: _MOST_CHARACTERS - len(text)]
            if piece.word in explanation.special:
                shown = f" {shown}" if text else f"{shown} "
            text.append(shown.translate({**PICTURES, **_KEPT_IN_TEXT}), style)
        whole = (explanation.pair or "") if in_pair else explanation.text
        if len(whole) > _MOST_CHARACTERS:
            text.append(f" … of {len(whole):,} characters", "dim")
        return text

    def highlight(self, word: Word) -> Style | str:
        """Gives the colours of a word in its text."""
        # The root lets smaller values be seen; the bars are true to scale.
        share = min(abs(word.contribution) / self.scale, 1) ** 0.5
        if word.is_special:
            return "dim"
        if share < _LEAST_SHARE:
            return ""
        return shade(share, positive=word.contribution > 0)

    def table(self, reading: Reading) -> Table:
        """Gives the words with the largest values, and what the others add together."""
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        table.add_column("\nword", no_wrap=True, overflow="ellipsis", width=self.widest_word)
        table.add_column("", no_wrap=True)
        table.add_column("contri-\nbution", justify="right", no_wrap=True)
        has_effects = any(word.deletion_effect is not None for word in reading.words)
        heading = "deletion\neffect" if has_effects else ""
        table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        largest = reading.largest_words(_MOST_WORDS)
        for index in largest:
            table.add_row(*self.row(reading.words[index]))
        rest = set(range(len(reading.words))) - set(largest)
        if rest:
            total = sum(reading.words[index].contribution for index in rest)
            name = Text(_other_words(len(rest)), "dim")
            table.add_row(name, "", self.number(total), "", "")
        return table

    def row(self, word: Word) -> tuple[RenderableType, ...]:
        """Gives the cells of a word: name, bar, contribution, deletion effect, marks."""
        name = Text(in_a_line(word.name), "dim" if word.is_special else "")
        marks = ["≠"] * word.signs_differ + ["?"] * (not word.is_known)
        effect = "" if word.deletion_effect is None else self.number(word.deletion_effect)
        bar = self.bar(word.contribution)
        return name, bar, self.number(word.contribution), effect, " ".join(marks)

    def bar(self, value: float) -> Text:
        """Gives a bar from an axis in the middle, in half cells: to the right if positive."""
        if not self.half_bar:
            return Text()
        halves = round(min(abs(value) / self.scale, 1) * 2 * self.half_bar)
        full, half = divmod(halves, 2)
        left = right = ""
        if value < 0:
            left = "▐" * half + "█" * full
        else:
            right = "█" * full + "▌" * half
        return Text.assemble(
            (left.rjust(self.half_bar), Style(color=ORANGE)),
            ("│", "dim"),
            (right.ljust(self.half_bar), Style(color=BLUE)),
        )

    def number(self, value: float) -> str:
        return signed(value, self.scale)

    def reads(self, reading: Reading) -> Iterator[RenderableType]:
        """Yields the words whose being read by another adds most, if attentions were asked for."""
        if reading.reads is None or reading.attention is None or not reading.words:
            return
        yield Text("\nwhat the context parts are made of, largest first", "dim")
        order = abs(reading.reads).ravel().argsort()[::-1][:_MOST_READS]
        for reader, read in (divmod(int(place), len(reading.words)) for place in order):
            names = [in_a_line(reading.words[index].name) for index in (read, reader)]
            yield Text(
                f"{self.number(reading.reads[reader, read])}  {names[0]} read at {names[1]}, "
                f"attention weight {reading.attention[reader, read]:.0%}"
            )


def _other_words(count: int) -> str:
    return f"{count:,} other word{'s' * (count > 1)}"
