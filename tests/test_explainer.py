"""Explanations: the model's own contributions, word by word, and what running again would give."""

import copy
import logging
import re

import numpy as np
import pytest
import torch
from models import small_classifier
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from trained import keyword_texts
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    PythonBackend,
)

from hf_attn import HfAttnModel, HfAttnTokenizer, InputError, Predictor, explain
from hf_attn.loading import load_classifier

TEXTS = [
    "unbelievable prices rose, didn't they?",
    "he believes in low prices",
    "low",
    "",
    "naïve 🙂",
]
CLASSES = ["rise", "fall", "other"]
ALGORITHMS = ["word", "wordpiece", "unigram"]


def tokenizer_of(algorithm, **options):
    size = 1000 if algorithm == "word" else 75
    return HfAttnTokenizer.train_from_iterator(
        TEXTS, algorithm=algorithm, vocab_size=size, **options
    )


def classifier(tokenizer, names=CLASSES, **fields):
    return small_classifier(
        vocab_size=len(tokenizer), id2label=dict(enumerate(names)), num_labels=len(names), **fields
    )


def contrast(logits, target):
    """The target against the others, weighted by the softmax over their logits."""
    others = np.delete(np.arange(len(logits)), target)
    weights = np.exp(logits[others]) / np.exp(logits[others]).sum()
    direction = np.zeros(len(logits))
    direction[target], direction[others] = 1, -weights
    return direction


@pytest.mark.parametrize("ngram_buckets", [0, 37])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_words_sum_the_models_contributions_of_their_tokens(algorithm, ngram_buckets):
    tokenizer = tokenizer_of(algorithm)
    model = classifier(tokenizer, ngram_buckets=ngram_buckets)
    for text in TEXTS[:2]:
        inputs = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            outputs = model(**inputs, output_contributions=True)
        explanation = explain(text, model, tokenizer)
        direction = contrast(outputs.logits[0].numpy(), explanation.logits.argmax())
        expected = np.zeros(len(explanation.words))
        for token, value in enumerate(outputs.contributions[0].numpy() @ direction):
            expected[inputs.encodings[0].word_ids[token]] += value
        actual = [word.contribution for word in explanation.words]
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)
        assert explanation.readings[0].logit == pytest.approx(outputs.logits[0].numpy() @ direction)


@pytest.mark.parametrize("ngram_buckets", [0, 37])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_deletion_effect_is_the_logit_less_that_of_running_again(algorithm, ngram_buckets):
    tokenizer = tokenizer_of(algorithm)
    model = classifier(tokenizer, ngram_buckets=ngram_buckets)
    for text, explanation in zip(TEXTS, explain(TEXTS, model, tokenizer), strict=True):
        inputs = tokenizer(text, return_tensors="pt")
        words = torch.tensor(inputs.encodings[0].word_ids)
        for word in range(len(explanation.spans)):
            mask = (words != word).long().unsqueeze(0)
            with torch.no_grad():
                without = model(inputs["input_ids"], mask).logits[0].numpy()
            effect = explanation.logits - without
            np.testing.assert_allclose(
                explanation.deletion_effects[word], effect, rtol=0, atol=1e-8
            )


def test_word_that_supports_the_class_has_a_positive_deletion_effect(trained_folder):
    model, tokenizer = load_classifier(str(trained_folder))
    words = explain("the market said wheat in april", model, tokenizer, target="farm").words
    assert words[3].text == "wheat"
    assert words[3].deletion_effect > 0.5
    assert words[3].contribution > 0.5


def test_signs_differ_where_contribution_and_effect_do():
    tokenizer = tokenizer_of("word")
    explanations = explain(TEXTS[:2], classifier(tokenizer), tokenizer)
    words = [word for one in explanations for word in one.words]
    for word in words:
        assert word.signs_differ == (np.sign(word.contribution) != np.sign(word.deletion_effect))
    assert {word.signs_differ for word in words} == {True, False}


@pytest.mark.parametrize("text", ["low low low low", "zebra yak gnu"])
def test_words_without_an_effect_have_the_effect_zero_and_no_sign(text):
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer, relative_attention_num_buckets=0).float()
    words = explain(text, model, tokenizer).words
    assert [word.deletion_effect for word in words] == [0] * len(words)
    assert not any(word.signs_differ for word in words)
    assert all(word.contribution != 0 for word in words)


