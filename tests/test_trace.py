"""Traces: every stage follows from the one before, and the last is what the model says."""

import copy
import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from models import VARIANTS, small_classifier, variant_name
from reference import distance_scores, softmax, token_features
from scipy import stats
from transformers import BertConfig, BertForSequenceClassification

from hf_attn import (
    HfAttnModel,
    HfAttnTokenizer,
    InputError,
    Predictor,
    compare_scaling,
    explain,
    trace,
    trace_pipeline,
    trace_prediction,
)
from hf_attn.stages import MOST_TOKENS_KEPT, to_lists
from hf_attn.trace import DEFAULT_TEXT

STAGES = [
    *("Input text", "Tokenization", "Embedding", "Attention scores", "Attention weights"),
    *("Weighted sum", "Output layer"),
]
LAYERS = [
    *("Input layer", "Embedding layer", "Attention layer", "Weighted sum", "Output layer"),
    "Prediction",
]
LONG = "the cat sat on the mat and the dog ran in the park while a bird sang to itself all day"
STRANGE = {
    "empty": "",
    "white space": " \n\t ",
    "one word": "cat",
    "emoji": "the cat 👍🏽 sat 👨‍👩‍👧",
    "right to left": "the قط جلس على החתול cat",
    "HTML": "the <b>cat</b> & <script>alert(1)</script>",
    "control characters": "the\x00cat\x1b[31m sat\r\non\u202ethe mat",
}
# A task, with what the reference makes of its logits.
TASKS = {
    "single_label_classification": lambda logits: np.exp(logits) / np.exp(logits).sum(),
    "multi_label_classification": lambda logits: 1 / (1 + np.exp(-logits)),
    "regression": lambda logits: logits,
}


@pytest.fixture(scope="module")
def tokenizer():
    return HfAttnTokenizer.train_from_iterator([LONG, DEFAULT_TEXT])


def weights_of(model):
    """The weights as the reference names them, and those of the head."""
    arrays = {name: value.double().numpy() for name, value in model.state_dict().items()}
    weight = {name.removeprefix("model."): array for name, array in arrays.items()}
    return weight, {name.removeprefix("score."): array for name, array in arrays.items()}


def values_of(one):
    """All arrays of a trace by their names."""
    return {name: value for stage in one.stages for name, value in stage.values.items()}


def assert_each_stage_follows(one, model):
    """Computes each stage's numbers anew from those of the stages before, in NumPy."""
    weight, head = weights_of(model)
    config, values = model.config, values_of(one)
    tokens = np.array(one.token_ids)
    close = {"rtol": 0, "atol": 1e-12}

    features = token_features(weight, config, tokens, np.ones(len(tokens), dtype=bool))
    np.testing.assert_allclose(values["features"], features, **close)

    x = values["features"]
    query = x @ weight["attention.q_proj.weight"].T / np.sqrt(config.head_dim)
    np.testing.assert_allclose(values["query"], query, **close)
    np.testing.assert_allclose(values["key"], x @ weight["attention.k_proj.weight"].T, **close)
    scores = values["query"] @ values["key"].T + distance_scores(weight, config, len(tokens))
    places = np.arange(len(tokens))
    seen = abs(places - places[:, None]) <= (config.attention_window or len(tokens))
    np.testing.assert_allclose(values["scores"][seen], scores[seen], **close)
    assert (values["scores"][~seen] == np.finfo(np.float64).min).all()

    attention = np.stack([softmax(row) for row in values["scores"]])
    np.testing.assert_allclose(values["weights"], attention, **close)

    w_v = weight["attention.v_proj.weight"]
    read = values["features"] + values["weights"] @ values["features"] @ w_v.T
    np.testing.assert_allclose(values["last_hidden_state"], read, **close)

    pool = np.full(len(tokens), 1 / len(tokens))
    if config.classifier_pooling == "static":
        pool = softmax(x @ weight["pooler.score_proj.weight"][0])
    np.testing.assert_allclose(values["pool_weights"], pool, **close)
    reference = head["reference"]
    pooled = values["pool_weights"] @ values["last_hidden_state"] - reference - w_v @ reference
    np.testing.assert_allclose(values["pooled"], pooled, **close)
    logits = head["out_proj.weight"] @ values["pooled"] + head["bias"]
    np.testing.assert_allclose(values["logits"], logits, **close)
    probabilities = TASKS[one.explanation.problem_type](values["logits"])
    np.testing.assert_allclose(one.probabilities, probabilities, rtol=0, atol=1e-7)


@pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
def test_each_stage_follows_from_the_one_before(variant, tokenizer):
    model = small_classifier(**variant)
    one = trace_pipeline(LONG, model, tokenizer)
    assert one.num_tokens == len(LONG.split()) == 21
    assert_each_stage_follows(one, model)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("num_labels", "head_dim"), [(1, 2), (3, 6), (5, 16)])
def test_each_stage_follows_in_every_task_and_size(task, num_labels, head_dim, tokenizer):
    if num_labels == 1 and task == "single_label_classification":
        pytest.skip("a single class is no choice")
    model = small_classifier(problem_type=task, num_labels=num_labels, head_dim=head_dim)
    assert_each_stage_follows(trace_pipeline(LONG, model, tokenizer), model)


def test_each_stage_follows_in_a_pair(tokenizer):
    model = small_classifier(ngram_buckets=37, classifier_pooling="static")
    one = trace_pipeline("the cat sat", model, tokenizer, pair="on the mat")
    assert one.tokens == ["the", "cat", "sat", "[SEP]", "on", "the", "mat"]
    assert one.stages[1].gives == "1 pair of sentences × 7 tokens"
    assert one.stages[0].values == {"text": "the cat sat", "pair": "on the mat"}
    assert_each_stage_follows(one, model)


def test_default_sentence_has_the_shapes_of_the_lesson(tokenizer):
    model = small_classifier(hidden_size=8, num_labels=3)
    stages = trace_pipeline(DEFAULT_TEXT, model, tokenizer).stages
    assert [stage.name for stage in stages] == STAGES
    assert [stage.number for stage in stages] == [1, 2, 3, 4, 5, 6, 7]
    assert [stage.gives for stage in stages] == [
        "1 sentence of 22 characters",
        "1 sentence × 6 tokens",
        "1 sentence × 6 tokens × 8 features",
        "1 sentence × 6 tokens × 6 tokens",
        "1 sentence × 6 tokens × 6 tokens",
        "1 sentence × 6 tokens × 8 features",
        "1 sentence × 3 probabilities",
    ]
    results = [next(reversed(stage.values.values())) for stage in stages[1:]]
    assert [np.shape(result) for result in results] == [(6,), (6, 8), (6, 6), (6, 6), (6, 8), (3,)]


def test_stage_takes_what_the_one_before_gives(tokenizer):
    stages = trace_pipeline(DEFAULT_TEXT, small_classifier(), tokenizer).stages
    for before, stage in pairwise(stages):
        if stage.name != "Weighted sum":
            assert stage.takes == before.gives
    assert stages[5].takes == "the weights, 6 tokens × 6 tokens, and the features, 6 tokens × 8 " \
        "features"  # fmt: skip


def test_axes_name_every_row_and_column(tokenizer):
    for stage in trace_pipeline(DEFAULT_TEXT, small_classifier(), tokenizer).stages:
        for name, axes in stage.axes.items():
            assert np.shape(stage.values[name]) == tuple(len(axis.names) for axis in axes)


def test_formulas_name_what_the_model_has(tokenizer):
    plain = small_classifier(relative_attention_num_buckets=0)
    rich = small_classifier(ngram_buckets=37, classifier_pooling="static", attention_window=4)
    formulas = [
        " ".join(stage.formula for stage in trace_pipeline(LONG, model, tokenizer).stages)
        for model in (plain, rich)
    ]
    for part in ("row(t_{j−1}, t_j)", "r[j − i]", "|j − i| ≤ 4", "p = softmax(w · x)"):
        assert [part in formula for formula in formulas] == [False, True]
    assert all("/ √6" in formula for formula in formulas)


def test_logits_are_those_of_the_model_to_the_bit(tokenizer):
    model = small_classifier(dtype=torch.float32, ngram_buckets=37)
    one = trace_pipeline(LONG, model, tokenizer)
    expected = model(**tokenizer(LONG, return_tensors="pt")).logits[0]
    assert np.array_equal(values_of(one)["logits"], expected.detach().numpy())
    (prediction,) = Predictor.from_model(model, tokenizer).predict([LONG])
    assert one.to_dict()["scores"] == pytest.approx(prediction.scores, abs=1e-7)
    assert one.label == prediction.label


