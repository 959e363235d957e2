"""Predictions: the same as transformers' pipeline gives, in the order of the texts."""

import numpy as np
import pytest
import torch
from trained import keyword_texts
from transformers import pipeline

from hf_attn import Predictor
from hf_attn.batching import TokenizedTexts
from hf_attn.loading import load_classifier
from hf_attn.prediction import predict_logits
from hf_attn.probabilities import logits_to_scores

TEXTS = [*keyword_texts(30)["text"], "", "wheat " * 200]


@pytest.fixture(scope="module")
def classifier(trained_folder):
    return load_classifier(str(trained_folder))


def test_predictions_equal_those_of_the_pipeline(classifier):
    model, tokenizer = classifier
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)
    for ours, theirs in zip(
        Predictor.from_model(model, tokenizer).predict(TEXTS), classify(TEXTS), strict=True
    ):
        assert ours.label == theirs[0]["label"]
        assert ours.score == pytest.approx(theirs[0]["score"], abs=1e-6)
        assert list(ours.scores) == [row["label"] for row in theirs]


def test_logits_do_not_depend_on_the_batch(classifier):
    model, tokenizer = classifier
    texts = TokenizedTexts.from_texts(TEXTS, tokenizer)
    together, alone = predict_logits(model, texts, 64), predict_logits(model, texts, 1)
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_predict_keeps_the_model_in_its_mode(classifier):
    model, tokenizer = classifier
    model.train()
    predict_logits(model, TokenizedTexts.from_texts(TEXTS, tokenizer))
    assert model.training
    model.eval()


def test_predict_of_no_texts_is_empty(classifier):
    assert list(Predictor.from_model(*classifier).predict([])) == []


def test_scores_follow_the_problem_type():
    logits = np.array([[1.0, -2.0, 0.5]], dtype=np.float32)
    tensor = torch.from_numpy(logits)
    single = logits_to_scores(logits, "single_label_classification")
    np.testing.assert_allclose(single, (tensor.exp() / tensor.exp().sum()).numpy(), rtol=1e-6)
    several = logits_to_scores(logits, "multi_label_classification")
    np.testing.assert_allclose(several, (1 / (1 + (-tensor).exp())).numpy(), rtol=1e-6)
    assert logits_to_scores(logits, "regression") is logits
