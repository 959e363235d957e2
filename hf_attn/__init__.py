"""A text classifier with one single-head self-attention layer, for Hugging Face tools.

After `import hf_attn`, `AutoModelForSequenceClassification.from_pretrained`, `AutoTokenizer` and
`pipeline` load its models. The names below are imported when first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .registration import register

if TYPE_CHECKING:
    from .configuration_hf_attn import HfAttnConfig as HfAttnConfig
    from .configuration_hf_attn import HfAttnFoldedConfig as HfAttnFoldedConfig
    from .data import load_text_dataset as load_text_dataset
    from .errors import InputError as InputError
    from .explainer import explain as explain
    from .explanation import Explanation as Explanation
    from .explanation import Explanations as Explanations
    from .folding import fold as fold
    from .lexicon import Lexicon as Lexicon
    from .lexicon_reader import read_lexicon as read_lexicon
    from .modeling_hf_attn import (
        HfAttnFoldedForSequenceClassification as HfAttnFoldedForSequenceClassification,
    )
    from .modeling_hf_attn import (
        HfAttnForSequenceClassification as HfAttnForSequenceClassification,
    )
    from .modeling_hf_attn import HfAttnModel as HfAttnModel
    from .onnx_export import export_onnx as export_onnx
    from .predictor.predictions import Prediction as Prediction
    from .predictor.predictions import Predictions as Predictions
    from .predictor.predictor import Predictor as Predictor
    from .scaling import ScalingComparison as ScalingComparison
    from .scaling import compare_scaling as compare_scaling
    from .stages import PipelineTrace as PipelineTrace
    from .stages import PredictionTrace as PredictionTrace
    from .stages import Stage as Stage
    from .token_counts import read_token_counts as read_token_counts
    from .tokenization_hf_attn import HfAttnTokenizer as HfAttnTokenizer
    from .trace import trace_pipeline as trace_pipeline
    from .trace import trace_prediction as trace_prediction
    from .training import train as train
    from .training_trace import TrainingTrace as TrainingTrace
    from .training_trace import read_training_trace as read_training_trace
    from .training_trace_callback import TrainingTraceCallback as TrainingTraceCallback

__version__ = "0.1.0"

_MODULE_OF = {
    "Explanation": "explanation",
    "Explanations": "explanation",
    "HfAttnConfig": "configuration_hf_attn",
    "HfAttnFoldedConfig": "configuration_hf_attn",
    "HfAttnFoldedForSequenceClassification": "modeling_hf_attn",
    "HfAttnForSequenceClassification": "modeling_hf_attn",
    "HfAttnModel": "modeling_hf_attn",
    "HfAttnTokenizer": "tokenization_hf_attn",
    "InputError": "errors",
    "Lexicon": "lexicon",
    "PipelineTrace": "stages",
    "Prediction": "predictor.predictions",
    "PredictionTrace": "stages",
    "Predictions": "predictor.predictions",
    "Predictor": "predictor.predictor",
    "ScalingComparison": "scaling",
    "Stage": "stages",
    "TrainingTrace": "training_trace",
    "TrainingTraceCallback": "training_trace_callback",
    "compare_scaling": "scaling",
    "explain": "explainer",
    "export_onnx": "onnx_export",
    "fold": "folding",
    "load_text_dataset": "data",
    "read_lexicon": "lexicon_reader",
    "read_token_counts": "token_counts",
    "read_training_trace": "training_trace",
    "trace_pipeline": "trace",
    "trace_prediction": "trace",
    "train": "training",
}
__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


register()
