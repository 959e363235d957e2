"""The predictor's encoder: the ids and the words of the ordinary tokenizer, only faster."""

import itertools

import numpy as np
import pytest

from hf_attn import HfAttnTokenizer
from hf_attn.predictor.encoding import TextEncoder
from hf_attn.predictor.pipelines import splits_at_white_space
from hf_attn.tokenization_hf_attn import ALGORITHMS
from hf_attn.words import find_words

TEXTS = [
    "The film is unbelievably good, isn't it?",
    "A believable film: the actors are good (and the music, too).",
    "It\u2019s not good! We'd watched 3.14 of 1,000 minutes...",
    "Le café de l'homme est fermé. İstanbul'da kahve var.",
    "漢字とカナ 東京 ภาษาไทย नमस्ते 한국어",
    "So good 👍🏽 ❤️ 👨\u200d👩\u200d👧 #film @user C++ snake_case [SEP] x[PAD]y",
    "",
    " \t\n",
]
OPTIONS = [
    {"algorithm": algorithm, "lowercase": lowercase, "strip_accents": strip_accents}
    for algorithm, lowercase, strip_accents in itertools.product(ALGORITHMS, *[(True, False)] * 2)
]


def trained(texts=TEXTS, **options):
    return HfAttnTokenizer.train_from_iterator(texts, **options)


def assert_encodes_alike(encoder, tokenizer, texts, pairs=None):
    encoded = encoder.encode(texts, pairs)
    expected = tokenizer(texts, pairs, truncation=True)
    assert encoded.lengths.tolist() == list(map(len, expected["input_ids"]))
    assert encoded.token_ids.tolist() == list(itertools.chain(*expected["input_ids"]))
    assert encoded.cut.tolist() == [bool(one.overflowing) for one in expected.encodings]
    words = find_words(expected.encodings, texts, pairs)
    for actual, wanted in zip(encoded.words(), words, strict=True):
        np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize("options", OPTIONS)
def test_every_tokenizer_of_ours_is_recognised(options):
    assert splits_at_white_space(trained(**options).backend_tokenizer)


@pytest.mark.parametrize("options", OPTIONS)
def test_ids_and_words_equal_the_tokenizers(options):
    tokenizer = trained(**options)
    encoder = TextEncoder.from_tokenizer(tokenizer)
    for texts in (TEXTS, TEXTS * 20, TEXTS * 20):
        assert_encodes_alike(encoder, tokenizer, texts)