def test_mixed_precision_around_it_changes_nothing():
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer).float()
    expected = explain(TEXTS[0], model, tokenizer)
    with torch.autocast("cpu", torch.bfloat16):
        explanation = explain(TEXTS[0], model, tokenizer)
    np.testing.assert_array_equal(explanation.logits, expected.logits)
    np.testing.assert_array_equal(explanation.deletion_effects, expected.deletion_effects)


def test_batch_gives_what_each_text_gives_alone():
    tokenizer = tokenizer_of("wordpiece")
    model = classifier(tokenizer, ngram_buckets=37)
    texts = TEXTS * 9
    for text, together in zip(texts, explain(texts, model, tokenizer, batch_size=4), strict=True):
        alone = explain(text, model, tokenizer)
        assert together.text == text
        assert [word.text for word in together.words] == [word.text for word in alone.words]
        for name in ("logits", "direct", "context", "deletion_effects", "pool_weights"):
            np.testing.assert_allclose(
                getattr(together, name), getattr(alone, name), rtol=0, atol=1e-12
            )


def test_long_texts_are_explained_a_few_at_once(monkeypatch):
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer)
    expected = explain(TEXTS, model, tokenizer)
    monkeypatch.setattr("hf_attn.explainer._SCORES_AT_ONCE", 1)
    for one, other in zip(explain(TEXTS, model, tokenizer), expected, strict=True):
        np.testing.assert_allclose(one.contributions, other.contributions, rtol=0, atol=1e-12)


def test_target_and_against_compare_two_classes():
    tokenizer = tokenizer_of("word")
    explanation = explain(
        TEXTS[0], classifier(tokenizer), tokenizer, target="other", against="rise"
    )
    (reading,) = explanation.readings
    assert reading.title == "other against rise"
    assert reading.logit == explanation.logits[2] - explanation.logits[0]
    values = explanation.contributions[:, 2] - explanation.contributions[:, 0]
    assert [word.contribution for word in reading.words] == pytest.approx(values)
    assert reading.probability == explanation.probabilities[2]


def test_aimed_at_another_class_equals_explaining_it():
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer)
    (aimed,) = explain(TEXTS[0], model, tokenizer).aimed_at("fall", 2).readings
    (asked,) = explain(TEXTS[0], model, tokenizer, target=1, against="other").readings
    assert (aimed.title, aimed.words) == (asked.title, asked.words)
    assert aimed.title == "fall against other"


def test_two_classes_stand_against_each_other():
    tokenizer = tokenizer_of("word")
    (reading,) = explain(
        TEXTS[0], classifier(tokenizer, ["a", "b"]), tokenizer, target="a"
    ).readings
    assert reading.title == "a against b"


@pytest.mark.parametrize("against", [None, 1])
def test_check_line_adds_up(against):
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer)
    model.set_reference(torch.ones(8, dtype=torch.float64))
    explanation = explain(TEXTS[0], model, tokenizer, target=0, against=against)
    (reading,) = explanation.readings
    assert reading.error <= 1e-12
    numbers = [float(number) for number in re.findall(r"[-+]\d+\.\d+", reading.check)]
    bias, total, logit, target, less = numbers
    assert bias + total == pytest.approx(logit, abs=2e-4)
    assert target - less == pytest.approx(logit, abs=2e-4)
    assert target == pytest.approx(explanation.logits[0], abs=1e-4)


def test_probability_label_and_margin_are_the_models():
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer)
    explanation = explain(TEXTS[0], model, tokenizer)
    with torch.no_grad():
        logits = model(**tokenizer(TEXTS[0], return_tensors="pt")).logits[0]
    assert explanation.label == CLASSES[int(logits.argmax())]
    assert explanation.probability == pytest.approx(float(logits.softmax(0).max()), abs=1e-6)
    first, second = logits.sort(descending=True).values[:2]
    assert explanation.margin == pytest.approx(float(first - second))


def test_empty_text_has_the_bias_as_its_logits():
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer)
    explanation = explain("", model, tokenizer)
    assert explanation.words == ()
    np.testing.assert_allclose(explanation.logits, model.score.bias.detach().numpy())
    assert explanation.readings[0].error <= 1e-12
    assert len(explain([], model, tokenizer)) == 0


