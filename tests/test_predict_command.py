"""`hf-attn predict`: a line for each row, in order, as they come and whatever happens."""

import gzip
import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from processes import run_python
from trained import keyword_texts

from hf_attn import explain
from hf_attn.loading import load_classifier

COMMAND = [sys.executable, "-c", "from hf_attn.cli import main; main()", "predict"]


def start(*arguments, stdin=subprocess.DEVNULL):
    """Starts the command in a process of its own."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def many_lines(tmp_path):
    """A file of 200,000 short texts, which take seconds."""
    texts = keyword_texts(200)["text"]
    (tmp_path / "many.txt").write_text("".join(f"{text}\n" for text in texts) * 1000)
    return tmp_path / "many.txt"


def test_text_file_and_standard_input_get_the_same_lines(run, folded_folder, tmp_path):
    (tmp_path / "texts.txt").write_bytes(b"wheat harvest\r\ncrude barrel\n")
    _, text, _ = run("predict", folded_folder, "wheat harvest")
    _, file, _ = run("predict", folded_folder, tmp_path / "texts.txt")
    _, stdin, _ = run("predict", folded_folder, "-", stdin=b"wheat harvest\ncrude barrel")
    assert file == stdin
    assert file.splitlines()[0] == text.strip()
    assert [line.split("\t")[0] for line in file.splitlines()] == ["farm", "oil"]


@pytest.mark.parametrize("flags", [[], ["--json"], ["--explain"], ["--top-k", 2]])
def test_folded_and_plain_models_give_the_same_lines(run, trained_folder, folded_folder, flags):
    texts = "\n".join([*keyword_texts(40)["text"], "", "wheat ☕", "x"]).encode()
    plain = run("predict", trained_folder, "-", *flags, stdin=texts)
    folded = run("predict", folded_folder, "-", *flags, stdin=texts)
    assert plain[0] == folded[0] == 0
    numbers = [[float(number) for number in find_numbers(out)] for out in (plain[1], folded[1])]
    assert numbers[0] == pytest.approx(numbers[1], abs=2e-2 if "--explain" in flags else 2e-4)
    assert len(plain[1].splitlines()) == 43


def find_numbers(output):
    words = output.replace("}", " ").replace(",", " ").split()
    return [word for word in words if word.lstrip("+-")[:1].isdigit()]


def test_json_has_the_text_and_all_classes(run, folded_folder, trained_folder):
    _, output, _ = run("predict", folded_folder, "-", "--json", stdin='wheat "☕"\n'.encode())
    found = json.loads(output)
    assert list(found) == ["text", "label", "score", "scores"]
    assert found["text"] == 'wheat "☕"'
    model, tokenizer = load_classifier(str(trained_folder))
    (shares,) = model(**tokenizer([found["text"]], return_tensors="pt")).logits.softmax(-1).tolist()
    expected = sorted(zip(shares, model.config.class_names, strict=True), reverse=True)
    assert (found["score"], found["label"]) == (pytest.approx(expected[0][0], abs=1e-5), "farm")
    assert list(found["scores"]) == [label for _, label in expected]
    assert list(found["scores"].values()) == pytest.approx(sorted(shares)[::-1], abs=1e-5)


def test_top_k_gives_that_many_classes(run, folded_folder):
    _, output, _ = run("predict", folded_folder, "wheat", "--top-k", 2)
    label, first, other, second = output.strip().split("\t")
    assert (label, other) == ("farm", "oil")
    assert float(first) + float(second) == pytest.approx(1, abs=1e-3)
    assert run("predict", folded_folder, "wheat", "--top-k", 5)[1] == output


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "id,text\n1,wheat harvest\n2,crude barrel\n"),
        ("t.tsv", "id\ttext\n1\twheat harvest\n2\tcrude barrel\n"),
        ("t.jsonl", '{"id": 1, "text": "wheat harvest"}\n{"id": 2, "text": "crude barrel"}\n'),
    ],
)
def test_text_column_of_a_table_is_read(run, folded_folder, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    _, output, _ = run("predict", folded_folder, tmp_path / name, "--json")
    texts = [json.loads(line)["text"] for line in output.splitlines()]
    assert texts == ["wheat harvest", "crude barrel"]


@pytest.fixture
def explained(trained_folder):
    """Texts and pairs with the words that `explain` gives for them."""
    model = load_classifier(str(trained_folder))

    def words_of(texts, pairs=None):
        found = explain(texts, *model, pairs=pairs, deletion_effects=False)
        return [one.words for one in found]

    return words_of


def test_explain_adds_a_column_of_the_words_that_add_most(run, folded_folder, explained):
    texts = ["the wheat harvest of april", "crude wheat april corn", "barrel", ""]
    stdin = "".join(f"{text}\n" for text in texts).encode()
    _, output, _ = run("predict", folded_folder, "-", "--explain", "--words", 2, stdin=stdin)
    for line, words in zip(output.splitlines(), explained(texts), strict=True):
        *_, column = line.split("\t")
        largest = sorted(words, key=lambda word: -abs(word.contribution))[:2]
        found = [one.rsplit(" ", 1) for one in column.split(", ")] if column else []
        assert [word for word, _ in found] == [word.text for word in largest]
        assert [float(number) for _, number in found] == pytest.approx(
            [word.contribution for word in largest], rel=1e-2
        )
        assert all(number[0] in "+-" for _, number in found)
    assert output.startswith(run("predict", folded_folder, texts[0])[1].strip())


def test_explain_in_json_has_all_words_where_they_stand(run, folded_folder, explained):
    texts = ["the  wheat ☕ harvest", "barrel 'n' \\u", ""]
    stdin = "".join(f"{text}\n" for text in texts).encode()
    _, output, _ = run("predict", folded_folder, "-", "--explain", "--json", stdin=stdin)
    for line, words in zip(output.splitlines(), explained(texts), strict=True):
        found = json.loads(line)["words"]
        assert [list(word) for word in found] == [["word", "start", "end", "contribution"]] * len(
            words
        )
        assert [(word["word"], word["start"], word["end"]) for word in found] == [
            (word.text, word.start, word.end) for word in words
        ]
        contributions = [word.contribution for word in words]
        assert [word["contribution"] for word in found] == pytest.approx(contributions, abs=1e-5)
    _, output, _ = run("predict", folded_folder, texts[0], "--explain", "--json", "--words", 1)
    (largest,) = json.loads(output)["words"]
    assert largest["word"] in ("wheat", "harvest")


def test_explain_tells_the_words_of_pairs_apart(run, folded_folder, explained):
    _, output, _ = run(
        "predict", folded_folder, "wheat corn", "--text-pair", "crude", "--explain", "--json"
    )
    expected = [(word.text, word.in_pair) for word in explained(["wheat corn"], ["crude"])[0]]
    found = json.loads(output)["words"]
    assert [(word["word"], word["in_pair"]) for word in found] == expected
    assert expected[-1] == ("crude", True)


def test_words_without_explain_are_refused(run, folded_folder):
    code, _, errors = run("predict", folded_folder, "wheat", "--words", 2)
    assert code == 2
    assert "expected --words beside --explain" in errors


def test_names_that_would_cut_a_line_are_written_with_spaces(run, folded_folder, tmp_path):
    shutil.copytree(folded_folder, tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["id2label"] = {"0": "farm\tand\nfield", "1": "oil"}
    config["label2id"] = {"farm\tand\nfield": 0, "oil": 1}
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    _, output, _ = run("predict", tmp_path / "m", "wheat")
    assert output.split("\t")[0] == "farm and field"
    _, output, _ = run("predict", tmp_path / "m", "wheat", "--json")
    assert json.loads(output)["label"] == "farm\tand\nfield"


def test_broken_line_is_named_and_keeps_its_place(run, folded_folder):
    stdin = b"wheat\n\xff\ncrude\n"
    code, output, errors = run("predict", folded_folder, "-", stdin=stdin)
    assert code == 1
    assert [line.split("\t")[0] for line in output.splitlines()] == ["farm", "", "oil"]
    assert errors.startswith("standard input, line 2: expected UTF-8, got 'utf-8' codec can't")
    assert errors.count("\n") == 1
    code, output, _ = run("predict", folded_folder, "-", "--json", stdin=stdin)
    assert code == 1
    farm, broken, oil = map(json.loads, output.splitlines())
    assert (farm["label"], oil["label"]) == ("farm", "oil")
    assert list(broken) == ["line", "error"]
    assert broken["line"] == 2
    assert broken["error"].startswith("expected UTF-8")


def test_broken_row_of_a_table_is_named_and_keeps_its_place(run, folded_folder, tmp_path):
    (tmp_path / "t.csv").write_text("text,id\nwheat,1\na, b,2\ncrude,3\n")
    code, output, errors = run("predict", folded_folder, tmp_path / "t.csv")
    assert code == 1
    assert [line.split("\t")[0] for line in output.splitlines()] == ["farm", "", "oil"]
    assert "t.csv, line 3: expected 2 fields as in the header, got 3." in errors


def test_many_broken_lines_are_counted(run, folded_folder, tmp_path):
    draw = random.Random(0)
    broken = [draw.random() < 0.01 for _ in range(20_000)]
    lines = [b"\xff" if one else draw.choice([b"wheat", b"crude"]) for one in broken]
    (tmp_path / "t.txt").write_bytes(b"\n".join(lines))
    code, output, errors = run("predict", folded_folder, tmp_path / "t.txt")
    assert code == 1
    labels = {b"wheat": "farm", b"crude": "oil", b"\xff": ""}
    assert [line.split("\t")[0] for line in output.splitlines()] == [labels[one] for one in lines]
    assert errors.count("\n") == 11
    numbers = [number + 1 for number, one in enumerate(broken) if one]
    assert f"t.txt, line {numbers[9]}: " in errors.splitlines()[9]
    assert f"t.txt: {sum(broken)} of 20,000 rows could not be read; the first 10" in errors


def test_what_was_read_before_the_file_breaks_is_kept(run, folded_folder, tmp_path):
    packed = gzip.compress("".join(f"wheat {hash(n)}\n" for n in range(50_000)).encode())
    (tmp_path / "t.txt.gz").write_bytes(packed[: len(packed) // 2])
    code, output, errors = run("predict", folded_folder, tmp_path / "t.txt.gz")
    assert code == 1
    read = len(output.splitlines())
    assert 10_000 < read < 40_000
    assert "expected a complete gzip file" in errors
    assert f"Reading ended there, after {read:,} rows." in errors


@pytest.mark.parametrize("name", ["-", "t.txt", "t.csv"])
def test_no_texts_are_said_to_be_none(run, folded_folder, tmp_path, name):
    if name != "-":
        (tmp_path / name).write_bytes(b"")
        name = tmp_path / name
    code, output, errors = run("predict", folded_folder, name)
    assert (code, output) == (0, "")
    assert errors == ("standard input" if name == "-" else str(name)) + ": no texts.\n"


def test_long_text_is_cut_and_said_to_be(run, folded_folder, tmp_path):
    (tmp_path / "t.txt").write_text("wheat corn " * 900_000 + "\ncrude\n" + "opec " * 9000)
    code, output, errors = run("predict", folded_folder, tmp_path / "t.txt")
    assert code == 0
    assert [line.split("\t")[0] for line in output.splitlines()] == ["farm", "oil", "oil"]
    assert errors == "2 texts were cut at 8,192 tokens, the tokenizer's model_max_length.\n"


def start_without(stream, *arguments):
    """Runs the command with one of its streams closed: 1 is standard output, 2 for errors."""
    command = ["sh", "-c", f'"$@" {stream}>&-', "sh", *COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=60, check=False)


def test_output_that_was_closed_before_is_said_to_be(folded_folder):
    ended = start_without(1, folded_folder, "wheat")
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"error: standard output: expected a terminal, a pipe or a file")


def test_errors_that_nobody_reads_keep_no_line_back(folded_folder, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_bytes(b"wheat\n\xff\ncrude\n")
    ended = start_without(2, folded_folder, texts)
    assert ended.returncode == 1
    assert [line[:4] for line in ended.stdout.split(b"\n")] == [b"farm", b"", b"oil\t", b""]


@pytest.mark.parametrize("source", ["file", "pipe"])
def test_closed_output_ends_it_silently(folded_folder, many_lines, source):
    if source == "file":
        process = start(folded_folder, many_lines)
    else:
        texts = subprocess.Popen(["yes", "wheat"], stdout=subprocess.PIPE)
        process = start(folded_folder, "-", stdin=texts.stdout)
    assert process.stdout.readline().endswith(b"\n")
    process.stdout.close()
    assert process.wait(30) == 0
    assert process.stderr.read() == b""
    if source == "pipe":
        texts.kill()
        texts.communicate()
    process.stderr.close()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("source", ["file", "pipe"])
def test_interrupted_it_has_written_whole_lines(folded_folder, many_lines, source, threads):
    arguments = [many_lines if source == "file" else "-", "--explain", "--threads", threads]
    process = start(folded_folder, *arguments, stdin=subprocess.PIPE)
    if source == "pipe":
        process.stdin.write(b"wheat\n")
        process.stdin.flush()
    lines = [process.stdout.readline()]
    if source == "file":
        time.sleep(0.5)  # its output is full
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    lines += process.stdout.readlines()
    assert process.wait(30) == 130
    assert process.stderr.read() == b"Interrupted.\n"
    assert {line.count(b"\t") for line in lines} == {2}
    assert all(line.endswith(b"\n") for line in lines)
    assert len(lines) < 200_000
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_slow_pipe_gets_its_answers_at_once(folded_folder, threads):
    process = start(folded_folder, "-", "--threads", threads, stdin=subprocess.PIPE)
    stuck = threading.Timer(60, process.kill)
    stuck.start()
    for text, label in ((b"wheat", b"farm"), (b"crude", b"oil"), (b"\xff", b"\n")):
        process.stdin.write(text + b"\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith(label)
    process.stdin.close()
    assert process.wait(30) == 1
    stuck.cancel()
    process.stdout.close()
    process.stderr.close()


@pytest.mark.parametrize("flags", [[], ["--explain", "--json"]])
def test_number_of_threads_changes_nothing_but_the_last_digits(run, folded_folder, flags):
    texts = "\n".join(keyword_texts(3000)["text"]).encode()
    outputs = [
        run("predict", folded_folder, "-", "--threads", threads, *flags, stdin=texts)[1]
        for threads in (1, 3)
    ]
    one, three = (list(map(float, find_numbers(output))) for output in outputs)
    assert one == pytest.approx(three, abs=1e-4)
    assert len(outputs[0].splitlines()) == len(outputs[1].splitlines()) == 3000


def test_folded_model_is_used_without_the_large_packages(folded_folder):
    code = """
        import sys
        sys.argv = ["hf-attn", "predict", sys.argv[1], "wheat", *sys.argv[2:]]
        from hf_attn.cli import main
        try: main()
        except SystemExit as exit_: assert not exit_.code
        large = {"torch", "transformers", "datasets", "huggingface_hub", "sklearn"}
        print(sorted(large & set(sys.modules)))
    """
    for flags in ([], ["--json", "--explain"], ["--explain"]):
        assert run_python(code, folded_folder, *flags).splitlines()[1:] == ["[]"]


# Prints by how many MiB a peak is above that of few texts. ru_maxrss is in KiB.
PEAKS = """
    import resource, subprocess, sys
    command = [sys.executable, "-c", "from hf_attn.cli import main; main()", "predict"]
    peaks = []
    for file in sys.argv[2:]:
        subprocess.run([*command, sys.argv[1], file], stdout=subprocess.DEVNULL, check=True)
        peaks.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
    print(peaks[-1] - peaks[0])
"""


@pytest.mark.skipif("sys.platform != 'linux'", reason="ru_maxrss has another unit elsewhere")
def test_memory_does_not_grow_with_the_number_of_texts(folded_folder, many_lines, tmp_path):
    lines = many_lines.read_text().splitlines(keepends=True)
    (tmp_path / "few.txt").write_text("".join(lines[:20_000]))
    assert float(run_python(PEAKS, folded_folder, tmp_path / "few.txt", many_lines)) < 30


def test_source_is_looked_at_before_the_model(run):
    code, _, errors = run("predict", "./none", "lines.txt")
    assert code == 2
    assert "lines.txt: expected a file of texts, found none" in errors
