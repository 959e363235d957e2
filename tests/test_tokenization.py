"""The tokenizer: what it splits, numbers, refuses, and keeps when it is saved and loaded."""

import json
import os
import random
import re
import subprocess
import sys
import unicodedata

import pytest
from datasets import Dataset
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import hf_attn  # noqa: F401, registers the classes
from hf_attn.configuration_hf_attn import HfAttnConfig
from hf_attn.tokenization_hf_attn import ALGORITHMS, HfAttnTokenizer

TEXTS = [
    "The film is unbelievably good, isn't it?",
    "A believable film: the actors are good (and the music, too).",
    "It\u2019s not good! We'd watched 3.14 of 1,000 minutes...",
    "Le café de l'homme est fermé. İstanbul'da kahve var.",
    "漢字とカナ 東京 ภาษาไทย नमस्ते 한국어",
    "So good 👍🏽 ❤️ 👨\u200d👩\u200d👧 #film @user C++ snake_case",
    "ﬁne ½ price, naïve Ångström Straße",
]
HARD = [
    *TEXTS,
    "Új ŁÓDŹ ÀÉÎ ﬀ Ⅷ \uff21\uff22 ΟΔΟΣ",
    "e-mail: a.b@c.de\t\u00a0x\u3000y\n\u200bz",
    "#" * 5,
]
ON_OTHER = "☃ unbelieved Zażółć films \U0001d518nicode, 12.5% ▁x"
SPELLED_OUT = [unicodedata.normalize("NFD", text) for text in TEXTS]

each_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


def train(algorithm="word", texts=TEXTS, **settings):
    return HfAttnTokenizer.train_from_iterator(texts, algorithm=algorithm, **settings)


