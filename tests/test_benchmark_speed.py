"""The speed benchmark: fresh texts, fair turns, rivals that learn, and figures that are theirs."""

import json
import sys

import numpy as np
import pytest
import torch
from trained import keyword_texts

from hf_attn import load_text_dataset
from hf_attn.errors import InputError

GRID = {"lr": (0.1, 1.0), "epoch": (25,), "wordNgrams": (1, 2)}
pytest.importorskip("fasttext", reason="the extra `bench` is not installed")


@pytest.fixture(scope="module")
def texts(script):
    return script("speed_texts")


@pytest.fixture(scope="module")
def rivals(script):
    return script("speed_rivals")


@pytest.fixture(scope="module")
def team(script):
    return script("speed_teams")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with the sets that the benchmark reads, all of two topics and few texts."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("sst2", "ohsumed", "eraser_movies", "r8"):
        (folder / name).mkdir()
        for seed, (split, count) in enumerate({"train": 240, "validation": 40, "test": 40}.items()):
            made = keyword_texts(count, seed)
            rows = [dict(zip(made, row, strict=True)) for row in zip(*made.values(), strict=True)]
            if name == "eraser_movies":
                rows = [{"tokens": row["text"].split(), "label": row["label"]} for row in rows]
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / name / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def models(script, data, tmp_path_factory):
    return script("speed_models").Models(
        tmp_path_factory.mktemp("models"),
        data,
        window=4,
        epochs=8,
        sources={"r8": str(data / "r8")},
        grid=GRID,
    )


@pytest.fixture
def setup(script, models):
    return script("speed_throughput").Setup(models, repeats=2, texts=8, many=300)


@pytest.fixture
def quick(script, monkeypatch):
    """Leaves out the sides that are slow to make or to load."""
    rivals = script("speed_rivals")
    few = (rivals.FOLDED, rivals.EXPLAINED, rivals.FASTTEXT, f"{rivals.FASTTEXT}, bigrams")
    for name in set(rivals.SIDES) - {*few, rivals.SVM}:
        monkeypatch.delitem(rivals.SIDES, name)


def test_cut_texts_have_the_length_and_come_once(texts):
    words = [[f"w{row}-{place}" for place in range(row)] for row in range(40)]
    parts = texts.cut(words, 7, parts=3, most=20)
    assert [len(part) for part in parts] == [20, 20, 20]
    everything = [text for part in parts for text in part]
    assert {len(text.split()) for text in everything} == {7}
    assert len({word for text in everything for word in text.split()}) == 7 * 60


def test_cut_texts_leave_repetitions_out(texts):
    assert texts.cut([["a", "b"] * 5, ["c"]], 2, parts=1, most=9) == [["a b"]]


def test_too_few_words_are_refused(texts):
    with pytest.raises(ValueError, match="expected words for 3 texts of 5, got 10"):
        texts.cut([["a"] * 10], 5, parts=3, most=1)


def test_texts_are_read_from_tokens_and_from_text(texts, data):
    tokens, plain = (texts.read_texts(data / name) for name in ("eraser_movies", "sst2"))
    assert tokens == plain
    assert len(plain) == 320


def test_many_texts_have_real_lengths_and_words_and_are_the_same_each_time(texts, tmp_path):
    random = np.random.default_rng(0)
    real = [[f"w{n}" for n in random.integers(99, size=size)] for size in (8, 8, 8, 20)]
    for name in ("one", "two"):
        texts.write_many(tmp_path / name, real, count=12_345)
    lines = (tmp_path / "one").read_text(encoding="utf-8").splitlines()
    assert (tmp_path / "two").read_text(encoding="utf-8").splitlines() == lines
    assert len(lines) == len(set(lines)) == 12_345
    lengths = [len(line.split()) for line in lines]
    assert set(lengths) == {8, 20}
    assert lengths.count(20) / len(lines) == pytest.approx(0.25, abs=0.02)
    assert {word for line in lines for word in line.split()} == {w for text in real for w in text}


def test_every_side_that_learned_finds_the_labels(rivals, models, data):
    test = load_text_dataset(str(data / "sst2"))["test"]
    names = test.features["label"].names
    for side, about in rivals.SIDES.items():
        if not about.is_there or "BERT" in side:
            continue
        predict = about.load(models.make("sst2", about.model), 1)
        found = [
            label[0] if isinstance(label, list) else label for label in predict(test["text"][:])
        ]
        numbers = [
            names.index(label) if label in names else int(str(label).removeprefix("__label__"))
            for label in found
        ]
        assert np.mean(np.array(numbers) == test["label"][:]) > 0.95, side


