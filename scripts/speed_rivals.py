"""What is timed: ways from texts to labels, ours and those of others, each from a saved model.

What a way needs is imported when it is loaded, as each has a process of its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Encoding, Tokenizer

BATCH_SIZE = 64
BERT_BATCH_SIZE = 32
BERT_LENGTH = 512
MANY_WORDS = 2_000_000
_TRIAL = 8

# N texts to N labels.
Predict = Callable[[Sequence[str]], Sequence[Any]]


@dataclass(frozen=True)
class Side:
    """One way from texts to labels.

    Attributes:
        load: Gives what predicts, from the model's path and the number of threads.
        model: Name of the model in the folder of its set.
        words: How many of them are timed at once, about.
        uses_threads: Whether more threads are of use; otherwise there is a process for each.
        needs: Modules that it cannot do without.
    """

    load: Callable[[Path, int], Predict]
    model: str
    words: int = MANY_WORDS
    uses_threads: bool = True
    needs: Sequence[str] = ()

    @property
    def is_there(self) -> bool:
        """Whether all that it needs is installed."""
        return all(importlib.util.find_spec(module) for module in self.needs)


def packages() -> dict[str, str]:
    """Gives the versions of what the sides run on, as far as it is installed."""
    found = {}
    for name in (
        "numpy",
        "pyarrow",
        "tokenizers",
        "fasttext-numpy2",
        "scikit-learn",
        "onnxruntime",
    ):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def load_plain(path: Path, threads: int) -> Predict:
    """Loads a model as it was trained, on torch."""
    import torch

    from hf_attn.batching import TokenizedTexts
    from hf_attn.loading import load_classifier
    from hf_attn.prediction import predict_logits

    torch.set_num_threads(threads)
    model, tokenizer = load_classifier(str(path))
    names = model.config.class_names

    def labels(texts: Sequence[str]) -> list[str]:
        logits = predict_logits(model, TokenizedTexts.from_texts(texts, tokenizer), BATCH_SIZE)
        return [names[number] for number in logits.argmax(1).tolist()]

    return labels


def load_folded(path: Path, threads: int) -> Predict:
    """Loads a folded model."""
    from hf_attn.predictor.predictor import Predictor

    predictor = Predictor.from_pretrained(str(path), num_threads=threads)
    return lambda texts: predictor.predict(texts).labels


def load_explained(path: Path, threads: int, *, words: int = 0) -> Predict:
    """Loads a folded model that gives each token's contribution, too.

    Args:
        path: Folder of the model.
        threads: How many to use.
        words: Of each text, to be given with what they add; those that add most.
    """
    from hf_attn.predictor.predictor import Predictor

    predictor = Predictor.from_pretrained(str(path), num_threads=threads)

    def labels(texts: Sequence[str]) -> Sequence[str]:
        predictions = predictor.predict(texts, explain=True)
        if words:
            predictions.top_words(words)
        return cast("Sequence[str]", predictions.labels)  # it does not abstain

    return labels


def load_onnx(path: Path, threads: int) -> Predict:
    """Loads an exported model, in batches of similar length."""
    import json

    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.no_padding()  # or all would be as long as the longest, before they are sorted
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path / "model.onnx"), options)
    about = session.get_modelmeta().custom_metadata_map
    names = dict(enumerate(json.loads(about["class_names"])))

    def logits(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        given = {"input_ids": ids, "attention_mask": mask}
        (scores,) = session.run(["logits"], given)
        return scores  # type: ignore[no-any-return]

    return _in_batches(tokenizer, logits, BATCH_SIZE, names)


def load_bert(path: Path, threads: int) -> Predict:
    """Loads a BERT or DistilBERT, with whichever attention is the faster one here."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(threads)
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.enable_truncation(BERT_LENGTH)

    def with_attention(kind: str) -> Predict:
        model = AutoModelForSequenceClassification.from_pretrained(path, attn_implementation=kind)

        def logits(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
            given = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
            with torch.inference_mode():
                return model(**given).logits.numpy()  # type: ignore[no-any-return]

        return _in_batches(tokenizer, logits, BERT_BATCH_SIZE, model.config.id2label)

    kinds = [with_attention(kind) for kind in ("eager", "sdpa")]
    chosen: list[Predict] = []

    def labels(texts: Sequence[str]) -> Sequence[Any]:
        if not chosen:  # at the first call, which does not count
            chosen.append(min(kinds, key=partial(_seconds_of, texts[:_TRIAL])))
        return chosen[0](texts)

    return labels


def _seconds_of(texts: Sequence[str], predict: Predict) -> float:
    predict(texts)
    started = time.perf_counter()
    predict(texts)
    return time.perf_counter() - started


def _in_batches(
    tokenizer: Tokenizer,
    logits: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]],
    batch_size: int,
    names: Any,
) -> Predict:
    """Gives what tokenizes, sorts by length, pads and names the likeliest class."""
    by_number = {int(number): name for number, name in names.items()}

    def labels(texts: Sequence[str]) -> list[str]:
        encodings = tokenizer.encode_batch_fast(list(texts))
        order = sorted(range(len(texts)), key=lambda row: len(encodings[row]))
        found = [""] * len(texts)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            best = logits(*_pad([encodings[row] for row in rows])).argmax(1)
            for row, number in zip(rows, best.tolist(), strict=True):
                found[row] = by_number[number]
        return found

    return labels


