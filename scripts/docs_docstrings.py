"""Reads our code for the API pages; mkdocstrings loads this as an extension of griffe.

- A name written [`like_this`] in a docstring, as transformers does, becomes a link where a page
  has it.
- `Example:` is read as the section that griffe calls `Examples:`, so that its `>>>` are code.
- A class made by `strict` of huggingface_hub takes its fields as arguments, as a dataclass does.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

import hf_attn

_REFERENCE = re.compile(r"\[(`([\w.]+)`)\](?![\[(])")
_EXAMPLE = re.compile(r"^( *)Example:$", re.M)
_STRICT = "huggingface_hub.dataclasses.strict"


class CodeReading(griffe.Extension):
    """Rewrites docstrings before they are parsed, and gives classes what their decorators add."""

    def on_object(self, *, obj: griffe.Object, **_others: Any) -> None:
        """Rewrites the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            text = _REFERENCE.sub(_link, obj.docstring.value)
            obj.docstring.value = _EXAMPLE.sub(r"\1Examples:", text)

    def on_class_members(self, *, cls: griffe.Class, **_others: Any) -> None:
        """Adds the `__init__` that a decorator makes from the fields of a class."""
        if any(decorator.callable_path == _STRICT for decorator in cls.decorators):
            fields = [
                griffe.Parameter(
                    field.name,
                    annotation=field.annotation,
                    kind=griffe.ParameterKind.keyword_only,
                    default=field.value,
                )
                for field in cls.attributes.values()
                if "instance-attribute" in field.labels and field.annotation is not None
            ]
            itself = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
            parameters = griffe.Parameters(itself, *fields)
            cls.set_member("__init__", griffe.Function("__init__", parameters=parameters))


def _link(match: re.Match[str]) -> str:
    """Gives a reference that mkdocstrings resolves, or the name alone where no page has it."""
    code, name = match.groups()
    is_public = name.partition(".")[0] in hf_attn.__all__
    return f"[{code}][hf_attn.{name}]" if is_public else str(code)
