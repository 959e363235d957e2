"""The lexicon: its values are what the model gives, and its views hold them all."""

import csv
import io
import json
import re
from html import escape
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from models import MODES, VARIANTS, small_classifier, variant_name
from rich.cells import cell_len
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from trained import keyword_data
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from hf_attn import HfAttnTokenizer, InputError, lexicon_reader, read_lexicon, read_token_counts
from hf_attn.loading import load_classifier

TEXTS = ["oil prices rose", "the bank of the gulf cut rates", "wheat and oil exports fell"]
NAMES = {0: "crude", 1: "grain", 2: "money"}
COUNTS = {"oil": 7, "wheat": 5, "the": 4, "gulf": 0}


@pytest.fixture(scope="module")
def tokenizer():
    return HfAttnTokenizer.train_from_iterator(TEXTS)


def classifier(tokenizer, **fields):
    fields = {"id2label": NAMES, "problem_type": "single_label_classification"} | fields
    return small_classifier(vocab_size=len(tokenizer), **fields)


def outputs_of(model, tokenizer, text, *, mode="eval"):
    model.train(mode == "train")
    with torch.no_grad():
        return model(**tokenizer(text, return_tensors="pt"), output_contributions=True)


def raw_values(one, part="both"):
    """Gives word to values (C,)."""
    values = {"direct": one.direct, "context": one.context, "both": one.direct + one.context}
    return dict(zip(one.tokens, torch.from_numpy(values[part]), strict=True))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
