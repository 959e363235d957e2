"""Metrics against their definitions, written out by hand."""

import numpy as np
import pytest
from scipy import stats

from hf_attn.metrics import score_baseline, score_classes, score_logits


def f1_by_hand(truth, guess):
    hits = np.sum(truth & guess)
    return 2 * hits / max(truth.sum() + guess.sum(), 1)


def test_single_label_scores_follow_their_definitions():
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(size=(50, 4)), draw.integers(0, 4, 50)
    guess = logits.argmax(-1)
    scores = score_logits("single_label_classification", logits, labels)
    assert scores["accuracy"] == pytest.approx(np.mean(guess == labels))
    by_class = [f1_by_hand(labels == c, guess == c) for c in range(4)]
    assert scores["macro_f1"] == pytest.approx(np.mean(by_class))


@pytest.mark.parametrize("num_labels", [1, 4])
def test_multi_label_scores_follow_their_definitions(num_labels):
    draw = np.random.default_rng(0)
    shape = (50, num_labels)
    logits, labels = draw.normal(size=shape), draw.integers(0, 2, shape).astype(np.float32)
    truth, guess = labels == 1, logits > 0
    scores = score_logits("multi_label_classification", logits, labels)
    assert scores["micro_f1"] == pytest.approx(f1_by_hand(truth.ravel(), guess.ravel()))
    by_class = [f1_by_hand(truth[:, c], guess[:, c]) for c in range(num_labels)]
    assert scores["macro_f1"] == pytest.approx(np.mean(by_class))
    classes = score_classes(logits, labels, list("abcd"[:num_labels]))
    assert [row["f1"] for row in classes] == pytest.approx(by_class)
    assert [row["texts"] for row in classes] == truth.sum(0).tolist()
    first = [truth[row, logits[row].argmax()] for row in range(50)]
    assert scores["precision_at_1"] == pytest.approx(np.mean(first))


def test_regression_scores_follow_their_definitions():
    draw = np.random.default_rng(0)
    values, labels = draw.normal(size=(50, 1)), draw.normal(size=50).astype(np.float32)
    scores = score_logits("regression", values, labels)
    assert scores["pearson"] == pytest.approx(np.corrcoef(values[:, 0], labels)[0, 1])
    ranks = [stats.rankdata(column) for column in (values[:, 0], labels)]
    assert scores["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert scores["mse"] == pytest.approx(np.mean((values[:, 0] - labels) ** 2))


def test_regression_of_a_constant_has_no_correlation():
    scores = score_logits("regression", np.ones((3, 1)), np.array([1.0, 2.0, 3.0]))
    assert (scores["pearson"], scores["spearman"]) == (0.0, 0.0)


def test_baseline_is_learned_from_the_training_labels():
    train, test = np.array([1, 1, 0, 2]), np.array([0, 1, 1, 1])
    single = score_baseline("single_label_classification", train, test, 3)
    assert single["accuracy"] == 0.75
    train = np.array([[0, 1, 0], [1, 1, 0]], np.float32)
    several = score_baseline("multi_label_classification", train, np.array([[0, 1.0, 1]]), 3)
    assert several["precision_at_1"] == 1
    assert several["micro_f1"] == pytest.approx(2 / 3)
    value = score_baseline("regression", np.array([1.0, 3.0]), np.array([2.0, 4.0]), 1)
    assert value["mse"] == 2


def test_class_scores_name_every_class():
    logits = np.array([[2.0, 0, 0], [2, 0, 0], [0, 2, 0]])
    rows = score_classes(logits, np.array([0, 1, 1]), ["a", "b", "c"])
    assert [row["label"] for row in rows] == ["a", "b", "c"]
    assert rows[0] == {
        "label": "a", "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "texts": 1,
    }  # fmt: skip
    assert rows[2]["f1"] == rows[2]["texts"] == 0
