"""The accuracy board: scores as others compute them, choices by validation, runs that go on."""

import dataclasses
import functools
import json

import datasets
import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from trained import keyword_texts

pytest.importorskip("fasttext", reason="the extra `bench` is not installed")


@pytest.fixture(scope="module")
def sets(script):
    return script("accuracy_sets")


@pytest.fixture(scope="module")
def methods(script):
    return script("accuracy_methods")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with a small set of each kind: one label, several, and values."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("trec", "goemotions", "vader_tweets"):
        (folder / name).mkdir()
        for seed, (split, count) in enumerate({"train": 120, "validation": 30, "test": 40}.items()):
            made = keyword_texts(count, seed)
            rows = zip(made["text"], made["label"], strict=True)
            lines = [
                json.dumps({"text": text, **_labelled(name, text, label)}) for text, label in rows
            ]
            (folder / name / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def _labelled(name, text, label):
    if name == "goemotions":
        return {"labels": [label, "long"] if len(text.split()) > 5 else [label]}
    if name == "vader_tweets":
        return {"label": len(text) / 10 + 0.5}
    return {"label": label}


def draw_scores(seed, shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_scores_of_several_labels_equal_those_of_scikit_learn(sets):
    val, scores = draw_scores(0, (60, 5)), draw_scores(1, (80, 5))
    val_labels, labels = (draw_scores(2, (60, 5)) + val > 1) * 1, (draw_scores(3, (80, 5)) > 1) * 1
    threshold = sets.best_threshold(val, val_labels)
    tried = [f1_score(val_labels, val > t, average="micro") for t in [-9, *np.unique(val)]]
    assert f1_score(val_labels, val > threshold, average="micro") == max(tried)
    numbers = sets.MICRO_F1.read(val, val_labels, scores, labels, "abcde")
    expected = f1_score(labels, scores > threshold, average="micro")
    assert sets.MICRO_F1(numbers) == pytest.approx(expected, abs=1e-12)
    best = sets.PRECISION.read(val, val_labels, scores, labels, "abcde")
    assert sets.PRECISION(best) == np.mean([labels[i, scores[i].argmax()] for i in range(80)])


def test_correlation_equals_that_of_numpy(sets):
    scores, labels = draw_scores(0, (50, 1)), draw_scores(1, 50)
    numbers = sets.PEARSON.read(scores, labels, scores, labels, [])
    expected = np.corrcoef(scores[:, 0], labels)[0, 1]
    assert sets.PEARSON(numbers) == pytest.approx(expected, abs=1e-12)
    assert sets.PEARSON(numbers * 0) == 0


def test_recall_out_of_scope_counts_only_those_texts(sets):
    names, labels = ["a", "b", "oos"], np.array([0, 1, 2, 2, 2, 1])
    scores = np.eye(3)[[0, 0, 2, 2, 1, 1]]
    inside, outside, *_ = sets.CORPORA["clinc150"].metrics
    assert inside(inside.read(scores, labels, scores, labels, names)) == 2 / 3
    assert outside(outside.read(scores, labels, scores, labels, names)) == 2 / 3
    labels[2] = 0
    assert inside(inside.read(scores, labels, scores, labels, names)) == 2 / 4
    assert outside(outside.read(scores, labels, scores, labels, names)) == 1 / 2


def test_texts_out_of_scope_are_refused_below_the_score_of_one_in_twenty_in_scope(sets):
    _, _, outside, inside, _ = sets.CORPORA["clinc150"].metrics
    names = ["a", "oos"]
    val = np.stack([np.arange(1, 101) / 100, np.zeros(100)], 1)  # 5 of 100 are below 0.06
    val_labels = np.zeros(100, int)
    scores = np.array([[0.05, 0.01], [0.06, 0.01], [0.05, 0.01], [0.06, 0.01], [0.06, 0.07]])
    labels = np.array([0, 0, 1, 1, 1])
    given = (val, val_labels, scores, labels, names)
    assert inside(inside.read(*given)) == 1 / 2
    assert outside(outside.read(*given)) == 2 / 3  # one for its score, one for its class
    often = np.where(np.arange(100)[:, None] < 50, [[0.0, 1.0]], val)
    given = (often, val_labels, scores, labels, names)
    assert inside(inside.read(*given)) == 0
    assert outside(outside.read(*given)) == 1 / 3  # for its class alone


def test_calibration_error_equals_that_of_the_package(sets):
    from hf_attn.metrics import calibration_error
    from hf_attn.probabilities import logits_to_scores

    logits, labels = draw_scores(0, (200, 4)) * 3, draw_scores(1, (200, 4)).argmax(1)
    scores = logits_to_scores(logits, "single_label_classification")
    numbers = sets.CALIBRATION_ERROR.read(scores, labels, scores, labels, "abcd")
    expected = calibration_error(logits, labels)
    assert expected > 0.1
    assert sets.CALIBRATION_ERROR(numbers) == pytest.approx(expected, abs=1e-12)
    assert sets.CALIBRATION_ERROR.mean([numbers]) == [sets.CALIBRATION_ERROR(numbers)]
    above = sets.CALIBRATION_ERROR.read(
        scores, labels, np.full((1, 4), 1.00001), labels[:1], "abcd"
    )
    assert sets.CALIBRATION_ERROR(above) == pytest.approx(1 - (labels[0] == 0), abs=1e-4)


def test_interval_is_that_of_a_share(sets):
    right = np.repeat([[1.0], [0.0]], [800, 200], axis=0)
    mean, low, high = sets.ACCURACY.mean([right, right])
    spread = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert mean == 0.8
    assert (low, high) == pytest.approx((0.8 - spread, 0.8 + spread), abs=3e-3)


def test_fasttext_gives_probabilities_in_the_order_of_the_classes(sets, methods, data, tmp_path):
    import fasttext

    task = sets.load_task("trec", data)
    methods.write_for_fasttext(task, tmp_path)
    labels = [f"__label__{number}" for number in range(len(task.names))]
    run = {"lr": 0.5, "epoch": 5, "thread": 1, "save": str(tmp_path / "model.bin")}
    (row,) = methods.run_fasttext(tmp_path, [run], splits=["test"], labels=labels)
    scores = np.array(row["scores"]["test"])
    assert scores.sum(1) == pytest.approx(1, abs=1e-3)
    accuracy = (scores.argmax(1) == task.labels("test")).mean()
    model = fasttext.load_model(str(tmp_path / "model.bin"))
    assert accuracy == row["test"] == model.test(str(tmp_path / "test.txt"))[1]


def test_uniform_attention_stays_uniform(methods, data, tmp_path):
    from hf_attn import train

    run = train(
        str(data / "trec"), tmp_path / "model", num_train_epochs=1, disable_tqdm=True,
        callbacks=[methods.UniformAttention()],
    )  # fmt: skip
    ids = torch.arange(5, 12)[None]
    (weights,) = run.model(ids, output_attentions=True).attentions
    torch.testing.assert_close(weights, torch.full_like(weights, 1 / 7))


def test_methods_learn_each_kind_of_task(script, sets, methods, data, tmp_path):
    for name in ("trec", "goemotions", "vader_tweets"):
        task, kept = sets.load_task(name, data), tmp_path / name
        kept.mkdir()
        fits = [methods.fit_svm, methods.fit_majority]
        fits += [methods.fit_fasttext] if task.names else []
        scored = {fit: fit(task, 0, kept).scores for fit in fits}
        shape = (40, max(1, len(task.names)))
        assert {scores["test"].shape for scores in scored.values()} == {shape}
        svm = methods.validate(task, scored[methods.fit_svm]["validation"])
        if task.names:
            assert svm > methods.validate(task, scored[methods.fit_majority]["validation"])


def test_svm_scores_a_class_that_training_lacks_lowest(sets, methods, data, tmp_path):
    task = sets.load_task("trec", data)
    full = methods.fit_svm(task, 0, tmp_path).scores["test"]
    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=["between", *task.names])
    )
    moved = {
        name: split.map(lambda row: {"label": row["label"] + 1}, features=features)
        for name, split in task.data.items()
    }
    lacking = dataclasses.replace(task, data=datasets.DatasetDict(moved))
    scores = methods.fit_svm(lacking, 0, tmp_path).scores["test"]
    assert np.isneginf(scores[:, 0]).all()
    np.testing.assert_array_equal(scores[:, 1:], full)


