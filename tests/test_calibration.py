"""Temperature, thresholds, calibration error and abstention, against slow and plain references."""

import itertools
import json

import numpy as np
import pytest
import torch
from models import VARIANTS, masked_batch, small_classifier, variant_name
from trained import TINY, WORDS, keyword_data, keyword_texts, saved_weights
from transformers import AutoModelForSequenceClassification

from hf_attn import HfAttnTokenizer, InputError, Predictor, explain, fold, train
from hf_attn.batching import TokenizedTexts
from hf_attn.calibration import best_threshold, calibrate, fit_temperature, fit_thresholds
from hf_attn.card_training import calibration_line
from hf_attn.command_output import _calibration_line
from hf_attn.evaluation import evaluate_texts
from hf_attn.folding_loss import measure_loss
from hf_attn.loading import load_classifier
from hf_attn.metrics import calibration_error, score_answered, score_classes, score_logits
from hf_attn.prediction import predict_logits
from hf_attn.probabilities import predicted_labels, reach

SINGLE, MULTI = "single_label_classification", "multi_label_classification"
TEXTS = [*keyword_texts(30)["text"], "", "wheat crude", "the"]


def loss(task, logits, labels, temperature):
    """The mean negative log-likelihood, by torch's own functions."""
    logits = torch.from_numpy(logits).double() / temperature
    if task == SINGLE:
        return torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).item()
    truth = torch.from_numpy(labels).double()
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, truth).item()


