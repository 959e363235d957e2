"""A search for settings: what it chooses by, when it ends, and how it goes on."""

import dataclasses
import json
import random
import sys

import datasets
import pytest
import yaml
from optuna.trial import FixedTrial
from trained import TINY, assert_same_weights, keyword_data, keyword_texts, split_of
from transformers import TrainerCallback

from hf_attn import InputError, train
from hf_attn.arguments import (
    HfAttnTrainingArguments,
    ModelArguments,
)
from hf_attn.data import load_text_dataset
from hf_attn.settings import settings_from_options
from hf_attn.training import _fit_to_data
from hf_attn.tuning import Choice, first_trials, num_combinations, space_for, start_values
from hf_attn.tuning_search import tune
from hf_attn.tuning_trainer import Starts, TrialTrainer
from hf_attn.tuning_trials import Trial, best_of

LONG = 1e6
SMALL = {**TINY, "autotune_seconds": LONG}
MORE_TEXTS = datasets.Dataset.from_dict(keyword_texts(121))


class Clock:
    """Seconds that pass when somebody asks for the time: a training does after each step."""

    def __init__(self, interrupt_at=None):
        self.now = 0
        self.interrupt_at = interrupt_at

    def __call__(self):
        self.now += 1
        if self.now == self.interrupt_at:
            raise KeyboardInterrupt
        return self.now


class WithoutTest(datasets.DatasetDict):
    """Data whose test split must not be looked at."""

    def __getitem__(self, name):
        assert name != "test"
        return super().__getitem__(name)