def test_svm_scores_a_label_that_training_lacks_lowest(sets, methods, data, tmp_path):
    task = sets.load_task("goemotions", data)
    full = methods.fit_svm(task, 0, tmp_path).scores["test"]
    names = [*task.names, "nowhere"]
    features = datasets.Features(
        text=datasets.Value("string"), labels=datasets.List(datasets.ClassLabel(names=names))
    )
    splits = {name: split.cast(features) for name, split in task.data.items()}
    lacking = dataclasses.replace(task, data=datasets.DatasetDict(splits))
    (tmp_path / "lacking").mkdir()  # so that it chooses anew, by scores with -inf
    scores = methods.fit_svm(lacking, 0, tmp_path / "lacking").scores["test"]
    assert np.isneginf(scores[:, -1]).all()
    np.testing.assert_array_equal(scores[:, :-1], full)


def test_svm_can_learn_a_single_one_of_several_labels(sets, methods, data, tmp_path):
    task = sets.load_task("goemotions", data)
    long = task.names.index("long")
    moved = {
        name: split.map(lambda row: {"labels": [one for one in row["labels"] if one == long]})
        for name, split in task.data.items()
    }
    single = dataclasses.replace(task, data=datasets.DatasetDict(moved))
    scores = methods.fit_svm(single, 0, tmp_path).scores["test"]
    assert np.isfinite(scores[:, long]).all()
    assert np.isneginf(np.delete(scores, long, axis=1)).all()