def test_several_labels_have_a_reading_each():
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer, problem_type="multi_label_classification")
    explanation = explain(TEXTS[0], model, tokenizer)
    assert {reading.target for reading in explanation.readings} == set(CLASSES)
    for reading in explanation.readings:
        index = CLASSES.index(reading.target)
        assert reading.against is None
        assert reading.logit == explanation.logits[index]
        sigmoid = 1 / (1 + np.exp(-explanation.logits[index]))
        assert reading.probability == pytest.approx(sigmoid, abs=1e-6)
    probabilities = [reading.probability for reading in explanation.readings]
    assert probabilities == sorted(probabilities, reverse=True)
    assert len(explanation.shown) == max(1, sum(p >= 0.5 for p in probabilities))
    assert [reading.target for reading in explanation.aimed_at("fall").shown] == ["fall"]
    against = {reading.title for reading in explanation.aimed_at(against="fall").readings}
    assert against == {"rise against fall", "other against fall"}


def test_regression_reads_the_value():
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer, ["stars"], problem_type="regression")
    explanation = explain(TEXTS[0], model, tokenizer)
    (reading,) = explanation.readings
    assert (reading.title, explanation.margin) == ("stars", None)
    assert reading.probability == reading.logit == pytest.approx(explanation.logits[0])
    assert "= value" in reading.check
    with pytest.raises(InputError, match="gives values: leave it out"):
        explain(TEXTS[0], classifier(tokenizer, problem_type="regression"), tokenizer, against=1)
    with pytest.raises(InputError, match="this model has one: leave it out"):
        explain(TEXTS[0], model, tokenizer, against=0)


def test_words_not_in_the_vocabulary_are_marked():
    tokenizer = tokenizer_of("word")
    words = explain("low zebra prices", classifier(tokenizer), tokenizer).words
    assert [word.is_known for word in words] == [True, False, True]
    assert words[1].text == "zebra"


def test_pair_shows_which_text_a_word_is_in_and_what_the_tokenizer_put_in():
    tokenizer = tokenizer_of("word")
    words = explain("low prices", classifier(tokenizer), tokenizer, pairs="they rose").words
    assert [(word.text, word.in_pair, word.is_special) for word in words] == [
        ("low", False, False),
        ("prices", False, False),
        ("[SEP]", False, True),
        ("they", True, False),
        ("rose", True, False),
    ]
    assert [(word.start, word.end) for word in words][3:] == [(0, 4), (5, 9)]


def test_word_has_the_accent_that_follows_it():
    tokenizer = tokenizer_of("word")
    text = "nai\u0308ve cafe\u0301 low"
    words = explain(text, classifier(tokenizer), tokenizer).words
    assert [word.text for word in words] == text.split()


def test_text_beyond_the_limit_is_said_to_be_cut():
    tokenizer = tokenizer_of("word", model_max_length=3)
    explanation = explain("he believes in low prices", classifier(tokenizer), tokenizer)
    assert [word.text for word in explanation.words] == ["he", "believes", "in"]
    assert (explanation.num_tokens, explanation.num_cut, explanation.read_span) == (3, 2, (0, 14))
    whole = explain("he believes in", classifier(tokenizer), tokenizer)
    assert (whole.num_cut, whole.read_span) == (0, None)


def test_text_cut_on_the_left_says_where_it_was_read():
    tokenizer = tokenizer_of("word", model_max_length=2, truncation_side="left")
    explanation = explain("he believes in low prices", classifier(tokenizer), tokenizer)
    assert [word.text for word in explanation.words] == ["low", "prices"]
    assert (explanation.num_cut, explanation.read_span) == (3, (15, 25))
    unread = [piece.text for piece in explanation.pieces() if not piece.was_read]
    assert "".join(unread) == "he believes in "


