"""Makes transformers' Auto classes know this package, whichever of the two is imported first.

Importing transformers takes seconds, so the package does not do it. Each Auto module of
transformers has a part of ours registered when it loads, at once if that has happened before.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

import wrapt

_AUTO = "transformers.models.auto"
# Our module -> (our class, the Auto class that loads it, the module of that Auto class).
_PARTS = {
    "configuration_hf_attn": [
        ("HfAttnConfig", "AutoConfig", f"{_AUTO}.configuration_auto"),
    ],
    "modeling_hf_attn": [
        ("HfAttnModel", "AutoModel", f"{_AUTO}.modeling_auto"),
        (
            "HfAttnForSequenceClassification",
            "AutoModelForSequenceClassification",
            f"{_AUTO}.modeling_auto",
        ),
    ],
    "tokenization_hf_attn": [
        ("HfAttnTokenizer", "AutoTokenizer", f"{_AUTO}.tokenization_auto"),
    ],
}
_AUTO_MODULES = sorted({auto for parts in _PARTS.values() for *_, auto in parts})


def register() -> None:
    """Registers configuration, models and tokenizer with the Auto classes, now or when loaded."""
    for name in (*_AUTO_MODULES, *map(_full_name, _PARTS)):
        wrapt.register_post_import_hook(_register_what_is_loaded, name)


def _full_name(module: str) -> str:
    return f"{__package__}.{module}"


def _register_what_is_loaded(_loaded: ModuleType) -> None:
    """Registers each class of ours that is loaded, or whose Auto class is, loading the other.

    Importing one of our modules first makes transformers load Auto modules in the middle of it.
    What is half imported is left alone: this runs again when it is complete.
    """
    if any(_is_half_imported(module) for module in _PARTS):
        return
    for module, parts in _PARTS.items():
        for own_class, auto_class, auto_module in parts:
            if _full_name(module) in sys.modules and auto_module not in sys.modules:
                importlib.import_module(auto_module)
            auto = getattr(sys.modules.get(auto_module), auto_class, None)
            if auto is not None:
                _register(auto, _own_class(module, own_class))


def _register(auto_class: Any, own_class: Any) -> None:
    config: Any = _own_class("configuration_hf_attn", "HfAttnConfig")
    key = config.model_type if own_class is config else config
    auto_class.register(key, own_class, exist_ok=True)
    own_class.register_for_auto_class(auto_class.__name__)  # saved models name and carry our code


def _own_class(module: str, name: str) -> Any:
    return getattr(importlib.import_module(_full_name(module)), name)


def _is_half_imported(module: str) -> bool:
    loaded = sys.modules.get(_full_name(module))
    return loaded is not None and not hasattr(loaded, "__all__")  # which each of them ends with
