"""The explanation benchmark: rivals that are set up right, the textbook forward, figures, parts."""

import json
import math

import numpy as np
import pytest
import torch
from models import VARIANTS, masked_batch, small_classifier, variant_name
from trained import TINY, keyword_data, keyword_texts

from hf_attn import explain, train

SPLITS = ("train", "validation", "test")
WITHOUT_WINDOW = [variant for variant in VARIANTS if not variant.get("attention_window")]
for name in ("captum", "lime", "shap"):
    pytest.importorskip(name, reason="the extra `bench` is not installed")


@pytest.fixture(scope="module")
def rivals(script):
    return script("rival_attributions")


@pytest.fixture(scope="module")
def figures(script):
    return script("benchmark_figures")


@pytest.fixture(scope="module")
def case(rivals, tmp_path_factory):
    """A text of a model without bigrams: the rivals start from embeddings of tokens."""
    folder = tmp_path_factory.mktemp("words") / "model"
    run = train(keyword_data(), folder, **{**TINY, "num_train_epochs": 16, "ngram_buckets": 0})
    model, tokenizer = run.model, run.tokenizer
    text = "the market said crude oil barrel harvest in april , opec said"
    return rivals.Case.of(text, model.requires_grad_(False), tokenizer)


def test_every_method_has_a_value_for_every_word_and_finds_the_keywords(rivals, case):
    words = case.text.split()
    assert case.num_words == len(words)
    label = case.kept.model.config.class_names[case.kept.target]
    assert label == "oil"
    for name, method in rivals.METHODS.items():
        values = method(case)
        assert values.shape == (len(words),), name
        if name not in (rivals.ATTENTION, rivals.RANDOM):
            best = {words[index] for index in np.argsort(-values)[:3]}
            assert best == {"crude", "barrel", "opec"}, name


def test_contributions_from_tokens_are_those_of_explain(rivals, case):
    ours = rivals.contributions(case)
    np.testing.assert_allclose(rivals.contributions_of_tokens(case), ours, atol=1e-5)


def test_the_reading_and_the_gradients_explain_the_same_margin(rivals, case):
    margin = case.margin(case.embeddings).item()
    assert margin == pytest.approx(case.reading(deletion_effects=False).logit, abs=1e-5)


def test_integrated_gradients_add_up_from_the_mean_embedding(rivals, case):
    start = rivals.mean_embedding(case).expand_as(case.embeddings)
    rise = (case.margin(case.embeddings) - case.margin(start)).item()
    assert rivals.integrated_gradients(case).sum() == pytest.approx(rise, abs=1e-3)


def test_integrated_gradients_in_parts_are_the_same(rivals, case, monkeypatch):
    whole = rivals.integrated_gradients(case)
    monkeypatch.setattr(rivals, "_SCORES_AT_ONCE", 7 * len(case.kept.token_ids) ** 2)
    np.testing.assert_allclose(rivals.integrated_gradients(case), whole, atol=1e-5)


def test_gradient_x_input_is_the_gradient_times_the_input(rivals, case):
    embeddings = case.embeddings.clone().requires_grad_()
    case.margin(embeddings).sum().backward()
    origin = rivals.mean_embedding(case)
    expected = (embeddings.grad * (embeddings - origin))[0].sum(-1).detach().numpy()
    values = rivals.gradient_x_input(case)
    np.testing.assert_allclose(values, expected[: case.num_words], atol=1e-5)


def linear_case(rivals, case, weights):
    """The case with a score that is linear in the words that are kept."""

    def score(kept):
        return 0.1 + kept @ weights

    return rivals.lime(case, score), rivals.shap_partition(case, score)


def test_lime_and_shap_recover_a_linear_score(rivals, case):
    weights = np.linspace(-0.2, 0.3, case.num_words)
    lime, shap = linear_case(rivals, case, weights)
    np.testing.assert_allclose(shap, weights, atol=1e-9)
    np.testing.assert_allclose(lime, weights, atol=0.02)  # its ridge shrinks a little