@pytest.mark.parametrize(("limit", "cut"), [(2, 9), (5, 6), (11, 0)])
def test_cut_tokens_that_share_a_character_are_counted_each(limit, cut):
    backend = Tokenizer(BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator([], BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="!", model_max_length=limit
    )
    explanation = explain("ok 🙂🙂", classifier(tokenizer), tokenizer)
    assert (explanation.num_tokens, explanation.num_cut) == (limit, cut)


def test_pair_beyond_the_limit_counts_each_token_once():
    tokenizer = tokenizer_of("word", model_max_length=5)
    model = classifier(tokenizer)
    texts = "he believes in low prices", "they rose low low low he"
    explanation = explain(texts[0], model, tokenizer, pairs=texts[1])
    assert explanation.num_tokens == 5
    assert explanation.num_cut == 5 + 6 - 4
    assert explanation.read_span == (0, len("he believes"))
    assert explanation.pair_read_span == (0, len("they rose"))
    whole = explain("he", model, tokenizer, pairs=texts[1])
    assert (whole.read_span, whole.pair_read_span) == (None, (0, len("they rose low")))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_reads_sum_to_the_context_and_attention_to_one(algorithm):
    tokenizer = tokenizer_of(algorithm)
    model = classifier(tokenizer, classifier_pooling="static")
    for explanation in explain(TEXTS, model, tokenizer, attentions=True):
        (reading,) = explanation.readings
        context = [word.context for word in reading.words]
        np.testing.assert_allclose(reading.reads.sum(0), context, rtol=0, atol=1e-12)
        np.testing.assert_allclose(reading.attention.sum(1), 1, rtol=0, atol=1e-12)


def test_attention_of_whole_words_is_the_models():
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer)
    with torch.no_grad():
        outputs = model(**tokenizer(TEXTS[0], return_tensors="pt"), output_attentions=True)
    (reading,) = explain(TEXTS[0], model, tokenizer, attentions=True).readings
    np.testing.assert_allclose(reading.attention, outputs.attentions[0][0, 0])
    assert explain(TEXTS[0], model, tokenizer).readings[0].attention is None


def test_deletion_effects_can_be_left_out():
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer)
    with_effects = explain(TEXTS[0], model, tokenizer)
    without = explain(TEXTS[0], model, tokenizer, deletion_effects=False)
    assert {word.deletion_effect for word in without.words} == {None}
    assert not any(word.signs_differ for word in without.words)
    np.testing.assert_allclose(without.contributions, with_effects.contributions)


@pytest.mark.parametrize("training", [True, False])
def test_model_stays_in_its_mode_and_is_explained_in_evaluation(training):
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer, token_dropout=0.5)
    expected = explain(TEXTS[0], model.eval(), tokenizer).contributions
    actual = explain(TEXTS[0], model.train(training), tokenizer).contributions
    assert model.training == training
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_sums_within_its_rounding(dtype):
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer).to(dtype)
    for explanation in explain(TEXTS, model, tokenizer):
        error = explanation.bias + explanation.contributions.sum(0) - explanation.logits
        assert abs(error).max() <= 8 * torch.finfo(dtype).eps * max(
            1, abs(explanation.logits).max()
        )


# Bad input


@pytest.mark.parametrize(
    ("aim", "message"),
    [
        ({"target": "rize"}, r"a class of the model \(rise, fall, other\), got 'rize'.*'rise'\?"),
        ({"target": 3}, "got 3"),
        ({"target": True}, "got True"),
        ({"target": 1.0}, "got 1.0"),
        ({"target": "RISE"}, r"got 'RISE'. Did you mean 'rise'\?"),
        ({"against": "falls"}, r"got 'falls'. Did you mean 'fall'\?"),
        ({"target": "rise", "against": 0}, "another class than the target, got 'rise' for both"),
    ],
)
def test_class_that_cannot_be_explained_is_refused(aim, message):
    tokenizer = tokenizer_of("word")
    with pytest.raises(InputError, match=message):
        explain(TEXTS[0], classifier(tokenizer), tokenizer, **aim)


def test_likeliest_class_is_never_compared_with_itself():
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer)
    order = [CLASSES[index] for index in explain(TEXTS[0], model, tokenizer).logits.argsort()]
    (reading,) = explain(TEXTS[0], model, tokenizer, against=order[-1]).readings
    assert reading.title == f"{order[-2]} against {order[-1]}"


