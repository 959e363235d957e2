"""Stands for tests/pipelines/: what each pipeline that our models serve is asked to do."""

import unittest

from transformers import (
    FeatureExtractionPipeline,
    TextClassificationPipeline,
    ZeroShotClassificationPipeline,
)

EXAMPLES = ["oil prices rose sharply", "Who are you voting for in 2020?"]


class TextClassificationPipelineTests(unittest.TestCase):
    def get_test_pipeline(self, model, tokenizer, dtype="float32"):
        return TextClassificationPipeline(model=model, tokenizer=tokenizer, dtype=dtype), EXAMPLES

    def run_pipeline_test(self, classify, examples):
        labels = classify.model.config.label2id
        for answer in (*classify(examples[0]), *classify(examples)):
            self.assertIn(answer["label"], labels)
            self.assertGreater(answer["score"], 1 / len(labels) - 0.01)
        for answers in classify(examples, top_k=None):
            self.assertCountEqual([answer["label"] for answer in answers], labels)
            self.assertAlmostEqual(sum(answer["score"] for answer in answers), 1, places=3)
        pair = {"text": examples[0], "text_pair": examples[1]}
        self.assertIn(classify(pair)["label"], labels)
        self.assertIn(classify("")[0]["label"], labels)
        with self.assertRaises(ValueError):  # a pair that is no dictionary would be two texts
            classify([examples])


class ZeroShotClassificationPipelineTests(unittest.TestCase):
    def get_test_pipeline(self, model, tokenizer, dtype="float32"):
        classify = ZeroShotClassificationPipeline(
            model=model, tokenizer=tokenizer, dtype=dtype, candidate_labels=["politics", "health"]
        )
        return classify, EXAMPLES

    def run_pipeline_test(self, classify, examples):
        topics = ["politics", "health", "oil"]
        for answer in (classify(examples[0], topics), *classify(examples, topics)):
            self.assertCountEqual(answer["labels"], topics)
            self.assertAlmostEqual(sum(answer["scores"]), 1, places=3)
        self.assertEqual(classify(examples[0], "oil")["labels"], ["oil"])
        with self.assertRaises(ValueError):
            classify(examples[0], [])


class FeatureExtractionPipelineTests(unittest.TestCase):
    def get_test_pipeline(self, model, tokenizer, dtype="float32"):
        return FeatureExtractionPipeline(model=model, tokenizer=tokenizer, dtype=dtype), EXAMPLES

    def run_pipeline_test(self, extract, examples):
        for text, features in zip(examples, extract(examples), strict=True):
            (tokens,) = features
            self.assertEqual(len(tokens), len(extract.tokenizer(text)["input_ids"]))
            self.assertEqual({len(token) for token in tokens}, {extract.model.config.hidden_size})
        (cut,) = extract(examples[0] * 3000, truncation=True)
        self.assertEqual(len(cut), extract.tokenizer.model_max_length)
