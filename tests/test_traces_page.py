"""The page on traces: its table is what a model says, and its code prints what it says."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from models import small_classifier
from typer.testing import CliRunner

from hf_attn import HfAttnTokenizer, cli, trace_pipeline
from hf_attn.explainer import MOST_TOKENS
from hf_attn.scaling import Attending
from hf_attn.stages import MOST_TOKENS_KEPT
from hf_attn.trace import DEFAULT_TEXT

PAGE = (Path(__file__).parents[1] / "docs" / "traces.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"[-+]?\d+\.\d{2}\b")


@pytest.fixture(scope="module")
def stages():
    tokenizer = HfAttnTokenizer.train_from_iterator([DEFAULT_TEXT])
    model = small_classifier(hidden_size=8, head_dim=6, num_labels=2)
    return trace_pipeline(DEFAULT_TEXT, model, tokenizer).stages


def test_table_of_stages_is_what_a_model_says(stages):
    rows = re.findall(r"^\| (\d .*?) \| (.*?) \| (1 sentence.*?) \|$", PAGE, re.M)
    assert rows == [
        (f"{stage.number} {stage.name}", stage.formula.replace("\n", ", "), stage.gives)
        for stage in stages
    ]


def test_table_of_values_names_all(stages):
    rows = re.findall(r"^\| (\d) \| (.*?) \|$", PAGE, re.M)
    named = {int(number): re.findall(r"`(\w+)`", values) for number, values in rows}
    named[1].remove("pair")
    assert named == {stage.number: list(stage.values) for stage in stages}


def test_table_of_measures_names_what_there_is():
    named = re.findall(r"^\| `(\w+)` \|", PAGE, re.M)
    assert len(named) == 6
    known = {*Attending.__dataclass_fields__, *dir(Attending)}
    assert set(named) <= known


def test_limits_are_those_of_the_code():
    assert f"the first {MOST_TOKENS_KEPT} tokens" in " ".join(PAGE.split())
    assert f"more than {MOST_TOKENS:,} tokens is refused" in " ".join(PAGE.split())


def test_python_blocks_run_and_print_what_they_say(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
    code = "\n".join(blocks)
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    said = "\n".join(re.findall(r"^# (.+)$", code, re.M))
    # The numbers depend on the training.
    assert NUMBER.sub("N", said) == NUMBER.sub("N", process.stdout.strip())
    assert (tmp_path / "stages.html").exists()


def test_commands_run(trained_folder, tmp_path, monkeypatch):
    shutil.copytree(trained_folder, tmp_path / "r8-model")
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.M | re.S)
    for line in block.splitlines():
        command = [part.strip('"') for part in re.findall(r'".*?"|\S+', line)]
        assert command[:3] == ["hf-attn", "trace", "r8-model"]
        assert CliRunner().invoke(cli.app, command[1:]).exit_code == 0