def drawn(task, temperature, texts=400, seed=0):
    """Logits, and labels as likely as those are after the division."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(scale=2, size=(texts, 4)).astype(np.float32)
    quotients = logits.astype(np.float64) / temperature
    if task == MULTI:
        return logits, (draw.random((texts, 4)) < 1 / (1 + np.exp(-quotients))).astype(np.float32)
    return logits, (quotients + draw.gumbel(size=(texts, 4))).argmax(1)


# Temperature


@pytest.mark.parametrize("task", [SINGLE, MULTI])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_temperature_is_that_of_the_lowest_loss_on_a_grid(task, temperature):
    logits, labels = drawn(task, temperature)
    fitted = fit_temperature(task, logits, labels)
    grid = np.geomspace(0.05, 20, 4001)
    losses = [loss(task, logits, labels, one) for one in grid]
    assert fitted == pytest.approx(grid[np.argmin(losses)], rel=2e-3)
    assert loss(task, logits, labels, fitted) <= min(losses)
    assert fitted == pytest.approx(temperature, rel=0.3)


@pytest.mark.parametrize(
    "labels",
    [np.array([0, 1, 0]), np.array([1, 0, 1])],
    ids=["all right", "all wrong"],
)
def test_temperature_without_a_lowest_loss_is_one(labels):
    logits = np.array([[2.0, 0], [0, 1], [3, 0]], np.float32)
    assert fit_temperature(SINGLE, logits, labels) == 1
    assert fit_temperature(MULTI, logits, np.eye(2, dtype=np.float32)[labels]) == 1
    assert fit_temperature(SINGLE, np.full_like(logits, np.nan), labels) == 1
    assert fit_temperature(SINGLE, np.zeros_like(logits), labels) == 1


@pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
def test_division_divides_logits_contributions_and_bias(variant):
    model = small_classifier(**variant)
    model.set_reference(torch.linspace(-0.5, 0.5, 8, dtype=torch.float64))
    batch = masked_batch()
    before = model(**batch, output_contributions=True)
    model.score.divide_logits(1.7)
    after = model(**batch, output_contributions=True)
    for name in (
        "logits",
        "contributions",
        "direct_contributions",
        "context_contributions",
        "bias",
    ):
        torch.testing.assert_close(after[name], before[name] / 1.7, rtol=0, atol=1e-12)
    total = after.bias + after.contributions.sum(1)
    torch.testing.assert_close(total, after.logits, rtol=0, atol=1e-12)
    assert torch.equal(after.logits.argmax(-1), before.logits.argmax(-1))
    assert torch.equal(model.score.reference, torch.linspace(-0.5, 0.5, 8, dtype=torch.float64))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_division_by_no_temperature_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature must be a number above 0, got"):
        small_classifier().score.divide_logits(temperature)


def test_division_of_adapted_weights_is_refused():
    peft = pytest.importorskip("peft")
    model = small_classifier()
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["out_proj"]))
    with pytest.raises(TypeError, match=r"expected plain weights.*Merge what adapts it"):
        adapted.base_model.model.score.divide_logits(2.0)


# Calibration error


def error_by_hand(probabilities, labels):
    best = [
        (max(row), int(np.argmax(row)) == label)
        for row, label in zip(probabilities, labels, strict=True)
    ]
    error = 0.0
    for number in range(15):
        inside = [one for one in best if number / 15 < one[0] <= (number + 1) / 15]
        if inside:
            confidence = sum(share for share, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            error += len(inside) / len(best) * abs(confidence - accuracy)
    return error


def test_calibration_error_follows_its_definition():
    for temperature in (0.3, 1, 4):
        logits, labels = drawn(SINGLE, temperature)
        probabilities = torch.from_numpy(logits).double().softmax(-1).tolist()
        expected = error_by_hand(probabilities, labels.tolist())
        assert calibration_error(logits, labels) == pytest.approx(expected, abs=1e-12)
    assert calibration_error(np.zeros((0, 3)), np.zeros(0, int)) == 0


def test_certain_and_right_has_no_calibration_error():
    logits = 1000 * np.eye(3)
    assert calibration_error(logits, np.arange(3)) == 0
    assert calibration_error(logits, np.array([1, 2, 0])) == 1


# Thresholds


def f1(truth, chosen):
    return 2 * np.sum(truth & chosen) / max(truth.sum() + chosen.sum(), 1)


@pytest.mark.parametrize("seed", range(30))
def test_best_threshold_is_that_of_all_candidates(seed):
    draw = np.random.default_rng(seed)
    # Few different scores, so that some are equal; 0 and 1 are no thresholds.
    scores = draw.choice(np.linspace(0, 1, 9), size=12).astype(np.float32)
    truth = draw.random(12) < scores
    threshold = best_threshold(scores, truth)
    assert 0 < threshold < 1
    candidates = np.linspace(0.001, 0.999, 999)
    highest = max(f1(truth, scores >= one) for one in candidates)
    assert f1(truth, reach(scores, threshold)) == pytest.approx(highest)


def test_best_threshold_parts_neighbouring_floats():
    low = np.float32(0.3)
    high = np.nextafter(low, np.float32(1))
    threshold = best_threshold(np.array([low, high]), np.array([False, True]))
    assert reach([low, high], threshold).tolist() == [False, True]


def test_best_threshold_stays_at_one_half_where_nothing_is_better():
    scores = np.array([0.2, 0.3, 0.8], np.float32)
    assert best_threshold(scores, np.array([False, False, True])) == 0.5
    assert best_threshold(scores, np.zeros(3, bool)) == 0.5
    assert best_threshold(np.zeros(3, np.float32), np.ones(3, bool)) == 0.5
    assert best_threshold(np.ones(3, np.float32), np.ones(3, bool)) == 0.5


def test_thresholds_of_micro_f1_are_one_for_all():
    logits, labels = drawn(MULTI, 3.0, texts=40)
    probabilities = 1 / (1 + np.exp(-logits))
    (threshold,) = set(fit_thresholds(probabilities, labels))
    candidates = np.linspace(0.001, 0.999, 999)
    highest = max(f1(labels == 1, probabilities >= one) for one in candidates)
    assert f1(labels == 1, reach(probabilities, threshold)) == pytest.approx(highest, abs=1e-3)


def test_thresholds_of_macro_f1_are_each_labels_own_but_of_rare_ones():
    logits, labels = drawn(MULTI, 3.0)
    probabilities = 1 / (1 + np.exp(-logits))
    labels[:, 3] = np.arange(400) < 99  # one text too few
    thresholds = fit_thresholds(probabilities, labels, "macro")
    assert thresholds[3] == fit_thresholds(probabilities, labels, "micro")[0]
    for label in range(3):
        assert thresholds[label] == best_threshold(probabilities[:, label], labels[:, label] == 1)
    labels[:, 3] = np.arange(400) < 100
    thresholds = fit_thresholds(probabilities, labels, "macro")
    assert thresholds[3] == best_threshold(probabilities[:, 3], labels[:, 3] == 1)


def test_scores_count_labels_that_reach_their_thresholds():
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(size=(50, 3)), draw.integers(0, 2, (50, 3)).astype(np.float32)
    thresholds, truth = [0.2, 0.5, 0.8], labels == 1
    chosen = 1 / (1 + np.exp(-logits)) >= thresholds
    scores = score_logits(MULTI, logits, labels, thresholds)
    assert scores["micro_f1"] == pytest.approx(f1(truth, chosen))
    by_class = [f1(truth[:, c], chosen[:, c]) for c in range(3)]
    assert scores["macro_f1"] == pytest.approx(np.mean(by_class))
    rows = score_classes(logits, labels, ["a", "b", "c"], thresholds)
    assert [row["f1"] for row in rows] == pytest.approx(by_class)
    # The likeliest label does not depend on thresholds.
    assert scores["precision_at_1"] == score_logits(MULTI, logits, labels)["precision_at_1"]


def test_labels_at_their_thresholds_are_predicted():
    scores = np.array([[0.5, 0.7], [0.49999997, 0.69999999]], np.float32)
    assert predicted_labels(scores, None).tolist() == [[True, True], [False, True]]
    assert predicted_labels(scores, [0.5, 0.7]).tolist() == [[True, True], [False, True]]


# Thresholds where labels are read


@pytest.fixture(scope="module")
def tokenizer():
    return HfAttnTokenizer.train_from_iterator(TEXTS)


@pytest.fixture(scope="module")
def several(tokenizer):
    """A model of several labels that are far from one half, with thresholds in their midst."""
    model = small_classifier(dtype=torch.float32, problem_type=MULTI, num_labels=3)
    logits = predict_logits(model, TokenizedTexts.from_texts(TEXTS, tokenizer))
    middle = np.median(1 / (1 + np.exp(-logits.astype(float))), axis=0) + 1e-4
    model.config.label_thresholds = middle.tolist()
    return model


def expected_labels(model, tokenizer):
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        shares = model(**batch).logits.sigmoid().numpy()
    chosen = shares >= np.array(model.config.label_thresholds, np.float32)
    assert not np.array_equal(chosen, shares >= 0.5)  # or nothing is tested
    names = model.config.class_names
    return [
        [names[c] for c in np.argsort(-row) if yes[c]]
        for row, yes in zip(shares, chosen, strict=True)
    ]


@pytest.mark.parametrize("threads", [1, 2])
def test_predictor_and_explanation_give_the_labels_of_the_model(several, tokenizer, threads):
    expected = expected_labels(several, tokenizer)
    for model in (several, fold(several)):
        predictions = Predictor.from_model(model, tokenizer, num_threads=threads).predict(TEXTS)
        assert [list(one.labels) for one in predictions] == expected
        explanations = explain(TEXTS, model, tokenizer)
        assert [one.predicted for one in explanations] == expected
        for one, labels in zip(explanations, expected, strict=True):
            shown = [reading.target for reading in one.shown]
            assert shown == (labels or [one.label])
            assert json.loads(one.to_json())["labels"] == labels


def test_folded_folder_keeps_thresholds(several, tokenizer, tmp_path, run):
    fold(several).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    expected = expected_labels(several, tokenizer)
    stdin = "".join(f"{text}\n" for text in TEXTS).encode()
    code, output, _ = run("predict", tmp_path, "-", "--json", stdin=stdin)
    found = [json.loads(line) for line in output.splitlines()]
    assert code == 0
    assert [one["labels"] for one in found] == expected
    assert list(found[0]) == ["text", "label", "labels", "score", "scores"]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["label_thresholds"] == several.config.label_thresholds
    for broken in ([0.5], [0.5, 0.5, 1.0], "0.5"):
        (tmp_path / "config.json").write_text(json.dumps(config | {"label_thresholds": broken}))
        with pytest.raises(InputError, match="expected label_thresholds of 3 numbers above 0"):
            Predictor.from_pretrained(tmp_path)


def test_evaluation_and_folding_loss_count_with_thresholds(several, tokenizer):
    texts = TokenizedTexts.from_texts(TEXTS, tokenizer)
    logits = predict_logits(several, texts)
    labels = predicted_labels(1 / (1 + np.exp(-logits)), several.config.label_thresholds)
    texts.labels = labels.astype(np.float32)
    for model in (several, fold(several)):
        result = evaluate_texts(model, texts)
        assert result.scores["micro_f1"] == 1
        assert all(row["f1"] == 1 for row in result.classes)
    other = fold(several)
    with torch.no_grad():
        # Between one half and the threshold of a label nothing changes but what is predicted.
        other.score.bias[0] -= 0.2
    changed = measure_loss(several, other, texts, "texts").changed_labels
    after = predicted_labels(
        1 / (1 + np.exp(-predict_logits(other, texts))), several.config.label_thresholds
    )
    assert changed == int((labels != after).any(1).sum()) > 0


@pytest.mark.parametrize(
    ("threshold", "words"),
    [
        (0.001, "each with a probability of at least the label's threshold"),
        (0.999, "the likeliest; none has a probability of the label's threshold"),
    ],
)
def test_explanation_says_whether_labels_reach_their_thresholds(tokenizer, threshold, words):
    model = small_classifier(
        dtype=torch.float32, problem_type=MULTI, num_labels=2, label_thresholds=[threshold] * 2
    )
    view = explain("wheat", model, tokenizer).to_terminal(color=False)
    assert f"of 2 labels, {words}" in " ".join(view.split())


# Training


def several_labels():
    def topics(row):
        return {
            "y": [name for name, words in WORDS.items() if set(words) & set(row["text"].split())]
        }

    # One text in eight of the validation is labelled wrong, so that there is a best temperature.
    data = keyword_data().map(topics, remove_columns="label")
    flip = {"farm": ["oil"], "oil": ["farm"]}
    data["validation"] = data["validation"].map(
        lambda row, index: {"y": flip[row["y"][0]] if index % 8 == 0 and row["y"] else row["y"]},
        with_indices=True,
    )
    return data


def noisy_data():
    data = keyword_data()
    data["validation"] = data["validation"].map(
        lambda row, index: {"label": "oil" if index % 8 == 0 else row["label"]}, with_indices=True
    )
    return data


def test_training_divides_by_the_temperature_that_it_records(tmp_path):
    plain = train(noisy_data(), tmp_path / "plain", **TINY, calibrate=False)
    run = train(noisy_data(), tmp_path / "m", **TINY)
    assert plain.record["calibration"] is None
    fitted = run.record["calibration"]
    assert fitted["split"] == "validation"
    assert fitted["label_thresholds"] is None
    assert 0.05 < fitted["temperature"] != 1
    before, after = saved_weights(tmp_path / "plain"), saved_weights(tmp_path / "m")
    for name in before:
        is_divided = name in ("score.out_proj.weight", "score.bias")
        expected = before[name] / fitted["temperature"] if is_divided else before[name]
        torch.testing.assert_close(after[name], expected, msg=name)
    for split in ("validation", "test"):
        assert fitted["before"][split] == plain.record["metrics"][split]
        assert run.record["metrics"][split]["accuracy"] == fitted["before"][split]["accuracy"]
    assert run.record["metrics"]["validation"].keys() == {
        "accuracy", "macro_f1", "calibration_error",
    }  # fmt: skip
    texts = TokenizedTexts.from_texts(TEXTS, run.tokenizer)
    one, other = (predict_logits(each.model, texts).argmax(1) for each in (plain, run))
    assert np.array_equal(one, other)


def test_training_of_several_labels_saves_thresholds_and_a_new_head_drops_them(tmp_path):
    run = train(several_labels(), tmp_path / "m", **TINY, threshold_average="macro")
    thresholds = run.record["calibration"]["label_thresholds"]
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "m")
    assert model.config.label_thresholds == thresholds
    assert len(thresholds) == 2
    scores = run.record["metrics"]["validation"]
    assert scores["micro_f1"] >= run.record["calibration"]["before"]["validation"]["micro_f1"]
    for fields in ({"num_labels": 5}, {"problem_type": SINGLE}):
        other = AutoModelForSequenceClassification.from_pretrained(
            tmp_path / "m", ignore_mismatched_sizes=True, **fields
        )
        assert other.config.label_thresholds is None
    again = train(keyword_data(), tmp_path / "n", **{**TINY, "hidden_size": 64, "head_dim": 32},
                  model=str(tmp_path / "m"))  # fmt: skip
    assert again.model.config.label_thresholds is None
    without = train(several_labels(), tmp_path / "o", model=str(tmp_path / "m"), max_steps=1,
                    calibrate=False)  # fmt: skip
    assert without.model.config.label_thresholds is None


def test_regression_and_training_without_validation_are_not_calibrated(tmp_path):
    data = keyword_data().map(lambda row: {"y": float("wheat" in row["text"])})
    run = train(data.remove_columns("label"), tmp_path / "m", **TINY)
    assert run.record["calibration"] is None
    del data["validation"]
    run = train(data.remove_columns("y"), tmp_path / "n", **TINY, validation_size=0)
    assert run.record["calibration"] is None


def test_calibrating_again_changes_nothing(tmp_path):
    run = train(noisy_data(), tmp_path / "m", **TINY)
    model, tokenizer = load_classifier(str(tmp_path / "m"))
    rows = noisy_data()["validation"]
    labels = np.array([model.config.class_names.index(name) for name in rows["label"]])
    texts = TokenizedTexts.from_texts(rows["text"], tokenizer)
    texts.labels = labels
    again = calibrate(model, {"validation": texts})
    assert again.temperature == pytest.approx(1, abs=1e-5)
    assert again.before["validation"] == pytest.approx(
        run.record["metrics"]["validation"], abs=1e-6
    )


@pytest.mark.parametrize(
    ("temperature", "thresholds", "in_card", "in_terminal"),
    [
        (
            1,
            None,
            None,
            "Not calibrated: the validation texts, all right or no better than chance, fit none.",
        ),
        (
            0.5, None,
            "The logits are divided by a temperature, 0.5. Fitted to the validation texts.",
            "Calibrated on validation: temperature 0.5.",
        ),
        (
            2, [0.25, 0.25],
            "The logits are divided by a temperature, 2. A label counts as predicted from a "
            "probability of 0.25 on (`label_thresholds` in `config.json`, which transformers' own "
            "pipeline does not read). Fitted to the validation texts.",
            "Calibrated on validation: temperature 2; thresholds 0.25.",
        ),
        (
            1, [0.25, 0.5],
            "A label counts as predicted from a probability of 0.25 to 0.50 on (`label_thresholds` "
            "in `config.json`, which transformers' own pipeline does not read). Fitted to the "
            "validation texts.",
            "Not calibrated: the validation texts, all right or no better than chance, fit none; "
            "thresholds 0.25 to "
            "0.50.",
        ),
    ],
)  # fmt: skip
def test_card_and_terminal_say_what_was_fitted(temperature, thresholds, in_card, in_terminal):
    fitted = {"temperature": temperature, "label_thresholds": thresholds}
    assert calibration_line({"calibration": fitted}) == in_card
    assert _calibration_line(fitted) == in_terminal
    assert calibration_line({"calibration": None}) is None


def test_unknown_threshold_average_is_refused(tmp_path):
    with pytest.raises(InputError, match="threshold_average must be micro or macro, got 'best'"):
        train(keyword_data(), tmp_path / "m", threshold_average="best")


# Abstention


def test_abstention_is_below_and_not_at_the_probability(trained_folder):
    predictor = Predictor.from_pretrained(trained_folder)
    scores = predictor.predict(TEXTS).scores
    for score in sorted(set(scores.tolist()))[:5]:
        # As it is printed, the shortest number that is read as the same float32.
        for boundary in (score, float(str(np.float32(score)))):
            answered = predictor.predict(TEXTS, abstain_below=boundary)
            assert answered.answered.tolist() == (scores >= np.float32(score)).tolist()
        above = float(np.nextafter(np.float32(score), np.float32(2)))
        answered = predictor.predict(TEXTS, abstain_below=above)
        assert answered.answered.tolist() == (scores > np.float32(score)).tolist()
    everything, nothing = (predictor.predict(TEXTS, abstain_below=p) for p in (0, 1))
    assert everything.answered.all()
    assert nothing.answered.sum() == (scores == 1).sum()


@pytest.mark.parametrize("threads", [1, 2])
def test_abstention_takes_labels_and_leaves_scores(trained_folder, threads):
    predictor = Predictor.from_pretrained(trained_folder, num_threads=threads)
    plain = predictor.predict(TEXTS)
    limit = float(np.median(plain.scores))
    (streamed,) = predictor.stream([TEXTS], abstain_below=limit)
    for found in (predictor.predict(TEXTS, abstain_below=limit), streamed):
        assert 0 < found.answered.sum() < len(TEXTS)
        assert np.array_equal(found.probabilities, plain.probabilities)
        for one, before, label in zip(found, plain, found.labels, strict=True):
            answers = before.score >= limit
            assert one.label == label == (before.label if answers else None)
            assert one.labels == (before.labels if answers else ())
            assert (one.score, one.scores) == (before.score, before.scores)


def test_abstention_holds_for_more_texts_than_are_scored_at_once(trained_folder):
    predictor = Predictor.from_pretrained(trained_folder, num_threads=2)
    many = TEXTS * 300
    found = predictor.predict(many, abstain_below=0.9)
    assert found.labels == predictor.predict(TEXTS, abstain_below=0.9).labels * 300


def test_abstention_of_several_labels_takes_all(several, tokenizer):
    predictor = Predictor.from_model(several, tokenizer)
    limit = float(np.median(predictor.predict(TEXTS).scores))
    for one, before in itertools.zip_longest(
        predictor.predict(TEXTS, abstain_below=limit), predictor.predict(TEXTS)
    ):
        assert one.labels == (before.labels if before.score >= np.float32(limit) else ())


@pytest.mark.parametrize("limit", [-0.1, 1.1, float("nan"), "0.9"])
def test_abstention_below_no_probability_is_refused(trained_folder, limit):
    predictor = Predictor.from_pretrained(trained_folder)
    with pytest.raises(InputError, match="abstain_below must be a probability, 0 to 1, got"):
        predictor.predict(["wheat"], abstain_below=limit)
    with pytest.raises(InputError, match="abstain_below must be a probability"):
        list(predictor.stream([["wheat"]], abstain_below=limit))


def test_abstention_of_values_is_refused(tokenizer):
    model = small_classifier(dtype=torch.float32, problem_type="regression", num_labels=1)
    with pytest.raises(InputError, match="this model gives values"):
        Predictor.from_model(model, tokenizer).predict(["wheat"], abstain_below=0.5)


def test_predict_prints_a_mark_or_null_where_it_abstains(run, folded_folder):
    stdin = "".join(f"{text}\n" for text in TEXTS).encode()
    plain = run("predict", folded_folder, "-", "--top-k", 2, stdin=stdin)[1].splitlines()
    scores = [float(line.split("\t")[1]) for line in plain]
    limit = (sorted(scores)[0] + sorted(scores)[-1]) / 2
    flags = ["--abstain-below", limit]
    code, columns, _ = run("predict", folded_folder, "-", "--top-k", 2, *flags, stdin=stdin)
    _, objects, _ = run("predict", folded_folder, "-", "--json", *flags, stdin=stdin)
    _, explained, _ = run("predict", folded_folder, "-", "--explain", *flags, stdin=stdin)
    assert code == 0
    for before, line, one, words in zip(
        plain, columns.splitlines(), objects.splitlines(), explained.splitlines(), strict=True
    ):
        label, score, other, rest = before.split("\t")
        answers = float(score) >= limit
        expected = [label, score, other, rest] if answers else ["-", score, "-", rest]
        assert line.split("\t") == expected
        assert json.loads(one)["label"] == (label if answers else None)
        assert f"{json.loads(one)['scores'][label]:.4f}" == score
        assert words.split("\t")[:2] == expected[:2]
    marks = [line.startswith("-\t") for line in columns.splitlines()]
    assert True in marks
    assert False in marks


def test_class_of_the_marks_name_is_refused_in_columns(run, tokenizer, tmp_path):
    names = {"id2label": {0: "-", 1: "b", 2: "c"}}
    fold(small_classifier(dtype=torch.float32, num_labels=3, **names)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    code, _, errors = run("predict", tmp_path, "wheat", "--abstain-below", "0.9")
    assert code == 2
    assert "expected no class of the name '-'" in errors
    assert run("predict", tmp_path, "wheat")[0] == 0
    assert run("predict", tmp_path, "wheat", "--abstain-below", "0.9", "--json")[0] == 0


def test_answered_texts_are_counted_by_hand():
    logits, labels = drawn(SINGLE, 2.0)
    shares = torch.from_numpy(logits).softmax(-1).numpy()
    answered = [row for row in range(len(labels)) if shares[row].max() >= 0.6]
    right = [shares[row].argmax() == labels[row] for row in answered]
    scores = score_answered(SINGLE, logits, labels, 0.6)
    assert scores == {
        "abstain_below": 0.6,
        "coverage": pytest.approx(len(answered) / 400),
        "accuracy": pytest.approx(sum(right) / len(right)),
    }
    assert score_answered(SINGLE, logits[:0], labels[:0], 0.6)["accuracy"] is None
    logits, labels = drawn(MULTI, 2.0)
    shares = torch.from_numpy(logits).sigmoid().numpy()
    answered = [row for row in range(len(labels)) if shares[row].max() >= 0.9]
    right = [labels[row, shares[row].argmax()] for row in answered]
    assert score_answered(MULTI, logits, labels, 0.9)["accuracy"] == pytest.approx(np.mean(right))


def test_evaluate_reports_coverage(run, trained_folder, tmp_path):
    rows = keyword_texts(40, seed=5)
    lines = [f"{t},{y}" for t, y in zip(rows["text"], rows["label"], strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *lines]))
    source = [trained_folder, tmp_path / "t.csv"]
    found = json.loads(run("evaluate", *source, "--abstain-below", "0.9", "--json")[1])
    assert found["answered"]["abstain_below"] == 0.9
    assert 0 <= found["answered"]["coverage"] <= 1
    assert json.loads(run("evaluate", *source, "--json")[1])["answered"] is None
    assert (
        "Abstaining below 0: 100.0% answered, 100.0% of them right."
        in (run("evaluate", *source, "--abstain-below", "0")[1])
    )
    nothing = run("evaluate", *source, "--abstain-below", "1")[1]
    assert "Abstaining below 1: 0.0% answered." in nothing
