"""Reading of labelled texts: what comes out of each form, and what bad input gets."""

import gzip
import json
import logging
import os
from pathlib import Path

import datasets
import pytest

from hf_attn.data import label_names, load_text_dataset, problem_type
from hf_attn.errors import InputError

ROWS = [("good film", "pos"), ("bad film", "neg"), ("fine play", "pos"), ("dull play", "neg")]
TEXTS = [text for text, _ in ROWS]
BENCHMARKS = os.environ.get("HF_ATTN_BENCHMARK_DATA", "")


def write(path, content):
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def csv_of(rows, header="text,label"):
    return "\n".join([header, *(",".join(row) for row in rows)]) + "\n"


def jsonl_of(records):
    return "".join(json.dumps(record) + "\n" for record in records)


def labelled(labels, name="label"):
    return jsonl_of({"text": f"text {i}", name: label} for i, label in enumerate(labels))


def load_train(path, **options):
    return load_text_dataset(path, validation_size=0, **options)["train"]


def rows_of(split):
    names = label_names(split)
    return [(row["text"], names[row["label"]]) for row in split]


# Forms of input


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", csv_of(ROWS)),
        ("a.csv.gz", csv_of(ROWS)),
        ("A.CSV", csv_of(ROWS)),
        ("semicolon.csv", csv_of(ROWS).replace(",", ";")),
        ("a.tsv", csv_of(ROWS).replace(",", "\t")),
        ("crlf.csv", csv_of(ROWS).replace("\n", "\r\n")),
        ("bom.csv", "\ufeff" + csv_of(ROWS)),
        ("blank.csv", csv_of(ROWS).replace("\n", "\n\n")),
        ("a.jsonl", jsonl_of({"text": t, "label": y} for t, y in ROWS)),
        ("a.jsonl.gz", jsonl_of({"text": t, "label": y} for t, y in ROWS)),
        ("a.ndjson", jsonl_of({"text": t, "label": y} for t, y in ROWS)),
        ("lines.json", jsonl_of({"text": t, "label": y} for t, y in ROWS)),
        ("array.json", json.dumps([{"text": t, "label": y} for t, y in ROWS], indent=1)),
        ("a.txt", "".join(f"__label__{y} {t}\n" for t, y in ROWS)),
    ],
    ids=lambda value: value if len(value) < 15 else "",
)
def test_file_of_each_format_gives_the_same_rows(tmp_path, name, content):
    train = load_train(write(tmp_path / name, content))
    assert rows_of(train) == ROWS
    assert train.features == datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=["neg", "pos"])
    )


def test_parquet_file_keeps_the_order_of_its_class_label(tmp_path):
    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=["pos", "neg"])
    )
    columns = {"text": TEXTS, "label": [0, 1, 0, 1]}
    datasets.Dataset.from_dict(columns, features=features).to_parquet(tmp_path / "a.parquet")
    train = load_train(tmp_path / "a.parquet")
    assert rows_of(train) == ROWS
    assert label_names(train) == ["pos", "neg"]


def test_path_may_be_a_string(tmp_path):
    assert len(load_train(str(write(tmp_path / "a.csv", csv_of(ROWS))))) == 4


@pytest.mark.parametrize("name", ["validation.csv", "valid.jsonl", "dev.tsv", "val.json"])
def test_folder_gives_its_splits(tmp_path, name):
    write(tmp_path / "train.csv", csv_of(ROWS))
    separator = "\t" if name.endswith("tsv") else ","
    rows = jsonl_of([{"text": "so so", "label": "neg"}])
    write(tmp_path / name, rows if "js" in name else f"text{separator}label\nso so{separator}neg\n")
    write(tmp_path / "test.txt", "__label__pos great\n")
    write(tmp_path / "README.md", "not data")
    data = load_text_dataset(tmp_path)
    assert {split: rows_of(data[split]) for split in data} == {
        "train": ROWS,
        "validation": [("so so", "neg")],
        "test": [("great", "pos")],
    }


