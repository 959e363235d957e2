"""Makes transformers' Auto classes and pipelines know this package, whichever is imported first.

Importing transformers takes seconds, so the package does not do it. Each Auto module of
transformers, and the one of its pipelines, has a part of ours registered when it loads, at once if
that has happened before.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

import wrapt

_AUTO = "transformers.models.auto"
# Our module -> (our class, the Auto class or registry that loads it, the module of that).
_PARTS = {
    "configuration_hf_attn": [
        ("HfAttnConfig", "AutoConfig", f"{_AUTO}.configuration_auto"),
        ("HfAttnFoldedConfig", "AutoConfig", f"{_AUTO}.configuration_auto"),
    ],
    "modeling_hf_attn": [
        ("HfAttnModel", "AutoModel", f"{_AUTO}.modeling_auto"),
        (
            "HfAttnForSequenceClassification",
            "AutoModelForSequenceClassification",
            f"{_AUTO}.modeling_auto",
        ),
        (
            "HfAttnFoldedForSequenceClassification",
            "AutoModelForSequenceClassification",
            f"{_AUTO}.modeling_auto",
        ),
    ],
    "tokenization_hf_attn": [
        ("HfAttnTokenizer", "AutoTokenizer", f"{_AUTO}.tokenization_auto"),
    ],
    "explanation_pipeline": [
        ("ExplanationPipeline", "PIPELINE_REGISTRY", "transformers.pipelines"),
    ],
}
_PLACES = sorted({place for parts in _PARTS.values() for *_, place in parts})
# A module that makes Auto modules load in the middle of it, and what ours need of it.
_NEEDED, _NEEDED_NAME = "transformers.modeling_layers", "GradientCheckpointingLayer"


def register() -> None:
    """Registers configuration, models, tokenizer and pipeline, now or when what loads them is."""
    for name in (*_PLACES, _NEEDED, *map(_full_name, _PARTS)):
        wrapt.register_post_import_hook(_register_what_is_loaded, name)


def _full_name(module: str) -> str:
    return f"{__package__}.{module}"


def _register_what_is_loaded(_loaded: ModuleType) -> None:
    """Registers each class of ours that is loaded, or whose place is, loading the other.

    Importing one of our modules first makes transformers load Auto modules in the middle of it.
    What is half imported is left alone: this runs again when it is complete.
    """
    # Each module of ours ends with `__all__`.
    needed = [(_NEEDED, _NEEDED_NAME), *((_full_name(module), "__all__") for module in _PARTS)]
    if any(name in sys.modules and not hasattr(sys.modules[name], last) for name, last in needed):
        return
    for module, parts in _PARTS.items():
        for own_class, place_name, place_module in parts:
            if _full_name(module) in sys.modules and place_module not in sys.modules:
                importlib.import_module(place_module)
            place = getattr(sys.modules.get(place_module), place_name, None)
            if place is not None:
                _register(place, _own_class(module, own_class))


def _register(place: Any, own_class: Any) -> None:
    """Registers a class with its Auto class, or a pipeline with the registry."""
    if isinstance(place, type):
        _register_with_auto_class(place, own_class)
    else:
        _register_pipeline(place, own_class)


def _register_with_auto_class(auto_class: Any, own_class: Any) -> None:
    for key in _keys(auto_class, own_class):
        auto_class.register(key, own_class, exist_ok=True)
    own_class.register_for_auto_class(auto_class.__name__)  # saved models name and carry our code


def _keys(auto_class: Any, own_class: Any) -> list[Any]:
    """Gives what the Auto class is to find our class by: the type of its model, or configurations.

    A tokenizer goes with models of both types, and has no configuration of its own.
    """
    if auto_class.__name__ == "AutoConfig":
        return [own_class.model_type]
    config = getattr(own_class, "config_class", None)
    if config is not None:
        return [config]
    names = ("HfAttnConfig", "HfAttnFoldedConfig")
    return [_own_class("configuration_hf_attn", name) for name in names]


def _register_pipeline(registry: Any, pipeline_class: Any) -> None:
    task = _own_class("explanation_pipeline", "TASK")
    if task not in registry.get_supported_tasks():
        models = importlib.import_module(f"{_AUTO}.modeling_auto")
        registry.register_pipeline(
            task,
            pipeline_class=pipeline_class,
            pt_model=models.AutoModelForSequenceClassification,
            type="text",
        )


def _own_class(module: str, name: str) -> Any:
    return getattr(importlib.import_module(_full_name(module)), name)
