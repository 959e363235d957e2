"""transformers' model tests on mean pooling without bigrams, and its configuration tests."""

import copy
import unittest
from unittest import mock

import torch
from tests.test_configuration_common import ConfigTester
from tests.test_modeling_common import ModelTesterMixin, ids_tensor, random_attention_mask
from tests.test_training_mixin import TrainingTesterMixin

from hf_attn import HfAttnConfig, HfAttnForSequenceClassification, HfAttnModel
from hf_attn.modeling_hf_attn import HfAttnClassificationHead

# Buckets that the seven tokens reach, near and far ones; weights wide enough for attention to be
# far from uniform.
PLAIN = {
    "head_dim": 8,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 6,
    "attention_dropout": 0.1,
    "embedding_dropout": 0.1,
    "classifier_dropout": 0.1,
    "initializer_range": 0.2,
}


class HfAttnModelTester:
    """Makes small configurations and inputs, as the common tests ask for them."""

    is_training = True
    batch_size = 13
    seq_length = 7
    vocab_size = 99
    hidden_size = 32
    num_hidden_layers = 1
    num_attention_heads = 1
    num_labels = 3
    sequence_classification_class = HfAttnForSequenceClassification
    options = PLAIN

    def __init__(self, parent):
        self.parent = parent

    def get_config(self):
        return HfAttnConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            num_labels=self.num_labels,
            **self.options,
        )

    def prepare_config_and_inputs_for_common(self):
        shape = [self.batch_size, self.seq_length]
        # Id 0 is the pad id, whose embedding stays 0 and gets no gradient.
        input_ids = ids_tensor(shape, self.vocab_size - 1) + 1
        attention_mask = random_attention_mask(shape)
        return self.get_config(), {"input_ids": input_ids, "attention_mask": attention_mask}


class ModelSuite(ModelTesterMixin, TrainingTesterMixin):
    """What holds for every configuration; the subclasses say which."""

    all_model_classes = (HfAttnModel, HfAttnForSequenceClassification)
    model_tester_class = HfAttnModelTester
    model_tester = None
    # transformers exempts models from before 2023, which it tells from a copyright line.
    test_can_init_all_missing_weights_before_2023 = True
    training_overfit_steps = 100
    training_overfit_learning_rate = 1e-2

    def setUp(self):
        self.model_tester = self.model_tester_class(self)

    def _create_text_training_batch(self, batch_size, seq_length, vocab_size):
        """Give one label to a text; the common test, made for language models, one to a token."""
        batch = super()._create_text_training_batch(batch_size, seq_length, vocab_size)
        input_ids = batch["input_ids"]
        input_ids[::2] = vocab_size - input_ids[::2]
        return {"input_ids": input_ids, "labels": torch.arange(batch_size) % 2}

    def test_can_load_ignoring_mismatched_shapes(self):
        """The common test, told that all of our head is new, its bias beside the linear layer too.

        It takes what lies outside of linear layers for weights that must have been loaded.
        """
        linear = HfAttnClassificationHead.named_children

        def nameless(head):
            return (("", module) for _, module in linear(head))

        with mock.patch.object(HfAttnClassificationHead, "named_children", nameless):
            super().test_can_load_ignoring_mismatched_shapes()


class HfAttnModelTest(ModelSuite, unittest.TestCase):
    def test_tables_know_our_classes(self):
        """The labels, without which dozens of tests would pass without doing anything."""
        _, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        labelled = self._prepare_for_class(
            copy.deepcopy(inputs), HfAttnForSequenceClassification, return_labels=True
        )
        self.assertIn("labels", labelled)
        plain = self._prepare_for_class(copy.deepcopy(inputs), HfAttnModel, return_labels=True)
        self.assertNotIn("labels", plain)


class HfAttnConfigTest(unittest.TestCase):
    def test_config(self):
        tester = ConfigTester(self, config_class=HfAttnConfig, hidden_size=37, head_dim=5)
        tester.run_common_tests()