def test_saved_dataset_folder_loads(tmp_path):
    train = datasets.Dataset.from_dict({"text": TEXTS, "label": [y for _, y in ROWS]})
    datasets.DatasetDict(train=train).save_to_disk(tmp_path / "saved")
    assert rows_of(load_train(tmp_path / "saved")) == ROWS


def test_folder_of_parquet_shards_loads_as_a_hub_snapshot(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    shards = tmp_path / "snapshot" / "data"
    shards.mkdir(parents=True)
    for number in range(2):
        rows = ROWS[2 * number : 2 * number + 2]
        part = datasets.Dataset.from_dict(
            {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
        )
        part.to_parquet(shards / f"train-0000{number}-of-00002.parquet")
    assert rows_of(load_train(tmp_path / "snapshot")) == ROWS


def test_validation_and_test_files_join_the_training_file(tmp_path):
    train = write(tmp_path / "a.csv", csv_of(ROWS))
    other = write(tmp_path / "b.csv", csv_of(ROWS[:1]))
    data = load_text_dataset(train, validation=other, test=str(other))
    assert {split: len(data[split]) for split in data} == {"train": 4, "validation": 1, "test": 1}


def test_loaded_dataset_respects_selected_rows():
    loaded = datasets.Dataset.from_dict({"text": TEXTS, "label": [y for _, y in ROWS]})
    assert rows_of(load_train(loaded.select([3, 0]))) == [ROWS[3], ROWS[0]]


def test_loaded_dataset_dict_leaves_out_splits_of_other_names():
    loaded = datasets.Dataset.from_dict({"text": TEXTS, "label": [y for _, y in ROWS]})
    data = load_text_dataset(datasets.DatasetDict(train=loaded, dev=loaded, unsupervised=loaded))
    assert list(data) == ["train", "validation"]


def test_hub_id_is_loaded_with_subset_and_revision(monkeypatch):
    asked = []

    def load(name, subset, revision):
        asked.append((name, subset, revision))
        return datasets.DatasetDict(
            train=datasets.Dataset.from_dict({"text": TEXTS, "label": [1, 0, 1, 0]})
        )

    monkeypatch.setattr(datasets, "load_dataset", load)
    data = load_text_dataset("someone/films", subset="small", revision="v2", validation_size=0)
    assert asked == [("someone/films", "small", "v2")]
    assert label_names(data) == ["0", "1"]


def test_hidden_test_labels_leave_the_split_out(caplog):
    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=["a", "b"])
    )
    train = datasets.Dataset.from_dict({"text": TEXTS, "label": [0, 1, 0, 1]}, features=features)
    test = datasets.Dataset.from_dict({"text": TEXTS, "label": [-1] * 4}, features=features)
    data = load_text_dataset(datasets.DatasetDict(train=train, test=test), validation_size=0)
    assert list(data) == ["train"]
    assert "split 'test': left out, it has no labels" in caplog.text


# Values


def test_csv_texts_are_never_read_as_missing_or_numbers(tmp_path):
    texts = ["NA", "null", "1", "", "nan", "1.50", "True"]
    path = write(tmp_path / "a.csv", csv_of(zip(texts, ["x", "NA"] * 3 + ["x"], strict=True)))
    train = load_train(path)
    assert train["text"][:] == texts
    assert label_names(train) == ["NA", "x"]


def test_csv_labels_keep_leading_zeros_and_numeric_order(tmp_path):
    path = write(tmp_path / "a.csv", csv_of((f"t{y}", y) for y in ["10", "01", "9", "1"]))
    assert label_names(load_train(path)) == ["01", "1", "9", "10"]


