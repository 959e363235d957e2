"""The predictor's encoder: the ids and the words of the ordinary tokenizer, only faster."""

import functools
import itertools
import json
import os
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, BertTokenizer, ByT5Tokenizer

from hf_attn import HfAttnTokenizer, InputError
from hf_attn.predictor import by_chunks, chunk_table, encoding, pipelines
from hf_attn.predictor.encoding import TextEncoder
from hf_attn.predictor.pipelines import lowercases, splits_at_white_space
from hf_attn.tokenization_hf_attn import ALGORITHMS, _build_backend
from hf_attn.words import find_words

BENCHMARKS = os.environ.get("HF_ATTN_BENCHMARK_DATA", "")
TEXTS = [
    "The film is unbelievably good, isn't it?",
    "A believable film: the actors are good (and the music, too).",
    "It\u2019s not good! We'd watched 3.14 of 1,000 minutes... 2. 3,x .5 1.2.3",
    "Le café de l'homme est fermé. İstanbul'da kahve var. rock'n'roll o'clock don'ts",
    "漢字とカナ 東京 ภาษาไทย नमस्ते 한국어",
    "So good 👍🏽 ❤️ 👨\u200d👩\u200d👧 #film @user C++ snake_case e-mail: a.b@c.de",
    "[SEP] x[PAD]y [sep] [UNK][UNK] don't[SEP]ll 3.[SEP]5 [ SEP ] [SEP",
    "",
    " \t\n\v\f\r ",
    "a\tb\nc\vd\fe\rf  g \n h",
    "a\x1cb\x1dc\x1ed\x1fe\x85f\xa0g\u2028h\u3000i\0j\x7fk\x01",
    "\u0301film \u0301 \u0327film fi\u0301lm e\u0301 \u200d x\u200d \u200cy",
    "so\u00adft \u00ad \u00adhy \u200b\u200e \ufeffbom ΟΔΟΣ ΣΑΣ İ İI \u2126 \u212a \uff21",
    "\u0600 film \u06dd1 \U000110bda \u0d4e x",
    unicodedata.normalize("NFD", "Zażółć gęślą Ångström Été không"),
    "▁ ▁a a▁b ▁▁ _ __a",
]
OPTIONS = [
    {"algorithm": algorithm, "lowercase": lowercase, "strip_accents": strip_accents}
    for algorithm, lowercase, strip_accents in itertools.product(ALGORITHMS, *[(True, False)] * 2)
]
DATA_SETS = (
    *("banking77", "clinc150", "cooking", "eraser_movies", "goemotions", "langid75", "ohsumed"),
    *("sst2", "sst_tokens", "trec", "tweeteval_emotion", "tweeteval_irony"),
    *("tweeteval_offensive", "vader_tweets"),
)
SEPARATORS = [*" \t\n\v\f\r\x1c\x1d\x1e\x1f\0\x01\x85\xa0\u1680\u2003\u2028\u2029\u3000"]
# What the tokenizers treat differently, so that chance finds their combinations.
CHARACTERS = st.one_of(
    st.sampled_from(
        "abIi\u017fßéÉ\u0301\u0327\u0307İ\u03a3\u03c3漢กनि'\u2019.,!?-_#▁\u00ad[]109٣½👍🏽\u200d\ufe0f🇩🇪"
    ),
    st.sampled_from(" \t\n\v\f\r\x1c\x1f\x85\xa0\u2028\u3000\0\x7f\u200b\u0600\u0d4e"),
    st.characters(exclude_categories=["Cs"]),
)
PIECES = st.one_of(
    st.sampled_from(["[SEP]", "[PAD]", "[UNK]", "film", "good,", "don't", "3.14", " ", "  "]),
    st.text(CHARACTERS, max_size=6),
)
RANDOM_TEXT = st.lists(PIECES, max_size=10).map("".join)
RANDOM_TEXTS = st.lists(RANDOM_TEXT, max_size=5)
RANDOM_PAIRS = st.lists(st.tuples(RANDOM_TEXT, RANDOM_TEXT), max_size=3)
MAX_LENGTH = st.integers(1, 9)

