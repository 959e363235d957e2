"""What shows explanations: data, terminal, HTML and PNG."""

import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from explained import explained_pair, explanation
from rich.cells import cell_len

from hf_attn import Explanations, InputError
from hf_attn.terminal import BLUE, ORANGE, PALE_BLUE, PALE_ORANGE

MULTI = "multi_label_classification"
STRANGE = "שלום  oil\tعولم 漢字漢字 👍🏽 👨‍👩‍👧 e\u0301 a$b$ <b>&amp;\r\n x"
HUNDRED_WORDS = " ".join(f"word{number:03}" for number in range(100))


class Page(HTMLParser):
    """The tags of a page, its texts whose class is "text", and the cells of its first table."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.titles, self.styles, self.texts, self.cells = [], [], [], [], []
        self.in_text = self.is_special = self.in_cell = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if tag == "p" and attrs.get("class") == "text":
            self.in_text = True
            self.texts.append("")
        if tag == "b" and self.in_text:
            self.titles.append(attrs["title"])
            self.styles.append(attrs["style"])
        self.is_special = attrs.get("class") == "special"
        self.in_cell = tag == "td"

    def handle_endtag(self, tag):
        self.in_text &= tag != "p"
        self.in_cell &= tag != "table"
        self.is_special = False

    def handle_data(self, data):
        if self.in_text and not self.is_special:
            self.texts[-1] += data
        if self.in_cell and data.strip():
            self.cells.append(data.strip())


def luminance(red, green, blue):
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (red / 255, green / 255, blue / 255)
    ]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(first, second):
    """The contrast of two colours as WCAG 2 defines it."""
    low, high = sorted([luminance(*first), luminance(*second)])
    return (high + 0.05) / (low + 0.05)


def mixed(share, full, ground):
    return share * np.array(full) + (1 - share) * np.array(ground)


def test_pieces_are_the_text():
    one = explanation(STRANGE)
    assert "".join(piece.text for piece in one.pieces()) == STRANGE
    words = [piece.text for piece in one.pieces() if piece.word is not None]
    assert words == STRANGE.split()


def test_pieces_of_a_pair_hold_the_special_tokens_in_their_places():
    one = explained_pair()
    assert [piece.text for piece in one.pieces() if piece.text] == [
        "[CLS]", "the", " ", "dog,", "[SEP]", " ",
    ]  # fmt: skip
    assert "".join(piece.text for piece in one.pieces(in_pair=True)) == " barks loud![SEP]"


def test_pieces_say_what_was_not_read():
    one = explanation("read cut off", spans=[(0, 4)], num_cut=2)
    assert [piece.text for piece in one.pieces() if not piece.was_read] == [" cut off"]


def test_dict_sums_to_the_logit():
    (reading,) = explanation().to_dict()["readings"]
    total = reading["bias"] + sum(word["contribution"] for word in reading["words"])
    assert total == pytest.approx(reading["logit"], abs=1e-12)


def test_dict_gives_the_prediction_as_predict_does():
    one = explanation()
    values = one.to_dict()
    assert values["label"] == max(values["scores"], key=values["scores"].get)
    assert values["score"] == values["scores"][values["label"]] == one.probability
    assert list(values["scores"].values()) == sorted(values["scores"].values(), reverse=True)


def test_dict_holds_every_label_of_several():
    one = explanation(problem_type=MULTI)
    targets = [reading["target"] for reading in one.to_dict()["readings"]]
    assert sorted(targets) == ["grain", "ship", "trade"]


def test_dict_holds_attention_only_where_it_was_asked_for():
    (reading,) = explanation(attention=True).to_dict()["readings"]
    assert np.sum(reading["attention"], 1) == pytest.approx(1)
    assert np.sum(reading["reads"], 0) == pytest.approx([w["context"] for w in reading["words"]])
    assert "attention" not in explanation().to_dict()["readings"][0]


def test_json_has_one_object_a_line_and_is_written(tmp_path):
    both = Explanations([explanation(STRANGE), explanation("")])
    text = both.to_json(tmp_path / "a.json")
    assert (tmp_path / "a.json").read_bytes() == text.encode()
    assert [json.loads(line) for line in text.splitlines()] == [one.to_dict() for one in both]


def test_json_refuses_what_is_not_finite():
    with pytest.raises(ValueError, match="not JSON compliant"):
        explanation(direct=np.full((3, 3), np.nan)).to_json()


@pytest.mark.parametrize("view", ["to_json", "to_html", "to_png"])
def test_file_is_whole_or_as_it_was(view, tmp_path):
    (tmp_path / "file").write_text("before")
    broken = explanation("a b", direct=np.full((2, 3), np.nan))
    with pytest.raises((ValueError, OverflowError)):
        getattr(broken, view)(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_dataframe_has_a_row_for_each_word_of_each_reading():
    frame = Explanations([explanation(problem_type=MULTI), explanation("one")]).to_dataframe()
    assert len(frame) == 3 * 3 + 1
    assert frame["word"].tolist()[-1] == "one"
    sums = frame.groupby(["text_index", "target"])["contribution"].sum()
    first = frame.groupby(["text_index", "target"])[["bias", "logit"]].first()
    assert (first["bias"] + sums).to_numpy() == pytest.approx(first["logit"].to_numpy())


def test_dataframe_of_an_empty_text_has_the_same_columns():
    assert explanation("").to_dataframe().columns.tolist() == (
        explanation().to_dataframe().columns.tolist()
    )


def test_dataframe_without_deletion_effects_holds_nan():
    assert explanation(deletion_effects=None).to_dataframe()["deletion_effect"].isna().all()


def test_terminal_shows_prediction_numbers_and_check():
    one = explanation()
    shown = one.to_terminal(color=False, width=80)
    probability = f"probability {one.probability:.1%}"
    assert f"Predicted {one.label}: {probability}, margin {one.margin:.2f} logit over" in shown
    assert one.readings[0].check in " ".join(shown.split())
    for word in one.words:
        row = next(line for line in shown.splitlines() if line.startswith(f"{word.text} "))
        assert f"{word.contribution:+.2f}" in row
        assert f"{word.deletion_effect:+.2f}" in row
        assert ("≠" in row) == word.signs_differ


def test_terminal_bars_point_to_the_side_of_the_sign():
    values = {"direct": [[2, 0, 0], [-1, 0, 0]], "context": np.zeros((2, 3))}
    one = explanation("up down", target=0, against=1, **values)
    shown = one.to_terminal(color=False, width=80)
    up, down = (re.split("│", line) for line in shown.splitlines() if "│" in line)
    assert (up[0].count("█"), down[1].count("█")) == (0, 0)
    assert up[1].count("█") >= 2 * down[0].count("█") - 1 > 0


@pytest.mark.parametrize("width", [30, 50, 80, 200])
def test_terminal_keeps_to_the_width(width):
    both = Explanations([explanation(STRANGE), explanation("x" * 100), explained_pair()])
    for line in both.to_terminal(color=False, width=width).splitlines():
        assert cell_len(line) <= width


def test_terminal_sends_no_control_characters_of_the_text():
    shown = explanation("a\x1b[31mred b\x07ell \x9b1m", class_names=["\x1b]0;x", "b"]).to_terminal(
        color=False
    )
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)
    assert "␛[31mred" in shown


def test_terminal_colours_only_where_it_may(monkeypatch):
    one = explanation()
    assert "\x1b" not in one.to_terminal()  # standard output is no terminal here
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b" in one.to_terminal()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in one.to_terminal()
    assert "\x1b" in one.to_terminal(color=True)


def test_terminal_gives_no_colour_to_str():
    assert "\x1b" not in str(explanation())


def test_terminal_shows_the_largest_words_of_a_long_text():
    one = explanation(HUNDRED_WORDS)
    shown = one.to_terminal(color=False, width=80)
    table = shown[shown.index("\nword ") :]
    largest = sorted(one.words, key=lambda word: -word.size)
    assert all(word.text in table for word in largest[:20])
    assert not any(word.text in table for word in largest[20:])
    rest = sum(word.contribution for word in largest[20:])
    assert re.search(rf"80 other words .*{re.escape(f'{rest:+.2f}')}", table)


def test_terminal_shows_the_beginning_of_a_very_long_text():
    text = "word " * 2000
    assert "… of 10,000 characters" in explanation(text).to_terminal(color=False)


def test_terminal_marks_unknown_words():
    shown = explanation(known=np.array([True, False, True])).to_terminal(color=False)
    assert re.search(r"^exports .* \?$", shown, re.M)
    assert "? The vocabulary" in shown


def test_terminal_says_what_was_read_where():
    one = explanation(attention=True)
    (reading,) = one.readings
    reader, read = np.unravel_index(abs(reading.reads).argmax(), reading.reads.shape)
    line = (
        f"{reading.reads[reader, read]:+.2f}  {one.words[read].text} read at "
        f"{one.words[reader].text}, attention weight {reading.attention[reader, read]:.0%}"
    )
    assert line in one.to_terminal(color=False, width=100)


def test_white_is_read_on_every_colour_of_the_terminal():
    for pale, full in ((PALE_BLUE, BLUE), (PALE_ORANGE, ORANGE)):
        for share in np.linspace(0, 1, 11):
            ground = mixed(share, full.triplet, pale.triplet)
            assert contrast((255, 255, 255), ground) >= 4.5


@pytest.mark.parametrize("view", ["to_terminal", "to_html"])
@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"text": ""}, "No words were read, so the logits are the bias alone."),
        ({"num_cut": 1234, "num_tokens": 8192}, "read 8,192 tokens"),
        ({"num_cut": 1234}, "not the other 1,234"),
        ({"problem_type": MULTI, "direct": [[9, -99, -99]] * 3}, "Shown: 1 of 3 labels, each"),
        ({"problem_type": MULTI, "direct": [[-9, -9, -9]] * 3}, "the likeliest; none has"),
    ],
)
def test_notes_are_shown(view, fields, note):
    shown = getattr(explanation(**fields), view)()
    assert note in " ".join(shown.split())


def test_regression_shows_the_value():
    one = explanation(problem_type="regression", class_names=["stars"], direct=[[1.0]] * 3)
    shown = one.to_terminal(color=False)
    assert f"stars: {one.logits[0]:+.4g}" in shown
    assert "Unit: value" in shown
    assert "probability" not in shown


def test_target_that_is_not_the_label_shows_its_probability():
    one = explanation().aimed_at("ship" if explanation().label != "ship" else "grain")
    (reading,) = one.readings
    assert f"{reading.title}: probability {reading.probability:.1%}" in one.to_terminal()


@pytest.mark.parametrize("text", [STRANGE, "", " \n ", "one", HUNDRED_WORDS, "\u202eabc x\u2066"])
def test_html_keeps_every_character(text):
    page = explanation(text).to_html()
    assert "".join(Page(page).texts) == (text if text.strip() else "")
    assert "\r" not in page  # a browser would read it as a line feed


def test_html_shows_both_texts_of_a_pair():
    one = explained_pair()
    assert Page(one.to_html()).texts == [one.text, one.pair]


def test_html_escapes_texts_and_class_names():
    script = "<script>alert(1)</script>"
    fields = {"class_names": [script, f'"{script}'], "special": {1: script}}
    page = explanation(f"a {script} \" ' x", attention=True, **fields).to_html()
    assert "script" not in [tag for tag, _ in Page(page).tags]
    assert "<script" not in page
    assert "alert(1)" in page


def test_html_of_a_hundred_words_is_small():
    assert len(explanation(HUNDRED_WORDS).to_html().encode()) <= 20_000


def test_html_takes_nothing_from_elsewhere():
    page = Explanations([explanation(attention=True), explained_pair()]).to_html()
    assert not re.search(r"https?:|//|url\(|@import|<script|<link|<img|src=|\son\w+=", page)


def test_html_shows_the_numbers_of_every_word():
    one = explanation()
    page = Page(one.to_html())
    assert page.titles == [
        f"{word.contribution:+.2f}, deletion effect {word.deletion_effect:+.2f}"
        for word in one.words
    ]
    for word in one.words:
        place = page.cells.index(word.text)
        numbers = (word.contribution, word.direct, word.context, word.deletion_effect)
        assert page.cells[place + 1 : place + 5] == [f"{number:+.2f}" for number in numbers]
    assert one.readings[0].check in one.to_html()
    assert "logit" in one.to_html()


def test_html_flags_signs_that_differ():
    one = explanation(deletion_effects=-explanation().contributions)
    page = Page(one.to_html())
    assert page.cells.count("≠") == sum(word.signs_differ for word in one.words) > 0


def test_html_shows_all_texts_on_one_scale():
    same = {"direct": [[1, 0, 0]], "context": np.zeros((1, 3)), "deletion_effects": None}
    large = {**same, "direct": [[4, 0, 0]]}
    ones = [explanation("a", target=0, against=1, **fields) for fields in (same, same, large)]
    assert Page(Explanations(ones).to_html()).styles == ["--p:.5", "--p:.5", "--p:1"]


def test_html_draws_attention_only_where_it_was_asked_for():
    assert "Attention weights" not in explanation().to_html()
    page = explanation(attention=True).to_html()
    (reading,) = explanation(attention=True).readings
    assert f">{100 * reading.attention[0, 1]:.0f}" in page
    assert f">{reading.reads[0, 1]:+.2f}" in page


def test_no_view_calls_attention_an_importance():
    one = explanation(attention=True)
    assert "importan" not in (one.to_html() + one.to_terminal()).lower()


def test_html_limits_the_tables_of_a_long_text():
    one = explanation(" ".join(f"w{number}" for number in range(300)), attention=True)
    page = one.to_html()
    assert "The 200 largest of 300 words" in page
    assert "The 20 of 300 words with the largest values." in page


def test_fragment_styles_only_itself():
    fragment = explanation()._repr_html_()
    assert fragment.startswith("<div")
    css = re.search("<style>(.*?)</style>", fragment, re.S)[1]
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.S)
    selectors = [one.strip() for rule in re.findall(r"([^{}]+)\{", css) for one in rule.split(",")]
    assert selectors
    assert all(selector.startswith((".hf-attn", "@media")) for selector in selectors)


@pytest.mark.parametrize(
    ("text", "ground"),
    [
        ((0, 0, 0), (255, 255, 255)),
        ((255, 255, 255), (18, 18, 18)),
        ((220, 220, 220), (30, 30, 30)),
    ],
)
def test_html_colours_can_be_read_in_light_and_dark(text, ground):
    fragment = explanation()._repr_html_()
    for name in ("blue", "orange"):
        color = [
            int(part) for part in re.search(rf"--{name}: (\d+) (\d+) (\d+)", fragment).groups()
        ]
        share = float(re.search(rf"--{name}\) / calc\(var\(--., 0\) \* (\.\d+)\)", fragment)[1])
        assert contrast(text, mixed(share, color, ground)) >= 4.5
        assert contrast(color, ground) >= 3  # the bars


@pytest.fixture
def drawn(monkeypatch):
    """Draws, and gives the figure."""
    from matplotlib.figure import Figure

    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k))
    )

    def draw(explanations, path):
        explanations.to_png(path)
        return figures[-1]

    return draw


def test_png_shows_bars_deletion_effects_and_check(drawn, tmp_path):
    one = explanation()
    (axes,) = drawn(one, tmp_path / "a.png").axes
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    order = sorted(one.words, key=lambda word: -abs(word.contribution))
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == [word.contribution for word in order]
    assert axes.lines[0].get_xdata().tolist() == [word.deletion_effect for word in order]
    assert [label.get_text() for label in axes.get_yticklabels()] == [word.text for word in order]
    assert one.readings[0].check in axes.get_xlabel()
    assert axes.get_xlabel().startswith("logit")


def test_png_draws_strange_text_without_a_warning(tmp_path):
    both = Explanations(
        [explanation(STRANGE + " $\\frac$ \x00 \ufffe"), explanation(""), explained_pair()]
    )
    both.to_png(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size


def test_png_says_how_many_words_it_leaves_out(drawn, tmp_path):
    (axes,) = drawn(explanation(HUNDRED_WORDS), tmp_path / "a.png").axes
    assert len(axes.patches) == 25
    assert "The 25 largest of 100 words." in axes.get_title(loc="left")


def test_png_draws_attention_where_it_was_asked_for(drawn, tmp_path):
    one = explanation(attention=True)
    images = [axes.images[0] for axes in drawn(one, tmp_path / "a.png").axes if axes.images]
    (reading,) = one.readings
    for image, matrix in zip(images, (reading.attention, reading.reads), strict=True):
        assert np.array_equal(image.get_array(), matrix)


def test_png_without_matplotlib_gives_the_command(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"pip install 'hf-attn\[viz\]'"):
        explanation().to_png(tmp_path / "a.png")


@pytest.mark.parametrize("count", [0, 21])
def test_png_of_none_or_too_many_is_refused(count, tmp_path):
    with pytest.raises(InputError, match=f"1 to 20 .* got {count}"):
        Explanations([explanation("a")] * count).to_png(tmp_path / "a.png")