def test_value_is_what_the_model_gives_for_the_word_alone(tokenizer, variant, mode):
    model = classifier(tokenizer, **variant)
    values = raw_values(read_lexicon(model.train(mode == "train"), tokenizer))
    assert model.training == (mode == "train")
    words = {word for text in TEXTS for word in text.split()}
    assert values.keys() == {"[UNK]", *words}
    for word in words:
        logits = outputs_of(model, tokenizer, word).logits[0]
        torch.testing.assert_close(model.score.bias + values[word], logits, rtol=0, atol=1e-12)
    unknown = outputs_of(model, tokenizer, "neverseen").logits[0]
    torch.testing.assert_close(model.score.bias + values["[UNK]"], unknown, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pooling", ["mean", "static"])
def test_contribution_in_a_text_is_the_value_times_its_weights(tokenizer, pooling):
    model = classifier(tokenizer, classifier_pooling=pooling)
    one = read_lexicon(model, tokenizer)
    direct, context = raw_values(one, "direct"), raw_values(one, "context")
    for text in TEXTS:
        outputs = outputs_of(model, tokenizer, text)
        for place, word in enumerate(text.split()):
            expected = (
                outputs.pool_weights[0, place] * direct[word]
                + outputs.attention_received[0, place] * context[word]
            )
            contribution = outputs.contributions[0, place]
            torch.testing.assert_close(contribution, expected, rtol=0, atol=1e-12)


def test_value_of_a_bigram_model_holds_the_pair_with_the_start_only(tokenizer):
    model = classifier(tokenizer, ngram_buckets=37)
    one = read_lexicon(model, tokenizer)
    direct = raw_values(one, "direct")
    outputs = outputs_of(model, tokenizer, TEXTS[0])
    unit = outputs.direct_contributions[0] / outputs.pool_weights[0, :, None]
    first, second, _ = TEXTS[0].split()
    torch.testing.assert_close(unit[0], direct[first], rtol=0, atol=1e-12)
    assert (unit[1] - direct[second]).abs().max() > 0.01
    assert any("the pair of the word and the start of a text" in note for note in one.notes)
    without = read_lexicon(classifier(tokenizer), tokenizer)
    assert not any("pair" in note for note in without.notes)


def test_vocabulary_is_read_in_parts(tokenizer, monkeypatch):
    model = classifier(tokenizer)
    whole = read_lexicon(model, tokenizer)
    monkeypatch.setattr(lexicon_reader, "_TOKENS_AT_ONCE", 4)
    parts = read_lexicon(model, tokenizer)
    np.testing.assert_allclose(parts.direct, whole.direct, rtol=0, atol=1e-13)
    np.testing.assert_allclose(parts.context, whole.context, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(parts.bias, whole.bias)


def test_class_is_counted_against_the_mean_of_the_others(tokenizer):
    model = classifier(tokenizer)
    with_word, without = (outputs_of(model, tokenizer, text).logits[0] for text in ("oil", ""))
    for target, one in enumerate(read_lexicon(model, tokenizer).showing(negative=True).lists):
        others = [index for index in NAMES if index != target]
        margins = [logits[target] - logits[others].mean() for logits in (with_word, without)]
        (entry,) = (entry for entry in one.entries if entry.word == "oil")
        assert entry.value == pytest.approx(float(margins[0] - margins[1]), abs=1e-12)
        assert entry.value == pytest.approx(entry.direct + entry.context, abs=1e-12)
        assert one.bias == pytest.approx(float(margins[1]), abs=1e-12)
        assert one.title == f"{NAMES[target]} against the mean of the others"


def test_what_all_logits_share_changes_no_list(tokenizer):
    model = classifier(tokenizer)
    before = read_lexicon(model, tokenizer).showing(negative=True).lists
    with torch.no_grad():
        model.score.out_proj.weight += torch.randn(model.config.hidden_size, dtype=torch.float64)
        model.score.bias += 3
    after = read_lexicon(model, tokenizer).showing(negative=True).lists
    for first, second in zip(before, after, strict=True):
        assert [entry.word for entry in first.entries] == [entry.word for entry in second.entries]
        values = [[entry.value for entry in one.entries] for one in (first, second)]
        assert values[0] == pytest.approx(values[1], abs=1e-12)
        assert first.bias == pytest.approx(second.bias, abs=1e-12)


@pytest.mark.parametrize("problem_type", ["multi_label_classification", "regression"])
def test_values_of_labels_on_their_own_are_raw(tokenizer, problem_type):
    model = classifier(tokenizer, problem_type=problem_type)
    one = read_lexicon(model, tokenizer).showing(negative=True)
    values = raw_values(one)
    for target, listed in enumerate(one.lists):
        assert listed.against is None
        assert one.to_dict()["unit"] == ("value" if problem_type == "regression" else "logit")
        assert listed.title == NAMES[target]
        for entry in listed.entries:
            assert entry.value == pytest.approx(float(values[entry.word][target]), abs=1e-12)


def test_two_classes_are_counted_against_each_other(tokenizer):
    model = classifier(tokenizer, num_labels=2, id2label={0: "no", 1: "yes"})
    no, yes = read_lexicon(model, tokenizer).showing(top=None, negative=True).lists
    assert (no.title, yes.title) == ("no against yes", "yes against no")
    mirrored = [(entry.word, pytest.approx(-entry.value)) for entry in no.negative]
    assert [(entry.word, entry.value) for entry in yes.positive] == mirrored


def test_lists_hold_the_largest_values_of_words_that_occurred_often_enough(tokenizer):
    model = classifier(tokenizer, problem_type="multi_label_classification")
    one = read_lexicon(model, tokenizer, COUNTS)
    # The last is the unknown token, which is shown whatever its count.
    often = {"oil": 7, "wheat": 5, "the": 4, "[UNK]": 0}
    values = {word: float(value[2]) for word, value in raw_values(one).items() if word in often}
    (listed,) = one.showing(top=2, min_count=4, target="money", negative=True).lists
    positive = sorted((word for word in values if values[word] > 0), key=lambda w: -values[w])
    negative = sorted((word for word in values if values[word] < 0), key=lambda w: values[w])
    assert [entry.word for entry in listed.positive] == positive[:2]
    assert [entry.word for entry in listed.negative] == negative[:2]
    assert len(positive) + len(negative) == 4
    assert {entry.word: entry.count for entry in listed.entries}.items() <= often.items()
    assert [entry.is_unknown for entry in listed.entries] == [
        entry.word == "[UNK]" for entry in listed.entries
    ]
    assert one.showing(target=2, top=2, min_count=4).lists[0].negative == ()
    assert any("left out" in note for note in one.notes)


def test_counts_that_are_not_known_hide_no_word(tokenizer):
    one = read_lexicon(classifier(tokenizer), tokenizer).showing(top=None, negative=True)
    assert len(one.lists[0].entries) == len(tokenizer) - 2
    assert {entry.count for entry in one.lists[0].entries} == {None}
    assert any("has no token_counts.json" in note for note in one.notes)


def test_lexicon_of_a_trained_model_finds_the_keywords(trained_folder):
    model, tokenizer = load_classifier(str(trained_folder))
    one = read_lexicon(model, tokenizer, read_token_counts(str(trained_folder)))
    for listed, keywords in zip(
        one.showing(top=3).lists, (["wheat", "corn", "harvest"], ["crude", "barrel", "opec"]),
        strict=True,
    ):  # fmt: skip
        assert {entry.word for entry in listed.positive} == set(keywords)
        texts = " ".join(keyword_data()["train"]["text"]).split()
        assert all(entry.count == texts.count(entry.word) for entry in listed.positive)


@pytest.mark.parametrize("algorithm", ["wordpiece", "bpe", "unigram"])
def test_sub_words_are_called_tokens(algorithm):
    tokenizer = HfAttnTokenizer.train_from_iterator(TEXTS, algorithm=algorithm, vocab_size=60)
    one = read_lexicon(classifier(tokenizer), tokenizer)
    assert one.kind == "token"
    assert any("the units are tokens" in note for note in one.notes)
    assert len(set(one.words)) == len(one.words) == len(tokenizer) - 2


def byte_level_tokenizer():
    vocab = {"[UNK]": 0, "Ġoil": 1, "oil": 2, "Ġcaf": 3, "Ã©": 4, "Ã": 5, "Ġ": 6, "Ġbank": 7}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")


def test_word_is_what_a_reader_sees_unless_that_is_ambiguous():
    tokenizer = byte_level_tokenizer()
    one = read_lexicon(classifier(tokenizer), tokenizer)
    assert dict(zip(one.tokens, one.words, strict=True)) == {
        "[UNK]": "[UNK]",
        "Ġoil": "Ġoil",
        "oil": "oil",
        "Ġcaf": "caf",
        "Ã©": "é",
        "Ã": "Ã",
        "Ġ": "Ġ",
        "Ġbank": "bank",
    }


def test_tables_hold_every_listed_word(tokenizer, tmp_path):
    one = read_lexicon(classifier(tokenizer), tokenizer, COUNTS).showing(min_count=0, negative=True)
    listed = [
        {"target": part.target, "against": part.against, **vars(entry)}
        for part in one.lists
        for entry in part.entries
    ]
    assert len(listed) == 3 * (len(tokenizer) - 2)

    as_csv = list(csv.DictReader(io.StringIO(one.to_csv(tmp_path / "l.csv"))))
    assert as_csv == [{name: str(value) for name, value in row.items()} for row in listed]
    assert (tmp_path / "l.csv").read_bytes().decode() == one.to_csv()

    as_json = json.loads(one.to_json(tmp_path / "l.json"))
    assert json.loads((tmp_path / "l.json").read_text(encoding="utf-8")) == as_json
    assert as_json["notes"] == list(one.notes)
    assert [
        {"target": part["target"], "against": part["against"], **entry}
        for part in as_json["classes"]
        for entry in part["positive"] + part["negative"]
    ] == listed

    assert one.to_dataframe().to_dict("records") == listed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l.csv", "l.json"]


def test_data_frame_without_counts_leaves_them_blank(tokenizer):
    one = read_lexicon(classifier(tokenizer), tokenizer)
    assert one.to_dataframe()["count"].isna().all()
    assert one.to_csv().splitlines()[1].split(",")[-2] == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "grian"}, r"got 'grian'. Did you mean 'grain'\?"),
        ({"target": 3}, r"expected a class of the model \(crude, grain, money\), got 3"),
        ({"top": 0}, r"top must be 1 or more, got 0"),
        ({"min_count": -1}, r"min_count must be 0 or more, got -1"),
    ],
)
def test_lists_that_cannot_be_are_refused(tokenizer, options, message):
    one = read_lexicon(classifier(tokenizer), tokenizer)
    with pytest.raises(InputError, match=message):
        one.showing(**options)


