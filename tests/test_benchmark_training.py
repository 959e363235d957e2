"""The benchmark: the loop that Trainer is timed against does the same work, and the table."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from trained import TINY, keyword_data

from hf_attn import train
from hf_attn.mean_feature import mean_token_feature

SCRIPT = Path(__file__).parents[1] / "scripts" / "benchmark_training.py"
# No dropout, as Trainer's data loader draws random numbers too; decay, so that groups matter.
SAME = {
    **TINY,
    "ngram_buckets": 64,
    "token_dropout": 0.0,
    "attention_dropout": 0.0,
    "weight_decay": 0.1,
    "max_grad_norm": 0.1,
    "calibrate": False,
    "seed": 3,
}
LAST = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        yield importlib.import_module(SCRIPT.stem)


@pytest.fixture(scope="module")
def bare_loop(benchmark):
    return importlib.import_module("bare_loop")


def test_bare_loop_ends_with_the_weights_of_trainer(bare_loop, tmp_path):
    run = train(keyword_data(), tmp_path / "m", **SAME, **LAST)
    start = bare_loop.make_start(keyword_data(), **SAME, **LAST)
    history = bare_loop.run_bare_loop(start, epochs=3)
    start.model.set_reference(mean_token_feature(start.model, start.train))
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, start.model.state_dict()[name]), name
    losses = [epoch["loss"] for epoch in run.record["epochs"]]
    assert [epoch["loss"] for epoch in history] == pytest.approx(losses, rel=1e-6)


def test_bare_loop_evaluates_as_trainer_does(bare_loop, tmp_path):
    run = train(keyword_data(), tmp_path / "m", **SAME)
    history = bare_loop.run_bare_loop(bare_loop.make_start(keyword_data(), **SAME), epochs=3)
    for ours, theirs in zip(history, run.record["epochs"], strict=True):
        assert ours == pytest.approx({name: theirs[name] for name in ours}, rel=1e-6)
        assert ours.keys() == {"loss", "eval_loss", "eval_accuracy", "eval_macro_f1"}


def test_bare_loop_cut_short_is_the_start_of_the_whole_one(bare_loop):
    def run(epochs):
        return bare_loop.run_bare_loop(bare_loop.make_start(keyword_data(), **SAME), epochs)

    assert run(2) == run(3)[:2]


@pytest.mark.parametrize(
    ("figure", "row"),
    [
        (
            ("a", "Accuracy", 0.975, "share", {"seed 0": 0.97, "seed 1": 0.98}, 0.97),
            "| Accuracy | 97.50% | seed 0 97.00%, seed 1 98.00% | ≥ 97.00%: yes |",
        ),
        (("s", "Size", 21, "MB", {}, 20), "| Size | 21 MB |  | ≤ 20 MB: no |"),
        (("r", "Ratio", 1.25, "ratio"), "| Ratio | 1.250 |  |  |"),
    ],
)
def test_figure_shows_value_parts_and_goal(benchmark, figure, row):
    assert benchmark.Figure(*figure).to_row() == row


def test_median_of_ratios_pairs_measurements_taken_in_turns(benchmark):
    figure = benchmark.median("r", "Ratio", "ratio", benchmark.ratios([2, 9, 3], [1, 3, 3]))
    assert figure.value == 2
    assert figure.single == {"run 1": 2, "run 2": 3, "run 3": 1}


def test_score_figures_average_the_seeds(benchmark):
    records = {
        seed: {"metrics": {"test": {"accuracy": value, "macro_f1": value / 2}}}
        for seed, value in {0: 0.5, 4: 1.0}.items()
    }
    accuracy, macro_f1 = benchmark.score_figures("x", "X", records, goal=0.8)
    assert (accuracy.name, accuracy.value, accuracy.goal) == ("x_accuracy", 0.75, 0.8)
    assert (macro_f1.name, macro_f1.value, macro_f1.goal) == ("x_macro_f1", 0.375, None)
    assert accuracy.single == {"seed 0": 0.5, "seed 4": 1.0}


def test_peak_of_a_command_is_its_own(benchmark):
    def peak(code):
        return benchmark.peak_of([sys.executable, "-c", code])

    ballast = torch.ones(50_000_000)  # 200 MB of this process, which no child has
    bare = peak("pass")
    assert bare < ballast.nbytes / 10**6 / 2
    assert peak("b'x' * 100_000_000") - bare == pytest.approx(100, abs=10)


def test_failing_command_says_why(benchmark):
    with pytest.raises(RuntimeError, match="no such thing"):
        benchmark.run_quietly([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_help_part_writes_json_and_the_same_table_as_it_prints(benchmark, tmp_path, capsys):
    benchmark.main(["--only", "help", "--output", str(tmp_path / "figures.json")])
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "figures.md").read_text(encoding="utf-8")
    assert printed.startswith("| what | measured | made of | to reach |\n|---|---|---|---|\n| `hf-")
    content = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert content["figures"].keys() == {"help", "import_torch", "help_ratio"}
    assert len(content["figures"]["help"]["single"]) == 5
    assert content["machine"]["threads"] == torch.get_num_threads()


def test_data_without_sst2_is_refused_before_any_work(benchmark, tmp_path, capsys):
    with pytest.raises(SystemExit):
        benchmark.main(["--data", str(tmp_path)])
    assert "expected --data to be a folder that holds sst2" in capsys.readouterr().err