each_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)
each_option = pytest.mark.parametrize(
    "options", OPTIONS, ids=lambda one: "-".join(map(str, one.values()))
)
each_side = pytest.mark.parametrize("side", ["right", "left"])
some_random_text = settings(max_examples=40, deadline=None, derandomize=True, database=None)
much_random_text = settings(some_random_text, max_examples=2000)


@pytest.fixture(params=["few", "many"])
def way(request, monkeypatch):
    """Texts are split by Python where there are few characters, or all by Arrow."""
    if request.param == "many":
        monkeypatch.setattr(by_chunks, "_FEW_CHARACTERS", -(10**9))


@functools.cache
def trained(algorithm="word", **options):
    return HfAttnTokenizer.train_from_iterator(TEXTS, algorithm=algorithm, **options)


@functools.cache
def encoder_of(tokenizer):
    return TextEncoder.from_tokenizer(tokenizer)


def assert_encodes_alike(encoder, tokenizer, texts, pairs=None):
    encoded = encoder.encode(texts, pairs)
    assert encoded.token_ids.dtype == np.int32
    assert encoded.lengths.dtype == np.int64
    if not texts:  # which transformers cannot encode
        assert (len(encoded.token_ids), len(encoded.lengths), len(encoded.cut)) == (0, 0, 0)
        return
    expected = tokenizer(texts, pairs, truncation=True)
    assert encoded.lengths.tolist() == list(map(len, expected["input_ids"]))
    assert encoded.token_ids.tolist() == list(itertools.chain(*expected["input_ids"]))
    assert encoded.cut.tolist() == [bool(one.overflowing) for one in expected.encodings]
    words = find_words(expected.encodings, texts, pairs)
    for name, value in encoded.words()._asdict().items():
        np.testing.assert_array_equal(value, getattr(words, name), err_msg=name)


# What is recognised


@each_option
def test_every_tokenizer_of_ours_is_recognised(options):
    backend = trained(**options).backend_tokenizer
    assert splits_at_white_space(backend)
    assert lowercases(backend) == options["lowercase"]


def test_no_other_parts_are_recognised_than_are_built():
    backends = [_build_backend(**options) for options in OPTIONS]
    template = trained().backend_tokenizer.post_processor
    assert {pipelines.digest(one.normalizer) for one in backends} == pipelines._NORMALIZERS
    assert {pipelines.digest(one.pre_tokenizer) for one in backends} == pipelines._PRE_TOKENIZERS
    assert {pipelines.digest(template)} == pipelines._POST_PROCESSORS


def lower_only(backend):
    backend.normalizer = normalizers.Lowercase()


def split_nothing(backend):
    backend.pre_tokenizer = pre_tokenizers.Metaspace(split=False)


def end_with_a_separator(backend):
    backend.post_processor = processors.TemplateProcessing(
        single="$A [SEP]", pair="$A [SEP] $B [SEP]", special_tokens=[("[SEP]", 2)]
    )


def take_two_words_for_one(backend):
    backend.add_tokens([AddedToken("good film")])


def take_white_space_with_a_separator(backend):
    backend.add_special_tokens([AddedToken("[SEP]", lstrip=True, normalized=False)])


@pytest.mark.parametrize(
    "change",
    [
        lower_only,
        split_nothing,
        end_with_a_separator,
        take_two_words_for_one,
        take_white_space_with_a_separator,
    ],
)
def test_a_changed_tokenizer_is_not_recognised_and_encoded_as_it_is(change):
    tokenizer = HfAttnTokenizer.train_from_iterator([*TEXTS, "a good film"], model_max_length=7)
    change(tokenizer.backend_tokenizer)
    assert not splits_at_white_space(tokenizer.backend_tokenizer)
    encoder = TextEncoder.from_tokenizer(tokenizer)
    assert_encodes_alike(encoder, tokenizer, ["a good film [SEP] is", *TEXTS])
    assert_encodes_alike(encoder, tokenizer, TEXTS, TEXTS[::-1])