def test_weighted_sum_is_what_the_base_model_gives(tokenizer, tmp_path):
    model = small_classifier(dtype=torch.float32)
    model.save_pretrained(tmp_path)
    base = HfAttnModel.from_pretrained(tmp_path)
    expected = base(**tokenizer(LONG, return_tensors="pt")).last_hidden_state[0]
    given = values_of(trace_pipeline(LONG, model, tokenizer))["last_hidden_state"]
    assert np.array_equal(given, expected.detach().numpy())


@pytest.mark.parametrize("make", [trace_pipeline, trace_prediction, compare_scaling])
def test_model_is_left_as_it_was(make, tokenizer):
    model = small_classifier().train()
    before = copy.deepcopy(model.state_dict())
    make(LONG, model, tokenizer)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_unknown_word_is_named_by_the_text(tokenizer):
    one = trace_pipeline("the quick Cat", small_classifier(), tokenizer)
    assert one.tokens == ["the", "[UNK]", "cat"]
    assert one.token_names == ["the", "quick?", "cat"]
    assert "? after a word: the vocabulary does not have it, or not all of it." in one.notes


# The six layers


def test_prediction_has_six_layers(tokenizer):
    one = trace_prediction(DEFAULT_TEXT, small_classifier(), tokenizer)
    assert [layer.name for layer in one.layers] == LAYERS
    assert [layer.number for layer in one.layers] == [1, 2, 3, 4, 5, 6]
    for before, layer in pairwise(one.layers):
        if layer.name != "Weighted sum":
            assert layer.takes == before.gives


@pytest.mark.parametrize("variant", VARIANTS[:4], ids=variant_name)
def test_prediction_adds_up(variant, tokenizer):
    model = small_classifier(**variant)
    one = trace_prediction(LONG, model, tokenizer)
    pipeline = trace_pipeline(LONG, model, tokenizer)
    assert np.array_equal(one.attention, values_of(pipeline)["weights"])
    pool_weights = one.layers[3].values["pool_weights"]
    np.testing.assert_allclose(one.attention_received, pool_weights @ one.attention, atol=1e-12)
    values = one.layers[4].values
    total = values["bias"] + values["contributions"].sum(0)
    np.testing.assert_allclose(total, values["logits"], rtol=0, atol=1e-12)
    expected = explain(LONG, model, tokenizer)
    np.testing.assert_allclose(values["contributions"], expected.contributions, atol=1e-12)
    assert [word.text for word in one.words] == LONG.split()


# Data


def test_json_holds_every_number_to_the_bit(tokenizer):
    one = trace_pipeline(LONG, small_classifier(dtype=torch.float32), tokenizer)
    read = json.loads(one.to_json())
    for stage, written in zip(one.stages, read["stages"], strict=True):
        for name, axes in stage.axes.items():
            value = stage.values[name]
            given = np.array(written["values"][name], dtype=np.asarray(value).dtype)
            assert np.array_equal(given, value)
            assert written["axes"][name] == [axis.kind for axis in axes]


def test_json_is_written(tokenizer, tmp_path):
    for make in (trace_pipeline, trace_prediction, compare_scaling):
        one = make(DEFAULT_TEXT, small_classifier(), tokenizer)
        text = one.to_json(tmp_path / "a.json")
        assert (tmp_path / "a.json").read_bytes() == text.encode()
        assert json.loads(text) == one.to_dict()
        assert text.count("\n") == 1


def test_json_has_nothing_where_a_token_is_beyond_the_window(tokenizer):
    model = small_classifier(attention_window=1)
    scores = trace_pipeline("the cat sat", model, tokenizer).to_dict()["stages"][3]["values"]
    assert [[score is None for score in row] for row in scores["scores"]] == [
        [False, False, True],
        [False, False, False],
        [True, False, False],
    ]


def test_numbers_are_written_in_the_digits_of_their_dtype():
    assert to_lists(np.array([0.1], dtype=np.float32)) == [0.1]
    assert to_lists(np.array([[0.1, 1e-30]], dtype=np.float32)) == [[0.1, 1e-30]]
    assert to_lists(np.array([1 / 3])) == [1 / 3]
    assert to_lists(["a"]) == ["a"]


# Bad input


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("make", [trace_pipeline, trace_prediction, compare_scaling])
def test_strange_text_is_traced(make, text, tokenizer):
    one = make(text, small_classifier(), tokenizer)
    assert one.text == text
    assert json.loads(one.to_json())["text"] == text