class StopAt(TrainerCallback):
    """Breaks a training off at a step, as Ctrl-C would."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


def search(folder, data=None, clock=None, **options):
    """Searches, without training after it or test texts; gives what it found and what it told."""
    lines = []
    settings = settings_from_options(
        {"dataset": "given", "output_dir": str(folder), **SMALL, **options}
    )
    clock = clock or (lambda: 0.0)
    data = WithoutTest(load_text_dataset(data or keyword_data()))
    return tune(settings, data, _fit_to_data, tell=lines.append, clock=clock), lines


def trials_in(folder):
    return json.loads((folder / "tuning.json").read_text())["trials"]


def without_seconds(trials):
    return [{**trial, "seconds": None} for trial in trials]


def order_texts(count, seed):
    """Texts whose label is which of two words comes before the other."""
    draw = random.Random(seed)
    rows = {"text": [], "label": []}
    for index in range(count):
        words = draw.choices(["the", "of", "said", "in", "april"], k=8)
        at = draw.randrange(8)
        words[at:at] = ["not", "good"] if index % 2 else ["good", "not"]
        rows["text"].append(" ".join(words))
        rows["label"].append("bad" if index % 2 else "fine")
    return datasets.Dataset.from_dict(rows)


def test_search_finds_that_pairs_of_words_decide(tmp_path, monkeypatch):
    buckets = ModelArguments.__dataclass_fields__["ngram_buckets"]
    monkeypatch.setattr(buckets, "default", 0)  # as if pairs were not looked at by default
    monkeypatch.setattr(
        "hf_attn.tuning._FIRST_CHANGES", [{"learning_rate": 5e-3}, {"ngram_buckets": 2**14}]
    )
    data = datasets.DatasetDict(train=order_texts(200, 0), validation=order_texts(60, 1))
    without_order = {"relative_attention_num_buckets": 0, "ngram_buckets": 0}
    tuned, lines = search(tmp_path, data, autotune_trials=3, num_train_epochs=8, **without_order)
    assert tuned.settings[1].ngram_buckets == 2**14
    assert tuned.record["score"] > 0.95 > tuned.record["start_score"]
    assert [line.partition(":")[0] for line in lines] == [
        "trial 1", "trial 2", "trial 3", "Best of 3",
    ]  # fmt: skip


def test_tuned_run_scores_as_its_best_trial_and_its_file_repeats_it(tmp_path):
    run = train(
        keyword_data(), tmp_path / "a", **SMALL, autotune_trials=3, seed=3, validation_size=0.2
    )
    record = run.record["tuning"]
    best = max(epoch["eval_accuracy"] for epoch in run.record["epochs"])
    assert record["trials"] == 3
    assert best == record["score"] >= record["start_score"]
    values = yaml.safe_load((tmp_path / "a" / "tuned.yaml").read_text())
    assert values.items() >= {**record["settings"], "validation_size": 0.2}.items()
    assert not {"output_dir", "autotune_seconds", "dataset"} & values.keys()
    assert "autotune_seconds" not in run.record["settings"]["given"]
    card = (tmp_path / "a" / "README.md").read_text()
    assert "The validation texts chose the epoch and the settings, the test texts" in card
    assert "A search of 3 trials chose among them" in card
    train(keyword_data(), tmp_path / "b", **values)
    assert_same_weights(tmp_path / "a", tmp_path / "b")


def test_each_trial_scores_as_a_training_with_its_settings(tmp_path):
    search(tmp_path / "s", autotune_trials=4)
    given = {**TINY, "training_trace": False}
    for number, trial in enumerate(trials_in(tmp_path / "s")[2:]):
        values = {
            name: value if isinstance(value, (int, str)) else float(f"{value:.3g}")
            for name, value in trial["params"].items()
        }
        assert {"label_smoothing_factor", "min_frequency"} <= values.keys()
        run = train(keyword_data(), tmp_path / str(number), **{**given, **values})
        epochs = run.record["epochs"]
        assert trial["score"] == max(epoch["eval_accuracy"] for epoch in epochs)
        assert list(trial["scores"]) == [str(epoch["step"]) for epoch in epochs]


@pytest.mark.parametrize("factor", [0.1, 0.0])
def test_label_smoothing_is_the_trials_own(tmp_path, factor):
    settings = settings_from_options({"dataset": "given", "output_dir": str(tmp_path), **SMALL})
    starts = Starts(settings, load_text_dataset(keyword_data()))
    trainer = TrialTrainer(settings, starts, _fit_to_data, lambda: 0.0)
    params = first_trials(trainer.space, trainer.start)[0] | {"label_smoothing_factor": factor}
    trainer.training_settings(FixedTrial(params))
    smoother = trainer.label_smoother
    assert (smoother.epsilon if smoother else 0.0) == factor


def test_search_draws_the_same_with_the_same_seed(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        search(tmp_path / name, autotune_trials=4, seed=seed)
    first, second, other = (without_seconds(trials_in(tmp_path / name)) for name in "abc")
    assert first == second
    assert first[-1]["params"] != first[-2]["params"]
    assert [trial["params"] for trial in first] != [trial["params"] for trial in other]


def test_first_trial_is_the_run_as_it_is_and_given_settings_stay(tmp_path):
    tuned, _ = search(tmp_path, autotune_trials=3, weight_decay=0.5)
    trials = trials_in(tmp_path)
    assert trials[0]["params"]["ngram_buckets"] == 2**14
    assert trials[0]["params"]["min_frequency"] == 1
    assert trials[0]["params"]["token_dropout"] == 0.28
    for trial in trials:
        assert not {"weight_decay", "hidden_size", "learning_rate"} & trial["params"].keys()
    assert tuned.settings[2].weight_decay == 0.5


def test_run_after_a_search_has_the_passes_of_the_trial(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_attn.tuning._FIRST_CHANGES", [{"token_dropout": 0.6}])
    monkeypatch.setattr(  # as if what hides more tokens had scored best
        "hf_attn.tuning_search.best_of", lambda trials, **_: len(list(trials)) - 1
    )
    monkeypatch.setattr("hf_attn.training._LEAST_STEPS", 1)
    tuned, _ = search(tmp_path, autotune_trials=2, num_train_epochs=0)
    default, chosen = (trial["params"] for trial in trials_in(tmp_path))
    assert (default["token_dropout"], chosen["token_dropout"]) == (0.28, 0.6)
    arguments = tuned.settings[2]
    assert arguments.num_train_epochs == chosen["num_train_epochs"] == 6
    data = WithoutTest(load_text_dataset(keyword_data()))
    model, texts = Starts(tuned.settings, data).build({})
    assert model.config.token_dropout == 0.6
    _fit_to_data(arguments, model.config, texts, words_alone=False)
    assert arguments.num_train_epochs == 6


def test_search_ends_at_its_time_also_in_a_trial(tmp_path):
    clock = Clock()
    tuned, _ = search(tmp_path, clock=clock, autotune_seconds=40)
    assert clock.now < 50
    *whole, last = trials_in(tmp_path)
    assert [list(trial["scores"]) for trial in whole] == [["4", "8", "12"]] * len(whole)
    assert whole
    assert list(last["scores"]) == ["4", "8"]  # what a broken epoch gives is not among them
    assert last["score"] == last["scores"]["8"]
    assert tuned.record["trials"] == len(whole) + 1


def test_trial_that_ends_inside_an_epoch_is_scored_as_the_run_is(tmp_path):
    found, _ = search(tmp_path / "m", max_steps=3, autotune_trials=2)
    assert found.record["best_trial"] is not None
    run = train(keyword_data(), tmp_path / "n", **{**TINY, "max_steps": 3})
    assert found.record["start_score"] == run.record["epochs"][-1]["eval_accuracy"]


def test_search_without_time_for_a_score_leaves_the_settings(tmp_path):
    tuned, lines = search(tmp_path, clock=Clock(), autotune_seconds=4)
    assert [trial["state"] for trial in trials_in(tmp_path)] == ["pruned"]
    assert "more --autotune-seconds" in lines[-1]
    assert tuned.record["score"] is None
    assert tuned.settings[1].min_frequency is None  # the number of texts decides still


def test_error_in_a_trial_ends_the_search(tmp_path, monkeypatch):
    def refuse(*_):
        raise ValueError("no such score")

    monkeypatch.setattr("hf_attn.tuning_trainer.score_logits", refuse)
    with pytest.raises(ValueError, match="no such score"):
        search(tmp_path)


@pytest.fixture(scope="module")
def whole_search(tmp_path_factory):
    """The trials of a search of four that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    search(folder, autotune_trials=4)
    return without_seconds(trials_in(folder))


