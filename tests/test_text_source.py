"""Texts read bit by bit: all of them in order, broken rows named, and no more held than needed."""

import csv
import gzip
import json
import os
import random
import threading
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from processes import run_python

from hf_attn.command_texts import read_texts
from hf_attn.errors import InputError
from hf_attn.predictor.block_reader import BlockReader
from hf_attn.predictor.text_block import TextBlock
from hf_attn.predictor.text_lines import line_blocks
from hf_attn.predictor.text_source import TextSource, open_source
from hf_attn.rows import table_rows


def rows_of(source, **options):
    """All rows of a source in order: a text, a pair of texts, or what a broken row is called."""
    rows = []
    for block in open_source(str(source), **options).blocks:
        texts = iter(zip(block.texts, block.pairs, strict=True) if block.pairs else block.texts)
        broken = {row.place: f"{row.unit} {row.number}: {row.problem}" for row in block.broken}
        rows += [broken.get(place) or next(texts) for place in range(block.num_rows)]
    return rows


def in_pieces(data, draw):
    """A function that reads bytes as a pipe gives them: some at a time."""
    place = 0

    def read(size):
        nonlocal place
        piece = data[place : place + draw.randint(1, min(size, 7))]
        place += len(piece)
        return piece

    return read


def test_lines_are_the_same_whatever_pieces_they_come_in():
    draw = random.Random(0)
    for _ in range(300):
        choices = [b"a", b"\n", b"\r\n", "é".encode(), b"\xff", b"\r", "\u2028".encode(), b"\0"]
        data = b"".join(draw.choices(choices, k=draw.randint(0, 20)))
        expected = []
        for line in data.removesuffix(b"\n").split(b"\n") if data else []:
            try:
                expected.append(line.decode().rstrip("\r"))
            except UnicodeDecodeError:
                expected.append(None)
        found = []
        for block in line_blocks(in_pieces(data, draw)):
            texts = iter(block.texts)
            broken = {row.place for row in block.broken}
            assert [row.number for row in block.broken] == [
                len(found) + place + 1 for place in sorted(broken)
            ]
            found += [None if n in broken else next(texts) for n in range(block.num_rows)]
        assert found == expected


def test_byte_order_mark_is_no_part_of_the_first_line(tmp_path):
    (tmp_path / "t.txt").write_bytes("\ufeffwheat\n\ufeffoil\n".encode())
    assert rows_of(tmp_path / "t.txt") == ["wheat", "\ufeffoil"]


def test_gzip_is_unpacked(tmp_path):
    (tmp_path / "t.txt.gz").write_bytes(gzip.compress(b"wheat\noil"))
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"id,text\n1,wheat\n2,oil\n"))
    assert rows_of(tmp_path / "t.txt.gz") == rows_of(tmp_path / "t.csv.gz") == ["wheat", "oil"]


TABLES = {
    "plain.csv": "id,text\n1,wheat\n2,oil\n",
    "semicolons.csv": "id;text\n1;wheat\n2;oil\n",
    "blank.csv": "\r\n\r\nid,text\r\n1,wheat\r\n\r\n2,oil\r\n",
    "mark.csv": "\ufefftext,id\nwheat,1\noil,2\n",
    "quoted.tsv": 'id\ttext\n1\t"wheat"\n2\toil\n',
    "lines.jsonl": '{"text": "wheat"}\n\n{"text": "oil", "id": 2}\n',
    "lines.ndjson": '\ufeff{"text": "wheat"}\n{"text": "oil"}',
    "lines.json": '\n{"text": "wheat"}\n{"text": "oil"}\n',
    "array.json": ' [{"text": "wheat"},\n {"text": "oil"}]',
}


@pytest.mark.parametrize("name", TABLES)
def test_table_gives_its_text_column(tmp_path, name):
    (tmp_path / name).write_text(TABLES[name], newline="")
    assert rows_of(tmp_path / name) == ["wheat", "oil"]
    assert read_texts(str(tmp_path / name)) == (["wheat", "oil"], None)