def test_csv_quotes_hold_commas_line_breaks_and_quotes(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\n"a, ""b""\nc",x\nd,y\n')
    assert load_train(path)["text"][:] == ['a, "b"\nc', "d"]


def test_csv_field_may_be_longer_than_the_csv_module_allows(tmp_path):
    long = "word " * 60_000
    train = load_train(write(tmp_path / "a.csv", csv_of([(long, "x"), ("b", "y")])))
    assert train["text"][0] == long


def test_tsv_without_quoting_keeps_quotation_marks(tmp_path):
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"Hello" he said\tx\n"open\ty\n')
    assert load_train(path)["text"][:] == ['"Hello" he said', '"open']


def test_json_text_may_hold_unicode_line_separators(tmp_path):
    texts = ["a\u2028b", "c\x85d"]
    lines = [json.dumps({"text": t, "label": t[0]}, ensure_ascii=False) for t in texts]
    assert load_train(write(tmp_path / "a.jsonl", "\n".join(lines)))["text"][:] == texts


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([10, 9, -1], ["-1", "9", "10"]),
        (["b", "a", "B"], ["B", "a", "b"]),
        (["10", "9", "9"], ["9", "10"]),
        ([True, False, True], ["False", "True"]),
    ],
)
def test_class_names_come_in_a_stable_order(tmp_path, labels, names):
    train = load_train(write(tmp_path / "a.jsonl", labelled(labels)))
    assert label_names(train) == names
    assert [names[number] for number in train["label"][:]] == list(map(str, labels))


@pytest.mark.parametrize(
    ("labels", "encoded"),
    [([["b", "a"], [], ["b", "b"]], [[0, 1], [], [1]]), ([[7], [3]], [[1], [0]])],
)
def test_list_labels_are_multi_label(tmp_path, labels, encoded):
    train = load_train(write(tmp_path / "a.jsonl", labelled(labels, "labels")))
    assert train["labels"][:] == encoded
    assert problem_type(train) == "multi_label_classification"
    assert isinstance(train.features["labels"], datasets.List)


def test_label_separator_makes_csv_multi_label(tmp_path):
    path = write(tmp_path / "a.csv", csv_of([("t", "b|a"), ("u", ""), ("v", " c |")]))
    train = load_train(path, label_separator="|")
    assert label_names(train) == ["a", "b", "c"]
    assert train["labels"][:] == [[0, 1], [], [2]]


def test_fasttext_line_with_several_labels_is_multi_label(tmp_path):
    path = write(tmp_path / "a.txt", "__label__a __label__b one\n__label__b two __label__c\n")
    train = load_train(path)
    assert train["text"][:] == ["one", "two"]
    assert train["labels"][:] == [[0, 1], [1, 2]]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_decimal_labels_are_a_regression(tmp_path, name):
    content = labelled([1, -0.5, 2e-3]) if name == "a.jsonl" else "text,label\na,1\nb,-.5\nc,2e-3\n"
    train = load_train(write(tmp_path / name, content))
    assert problem_type(train) == "regression"
    assert train["label"][:] == pytest.approx([1, -0.5, 2e-3])
    assert train.features["label"] == datasets.Value("float32")
    assert label_names(train) is None


def test_problem_type_overrides_what_the_values_look_like(tmp_path):
    path = write(tmp_path / "a.csv", csv_of([("t", "1.0"), ("u", "2.5")]))
    train = load_train(path, problem_type="single_label_classification")
    assert label_names(train) == ["1.0", "2.5"]
    path = write(tmp_path / "b.csv", csv_of([("t", "1"), ("u", "2")]))
    assert load_train(path, problem_type="regression")["label"][:] == [1.0, 2.0]
    path = write(tmp_path / "c.csv", csv_of(ROWS))
    assert load_train(path, problem_type="multi_label_classification")["labels"][0] == [1]


def test_integer_labels_agree_between_csv_and_json(tmp_path):
    train = write(tmp_path / "a.csv", csv_of([("t", "1"), ("u", "2")]))
    test = write(tmp_path / "b.jsonl", labelled([2]))
    assert load_text_dataset(train, test=test, validation_size=0)["test"]["label"][:] == [1]