@pytest.mark.parametrize(("interrupt_at", "kept"), [(4, 0), (40, 2), (60, 3)])
def test_interrupted_search_goes_on_where_it_was(tmp_path, whole_search, interrupt_at, kept):
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, clock=Clock(interrupt_at), autotune_trials=4)
    path = tmp_path / "tuning.json"
    assert (without_seconds(trials_in(tmp_path)) if path.exists() else []) == whole_search[:kept]
    _, lines = search(tmp_path, autotune_trials=4)
    assert (f"Trials that are kept of the search before: {kept}." in lines) == (kept > 0)
    assert [line[:7] for line in lines if line.startswith("trial")] == [
        f"trial {n}" for n in range(kept + 1, 5)
    ]
    assert without_seconds(trials_in(tmp_path)) == whole_search


def test_seconds_before_an_interruption_count(tmp_path):
    search(tmp_path, clock=Clock(), autotune_seconds=40)
    before = trials_in(tmp_path)
    search(tmp_path, clock=Clock(), autotune_seconds=40)
    assert trials_in(tmp_path) == before
    search(tmp_path, clock=Clock(), autotune_seconds=80)
    assert trials_in(tmp_path)[: len(before)] == before
    assert len(trials_in(tmp_path)) > len(before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_decay": 0.5}, "other settings and values to try"),
        ({"seed": 1}, "other settings"),
        ({"data": datasets.DatasetDict(keyword_data(), train=MORE_TEXTS)}, "other texts"),
    ],
)
def test_trials_of_another_search_are_refused(tmp_path, change, message):
    search(tmp_path, autotune_trials=1)
    with pytest.raises(InputError, match=f"{message}. Go on with what it was started with"):
        search(tmp_path, autotune_trials=1, **change)


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_broken_trials_are_named(tmp_path, text):
    (tmp_path / "tuning.json").write_text(text)
    with pytest.raises(InputError, match=r"tuning.json: expected .* delete it to search anew"):
        train(keyword_data(), tmp_path, **SMALL)


