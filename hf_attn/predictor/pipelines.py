"""Recognises the tokenizers that `tokenization_hf_attn` builds, without importing transformers."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tokenizers import AddedToken, Tokenizer

SEP_ID = 2
_SPECIAL_TOKENS = {
    number: AddedToken(content, normalized=False, special=True)
    for number, content in enumerate(("[PAD]", "[UNK]", "[SEP]"))
}
# Digests of the parts as JSON. A tokenizer of any other make is still encoded, only more slowly.
_NORMALIZERS = {"0146778bd117f6a4", "3e710807982348fa", "73c0b0336ada93e2", "87faf5cc27a63d0d"}
_PRE_TOKENIZERS = {"0043c5494b6f9d10", "eb95a1866887df75"}
_POST_PROCESSORS = {"2601aefab949f7cd"}


def splits_at_white_space(tokenizer: Tokenizer) -> bool:
    """Tells whether the ids of a text are those of its white-space chunks, one after the other.

    They are for all that `HfAttnTokenizer` trains: no step looks across ASCII white space or a
    control character, and nothing is added to a single text.
    """
    return (
        digest(tokenizer.normalizer) in _NORMALIZERS
        and digest(tokenizer.pre_tokenizer) in _PRE_TOKENIZERS
        and digest(tokenizer.post_processor) in _POST_PROCESSORS
        and tokenizer.get_added_tokens_decoder() == _SPECIAL_TOKENS
    )


def lowercases(tokenizer: Tokenizer) -> bool:
    """Tells whether one of our tokenizers makes `The` and `the` one word."""
    return {"type": "Lowercase"} in _state(tokenizer.normalizer)["normalizers"]


def digest(part: Any) -> str:
    """Gives a short name of a normalizer, a pre-tokenizer or a post-processor, by what it does."""
    canonical = "" if part is None else json.dumps(_state(part), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _state(part: Any) -> Any:
    return json.loads(part.__getstate__())