def bert_like(folder):
    """A tokenizer that puts tokens around each text, saved and loaded as transformers does."""
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "is", "good", "##s", "!"]
    (folder / "vocab.txt").write_text("\n".join(vocab))
    BertTokenizer(str(folder / "vocab.txt"), model_max_length=6).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def test_any_fast_tokenizer_is_encoded_as_it_is(tmp_path):
    tokenizer = bert_like(tmp_path)
    for encoder in (TextEncoder.from_tokenizer(tokenizer), TextEncoder.from_folder(tmp_path)):
        assert_encodes_alike(encoder, tokenizer, ["The films is good!", "film " * 9, ""])
        assert_encodes_alike(encoder, tokenizer, ["The film", "film " * 9], ["is", "good!"])


# What the ids and words are


@each_option
def test_ids_and_words_equal_the_tokenizers(options, way):
    tokenizer = trained(**options)
    encoder = TextEncoder.from_tokenizer(tokenizer)
    for texts in (TEXTS, TEXTS[::-1], TEXTS * 30, TEXTS, []):
        assert_encodes_alike(encoder, tokenizer, texts)


def check_random_texts(algorithm, texts):
    tokenizer = trained(algorithm)
    assert_encodes_alike(encoder_of(tokenizer), tokenizer, texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_chunks, "_FEW_CHARACTERS", -(10**9))
        assert_encodes_alike(encoder_of(tokenizer), tokenizer, texts)
        assert_encodes_alike(TextEncoder.from_tokenizer(tokenizer), tokenizer, texts)


def check_random_pairs(algorithm, side, max_length, pairs):
    tokenizer = trained(algorithm, truncation_side=side)
    encoder = TextEncoder(
        Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()),
        max_length=max_length,
        truncation_side=side,
    )
    first, second = [one for one, _ in pairs], [two for _, two in pairs]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer, "model_max_length", max_length)
        assert_encodes_alike(encoder, tokenizer, first)
        assert_encodes_alike(encoder, tokenizer, first, second)
        patch.setattr(by_chunks, "_MANY_CHARACTERS", 8)
        patch.setattr(by_chunks, "_CHARACTERS_PER_TOKEN", 1)
        assert_encodes_alike(encoder, tokenizer, first)
        assert_encodes_alike(encoder, tokenizer, first, second)


@each_algorithm
@given(texts=RANDOM_TEXTS)
@some_random_text
def test_ids_and_words_of_random_unicode_equal_the_tokenizers(algorithm, texts):
    check_random_texts(algorithm, texts)


@pytest.mark.slow
@each_algorithm
@given(texts=RANDOM_TEXTS)
@much_random_text
def test_ids_and_words_of_much_random_unicode_equal_the_tokenizers(algorithm, texts):
    check_random_texts(algorithm, texts)


@each_algorithm
@each_side
@given(max_length=MAX_LENGTH, pairs=RANDOM_PAIRS)
@some_random_text
def test_texts_and_pairs_are_cut_as_the_tokenizer_does(algorithm, side, max_length, pairs):
    check_random_pairs(algorithm, side, max_length, pairs)


@pytest.mark.slow
@each_algorithm
@each_side
@given(max_length=MAX_LENGTH, pairs=RANDOM_PAIRS)
@much_random_text
def test_many_texts_and_pairs_are_cut_as_the_tokenizer_does(algorithm, side, max_length, pairs):
    check_random_pairs(algorithm, side, max_length, pairs)


@each_algorithm
@given(text=RANDOM_TEXT, separator=st.sampled_from(SEPARATORS), other=RANDOM_TEXT)
@some_random_text
def test_nothing_in_a_text_reaches_across_what_separates(algorithm, text, separator, other):
    ids = [trained(algorithm)(one)["input_ids"] for one in (text, other, text + separator + other)]
    assert ids[2] == ids[0] + ids[1]


