"""The predictor: the model's own answers and reasons, from tables, in the order of the texts."""

import json
import threading

import numpy as np
import pytest
import torch
from models import VARIANTS, small_classifier, variant_name
from processes import run_python

from hf_attn import HfAttnTokenizer, InputError, Predictor, explain, fold
from hf_attn.prediction_lines import PredictionLines
from hf_attn.predictor.predictions import TextBatch

TEXTS = [
    "Oil prices rose, and rose again.",
    "",
    "the bank cut rates",
    "wheat",
    "don't sell 3.14 tonnes of crème brûlée!",
    "oil " * 70 + "wheat",
]


@pytest.fixture(scope="module")
def tokenizer():
    return HfAttnTokenizer.train_from_iterator(TEXTS)


def classifier(**fields):
    model = small_classifier(dtype=torch.float32, **fields)
    model.set_reference(torch.linspace(-0.5, 0.5, 8))
    return model


def reading_of(explanation):
    """The first reading of an explanation; for several labels that of the likeliest."""
    return explanation.aimed_at(int(np.argmax(explanation.logits)), None).readings[0]


@pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
def test_predictions_are_those_of_explain(variant, tokenizer):
    model = classifier(**variant, num_labels=11)
    predictions = Predictor.from_model(model, tokenizer).predict(TEXTS, explain=True)
    for row, expected in enumerate(explain(TEXTS, model, tokenizer)):
        np.testing.assert_allclose(predictions.logits[row], expected.logits, atol=1e-5)
        np.testing.assert_allclose(
            predictions.probabilities[row], expected.probabilities, atol=1e-5
        )
        reading = reading_of(expected)
        words = predictions.words(row)
        assert [(word.word, word.start, word.end) for word in words] == [
            (word.text, word.start, word.end) for word in reading.words
        ]
        contributions = [word.contribution for word in words]
        expected_contributions = [word.contribution for word in reading.words]
        np.testing.assert_allclose(contributions, expected_contributions, atol=1e-5)
        total = predictions.bias[row] + sum(contributions)
        assert total == pytest.approx(reading.logit, abs=1e-4)


@pytest.mark.parametrize(
    "fields",
    [
        {"problem_type": "multi_label_classification"},
        {"problem_type": "regression", "num_labels": 1},
        {"num_labels": 1},
        {"num_labels": 2},
    ],
    ids=str,
)
def test_every_task_explains_what_explain_does(fields, tokenizer):
    model = classifier(**fields)
    predictions = Predictor.from_model(model, tokenizer).predict(TEXTS, explain=True)
    for row, expected in enumerate(explain(TEXTS, model, tokenizer)):
        readings = {reading.target: reading for reading in expected.readings}
        reading = readings[predictions.labels[row]]
        np.testing.assert_allclose(predictions.scores[row], reading.probability, atol=1e-5)
        np.testing.assert_allclose(
            [word.contribution for word in predictions.words(row)],
            [word.contribution for word in reading.words],
            atol=1e-5,
        )


def test_pairs_are_explained_on_both_sides(tokenizer):
    model = classifier()
    pairs = ["a bank", "oil", "", "rates rose", "wheat", "again"]
    predictions = Predictor.from_model(model, tokenizer).predict(TEXTS, pairs=pairs, explain=True)
    for row, expected in enumerate(explain(TEXTS, model, tokenizer, pairs=pairs)):
        np.testing.assert_allclose(predictions.logits[row], expected.logits, atol=1e-5)
        reading = reading_of(expected)
        assert [(word.word, word.in_pair) for word in predictions.words(row)] == [
            (word.text, word.in_pair) for word in reading.words
        ]


def test_top_words_are_the_largest_of_all_words(tokenizer):
    predictions = Predictor.from_model(classifier(), tokenizer).predict(TEXTS, explain=True)
    for count in (0, 1, 3, 1000):
        for row, top in enumerate(predictions.top_words(count)):
            words = predictions.words(row)
            expected = sorted(words, key=lambda word: (-abs(word.contribution), word.start))
            assert top == expected[:count]
    assert predictions.words(-1) == predictions.words(len(TEXTS) - 1)