def test_broken_weights_are_refused(tokenizer):
    model = classifier(tokenizer)
    with torch.no_grad():
        model.model.embeddings.embed_tokens.weight[-1] = torch.nan
    with pytest.raises(InputError, match="expected logits that are numbers, got NaN or infinity"):
        read_lexicon(model, tokenizer)


def test_model_of_another_type_is_refused(tokenizer):
    config = BertConfig(hidden_size=8, num_attention_heads=1, num_hidden_layers=1)
    model = BertForSequenceClassification(config)
    with pytest.raises(TypeError, match=r"got [\w.]+\.BertForSequenceClassification"):
        read_lexicon(model, tokenizer)


def test_tokenizer_of_another_model_is_refused(tokenizer):
    with pytest.raises(InputError, match=r"at most vocab_size=5 tokens, got one of 16"):
        read_lexicon(small_classifier(vocab_size=5), tokenizer)


HOSTILE = ["<script>alert(1)</script>", "a&b", "\x1b[31mred", "שלום", "👍🏽", "w" * 50]


@pytest.fixture(scope="module")
def hostile():
    """A lexicon with words that would break a page or a terminal that does not escape them."""
    vocab = {word: index for index, word in enumerate(["[UNK]", *HOSTILE])}
    backend = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    model = classifier(tokenizer, num_labels=2, id2label={0: "<b>no</b>", 1: "yes"})
    counts = dict.fromkeys(HOSTILE, 1234567)
    return read_lexicon(model, tokenizer, counts).showing(top=None, negative=True)


