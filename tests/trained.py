"""A classifier trained once for the tests that need a saved one, and the texts it learned from."""

import random

import datasets
import torch
from safetensors.torch import load_file

from hf_attn.problem_types import MULTI, REGRESSION, SINGLE

WORDS = {"oil": ["crude", "barrel", "opec"], "farm": ["wheat", "corn", "harvest"]}
# In so few steps attention cannot earn its weight.
SHORT = {"num_train_epochs": 3, "learning_rate": 5e-2, "attention_weight_decay": 0}
TINY = {"hidden_size": 8, "head_dim": 4, **SHORT}


def keyword_texts(count, seed=0):
    """Texts of two topics that a keyword tells apart, and fillers that say nothing."""
    draw = random.Random(seed)
    fillers = ["the", "of", "market", "said", "in", "april"]
    rows = {"text": [], "label": []}
    for index in range(count):
        label = sorted(WORDS)[index % 2]
        words = draw.choices(fillers, k=draw.randint(1, 12)) + draw.choices(WORDS[label], k=2)
        draw.shuffle(words)
        rows["text"].append(" ".join(words))
        rows["label"].append(label)
    return rows


def keyword_data():
    return datasets.DatasetDict(
        train=datasets.Dataset.from_dict(keyword_texts(120)),
        validation=datasets.Dataset.from_dict(keyword_texts(40, seed=1)),
        test=datasets.Dataset.from_dict(keyword_texts(40, seed=2)),
    )


def split_of(texts, task=SINGLE):
    """A split as data are loaded, with these texts."""
    value = datasets.Value("float32")
    feature, label = {
        SINGLE: (datasets.ClassLabel(names=["a", "b"]), 0),
        MULTI: (datasets.List(value), [0.0, 1.0]),
        REGRESSION: (value, 0.0),
    }[task]
    features = datasets.Features({"text": datasets.Value("string"), "label": feature})
    return datasets.Dataset.from_dict(
        {"text": texts, "label": [label] * len(texts)}, features=features
    )


def saved_weights(folder):
    return load_file(folder / "model.safetensors")


def assert_same_weights(first, second):
    """The models in two folders have the same weights, to the bit."""
    first, second = saved_weights(first), saved_weights(second)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
