"""transformers' tokenizer tests, on each algorithm that our tokenizer can be trained with."""

import shutil
import tempfile
import unittest
from unittest import mock

import upstream
from tests.test_tokenization_common import TokenizerTesterMixin
from tests.test_tokenizers_backend_mixin import TokenizersBackendTesterMixin

from hf_attn import HfAttnTokenizer


class TrainsItsTokenizer:
    """Trains a tokenizer where the common tests would fetch one from the Hub."""

    tokenizer_class = rust_tokenizer_class = HfAttnTokenizer
    algorithm = "word"

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.from_pretrained_id = cls.folder
        upstream.train_tokenizer(algorithm=cls.algorithm).save_pretrained(cls.folder)
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.folder)


class HfAttnWordTokenizerTest(TrainsItsTokenizer, TokenizerTesterMixin, unittest.TestCase):
    def test_pretokenized_inputs(self):
        """The common test returns at once for a tokenizer that adds no space before a text.

        Ours needs none for a word to be the same at the start of a text and inside of it.
        """
        tokenizer = self.get_tokenizer()
        tokenizer.add_prefix_space = True
        with mock.patch.object(self, "get_tokenizer", return_value=tokenizer):
            super().test_pretokenized_inputs()


class HfAttnWordPieceTokenizerTest(HfAttnWordTokenizerTest):
    algorithm = "wordpiece"


class HfAttnBpeTokenizerTest(HfAttnWordTokenizerTest):
    algorithm = "bpe"


class HfAttnUnigramTokenizerTest(HfAttnWordTokenizerTest):
    algorithm = "unigram"


class HfAttnBackendTest(TrainsItsTokenizer, TokenizersBackendTesterMixin, unittest.TestCase):
    pass
