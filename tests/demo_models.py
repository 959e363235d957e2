"""Small models of every kind, saved as training saves them, for the tests of the page."""

import datasets
from trained import TINY, keyword_texts

from hf_attn import train

KINDS = ("single", "multi", "regression", "pairs")


def train_model(kind, folder):
    """Trains a model of a kind on texts of two topics, and gives its folder."""
    rows = keyword_texts(120)
    labels, columns = rows["label"], {}
    if kind == "multi":
        rows["label"] = [[label, "market"] if "market" in text else [label]
                         for text, label in zip(rows["text"], labels, strict=True)]  # fmt: skip
    if kind == "regression":
        rows["label"] = [1.5 if label == "oil" else -0.5 for label in labels]
    if kind == "pairs":
        rows["second"] = rows["text"][1:] + rows["text"][:1]
        columns = {"text_column": "text", "text_pair_column": "second"}
    data = datasets.DatasetDict(train=datasets.Dataset.from_dict(rows))
    train(data, folder, **TINY, **columns)
    return folder
