"""The NumPy forward, against the model in torch and against one text after the other in float64."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
import torch
from folded_tables import expected_score, random_tables, random_texts, reading, tables_of
from models import VARIANTS, masked_batch, small_classifier, variant_name
from processes import run_python

from hf_attn.errors import InputError
from hf_attn.predictor import exponentials
from hf_attn.predictor.forward import FoldedForward
from hf_attn.predictor.length_groups import group_by_length

# Lengths around which padding, blocks of queries and windows begin and end.
LENGTHS = [0, 1, 2, 3, 3, 5, 8, 13, 20, 21, 21, 32, 33, 34, 64, 90, 93, 100, 121, 128, 150, 300, 0]
KINDS = {
    "mean": {},
    "static": {"static": True},
    "bigrams": {"num_ngrams": 23},
    "static bigrams": {"static": True, "num_ngrams": 23},
    "known bigrams": {"static": True, "num_ngrams": 23, "num_slots": 64},
    "no distances": {"farthest": 0},
    "projected": {"num_labels": 9, "width": 4},
    "one output": {"num_labels": 1},
    "wide heads": {"head_dim": 64, "scale": 0.2},
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
every_window = pytest.mark.parametrize("window", [0, 1, 3, 16, 40])


def assert_as_expected(tables, lengths, *, against_others=True, atol=1e-5, **options):
    ids, lengths = random_texts(lengths)
    forward = FoldedForward(tables, against_others=against_others, **options)
    scored = forward(ids, lengths, explain=True)
    texts = [
        expected_score(tables, text.tolist()) for text in np.split(ids, np.cumsum(lengths)[:-1])
    ]
    directions = [reading(logits, against_others) for logits, _ in texts]
    expected = {
        "logits": np.stack([logits for logits, _ in texts]),
        "contributions": np.concatenate(
            [shares @ along for (_, shares), along in zip(texts, directions, strict=True)]
        ),
        "bias": np.array([tables.bias @ along for along in directions]),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(scored, name), value, rtol=0, atol=atol, err_msg=name)
        assert getattr(scored, name).dtype == np.float32
    np.testing.assert_array_equal(forward(ids, lengths).logits, scored.logits)


@pytest.mark.parametrize("num_labels", [2, 12], ids=["values of classes", "values to project"])
@pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
def test_forward_equals_the_model_in_torch(variant, num_labels):
    model = small_classifier(dtype=torch.float32, num_labels=num_labels, **variant)
    model.set_reference(torch.linspace(-1, 1, 8))
    batch = {name: rows[[0, 1, 2, 4]] for name, rows in masked_batch(140).items()}  # no holes
    with torch.no_grad():
        outputs = model(**batch, output_contributions=True)
    mask = batch["attention_mask"].bool()
    scored = FoldedForward(tables_of(model))(
        batch["input_ids"][mask].numpy(), mask.sum(1).numpy(), explain=True
    )
    logits = outputs.logits.numpy()
    along = np.stack([reading(text) for text in logits.astype(float)])
    shares = (outputs.contributions.numpy() @ along[:, :, None])[..., 0]
    np.testing.assert_allclose(scored.logits, logits, rtol=0, atol=1e-5)
    np.testing.assert_allclose(scored.contributions, shares[mask.numpy()], rtol=0, atol=1e-5)


@every_window
@every_kind
def test_forward_equals_one_text_after_the_other(kind, window):
    assert_as_expected(random_tables(window=window, **kind), LENGTHS)


@every_window
def test_many_texts_of_like_length_are_scored_as_one_by_one(window):
    lengths = np.random.default_rng(2).integers(1, 30, 400).tolist() + [150] * 60
    assert_as_expected(random_tables(window=window), lengths)


@pytest.mark.parametrize("window", [0, 150])
def test_texts_of_many_blocks_are_scored_as_one_by_one(window):
    # Keys for more than one product, and in windows for more than one part of the text.
    assert_as_expected(random_tables(window=window, head_dim=64, scale=0.2), [2_100, 900, 5])


def test_texts_that_fill_several_parts_in_windows_are_scored_as_one_by_one():
    assert_as_expected(random_tables(window=40), [1_500, 3_000, 700, 700, 100, 4])


@pytest.mark.parametrize("power_of_two", [True, False])
@pytest.mark.parametrize("window", [0, 3])
def test_both_exponentials_give_the_same(window, power_of_two, monkeypatch):
    monkeypatch.setattr(exponentials, "use_powers_of_two", lambda: power_of_two)
    assert_as_expected(random_tables(window=window), LENGTHS)


# Largest scores of about 40, 300, 2,000 and 200,000; a float32 ends at e**88.
@pytest.mark.parametrize("scale", [2, 5, 12, 120])
@pytest.mark.parametrize("power_of_two", [True, False])
@every_window
def test_scores_too_large_for_an_exponential_are_shifted(window, power_of_two, scale, monkeypatch):
    monkeypatch.setattr(exponentials, "use_powers_of_two", lambda: power_of_two)
    tables = random_tables(window=window, scale=scale)
    # Values of the usual size, so that errors show; scores of that size are off by 1e-7 of theirs.
    small = random_tables(window=window).tokens
    tokens = dataclasses.replace(
        tables.tokens, direct_values=small.direct_values, context_values=small.context_values
    )
    tables = dataclasses.replace(tables, tokens=tokens, bias=np.zeros(3, dtype=np.float32))
    assert_as_expected(tables, LENGTHS, atol=1e-5 * max(1, scale**2 / 100))


def test_bigrams_alone_can_be_too_large_for_an_exponential():
    tables, large = (random_tables(num_ngrams=9, farthest=0, scale=scale) for scale in (0.5, 12))
    ngrams = dataclasses.replace(tables.ngrams, query=large.ngrams.query, key=large.ngrams.key)
    assert_as_expected(dataclasses.replace(tables, ngrams=ngrams), LENGTHS, atol=1e-4)


def test_distances_alone_can_be_too_large_for_an_exponential():
    tables = random_tables()
    scores = np.linspace(-400, 400, 41, dtype=np.float32)
    assert_as_expected(dataclasses.replace(tables, distance_scores=scores), LENGTHS)


@every_window
def test_threads_change_nothing(window):
    tables = random_tables(window=window)
    ids, lengths = random_texts(np.random.default_rng(3).integers(0, 200, 500))
    one, three = (FoldedForward(tables, n)(ids, lengths, explain=True) for n in (1, 3))
    np.testing.assert_array_equal(one.logits, three.logits)
    np.testing.assert_array_equal(one.contributions, three.contributions)
    np.testing.assert_array_equal(one.bias, three.bias)


@pytest.mark.parametrize("num_labels", [1, 3])
def test_contributions_to_the_likeliest_class_alone(num_labels):
    assert_as_expected(random_tables(num_labels=num_labels), LENGTHS, against_others=False)


@every_window
def test_contributions_and_bias_sum_to_the_reading(window):
    ids, lengths = random_texts(LENGTHS)
    scored = FoldedForward(random_tables(window=window))(ids, lengths, explain=True)
    ends = np.cumsum(lengths)
    sums = [
        scored.contributions[end - length : end].sum()
        for end, length in zip(ends, lengths, strict=True)
    ]
    readings = [logits @ reading(logits.astype(float)) for logits in scored.logits]
    np.testing.assert_allclose(scored.bias + sums, readings, rtol=0, atol=1e-5)


@pytest.mark.parametrize("explain", [True, False])
@every_window
def test_no_texts_give_no_scores(window, explain):
    scored = FoldedForward(random_tables(window=window, static=True, num_ngrams=7))(
        *random_texts([]), explain=explain
    )
    assert scored.logits.shape == (0, 3)
    assert (scored.contributions is None) == (not explain)


def test_texts_without_tokens_score_the_bias():
    tables = random_tables(static=True, num_ngrams=7)
    scored = FoldedForward(tables)(*random_texts([0, 0]), explain=True)
    np.testing.assert_array_equal(scored.logits, np.stack([tables.bias] * 2))
    assert scored.contributions.shape == (0,)


@pytest.mark.parametrize("longest_whole", [None, 40])
def test_every_text_with_tokens_is_in_one_group(longest_whole):
    lengths = np.random.default_rng(4).integers(0, 90, 5_000)
    groups = list(group_by_length(lengths, longest_whole))
    texts = np.concatenate([group.texts for group in groups])
    np.testing.assert_array_equal(np.sort(texts), np.flatnonzero(lengths))
    for group in groups:
        assert group.lengths.sum() <= 1 << 13
        np.testing.assert_array_equal(group.lengths, lengths[group.texts])
        assert (
            longest_whole is None
            or (group.lengths > longest_whole).all()
            or (group.lengths <= longest_whole).all()
        )


def test_many_texts_are_padded_little():
    lengths = np.random.default_rng(5).gamma(4, 5, 5_000).astype(int)
    groups = list(group_by_length(lengths, None))
    scores = sum(len(group.texts) * group.longest**2 for group in groups)
    assert scores <= 1.1 * (lengths**2).sum()
    assert len(groups) <= 100


@pytest.mark.parametrize(("window", "length"), [(0, 6_000), (16, 200_000)])
def test_long_text_holds_less_than_one_score_matrix(window, length):
    forward = FoldedForward(random_tables(window=window))
    ids, lengths = random_texts([length])
    forward(*random_texts([50]))
    tracemalloc.start()
    forward(ids, lengths, explain=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < min(length**2 * 4 / 4, 1_000 * length)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize(
    "name", ["query", "key", "pool_scores", "direct_values", "context_values", "bias",
             "distance_scores", "out_proj", "ngrams"],
)  # fmt: skip
def test_tables_that_are_not_numbers_are_refused(name, broken):
    tables = random_tables(static=True, num_ngrams=5, width=2)
    owners = {"bias": tables, "distance_scores": tables, "out_proj": tables}
    if name == "ngrams":
        tables.ngrams.key[2, 1] = broken
    else:
        getattr(owners.get(name, tables.tokens), name).flat[2] = broken
    with pytest.raises(InputError, match=r"numbers, got NaN or infinity.*--learning-rate"):
        FoldedForward(tables)


def test_logits_that_are_not_numbers_are_refused():
    tables = random_tables()
    tables.tokens.direct_values[:] = np.finfo(np.float32).max
    tables.bias[:] = np.finfo(np.float32).max
    with (
        pytest.raises(InputError, match="numbers, got NaN or infinity"),
        np.errstate(over="ignore"),
    ):
        FoldedForward(tables)(*random_texts([3]))


@pytest.mark.parametrize(("ids", "came"), [([1, 60], "1 to 60"), ([-1, 4], "-1 to 4")])
def test_ids_beyond_the_vocabulary_are_refused(ids, came):
    with pytest.raises(ValueError, match=f"token ids from 0 to 59, got {came}. Use the tokenizer"):
        FoldedForward(random_tables())(np.array(ids), np.array([2]))


def test_lengths_that_do_not_sum_to_the_ids_are_refused():
    with pytest.raises(ValueError, match="sum to the 3 token ids, got 2"):
        FoldedForward(random_tables())(np.array([1, 2, 3]), np.array([1, 1]))


def test_no_threads_are_refused():
    with pytest.raises(ValueError, match="num_threads of 1 or more, got 0"):
        FoldedForward(random_tables(), 0)


def test_forward_is_imported_without_torch():
    names = run_python("""
        import sys
        import hf_attn.predictor.forward
        print(sorted({"torch", "transformers", "scipy", "pandas"} & set(sys.modules)))
    """)
    assert names.strip() == "[]"
