"""What shows traces: a terminal, a page without script, a notebook, and the command."""

import json
import re
import shutil
from html.parser import HTMLParser
from itertools import takewhile

import numpy as np
import pytest
from models import small_classifier
from rich.cells import cell_len
from typer.testing import CliRunner

from hf_attn import (
    HfAttnTokenizer,
    InputError,
    cli,
    compare_scaling,
    read_training_trace,
    trace_pipeline,
    trace_prediction,
)
from hf_attn.loading import load_classifier
from hf_attn.stages import Trace
from hf_attn.trace import DEFAULT_TEXT
from hf_attn.trace_page import trace_to_fragment

LONG = " ".join(f"word{number}" for number in range(40))
STRANGE = 'قط \x1b[31mred \x9b1m <script>alert(1)</script> & "x" שלום\x07 👍🏽 \u202eabc\r\n cat'
MAKERS = {"pipeline": trace_pipeline, "prediction": trace_prediction, "compare": compare_scaling}


def classifier(**fields):
    names = fields.get("id2label", {0: "a", 1: "b", 2: "c"})
    return small_classifier(**{"vocab_size": 60, "num_labels": len(names), **fields})


@pytest.fixture(scope="module")
def tokenizer():
    return HfAttnTokenizer.train_from_iterator([DEFAULT_TEXT, LONG, "قط שלום 👍🏽"])


@pytest.fixture(params=MAKERS)
def make(request, tokenizer):
    def make_one(text=DEFAULT_TEXT, **fields):
        return MAKERS[request.param](text, classifier(**fields), tokenizer)

    return make_one


def pipeline(tokenizer, text=DEFAULT_TEXT, **fields):
    return trace_pipeline(text, classifier(**fields), tokenizer)