def test_class_labels_of_splits_are_matched_by_name():
    def split(names):
        features = datasets.Features(
            text=datasets.Value("string"), label=datasets.ClassLabel(names=names)
        )
        return datasets.Dataset.from_dict({"text": ["t", "u"], "label": [0, 1]}, features=features)

    loaded = datasets.DatasetDict(train=split(["a", "b"]), test=split(["b", "a"]))
    assert load_text_dataset(loaded, validation_size=0)["test"]["label"][:] == [1, 0]


def test_given_labels_replace_those_of_training(tmp_path):
    test = write(tmp_path / "test.jsonl", labelled(["b", "b"]))
    data = load_text_dataset(test.parent, labels=["c", "b", "a"])
    assert list(data) == ["test"]
    assert data["test"]["label"][:] == [1, 1]
    assert label_names(data) == ["c", "b", "a"]


def test_unseen_labels_can_be_dropped(tmp_path, caplog):
    train = write(tmp_path / "a.csv", csv_of(ROWS))
    test = write(tmp_path / "b.csv", csv_of([("odd", "new"), ("good", "pos")]))
    data = load_text_dataset(train, test=test, unseen_labels="drop")
    assert rows_of(data["test"]) == [("good", "pos")]
    assert "1 rows with unseen labels are left out" in caplog.text


def test_unseen_tags_are_dropped_without_their_row(tmp_path, caplog):
    train = write(tmp_path / "a.jsonl", labelled([["a"], ["b"]]))
    test = write(tmp_path / "b.jsonl", labelled([["a", "new"], ["new"]]))
    data = load_text_dataset(train, test=test, unseen_labels="drop", validation_size=0)
    assert data["test"]["labels"][:] == [[0], []]
    assert "2 unseen labels are left out" in caplog.text


# Columns


@pytest.mark.parametrize(
    "header",
    ["Text,Label", "id,text,label", "sentence,class", "tweet,intent", "label_text,text,label",
     "review,stars", "text,label,sentiment", "text,whatever", "text,title,category"],
)  # fmt: skip
def test_obvious_columns_are_guessed(tmp_path, header):
    names = header.split(",")
    text = next(n for n in names if n.lower() in ("text", "sentence", "tweet", "review"))
    label = next(n for n in reversed(names) if n.lower() not in (text.lower(), "id", "sentiment"))
    rows = [["x"] * len(names) for _ in range(2)]
    for row, values in zip(rows, [("t", "a"), ("u", "b")], strict=True):
        row[names.index(text)], row[names.index(label)] = values
    train = load_train(write(tmp_path / "a.csv", csv_of(rows, header)))
    assert rows_of(train) == [("t", "a"), ("u", "b")]


def test_only_string_column_is_the_text():
    loaded = datasets.Dataset.from_dict({"kind": [1, 2], "words": ["t", "u"]})
    assert rows_of(load_train(loaded)) == [("t", "1"), ("u", "2")]


def test_named_columns_win(tmp_path):
    path = write(tmp_path / "a.csv", csv_of([("t", "a", "u", "b"), ("v", "c", "w", "d")],
                 "text,label,title,other"))  # fmt: skip
    train = load_train(path, text_column="title", label_column="other")
    assert rows_of(train) == [("u", "b"), ("w", "d")]


def test_obvious_pair_is_kept_as_text_pair(tmp_path):
    path = write(tmp_path / "a.csv", csv_of([("t", "u", "a"), ("v", "w", "b")],
                 "premise,hypothesis,label"))  # fmt: skip
    train = load_train(path)
    assert train.column_names == ["text", "text_pair", "label"]
    assert train["text_pair"][:] == ["u", "w"]
    assert load_train(path, text_column="premise").column_names == ["text", "label"]


# The validation split that is made


def many(count, classes=3):
    return [{"text": f"text {i}", "label": "abc"[i % classes]} for i in range(count)]


def texts_of(path, **options):
    return set(load_text_dataset(path, **options)["validation"]["text"][:])


