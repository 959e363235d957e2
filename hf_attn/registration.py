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
# Auto module -> what to register when it is there: (Auto class, our module, our class).
_PARTS = {
    f"{_AUTO}.configuration_auto": [
        ("AutoConfig", "configuration_hf_attn", "HfAttnConfig"),
    ],
    f"{_AUTO}.modeling_auto": [
        ("AutoModel", "modeling_hf_attn", "HfAttnModel"),
        (
            "AutoModelForSequenceClassification",
            "modeling_hf_attn",
            "HfAttnForSequenceClassification",
        ),
    ],
    f"{_AUTO}.tokenization_auto": [
        ("AutoTokenizer", "tokenization_hf_attn", "HfAttnTokenizer"),
    ],
}
_OWN_MODULES = [
    f"{__package__}.{module}"
    for module in ("configuration_hf_attn", "modeling_hf_attn", "tokenization_hf_attn")
]


def register() -> None:
    """Registers configuration, models and tokenizer with the Auto classes, now or when loaded."""
    for name in (*_PARTS, *_OWN_MODULES):
        wrapt.register_post_import_hook(_register_what_is_loaded, name)


def _register_what_is_loaded(_loaded: ModuleType) -> None:
    """Registers each part whose Auto module is there.

    Importing one of our modules first makes transformers load Auto modules in the middle of it.
    Its classes do not exist then; this runs again when it is complete.
    """
    if any(name in sys.modules and _is_half_imported(name) for name in _OWN_MODULES):
        return
    for auto_name, parts in _PARTS.items():
        auto = sys.modules.get(auto_name)
        if auto is None or not all(hasattr(auto, auto_class) for auto_class, *_ in parts):
            continue
        for auto_class, module, own_class in parts:
            own = getattr(importlib.import_module(f".{module}", __package__), own_class)
            _register_class(getattr(auto, auto_class), own)
            own.register_for_auto_class(auto_class)


def _register_class(auto_class: Any, own_class: Any) -> None:
    config = importlib.import_module(".configuration_hf_attn", __package__).HfAttnConfig
    if own_class is config:
        auto_class.register(config.model_type, config, exist_ok=True)
    else:
        auto_class.register(config, own_class, exist_ok=True)


def _is_half_imported(name: str) -> bool:
    return not hasattr(sys.modules[name], "__all__")  # which each of them ends with