def test_empty_text_has_the_bias_as_its_logits(tokenizer):
    model = small_classifier()
    one = trace_pipeline("", model, tokenizer)
    assert one.stages[3].gives == "1 sentence × 0 tokens × 0 tokens"
    np.testing.assert_array_equal(values_of(one)["logits"], model.score.bias.detach().numpy())
    assert one.notes == ["No words were read, so the logits are the bias alone."]


def test_one_word_attends_to_itself(tokenizer):
    one = trace_pipeline("cat", small_classifier(), tokenizer)
    assert one.stages[4].gives == "1 sentence × 1 token × 1 token"
    assert values_of(one)["weights"].tolist() == [[1.0]]


def test_five_thousand_words_are_read_and_the_first_are_kept(tokenizer):
    model = small_classifier(dtype=torch.float32)
    text = " ".join(np.random.default_rng(0).choice(LONG.split(), 5000))
    one = trace_pipeline(text, model, tokenizer)
    values = values_of(one)
    assert one.num_tokens == 5000
    assert one.stages[4].gives == "1 sentence × 5,000 tokens × 5,000 tokens"
    assert values["weights"].shape == (MOST_TOKENS_KEPT, MOST_TOKENS_KEPT)
    shares = values["weights"].sum(1) + values["weights_beyond"]
    np.testing.assert_allclose(shares, 1, atol=1e-5)
    assert f"5,000 tokens; the numbers of the first {MOST_TOKENS_KEPT}" in one.notes[0]
    with torch.no_grad():
        whole = model(**tokenizer(text, return_tensors="pt")).logits[0].numpy()
    np.testing.assert_allclose(values["logits"], whole, atol=1e-5)
    assert all(values[name].base is None for name in ("scores", "weights"))  # the rest is freed
    assert len(one.to_json()) < 3_000_000


def test_prediction_of_a_long_text_adds_up(tokenizer):
    text = " ".join([LONG] * 20)
    one = trace_prediction(text, small_classifier(), tokenizer)
    values = one.layers[4].values
    assert len(values["contributions"]) == MOST_TOKENS_KEPT < len(one.words)
    total = values["bias"] + values["contributions"].sum(0) + values["contributions_beyond"]
    np.testing.assert_allclose(total, values["logits"], atol=1e-12)
    assert len(one.to_dict()["words"]) == MOST_TOKENS_KEPT


def test_text_that_is_cut_says_so(tokenizer):
    cut = copy.deepcopy(tokenizer)
    cut.model_max_length = 4
    one = trace_pipeline(DEFAULT_TEXT, small_classifier(), cut)
    assert one.to_dict()["num_cut"] == 2
    assert one.notes[0].startswith("Cut: the model read 4 tokens")


@pytest.mark.parametrize("make", [trace_pipeline, trace_prediction, compare_scaling])
def test_what_cannot_be_traced_is_refused(make, tokenizer, monkeypatch):
    model = small_classifier()
    with pytest.raises(InputError, match=r"expected one text, a string, got list \['a'\]"):
        make(["a"], model, tokenizer)
    with pytest.raises(InputError, match="expected one text, a string, got int 5"):
        make("a", model, tokenizer, pair=5)
    with pytest.raises(InputError, match="lone surrogate"):
        make("a \ud800", model, tokenizer)
    with pytest.raises(InputError, match="It belongs to another model"):
        make("the mat", small_classifier(vocab_size=4), tokenizer)
    other = BertForSequenceClassification(
        BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1)
    )
    with pytest.raises(TypeError, match="expected an HfAttnForSequenceClassification"):
        make("a", other, tokenizer)
    monkeypatch.setattr(trace, "MOST_TOKENS", 3)
    with pytest.raises(InputError, match="expected a text of at most 3 tokens, got 6"):
        make(DEFAULT_TEXT, model, tokenizer)


def test_broken_weights_are_refused(tokenizer):
    model = small_classifier()
    with torch.no_grad():
        model.score.bias.fill_(torch.nan)
    with pytest.raises(InputError, match="expected logits that are numbers"):
        trace_pipeline("the cat", model, tokenizer)


# What scaling by 1/√K does