def test_every_short_ascii_chunk_has_the_tokenizers_words():
    """The dictionary of words, which has a regular expression of its own."""
    chunks = [
        "".join(one) for size in range(1, 7) for one in itertools.product("a1.'_-", repeat=size)
    ]
    tokenizer = HfAttnTokenizer.train_from_iterator(chunks)
    encoded = TextEncoder.from_tokenizer(tokenizer).encode(chunks)
    expected = [one.ids for one in tokenizer.backend_tokenizer.encode_batch_fast(chunks)]
    assert encoded.token_ids.tolist() == [*itertools.chain(*expected)]
    assert encoded.lengths.tolist() == list(map(len, expected))


def test_words_of_some_texts_are_those_of_these_texts_alone():
    encoded = encoder_of(trained()).encode(TEXTS)
    expected = encoder_of(trained()).encode([TEXTS[5], TEXTS[0]]).words()
    for value, wanted in zip(encoded.words([5, 0]), expected, strict=True):
        np.testing.assert_array_equal(value, wanted)


def test_special_tokens_are_split_where_the_tokenizer_splits_them():
    tokenizer = HfAttnTokenizer.train_from_iterator(TEXTS, split_special_tokens=True)
    assert tokenizer("[SEP]")["input_ids"] != trained()("[SEP]")["input_ids"]
    assert_encodes_alike(TextEncoder.from_tokenizer(tokenizer), tokenizer, TEXTS)


def test_texts_without_a_limit_are_not_cut():
    tokenizer = HfAttnTokenizer.train_from_iterator(TEXTS, model_max_length=int(1e30))
    encoded = TextEncoder.from_tokenizer(tokenizer).encode(["film " * 20_000], ["good"])
    assert encoded.lengths.tolist() == [20_002]
    assert not encoded.cut.any()


# Where it is loaded from

LOAD = """
import json, sys
from pathlib import Path
from hf_attn.predictor.encoding import TextEncoder
encoder = TextEncoder.from_folder(Path(sys.argv[1]))
encoded = encoder.encode(json.load(sys.stdin))
encoded.words()
print(json.dumps([encoded.token_ids.tolist(), sorted({"torch", "transformers"} & {*sys.modules})]))
"""


@each_algorithm
@each_side
def test_folder_gives_the_same_ids_without_torch_and_transformers(algorithm, side, tmp_path):
    tokenizer = trained(algorithm, model_max_length=5, truncation_side=side)
    expected = [*itertools.chain(*tokenizer(TEXTS, truncation=True)["input_ids"])]
    tokenizer.save_pretrained(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path)],
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [expected, []]


def test_side_that_is_set_after_loading_is_kept_in_the_folder(tmp_path):
    tokenizer = HfAttnTokenizer.train_from_iterator(TEXTS, model_max_length=5)
    tokenizer.truncation_side = "left"
    tokenizer(TEXTS, truncation=True)
    tokenizer.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).truncation_side == "left"
    assert_encodes_alike(TextEncoder.from_folder(tmp_path), tokenizer, TEXTS)


def test_tokenizer_is_left_as_it_was():
    tokenizer = HfAttnTokenizer.train_from_iterator(TEXTS, model_max_length=5)
    before = tokenizer.backend_tokenizer.to_str()
    TextEncoder.from_tokenizer(tokenizer).encode(TEXTS)
    assert tokenizer.backend_tokenizer.to_str() == before


# What it remembers


@each_algorithm
def test_table_of_chunks_is_bounded(algorithm, monkeypatch, way):
    monkeypatch.setattr(chunk_table, "MOST_CHUNKS", 50)
    monkeypatch.setattr(chunk_table, "_MOST_HOT", 20)
    monkeypatch.setattr(encoding, "_TEXTS_AT_ONCE", 10)
    tokenizer = trained(algorithm)
    encoder = TextEncoder.from_tokenizer(tokenizer)
    new_words = [f"film{number} {number // 3} good" for number in range(300)]
    for texts in (new_words, [*TEXTS, *new_words[::-1]]):
        assert_encodes_alike(encoder, tokenizer, texts)
        encoder.encode(texts)
        table = encoder._encoder._table
        assert len(table._chunks) == len(table._known) <= 50 + 10 * 12
        assert len(table._hot[0]) <= 20


