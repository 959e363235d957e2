"""Which tokens make up a word: from offsets, with several tokenizers."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from hf_attn import HfAttnTokenizer
from hf_attn.words import find_words

TEXTS = [
    "unbelievable prices rose, didn't they?",
    "he believes in low prices",
    "naïve 🙂 emoji 👩‍👩‍👧 日本語",
    "",
]


def words_in(tokenizer, texts, pairs=None):
    encodings = tokenizer(texts, pairs).encodings
    found = find_words(encodings, texts, pairs)
    rows = []
    for row in range(len(texts)):
        here = slice(*found.of_text[row : row + 2])
        rows.append(
            [
                "<special>" if special else (pairs if in_pair else texts)[row][start:end]
                for (start, end), special, in_pair in zip(
                    found.spans[here].tolist(),
                    found.is_special[here],
                    found.in_pair[here],
                    strict=True,
                )
            ]
        )
    return rows


def trained(algorithm, **options):
    size = 75 if algorithm != "word" else 1000
    return HfAttnTokenizer.train_from_iterator(
        TEXTS, algorithm=algorithm, vocab_size=size, **options
    )


@pytest.mark.parametrize("algorithm", ["word", "wordpiece", "bpe", "unigram"])
def test_words_are_the_same_whatever_the_pieces(algorithm):
    assert words_in(trained(algorithm), TEXTS) == [
        ["unbelievable", "prices", "rose", ",", "didn't", "they", "?"],
        ["he", "believes", "in", "low", "prices"],
        ["naïve", "🙂", "emoji", "👩‍👩‍👧", "日", "本", "語"],
        [],
    ]


def test_sub_words_are_really_several_tokens():
    tokenizer = trained("wordpiece")
    encodings = tokenizer(TEXTS).encodings
    found = find_words(encodings, TEXTS)
    assert len(found.first_token) < sum(map(len, encodings))
    first = [encodings[0].tokens[token] for token in found.first_token[:7]]
    assert not any(token.startswith("##") for token in first)


def byte_level():
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator(TEXTS[:2], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="!")


def test_bytes_of_one_character_are_one_word():
    (words,) = words_in(byte_level(), ["low 🙂 prices"])
    assert [word.strip() for word in words] == ["low", "🙂", "prices"]


def test_accent_that_is_a_token_belongs_to_its_word():
    (words,) = words_in(byte_level(), ["cafe\u0301 low"])
    assert [word.strip() for word in words] == ["cafe\u0301", "low"]


def whole_text_at_once():
    pieces = ["[UNK]", "▁he", "▁be", "lieves", "▁in", "▁", "▁low", "▁pri", "ces"]
    backend = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[UNK]")


def test_white_space_separates_where_the_tokenizer_does_not():
    (words,) = words_in(whole_text_at_once(), ["he believes in  low prices"])
    assert [word.strip() for word in words] == ["he", "believes", "in", "low", "prices"]


def test_special_tokens_are_words_of_their_own_and_pairs_are_told_apart():
    words = words_in(trained("wordpiece"), ["low prices", "he"], ["they rose", ""])
    assert words == [["low", "prices", "<special>", "they", "rose"], ["he", "<special>"]]


def test_no_texts_have_no_words():
    found = find_words([], [])
    assert found.of_text.tolist() == [0]
    assert found.spans.shape == (0, 2)