def test_models_of_another_type_are_refused():
    tokenizer = tokenizer_of("word")
    config = BertConfig(
        vocab_size=50,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
    )
    for model in (BertForSequenceClassification(config), small_classifier(model_class=HfAttnModel)):
        with pytest.raises(TypeError, match=rf"got [\w.]+\.{type(model).__name__}\. Load one"):
            explain("low", model, tokenizer)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_wrapped_models_are_refused_with_the_way_to_the_model():
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer)
    lora = get_peft_model(copy.deepcopy(model), LoraConfig(target_modules=["q_proj"]))
    compiled, parallel = torch.compile(model), torch.nn.DataParallel(model)
    for wrapped, way in ((lora, "get_base_model()"), (compiled, "_orig_mod"), (parallel, "module")):
        with pytest.raises(TypeError, match=re.escape(f"Pass model.{way}.")):
            explain("low", wrapped, tokenizer)
    explanation = explain(TEXTS[0], lora.get_base_model(), tokenizer)
    np.testing.assert_allclose(explanation.logits, explain(TEXTS[0], model, tokenizer).logits)


def test_tokenizer_of_another_model_is_refused():
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer_of("wordpiece"))
    model.config.vocab_size = 5
    with pytest.raises(
        InputError, match=r"at most vocab_size=5 tokens, got token id \d+\. It belongs"
    ):
        explain(TEXTS, model, tokenizer)


@pytest.mark.parametrize(
    ("pairs", "message"), [("x", "for each of 2 texts, got 1"), (["a"] * 3, "of 2 texts, got 3")]
)
def test_pairs_of_another_number_are_refused(pairs, message):
    tokenizer = tokenizer_of("word")
    with pytest.raises(InputError, match=message):
        explain(["low", "he"], classifier(tokenizer), tokenizer, pairs=pairs)


def test_batch_of_no_texts_is_refused():
    tokenizer = tokenizer_of("word")
    with pytest.raises(InputError, match="batch_size must be 1 or more, got 0"):
        explain(["low", "he"], classifier(tokenizer), tokenizer, batch_size=0)


def test_text_too_long_for_its_deletion_effects_is_refused(monkeypatch):
    monkeypatch.setattr("hf_attn.explainer.MOST_TOKENS", 3)
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer)
    with pytest.raises(InputError, match=r"at most 3 tokens, got one of 5.*deletion_effects=False"):
        explain(TEXTS[1], model, tokenizer)
    assert len(explain(TEXTS[1], model, tokenizer, deletion_effects=False).words) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "strings, got NoneType None"),
        (3, "got int 3"),
        ("a\ud800", "lone surrogate at position 1"),
    ],
)
def test_texts_that_are_none_are_refused(text, message):
    tokenizer = tokenizer_of("word")
    with pytest.raises(InputError, match=message):
        explain(["low", text], classifier(tokenizer), tokenizer)


def test_tokenizer_without_offsets_is_refused():
    class Slow(PythonBackend):
        vocab_size = 3

        def get_vocab(self):
            return {}

    with pytest.raises(TypeError, match=r"expected a fast tokenizer.*got Slow"):
        explain("low", classifier(tokenizer_of("word")), Slow())


def test_weights_of_nan_are_refused():
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer)
    model.score.out_proj.weight.data[0, 0] = torch.nan
    with pytest.raises(InputError, match="got NaN or infinity: the model's weights are broken"):
        explain(TEXTS, model, tokenizer)


def test_model_without_a_reference_is_explained_with_a_warning(caplog):
    tokenizer = tokenizer_of("word")
    model = classifier(tokenizer)
    with caplog.at_level(logging.WARNING):
        explain(TEXTS, model, tokenizer)
        assert not caplog.records
        model.score.reference.zero_()
        explanation = explain(TEXTS[0], model, tokenizer)
    assert "no reference" in caplog.text
    assert "set_reference" in caplog.text
    caplog.clear()
    explain(TEXTS[0], model, tokenizer)
    assert not caplog.records  # once is enough
    assert explanation.readings[0].error <= 1e-12


def test_thousands_of_texts_are_explained_in_order(trained_folder):
    model, tokenizer = load_classifier(str(trained_folder))
    rows = keyword_texts(5000)
    explanations = explain(rows["text"], model, tokenizer, deletion_effects=False)
    assert [one.text for one in explanations] == rows["text"]
    predicted = Predictor.from_model(model, tokenizer).predict(rows["text"])
    assert [one.label for one in explanations] == [one.label for one in predicted]