def test_parquet_is_read_by_columns_of_any_string_type(tmp_path):
    texts = pa.array(["wheat", None, "oil"]).dictionary_encode()
    vectors = pa.array([[0.5]] * 3)
    pq.write_table(pa.table({"vector": vectors, "body": texts}), tmp_path / "t.parquet")
    wheat, missing, oil = rows_of(tmp_path / "t.parquet")
    assert (wheat, oil) == ("wheat", "oil")
    assert missing.startswith("row 2: expected a text, got None")


def test_parquet_with_bytes_that_are_no_utf_8_names_the_row(tmp_path):
    data = pa.py_buffer(b"wheat\xff\xfeoil")
    ends = pa.py_buffer(pa.array([0, 5, 7, 10], pa.int32()).buffers()[1])
    strings = pa.StringArray.from_buffers(3, ends, data)
    pq.write_table(pa.table({"text": strings}), tmp_path / "t.parquet")
    wheat, broken, oil = rows_of(tmp_path / "t.parquet")
    assert (wheat, oil) == ("wheat", "oil")
    assert broken.startswith("row 2: expected UTF-8, got 'utf-8' codec can't decode byte 0xff")


def test_columns_of_pairs_are_found(tmp_path):
    (tmp_path / "t.csv").write_text("sentence1,sentence2\nwheat,oil\n")
    assert rows_of(tmp_path / "t.csv") == [("wheat", "oil")]
    assert read_texts(str(tmp_path / "t.csv")) == (["wheat"], ["oil"])
    assert rows_of(tmp_path / "t.csv", text_column="sentence2") == ["oil"]


def test_one_second_text_goes_with_all(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"wheat\n\xff\noil\n")
    wheat, _, oil = rows_of(tmp_path / "t.txt", text_pair="corn")
    assert (wheat, oil) == (("wheat", "corn"), ("oil", "corn"))


def test_marks_of_a_tsv_that_quotes_nothing_are_read_as_they_are(tmp_path):
    (tmp_path / "t.tsv").write_text('id\ttext\n1\t"wheat" rose\n2\toil 5"\n3\t"\n')
    assert rows_of(tmp_path / "t.tsv") == ['"wheat" rose', 'oil 5"', '"']


BROKEN_ROWS = {
    "width.csv": ("text,id\nwheat,1\na, b,2\noil,3\n", "line 3: expected 2 fields"),
    "quote.csv": ('text,id\nwheat,1\n"a" b,2\noil,3\n', "line 3: ',' expected after '\"'"),
    "open.csv": ('text,id\nwheat,1\n"a,2\noil,3\n', "line 3: unexpected end of data"),
    "closed.csv": ('text,id\nwheat,1\n"a,2\noil,"3"\n', "line 3: ',' expected after '\"'"),
    "bytes.csv": (b"text,id\nwheat,1\n\xff,2\noil,3\n", "line 3: expected UTF-8"),
    "bytes.jsonl": (
        b'{"text": "wheat"}\n{"text": "\xff"}\n{"text": "oil"}\n',
        "line 2: expected UTF-8",
    ),
    "json.jsonl": ('{"text": "wheat"}\n\n{"text"\n{"text": "oil"}\n', "line 3: expected JSON, but"),
    "deep.jsonl": (
        '{"text": "wheat"}\n' + "[" * 100_000 + '\n{"text": "oil"}\n',
        "line 2: expected JSON, but maximum recursion depth",
    ),
    "list.jsonl": ('{"text": "wheat"}\n["a"]\n{"text": "oil"}', "line 2: expected a JSON object"),
    "none.jsonl": ('{"text": "wheat"}\n{"id": 1}\n{"text": "oil"}\n', "line 2: expected a text"),
    "number.jsonl": ('{"text": "wheat"}\n{"text": 3}\n{"text": "oil"}\n', "line 2: expected a te"),
    "half.jsonl": (
        '{"text": "wheat"}\n{"text": "\\ud800"}\n{"text": "oil"}\n',
        "line 2: expected valid Unicode, got a lone surrogate",
    ),
    "list.json": ('[{"text": "wheat"}, 1, {"text": "oil"}]', "row 2: expected a JSON object"),
}