def test_batches_of_a_transformer_give_what_each_text_gives_alone(rivals, models):
    side = rivals.SIDES[rivals.TINY_BERT]
    predict = side.load(models.make("sst2", side.model), 1)
    several = [" ".join(["crude", "the", "wheat"][: 1 + n % 3] * (1 + n % 7)) for n in range(50)]
    together = predict(several)
    assert together == [predict([text])[0] for text in several]
    assert set(together) <= {"farm", "oil"}


def test_fastest_of_the_best_is_taken(script):
    rows = [
        {"lr": lr, "validation": validation, "test": test, "seconds": seconds, "start": 0.1}
        for lr, validation, test, seconds in ((1, 0.8, 0.9, 1), (2, 0.9, 0.1, 9), (3, 0.9, 0.2, 5))
    ]
    best = script("speed_models").best_of(rows)
    assert script("speed_models").settings_of(best) == {"lr": 3}


def test_grid_of_fasttext_has_each_setting_with_its_scores(models):
    rows = models.fasttext_rows("sst2")
    settings = [(row["lr"], row["epoch"], row["wordNgrams"]) for row in rows]
    assert settings == [(0.1, 25, 1), (0.1, 25, 2), (1.0, 25, 1), (1.0, 25, 2)]
    assert max(row["test"] for row in rows) > 0.95
    assert all(row["start"] > 0 and row["seconds"] > 0 for row in rows)


def test_fasttext_that_fails_says_why(script, tmp_path):
    with pytest.raises(RuntimeError, match=r"train\.txt cannot be opened"):
        script("fasttext_runs").run_fasttext(tmp_path, [{}])


def test_two_processes_share_the_texts(rivals, team, models, monkeypatch):
    models.make_for("sst2", [rivals.FASTTEXT])
    with team.teams([rivals.FASTTEXT], models.folder / "sst2", threads=2) as started:
        two = started[rivals.FASTTEXT]
        assert len(two.workers) == 2
        assert [len(reply["seconds"]) for reply in two.ask("each", ["wheat"] * 5)] == [3, 2]
        assert 0 < two.per_second(["crude oil"] * 50) < 1e8


def test_speed_is_that_of_the_slowest_process(team):
    class Stub:
        def __init__(self, seconds):
            self.seconds = seconds

        def send(self, **request):
            pass

        def reply(self):
            return {"seconds": self.seconds}

    assert team.Team("a", [Stub(0.5), Stub(2.0)]).per_second(["x"] * 10) == 5


def test_side_that_fails_says_why(rivals, team, tmp_path):
    with (
        team.teams([rivals.FASTTEXT], tmp_path) as started,
        pytest.raises(RuntimeError, match=r"fastText failed:\n(.|\n)*unigrams\.bin"),
    ):
        started[rivals.FASTTEXT].ask("all", ["text"])


def test_memory_of_a_side_is_its_own(rivals, team, models):
    models.make_for("sst2", [rivals.FASTTEXT])
    ballast = torch.ones(100_000_000)  # 400 MB of this process
    with team.teams([rivals.FASTTEXT], models.folder / "sst2") as started:
        (reply,) = started[rivals.FASTTEXT].ask("weigh")
    assert 20 < reply["memory"] < ballast.nbytes / 10**6


def test_each_turn_begins_with_another_side(team):
    assert [team.in_turns("abc", turn) for turn in range(4)] == [
        *(list("abc"), list("bca")),
        *(list("cab"), list("abc")),
    ]


def test_turns_bring_new_texts_and_the_first_does_not_count(script):
    class Stub:
        def __init__(self):
            self.seen = []

        def per_second(self, texts):
            self.seen.append(list(texts))
            return float(len(self.seen))

    throughput = script("speed_throughput")
    sides = {name: Stub() for name in ("fastText", "DistilBERT shape")}
    parts = [[f"{turn}-{number}" for number in range(100)] for turn in range(3)]
    speeds = throughput.take_turns(sides, parts, length=100)
    assert speeds == {name: [2.0, 3.0] for name in sides}
    assert sides["fastText"].seen == parts
    assert sides["DistilBERT shape"].seen == [part[:14] for part in parts]


def test_ratios_pair_the_turns(script):
    throughput = script("speed_throughput")
    speeds = {"a": {21: [2.0, 9.0, 4.0]}, "b": {21: [1.0, 3.0, 1.0]}}
    pairs = [("a", "b", 21, 2.5), ("a", "missing", 21, 1.0)]
    (figure,) = throughput._ratios(speeds, pairs, "", judged=True)
    assert (figure.value, figure.interval, figure.goal) == (3.0, (2.0, 4.0), 2.5)
    assert figure.to_row()[-1] == "yes"


