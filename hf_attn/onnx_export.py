"""Writes a classifier as an ONNX file: token ids in, logits and contributions out."""

from __future__ import annotations

import contextlib
import copy
import importlib
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import InputError
from .explainability import check_classifier
from .modeling_hf_attn import HfAttnClassifier, HfAttnForSequenceClassification
from .problem_types import problem_type_of
from .saving import staged_file

if TYPE_CHECKING:
    from onnx import ModelProto

INPUTS = ("input_ids", "attention_mask")
OUTPUTS = ("logits", "contributions", "bias")
# What one file of ONNX can hold, less what the graph itself takes.
MOST_BYTES = (1 << 31) - (1 << 20)
# Which say that torchvision is absent, and that a constant is an output.
_LOGGERS = ("torch.onnx", "onnx_ir")


def check_onnx() -> None:
    """Refuses to export without the packages for it.

    Raises:
        InputError: If one of them (the extra `onnx`) is not installed.
    """
    try:
        for name in ("onnx", "onnxscript", "onnxruntime"):
            importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            "expected onnx, onnxscript and onnxruntime for an export, but one is missing "
            f"({error}). Type: pip install 'hf-attn[onnx]'"
        ) from error


def export_onnx(model: HfAttnClassifier, path: str | Path) -> None:
    """Writes a classifier, plain or folded, as one ONNX file, whole or not at all.

    It takes `input_ids` and `attention_mask`, both (B, T) int64, for any B and T, 0 included, and
    gives `logits` (B, C), `contributions` (B, T, C) and `bias` (C,) in float32; `bias` and the sum
    of the contributions over T are the logits. Names of classes (JSON) and problem type are in its
    metadata, as `class_names` and `problem_type`; of several labels with thresholds of their own
    these are there, too, as `label_thresholds` (JSON).

    Tables of a folded model keep their type. All other weights are written in float32. Where the
    model has a window its cost grows with the square of T nonetheless: the graph has no blocks.

    Args:
        model: The classifier; it stays as it is.
        path: The file; one that is there is replaced.

    Raises:
        InputError: If the extra `onnx` is not installed, if the weights are too large for one file,
            or if there is no folder for the file.
        TypeError: If the model is not a classifier of this package.

    Example:
        >>> export_onnx(hf_attn.fold(model, table_dtype="int8"), "model.onnx")
    """
    check_onnx()
    check_classifier(model)
    portable = portable_copy(model)
    size = sum(tensor.nbytes for tensor in portable.state_dict().values())
    if size > MOST_BYTES:
        raise InputError(
            f"expected weights of at most {MOST_BYTES:,} bytes, as ONNX holds in one file, got "
            f"{size:,}. Fold the model with table_dtype='int8', or train one with a smaller "
            "vocabulary or fewer buckets."
        )
    with staged_file(path) as file:
        graph = _trace(portable)
        _describe(graph, model.config)
        file.write_bytes(graph.SerializeToString())


def portable_copy(model: HfAttnClassifier) -> HfAttnClassifier:
    """Gives a copy that computes what the ONNX file does: on the CPU and in float32.

    Weights that torchao made int8 are float32 in it; the tables of a folded model stay.
    """
    portable: HfAttnClassifier = copy.deepcopy(model).cpu().eval()
    if isinstance(portable, HfAttnForSequenceClassification):
        for module in portable.modules():
            if isinstance(module, nn.Linear):
                module.weight = nn.Parameter(module.weight.dequantize())
        nn.Module.float(portable)  # the method of transformers refuses what was int8
    return portable


class _Traced(nn.Module):
    """The model as the graph has it: inputs and outputs by their places."""

    def __init__(self, model: HfAttnClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        length = input_ids.shape[1]
        if isinstance(self.model, HfAttnForSequenceClassification):
            # onnxruntime 1.23, the last for Python 3.10, sums no numbers to none, not to 0: one
            # more place, which the mask hides, for texts without tokens. Tables need no such sum.
            input_ids, attention_mask = F.pad(input_ids, (0, 1)), F.pad(attention_mask, (0, 1))
        outputs = self.model(
            input_ids=input_ids, attention_mask=attention_mask, output_contributions=True
        )
        return outputs.logits, outputs.contributions[:, :length], outputs.bias


def _trace(model: HfAttnClassifier) -> ModelProto:
    """Gives the model as a graph for any number of texts and of tokens."""
    # Two tensors: one in both places would be one input of the graph.
    examples = tuple(torch.ones((2, 3), dtype=torch.long) for _ in INPUTS)
    axes = dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)
    with _quiet():
        program: Any = torch.onnx.export(
            _Traced(model).eval(),
            examples,
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_shapes=(axes, axes),
            dynamo=True,
            verbose=False,
        )
    graph: ModelProto = program.model_proto
    return graph


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back what torch and onnx_ir say of themselves during an export."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        # torch 2.13 copies an object of its own class LeafSpec, which it calls deprecated.
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _describe(graph: ModelProto, config: Any) -> None:
    """Puts the names of the classes into the metadata in place of what torch left there.

    That is the code that each node comes from, with the folders of this machine.
    """
    parts = graph.graph
    for described in (*parts.node, *parts.value_info, *parts.input, *parts.output):
        del described.metadata_props[:]
    for described in (graph, parts, *parts.initializer):
        del described.metadata_props[:]
    described = {
        "class_names": json.dumps(config.class_names, ensure_ascii=False),
        "problem_type": problem_type_of(config),
    }
    if config.label_thresholds is not None:
        described["label_thresholds"] = json.dumps(config.label_thresholds)
    for name, value in described.items():
        graph.metadata_props.add(key=name, value=value)