class Page(HTMLParser):
    """The tags of a page, and the rows of each of its tables."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.tables, self.in_cell = [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        self.in_cell = tag in ("td", "th", "bdi") and bool(self.tables)

    def handle_endtag(self, tag):
        self.in_cell &= tag != "table"

    def handle_data(self, data):
        if self.in_cell and self.tables and self.tables[-1]:
            self.tables[-1][-1][-1] += data.strip()


def number_rows(shown, heading):
    """The numbers of the rows below a line of a text for a terminal."""
    rows = [
        [float(number) for number in re.findall(r"[-+]?\d\.\d+", line)]
        for line in shown[shown.index(heading) :].splitlines()
    ]
    first = next(place for place, row in enumerate(rows) if row)
    return list(takewhile(bool, rows[first:]))


def test_terminal_shows_every_stage_with_its_sentence_formula_and_shapes(make):
    one = make()
    shown = " ".join(one.to_terminal(width=200, color=False).split())
    stages = getattr(one, "layers", None) or getattr(one, "stages", ())
    for stage in stages:
        assert f"{stage.number} {stage.name}" in shown
        for part in (stage.does, *stage.formula.splitlines(), stage.takes, stage.gives):
            assert part in shown


def test_terminal_shows_the_numbers(tokenizer):
    one = pipeline(tokenizer)
    shown = one.to_terminal(width=100, color=False)
    weights = one.stages[4].values["weights"]
    np.testing.assert_allclose(number_rows(shown, "A: how the token"), weights, atol=0.0051)
    features = one.stages[2].values["features"]
    np.testing.assert_allclose(number_rows(shown, "x: the features"), features, atol=0.0051)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_terminal_keeps_to_the_width(make, width):
    for text in ("", "cat", STRANGE, LONG, "x" * 100):
        for line in make(text, hidden_size=32).to_terminal(width=width, color=False).splitlines():
            assert cell_len(line) <= width


def test_terminal_sends_no_control_characters_of_the_text(make):
    shown = make(STRANGE, id2label={0: "\x1b]0;x", 1: "b"}).to_terminal(color=False)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)


def test_terminal_colours_only_where_it_may(make):
    one = make()
    assert "\x1b" not in one.to_terminal()  # standard output is no terminal here
    assert "\x1b" in one.to_terminal(color=True)
    assert "\x1b" not in str(one)


def test_terminal_says_what_is_left_out(tokenizer):
    shown = pipeline(tokenizer, LONG, hidden_size=64).to_terminal(width=80, color=False)
    assert re.search(r"… 28 more tokens below and \d\d more features beside", shown)
    assert re.search(r"… 28 more tokens below and \d\d more tokens beside, with less att", shown)


@pytest.mark.parametrize("width", [50, 80])
def test_row_of_weights_adds_up_where_columns_are_left_out(tokenizer, width):
    shown = pipeline(tokenizer, LONG).to_terminal(width=width, color=False)
    rows = number_rows(shown, "A: how the token")
    assert len(rows) == 12
    np.testing.assert_allclose(np.sum(rows, 1), 1, atol=0.05)


def test_columns_of_weights_are_those_that_receive_most(tokenizer):
    one = pipeline(tokenizer, LONG)
    shown = one.to_terminal(width=80, color=False)
    header = shown[shown.index("A: how the token") :].splitlines()[1].split()
    received = one.stages[4].values["weights"].sum(0)
    most = np.argsort(-received)[: len(header) - 1]
    assert header == [*(f"word{place}" for place in sorted(most)), "others"]


def test_sum_of_the_output_layer_adds_up(tokenizer):
    shown = trace_prediction(LONG, classifier(), tokenizer).to_terminal(width=100, color=False)
    rows = number_rows(shown, "c: what each word adds")
    assert "28 other words" in shown
    np.testing.assert_allclose(np.sum(rows[:-1], 0), rows[-1], atol=0.1)


def test_unknown_words_and_cuts_are_noted_in_every_view(make):
    one = make("zebra " * 300)
    assert len(one.notes) >= 2
    for view in (one.to_terminal(width=300, color=False), one.to_html()):
        for note in one.notes:
            assert note in view


def test_html_shows_the_numbers(tokenizer):
    one = pipeline(tokenizer)
    tables = Page(one.to_html()).tables
    matrix = one.stages[4].values["weights"]
    (weights,) = [table for table in tables if table[1][1] == f"{matrix[0, 0]:.2f}"]
    assert weights[0] == ["", *one.token_names]
    for row, (name, *numbers) in zip(matrix, weights[1:], strict=True):
        assert name in one.token_names
        assert numbers == [f"{number:.2f}" for number in row]


def test_html_escapes_texts_tokens_and_class_names(make):
    script = "<script>alert(1)</script>"
    page = make(STRANGE, id2label={0: script, 1: f'"{script}'}).to_html()
    assert "<script" not in page
    assert "alert(1)" in page
    assert "\r" not in page


def test_html_takes_nothing_from_elsewhere(make):
    page = make().to_html()
    assert not re.search(r"https?:|//|url\(|@import|<script|<link|<img|src=|\son\w+=", page)


def test_html_tables_can_be_scrolled_by_keyboard_and_have_names(make):
    page = Page(make(LONG).to_html())
    regions = [attrs for tag, attrs in page.tags if attrs.get("role") == "region"]
    assert regions
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in regions)


def test_html_limits_the_tables_of_a_long_text(make):
    page = make(LONG * 20, hidden_size=64)
    text = page.to_html()
    assert max(len(row) for table in Page(text).tables for row in table) <= 22
    assert len(text) < 300_000


def test_fragment_of_one_stage_holds_nothing_of_the_others(tokenizer):
    one = pipeline(tokenizer)
    fragment = trace_to_fragment(one, stage=5)
    assert re.findall(r"<h\d>.*</h\d>", fragment) == [
        "<h3><span class=number>5</span>Attention weights</h3>"
    ]


def test_html_has_subscripts(tokenizer):
    page = pipeline(tokenizer, ngram_buckets=37).to_html()
    assert "y<sub>i</sub> = x<sub>i</sub> + Σ<sub>j</sub> A<sub>ij</sub> W<sub>v</sub>" in page
    assert "row(t<sub>j−1</sub>, t<sub>j</sub>)" in page


def test_fragment_styles_only_itself(make):
    fragment = make()._repr_html_()
    assert fragment.startswith("<div")
    for css in re.findall("<style>(.*?)</style>", fragment, re.S):
        bare = re.sub(r"/\*.*?\*/", "", css, flags=re.S)
        selectors = [
            one.strip() for rule in re.findall(r"([^{}]+)\{", bare) for one in rule.split(",")
        ]
        assert selectors
        assert all(selector.startswith((".hf-attn", "@media")) for selector in selectors)


def test_html_is_written(make, tmp_path):
    one = make()
    assert one.to_html(tmp_path / "a.html") == (tmp_path / "a.html").read_text()
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("task", ["multi_label_classification", "regression"])
def test_other_tasks_are_shown(make, task):
    one = make(problem_type=task, id2label={0: "stars", 1: "taste"})
    shown = one.to_terminal(width=120, color=False)
    assert ("probabilit" in shown) == (task != "regression")
    assert one.explanation.label in one.to_html()


def test_no_view_calls_attention_an_importance(make):
    one = make()
    assert "importan" not in (one.to_html() + one.to_terminal()).lower()


def test_a_trace_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="expected a trace of a text, got Trace"):
        Trace().to_html()


# The command


def run(*arguments, stdin=""):
    return CliRunner().invoke(cli.app, ["trace", *map(str, arguments)], input=stdin)


@pytest.mark.parametrize(
    ("flags", "maker"),
    [
        ((), trace_pipeline),
        (("--prediction",), trace_prediction),
        (("--compare",), compare_scaling),
    ],
)
def test_command_gives_what_the_function_gives(trained_folder, flags, maker):
    expected = maker("the wheat harvest", *load_classifier(trained_folder))
    result = run(trained_folder, "the wheat harvest", "--json", *flags)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == expected.to_dict()
    result = run(trained_folder, *flags, "-", stdin="the wheat harvest\n")
    assert result.stdout.strip() == expected.to_terminal()


def test_command_takes_the_sentence_of_the_lesson_if_it_is_given_none(trained_folder):
    result = run(trained_folder)
    assert "“The cat sat on the mat”" in result.stdout
    assert "1 sentence × 6 tokens × 8 features" in result.stdout


def test_command_writes_a_page(trained_folder, tmp_path):
    result = run(trained_folder, "wheat", "--html", tmp_path / "a.html")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "<h2>From text to prediction in seven stages</h2>" in (tmp_path / "a.html").read_text()


def test_command_traces_a_pair(trained_folder):
    result = run(trained_folder, "wheat", "--text-pair", "corn", "--json")
    assert json.loads(result.stdout)["tokens"] == ["wheat", "[SEP]", "corn"]


def test_command_says_what_is_wrong(trained_folder, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    for arguments, stdin, said in (
        ((tmp_path / "none",), "", "expected a folder with a model, found none"),
        ((tmp_path,), "", "expected a model of type 'hf_attn' or 'hf_attn_folded', got 'bert'"),
        ((trained_folder, "-"), "", "-: expected one text to trace, got 0"),
        ((trained_folder, "-"), "a\nb\n", "-: expected one text to trace, got 2"),
        ((trained_folder, "a", "--html", tmp_path / "no" / "a.html"), "", "there is no "),
    ):
        result = run(*arguments, stdin=stdin)
        assert isinstance(result.exception, InputError)
        assert said in str(result.exception)


def test_command_shows_how_the_training_went(trained_folder, tmp_path):
    trace = read_training_trace(trained_folder)
    assert run(trained_folder, "--training", "--json").output == trace.to_json()
    assert run(trained_folder, "--training").output.rstrip() == trace.to_terminal().rstrip()
    page, picture = tmp_path / "t.html", tmp_path / "t.png"
    done = run(trained_folder, "--training", "--html", page, "--png", picture)
    assert (done.exit_code, done.output) == (0, "")
    assert page.read_text(encoding="utf-8") == trace.to_html()
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--training", "--compare"], "expected one of --prediction, --compare and --training"),
        (["--prediction", "--compare"], "expected one of --prediction, --compare and --training"),
        (["a text", "--training"], "expected no text beside --training, got one"),
        (["a text", "--png", "x.png"], "expected --png beside --training"),
    ],
)
def test_command_refuses_what_does_not_go_together(trained_folder, arguments, message):
    error = run(trained_folder, *arguments).exception
    assert isinstance(error, InputError)
    assert str(error).startswith(message)


def test_command_says_that_a_model_has_no_trace_of_its_training(trained_folder, tmp_path):
    folder = shutil.copytree(trained_folder, tmp_path / "m")
    (folder / "training_trace.json").unlink()
    error = run(folder, "--training").exception
    assert f"{folder}: expected a model with the trace of its training, found none." in str(error)