def run_with_factor(model, tokenizer, text, factor):
    """Gives the model's own outputs and gradients with another factor at the scores."""
    model = copy.deepcopy(model)
    model.model.attention.scaling = factor
    outputs = model(**tokenizer(text, return_tensors="pt"), output_intermediates=True,
                    output_attentions=True)  # fmt: skip
    scores, weights = outputs.attention_scores[0][0, 0], outputs.attentions[0][0, 0]
    return model, outputs, scores, weights


@pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
def test_comparison_is_what_the_model_gives_with_either_factor(variant, tokenizer):
    model = small_classifier(**variant)
    compared = compare_scaling(LONG, model, tokenizer)
    target = compared.class_names.index(compared.target)
    for one, factor in ((compared.with_scaling, 6**-0.5), (compared.without_scaling, 1.0)):
        changed, outputs, scores, weights = run_with_factor(model, tokenizer, LONG, factor)
        assert one.factor == factor
        np.testing.assert_allclose(one.scores, scores.detach(), rtol=0, atol=1e-12)
        np.testing.assert_allclose(one.weights, weights.detach(), rtol=0, atol=1e-12)
        entropy = stats.entropy(weights.detach().numpy(), axis=1)
        np.testing.assert_allclose(one.entropy, entropy, rtol=0, atol=1e-12)
        assert one.largest_weight == pytest.approx(weights.max(-1).values.mean().item())
        probabilities = outputs.logits[0].softmax(-1).detach()
        np.testing.assert_allclose(one.probabilities, probabilities, rtol=0, atol=1e-7)
        outputs.logits[0, target].backward()
        of_weights = [
            changed.model.attention.get_submodule(name).weight.grad.norm()
            for name in ("q_proj", "k_proj")
        ]
        assert one.weight_gradient_norm == pytest.approx(torch.stack(of_weights).norm().item())


def test_gradient_at_the_scores_is_that_of_autograd(tokenizer):
    model = small_classifier(classifier_pooling="static")
    compared = compare_scaling(LONG, model, tokenizer)
    inputs = tokenizer(LONG, return_tensors="pt")
    outputs = model(**inputs, output_intermediates=True, output_contributions=True)
    target = compared.class_names.index(compared.target)
    for one in (compared.with_scaling, compared.without_scaling):
        scores = torch.tensor(one.scores, requires_grad=True)
        received = outputs.pool_weights[0].detach() @ scores.softmax(-1)
        logit = received @ outputs.context_values[0, :, target].detach()
        (gradient,) = torch.autograd.grad(logit, scores)
        assert one.score_gradient_norm == pytest.approx(gradient.norm().item())


def test_comparison_says_what_the_numbers_are(tokenizer):
    compared = compare_scaling(LONG, small_classifier(head_dim=16), tokenizer)
    scaled, unscaled = compared.with_scaling, compared.without_scaling
    assert scaled.mean_entropy > unscaled.mean_entropy
    assert compared.largest_entropy == pytest.approx(np.log(21))
    said = compared.observation
    assert "Without dividing by √16 = 4.00" in said
    assert f"{unscaled.mean_entropy:.2f} nats instead of {scaled.mean_entropy:.2f}" in said
    assert "sharper" in said
    ratio = unscaled.score_gradient_norm / scaled.score_gradient_norm
    assert f"{ratio:.3g} times as large" in said


def test_comparison_of_one_word_says_that_nothing_changes(tokenizer):
    compared = compare_scaling("cat", small_classifier(), tokenizer)
    assert "fewer than two tokens" in compared.observation
    assert compared.with_scaling.weight_gradient_norm == 0


def test_comparison_of_a_window_counts_what_is_seen(tokenizer):
    model = small_classifier(attention_window=1)
    compared = compare_scaling("the cat sat", model, tokenizer)
    assert compared.largest_entropy == pytest.approx(np.log([2, 3, 2]).mean())
    seen = compared.with_scaling.scores[compared.with_scaling.scores > -1e9]
    assert compared.with_scaling.score_spread == pytest.approx(seen.std())


def test_comparison_of_a_long_text_takes_its_beginning(tokenizer):
    model = small_classifier()
    words = (LONG.split() * 20)[:300]
    compared = compare_scaling(" ".join(words), model, tokenizer)
    beginning = compare_scaling(" ".join(words[:MOST_TOKENS_KEPT]), model, tokenizer)
    np.testing.assert_allclose(compared.with_scaling.scores, beginning.with_scaling.scores)
    assert "The first 256 of 300 tokens are compared" in compared.notes[0]
