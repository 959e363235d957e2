"""How often each token occurred in training: counted, saved beside the weights, and read again."""

import json
from collections import Counter

import pytest
from trained import TINY, keyword_data

from hf_attn import InputError, read_token_counts, train


def whole_words(texts, known=None):
    """Counts words of plain texts on its own way."""
    counts = Counter(word for text in texts for word in text.split())
    if known is None:
        return dict(counts)
    unknown = sum(count for word, count in counts.items() if word not in known)
    kept = {word: count for word, count in counts.items() if word in known}
    return kept | ({"[UNK]": unknown} if unknown else {})


def test_counts_of_the_training_texts_are_saved(tmp_path):
    data = keyword_data()
    train(data, tmp_path / "m", **TINY)
    assert read_token_counts(str(tmp_path / "m")) == whole_words(data["train"]["text"])


def test_counts_hold_unknown_words_and_none_that_do_not_occur(tmp_path):
    data = keyword_data()
    run = train(data, tmp_path / "m", **TINY, vocab_size=9)
    known = run.tokenizer.get_vocab()
    counts = read_token_counts(str(tmp_path / "m"))
    assert counts == whole_words(data["train"]["text"], known)
    assert counts["[UNK]"] > 0
    assert "[PAD]" not in counts


def test_counts_stop_where_texts_are_cut(tmp_path):
    data = keyword_data()
    train(data, tmp_path / "m", **TINY, max_length=3)
    cut = [" ".join(text.split()[:3]) for text in data["train"]["text"]]
    assert read_token_counts(str(tmp_path / "m")) == whole_words(cut)


def test_counts_of_pairs_count_both_texts_and_the_separator(tmp_path):
    data = keyword_data().map(lambda row: {"text_pair": row["text"]})
    train(data, tmp_path / "m", **TINY, text_pair_column="text_pair")
    once = whole_words(data["train"]["text"])
    twice = {word: 2 * count for word, count in once.items()}
    assert read_token_counts(str(tmp_path / "m")) == {**twice, "[SEP]": 120}


def test_counts_are_in_a_file_of_their_own_most_frequent_first(trained_folder):
    text = (trained_folder / "token_counts.json").read_text(encoding="utf-8")
    counts = list(json.loads(text).values())
    assert counts == sorted(counts, reverse=True)
    assert len(text.splitlines()) == len(counts) + 2
    assert "token_counts" not in (trained_folder / "run.json").read_text(encoding="utf-8")


def test_counts_of_a_model_without_them_are_none(tmp_path):
    assert read_token_counts(str(tmp_path)) is None


def test_counts_of_a_model_on_the_hub_are_read_from_its_cache(
    trained_folder, tmp_path, monkeypatch
):
    snapshot = tmp_path / "models--user--name" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "token_counts.json").write_bytes(
        (trained_folder / "token_counts.json").read_bytes()
    )
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert read_token_counts("user/name") == read_token_counts(str(trained_folder))
    assert read_token_counts("user/other") is None


@pytest.mark.parametrize("content", ["{", "[1]", '{"the": "often"}', "\ufeff"])
def test_broken_counts_are_named(tmp_path, content):
    (tmp_path / "token_counts.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"token_counts\.json: expected token counts in JSON, got"):
        read_token_counts(str(tmp_path))
