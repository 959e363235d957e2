"""The `hf-attn` command: what it prints, and how it fails."""

import json
import re
import shutil
import subprocess
import sys
import textwrap

import pytest
from trained import keyword_texts

from hf_attn import commands_to_read


@pytest.fixture
def csv(tmp_path):
    rows = keyword_texts(80)
    lines = [f"{text},{label}" for text, label in zip(rows["text"], rows["label"], strict=True)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    return tmp_path / "train.csv"


def test_help_does_not_import_torch():
    code = (
        "import sys; sys.argv = ['hf-attn', '--help']\n"
        "from hf_attn.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'transformers', 'datasets', 'numpy'} & set(sys.modules)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    for command in ("train", "evaluate", "predict", "lexicon", "quickstart"):
        assert command in process.stdout


def test_package_runs_as_the_command():
    command = [sys.executable, "-m", "hf_attn", "--help"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert "quickstart" in process.stdout


def test_train_help_lists_our_flags_and_those_of_trainer(run):
    code, output, _ = run("train", "--help")
    assert code == 0
    assert "(default: None)" not in output
    for flag in ("--ngram-buckets", "--text-column", "--learning-rate", "--gradient-accumulation"):
        assert flag in output


def test_train_from_flags_and_a_settings_file(run, csv, tmp_path):
    (tmp_path / "settings.yaml").write_text(
        "hidden_size: 8\nhead_dim: 4\nnum_train_epochs: 9\nlowercase: false\n"
    )
    code, output, errors = run(
        "train", csv, "--output-dir", tmp_path / "m", "--config", tmp_path / "settings.yaml",
        "--num_train_epochs", 2,
    )  # fmt: skip
    assert code == 0, errors
    assert "accuracy" in output
    record = json.loads((tmp_path / "m" / "run.json").read_text())
    assert record["settings"]["model"]["hidden_size"] == 8
    assert record["settings"]["model"]["lowercase"] is False
    assert len(record["epochs"]) == 2


def test_explain_reads_a_text_a_file_and_standard_input(run, trained_folder, tmp_path):
    (tmp_path / "texts.txt").write_bytes(b"wheat harvest\r\ncrude barrel\n")
    _, text, _ = run("explain", trained_folder, "wheat harvest")
    _, file, _ = run("explain", trained_folder, tmp_path / "texts.txt")
    _, stdin, _ = run("explain", trained_folder, stdin=b"wheat harvest\ncrude barrel\n")
    assert file == stdin
    assert re.findall(r"(\w+): probability", text) == ["farm"]
    assert re.findall(r"(\w+): probability", file) == ["farm", "oil"]


def test_explain_gives_what_the_function_gives(run, trained_folder):
    from hf_attn import explain
    from hf_attn.loading import load_classifier

    asked = {"target": "farm", "against": "oil", "deletion_effects": False, "attentions": True}
    expected = explain(["wheat", "crude barrel"], *load_classifier(trained_folder), **asked)
    code, output, errors = run(
        "explain", trained_folder, "--target", "farm", "--against", "oil", "--attention",
        "--no-deletion-effects", "--json", stdin=b"wheat\ncrude barrel\n",
    )  # fmt: skip
    assert code == 0, errors
    assert output == expected.to_json()


def test_explain_explains_texts_in_parts_alike(run, trained_folder, monkeypatch):
    texts = b"wheat\ncrude barrel\n\nthe corn of april\n"
    _, whole, _ = run("explain", trained_folder, "--batch-size", 1, "--json", stdin=texts)
    monkeypatch.setattr(commands_to_read, "_TEXTS_AT_ONCE", 3)
    _, parts, _ = run("explain", trained_folder, "--batch-size", 1, "--json", stdin=texts)
    assert parts == whole


def test_explain_reads_pairs(run, trained_folder):
    _, output, _ = run("explain", trained_folder, "wheat", "--text-pair", "crude oil", "--json")
    (reading,) = json.loads(output)["readings"]
    assert json.loads(output)["pair"] == "crude oil"
    places = [(word["word"], word["in_pair"]) for word in reading["words"]]
    assert [place for place in places if place[1]] == [("crude", True), ("oil", True)]


def test_explain_writes_files_and_nothing_else(run, trained_folder, tmp_path):
    page, picture = tmp_path / "a.html", tmp_path / "a.png"
    code, output, errors = run("explain", trained_folder, "wheat", "--html", page, "--png", picture)
    assert (code, output) == (0, ""), errors
    assert "farm against oil" in page.read_text()
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_explain_of_no_text_prints_nothing(run, trained_folder):
    assert run("explain", trained_folder, "-")[:2] == (0, "")


def test_explain_of_a_class_that_does_not_exist_gives_the_nearest(run, trained_folder):
    code, _, errors = run("explain", trained_folder, "wheat", "--target", "fram")
    assert code == 2
    assert "expected a class of the model (farm, oil), got 'fram'. Did you mean 'farm'?" in errors


@pytest.mark.parametrize("command", ["predict", "explain"])
@pytest.mark.parametrize("arguments", [["\udcff"], ["wheat", "--text-pair", "\udcff"]])
def test_a_text_that_is_not_utf_8_exits_with_2(run, trained_folder, command, arguments):
    code, _, errors = run(command, trained_folder, *arguments)
    assert code == 2
    assert "text: expected UTF-8" in errors


def test_evaluate_scores_a_file_beside_the_baseline(run, trained_folder, csv):
    _, output, _ = run("evaluate", trained_folder, csv, "--json")
    result = json.loads(output)
    assert result["texts"] == 80
    assert result["scores"]["accuracy"] == 1.0
    assert result["baseline"]["accuracy"] == 0.5
    assert [row["label"] for row in result["classes"]] == ["farm", "oil"]
    _, table, _ = run("evaluate", trained_folder, csv)
    assert "macro_f1" in table
    assert "farm" in table


def test_warnings_of_torchao_are_kept_from_commands_alone(trained_folder, csv):
    pytest.importorskip("torchao.quantization", reason="needs the extra hf-attn[int8]")
    code = """
        import logging, sys
        from hf_attn.cli import main
        assert logging.getLogger("torchao").isEnabledFor(logging.WARNING)
        main()
    """
    command = [sys.executable, "-c", textwrap.dedent(code), "evaluate", trained_folder, csv]
    evaluated = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert "accuracy" in evaluated.stdout
    assert evaluated.stderr == ""


def test_evaluate_takes_the_columns_of_the_training(run, tmp_path):
    rows = ["odd;tags", *(f"{word} in april;{word},said" for word in ("wheat", "crude") * 40)]
    (tmp_path / "odd.csv").write_text("\n".join(rows) + "\n")
    code, output, errors = run(
        "train", tmp_path / "odd.csv", "--output-dir", tmp_path / "m", "--text-column", "odd",
        "--label-column", "tags", "--label-separator", ",", "--hidden-size", 8, "--max-steps", 3,
    )  # fmt: skip
    assert code == 0, errors
    assert "(1 epoch, " in output
    code, output, errors = run("evaluate", tmp_path / "m", tmp_path / "odd.csv", "--json")
    assert code == 0, errors
    assert [row["label"] for row in json.loads(output)["classes"]] == ["crude", "said", "wheat"]


def test_lexicon_shows_the_words_of_each_class(run, trained_folder):
    _, output, _ = run("lexicon", trained_folder, "--top", 3)
    assert "farm against oil" in output
    assert "occurred fewer than 5 times" not in output
    rows = {line.split()[0]: line.split() for line in output.splitlines() if line}
    counts = json.loads((trained_folder / "token_counts.json").read_text(encoding="utf-8"))
    for word in ("wheat", "corn", "harvest", "crude", "barrel", "opec"):
        assert rows[word][-1] == str(counts[word])


def test_lexicon_writes_json_csv_and_a_page(run, trained_folder, tmp_path):
    files = ("--csv", tmp_path / "l.csv", "--html", tmp_path / "l.html")
    code, output, _ = run(
        "lexicon",
        trained_folder,
        "--class",
        "oil",
        "--negative",
        "--min-count",
        0,
        "--json",
        *files,
    )
    assert code == 0
    (oil,) = json.loads(output)["classes"]
    words = [entry["word"] for entry in oil["positive"] + oil["negative"]]
    assert {"crude", "wheat", "[UNK]"} <= set(words)
    lines = (tmp_path / "l.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[2] for line in lines] == ["word", *words]
    assert "<h3><bdi>oil against farm</bdi></h3>" in (tmp_path / "l.html").read_text()
    assert run("lexicon", trained_folder, *files)[1] == ""


def test_lexicon_says_that_it_has_no_counts(run, trained_folder, tmp_path):
    shutil.copytree(trained_folder, tmp_path / "m")
    (tmp_path / "m" / "token_counts.json").unlink()
    code, output, _ = run("lexicon", tmp_path / "m", "--top", 1)
    assert code == 0
    assert "has no token_counts.json" in " ".join(output.split())


def test_lexicon_of_an_unknown_class_gives_the_nearest_name(run, trained_folder):
    code, output, errors = run("lexicon", trained_folder, "--class", "oill")
    assert (code, output) == (2, "")
    assert "expected a class of the model (farm, oil), got 'oill'. Did you mean 'oil'?" in errors


def test_version_is_shown(run):
    from hf_attn import __version__

    assert run("--version")[:2] == (0, f"{__version__}\n")


def make_bad_files(folder):
    (folder / "empty.csv").write_text("")
    (folder / "one.csv").write_text("text,label\na,x\nb,x\n")
    (folder / "columns.csv").write_text("a,b,c\n1,2,3\n")
    (folder / "broken.csv").write_bytes(b"text,label\nok,x\n\xff\xfe,y\n")
    (folder / "null.jsonl").write_text(
        '{"text": "a", "label": "x"}\n{"text": null, "label": "y"}\n'
    )
    (folder / "number.jsonl").write_text('{"text": "a", "label": "x"}\n{"text": 3, "label": "y"}\n')


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("missing.csv", "missing.csv"),
        ("empty.csv", "empty"),
        ("one.csv", "'x'"),
        ("columns.csv", "--text-column"),
        ("broken.csv", "byte"),
        ("null.jsonl", "row 2"),
        ("number.jsonl", "row 2"),
    ],
)
def test_train_on_bad_data_exits_with_2_and_writes_nothing(run, tmp_path, file, message):
    make_bad_files(tmp_path)
    code, _, errors = run("train", tmp_path / file, "--output-dir", tmp_path / "m")
    assert code == 2
    assert errors.startswith("error: ")
    assert file in errors
    assert message in errors
    assert not (tmp_path / "m").exists()


def test_evaluate_on_a_label_unseen_in_training_exits_with_2(run, trained_folder, tmp_path):
    (tmp_path / "new.csv").write_text("text,label\nwheat,farm\ngold,metal\n")
    code, _, errors = run("evaluate", trained_folder, tmp_path / "new.csv")
    assert code == 2
    assert "'metal'" in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "r8"], "Add --output-dir MODEL"),
        (["train", "--output-dir", "m"], "got no dataset"),
        (["train", "r8", "--output-dir", "m", "--config", "none.yaml"], "none.yaml"),
        (["train", "r8", "--dataset", "r52", "--output-dir", "m"], "got 'r8' and --dataset 'r52'"),
        (["predict", "./none", "text"], "expected a folder with a model, found none"),
        (["predict", "./none", "lines.txt"], "lines.txt: expected a file of texts, found none"),
        (["predict", "./none", "data/texts"], "data/texts: expected a file of texts, found none"),
        (["train", "r8", "--output-dir", "m", "--learning-rate", "-1"], "must be a number from 0"),
        (["train", "r8", "--output-dir", "m", "--learning-rate", "fast"], "invalid float value"),
        (["train", "r8", "--output-dir", "m", "--hidden-size", "0"], "error: hidden_size must be"),
    ],
)
def test_usage_errors_exit_with_2(run, arguments, message):
    code, _, errors = run(*arguments)
    assert code == 2
    assert message in errors


def test_unknown_setting_in_a_file_gives_the_nearest_name(run, tmp_path):
    (tmp_path / "s.json").write_text('{"lerning_rate": 1}')
    code, _, errors = run("train", "r8", "--output-dir", "m", "--config", tmp_path / "s.json")
    assert code == 2
    assert "Did you mean 'learning_rate'?" in errors


def test_unknown_flag_exits_with_2(run):
    code, _, errors = run("train", "r8", "--output-dir", "m", "--lerning-rate", 1)
    assert code == 2
    assert "'--lerning-rate'. Did you mean '--learning-rate'?" in errors


@pytest.mark.parametrize("command", ["predict", "explain", "trace"])
def test_text_longer_than_names_of_files_may_be_is_read(run, trained_folder, command):
    code, output, errors = run(command, trained_folder, "wheat and corn " * 300)
    assert code == 0, errors
    assert output
