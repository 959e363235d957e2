"""The README's blocks run as they stand, in their order, beside a model trained on R8."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hf_attn import InputError, train
from hf_attn.corpora import corpus_path

ROOT = Path(__file__).parents[1]
BLOCKS = [
    (file.name, *block)
    for file in sorted(ROOT.glob("*.md"))
    for block in re.findall(r"^```(\w+)\n(.*?)^```$", file.read_text(), re.M | re.S)
]
# What installs, tests or needs several machines is run by people and by CI, not from here.
NOT_RUN = re.compile(r"(?:make|pip|git|cd|accelerate|torchrun|\.) ")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as it is after `make demo` with a smaller budget, and a user's own file."""
    folder = tmp_path_factory.mktemp("readme")
    try:
        corpus_path("r8", "train")
    except InputError as error:
        pytest.skip(f"R8 cannot be had here: {error}")
    train("r8", folder / "r8-model", num_train_epochs=2)
    rows = [
        "text,label",
        *(f"{word} delivery of order {n},{word}" for n in range(20) for word in ("late", "lost")),
    ]
    (folder / "tickets.csv").write_text("\n".join(rows) + "\n")
    (folder / "tickets-test.csv").write_text("\n".join(rows[:9]) + "\n")
    (folder / "texts.txt").write_text("oil prices rose\nwheat exports fell\n")
    return folder


@pytest.fixture(scope="module")
def shell(folder):
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}

    def run(command, *arguments):
        return subprocess.run(
            [*command, *arguments],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def test_no_figure_is_left_to_be_filled_in():
    assert [file.name for file in ROOT.glob("*.md") if "@@" in file.read_text()] == []


def test_every_block_names_what_it_is():
    assert {language for _, language, _ in BLOCKS} <= {"python", "bash", "console", "text"}
    assert sum(language == "python" for _, language, _ in BLOCKS) >= 3


@pytest.mark.parametrize(
    "file", sorted({file for file, language, _ in BLOCKS if language == "python"})
)
def test_python_blocks_run_and_print_what_they_say(shell, file):
    blocks = [body for name, language, body in BLOCKS if (name, language) == (file, "python")]
    code = "\n".join(blocks)
    process = shell([sys.executable, "-c"], code)
    assert process.returncode == 0, process.stderr
    # What a block prints stands behind `# ` in it; the numbers depend on the training.
    without_numbers = re.sub(r"-?\d+\.\d+", "N", process.stdout)
    said = re.findall(r"^# (.+)$", code, re.M)
    assert said or without_numbers
    for line in said:
        assert re.sub(r"-?\d+\.\d+", "N", line) in without_numbers


@pytest.mark.parametrize(
    "body", [body for _, language, body in BLOCKS if language == "bash"], ids=lambda body: body[:40]
)
def test_bash_block_runs(shell, body):
    process = shell(["bash", "-euo", "pipefail", "-c"], body)
    assert process.returncode == 0, process.stderr


def test_console_blocks_hold_only_what_cannot_be_run_here():
    lines = [
        line for _, language, body in BLOCKS if language == "console" for line in body.splitlines()
    ]
    assert lines
    assert [line for line in lines if not NOT_RUN.match(line)] == []
