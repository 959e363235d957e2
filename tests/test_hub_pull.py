"""Pulling, with the real client against a loopback Hub: what a folder holds, and ways to fail."""

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hub_clients import commits, held
from pusher import copy_model

from hf_attn.card_page import CARD_MARK

# What a pull asks of the Hub, in its order; weights come one way or the other.
STEPS = {
    "which-commit": "GET .*/revision/",
    "tree": "GET .*/tree/",
    "size": "HEAD .*/resolve/",
    "file": "GET .*/resolve/.*tokenizer.json",
    "weights": "GET /s3/|GET /xorb/",
}


@pytest.fixture(scope="module")
def repo_id(pushers, trained_folder, tmp_path_factory):
    folder = copy_model(trained_folder, tmp_path_factory.mktemp("pulled") / "model", "pulled")
    assert "error" not in pushers["xet"].push(folder, "alice/pulled")
    return "alice/pulled"


@pytest.fixture
def pull(pusher, repo_id, tmp_path):
    """Pulls into `tmp_path / "model"` through a cache that is cold at first."""
    return lambda **options: pusher.pull(
        tmp_path / "model", **{"repo_id": repo_id, "cache": tmp_path / "cache", **options}
    )


def contents(folder):
    """Name to content of the files, without checkpoints."""
    found = folder.iterdir() if folder.exists() else ()
    return {path.name: path.read_bytes() for path in found if path.is_file()}


def on_the_hub(hub, repo_id):
    return held(hub, list(commits(hub, repo_id).values())[-1])


def assert_pulled(hub, repo_id, folder, answer):
    assert "error" not in answer, answer
    assert contents(folder) == on_the_hub(hub, repo_id)
    assert answer["files"] == sorted(contents(folder))


def test_weights_come_by_the_way_that_is_tested(hub, pusher, pull, pushers):
    assert "error" not in pull()
    by_xet = [request for request in hub.log if request["path"].startswith("/xorb/")]
    assert bool(by_xet) == (pusher is pushers["xet"])


# What a folder held before


@pytest.mark.parametrize("held", ["plain", "folded"])
def test_folded_model_is_pulled_but_over_no_plain_one_nor_the_other_way(
    hub, pusher, pull, repo_id, folded_folder, tmp_path, held
):
    folder, folded_id = tmp_path / "model", f"alice/folded-{tmp_path.name}"
    folded = copy_model(folded_folder, tmp_path / "folded", "pulled")
    assert "error" not in pusher.push(folded, folded_id)
    first, second = (repo_id, folded_id) if held == "plain" else (folded_id, repo_id)
    assert_pulled(hub, first, folder, pull(repo_id=first))
    answer = pull(repo_id=second)
    types = {"plain": "'hf_attn'", "folded": "'hf_attn_folded'"}
    assert f"got one with a model of type {types[held]}. Choose another name" in answer["error"]
    assert contents(folder) == on_the_hub(hub, first)


OTHERS = ["notes.txt", "data.csv", "labels.json", "pytorch_notes.bin"]
OF_AN_OLDER_MODEL = [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "adapter_model.safetensors",
    "adapter_config.json",
    "pytorch_model.bin",
    "all_results.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "training_args.bin",
]


def test_model_of_another_layout_leaves_nothing_to_mix_up(hub, pusher, pull, repo_id, tmp_path):
    folder = tmp_path / "model"
    (folder / "checkpoint-5").mkdir(parents=True)
    for name in [*OTHERS, *OF_AN_OLDER_MODEL, "run.json", "checkpoint-5/model.safetensors"]:
        (folder / name).write_text("{}")
    (folder / "config.json").write_text('{"model_type": "hf_attn"}')
    answer = pull()
    assert answer["files"] == sorted(on_the_hub(hub, repo_id))
    assert (folder / "checkpoint-5" / "model.safetensors").exists()
    own = dict.fromkeys(OTHERS, b"{}")
    assert contents(folder) == on_the_hub(hub, repo_id) | own
    assert f"{folder}: removed as parts of an older model: adapter_config" in pusher.log.read_text()


