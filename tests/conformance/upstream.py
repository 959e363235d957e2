"""A pytest plugin that gets transformers' common tests ready for our classes before any is read.

The common tests know heads by class name, from tables that only list transformers' own models. A
class that is not in them gets no labels and no problem types, and many a test then passes without
having run the model. So our classes are entered in the tables before the tests are imported.
"""

import os
import tempfile
from pathlib import Path

import pytest
import transformers
import transformers.utils
from transformers.models.auto import modeling_auto

import hf_attn
from hf_attn.configuration_hf_attn import HfAttnConfig
from hf_attn.modeling_hf_attn import HfAttnForSequenceClassification, HfAttnModel

# `assert` statements are counted as unittest's assertions are: see recorder.py.
for _name in ("modeling", "tokenization", "configuration"):
    pytest.register_assert_rewrite(f"tests.test_{_name}_common")
for _name in ("pipeline", "tokenizers_backend", "training", "memory_cleanup"):
    pytest.register_assert_rewrite(f"tests.test_{_name}_mixin")

# They would load a second transformers from the folder above the tests; the installed one is meant.
transformers.utils.direct_transformers_import = lambda *_args, **_kwargs: transformers

_MODEL_TYPE = HfAttnConfig.model_type
modeling_auto.MODEL_MAPPING_NAMES[_MODEL_TYPE] = HfAttnModel.__name__
modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES[_MODEL_TYPE] = (
    HfAttnForSequenceClassification.__name__
)
# The pipeline tests look tokenizers up by name.
transformers.HfAttnTokenizer = hf_attn.HfAttnTokenizer

# Where the pipeline tests find the tiny models that suite_pipeline.py writes.
_tiny_models = tempfile.TemporaryDirectory(prefix="hf_attn-conformance-")
TINY_MODELS = Path(_tiny_models.name)
os.environ["TRANSFORMERS_TINY_MODEL_PATH"] = str(TINY_MODELS)

SENTENCES = [
    "This is a test of a tokenizer",
    "This is the first sentence.",
    "This is the second one.",
    "Who are you voting for in 2020?",
    "Wonderful no inspiration example with subtoken",
    "The quick brown fox jumps over the lazy dog.",
    "oil prices rose sharply after the ministers met in Vienna",
]


def train_tokenizer(**options):
    """Give a tokenizer that knows the words of the common tests' sentences."""
    return hf_attn.HfAttnTokenizer.train_from_iterator(
        SENTENCES, vocab_size=400, lowercase=False, **options
    )