def test_finished_search_starts_anew_and_an_untuned_run_drops_it(tmp_path):
    train(keyword_data(), tmp_path, **SMALL, autotune_trials=1)
    content = json.loads((tmp_path / "tuning.json").read_text())
    assert content["is_finished"]
    train(keyword_data(), tmp_path, **SMALL, autotune_trials=1, seed=1, overwrite=True)
    assert json.loads((tmp_path / "tuning.json").read_text())["search"]["settings"]["seed"] == 1
    run = train(keyword_data(), tmp_path, **TINY, overwrite=True)
    assert run.record["tuning"] is None
    assert not (tmp_path / "tuning.json").exists()
    assert not (tmp_path / "tuned.yaml").exists()


def test_training_after_a_search_resumes_with_what_it_found(tmp_path):
    options = {**SMALL, "autotune_trials": 2}
    whole = train(keyword_data(), tmp_path / "whole", **options)

    with pytest.raises(KeyboardInterrupt):
        train(keyword_data(), tmp_path / "parts", callbacks=[StopAt(6)], **options)
    with pytest.raises(InputError, match="--resume-from-checkpoint True"):
        train(keyword_data(), tmp_path / "parts", **options)
    run = train(keyword_data(), tmp_path / "parts", resume_from_checkpoint=True, **options)
    assert run.record["tuning"]["trials"] == whole.record["tuning"]["trials"] == 2
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


def test_resuming_in_a_search_goes_on_with_the_search(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, clock=Clock(interrupt_at=30), autotune_trials=3)
    run = train(keyword_data(), tmp_path, **SMALL, autotune_trials=3, resume_from_checkpoint=True)
    assert run.record["tuning"]["trials"] == 3


def test_resuming_a_run_without_a_search_is_refused(tmp_path):
    train(keyword_data(), tmp_path, **TINY)
    with pytest.raises(InputError, match="expected the trials of a search beside the checkpoint"):
        train(keyword_data(), tmp_path, **SMALL, resume_from_checkpoint=True)


def test_search_without_validation_is_refused(tmp_path):
    data = datasets.DatasetDict(train=datasets.Dataset.from_dict(keyword_texts(20)))
    with pytest.raises(InputError, match=r"no validation split\. Give --validation FILE"):
        train(data, tmp_path, validation_size=0, **SMALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"autotune_seconds": 0}, "must be a number above 0, got 0"),
        ({"autotune_seconds": -1.0}, "must be a number above 0, got -1.0"),
        ({"autotune_seconds": float("nan")}, "must be a number above 0, got nan"),
        ({"autotune_seconds": 1, "autotune_trials": 0}, "whole number from 1 on, got 0"),
        ({"autotune_trials": 3}, "Add --autotune-seconds N"),
        ({"autotune_seconds": 1, "eval_strategy": "no"}, "eval_strategy='no' gives none"),
    ],
)
def test_searches_that_could_find_nothing_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        train(keyword_data(), tmp_path, **options)


def test_search_in_several_processes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(HfAttnTrainingArguments, "world_size", property(lambda _: 2))
    with pytest.raises(InputError, match="searches in one process, got 2"):
        train(keyword_data(), tmp_path, **SMALL)


def test_search_without_optuna_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install 'hf-attn\[tune\]'"):
        train(keyword_data(), tmp_path, **SMALL)


def space_of(task="single_label_classification", **options):
    """The space of a search, and where it starts."""
    settings = settings_from_options({"dataset": "given", "output_dir": "m", **options})
    fitted = settings[2]
    fitted.num_train_epochs = fitted.num_train_epochs or 6
    if fitted.chooses_metric:
        fitted.metric_for_best_model = "accuracy"
    fitted.complete_for(task, words_alone=settings[1].words_alone)
    model = settings[1].completed_for(split_of(["x" * 30] * 300, task))
    if model.model is not None:  # which has rates of its own
        rates = [name for name in model.config_fields() if name.endswith("_dropout")]
        model = dataclasses.replace(model, **dict.fromkeys(rates, 0.1))
    start = start_values(model, fitted)
    return space_for(settings, fitted, task, start), start


OF_THE_VOCABULARY = {"ngram_buckets", "hidden_size", "min_frequency", "classifier_pooling"}


