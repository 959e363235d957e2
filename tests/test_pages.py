"""The blocks of the README and of the documentation run as they stand, beside a model of R8."""

import contextlib
import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hf_attn import InputError, cli
from hf_attn.corpora import corpus_path

ROOT = Path(__file__).parents[1]
PAGES = {
    str(file.relative_to(ROOT)): re.findall(
        r"^```(\w+)\n(.*?)^```$", file.read_text(encoding="utf-8"), re.M | re.S
    )
    for file in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
}
# What a page shows of a Hub and its commits cannot run without one; tests/test_hub_*.py do it.
NEED_A_HUB = {"docs/sharing.md"}
RUN = [
    page
    for page, blocks in PAGES.items()
    if page not in NEED_A_HUB and any(language in ("python", "bash") for language, _ in blocks)
]
# What installs, serves, tests, takes hours or needs another program is run by people and by CI.
NOT_RUN = re.compile(
    r"(?:make|pip|git|cd|accelerate|torchrun|\.|fasttext|cut .* \| fasttext"
    r"|python scripts/(?:benchmark\w+|compare_settings|classify_with_onnx)\.py"
    r"|hf-attn (?:demo|push|pull|train .*(?:--push-to-hub|--autotune-seconds))|hf auth login) "
)
TRAIN_R8 = "hf-attn train r8 --output-dir r8-model"
NUMBER = re.compile(r"-?\d+\.\d+")


@pytest.fixture(scope="module")
def r8_folder(tmp_path_factory):
    """A folder with a model of R8, trained as the tutorial does, and a user's own files."""
    folder = tmp_path_factory.mktemp("pages")
    try:
        corpus_path("r8", "train")
    except InputError as error:
        pytest.skip(f"R8 cannot be had here: {error}")
    (folder / "train-output").write_text(run_here(folder, TRAIN_R8), encoding="utf-8")
    rows = [(f"{word} delivery of order {n}", word) for n in range(20) for word in ("late", "lost")]
    for name, part in (("tickets", rows), ("tickets-test", rows[:8])):
        lines = ["text,label", *(f"{text},{label}" for text, label in part)]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    for name, part in (("train", rows), ("test", rows[:8])):
        lines = [f"__label__{label} {text}" for text, label in part]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (folder / "texts.txt").write_text("oil prices rose\nwheat exports fell\n")
    return folder


def run_here(folder, command):
    """Gives what an `hf-attn` command prints, run in this process, which has all imports done."""
    before, _, command = command.rpartition(" | ")
    stdin = subprocess.run(before, shell=True, cwd=folder, capture_output=True, check=True).stdout
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.chdir(folder)
        patch.setattr(sys, "argv", shlex.split(command))
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = 0
        try:
            cli.main()
        except SystemExit as stopped:
            code = stopped.code
    assert not code, f"{command}\n{output.getvalue()}"
    return output.getvalue()


def run_python(folder, code):
    """Gives what a program prints, in a process of its own, as a reader runs it."""
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def without_numbers(text):
    return NUMBER.sub("N", text)


def test_no_figure_is_left_to_be_filled_in():
    assert [page for page in PAGES if "@@" in (ROOT / page).read_text(encoding="utf-8")] == []


def test_every_block_names_what_it_is():
    languages = {language for blocks in PAGES.values() for language, _ in blocks}
    assert languages <= {"python", "bash", "console", "text"}
    assert sum(language == "python" for language, _ in PAGES["README.md"]) >= 3


@pytest.mark.parametrize("page", RUN)
def test_blocks_of_a_page_run_and_print_what_they_say(page, r8_folder, tmp_path):
    """The commands in their order, then the Python blocks as one program."""
    folder = tmp_path / "here"
    shutil.copytree(r8_folder, folder)
    commands = [
        line for language, body in PAGES[page] if language == "bash" for line in body.splitlines()
    ]
    printed = (folder / "train-output").read_text(encoding="utf-8")
    for command in commands:
        if command != TRAIN_R8:  # which the folder's model was made by
            printed += run_here(folder, command)
    code = "\n".join(body for language, body in PAGES[page] if language == "python")
    if code:
        by_python = without_numbers(run_python(folder, code))
        # What a block prints stands behind `# ` in it; the numbers depend on the training.
        said = [without_numbers(line) for line in re.findall(r"^# (.+)$", code, re.M)]
        assert said or by_python
        assert [line for line in said if line not in by_python] == []
    if TRAIN_R8 in commands:  # then the page shows what this very model says
        shown = " ".join(body for language, body in PAGES[page] if language == "text")
        assert set(re.findall(r"[a-z_≠]+", shown)) <= set(re.findall(r"[a-z_≠]+", printed))


def test_console_blocks_hold_only_what_cannot_be_run_here():
    lines = [
        line
        for blocks in PAGES.values()
        for language, body in blocks
        if language == "console"
        for line in body.splitlines()
    ]
    assert lines
    assert [line for line in lines if not NOT_RUN.match(line)] == []
