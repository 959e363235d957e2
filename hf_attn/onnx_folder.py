"""Writes a folder that classifies without torch, and compares what it gives with the model."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from .batching import TokenizedTexts
from .configuration_hf_attn import HfAttnConfig
from .errors import InputError
from .explainability import check_explainable, check_finite
from .file_names import ADAPTER_FILE, CONFIG_FILE, TOKENIZER_FILE
from .hub_files import MODEL_TYPES
from .modeling_hf_attn import HfAttnClassifier
from .onnx_export import INPUTS, check_onnx, export_onnx, portable_copy
from .saving import model_type_in, staged

GRAPH_FILE = "model.onnx"
FILES = (GRAPH_FILE, CONFIG_FILE, TOKENIZER_FILE)
# How far logits may differ, for each unit of the largest one: sums in float32 in another order.
MOST_DIFFERENCE = 1e-5
_WEIGHTS = ("*.safetensors", "*.bin", ADAPTER_FILE, "checkpoint-*")
_NUM_TEXTS, _USUAL_LENGTH, _LONG = 1000, 60, 2000
_TEXTS_AT_ONCE = 64
# What a batch may hold of the scores between tokens, of which several copies are in memory.
_SCORES_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class OnnxExport:
    """What an export wrote, and how far that is from the model on the texts compared.

    Attributes:
        folder: Where it is.
        sizes: Bytes of each file.
        num_texts: Texts that torch and onnxruntime were both given.
        same_labels: How many of them both give the same likeliest class.
        logit_difference: The largest between two logits.
        contribution_difference: The largest between two contributions of a token.
    """

    folder: Path
    sizes: dict[str, int]
    num_texts: int
    same_labels: int
    logit_difference: float
    contribution_difference: float

    @property
    def report(self) -> str:
        """Says all of this in two lines."""
        files = ", ".join(f"{name} ({size:,} bytes)" for name, size in self.sizes.items())
        return (
            f"Wrote {self.folder}: {files}.\n"
            f"onnxruntime and torch give the same label for {self.same_labels:,} of "
            f"{self.num_texts:,} texts; logits differ by at most {self.logit_difference:.1e}, "
            f"contributions by {self.contribution_difference:.1e}."
        )


def export_folder(
    model: HfAttnClassifier,
    tokenizer: PreTrainedTokenizerBase,
    folder: str | Path,
    *,
    texts: Sequence[str] | None = None,
    overwrite: bool = False,
) -> OnnxExport:
    """Writes `model.onnx`, `config.json` and `tokenizer.json`, if they give what the model gives.

    In `tokenizer.json` are the model's maximum length and the padding, too, so that it needs no
    settings. For the graph see [`export_onnx`].

    Args:
        model: The classifier, plain or folded.
        tokenizer: The one it was trained with.
        folder: Made if missing.
        texts: To compare the two on; 1,000 of random words without them.
        overwrite: Whether an older export in the folder may be replaced.

    Raises:
        InputError: If the folder holds what must not be lost, if the tokenizer belongs to another
            model, if onnxruntime gives something else than torch, or as [`export_onnx`] does.
        TypeError: If the model is not a classifier of this package, or the tokenizer not a fast
            one.
    """
    folder = Path(folder)
    check_onnx()
    check_explainable(model, tokenizer)
    check_place(folder, overwrite=overwrite)
    if len(tokenizer) > model.config.vocab_size:
        raise InputError(
            f"expected a tokenizer of at most vocab_size={model.config.vocab_size} tokens, got one "
            f"of {len(tokenizer)}. It belongs to another model."
        )
    texts = random_texts(tokenizer) if texts is None else list(texts)
    with staged(folder) as staging:
        export_onnx(model, staging / GRAPH_FILE)
        _write_config(model.config, staging / CONFIG_FILE)
        _write_tokenizer(tokenizer, staging / TOKENIZER_FILE)
        differences = compare(staging, model, tokenizer, texts)
        sizes = {name: (staging / name).stat().st_size for name in FILES}
    return OnnxExport(folder, sizes, len(texts), *differences)


def check_place(folder: Path, *, overwrite: bool) -> None:
    """Refuses a folder that an export must not be written to; changes nothing.

    Raises:
        InputError: If it is a file, or holds another model, or an older export that is to be kept.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: expected a folder to export to, got a file.")
    model_type, graph = model_type_in(folder), folder / GRAPH_FILE
    has_weights = any(any(folder.glob(pattern)) for pattern in _WEIGHTS)
    if has_weights or (model_type is not None and not graph.is_file()):
        raise InputError(
            f"{folder}: expected a new folder, got one with a model, whose files would be mixed up "
            "with those of the export. Choose another folder."
        )
    if graph.exists() and model_type not in MODEL_TYPES:
        raise InputError(
            f"{folder}: expected a new folder, got one with a {GRAPH_FILE} of another model, which "
            "would be lost. Choose another folder."
        )
    if graph.exists() and not overwrite:
        raise InputError(
            f"{folder}: expected a new folder, got one with an older export. Choose another "
            "folder, or replace it with --overwrite."
        )