def test_table_of_chunks_forgets_many_characters(monkeypatch):
    monkeypatch.setattr(chunk_table, "MOST_CHARACTERS", 1000)
    encoder = TextEncoder.from_tokenizer(trained())
    encoder.encode(["a" * 1001])
    assert encoder.encode(["good film"]).lengths.tolist() == [2]
    assert encoder._encoder._table._num_characters < 20


def test_a_chunk_is_encoded_once(monkeypatch, way):
    encoder = TextEncoder.from_tokenizer(trained("bpe"))
    chunks = encoder._encoder._chunk_encoder
    new = []
    encode = chunks.encode
    monkeypatch.setattr(chunks, "encode", lambda chunks: new.extend(chunks) or encode(chunks))
    for _ in range(3):
        encoder.encode(["good film , good film ! ", "film , ", "so good ! "] * 2)
    assert sorted(chunk.strip() for chunk in new) == ["!", ",", "film", "good", "so"]


@each_algorithm
def test_threads_may_share_an_encoder(algorithm, monkeypatch, way):
    monkeypatch.setattr(encoding, "_TEXTS_AT_ONCE", 8)
    tokenizer = trained(algorithm)
    encoder = TextEncoder.from_tokenizer(tokenizer)
    texts = [f"{text} film{number}" for number, text in enumerate(TEXTS * 20)]
    expected = [*itertools.chain(*tokenizer(texts)["input_ids"])]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: encoder.encode(texts).token_ids.tolist(), range(8)))
    assert found == [expected] * 8


# Long texts


@each_side
@each_algorithm
def test_of_a_text_of_ten_megabytes_no_more_is_read_than_is_kept(algorithm, side, monkeypatch):
    tokenizer = trained(algorithm, truncation_side=side)
    long = "A good film 3.14, isn't it? " * 360_000
    ids = tokenizer([long[:200_000], long[-200_000:]], truncation=True)["input_ids"]
    encoder = TextEncoder.from_tokenizer(tokenizer)
    read = []
    split = by_chunks._split
    monkeypatch.setattr(
        by_chunks,
        "_split",
        lambda texts, table: read.extend(map(len, texts)) or split(texts, table),
    )
    encoded = encoder.encode([long])
    assert encoded.token_ids.tolist() == ids[side == "left"]
    assert encoded.cut.tolist() == [True]
    assert sum(read) < 200_000


@pytest.mark.parametrize("text", ["漢字" * 1_700_000, "." * 10_000_000, " " * 10_000_000])
def test_of_a_long_text_without_words_no_more_is_read_than_is_kept(text):
    tokenizer = trained("bpe")
    expected = tokenizer([text[:20_000]], truncation=True)["input_ids"]
    encoded = encoder_of(tokenizer).encode([text])
    assert [encoded.token_ids.tolist()] == expected


def test_left_part_of_a_long_text_begins_as_the_whole_text_does_there(monkeypatch):
    """Where a piece that marks a beginning would split what follows it differently."""
    monkeypatch.setattr(by_chunks, "_MANY_CHARACTERS", 10)
    monkeypatch.setattr(by_chunks, "_CHARACTERS_PER_TOKEN", 1)
    tokenizer = HfAttnTokenizer.train_from_iterator(TEXTS, algorithm="unigram")
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    pieces = {"▁漢": -1.0, "\u0301": -1.0, "漢\u0301": -1.5, "▁": -9.0, "漢": -9.0}
    state["model"]["vocab"] = [*state["model"]["vocab"][:3], *pieces.items()]
    backend = Tokenizer.from_str(json.dumps(state))
    encoder = TextEncoder(backend, max_length=5, truncation_side="left")
    encoded = encoder.encode(["漢" * 50 + "漢\u0301" * 5])
    assert encoded.token_ids.tolist() == [backend.token_to_id("漢\u0301")] * 5


