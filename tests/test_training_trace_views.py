"""The views of a training trace: terminal, Markdown, HTML and PNG show the same numbers."""

import json
import re
import sys
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from markdown_it import MarkdownIt

from hf_attn import InputError, TrainingTrace
from hf_attn.training_trace import AttentionSample, EpochTrace
from hf_attn.training_trace_page import trace_to_fragment
from hf_attn.training_trace_series import panels_of, series_of
from hf_attn.training_trace_view import epoch_lines

SAMPLE = AttentionSample("validation", 40, 256, even_entropy=3.0, even_share=0.05)
EPOCHS = (
    EpochTrace(1.0, 10, 0.8, 0.7, 0.5, 2.9, 0.06),
    EpochTrace(2.0, 20, 0.6, None, 0.75, 2.5, 0.1, ("validation_loss",)),
    EpochTrace(3.0, 30, 0.4, 0.5, 0.875, 2.1, 0.2),
)
TRACE = TrainingTrace(EPOCHS, "accuracy", 3.0, "word", SAMPLE)
NAMES = ["training loss", "validation loss", "accuracy", "attention entropy", "top word"]
ROWS = [
    ["1", "0.8000", "0.7000", "50.0 %", "2.90", "6.0 %"],
    ["2", "0.6000", "NaN or ∞", "75.0 %", "2.50", "10.0 %"],
    ["3 *", "0.4000", "0.5000", "87.5 %", "2.10", "20.0 %"],
]


class Page(HTMLParser):
    """The tags of a page, the cells of its tables and the points of its curves."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.cells, self.lines, self.dots, self.in_cell = [], [], [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.in_cell = tag in ("td", "th")
        if tag == "tr":
            self.cells.append([])
        elif self.in_cell:
            self.cells[-1].append("")
        elif tag == "polyline":
            points = dict(attributes)["points"].split()
            self.lines.append([tuple(map(float, point.split(","))) for point in points])
        elif tag == "circle":
            self.dots.append(dict(attributes))

    def handle_endtag(self, tag):
        self.in_cell = self.in_cell and tag != "table"

    def handle_data(self, data):
        if self.in_cell:
            self.cells[-1][-1] = (self.cells[-1][-1] + data).strip()


def test_terminal_shows_numbers_observations_and_charts():
    lines = TRACE.to_terminal(width=200, color=False).split("\n")
    for row in ROWS:
        assert any(re.split(r"  +", line.strip()) == row for line in lines)
    for number, observation in enumerate(TRACE.observations, start=1):
        assert f"Epoch {number}: {observation}." in lines
    assert lines[:2] == list(TRACE.summary[:2])
    charts = [line for line in lines if set("▁▄█") & set(line)]
    assert len(charts) == 4
    assert "* Epoch 3 is the best on the validation texts." in lines


@pytest.mark.parametrize("width", [40, 80])
def test_terminal_keeps_to_its_width(width):
    many = TrainingTrace(tuple(EpochTrace(float(n), n, 1 / n) for n in range(1, 101)), unit="word")
    for trace in (TRACE, many):
        assert max(map(len, trace.to_terminal(width=width, color=False).split("\n"))) <= width


def test_chart_rises_with_the_values_and_leaves_gaps():
    lines = epoch_lines(TRACE).split("\n")
    assert re.search("training loss 0.4000 █[▄▅]▁,", lines[0])
    assert "validation loss 0.5000 █ ▁," in lines[0]
    assert "attention entropy 2.10 █▅▁," in lines[0]
    assert lines[1] == f"  {TRACE.observations[-1]}"
    flat = TrainingTrace(tuple(EpochTrace(float(n), n, 0.5) for n in (1, 2, 3)))
    assert "training loss 0.5000 ▄▄▄" in epoch_lines(flat)
    assert epoch_lines(TrainingTrace(EPOCHS[:1], "accuracy")).startswith(
        "epoch 1: training loss 0.8000, validation loss 0.7000, accuracy 50.0 %, "
    )


def test_markdown_has_the_table_and_the_observations(tmp_path):
    page = TRACE.to_markdown(tmp_path / "a.md")
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == page
    tokens = MarkdownIt("commonmark").enable("table").parse(page)
    cells = [
        "".join(part.content for part in token.children)
        for before, token in pairwise(tokens)
        if before.type in ("th_open", "td_open")
    ]
    assert cells == ["epoch", *NAMES, *(cell for row in ROWS for cell in row)]
    for observation in TRACE.observations:
        assert observation in page


def test_page_has_table_curves_and_no_script_or_network(tmp_path):
    text = TRACE.to_html(tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == text
    page = Page(text)
    assert page.cells[0] == ["epoch", *NAMES, "what the numbers say"]
    assert [row[:-1] for row in page.cells[1:]] == ROWS
    assert [row[-1] for row in page.cells[1:]] == list(TRACE.observations)
    assert "script" not in page.tags
    assert not re.search(r"(src|href)=|https?:|@import|url\(", text)
    assert TRACE._repr_html_() == trace_to_fragment(TRACE)


def test_curves_go_through_the_values_and_end_where_one_is_unknown():
    page = Page(TRACE.to_html())
    training, validation_1, validation_2, score, entropy, share = page.lines
    # Both losses are on one scale: 0.8 is its top (y = 0) and 0.4 its bottom (y = 120).
    assert training == [(0, 0), (150, 60), (300, 120)]
    assert (validation_1, validation_2) == ([(0, 30)], [(300, 90)])
    assert score == [(0, 120), (150, 40), (300, 0)]
    assert entropy == [(0, pytest.approx(13.3)), (150, pytest.approx(66.7)), (300, 120)]
    assert share[-1] == (300, 0)
    assert len(page.dots) == 14


def test_strange_names_do_nothing():
    strange = '<script>alert(1)</script>|`x`\x1b[31m"'
    trace = TrainingTrace.from_dict({**TRACE.to_dict(), "metric": strange, "unit": strange})
    assert "<script>" not in trace.to_html()
    assert "\x1b" not in trace.to_terminal(color=False)
    assert "<script>" not in trace.to_markdown()
    assert trace.unit == "token"


@pytest.mark.parametrize(
    "broken", [{"loss": "0.5"}, {"step": "1"}, {"loss": float("nan")}, {"what": 1}]
)
def test_values_of_another_kind_are_refused(broken):
    content = json.loads(TRACE.to_json())
    content["epochs"][0] |= broken
    with pytest.raises((ValueError, TypeError), match=next(iter(broken))):
        TrainingTrace.from_dict(content)


@pytest.mark.parametrize("trace", [TrainingTrace(()), TrainingTrace((EpochTrace(1.0, 1),))])
def test_a_trace_without_numbers_has_views(trace):
    assert trace.to_terminal()
    assert trace.to_markdown().startswith("# How the training went")
    assert "How the training went" in trace.to_html()
    assert TrainingTrace.from_dict(json.loads(trace.to_json())) == trace
    with pytest.raises(InputError, match="expected a training trace with numbers"):
        trace.to_png("never.png")


def test_png_draws_each_series(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k))
    )
    TRACE.to_png(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    drawn = {
        line.get_label(): [None if y != y else y for y in line.get_ydata()]
        for axes in figures[0].axes
        for line in axes.lines
    }
    for series in series_of(TRACE):
        assert drawn[series.name] == list(series.values)
    assert [axes.get_title(loc="left") for axes in figures[0].axes] == [
        panel.title for panel in panels_of(TRACE)
    ]


def test_png_without_matplotlib_gives_the_command(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"pip install 'hf-attn\[viz\]'"):
        TRACE.to_png(tmp_path / "a.png")