def test_records_code_and_card_that_the_pulled_model_lacks_are_removed(
    hub, pusher, trained_folder, tmp_path
):
    bare = copy_model(trained_folder, tmp_path / "bare", "bare")
    settings = json.loads((bare / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "auto_map": None}
    (bare / "tokenizer_config.json").write_text(json.dumps(settings))
    for name in ("run.json", "token_counts.json"):
        (bare / name).unlink()
    repo_id = f"alice/bare-{tmp_path.name}"
    assert "error" not in pusher.push(bare, repo_id)
    repo = hub.repos["model", repo_id]
    head = repo["refs"]["refs/heads/main"]
    files = {**repo["commits"][head]["files"]}
    del files["README.md"]
    hub.commit(repo, "refs/heads/main", files, "no card", "", "alice", head)
    for page, is_kept in ((f"# A card\n{CARD_MARK}\n", False), ("# A page of mine\n", True)):
        folder = shutil.copytree(trained_folder, tmp_path / f"kept-{is_kept}")
        (folder / "README.md").write_text(page)
        assert "error" not in pusher.pull(folder, repo_id, cache=tmp_path / "cache")
        kept = {"README.md": page.encode()} if is_kept else {}
        assert contents(folder) == on_the_hub(hub, repo_id) | kept


def test_model_of_another_type_is_not_replaced(pull, repo_id, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "bert"}')
    assert "got one with a model of type 'bert'. Choose another name; nothing" in pull()["error"]
    assert contents(tmp_path / "model") == {"config.json": b'{"model_type": "bert"}'}


def test_adapter_is_not_put_beside_a_whole_model(pusher, trained_folder, tmp_path):
    adapter = shutil.copytree(trained_folder, tmp_path / "adapter")
    (adapter / "model.safetensors").rename(adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "alice/pulled"}')
    (adapter / "README.md").write_text("---\nlicense: mit\n---\n")
    repo_id = f"alice/adapter-{tmp_path.name}"
    assert "error" not in pusher.push(adapter, repo_id, card=None)
    folder = shutil.copytree(trained_folder, tmp_path / "whole")
    answer = pusher.pull(folder, repo_id, cache=tmp_path / "cache")
    assert "expected a place for an adapter, got one that holds a whole model" in answer["error"]
    assert contents(folder).keys() == contents(trained_folder).keys()
    answer = pusher.pull(tmp_path / "new", repo_id, cache=tmp_path / "cache")
    assert set(answer["files"]) == set(contents(adapter)) - {
        "config.json",
        "configuration_hf_attn.py",
        "modeling_hf_attn.py",
    }


def test_commit_made_meanwhile_is_not_mixed_in(
    hub, pull, pusher, trained_folder, tmp_path, request
):
    repo_id = f"alice/moving-{tmp_path.name}"
    folders = [copy_model(trained_folder, tmp_path / name, name) for name in ("one", "two")]
    for folder in folders:
        (folder / "run.json").write_text(json.dumps({"name": folder.name}))
    pusher.push(folders[0], repo_id)
    first = on_the_hub(hub, repo_id)
    pusher.push(folders[1], repo_id)
    repo = hub.repos["model", repo_id]
    second = repo["refs"]["refs/heads/main"]
    repo["refs"]["refs/heads/main"] = repo["commits"][second]["parent"]
    hub.log.clear()
    hub.fault(STEPS["tree"], "slow", delay=1)

    def move():
        wait_for(lambda: any("/revision/" in request["path"] for request in hub.log))
        repo["refs"]["refs/heads/main"] = second

    mover = threading.Thread(target=move)
    mover.start()
    answer = pull(repo_id=repo_id)
    mover.join()
    assert "error" not in answer
    assert contents(tmp_path / "model") == first


def wait_for(is_so):
    for _ in range(6_000):
        if is_so():
            return
        time.sleep(0.01)
    raise TimeoutError


# Faults


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "fault",
    [
        {"action": "status", "status": 503},
        {"action": "status", "status": 500},
        {"action": "status", "status": 429},
        {"action": "drop", "after_bytes": 0},
        {"action": "truncate", "after_bytes": 100},
        {"action": "drop", "after_bytes": None},
    ],
    ids=["503", "500", "429", "cut-at-start", "cut-in-the-middle", "answer-lost"],
)
def test_fault_that_passes_is_survived(hub, pull, repo_id, tmp_path, step, fault):
    hub.fault(STEPS[step], **fault)
    assert_pulled(hub, repo_id, tmp_path / "model", pull())
    assert hub.faults[0]["hits"] == 1


# hf_xet goes on for minutes.
SLOW = pytest.param("xet", "weights", marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("pusher", "step"),
    [*(("lfs", step) for step in STEPS), *(("xet", step) for step in [*STEPS][:-1]), SLOW],
    indirect=["pusher"],
)
@pytest.mark.parametrize("status", [503, 500])
def test_fault_that_stays_is_an_error_and_writes_nothing(
    hub, pull, repo_id, tmp_path, step, status
):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_text("an older one")
    hub.fault(STEPS[step], "status", times=-1, status=status)
    answer = pull()
    assert answer["error"].startswith(f"InputError: {repo_id}: cannot be fetched, and not all its ")
    assert str(status) in answer["error"]
    assert "What has arrived is kept: try again" in answer["error"]
    assert contents(tmp_path / "model") == {"model.safetensors": b"an older one"}
    hub.faults.clear()
    assert_pulled(hub, repo_id, tmp_path / "model", pull())


def test_hub_in_trouble_is_not_needed_where_the_cache_is_warm(hub, pull, repo_id, tmp_path):
    assert "error" not in pull()
    shutil.rmtree(tmp_path / "model")
    hub.fault(".*", "status", times=-1, status=503)
    assert_pulled(hub, repo_id, tmp_path / "model", pull())