def test_shap_explains_a_text_of_one_word(rivals, case):
    one = rivals.Case.of("crude", case.kept.model, case.tokenizer)
    whole, nothing = one.kept.probability(np.array([[True], [False]]))
    assert rivals.shap_partition(one) == pytest.approx([whole - nothing])


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("variant", WITHOUT_WINDOW, ids=variant_name)
def test_textbook_forward_gives_the_logits_of_the_model(script, variant, fused):
    model = small_classifier(**variant)
    model.set_reference(torch.linspace(-1, 1, 8, dtype=torch.float64))
    batch = {name: value[:4] for name, value in masked_batch().items()}
    batch["attention_mask"] = batch["attention_mask"].bool()
    textbook = script("textbook_forward").TextbookClassifier(model, fused=fused)
    torch.testing.assert_close(textbook(**batch), model(**batch).logits, atol=1e-10, rtol=0)


def test_deletion_effects_that_are_timed_are_those_of_explain(script, case):
    costs = script("explanation_costs")
    ids = torch.from_numpy(case.kept.token_ids)[None]
    mask = torch.ones_like(ids, dtype=torch.bool)
    without = costs.run_with_deletion_effects(case.kept.model, ids, mask)[0]
    explanation = explain(case.text, case.kept.model, case.tokenizer)
    effects = explanation.logits - without.detach().double().numpy()
    np.testing.assert_allclose(effects, explanation.deletion_effects, atol=1e-5)


def test_batches_that_are_timed_have_the_length_they_say(script):
    lengths = script("explanation_costs").random_batch(20)["attention_mask"].sum(1)
    assert lengths.shape == (64,)
    assert lengths.min() >= 16
    assert lengths.max() <= 24


def test_timing_in_turns_leaves_the_first_turn_out(script):
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = script("explanation_costs").time_in_turns(runs, repeats=2)
    assert calls == list("ababab")
    assert [len(values) for values in seconds.values()] == [2, 2]


def test_every_method_is_timed_once_on_every_text(script, rivals, case):
    milliseconds = script("explanation_costs").time_methods([case, case])
    assert rivals.METHODS.keys() < milliseconds.keys()
    assert {len(values) for values in milliseconds.values()} == {2}


def test_interval_is_that_of_the_mean_and_leaves_nan_out(figures):
    values = np.random.default_rng(1).normal(3, 2, size=(1, 400))
    mean, low, high = figures.mean_with_interval(np.append(values, [[math.nan]], axis=1))
    assert mean == pytest.approx(values.mean())
    standard_error = values.std() / 20
    assert (low, high) == pytest.approx(
        (mean - 1.96 * standard_error, mean + 1.96 * standard_error), abs=0.2 * standard_error
    )


def test_interval_pools_the_seeds_of_a_text(figures):
    of_texts = np.random.default_rng(1).normal(size=100)
    seeds = np.array([of_texts - 1, of_texts + 1])
    assert figures.mean_with_interval(seeds) == pytest.approx(
        figures.mean_with_interval(of_texts[None])
    )


@pytest.mark.parametrize(
    ("high", "value", "cells"),
    [
        (False, 2.0, ["≤ 2.50 ×", "yes"]),
        (False, 3.0, ["≤ 2.50 ×", "no"]),
        (True, 3.0, ["≥ 2.50 ×", "yes"]),
        (True, 2.0, ["≥ 2.50 ×", "no"]),
    ],
)
def test_figure_says_whether_its_goal_is_reached(figures, high, value, cells):
    row = figures.Figure("A ratio", value, "ratio", (1, 4), 2.5, high).to_row()
    assert row == ["A ratio", f"{value:.2f} ×", "1.00 × to 4.00 ×", *cells]


def test_comparison_is_made_text_by_text(figures):
    values = {"a": {"x": np.array([[1.0, 5.0, 9.0]])}, "b": {"x": np.array([[0.5, 4.5, 8.5]])}}
    figure = figures.compare("Here", "x", values, ("a", "b"), goal=0.4)
    assert figure.what == "Here: x of a less that of b"
    assert [figure.value, *figure.interval] == pytest.approx([0.5, 0.5, 0.5])


def test_a_sample_reaches_from_the_first_to_the_last_texts(script):
    evenly_spaced = script("explanation_setup").evenly_spaced
    assert evenly_spaced(range(10), 4) == [0, 2, 5, 7]
    assert evenly_spaced("abc", 500) == ["a", "b", "c"]


def write_rows(folder, splits):
    folder.mkdir()
    for split, rows in splits.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")


