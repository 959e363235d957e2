"""The pipeline of explained classes: what `explain` says, in every way pipelines are called."""

import json

import pytest
from models import small_classifier
from torch.utils.data import Dataset
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

from hf_attn import HfAttnTokenizer, InputError, explain
from hf_attn.explanation_pipeline import TASK
from hf_attn.loading import load_classifier

TEXTS = [
    "crude rose in april",
    "",
    "the wheat harvest <b>",
    "opec",
    "corn and crude and wheat said the market",
]
NAMES = {0: "crude", 1: "grain", 2: "money"}
PAIR = {"text": "crude oil", "text_pair": "the wheat market"}


@pytest.fixture(scope="module")
def explained(trained_folder):
    return pipeline(TASK, model=str(trained_folder), device="cpu")


def small_pipeline(problem_type="single_label_classification", **options):
    tokenizer = HfAttnTokenizer.train_from_iterator(TEXTS)
    model = small_classifier(vocab_size=len(tokenizer), id2label=NAMES, problem_type=problem_type)
    return pipeline(TASK, model=model, tokenizer=tokenizer, device="cpu", **options)


def answer_of(explanation):
    """Gives the answer that the first reading of an explanation stands for."""
    reading = explanation.readings[0]
    names = [
        "start", "end", "contribution", "direct", "context", "deletion_effect", "pool_weight",
        "attention_received", "is_known", "is_special", "in_pair", "signs_differ",
    ]  # fmt: skip
    words = [
        {"word": word.text} | {name: getattr(word, name) for name in names}
        for word in reading.words
    ]
    return {
        "label": reading.target,
        "score": reading.probability,
        "against": reading.against,
        "logit": reading.logit,
        "bias": reading.bias,
        "read_span": explanation.read_span,
        "pair_read_span": explanation.pair_read_span,
        "words": words,
    }


def assert_answer(answer, explanation):
    """Compares with an explanation, but for what another batch rounds another way."""
    expected = answer_of(explanation)
    words, expected_words = answer.pop("words"), expected.pop("words")
    assert answer == pytest.approx(expected, abs=1e-5)
    assert len(words) == len(expected_words)
    for word, expected_word in zip(words, expected_words, strict=True):
        assert word == pytest.approx(expected_word, abs=1e-5)


def explain_with(explained, texts, **options):
    return explain(texts, explained.model, explained.tokenizer, **options)


def test_answer_to_one_text_is_its_explanation(explained):
    answer = explained(TEXTS[0])
    assert answer == answer_of(explain_with(explained, TEXTS[0]))
    assert [word["word"] for word in answer["words"]] == TEXTS[0].split()
    total = sum(word["contribution"] for word in answer["words"])
    assert answer["bias"] + total == pytest.approx(answer["logit"], abs=1e-5)
    assert json.loads(json.dumps(answer)) == answer


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_answers_do_not_depend_on_the_batch(explained, batch_size):
    answers = explained(TEXTS, batch_size=batch_size)
    assert len(answers) == len(TEXTS)
    for answer, explanation in zip(answers, explain_with(explained, TEXTS), strict=True):
        assert_answer(answer, explanation)


class Texts(Dataset):
    def __len__(self):
        return len(TEXTS)

    def __getitem__(self, index):
        return {"id": index, "body": TEXTS[index]}


@pytest.mark.parametrize(
    "inputs",
    [
        lambda: (text for text in TEXTS),
        lambda: KeyDataset(Texts(), "body"),
        lambda: ({"text": text, "id": 1} for text in TEXTS),
    ],
    ids=["generator", "dataset", "rows"],
)
def test_streams_are_answered_in_their_order(explained, inputs):
    answers = list(explained(inputs(), batch_size=2))
    for answer, explanation in zip(answers, explain_with(explained, TEXTS), strict=True):
        assert_answer(answer, explanation)


def test_pairs_are_explained_together(explained):
    expected = explain_with(explained, PAIR["text"], pairs=PAIR["text_pair"])
    assert explained(PAIR) == answer_of(expected)
    assert [word["in_pair"] for word in explained(PAIR)["words"]] == [False] * 3 + [True] * 3
    for answer in explained([PAIR, PAIR, PAIR], batch_size=2):
        assert_answer(answer, expected)


def test_classes_are_chosen_by_target_and_against():
    explained = small_pipeline()
    text = TEXTS[-1]
    for options in ({"target": "grain"}, {"target": 2, "against": "crude"}):
        assert explained(text, **options) == answer_of(explain_with(explained, text, **options))
    best = explained(text)["label"]
    other = explained(text, against=best)
    second = explained(text, top_k=2)[1]["label"]
    assert other == answer_of(explain_with(explained, text, target=second, against=best))


