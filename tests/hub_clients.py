"""Processes that use a loopback Hub with the real clients, and what it holds afterwards."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

TESTS = Path(__file__).parent
# What a repository of a model holds, and of one that `train` made.
MODEL = {
    "README.md", "config.json", "configuration_hf_attn.py", "model.safetensors",
    "modeling_hf_attn.py", "tokenization_hf_attn.py", "tokenizer.json", "tokenizer_config.json",
}  # fmt: skip
TRAINED = MODEL | {
    "run.json", "token_counts.json", "training_trace.json", "training_trace.md",
}  # fmt: skip
# Warnings are errors here too, but for the one that pyproject.toml names.
WARNINGS = ["-W", "error", "-W", "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"]


def environment(hub, home, token="hf_alice_write", **variables):
    """Variables for a process that knows no other Hub, and no cache but `home`."""
    left_out = ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_ENDPOINT", "HF_HUB_DISABLE_PROGRESS_BARS")
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    ours = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home), "PYTHONPATH": str(TESTS)}
    return inherited | ours | ({"HF_TOKEN": token} if token else {}) | variables


def run_client(hub, home, code, *arguments, without_package=False, **variables):
    """Gives what the code prints; it reads the arguments from `sys.argv[1:]`."""
    block = "import sys; sys.modules['hf_attn'] = None\n" if without_package else ""
    done = subprocess.run(
        [sys.executable, *WARNINGS, "-c", block + textwrap.dedent(code), *map(str, arguments)],
        env=environment(hub, home, **variables),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_command(hub, home, *arguments, **variables):
    """Runs `hf-attn`, and gives the finished process."""
    return subprocess.run(
        [sys.executable, "-c", "from hf_attn.cli import main; main()", *map(str, arguments)],
        env=environment(hub, home, **variables),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def commits(hub, repo_id, ref="refs/heads/main"):
    """Id to commit of a branch, the oldest first, without the one that the Hub itself makes."""
    repo = hub.repos["model", repo_id]
    found, oid = {}, repo["refs"][ref]
    while repo["commits"][oid]["parent"]:
        found[oid] = repo["commits"][oid]
        oid = found[oid]["parent"]
    return dict(reversed(found.items()))


def held(hub, commit):
    """Path to content of all files of a commit."""
    files = {path: hub.file(entry).read_bytes() for path, entry in commit["files"].items()}
    del files[".gitattributes"]
    return files