def test_contributions_that_were_not_asked_for_say_so(tokenizer):
    predictions = Predictor.from_model(classifier(), tokenizer).predict(TEXTS)
    for ask in (lambda: predictions.words(0), lambda: predictions.top_words(1)):
        with pytest.raises(ValueError, match="explain=True"):
            ask()
    with pytest.raises(ValueError, match="explain=True"):
        _ = predictions.bias


def test_predictions_are_a_sequence_of_objects(tokenizer):
    model = classifier(id2label={0: "oil", 1: "bank", 2: "grain"})
    predictions = Predictor.from_model(model, tokenizer).predict(TEXTS)
    assert len(predictions) == len(list(predictions)) == len(TEXTS)
    first, *_ = predictions[:2]
    assert first == predictions[0]
    assert list(first.scores.values()) == sorted(first.scores.values(), reverse=True)
    assert (first.label, first.score) == next(iter(first.scores.items()))
    assert predictions.labels[0] == first.label
    with pytest.raises(IndexError):
        predictions[len(TEXTS)]


@pytest.mark.parametrize("num_threads", [1, 3])
def test_stream_gives_the_batches_in_order(num_threads, tokenizer):
    predictor = Predictor.from_model(classifier(), tokenizer, num_threads=num_threads)
    whole = predictor.predict(TEXTS * 5).logits
    taken = []

    def batches():
        for start in range(0, len(TEXTS) * 5, 7):
            taken.append(start)
            yield TextBatch((TEXTS * 5)[start : start + 7])

    parts = []
    for predictions in predictor.stream(batches()):
        parts.append(predictions.logits)
        assert len(taken) <= len(parts) + 1  # no more is read than the next batch
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_stream_gives_a_batch_before_the_next_one_is_there(num_threads, tokenizer):
    predictor = Predictor.from_model(classifier(), tokenizer, num_threads=num_threads)
    asked = threading.Event()

    def batches():
        for text in TEXTS:
            yield [text]
            assert asked.wait(30)
            asked.clear()

    stream = predictor.stream(batches())
    for text in TEXTS:
        assert next(stream).batch.texts == [text]
        asked.set()
    assert list(stream) == []


def test_many_texts_with_threads_are_those_of_one_thread(tokenizer):
    model, texts = classifier(), TEXTS * 1500
    pairs = [text[:3] for text in texts]
    expected = Predictor.from_model(model, tokenizer).predict(texts, pairs=pairs, explain=True)
    predictor = Predictor.from_model(model, tokenizer, num_threads=2)
    predictions = predictor.predict(texts, pairs=pairs, explain=True)
    np.testing.assert_allclose(predictions.logits, expected.logits, atol=1e-6)
    np.testing.assert_allclose(predictions.bias, expected.bias, atol=1e-6)
    for row in (0, 8191, 8192, len(texts) - 1):
        words, expected_words = predictions.words(row), expected.words(row)
        assert [word[:3] for word in words] == [word[:3] for word in expected_words]
        for word, expected_word in zip(words, expected_words, strict=True):
            assert word.contribution == pytest.approx(expected_word.contribution, abs=1e-5)
    with pytest.raises(InputError, match="a second text for each of the 9000 texts, got 1"):
        predictor.predict(texts, pairs=["one"])


@pytest.mark.parametrize("num_threads", [1, 2])
def test_stream_that_is_left_early_ends(num_threads, tokenizer):
    predictor = Predictor.from_model(classifier(), tokenizer, num_threads=num_threads)
    stream = predictor.stream([TEXTS] for _ in iter(int, 1))
    with pytest.raises(InputError, match="expected texts that are strings"):
        next(stream)
    endless = predictor.stream(TEXTS for _ in iter(int, 1))
    assert len(next(endless)) == len(TEXTS)
    endless.close()