class Page(HTMLParser):
    """Reads the tags of a page and the text of its cells."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.cells = set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag in ("td", "th", "tr", "h3", "p"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data.strip("\n")


def test_page_shows_every_word_escaped(hostile, tmp_path):
    page = Page(hostile.to_html(tmp_path / "l.html"))
    assert (tmp_path / "l.html").read_bytes().decode() == hostile.to_html()
    for word in [*HOSTILE, "[UNK]", "<b>no</b> against yes", "1,234,567"]:
        assert word in page.cells
    assert not page.tags & {"script", "link", "img", "iframe", "object"}


def test_page_needs_no_network(hostile):
    page = hostile.to_html()
    assert "<script" not in page
    for reference in ("http:", "https:", "//", "@import", "url(", "src=", "href="):
        assert reference not in page


def test_page_gives_values_parts_and_notes(tokenizer):
    one = read_lexicon(classifier(tokenizer), tokenizer).showing(top=2)
    page = Page(one.to_html())
    for listed in one.lists:
        for entry in listed.positive:
            place = page.cells.index(entry.word, page.cells.index(listed.title))
            numbers = [f"{part:+.2f}" for part in (entry.value, entry.direct, entry.context)]
            assert page.cells[place + 2 : place + 6] == [*numbers, ""]
    assert all(escape(note) in one.to_html() for note in one.notes)
    assert "Unit: logit" in one.to_html()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_table_for_a_terminal_keeps_to_its_width(hostile, width):
    text = hostile.to_terminal(width=width, color=False)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text
    for part in hostile.lists:
        for entry in part.entries:
            numbers = [f"{value:+.2f}" for value in (entry.value, entry.direct, entry.context)]
            assert any(line.split()[-4:-1] == numbers for line in text.splitlines())
    joined = " ".join(text.split())
    assert all(note in joined for note in hostile.notes)


def cells_of(bar):
    """Gives how many cells a bar fills, from its blocks."""
    return sum(1 if block == "█" else "▏▎▍▌▋▊▉".index(block) / 8 + 1 / 8 for block in bar)


def test_bars_for_a_terminal_are_true_to_scale(tokenizer):
    one = read_lexicon(classifier(tokenizer), tokenizer).showing(negative=True)
    lines = [line.split() for line in one.to_terminal(width=120, color=False).splitlines()]
    entries = [entry for part in one.lists for entry in part.entries]
    largest = max(abs(entry.value) for entry in entries)
    rows = [line for line in lines if len(line) > 3 and re.fullmatch(r"[+-]\d+\.\d\d", line[-1])]
    assert [row[0] for row in rows] == [entry.word for entry in entries]
    for row, entry in zip(rows, entries, strict=True):
        bar = row[1] if len(row) == 5 else ""
        assert cells_of(bar) == pytest.approx(30 * abs(entry.value) / largest, abs=1 / 8)


def test_colours_are_used_where_they_are_wanted(tokenizer, monkeypatch):
    one = read_lexicon(classifier(tokenizer), tokenizer).showing(negative=True)
    monkeypatch.setenv("COLORTERM", "truecolor")
    for blue_or_orange in ("\x1b[38;2;13;99;214", "\x1b[38;2;184;82;0"):
        assert blue_or_orange in one.to_terminal(color=True)
    assert "\x1b" not in one.to_terminal()
    assert str(one) == one.to_terminal(color=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "\x1b" in one.to_terminal()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in one.to_terminal()
