"""transformers' pipeline tests, on tiny models saved where they would be fetched from the Hub."""

import copy
import json
import unittest

import upstream
from transformers import set_seed

from hf_attn import HfAttnConfig, HfAttnForSequenceClassification, HfAttnModel, HfAttnTokenizer

MODELS = {
    "feature-extraction": HfAttnModel,
    "text-classification": HfAttnForSequenceClassification,
    "zero-shot": HfAttnForSequenceClassification,
}
ENTAILMENT = {0: "contradiction", 1: "neutral", 2: "entailment"}


def save_tiny_models():
    """Write each model with a tokenizer, and the table that says which tokenizer it has."""
    set_seed(0)
    tokenizer = upstream.train_tokenizer(model_max_length=512)
    config = HfAttnConfig(
        vocab_size=len(tokenizer), hidden_size=16, head_dim=8, id2label=ENTAILMENT, ngram_buckets=20
    )
    summary = {}
    for model_class in set(MODELS.values()):
        name = model_class.__name__
        folder = upstream.TINY_MODELS / HfAttnConfig.model_type / name
        model_class(copy.deepcopy(config)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        summary[name] = {
            "tokenizer_classes": [HfAttnTokenizer.__name__],
            "processor_classes": [],
            "model_classes": [name],
        }
    table = upstream.TINY_MODELS / "reports" / "tiny_model_summary.json"
    table.parent.mkdir()
    table.write_text(json.dumps(summary), encoding="utf-8")


# The tests read the table when they are imported.
save_tiny_models()

from tests.test_pipeline_mixin import PipelineTesterMixin  # noqa: E402


class HfAttnPipelineTest(PipelineTesterMixin, unittest.TestCase):
    pipeline_model_mapping = MODELS