def run_python(code, *arguments, **environment):
    """Returns what a fresh interpreter prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def is_word_character(character):
    name = unicodedata.name(character, "")
    unspaced = name.startswith(("CJK", "HIRAGANA", "THAI", "LAO", "KHMER", "MYANMAR"))
    return (unicodedata.category(character)[0] in "LN" or character == "_") and not unspaced


def end_of_word(text, end):
    """Returns where the letters and digits that go on at `end` stop, with their marks."""
    while end < len(text) and (is_word_character(text[end]) or unicodedata.combining(text[end])):
        end += 1
    return end


def reference_words(text):
    """Splits by hand, one character after the other."""
    text = unicodedata.normalize("NFC", text).replace("\u00ad", "").replace("\u2019", "'")
    text = "".join(character.lower() for character in text).replace("i\u0307", "i")
    words, start = [], 0
    while start < len(text):
        end = start + 1
        if text[start].isspace() or unicodedata.category(text[start]) in ("Cc", "Cf"):
            start = end
            continue
        if is_word_character(text[start]):
            end = end_of_word(text, end)
            while re.fullmatch(r"\d[.,]\d", text[end - 1 : end + 2]):
                end = max(end, end_of_word(text, end + 1))
            ending = text[end + 1 : end_of_word(text, end + 1)]
            if text[end : end + 1] == "'" and len(ending) in (1, 2) and ending.isalpha():
                end += 1 + len(ending)
        else:
            while end < len(text) and unicodedata.combining(text[end]):
                end += 1
        words.append(text[start:end])
        start = end
    return words


def random_texts(count, length=40):
    letters = "aabcdestABÉéßİiñ019٣_ωΣЖж漢字かกขカ한½²"
    marks = "'\u2019'..,,!?-#(\"…€☃   \t\n\u00a0\x01\u00ad\u200b\u0301\u0327"
    characters = letters + marks
    return ["".join(random.choices(characters, k=length)) for _ in range(count)]


def test_word_ids_equal_a_dictionary_over_words_split_by_hand():
    texts = random_texts(400)
    known, unknown = texts[:200], texts[200:]
    tokenizer = train(texts=known)
    vocabulary = {word for text in known for word in reference_words(text)}
    assert set(tokenizer.get_vocab()) - {"[PAD]", "[UNK]", "[SEP]"} == vocabulary
    for text in unknown:
        words = [word if word in vocabulary else "[UNK]" for word in reference_words(text)]
        assert tokenizer.tokenize(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't we\u2019ll can't", "don't we'll can't"),
        ("l'homme o'clock 'quoted' rock'n'roll", "l ' homme o ' clock ' quoted ' rock'n ' roll"),
        ("3.14 1,000.50 192.168.0.1 2. a.b", "3.14 1,000.50 192.168.0.1 2 . a . b"),
        ("snake_case C++ #tag a-b", "snake_case c + + # tag a - b"),
        ("👨\u200d👩\u200d👧❤️👍🏽🇩🇪🇫🇷1️⃣", "👨\u200d👩\u200d👧 ❤️ 👍🏽 🇩🇪 🇫🇷 1️⃣"),
        ("東京タワーです", "東 京 タワー で す"),
        ("नमस्ते می\u200cکند 한국어", "नमस्ते می\u200cکند 한국어"),
        ("İSTANBUL STRASSE ΟΔΟΣ", "istanbul strasse οδοσ"),
        ("soft\u00adhyphen zero\u200bwidth nul\x00byte", "softhyphen zero width nul byte"),
    ],
)
def test_words_are_split_as_read(text, words):
    assert train(texts=[text]).tokenize(text) == words.split(" ")


def test_word_vocabulary_is_ordered_by_count_then_alphabet():
    tokenizer = train(texts=["d b a c", "c b", "d"])
    assert tokenizer.convert_ids_to_tokens(range(7)) == [
        *("[PAD]", "[UNK]", "[SEP]"),
        *("b", "c", "d", "a"),
    ]


def test_vocab_size_keeps_the_most_frequent_words():
    assert train(texts=["a a a b b c"], vocab_size=5).tokenize("a b c") == ["a", "b", "[UNK]"]


def test_min_frequency_leaves_rare_words_out():
    assert train(texts=["a a b b c"], min_frequency=2).tokenize("a b c") == ["a", "b", "[UNK]"]


@pytest.mark.parametrize("algorithm", ["wordpiece", "bpe"])
def test_min_frequency_merges_no_rarer_pair(algorithm):
    vocabulary = train(algorithm, ["ab ab cd"], min_frequency=2).get_vocab()
    assert "ab" in vocabulary
    assert "cd" not in vocabulary


def test_lowercase_off_keeps_capitals_apart():
    assert train(texts=["The the"], lowercase=False).tokenize("The the THE") == [
        *("The", "the", "[UNK]"),
    ]


@each_algorithm
def test_strip_accents_makes_one_word_of_both_spellings(algorithm):
    tokenizer = train(algorithm, strip_accents=True)
    plain, accented = "cafe ferme istanbul'da 한국어", "Café fermé İstanbul'da 한국어"
    assert tokenizer(accented)["input_ids"] == tokenizer(plain)["input_ids"]
    assert "[UNK]" not in tokenizer.tokenize(accented)


@each_algorithm
def test_composed_and_decomposed_text_have_the_same_ids(algorithm):
    tokenizer = train(algorithm)
    assert tokenizer(SPELLED_OUT)["input_ids"] == tokenizer(TEXTS)["input_ids"]


@each_algorithm
@pytest.mark.parametrize("settings", [{}, {"strip_accents": True}, {"lowercase": False}])
@pytest.mark.parametrize("text", [*HARD, ON_OTHER])
def test_slices_cover_each_visible_character_in_order(algorithm, settings, text):
    tokenizer = train(algorithm, **settings)
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    assert offsets == sorted(offsets)
    assert all(start < end for start, end in offsets)
    covered = {position for start, end in offsets for position in range(start, end)}
    invisible = ("Zs", "Cc", "Cf")
    visible = {i for i, c in enumerate(text) if unicodedata.category(c) not in invisible}
    assert visible <= covered
    assert not any(text[position].isspace() for position in covered)


@each_algorithm
@pytest.mark.parametrize("text", HARD)
def test_slice_reads_as_its_token(algorithm, text):
    tokenizer = train(algorithm, HARD)
    encoding = tokenizer(text, return_offsets_mapping=True)
    backend = tokenizer.backend_tokenizer
    for token, (start, end) in zip(encoding.tokens(), encoding["offset_mapping"], strict=True):
        if token in ("[UNK]", "▁"):
            continue
        piece = token.removeprefix("▁")
        piece = piece if set(token) == {"#"} else piece.removeprefix("##")
        assert backend.normalizer.normalize_str(text[start:end]) == piece


@each_algorithm
@pytest.mark.parametrize("text", SPELLED_OUT)
def test_slice_of_decomposed_text_leaves_out_accents_at_its_end_only(algorithm, text):
    tokenizer = train(algorithm, ["x y"] if algorithm == "word" else TEXTS)
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    ends = [start for start, _ in offsets[1:]] + [len(text)]
    for (start, end), following in zip(offsets, ends, strict=True):
        if following <= end:
            continue
        left_out = text[end:following].split()
        hangul = unicodedata.name(text[start]).startswith("HANGUL")
        assert hangul or all(unicodedata.combining(c) for c in "".join(left_out[:1]))


@each_algorithm
def test_unknown_characters_become_unk_and_do_not_vanish(algorithm):
    tokenizer = train(algorithm)
    encoding = tokenizer("good ☃ good", return_offsets_mapping=True)
    unknown = encoding["input_ids"].index(tokenizer.unk_token_id)
    assert encoding["offset_mapping"][unknown] == (5, 6)


@each_algorithm
def test_decode_gives_readable_text(algorithm):
    text = "the film is good, isn't it? (1,000 minutes)"
    tokenizer = train(algorithm)
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize("algorithm", ["wordpiece", "bpe", "unigram"])
def test_sub_words_spell_a_word_that_was_not_seen(algorithm):
    tokenizer = train(algorithm)
    assert len(tokenizer.tokenize("filmable")) > 1
    assert "[UNK]" not in tokenizer.tokenize("filmable")
    assert tokenizer.decode(tokenizer("a filmable word")["input_ids"]) == "a filmable word"


@each_algorithm
def test_special_tokens_have_the_first_ids(algorithm):
    tokenizer = train(algorithm)
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.sep_token_id) == (0, 1, 2)
    assert tokenizer.all_special_tokens == ["[UNK]", "[SEP]", "[PAD]"]
    assert sorted(tokenizer.added_tokens_decoder) == [0, 1, 2]
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))


@each_algorithm
def test_separator_stands_between_a_pair_only(algorithm):
    tokenizer = train(algorithm)
    first, second = (tokenizer(text)["input_ids"] for text in TEXTS[:2])
    assert 2 not in first + second
    assert tokenizer(*TEXTS[:2])["input_ids"] == [*first, 2, *second]


@each_algorithm
def test_empty_text_has_no_tokens(algorithm):
    tokenizer = train(algorithm)
    assert tokenizer("")["input_ids"] == []
    assert tokenizer([" \n\u200b \u200d", "good"], padding=True)["attention_mask"][0] == [0] * len(
        tokenizer("good")["input_ids"]
    )


def test_tokenizer_returns_only_what_the_model_takes():
    assert list(train()("good", "film")) == ["input_ids", "attention_mask"]


def test_model_max_length_is_8192_unless_set():
    assert train().model_max_length == 8192
    assert train(model_max_length=5).model_max_length == 5


def test_truncation_cuts_single_texts_and_pairs():
    tokenizer = train(model_max_length=5)
    whole = tokenizer(TEXTS[1])["input_ids"]
    assert tokenizer(TEXTS[1], truncation=True)["input_ids"] == whole[:5]
    assert tokenizer(TEXTS[1], TEXTS[1], truncation=True)["input_ids"] == [
        *(*whole[:2], 2, *whole[:2]),
    ]


def test_further_arguments_reach_the_tokenizer():
    assert train(padding_side="left").padding_side == "left"


@each_algorithm
def test_training_twice_gives_the_same_file(algorithm):
    texts = random_texts(150)
    files = {train(algorithm, texts).backend_tokenizer.to_str() for _ in range(6)}
    assert len(files) == 1


def test_training_gives_the_same_file_in_any_process():
    code = """