def test_a_chunk_that_the_tokenizer_cannot_take_is_refused():
    with pytest.raises(InputError, match=r"at most 2097152 characters .*, got 2500000, .*'👍👍"):
        encoder_of(trained()).encode(["good", "👍" * 2_500_000])
    assert encoder_of(trained()).encode(["a" * 2_500_000]).token_ids.tolist() == [1]


# What is refused


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "other"])
def test_texts_that_are_none_are_refused(algorithm, tmp_path, way):
    tokenizer = bert_like(tmp_path) if algorithm == "other" else trained(algorithm)
    encoder = TextEncoder.from_tokenizer(tokenizer)
    with pytest.raises(InputError, match=r"lone surrogate at position 1 of 'x\\ud800'"):
        encoder.encode(["good", "x\ud800"])
    with pytest.raises(InputError, match=r"lone surrogate at position 0 of '\\udfff'"):
        encoder.encode(["good", "film"], ["good", "\udfff"])
    for text in (None, 3, b"good"):
        with pytest.raises(InputError, match=f"texts that are strings, got {type(text).__name__}"):
            encoder.encode(["good", text])
    with pytest.raises(InputError, match=r"got one string 'good': put it into a list"):
        encoder.encode("good")
    with pytest.raises(InputError, match="a second text for each of the 2 texts, got 1"):
        encoder.encode(["good", "film"], ["good"])
    assert_encodes_alike(encoder, tokenizer, ["good", "film"])


def test_kinds_of_sequences_and_strings_are_taken():
    expected = encoder_of(trained()).encode(TEXTS).token_ids.tolist()
    for texts in (tuple(TEXTS), np.array(TEXTS), Dataset.from_dict({"text": TEXTS})["text"]):
        assert encoder_of(trained()).encode(texts).token_ids.tolist() == expected


def test_tokenizer_that_is_no_fast_one_is_refused():
    with pytest.raises(InputError, match="a fast tokenizer, got ByT5Tokenizer"):
        TextEncoder.from_tokenizer(ByT5Tokenizer())


def test_folder_without_its_files_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"expected tokenizer.json in .*save_pretrained"):
        TextEncoder.from_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match=r"tokenizer.json cannot be read: .* Save the tokenizer"):
        TextEncoder.from_folder(tmp_path)
    trained().save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"truncation_side": "up"}')
    with pytest.raises(InputError, match="truncation_side 'left' or 'right', got 'up'"):
        TextEncoder.from_folder(tmp_path)


# Real data


@functools.cache
def benchmark_texts(name):
    texts = []
    for split in ("train", "validation", "test"):
        with (Path(BENCHMARKS) / name / f"{split}.jsonl").open(encoding="utf-8") as lines:
            rows = map(json.loads, lines)
            texts += [row["text"] if "text" in row else " ".join(row["tokens"]) for row in rows]
    return texts


@functools.cache
def trained_on_benchmarks(algorithm):
    texts = [text for name in DATA_SETS for text in benchmark_texts(name)[::100]]
    return HfAttnTokenizer.train_from_iterator(texts, algorithm=algorithm)


def check_benchmark(name, algorithm, step):
    tokenizer = trained_on_benchmarks(algorithm)
    texts = benchmark_texts(name)[::step]
    for start in range(0, len(texts), 2048):
        assert_encodes_alike(encoder_of(tokenizer), tokenizer, texts[start : start + 2048])


@pytest.mark.skipif(not BENCHMARKS, reason="HF_ATTN_BENCHMARK_DATA is not set")
@each_algorithm
@pytest.mark.parametrize("name", DATA_SETS)
def test_ids_and_words_of_some_benchmark_texts_equal_the_tokenizers(name, algorithm):
    check_benchmark(name, algorithm, step=97)


@pytest.mark.slow
@pytest.mark.skipif(not BENCHMARKS, reason="HF_ATTN_BENCHMARK_DATA is not set")
@each_algorithm
@pytest.mark.parametrize("name", DATA_SETS)
def test_ids_and_words_of_all_benchmark_texts_equal_the_tokenizers(name, algorithm):
    check_benchmark(name, algorithm, step=1)
