"""Settings compared by cross-validation: what is held out, and what is told of it."""

import json

import datasets
import numpy as np
import pytest
from trained import keyword_texts

pytest.importorskip("fasttext", reason="the extra `bench` is not installed")


@pytest.fixture(scope="module")
def compare(script):
    return script("compare_settings")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "trec").mkdir()
    for seed, (split, count) in enumerate({"train": 101, "validation": 30, "test": 40}.items()):
        made = datasets.Dataset.from_dict(keyword_texts(count, seed))
        made.to_json(folder / "trec" / f"{split}.jsonl")
    return folder


def test_each_training_text_is_scored_once_and_no_test_text_is_read(script, compare, data):
    task = script("accuracy_sets").load_task("trec", data)
    texts = task.data["train"]["text"][:]
    folds = [compare.hold_out(task, fold) for fold in range(compare.FOLDS)]
    assert len(folds) == 4
    for one in folds:
        parts = {name: split["text"][:] for name, split in one.data.items()}
        assert sorted(parts["train"] + parts["test"]) == sorted(texts)
        assert parts["validation"] == task.data["validation"]["text"][:]
        assert len(parts["test"]) in (25, 26)
        assert one.scored == ["validation", "test"]
    scored = [text for one in folds for text in one.data["test"]["text"][:]]
    assert sorted(scored) == sorted(texts)


def test_what_a_change_adds_is_that_of_the_same_texts(script, compare, data, tmp_path):
    cells, sets = script("accuracy_cells"), script("accuracy_sets")
    draws = np.random.default_rng(0)
    task = sets.load_task("trec", data)
    change, left_out = list(compare.CHANGES)[:2]
    right = {compare.OURS: [], change: []}
    for fold in range(compare.FOLDS):
        folded = compare.hold_out(task, fold)
        folder = tmp_path / f"trec-fold-{fold}"
        folder.mkdir()
        cells.save_truth(folded, folder)
        methods = [compare.OURS, change, *([left_out] if fold else [])]
        for method in methods:
            scores = draws.normal(size=(len(folded.data["test"]), 2))
            fitted = script("accuracy_methods").Fitted({"test": scores}, seconds=1, megabytes=1)
            cells.save_cell(fitted, cells.cell_path(tmp_path, folder.name, method, fold))
            if method in right:
                right[method].append(scores.argmax(1) == folded.labels("test"))
    ours, theirs = (np.concatenate(right[method]) for method in right)
    accuracies, added = compare.to_tables(tmp_path)
    assert accuracies.rows[compare.OURS] == [[ours.mean()]]
    assert accuracies.rows[compare.SVM] == [None]
    assert set(added.rows) == {change}  # the other lacks a fold
    less = theirs.astype(float) - ours
    spread = 1.96 * np.std(less, ddof=1) / np.sqrt(101)
    expected = [less.mean(), less.mean() - spread, less.mean() + spread]
    mean, of_set = added.rows[change]
    assert mean == pytest.approx(expected)
    assert of_set == pytest.approx(expected)


def test_of_several_labels_the_likeliest_is_right_where_it_is_one_of_them(
    script, compare, tmp_path
):
    cells, sets = script("accuracy_cells"), script("accuracy_sets")
    features = datasets.Features(
        text=datasets.Value("string"),
        labels=datasets.List(datasets.ClassLabel(names=["a", "b", "c"])),
    )
    rows = {"text": list("vwxyz"), "labels": [[0, 1], [2], [1], [], [0]]}
    part = datasets.Dataset.from_dict(rows, features=features)
    splits = dict.fromkeys(("train", "validation", "test"), part)
    task = sets.Task("cooking", sets.CORPORA["cooking"], datasets.DatasetDict(splits), {})
    scores = np.array([[1, 2, 0], [1, 2, 0], [1, 2, 0], [1, 2, 0], [2, 1, 0]])
    for fold in range(compare.FOLDS):
        folder = tmp_path / f"cooking-fold-{fold}"
        folder.mkdir()
        cells.save_truth(task, folder)
        fitted = script("accuracy_methods").Fitted({"test": scores}, seconds=1, megabytes=1)
        cells.save_cell(fitted, cells.cell_path(tmp_path, folder.name, compare.OURS, fold))
    right = compare.rights(tmp_path, "cooking")[compare.OURS]
    assert right.tolist() == [1, 0, 1, 0, 1] * compare.FOLDS


def test_mean_over_sets_has_the_error_of_a_mean(compare):
    both = compare._mean_of_sets([[0.01, 0.01 - 0.03, 0.01 + 0.03], [0.03, 0.03 - 0.04, 0.07]])
    assert both == pytest.approx([0.02, 0.02 - 0.025, 0.02 + 0.025])
    assert compare._mean_of_sets([[0.01, 0.0, 0.02], None]) is None


def test_changes_are_settings_and_a_later_run_goes_on(compare, data, tmp_path, capsys):
    from hf_attn.arguments import DataArguments, HfAttnTrainingArguments, ModelArguments

    known = set()
    for cls in (DataArguments, ModelArguments, HfAttnTrainingArguments):
        known |= set(cls.__dataclass_fields__)
    changes = [*compare.CHANGES.values(), *compare.CHANGES_OF_OTHERS.values()]
    assert {name for change in changes for name in change} <= known
    with pytest.raises(SystemExit):
        compare.main(["--data", str(data), "--work", str(tmp_path), "--only", "vader_tweets"])
    assert "invalid choice: 'vader_tweets'" in capsys.readouterr().err
    given = ["--data", str(data), "--work", str(tmp_path), "--only", "trec", "--changes"]
    compare.main([*given, compare.SVM])
    told = capsys.readouterr().err
    assert told.count("trec, fold") == 8
    assert told.count(f"{compare.OURS} ...") == 4  # which a change is compared with
    compare.main([*given, "no token dropout", "--output", str(tmp_path / "all.json")])
    told = capsys.readouterr().err
    assert told.count("trec, fold") == told.count("no token dropout") == 4
    tables = json.loads((tmp_path / "all.json").read_text())["parts"]["settings"]["tables"]
    assert list(tables[1]["rows"]) == ["no token dropout", compare.SVM]
