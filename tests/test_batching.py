"""Batches: what is padded, what is grouped, and that the order hangs on seed and epoch alone."""

import datasets
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hf_attn import HfAttnTokenizer
from hf_attn.batching import LengthGroupedSampler, TokenizedTexts, keep_batch, label_array

TEXTS = ["a b c d e", "", "b", "c d", "e e e", "a b c d"]


def tokenizer(**options):
    return HfAttnTokenizer.train_from_iterator(TEXTS, **options)


def texts(labels=None):
    return TokenizedTexts.from_texts(TEXTS, tokenizer(), labels=labels)


def test_batch_equals_what_the_tokenizer_pads():
    tokens = tokenizer()
    batch = texts().batch([4, 1, 0])
    expected = tokens([TEXTS[4], TEXTS[1], TEXTS[0]], padding=True, return_tensors="pt")
    assert torch.equal(batch["input_ids"], expected["input_ids"])
    assert torch.equal(batch["attention_mask"].long(), expected["attention_mask"])


def test_batch_of_pairs_equals_what_the_tokenizer_pads():
    tokens = tokenizer()
    pairs = TokenizedTexts.from_texts(TEXTS, tokens, TEXTS[::-1])
    expected = tokens(TEXTS, TEXTS[::-1], padding=True, return_tensors="pt")
    assert torch.equal(pairs.batch(range(6))["input_ids"], expected["input_ids"])


def test_batch_of_empty_texts_has_no_columns():
    batch = texts().batch([1, 1])
    assert batch["input_ids"].shape == (2, 0)
    assert batch["input_ids"].dtype == torch.int64


def test_data_loader_takes_whole_batches():
    loader = DataLoader(texts(np.arange(6)), batch_size=4, collate_fn=keep_batch)
    first, second = loader
    assert first["input_ids"].shape == (4, 5)
    assert second["labels"].tolist() == [4, 5]


def test_sorted_by_length_keeps_texts_whole_and_tells_where_they_stood():
    ordered, order = texts(np.arange(6)).sorted_by_length()
    assert ordered.lengths.tolist() == [5, 4, 3, 2, 1, 0]
    assert ordered.labels.tolist() == order.tolist() == [0, 5, 4, 3, 2, 1]
    batch, same = ordered.batch([1]), texts().batch([5])
    assert torch.equal(batch["input_ids"], same["input_ids"])


def test_truncation_is_counted():
    cut = TokenizedTexts.from_texts(TEXTS, tokenizer(model_max_length=3))
    assert cut.lengths.max() == 3
    assert cut.num_truncated == 2


@pytest.mark.parametrize(
    ("column", "feature", "expected"),
    [
        ("label", datasets.ClassLabel(names=["x", "y"]), [0, 1]),
        ("label", datasets.Value("float32"), [0.5, -2.0]),
        ("labels", datasets.List(datasets.ClassLabel(names=["x", "y", "z"])), [[2, 0], []]),
    ],
)
def test_label_array_is_what_the_model_takes(column, feature, expected):
    features = datasets.Features({"text": datasets.Value("string"), column: feature})
    split = datasets.Dataset.from_dict({"text": ["", ""], column: expected}, features=features)
    labels = label_array(split)
    if column == "labels":
        np.testing.assert_array_equal(labels, [[1, 0, 1], [0, 0, 0]])
    else:
        np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == (np.int64 if isinstance(feature, datasets.ClassLabel) else np.float32)


def order_of(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


def test_sampler_gives_each_text_once_and_depends_on_seed_and_epoch_alone():
    lengths = np.random.default_rng(0).integers(1, 300, size=1003)
    sampler = LengthGroupedSampler(lengths, 8, seed=3)
    first = order_of(sampler, 1)
    assert sorted(first) == list(range(1003))
    torch.rand(5)
    assert order_of(LengthGroupedSampler(lengths, 8, seed=3), 1) == first
    assert order_of(sampler, 2) != first
    assert order_of(LengthGroupedSampler(lengths, 8, seed=4), 1) != first


def test_sampler_batches_texts_of_similar_length():
    lengths = np.random.default_rng(0).integers(1, 300, size=1000)
    order = order_of(LengthGroupedSampler(lengths, 10, seed=0), 0)
    grouped = lengths[order].reshape(100, 10)
    shuffled = np.random.default_rng(1).permutation(lengths).reshape(100, 10)
    padding = [(rows.max(1, keepdims=True) - rows).sum() for rows in (grouped, shuffled)]
    assert padding[0] < padding[1] / 10
