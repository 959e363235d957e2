"""What every test runs under: no network, no telemetry, a cache of its own and fixed seeds."""

import importlib
import io
import os
import sys
import tempfile
from pathlib import Path

import pytest

# Read when transformers and datasets are first imported, so they are set before any test file is.
# Processes that a test starts inherit them. The corpora of hf_attn keep their own cache.
_hf_home = tempfile.TemporaryDirectory(prefix="hf_attn-tests-")
os.environ["HF_HOME"] = _hf_home.name
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_EVALUATE_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


@pytest.fixture(autouse=True)
def _fixed_seeds():
    """Start each test from the same state of Python's, NumPy's and torch's generators."""
    from transformers import set_seed

    set_seed(0)


@pytest.fixture(scope="module")
def script():
    """Imports one of the scripts, which import each other by name and set the threads of torch."""
    import torch

    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "scripts")
        yield importlib.import_module
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A loopback Hub for the tests of one file."""
    from hub_server import HubServer

    with HubServer(tmp_path_factory.mktemp("hub")) as server:
        yield server


@pytest.fixture(scope="module")
def pushers(hub, tmp_path_factory):
    """A process that pushes and pulls with Xet, and one without."""
    from pusher import Pusher

    variables = {"xet": {}, "lfs": {"HF_HUB_DISABLE_XET": "1"}}
    started = {
        name: Pusher(hub, tmp_path_factory.mktemp(name), **more) for name, more in variables.items()
    }
    yield started
    for pusher in started.values():
        pusher.close()


@pytest.fixture(params=["xet", "lfs"])
def pusher(request, pushers, hub):
    """Each of the two in turn, on a Hub without faults and with an empty log."""
    hub.faults.clear()
    hub.log.clear()
    yield pushers[request.param]
    hub.faults.clear()


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command in this process and gives its exit code, output and errors."""
    from hf_attn import cli

    def run_command(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "argv", ["hf-attn", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            cli.main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        return code, *capsys.readouterr()

    return run_command


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory):
    """A folder with a small classifier of two topics; tests that change it copy it first."""
    from trained import TINY, keyword_data

    from hf_attn import train

    folder = tmp_path_factory.mktemp("trained") / "model"
    train(keyword_data(), folder, **{**TINY, "num_train_epochs": 16, "token_dropout": 0.2})
    return folder


@pytest.fixture(scope="session")
def folded_folder(trained_folder, tmp_path_factory):
    """The same classifier folded; tests that change it copy it first."""
    from hf_attn.fold_folder import fold_folder

    folder = tmp_path_factory.mktemp("folded") / "folded-model"
    fold_folder(str(trained_folder), folder)
    return folder