def test_validation_split_is_the_same_whatever_the_row_order(tmp_path):
    forward = write(tmp_path / "a.jsonl", jsonl_of(many(200)))
    backward = write(tmp_path / "b.jsonl", jsonl_of(many(200)[::-1]))
    assert texts_of(forward) == texts_of(backward)
    assert texts_of(forward) != texts_of(forward, seed=1)


def test_validation_split_keeps_class_shares_and_order(tmp_path):
    records = many(100, classes=2) + [{"text": f"rare {i}", "label": "c"} for i in range(20)]
    path = write(tmp_path / "a.jsonl", jsonl_of(records))
    data = load_text_dataset(path, validation_size=0.2)
    counts = [data["validation"]["label"][:].count(number) for number in range(3)]
    assert sum(counts) == 24
    assert counts == [pytest.approx(share, abs=1) for share in (10, 10, 4)]
    assert sorted(data["train"]["text"][:] + data["validation"]["text"][:]) == sorted(
        record["text"] for record in records
    )
    kept = set(data["train"]["text"][:])
    assert data["train"]["text"][:] == [r["text"] for r in records if r["text"] in kept]


def test_validation_split_draws_from_many_small_classes(tmp_path):
    records = [{"text": f"text {i}", "label": f"class {i // 4}"} for i in range(400)]
    data = load_text_dataset(write(tmp_path / "a.jsonl", jsonl_of(records)))
    assert len(data["validation"]) == 40
    assert len(set(data["validation"]["label"][:])) > 30


def test_validation_split_leaves_each_class_in_train(tmp_path):
    records = [{"text": f"text {i}", "label": f"class {i // 2}"} for i in range(200)]
    path = write(tmp_path / "a.jsonl", jsonl_of(records))
    data = load_text_dataset(path, validation_size=0.9)
    assert set(data["train"]["label"][:]) == set(range(100))


def test_validation_split_leaves_each_tag_in_train(tmp_path):
    records = [{"text": f"text {i}", "labels": [f"tag {i // 2}"]} for i in range(200)]
    data = load_text_dataset(write(tmp_path / "a.jsonl", jsonl_of(records)), validation_size=0.5)
    assert {tag for row in data["train"]["labels"][:] for tag in row} == set(range(100))
    assert len(data["validation"]) > 20


def test_validation_split_shares_no_text_with_train(tmp_path):
    records = [{"text": f"text {i % 37}", "label": "ab"[i % 37 % 2]} for i in range(500)]
    data = load_text_dataset(write(tmp_path / "a.jsonl", jsonl_of(records)), validation_size=0.3)
    assert not set(data["train"]["text"][:]) & set(data["validation"]["text"][:])


