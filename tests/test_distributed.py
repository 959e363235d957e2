"""Two processes on CPUs train as one does, and 16-bit training runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from trained import TINY, keyword_data, keyword_texts

from hf_attn import train
from hf_attn.training_trace import read_training_trace

SCRIPT = Path(__file__).parents[1] / "scripts" / "train.py"


@pytest.fixture
def folder(tmp_path):
    for seed, split in enumerate(("train", "validation", "test")):
        rows = keyword_texts(200, seed)
        pairs = zip(rows["text"], rows["label"], strict=True)
        lines = [json.dumps({"text": text, "label": label}) for text, label in pairs]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def launch(folder, processes):
    settings = {**TINY, "num_train_epochs": 12}
    # Two processes take two batches at a time.
    settings["per_device_train_batch_size"] = 16 // processes
    flags = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    output = folder / f"model-{processes}"
    process = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes),
         "--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0",
         str(SCRIPT), str(folder), "--output_dir", str(output), *flags],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return json.loads((output / "run.json").read_text()), process.stdout


def test_two_processes_match_one_within_noise(folder):
    one, _ = launch(folder, 1)
    two, output = launch(folder, 2)
    assert output.count("Saved in") == 1
    trace = read_training_trace(folder / "model-2")
    assert [epoch.step for epoch in trace.epochs] == [epoch["step"] for epoch in two["epochs"]]
    assert all(epoch.attention_entropy for epoch in trace.epochs)
    for epoch in trace.epochs:  # by one of the two
        assert output.count(f"epoch {epoch.epoch:g}: training loss") == 1
    steps = [record["epochs"][0]["step"] for record in (one, two)]
    assert steps[0] == steps[1]
    for split in ("validation", "test"):
        scores = [record["metrics"][split]["accuracy"] for record in (one, two)]
        # Two standard errors of an accuracy of .95 on 200 texts.
        assert abs(scores[0] - scores[1]) < 0.031
        assert min(scores) > 0.9


def test_bfloat16_training_runs_and_saves_float32(tmp_path):
    run = train(keyword_data(), tmp_path / "m", **{**TINY, "num_train_epochs": 12}, bf16=True)
    assert run.record["metrics"]["test"]["accuracy"] > 0.9
    assert {str(weight.dtype) for weight in run.model.parameters()} == {"torch.float32"}
