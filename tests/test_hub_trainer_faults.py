"""Pushes of a training that fail: what is told, what is kept, and what goes on."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hub_clients import TRAINED, commits, environment, held, run_client, run_command
from trained import keyword_texts

TOKEN = "hf_alice_write"
SCRIPT = Path(__file__).parents[1] / "scripts" / "train.py"


@pytest.fixture
def texts(tmp_path):
    rows = keyword_texts(120)
    lines = [
        json.dumps({"text": text, "label": label})
        for text, label in zip(rows["text"], rows["label"], strict=True)
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "train.jsonl"


SMALL = ["--hidden-size", "8", "--head-dim", "4", "--num-train-epochs", "2", "--push-to-hub"]


def test_failed_push_is_reported_with_what_to_type_and_the_model_is_kept(hub, texts, tmp_path):
    hub.fault("POST .*/alice/refused/commit/", status=403, times=-1)
    arguments = ["--hub-model-id", "alice/refused", "--hub-token", TOKEN, *SMALL]
    done = run_command(
        hub, tmp_path / "home", "train", texts, "--output-dir", tmp_path / "m", *arguments,
        token=None,
    )  # fmt: skip
    hub.faults.clear()
    assert done.returncode == 2
    assert "Trained on" in done.stdout
    *_, last = done.stderr.splitlines()
    assert f"error: The model is trained and saved in {tmp_path / 'm'}, but it is not" in last
    retry = f"hf-attn push {tmp_path / 'm'} alice/refused"
    assert last.endswith(f"To try again: {retry}")
    assert "Traceback" not in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    again = run_command(hub, tmp_path / "home", *retry.split()[1:])
    assert again.returncode == 0, again.stderr
    (commit,) = commits(hub, "alice/refused").values()
    assert held(hub, commit).keys() == TRAINED


def test_push_that_failed_on_the_way_is_reported_though_the_last_one_went_well(
    hub, texts, tmp_path
):
    hub.fault("POST .*/alice/lossy/commit/", status=403, times=1)
    arguments = ["--hub-model-id", "alice/lossy", *SMALL]
    done = run_command(
        hub, tmp_path / "home", "train", texts, "--output-dir", tmp_path / "m", *arguments
    )
    assert done.returncode == 2
    assert "on the Hub, but of the saves before it are not: Training in progress, epoch 1." in (
        done.stderr
    )
    titles = [commit["title"] for commit in commits(hub, "alice/lossy").values()]
    assert titles == ["Training in progress, epoch 2", "End of training"]


def test_what_would_be_refused_is_said_before_anything_is_read(hub, tmp_path):
    asked = [
        (None, "alice/x", {}, "expected an access token, found none"),
        ("wrong", "alice/x", {}, "the token is not valid"),
        ("hf_alice_read", "alice/x", {}, "expected a token with write access"),
        (TOKEN, "bob/x", {}, "which starts with alice/ or acme/"),
        (TOKEN, "a b/x", {}, "expected a repository as user/name, got 'a b/x'"),
        (TOKEN, "alice/x", {"hub_revision": "0" * 40}, "expected a branch, got the commit"),
        (TOKEN, "alice/there", {"hub_private_repo": True}, "expected a private repository"),
    ]
    printed = run_client(
        hub,
        tmp_path / "home",
        """
        import json, os, sys
        from huggingface_hub import create_repo
        from hf_attn import InputError, train
        create_repo("alice/there", token="hf_alice_write")
        for token, name, options, _ in json.loads(sys.argv[1]):
            os.environ |= {"HF_TOKEN": token or ""}
            try:
                train("none.csv", sys.argv[2], push_to_hub=True, hub_model_id=name, **options)
            except InputError as error:
                print(error)
        """,
        json.dumps(asked),
        tmp_path / "m",
        token=None,
    )
    lines = printed.splitlines()
    assert len(lines) == len(asked)
    for line, (token, _, _, message) in zip(lines, asked, strict=True):
        assert message in line
        assert not token or token not in line
    assert not (tmp_path / "m").exists()
    assert ("model", "bob/x") not in hub.repos


@pytest.mark.slow
def test_hub_that_has_trouble_all_the_time_ends_in_an_error(hub, texts, tmp_path):
    hub.fault("POST .*/alice/broken/commit/", status=500, times=-1)
    arguments = ["--hub-model-id", "alice/broken", "--hub-strategy", "end", *SMALL]
    done = run_command(
        hub, tmp_path / "home", "train", texts, "--output-dir", tmp_path / "m", *arguments
    )
    hub.faults.clear()
    assert done.returncode == 2
    assert f"To try again: hf-attn push {tmp_path / 'm'} alice/broken" in done.stderr
    assert commits(hub, "alice/broken") == {}


# A training of three epochs that something happens to after the second.
INTERRUPTED = """
    import os, signal, sys
    from trained import TINY, keyword_data
    from transformers import TrainerCallback
    from hf_attn import train
    import hf_attn.trainer

    class Happens(TrainerCallback):
        def on_epoch_begin(self, args, state, control, **_):
            if state.epoch and state.epoch >= 2:
                if sys.argv[3] == "ctrl-c":
                    os.kill(os.getpid(), signal.SIGINT)
                raise RuntimeError("the third epoch broke")

    train(
        keyword_data(), sys.argv[1], **TINY, callbacks=[Happens()],
        push_to_hub=True, hub_model_id=sys.argv[2],
    )