@pytest.mark.parametrize("num_threads", [1, 2])
def test_stream_that_is_left_does_not_wait_for_the_next_batch(num_threads, tokenizer):
    predictor = Predictor.from_model(classifier(), tokenizer, num_threads=num_threads)
    never = threading.Event()

    def batches():
        yield TEXTS
        never.wait(60)
        yield TEXTS

    stream = predictor.stream(batches())
    assert len(next(stream)) == len(TEXTS)
    closing = threading.Thread(target=stream.close)
    closing.start()
    closing.join(20)
    is_waiting = closing.is_alive()
    never.set()
    assert not is_waiting


def test_labels_whose_probabilities_are_both_1_are_ordered_by_their_logits(tokenizer):
    model = classifier(
        problem_type="multi_label_classification", id2label={0: "x", 1: "y"}, num_labels=2
    )
    with torch.no_grad():
        for parameter in model.score.parameters():
            parameter.zero_()
        model.score.bias.copy_(torch.tensor([20.0, 25.0]))
    predictions = Predictor.from_model(model, tokenizer).predict(TEXTS)
    assert predictions.probabilities[0].tolist() == [1, 1]
    assert predictions.labels[0] == predictions[0].label == "y"
    assert list(predictions[0].scores) == list(predictions[0].labels) == ["y", "x"]
    line = PredictionLines(as_json=True).write(predictions, []).splitlines()[0]
    assert json.loads(line)["label"] == "y"
    assert PredictionLines(top_k=2).write(predictions, []).startswith(b"y\t")


def test_folder_without_names_of_classes_has_those_of_transformers(tokenizer, tmp_path):
    model = classifier(id2label={0: "LABEL_0", 1: "LABEL_1"}, num_labels=2)
    fold(model).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert "id2label" not in json.loads((tmp_path / "config.json").read_text())
    assert Predictor.from_pretrained(tmp_path).class_names == ("LABEL_0", "LABEL_1")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("oil prices", "expected a list of texts, got one string"),
        (["oil", None], "expected texts that are strings, got NoneType"),
        (["oil \ud800"], "lone surrogate at position 4"),
    ],
)
def test_what_is_no_text_is_refused(texts, message, tokenizer):
    with pytest.raises(InputError, match=message):
        Predictor.from_model(classifier(), tokenizer).predict(texts)


def test_predictor_refuses_what_does_not_fit(tokenizer):
    with pytest.raises(InputError, match="belongs to another model"):
        Predictor.from_model(classifier(vocab_size=5, pad_token_id=0), tokenizer)
    with pytest.raises(InputError, match="num_threads must be 1 or more"):
        Predictor.from_model(classifier(), tokenizer, num_threads=0)
    with pytest.raises(TypeError, match="expected an HfAttnForSequenceClassification"):
        Predictor.from_model(classifier().model, tokenizer)


@pytest.mark.parametrize("table_dtype", ["float32", "float16", "int8"])
def test_folder_is_read_without_torch(table_dtype, tokenizer, tmp_path):
    folded = fold(classifier(ngram_buckets=37), table_dtype=table_dtype)
    folded.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    printed = run_python(
        """
        import sys
        from hf_attn import Predictor
        predictions = Predictor.from_pretrained(sys.argv[1]).predict(["oil prices rose"] * 5000)
        print(predictions.logits[0].tolist())
        heavy = {"torch", "transformers", "datasets", "huggingface_hub", "pandas", "scipy"}
        print(sorted(heavy & set(sys.modules)))
        """,
        tmp_path,
    )
    logits, imported = map(eval, printed.splitlines())
    expected = folded(**tokenizer("oil prices rose", return_tensors="pt")).logits[0]
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-5)
    assert imported == []


def test_plain_folder_is_folded_first(tokenizer, tmp_path):
    model = classifier()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    logits = Predictor.from_pretrained(tmp_path).predict(["oil prices rose"]).logits
    expected = model(**tokenizer("oil prices rose", return_tensors="pt")).logits
    np.testing.assert_allclose(logits, expected.detach().numpy(), atol=1e-5)