@pytest.mark.parametrize("top_k", [1, 2, None, 9])
def test_top_k_gives_the_likeliest_classes_each_with_its_words(top_k):
    explained = small_pipeline()
    for text, answers in zip(TEXTS, explained(TEXTS, top_k=top_k, batch_size=2), strict=True):
        explanation = explain_with(explained, text)
        order = sorted(NAMES, key=lambda index: -explanation.logits[index])[:top_k]
        for answer, index in zip(answers, order, strict=True):
            assert_answer(answer, explanation.aimed_at(index))


def test_top_k_leaves_out_the_class_that_others_are_compared_with():
    explained = small_pipeline()
    answers = explained(TEXTS[0], top_k=None, against="grain")
    assert {(answer["label"], answer["against"]) for answer in answers} == {
        ("crude", "grain"),
        ("money", "grain"),
    }


def test_several_labels_are_explained_on_their_own():
    explained = small_pipeline("multi_label_classification")
    answers = explained(TEXTS[0], top_k=None)
    readings = explain_with(explained, TEXTS[0]).readings
    assert [answer["label"] for answer in answers] == [reading.target for reading in readings]
    assert [answer["score"] for answer in answers] == [reading.probability for reading in readings]
    assert {answer["against"] for answer in answers} == {None}
    assert explained(TEXTS[0]) == answers[0]


def test_values_stay_in_their_order():
    explained = small_pipeline("regression")
    answers = explained(TEXTS[0], top_k=None)
    logits = explain_with(explained, TEXTS[0]).logits
    assert [answer["label"] for answer in answers] == list(NAMES.values())
    assert [answer["score"] for answer in answers] == logits.tolist()


def test_options_of_the_constructor_hold_until_a_call_gives_others():
    explained = small_pipeline(top_k=2, deletion_effects=False, batch_size=3)
    answers = explained(TEXTS)
    assert {len(answer) for answer in answers} == {2}
    assert answers[0][0]["words"][0]["deletion_effect"] is None
    (answer,) = explained(TEXTS[0], top_k=1, deletion_effects=True)
    assert answer == answer_of(explain_with(explained, TEXTS[0]))
    assert len(explained(TEXTS[0])) == 2


def test_long_text_is_cut_at_the_limit_of_the_tokenizer():
    explained = small_pipeline()
    explained.tokenizer.model_max_length = 3
    answer = explained(TEXTS[-1])
    assert [word["word"] for word in answer["words"]] == TEXTS[-1].split()[:3]
    assert answer["read_span"] == (0, len("corn and crude"))
    assert explained(TEXTS[0][:5])["read_span"] is None


@pytest.mark.parametrize(
    ("inputs", "options", "error", "message"),
    [
        ("a", {"target": "grian"}, InputError, r"got 'grian'. Did you mean 'grain'\?"),
        ("a", {"target": 0, "against": 0}, InputError, "against must be another class"),
        ("a", {"target": 0, "top_k": 2}, InputError, "target and top_k both say which classes"),
        ("a", {"top_k": 0}, InputError, "top_k must be 1 or more, or None for all classes, got 0"),
        ("a", {"truncaton": True}, TypeError, "takes the options target, .*, got truncaton"),
        ([["a", "b"]], {}, TypeError, r"expected a text or a pair .* got list \['a', 'b'\]"),
        ({"body": "a"}, {}, TypeError, r"expected a text or a pair .* got dict \{'body'"),
    ],
)
def test_calls_that_cannot_be_answered_are_refused(inputs, options, error, message):
    with pytest.raises(error, match=message):
        small_pipeline()(inputs, **options)


def test_saved_pipeline_loads_as_every_other(explained, tmp_path):
    explained.save_pretrained(tmp_path)
    assert pipeline(TASK, model=str(tmp_path))(TEXTS[0]) == explained(TEXTS[0])
    classify = pipeline("text-classification", model=str(tmp_path), device="cpu")
    assert classify(TEXTS[0])[0]["label"] == explained(TEXTS[0])["label"]
    assert not (tmp_path / "explanation_pipeline.py").exists()
    assert getattr(load_classifier(str(tmp_path))[0].config, "custom_pipelines", None) is None


def test_scores_are_those_of_the_task_of_transformers(explained, trained_folder):
    classify = pipeline("text-classification", model=str(trained_folder), top_k=None)
    for theirs, ours in zip(classify(TEXTS), explained(TEXTS, top_k=None), strict=True):
        assert [one["label"] for one in theirs] == [one["label"] for one in ours]
        scores = [one["score"] for one in ours]
        assert [one["score"] for one in theirs] == pytest.approx(scores, abs=1e-6)