def test_leaf_marks_follow_the_class(script, tmp_path):
    row = {"tokens": ["a", "dull", "fun"], "label": "very positive", "token_sentiment": [2, 0, 4]}
    neutral = {"tokens": ["a"], "label": "neutral", "token_sentiment": [2]}
    write_rows(tmp_path / "s", {split: [row, neutral] for split in SPLITS})
    (text,) = script("explanation_plausibility").read_leaves(tmp_path / "s")["test"]
    assert (text.text, text.label) == ("a dull fun", "positive")
    marks = {name: mark.tolist() for name, mark in text.marks.items()}
    assert marks == {"negative": [False, True, False], "positive": [False, False, True]}


def test_words_are_summed_over_the_tokens_that_people_saw(script):
    marked = script("explanation_plausibility").MarkedText(["too-tepid", "x", "biopic"], "a", {})
    spans = [(0, 3), (3, 4), (4, 9), (12, 18)]
    values = marked.to_tokens(np.array([1.0, 2.0, 4.0, 8.0]), spans)
    assert values.tolist() == [7, 0, 8]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with the sets that the benchmark reads, all of two topics and few texts."""
    folder = tmp_path_factory.mktemp("data")
    splits = {"train": (120, 0), "validation": (20, 1), "test": (6, 2)}
    sets = {name: {} for name in ("sst2", "trec", "r8", "sst_tokens", "eraser_movies")}
    for split, (count, seed) in splits.items():
        texts = keyword_texts(count, seed)
        rows = [dict(zip(texts, row, strict=True)) for row in zip(*texts.values(), strict=True)]
        for name in ("sst2", "trec", "r8"):
            sets[name][split] = rows
        tokens = [row["text"].split() for row in rows]
        sets["sst_tokens"][split] = [
            {"tokens": one, "label": label, "token_sentiment": [1, 3, *[2] * (len(one) - 2)]}
            for one, label in zip(tokens, ["negative", "very positive"] * count, strict=False)
        ]
        sets["eraser_movies"][split] = [
            {"tokens": one, "label": label, "rationale": [1] + [0] * (len(one) - 1)}
            for one, label in zip(tokens, ["neg", "pos"] * count, strict=False)
        ]
    for name, rows in sets.items():
        write_rows(folder / name, rows)
    return folder


@pytest.fixture
def benchmark(script, data, monkeypatch):
    module = script("benchmark_explanations")
    sources = {name: str(data / name) for name in ("sst2", "trec", "r8")}
    monkeypatch.setattr(
        module, "Setup", lambda *given: script("explanation_setup").Setup(*given, sources)
    )
    return module


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def run(benchmark, data, models, output, *parts):
    arguments = ["--data", data, "--models", models, "--output", output, "--only", *parts]
    sizes = ["--seeds", "0", "1", "--texts", "3", "--repeats", "1", "--epochs", "2"]
    benchmark.main([*map(str, arguments), *sizes])
    return json.loads(output.read_text(encoding="utf-8"))["parts"]


def test_a_set_is_measured_with_all_methods(benchmark, rivals, data, models, tmp_path, capsys):
    part = run(benchmark, data, models, tmp_path / "out.json", "sst2")["sst2"]
    (table,) = part["tables"]
    assert table["rows"].keys() == rivals.METHODS.keys()
    assert part["notes"]["texts"] == 3
    assert len(part["figures"]) == 8
    assert "| contributions |" in capsys.readouterr().out


def test_a_later_run_keeps_the_other_parts(benchmark, data, models, tmp_path):
    output = tmp_path / "out.json"
    assert run(benchmark, data, models, output, "movies").keys() == {"movies"}
    assert run(benchmark, data, models, output, "leaves").keys() == {"movies", "leaves"}
    page = output.with_suffix(".md").read_text(encoding="utf-8")
    assert "ERASER movies: agreement" in page
    assert "SST leaves: agreement" in page


def test_stability_compares_models_of_several_seeds(
    benchmark, script, data, models, tmp_path, monkeypatch
):
    monkeypatch.setattr(script("explanation_quality"), "STABILITY_SEEDS", 2)
    part = run(benchmark, data, models, tmp_path / "out.json", "stability")["stability"]
    (table,) = part["tables"]
    assert table["columns"] == ["SST-2", "TREC", "R8"]
    assert all(abs(mean) <= 1 for row in table["rows"].values() for mean, *_ in row)
    assert {"sst2-0", "trec-1", "r8-1"} <= {path.name for path in models.iterdir()}


def test_data_without_sst2_is_refused_before_any_work(benchmark, tmp_path, capsys):
    with pytest.raises(SystemExit):
        benchmark.main(["--data", str(tmp_path)])
    assert "expected --data to be a folder that holds sst2" in capsys.readouterr().err