import json, sys
from hf_attn.tokenization_hf_attn import ALGORITHMS, HfAttnTokenizer
texts = json.loads(sys.argv[1])
train = HfAttnTokenizer.train_from_iterator
print(json.dumps([train(texts, algorithm=a).backend_tokenizer.to_str() for a in ALGORITHMS]))
"""
    texts = random_texts(150)
    here = [train(algorithm, texts).backend_tokenizer.to_str() for algorithm in ALGORITHMS]
    for parallel, seed in (("true", "1"), ("false", "2")):
        argument = json.dumps(texts)
        there = run_python(code, argument, TOKENIZERS_PARALLELISM=parallel, PYTHONHASHSEED=seed)
        assert there == here


@each_algorithm
def test_any_iterable_of_strings_trains_the_same(algorithm):
    expected = train(algorithm).backend_tokenizer.to_str()
    column = Dataset.from_dict({"text": TEXTS})["text"]
    for texts in ((text for text in TEXTS), tuple(TEXTS), column):
        assert train(algorithm, texts).backend_tokenizer.to_str() == expected


@each_algorithm
def test_train_new_from_iterator_keeps_everything_but_the_vocabulary(algorithm):
    tokenizer = train(algorithm, model_max_length=77)
    new = tokenizer.train_new_from_iterator(["Ünseen çases, ünseen words"], 200)
    assert type(new) is HfAttnTokenizer
    assert new.model_max_length == 77
    assert (new.pad_token_id, new.unk_token_id, new.sep_token_id) == (0, 1, 2)
    encoding = new("ünseen", "WORDS", return_offsets_mapping=True)
    assert encoding["input_ids"].count(2) == 1
    assert 1 not in encoding["input_ids"]
    assert 1 in new("film")["input_ids"]


@each_algorithm
def test_saved_tokenizer_reloads_identical(algorithm, tmp_path):
    tokenizer = train(algorithm, model_max_length=77)
    tokenizer.save_pretrained(tmp_path)
    loaded = HfAttnTokenizer.from_pretrained(tmp_path)
    assert type(loaded) is HfAttnTokenizer
    assert loaded.model_max_length == 77
    assert loaded.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    texts = [*HARD, ON_OTHER, "", *SPELLED_OUT]
    assert dict(loaded(texts, texts, return_offsets_mapping=True)) == dict(
        tokenizer(texts, texts, return_offsets_mapping=True)
    )


LOAD = """
import json, sys
texts, local, folders = json.loads(sys.argv[1]), sys.argv[2] == "local", sys.argv[3:]
if local:
    import hf_attn