def test_clock_stops_at_the_first_look_that_reaches_the_accuracy(script, data):
    training = script("speed_training")
    options = {"num_train_epochs": 12, "learning_rate": 1e-2}
    reached = training.train_to(str(data / "sst2"), 0.9, 1, options)
    assert 0.9 <= reached.accuracy <= 1
    assert 0 < reached.steps < 30
    assert 0 < reached.epochs < 12
    never = training.train_to(str(data / "sst2"), 1.1, 1, {**options, "num_train_epochs": 2})
    assert never.steps is None
    assert never.epochs == 2


def test_parts_of_a_training_add_up_to_that_of_the_trainer(script, data):
    training = script("speed_training")
    seconds = training.profile_training(str(data / "sst2"), {"num_train_epochs": 2})
    assert all(value > 0 for value in seconds.values()), seconds
    of_trainer = [part for part in training.PROFILED if part not in (training.WHOLE, "Trainer")]
    total = sum(seconds[part] for part in [*of_trainer, training.REST])
    assert total == pytest.approx(seconds["Trainer"])
    assert seconds["Trainer"] < seconds[training.WHOLE]


def test_table_leaves_out_what_was_not_reached(script):
    training = script("speed_training")
    rows = {"ours": [training.Reached(0.5, None, 1.0, 2.0), training.Reached(0.75, 3.0, 1.0, 2.0)]}
    lines = training._table_of_times("T", rows).to_lines()
    assert lines[-1] == (
        "| ours, 1 of 2 reached it | 62.50% (50.00% to 75.00%) | 2.000 (2.000 to 2.000) "
        "| 3.00 s (3.00 s to 3.00 s) | 4.00 s (4.00 s to 4.00 s) |"
    )


def test_watched_command_shows_its_memory_over_time(script):
    costs = script("speed_costs")
    code = "import time; time.sleep(.5); kept = b'x' * 200_000_000; time.sleep(1)"
    seconds, samples = costs.watch([sys.executable, "-c", code])
    assert seconds > 1.5
    early, late = costs.memory_at(samples, 0.1), costs.memory_at(samples, 0.9)
    assert late - early == pytest.approx(200, abs=20)


def test_watched_command_that_fails_says_why(script):
    with pytest.raises(RuntimeError, match="no such thing"):
        script("speed_costs").watch([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_size_is_that_of_the_files_of_a_model(script, tmp_path):
    (tmp_path / "one").write_bytes(b"x" * 3_000_000)
    (tmp_path / "two").write_bytes(b"x" * 500_000)
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "three").write_bytes(b"x" * 1_000_000)
    assert script("speed_costs").size_of(tmp_path) == 3.5
    assert script("speed_costs").size_of(tmp_path / "one") == 3


@pytest.fixture
def benchmark(script, models, quick, monkeypatch):
    module = script("benchmark_speed")
    monkeypatch.setattr(module, "Models", lambda *_: models)
    monkeypatch.setattr(script("speed_throughput"), "LENGTHS", (3, 21))
    return module


def run(benchmark, data, output, *parts, more=()):
    sizes = ["--repeats", "2", "--texts", "8", "--many", "300", *more]
    benchmark.main(["--data", str(data), "--output", str(output), *sizes, "--only", *parts])
    return json.loads(output.read_text(encoding="utf-8"))["parts"]


def test_a_later_run_keeps_the_other_parts_and_draws_the_picture(
    benchmark, data, tmp_path, monkeypatch, script, capsys
):
    monkeypatch.setattr(
        script("speed_throughput"), "PAIRS", [("fastText", "fastText, bigrams", 21, 1)]
    )
    output, picture = tmp_path / "out.json", tmp_path / "speed.png"
    assert run(benchmark, data, output, "latency").keys() == {"latency"}
    more = ["--picture", str(picture)]
    parts = run(benchmark, data, output, "throughput", more=more)
    assert parts.keys() == {"latency", "throughput"}
    (table,) = parts["throughput"]["tables"]
    assert table["columns"] == ["3 words", "21 words"]
    assert {"fastText", "TF-IDF + LinearSVC"} <= table["rows"].keys()
    assert "one thread, 21 words: fastText over fastText, bigrams" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_memory_part_weighs_each_side(benchmark, data, tmp_path):
    part = run(benchmark, data, tmp_path / "out.json", "memory")["memory"]
    (table,) = part["tables"]
    for (loaded,), (used,) in table["rows"].values():
        assert 20 < loaded <= used < 2_000


def test_picture_of_nothing_is_refused(script, tmp_path):
    with pytest.raises(InputError, match="--only throughput"):
        script("speed_picture").draw_speed({}, tmp_path / "speed.png")


def test_data_without_its_sets_is_refused_before_any_work(script, tmp_path, capsys):
    (tmp_path / "sst2").mkdir()
    with pytest.raises(SystemExit):
        script("benchmark_speed").main(["--data", str(tmp_path)])
    assert "expected --data to be a folder that holds eraser_movies" in capsys.readouterr().err