def _pad(encodings: Sequence[Encoding]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Gives ids and mask (B, T), T the length of the last and longest text."""
    ids = np.zeros((len(encodings), len(encodings[-1])), np.int64)
    mask = np.zeros_like(ids)
    for row, encoding in enumerate(encodings):
        ids[row, : len(encoding)] = encoding.ids
        mask[row, : len(encoding)] = 1
    return ids, mask


def load_fasttext(path: Path, threads: int) -> Predict:
    """Loads a fastText model, which predicts on one thread."""
    import fasttext

    model = fasttext.load_model(str(path))
    return lambda texts: model.predict(list(texts))[0]


def load_svm(path: Path, threads: int) -> Predict:
    """Loads a pickled pipeline of scikit-learn."""
    with path.open("rb") as file:
        pipeline = pickle.load(file)
    return pipeline.predict  # type: ignore[no-any-return]


PLAIN, FOLDED, EXPLAINED = "hf_attn, plain", "hf_attn, folded", "hf_attn, folded, explanations"
TOP_WORDS, WINDOW = f"{FOLDED}, top three words", f"{FOLDED}, window"
FASTTEXT, SVM = "fastText", "TF-IDF + LinearSVC"
TINY_BERT, DISTILBERT = "BERT-tiny shape", "DistilBERT shape"
_onnx = partial(Side, load_onnx, words=200_000, needs=("onnx", "onnxscript", "onnxruntime"))
_fasttext = partial(Side, load_fasttext, uses_threads=False, needs=("fasttext",))
SIDES: dict[str, Side] = {
    PLAIN: Side(load_plain, "plain", 200_000),
    FOLDED: Side(load_folded, "folded"),
    EXPLAINED: Side(load_explained, "folded"),
    TOP_WORDS: Side(partial(load_explained, words=3), "folded"),
    WINDOW: Side(load_folded, "window-folded"),
    f"{FOLDED}, bigrams": Side(load_folded, "bigrams-folded"),
    "hf_attn, ONNX": _onnx("plain-onnx"),
    f"{FOLDED}, ONNX": _onnx("folded-onnx"),
    FASTTEXT: _fasttext("fasttext/unigrams.bin"),
    f"{FASTTEXT}, bigrams": _fasttext("fasttext/bigrams.bin"),
    f"{FASTTEXT}, best of the grid": _fasttext("fasttext/best.bin"),
    SVM: Side(load_svm, "svm.pickle", 200_000, uses_threads=False),
    TINY_BERT: Side(load_bert, "bert-tiny", 20_000),
    DISTILBERT: Side(load_bert, "distilbert", 1_400),
}