def test_choices_are_those_that_validate_best(sets, methods, data, tmp_path, monkeypatch):
    task = sets.load_task("trec", data)
    monkeypatch.setattr(methods, "validate", lambda task, scores: -abs(scores).max())
    fitted = methods.fit_svm(task, 0, tmp_path)
    assert fitted.settings == {"C": min(methods.STRENGTHS)}
    monkeypatch.undo()
    again = methods.fit_svm(task, 0, tmp_path)  # what was chosen is kept for the next seed
    assert again.settings == fitted.settings


def test_board_goes_on_where_it_was_left(script, data, tmp_path, monkeypatch, capsys):
    board = script("benchmark_accuracy")
    given = ["--data", str(data), "--work", str(tmp_path), "--only", "trec", "--seeds", "2"]
    board.main([*given, "--methods", board.SVM, board.MAJORITY])
    first = capsys.readouterr()
    assert first.err.count("trec,") == 4
    assert "TREC-6" in first.out
    made = {path: path.read_bytes() for path in tmp_path.rglob("*.npz")}
    assert len(made) == 5  # with the labels
    board.main([*given, "--output", str(tmp_path / "board.json"), "--methods", board.SVM])
    assert capsys.readouterr().err == ""
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.npz")} == made
    tables = json.loads((tmp_path / "board.json").read_text())["parts"]["accuracy"]["tables"]
    (rows,) = (table["rows"] for table in tables if table["title"] == "TREC-6")
    kept = np.load(tmp_path / "trec" / "majority-0.npz")["test"]
    labels = np.load(tmp_path / "trec" / "labels.npz")["test"]
    assert rows["majority, 2 seeds"][0][0] == (kept.argmax(1) == labels).mean()
    assert len(rows["majority, 2 seeds"][1]) == 1
    assert "Calibration error" not in [table["title"] for table in tables]  # without ours
    assert rows[f"{board.SVM}, 2 seeds"][1] is None  # it gives no probabilities


def test_board_refuses_scores_of_other_texts(script, data, tmp_path):
    board = script("benchmark_accuracy")
    task = script("accuracy_sets").load_task("trec", data)
    path = tmp_path / "trec" / "majority-0.npz"
    board.do_cell(task, board.MAJORITY, 0, path)
    board.do_cell(task, board.MAJORITY, 0, path)
    turned = dataclasses.replace(task, data={**task.data, "test": task.data["test"].select([0, 1])})
    with pytest.raises(ValueError, match="got others: the data have changed"):
        board.do_cell(turned, board.MAJORITY, 0, path)
    (tmp_path / "trec" / "labels.npz").unlink()
    with pytest.raises(ValueError, match="expected labels beside the scores"):
        board.do_cell(task, board.MAJORITY, 0, path)


def test_board_shows_what_the_temperature_does(script, data, tmp_path, capsys):
    board = script("benchmark_accuracy")
    task = script("accuracy_sets").load_task("trec", data)
    path = tmp_path / "trec" / "hf-attn-0.npz"
    fit = functools.partial(board.fit_hf_attn, num_train_epochs=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(board.METHODS, board.OURS, fit)
        board.do_cell(task, board.OURS, 0, path)
    part = board.to_part(tmp_path)
    calibration = part.tables[0].rows["TREC-6"]
    (cell,) = board.load_cells(tmp_path, "trec", board.OURS)
    assert calibration[0] == [cell.about["calibration_error_before"]]
    assert calibration[0][0] != calibration[1][0]
    assert cell.scores["test"].sum(1) == pytest.approx(1, abs=1e-5)
    (figure, *_) = part.figures
    expected = (cell.scores["test"].argmax(1) == task.labels("test")).mean()
    assert figure.value == expected


def test_published_figures_have_sources_and_are_of_sets_of_the_board(script):
    published = script("accuracy_published")
    assert {one.corpus for one in published.PUBLISHED} <= set(script("accuracy_sets").CORPORA)
    rows = published.published_figures(list(script("accuracy_sets").CORPORA)).rows
    assert len(rows) == len(published.PUBLISHED)
    assert all("](https://" in row and 0 < cell[0] < 1 for row, (cell,) in rows.items())


def test_figures_compare_with_the_better_rival(script):
    board = script("benchmark_accuracy")
    means = {
        "trec": {board.OURS: 0.90, board.FASTTEXT: 0.91, board.SVM: 0.88, board.UNIFORM: 0.89},
        "r8": {board.OURS: 0.98, board.FASTTEXT: 0.95, board.SVM: 0.97, board.UNIFORM: 0.97},
        "vader_tweets": {board.OURS: 0.1, board.SVM: 0.9, board.FASTTEXT: 0.9},
    }
    mean, worst, over_uniform, worst_uniform = board._figures_of_means(means)
    assert (mean.value, worst.value) == pytest.approx((0.94 - 0.93, -0.01))
    assert "TREC" in worst.what
    assert (over_uniform.value, worst_uniform.value) == pytest.approx((0.01, 0.01))