else:
    sys.modules["hf_attn"] = None  # any import of it fails
from transformers import AutoTokenizer
loaded = []
for folder in folders:
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=not local)
    encoding = dict(tokenizer(texts, return_offsets_mapping=True))
    loaded.append([type(tokenizer).__name__, type(tokenizer).__module__, encoding])
print(json.dumps(loaded))
"""


@pytest.mark.parametrize("place", ["local", "remote"])
def test_auto_tokenizer_loads_identical_in_a_fresh_process(place, tmp_path):
    assert AutoTokenizer  # loading it registers our class for remote code
    texts, expected, folders = [*HARD, ON_OTHER, ""], [], []
    for algorithm in ALGORITHMS:
        tokenizer = train(algorithm)
        folders.append(tmp_path / algorithm)
        HfAttnConfig(vocab_size=len(tokenizer)).save_pretrained(folders[-1])
        tokenizer.save_pretrained(folders[-1])
        expected.append(dict(tokenizer(texts, return_offsets_mapping=True)))
    for name, module, encoding in run_python(LOAD, json.dumps(texts), place, *folders):
        assert name == "HfAttnTokenizer"
        assert module.startswith("hf_attn." if place == "local" else "transformers_modules.")
        assert encoding == json.loads(json.dumps(expected.pop(0)))


def test_any_fast_tokenizer_takes_its_place_beside_the_model(tmp_path):
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "<pad>": 1, "GOOD": 2}, unk_token="<unk>"))
    backend.normalizer = normalizers.Replace("ood", "OOD")
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    other = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>", model_max_length=9
    )
    HfAttnConfig(vocab_size=3, pad_token_id=1).save_pretrained(tmp_path)
    other.save_pretrained(tmp_path)
    [[_, _, encoding]] = run_python(LOAD, json.dumps(["Good film"]), "local", tmp_path)
    assert encoding["input_ids"] == [[2, 0]]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"algorithm": "word_piece"}, ValueError, "Did you mean algorithm='wordpiece'"),
        ({"algorithm": "xyz"}, ValueError, r"must be one of \('word', .*, not 'xyz'\.$"),
        ({"vocab_size": 3}, ValueError, "vocab_size must be 4 or more .*, not 3"),
        ({"vocab_size": 1e4}, TypeError, "vocab_size must be a whole number, not 10000.0"),
        ({"min_frequency": 0}, ValueError, "min_frequency must be 1 or more .*, not 0"),
        ({"min_frequency": 99}, ValueError, "occurs min_frequency=99 times .*min_frequency=1"),
        ({"model_max_length": 0}, ValueError, "model_max_length must be 1 or more .*, not 0"),
        ({"algorithm": "unigram", "min_frequency": 2}, ValueError, "has no meaning: leave it out"),
    ],
)
def test_impossible_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        train(**settings)


@pytest.mark.parametrize("algorithm", ["wordpiece", "bpe", "unigram"])
def test_vocab_size_below_the_alphabet_is_refused_with_the_least_that_works(algorithm):
    with pytest.raises(ValueError, match=r"needs vocab_size=\d+ or more") as caught:
        train(algorithm, vocab_size=4)
    least = int(str(caught.value).rsplit("=", 1)[1].split()[0])
    assert len(train(algorithm, vocab_size=least)) <= least
    with pytest.raises(ValueError, match="no room for each character"):
        train(algorithm, vocab_size=least - 1)


@each_algorithm
@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("one text", TypeError, r"not str 'one text': put a single text into a list"),
        (None, TypeError, "must be an iterable of strings, not NoneType None"),
        ([], ValueError, "must hold at least one text, but is empty"),
        (["", " \n", "\u200b"], ValueError, "there is none: pass texts that are not empty"),
        (["a", None], TypeError, r"texts\[1\] must be a string, not NoneType None: drop it"),
        (["a", ["b"]], TypeError, r"texts\[1\] must be a string, not list"),
        (["a", "b", "c\ud800"], ValueError, r"texts\[2\] must be valid Unicode.* at position 1"),
    ],
)
def test_texts_that_cannot_be_learned_from_are_refused(algorithm, texts, error, message):
    with pytest.raises(error, match=message):
        train(algorithm, texts)