def test_slow_network_is_waited_for(hub, pull, repo_id, tmp_path):
    hub.fault(".*", "slow", times=-1, delay=0.05, bps=1_000_000)
    assert_pulled(hub, repo_id, tmp_path / "model", pull())


def test_wrong_token_is_said_without_showing_it(pull, tmp_path):
    answer = pull(token="hf_wrong")
    assert "the Hub does not know the token that was sent" in answer["error"]
    assert "hf_wrong" not in answer["error"]
    assert contents(tmp_path / "model") == {}


@pytest.mark.parametrize("fits", [0, 20_000, 200_000])
def test_full_disk_of_the_cache_writes_nothing(hub, pull, repo_id, tmp_path, fits):
    answer = pull(disk=fits)
    assert "cannot be fetched, and not all its files are in the cache" in answer["error"]
    assert "space on the disk" in answer["error"]
    assert contents(tmp_path / "model") == {}
    assert_pulled(hub, repo_id, tmp_path / "model", pull())


def test_full_disk_of_the_folder_leaves_what_it_held(hub, pull, repo_id, tmp_path):
    assert "error" not in pull()
    older = {"model-00001-of-00001.safetensors": b"weights", "run.json": b"{}"}
    shutil.rmtree(tmp_path / "model")
    (tmp_path / "model").mkdir()
    for name, content in older.items():
        (tmp_path / "model" / name).write_bytes(content)
    answer = pull(disk=20_000)
    assert f"{tmp_path / 'model'}: could not be written: [Errno 27]" in answer["error"]
    assert "Free space on the disk or choose another folder" in answer["error"]
    assert contents(tmp_path / "model") == older
    assert_pulled(hub, repo_id, tmp_path / "model", pull())


def test_interrupted_pull_writes_nothing_and_goes_on(hub, pusher, repo_id, tmp_path):
    hub.fault(STEPS["weights"], "slow", delay=0.1, bps=50_000)
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import hf_attn.cli; hf_attn.cli.main()",
            "pull",
            repo_id,
            tmp_path / "model",
        ],
        env={**pusher.environment, "HF_HOME": str(tmp_path / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: any(fault["hits"] for fault in hub.faults))
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Interrupted. Run the same command again: what has arrived is kept." in errors
    assert "Traceback" not in errors
    assert contents(tmp_path / "model") == {}
    hub.faults.clear()
    hub.log.clear()
    answer = pusher.pull(tmp_path / "model", repo_id, cache=tmp_path / "home" / "hub")
    assert_pulled(hub, repo_id, tmp_path / "model", answer)
    again = [request["path"] for request in hub.log if request["method"] == "GET"]
    assert not [path for path in again if path.endswith("config.json")]


# What nobody may see


def test_signed_addresses_are_in_no_message_and_no_warning(hub, pusher, pull):
    log_before = len(pusher.log.read_text())
    hub.fault(STEPS["weights"], "truncate", after_bytes=100)
    hub.fault(STEPS["weights"], "status", times=-1, status=404)
    answer = pull()
    assert all(fault["hits"] for fault in hub.faults)
    assert any("sig=" in request["path"] for request in hub.log)
    assert "404" in answer["error"]
    written = answer["error"] + pusher.log.read_text()[log_before:]
    assert re.search("/(s3|xorb)/[0-9a-f]{64}", written)
    assert "sig=" not in written


# Random faults


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_random_faults_lose_and_mix_no_file(hub, pushers, trained_folder, tmp_path, seed):
    draw = np.random.default_rng(seed)
    pusher = pushers[["xet", "lfs"][seed % 2]]
    repo_id, folder, states = f"alice/random-pull-{seed}", tmp_path / "copy", [{}]
    for version in range(3):
        model = copy_model(trained_folder, tmp_path / str(version), f"{seed} {version} pull")
        (model / "run.json").write_text(json.dumps({"version": version}))
        hub.faults.clear()
        assert "error" not in pusher.push(model, repo_id)
        states.append(on_the_hub(hub, repo_id))
        for _ in range(draw.integers(1, 6)):
            hub.fault(
                STEPS[str(draw.choice(list(STEPS)))],
                str(draw.choice(["status", "drop", "truncate", "slow"])),
                times=int(draw.integers(1, 4)),
                skip=int(draw.integers(0, 2)),
                status=int(draw.choice([500, 502, 503, 504])),
                after_bytes=[None, 0, 100, 5000][draw.integers(4)],
                delay=0.1,
            )
        for _ in range(8):
            answer = pusher.pull(folder, repo_id, cache=tmp_path / "cache")
            assert contents(folder) in states[-2:], "mixed files"
            if "error" not in answer:
                break
        assert "error" not in answer, "lost"
        # Where the Hub cannot be reached the older commit of the cache is taken, whole.
        hub.faults.clear()
        assert "error" not in pusher.pull(folder, repo_id, cache=tmp_path / "cache")
        assert contents(folder) == states[-1]