@pytest.mark.parametrize("name", ["t.txt", "t.csv"])
def test_text_that_no_white_space_divides_is_named(tmp_path, name):
    header = "text\n" if name == "t.csv" else ""
    long = ["é" * (1 << 21), "e " * (1 << 21), "e" * ((1 << 21) - 1)]
    (tmp_path / name).write_text(header + "\n".join(["wheat", *long, "oil"]))
    wheat, broken, *others, oil = rows_of(tmp_path / name)
    assert (wheat, others, oil) == ("wheat", long[1:], "oil")
    line = 3 if header else 2
    assert broken.startswith(f"line {line}: expected white space after at most 2,097,152 charact")


@pytest.mark.parametrize("name", BROKEN_ROWS)
def test_broken_row_is_named_and_the_others_are_read(tmp_path, name):
    content, problem = BROKEN_ROWS[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    wheat, broken, oil = rows_of(tmp_path / name)
    assert (wheat, oil) == ("wheat", "oil")
    assert broken.startswith(problem)
    with pytest.raises(InputError, match=f"{name}, {problem[:6]}"):
        read_texts(str(tmp_path / name))


def test_rows_over_several_lines_are_numbered_by_the_first(tmp_path):
    (tmp_path / "t.csv").write_text('text,id\n"two\nlines",1\nbroken\n"two\r\nlines",2\n')
    two, broken, again = rows_of(tmp_path / "t.csv")
    assert (two, again) == ("two\nlines", "two\r\nlines")
    assert broken.startswith("line 4: expected 2 fields as in the header, got 1.")


def test_rows_that_are_left_unread_leave_no_limit_to_other_readers():
    limit = csv.field_size_limit()
    rows = table_rows(["text\n", "wheat\n", "copper\n"], ",", quoted=True, longest_field=5)
    next(rows)
    others = table_rows(["text\n", "wheat\n"], ",", quoted=True, longest_field=9)
    next(others)
    assert [values or problem[:5] for _, values, problem in rows] == [["wheat"], "field"]
    others.close()
    assert csv.field_size_limit() == limit


BROKEN_STARTS = {
    "columns.csv": ("a,b,c\n1,2,3\n", "expected an obvious text column"),
    "header.csv": ("a,a\n1,2\n", "got 'a' twice"),
    "all.jsonl": ("wheat\noil\n", r"all.jsonl, line 1: expected JSON"),
    "number.json": ('[{"text": "a", "n": ' + "1" * 5_000 + "}]", "number.json: expected JSON, but"),
    "nested.json": ("[" * 100_000, "nested.json: expected JSON, but maximum recursion"),
    "array.json": ('[{"text": "a",\n "label" 1}]', "array.json, line 2: expected JSON"),
    "none.parquet": ("wheat", "expected a Parquet file"),
    "none.txt.gz": ("wheat", "expected a complete gzip file"),
}


@pytest.mark.parametrize("name", BROKEN_STARTS)
def test_file_that_cannot_be_read_at_all_is_refused(tmp_path, name):
    content, message = BROKEN_STARTS[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        rows_of(tmp_path / name)


@pytest.mark.parametrize("name", ["t.txt", "t.csv", "t.tsv", "t.jsonl", "t.json"])
def test_empty_file_has_no_rows(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert rows_of(tmp_path / name) == []


def test_named_pipe_is_read_line_by_line(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"wheat\noil\n",))
    writer.start()
    assert rows_of(tmp_path / "pipe") == ["wheat", "oil"]
    writer.join()


def test_reading_needs_none_of_the_large_packages(tmp_path):
    (tmp_path / "t.csv").write_text("text\nwheat\n")
    code = """
        from hf_attn.command_texts import read_texts
        assert read_texts(sys.argv[1]) == (["wheat"], None)
        print(sorted({"torch", "transformers", "datasets", "pandas", "numpy"} & set(sys.modules)))
    """
    assert run_python("import sys\n" + code.replace("        ", ""), tmp_path / "t.csv") == "[]\n"


def blocks_of(sizes):
    for number, size in enumerate(sizes):
        yield TextBlock([f"{number} {row}" for row in range(size)])


def test_reader_gives_all_rows_in_order_and_joins_small_blocks():
    sizes = [100] * 1000
    given = []
    with BlockReader(TextSource("rows", blocks_of(sizes))) as reader:
        for block in reader:
            given.append(block.texts)
            time.sleep(0.001)  # what scoring takes
    expected = [text for block in blocks_of(sizes) for text in block.texts]
    assert [text for texts in given for text in texts] == expected
    assert max(map(len, given)) <= 8192
    assert len(given) < len(sizes) / 4


def test_reader_gives_at_once_what_comes_slowly():
    more = threading.Event()

    def slowly():
        yield TextBlock(["first"])
        more.wait(30)
        yield TextBlock(["second"])

    with BlockReader(TextSource("rows", slowly())) as reader:
        blocks = iter(reader)
        assert next(blocks).texts == ["first"]
        more.set()
        assert next(blocks).texts == ["second"]
        assert list(blocks) == []


@pytest.mark.parametrize("text", ["a", "a" * 100_000])
def test_reader_does_not_run_far_ahead(text):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield TextBlock([text] * 64)

    with BlockReader(TextSource("rows", endless())) as reader:
        next(iter(reader))
        time.sleep(0.2)
        most = 3 * max(1, min(8192 // 64, (1 << 22) // (64 * len(text)))) + 3
        assert len(taken) <= most


def test_joined_blocks_keep_the_places_of_broken_rows():
    draw = random.Random(0)
    lines = [b"%d" % number if draw.random() < 0.9 else b"\xff" for number in range(100)]
    blocks = list(line_blocks(in_pieces(b"\n".join(lines), draw)))
    assert len(blocks) > 10
    joined = TextBlock.join(blocks)
    broken = [number for number, line in enumerate(lines) if line == b"\xff"]
    assert [row.place for row in joined.broken] == broken
    assert [row.number for row in joined.broken] == [number + 1 for number in broken]
    assert joined.texts == [line.decode() for line in lines if line != b"\xff"]
    pair = TextBlock.join([TextBlock(["a"], ["b"]), TextBlock(["c", "d"], ["e", "f"])])
    assert (pair.texts, pair.pairs) == (["a", "c", "d"], ["b", "e", "f"])


def test_closing_frees_who_waits_for_rows():
    never = threading.Event()

    def nothing():
        never.wait(30)
        yield TextBlock([])

    reader = BlockReader(TextSource("a pipe", nothing(), may_wait=True))
    waiting = threading.Thread(target=list, args=(reader,))
    waiting.start()
    reader.close()
    waiting.join(5)
    assert not waiting.is_alive()
    never.set()


def test_reader_gives_what_was_read_before_an_error(tmp_path):
    lines = b"".join(b"%d %s\n" % (n, os.urandom(20).hex().encode()) for n in range(20_000))
    packed = gzip.compress(lines)
    (tmp_path / "t.txt.gz").write_bytes(packed[: len(packed) // 2])
    with BlockReader(open_source(str(tmp_path / "t.txt.gz"))) as reader:
        read = [text for block in reader for text in block.texts]
    assert 5000 < len(read) < 15_000
    assert read == lines.decode().splitlines()[: len(read)]
    assert "expected a complete gzip file" in str(reader.error)


def test_json_lines_of_any_length_are_kept(tmp_path):
    texts = ["a " * 1_500_000, "", "ends"]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (tmp_path / "t.jsonl").write_text(lines)
    assert rows_of(tmp_path / "t.jsonl") == texts