def test_validation_split_is_logged(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    load_text_dataset(write(tmp_path / "a.jsonl", jsonl_of(many(50))))
    assert "Validation split made from train: 5 of 50 texts" in caplog.text


def test_validation_split_of_a_regression_is_made(tmp_path):
    path = write(tmp_path / "a.jsonl", labelled([i / 7 for i in range(40)]))
    assert len(load_text_dataset(path)["validation"]) == 4


def test_too_few_texts_make_no_validation_split(tmp_path, caplog):
    assert list(load_text_dataset(write(tmp_path / "a.csv", csv_of(ROWS)))) == ["train"]
    assert "4 training texts are too few" in caplog.text


# Bad input


def refused(path, **options):
    with pytest.raises(InputError) as caught:
        load_text_dataset(path, **options)
    return str(caught.value)


BAD = {
    "empty.csv": ("", "the file is empty"),
    "blank.jsonl": (" \n\n", "the file is empty"),
    "header.csv": ("text,label\n", "expected rows of data, found none"),
    "array.json": ("[]", "expected rows of data, found none"),
    "a.xlsx": ("x", "Expected a file ending in .csv, .tsv"),
    "latin.csv": (b"text,label\ncaf\xe9,x\n", "byte 14 (line 2) is 0xe9"),
    "cut.csv.gz": (gzip.compress(b"text" * 99)[:-9], "expected a complete gzip file"),
    "plain.csv.gz": (b"text,label\n", "expected a complete gzip file"),
    "long.csv": (
        "text,label\na,x\nb,y,z\n",
        "row 2 (line 3): expected 2 fields as in the header, got 3",
    ),
    "short.csv": (
        "text,label\n\na\n",
        "row 1 (line 3): expected 2 fields as in the header, got 1",
    ),
    "ragged.tsv": ('text\tlabel\n"a\tx\ty\n', "row 1 (line 2): unexpected end of data"),
    "open.csv": ('text,label\na,x\n"b,y\n', "row 2 (line 3): unexpected end of data"),
    "plain.tsv": ("text\tlabel\na\tb\tc\n", "row 1 (line 2): expected 2 fields"),
    "twice.csv": ("text,text\na,b\n", "got 'text' twice"),
    "no.csv": (
        "a,b,c\n1,2,3\n",
        "got the columns ['a', 'b', 'c']. The first line is read as the header. "
        "Name it with text_column (--text-column)",
    ),
    "no.jsonl": (
        '{"text": "a", "b": 1, "c": 2}\n',
        "expected an obvious label column, got the columns ['text', 'b', 'c']. "
        "Name it with label_column (--label-column)",
    ),
    "two.csv": ("review,title,label\n1,2,3\n", "expected an obvious text column"),
    "broken.jsonl": (labelled(["x"]) + '\n{"text": \n', "broken.jsonl, line 3: expected JSON"),
    "broken.json": ('[{"text": "a",\n "label" 1}]', "broken.json, line 2: expected JSON"),
    "list.jsonl": ("[1]\n", "line 1: expected a JSON object"),
    "list.json": ('[{"text": "a"}, 3]', "row 2: expected a JSON object, got 3"),
    "one.csv": (
        "text,label\na,x\nb,x\n",
        "expected at least two classes in column 'label', got only 'x'",
    ),
    "none.jsonl": (labelled([[], []]), "got no label at all"),
    "null.jsonl": (
        labelled(["x"]) + '\n{"text": null, "label": "y"}\n',
        "null.jsonl, row 2 (line 3), column 'text': expected a text, got None",
    ),
    "key.jsonl": (
        labelled(["x"]) + '{"label": "y"}\n',
        "row 2 (line 2), column 'text': expected a text, got None",
    ),
    "nan.jsonl": (
        '{"text": NaN, "label": "x"}\n',
        "row 1 (line 1), column 'text': expected a text, got nan",
    ),
    "int.jsonl": (
        labelled(["x"]) + '{"text": 5, "label": "y"}\n',
        "row 2 (line 2), column 'text': expected a text, got 5",
    ),
    "half.jsonl": (
        '{"text": "\\ud800", "label": "x"}\n',
        "row 1 (line 1), column 'text': expected valid Unicode",
    ),
    "label.csv": (
        "text,label\na,x\nb,\n",
        "row 2 (line 3), column 'label': expected a label, got ''",
    ),
    "label.jsonl": (
        labelled(["a", None]),
        "row 2 (line 2), column 'label': expected a label, got None",
    ),
    "float.jsonl": (
        labelled([0.5, float("nan")]),
        "row 2 (line 2), column 'label': expected a label, got nan",
    ),
    "inner.jsonl": (labelled([["a"], [None]]), "expected a label, got [None]"),
    "mixed.jsonl": (
        labelled(["a", 1]),
        "row 2 (line 2), column 'label': expected labels of one type (all strings, all numbers, "
        "or all lists of strings or of integers), got 1 where row 1 holds 'a'",
    ),
    "lists.jsonl": (labelled([["a"], [1]]), "got [1] where row 1 holds ['a']"),
    "dicts.jsonl": (labelled([{"a": 1}]), "expected labels of one type"),
    "inf.csv": (
        "text,label\na,0.5\nb,1e999\n",
        "expected a finite number for regression, got '1e999'",
    ),
    "plain.txt": ("hello\n", "expected fastText lines"),
    "bare.txt": ("__label__a b\nc\n", "row 2 (line 2), column 'label': expected one label, got []"),
    "fake.parquet": ("hello", "expected a Parquet file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_refused_with_its_place(tmp_path, name):
    content, message = BAD[name]
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    said = refused(path)
    assert message in said
    assert str(path) in said


def test_file_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    def deny(path):
        raise PermissionError(13, "Permission denied", str(path))

    path = write(tmp_path / "a.csv", csv_of(ROWS))
    monkeypatch.setattr(Path, "read_bytes", deny)
    assert "a.csv: cannot be read ([Errno 13] Permission denied" in refused(path)


def test_missing_file_is_refused_with_the_nearest_name(tmp_path):
    write(tmp_path / "reviews.csv", csv_of(ROWS))
    said = refused(tmp_path / "review.csv")
    assert f"Did you mean '{tmp_path / 'reviews.csv'}'?" in said


@pytest.mark.parametrize("path", ["nowhere.csv", "a/b/c", "./gone", "../x/y", "gone/"])
def test_missing_path_is_not_taken_for_a_hub_id(path):
    assert "does not exist" in refused(path)


@pytest.mark.parametrize(
    ("name", "near"), [("r-8", "r8"), ("R52", "r52"), ("20newsgroup", "20ng"), ("reuters8", "r8")]
)
def test_unknown_corpus_is_refused_with_the_nearest_name(name, near):
    assert f"got {name!r}. Did you mean {near!r}?" in refused(name)


def test_hub_id_that_cannot_be_loaded_chains_the_cause(monkeypatch):
    cause = ConnectionError("no route")

    def fail(*_args, **_options):
        raise cause

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(
        InputError, match=r"could not be loaded from the Hub \(no route\)"
    ) as caught:
        load_text_dataset("someone/films")
    assert caught.value.__cause__ is cause
    assert "without a network give a local file" in str(caught.value)


def test_missing_column_is_refused_with_the_nearest_name(tmp_path):
    path = write(tmp_path / "a.csv", csv_of(ROWS))
    assert "Did you mean 'label'? Name it with label_column" in refused(path, label_column="labell")
    assert "expected the text column 'x'" in refused(path, text_column="x")
    assert "expected the text-pair column 'x'" in refused(path, text_pair_column="x")
    assert "expected different columns" in refused(path, text_column="label", label_column="label")


def test_column_missing_in_another_split_is_refused(tmp_path):
    train = write(tmp_path / "a.csv", csv_of(ROWS))
    test = write(tmp_path / "b.csv", csv_of(ROWS, "text,topic"))
    assert "b.csv: expected the label column 'label', got" in refused(train, test=test)
    test = write(tmp_path / "c.csv", csv_of(ROWS, "words,label"))
    assert "c.csv: expected the text column 'text', got" in refused(train, test=test)


def test_label_unseen_in_training_is_refused_with_its_row(tmp_path):
    train = write(tmp_path / "a.csv", csv_of(ROWS))
    test = write(tmp_path / "b.csv", csv_of([("t", "pos"), ("u", "poss")]))
    said = refused(train, test=test)
    assert "b.csv, row 2 (line 3), column 'label': expected one of the 2 labels" in said
    assert "got 'poss', which does not occur there. Did you mean 'pos'?" in said


def test_tag_unseen_in_training_is_refused_with_its_row(tmp_path):
    train = write(tmp_path / "a.jsonl", labelled([["a"], ["b"]]))
    test = write(tmp_path / "b.jsonl", labelled([["a"], ["b", "new"]]))
    assert "b.jsonl, row 2 (line 2), column 'label'" in refused(train, test=test)


def test_splits_with_labels_of_different_types_are_refused(tmp_path):
    train = write(tmp_path / "a.jsonl", labelled(["a", "b"]))
    test = write(tmp_path / "b.jsonl", labelled([["a"]]))
    assert "expected names as labels as in" in refused(train, test=test)


def test_several_labels_do_not_fit_a_single_label_task(tmp_path):
    path = write(tmp_path / "a.jsonl", labelled([["a"], ["a", "b"]]))
    said = refused(path, problem_type="single_label_classification")
    assert "row 2 (line 2), column 'label': expected one label, got ['a', 'b']" in said


def test_names_do_not_fit_a_regression(tmp_path):
    said = refused(write(tmp_path / "a.csv", csv_of(ROWS)), problem_type="regression")
    assert "row 1 (line 2), column 'label': expected a finite number for regression" in said
    assert "got 'pos'" in said


def test_class_number_without_a_name_is_refused():
    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=["a", "b"])
    )
    loaded = datasets.Dataset.from_dict({"text": TEXTS, "label": [0, 1, -1, 0]}, features=features)
    assert "row 3, column 'label': expected a label, got -1" in refused(loaded)


def test_dataset_without_train_is_refused(tmp_path):
    loaded = datasets.Dataset.from_dict({"text": TEXTS, "label": [y for _, y in ROWS]})
    assert "expected a split 'train', got ['test']" in refused(datasets.DatasetDict(test=loaded))
    assert "expected a split 'train', got ['odd']" in refused(datasets.DatasetDict(odd=loaded))
    write(tmp_path / "test.csv", csv_of(ROWS))
    assert "expected a split 'train'" in refused(tmp_path)


def test_empty_dataset_is_refused():
    empty = datasets.Dataset.from_dict({"text": [], "label": []})
    assert "expected rows of data, found none" in refused(empty)


def test_folder_without_splits_is_refused(tmp_path):
    write(tmp_path / "a.csv", csv_of(ROWS))
    assert "expected files named train.*" in refused(tmp_path)
    assert "['a.csv']" in refused(tmp_path)


def test_folder_with_two_training_files_is_refused(tmp_path):
    write(tmp_path / "train.csv", csv_of(ROWS))
    write(tmp_path / "train.tsv", csv_of(ROWS))
    assert "expected one file for the train split" in refused(tmp_path)


def test_arguments_that_do_not_fit_are_refused(tmp_path):
    path = write(tmp_path / "a.csv", csv_of(ROWS))
    assert "Expected validation_size in [0, 1), got 1" in refused(path, validation_size=1)
    assert "Expected problem_type" in refused(path, problem_type="ranking")
    assert "Expected subset only with a Hub id" in refused(path, subset="small")
    assert "Expected revision only with a Hub id" in refused(path, revision="main")
    assert "Expected one file for test, got the folder" in refused(path, test=tmp_path)
    assert "got dict" in refused({"train": str(path)})


# Real data


@pytest.mark.skipif(not BENCHMARKS, reason="HF_ATTN_BENCHMARK_DATA is not set")
@pytest.mark.parametrize(
    ("name", "task", "classes"),
    [
        ("banking77", "single_label_classification", 77),
        ("clinc150", "single_label_classification", 151),
        ("cooking", "multi_label_classification", 734),
        ("goemotions", "multi_label_classification", 28),
        ("langid75", "single_label_classification", 75),
        ("ohsumed", "single_label_classification", 23),
        ("sst2", "single_label_classification", 2),
        ("trec", "single_label_classification", 6),
        ("tweeteval_emotion", "single_label_classification", 4),
        ("tweeteval_irony", "single_label_classification", 2),
        ("tweeteval_offensive", "single_label_classification", 2),
        ("vader_tweets", "regression", None),
    ],
)
def test_benchmark_folder_loads_every_row(name, task, classes):
    folder = Path(BENCHMARKS) / name
    # Some tags of cooking's test texts occur in no training text.
    data = load_text_dataset(folder, unseen_labels="drop" if name == "cooking" else "error")
    names = label_names(data)
    assert problem_type(data) == task
    assert (names if names is None else len(names)) == classes
    for split in ("train", "validation", "test"):
        lines = (folder / f"{split}.jsonl").read_bytes().count(b"\n")
        assert len(data[split]) == lines