"""


def run_interrupted(hub, tmp_path, repo_id, what):
    code = textwrap.dedent(INTERRUPTED)
    return subprocess.run(
        [sys.executable, "-c", code, tmp_path / "m", repo_id, what],
        env=environment(hub, tmp_path / "home"),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_failed_push_is_told_where_the_training_itself_fails(hub, tmp_path):
    hub.fault("POST .*/alice/both/commit/", status=403, times=1)
    done = run_interrupted(hub, tmp_path, "alice/both", "error")
    assert "RuntimeError: the third epoch broke" in done.stderr
    assert "alice/both: 'Training in progress, epoch 1' is not on the Hub:" in done.stderr
    assert f"To push it: hf-attn push {tmp_path / 'm' / 'checkpoint-4'} alice/both" in done.stderr
    titles = [commit["title"] for commit in commits(hub, "alice/both").values()]
    assert titles == ["Training in progress, epoch 2"]
    assert list((tmp_path / "m").glob(".pushing-*")) == []


def test_failed_push_is_told_where_what_follows_the_training_fails(hub, tmp_path):
    hub.fault("POST .*/alice/after/commit/", status=403, times=1)
    printed = run_client(
        hub,
        tmp_path / "home",
        """
        import logging, sys
        from trained import TINY, keyword_data
        import hf_attn.training

        def fail(*_, **__):
            raise OSError("the evaluation broke")

        logging.basicConfig(stream=sys.stdout)
        hf_attn.training.evaluate_texts = fail
        try:
            hf_attn.training.train(
                keyword_data(), sys.argv[1], **TINY, push_to_hub=True, hub_model_id="alice/after"
            )
        except OSError as error:
            print(error)
        """,
        tmp_path / "m",
    )
    assert "the evaluation broke" in printed
    assert "alice/after: 'Training in progress, epoch 1' is not on the Hub:" in printed


def test_interrupted_training_does_not_wait_and_names_what_was_not_sent(hub, tmp_path):
    hub.fault("POST .*/alice/stopped/commit/", "slow", delay=60, times=-1)
    done = run_interrupted(hub, tmp_path, "alice/stopped", "ctrl-c")
    hub.faults.clear()
    assert done.returncode in (-signal.SIGINT, 1), done.stderr
    said = "not sent yet, and perhaps not on the Hub: Training in progress, epoch 1, Training in"
    assert f"alice/stopped: {said} progress, epoch 2." in done.stderr
    assert list((tmp_path / "m").glob(".pushing-*")) == []


def test_save_that_cannot_be_copied_for_its_push_does_not_end_the_training(hub, tmp_path):
    printed = run_client(
        hub,
        tmp_path / "home",
        """
        import errno, sys
        from trained import TINY, keyword_data
        import hf_attn.trainer
        from hf_attn import train
        from hf_attn.training_run import PushError

        write, calls = hf_attn.trainer.write_model, []

        def write_once_not(*arguments):
            calls.append(1)
            if len(calls) == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
            write(*arguments)

        hf_attn.trainer.write_model = write_once_not
        try:
            train(keyword_data(), sys.argv[1], **TINY, push_to_hub=True, hub_model_id="alice/full")
        except PushError as error:
            print(error)
        """,
        tmp_path / "m",
    )
    assert "of the saves before it are not: Training in progress, epoch 2. The first error:" in (
        printed
    )
    assert "No space left on device" in printed
    titles = [commit["title"] for commit in commits(hub, "alice/full").values()]
    assert titles == [
        "Training in progress, epoch 1", "Training in progress, epoch 3", "End of training",
    ]  # fmt: skip
    assert list((tmp_path / "m").glob(".pushing-*")) == []


def test_two_processes_push_each_save_once(hub, texts, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2",
         "--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0",
         SCRIPT, texts, "--output_dir", tmp_path / "m", "--hub-model-id", "alice/two", *SMALL],
        env=environment(hub, tmp_path / "home"),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = commits(hub, "alice/two").values()
    assert [commit["title"] for commit in made] == [
        "Training in progress, epoch 1", "Training in progress, epoch 2", "End of training",
    ]  # fmt: skip
    for commit in made:
        assert held(hub, commit).keys() == TRAINED
    assert json.loads(held(hub, commit)["run.json"])["processes"] == 2
    saved = (tmp_path / "m" / "model.safetensors").read_bytes()
    assert held(hub, commit)["model.safetensors"] == saved


def test_page_that_was_changed_on_the_hub_is_kept_by_all_later_pushes(hub, texts, tmp_path):
    there = ["--hub-model-id", "alice/page", "--output-dir", tmp_path / "m", *SMALL]
    first = run_command(hub, tmp_path / "home", "train", texts, *there, "--hub-strategy", "end")
    assert first.returncode == 0, first.stderr
    page = "---\nlicense: mit\n---\n\n# Tickets of our shop\n"
    run_client(
        hub,
        tmp_path / "home",
        """
        import sys
        from huggingface_hub import upload_file
        upload_file(
            repo_id="alice/page", path_in_repo="README.md", path_or_fileobj=sys.argv[1].encode()
        )
        """,
        page,
    )
    again = run_command(
        hub, tmp_path / "home", "train", texts, *there, "--overwrite", "--seed", "1"
    )
    assert again.returncode == 0, again.stderr
    *_, edit, _, _, last = commits(hub, "alice/page").values()
    assert held(hub, edit)["README.md"].decode() == page
    assert held(hub, last)["README.md"].decode() == page
    assert (
        held(hub, last)["model.safetensors"] == (tmp_path / "m" / "model.safetensors").read_bytes()
    )
    # One's own page in the folder is meant to be sent.
    (tmp_path / "m" / "README.md").write_text("# Tickets, second edition\n")
    pushed = run_command(hub, tmp_path / "home", "push", tmp_path / "m", "alice/page")
    assert pushed.returncode == 0, pushed.stderr
    *_, last = commits(hub, "alice/page").values()
    assert held(hub, last)["README.md"].decode() == "# Tickets, second edition\n"