def test_space_leaves_out_what_the_run_has_settled():
    everything = set(space_of()[0])
    assert everything - set(space_of(model="m")[0]) == OF_THE_VOCABULARY
    assert everything - set(space_of(tokenizer="t")[0]) == {"min_frequency"}
    assert everything - set(space_of(algorithm="unigram")[0]) == {"min_frequency"}
    assert everything - set(space_of(max_steps=9)[0]) == {"num_train_epochs"}
    assert everything - set(space_of(words_alone=True)[0]) == {"ngram_buckets"}
    smoothing = {"label_smoothing_factor"}
    assert everything - set(space_of("regression")[0]) == smoothing
    assert everything - set(space_of(metric_for_best_model="eval_loss")[0]) == smoothing


def test_space_holds_the_defaults_whatever_they_are():
    for space, start in (space_of(), space_of(model="m")):
        for name, values in space.items():
            assert values.including(start[name]) == values, name
        assert first_trials(space, start)[0] == {name: start[name] for name in space}
    assert space_of()[0]["num_train_epochs"] == Choice((3, 6, 12))
    assert Choice((1, 2)).including(3) == Choice((3, 1, 2))


@pytest.mark.parametrize(
    ("task", "other"),
    [("single_label_classification", "static"), ("multi_label_classification", "mean")],
)
def test_other_pooling_is_tried_early(task, other):
    poolings = [trial["classifier_pooling"] for trial in first_trials(*space_of(task))]
    (default,) = {"mean", "static"} - {other}
    assert poolings == [default, default, other, default, default]


def test_number_of_combinations_is_counted():
    assert num_combinations(space_of()[0]) == float("inf")
    assert num_combinations({"a": Choice((1, 2)), "b": Choice((1, 2, 3))}) == 6


def test_ties_go_to_the_earlier_trial():
    trials = [Trial({}, "pruned", None, 1.0)]
    trials += [Trial({}, "complete", score, 1.0) for score in (0.5, 0.7, 0.7, 0.5)]
    assert best_of(trials, greater_is_better=True) == 2
    assert best_of(trials, greater_is_better=False) == 1
    assert best_of(trials[:1], greater_is_better=True) is None


def test_search_by_the_loss_takes_the_smallest(tmp_path):
    tuned, _ = search(tmp_path, autotune_trials=3, metric_for_best_model="eval_loss")
    scores = [trial["score"] for trial in trials_in(tmp_path)]
    assert tuned.record["score"] == min(scores)
    assert tuned.record["metric"] == "loss"
    assert tuned.record["best_trial"] == scores.index(min(scores)) + 1


def test_search_from_a_model_starts_each_trial_from_it(trained_folder, tmp_path):
    tuned, _ = search(
        tmp_path, model=str(trained_folder), hidden_size=64, head_dim=32, autotune_trials=2
    )
    assert tuned.record["start_score"] == 1.0
    first = trials_in(tmp_path)[0]["params"]
    assert not OF_THE_VOCABULARY & first.keys()
    config = json.loads((trained_folder / "config.json").read_text())
    rates = [name for name in first if name.endswith("_dropout")]
    assert len(rates) == 4
    assert {name: first[name] for name in rates} == {name: config[name] for name in rates}


def test_train_command_tells_of_trials_and_takes_what_was_tuned(run, tmp_path):
    rows = keyword_texts(80)
    lines = [f"{text},{label}" for text, label in zip(rows["text"], rows["label"], strict=True)]
    csv = tmp_path / "train.csv"
    csv.write_text("\n".join(["text,label", *lines]) + "\n")
    code, output, errors = run(
        "train", csv, "--output-dir", tmp_path / "m", "--autotune-seconds", LONG,
        "--autotune-trials", 2, "--num-train-epochs", 2, "--hidden-size", 8, "--head-dim", 4,
    )  # fmt: skip
    assert code == 0, errors
    assert "trial 1: accuracy" in output
    assert "Best of 2: trial" in output
    assert "Settings: the best of 2 trials" in output
    code, _, errors = run(
        "train", csv, "--output-dir", tmp_path / "n", "--config", tmp_path / "m" / "tuned.yaml"
    )
    assert code == 0, errors
    assert_same_weights(tmp_path / "m", tmp_path / "n")