def _write_config(config: HfAttnConfig, path: Path) -> None:
    config = copy.deepcopy(config)
    vars(config).pop("auto_map", None)  # the code that it names is not in the folder
    config.to_json_file(path)


def _write_tokenizer(tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    if tokenizer.model_max_length < np.iinfo(np.int32).max:  # transformers' word for "no limit"
        backend.enable_truncation(tokenizer.model_max_length, direction=tokenizer.truncation_side)
    backend.enable_padding(
        pad_id=tokenizer.pad_token_id or 0, pad_token=tokenizer.pad_token or "[PAD]"
    )
    backend.save(str(path))


def random_texts(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Gives 1,000 texts of random words of the vocabulary: one empty, one long, most short."""
    draw = np.random.default_rng(0)
    ids = sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))
    lengths = [0, 1, _LONG, *draw.integers(1, _USUAL_LENGTH, _NUM_TEXTS - 3)]
    return [str(tokenizer.decode(draw.choice(ids, length))) for length in lengths]


def compare(
    folder: Path,
    model: HfAttnClassifier,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
) -> tuple[int, float, float]:
    """Gives how many labels are the same, and the largest differences of what an export gives.

    Args:
        folder: With the files of the export.
        model: What was exported.
        tokenizer: Its tokenizer.
        texts: N texts, each tokenized and classified both ways.

    Raises:
        InputError: If the differences are more than rounding, or the model's logits no numbers.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / GRAPH_FILE)
    backend = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    tokenized = TokenizedTexts.from_texts(texts, tokenizer)
    model = portable_copy(model)
    same_labels, differences, largest = 0, [0.0, 0.0], 1.0
    for rows in _batches(tokenized.lengths):
        expected = _run_torch(model, tokenized.batch(rows))
        actual = _run_onnx(session, backend.encode_batch([texts[row] for row in rows]))
        same_labels += int((expected[0].argmax(1) == actual[0].argmax(1)).sum())
        for place, (one, other) in enumerate(zip(expected, actual, strict=True)):
            if one.shape != other.shape:
                raise _differs(f"{other.shape} for {one.shape} numbers")
            differences[place] = max(differences[place], float(np.abs(one - other).max(initial=0)))
        largest = max(largest, float(np.abs(expected[0]).max(initial=0)))
    if max(differences) > MOST_DIFFERENCE * largest:
        raise _differs(f"differences up to {max(differences):.1e} with logits up to {largest:.1f}")
    return same_labels, differences[0], differences[1]


def _differs(got: str) -> InputError:
    return InputError(
        f"expected onnxruntime to give what the model gives, got {got}. Nothing was written: use "
        "the model itself, and report this with the versions of torch, onnx and onnxruntime."
    )


def _batches(lengths: NDArray[np.int64]) -> Iterator[list[int]]:
    order: list[int] = np.argsort(-lengths, kind="stable").tolist()
    while order:
        longest = max(int(lengths[order[0]]), 1)
        size = max(1, min(_TEXTS_AT_ONCE, _SCORES_AT_ONCE // longest**2))
        yield order[:size]
        order = order[size:]


def _run_torch(
    model: HfAttnClassifier, batch: dict[str, torch.Tensor]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    with torch.inference_mode():
        outputs = model(**batch, output_contributions=True)
    check_finite(outputs.logits)
    return outputs.logits.numpy(), outputs.contributions.numpy()


def _run_onnx(session: Any, encodings: Sequence[Any]) -> Any:
    ids, mask = (
        np.array([getattr(one, name) for one in encodings], dtype=np.int64)
        for name in ("ids", "attention_mask")
    )
    return session.run(["logits", "contributions"], dict(zip(INPUTS, (ids, mask), strict=True)))
