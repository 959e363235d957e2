"""Pushing, with the real client against a loopback Hub: every route, and every way to fail."""

import json
import re
import signal
import subprocess
import sys
import threading
import time

import hub_clients
import numpy as np
import pytest
from hub_clients import held
from pusher import PAGE, Pusher, copy_model, page

from hf_attn.card_page import CARD_MARK
from hf_attn.hub_files import contents_to_push

# What a push asks of the Hub, in its order; an upload goes one way or the other.
STEPS = {
    "read": "GET .*/revision/",
    "create": "POST /api/repos/create",
    "preupload": "POST .*/preupload/",
    "upload": "PUT /s3/|POST /v1/xorbs",
    "validate": "POST /api/validate-yaml",
    "commit": "POST .*/commit/",
}


@pytest.fixture
def repo_id(request):
    return "alice/" + re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:90]


@pytest.fixture
def folder(trained_folder, tmp_path, request):
    """A trained folder whose weights no other test has sent."""
    return copy_model(trained_folder, tmp_path / "model", request.node.name)


def commits(hub, repo_id, ref="refs/heads/main"):
    """The commits of a branch, the newest first; none of a repository that does not exist."""
    if ref not in hub.repos.get(("model", repo_id), {"refs": ()})["refs"]:
        return []
    return list(hub_clients.commits(hub, repo_id, ref).values())[::-1]


def local(folder, card=PAGE):
    return {
        one.path: one.source if isinstance(one.source, bytes) else one.source.read_bytes()
        for one in contents_to_push(folder, card=card)
    }


def wait_for_request(hub, path):
    """The server notes a request when it has answered it, the client may be further by then."""
    for _ in range(12_000):
        if any(path in request["path"] for request in hub.log):
            return
        time.sleep(0.01)
    raise TimeoutError(path)


def assert_published(hub, repo_id, folder, answer):
    """One commit was made, it holds all files, and the answer names it."""
    assert "error" not in answer, answer
    (commit,) = commits(hub, repo_id)
    assert held(hub, commit) == local(folder)
    assert answer["oid"] == hub.repos["model", repo_id]["refs"]["refs/heads/main"]


# Routes


def test_push_makes_one_commit_with_all_files(hub, pusher, folder, repo_id):
    answer = pusher.push(folder, repo_id)
    assert_published(hub, repo_id, folder, answer)
    assert answer["files"] == list(local(folder))
    assert answer["num_bytes"] == sum(map(len, local(folder).values()))
    assert answer["commit_url"] == f"{hub.endpoint}/{repo_id}/commit/{answer['oid']}"
    assert answer["notes"] == []


def test_second_push_of_the_same_files_sends_nothing(hub, pusher, folder, repo_id):
    first = pusher.push(folder, repo_id)
    wait_for_request(hub, "/commit/")
    hub.log.clear()
    second = pusher.push(folder, repo_id)
    assert second["files"] == []
    assert second["oid"] == first["oid"]
    wait_for_request(hub, "/revision/")
    # No byte goes over the wire: all that is asked is what the branch holds.
    assert [(one["method"], one["bytes_in"]) for one in hub.log] == [("GET", 0)]
    assert len(commits(hub, repo_id)) == 1


def test_second_push_sends_only_what_changed(hub, pusher, folder, repo_id):
    pusher.push(folder, repo_id)
    answer = pusher.push(folder, repo_id, card=page("Another page"), message="A better page")
    assert answer["files"] == ["README.md"]
    assert held(hub, commits(hub, repo_id)[0]) == local(folder, card=page("Another page"))
    assert commits(hub, repo_id)[0]["title"] == "A better page"


def test_private_push_makes_a_private_repository(hub, pusher, folder, repo_id):
    assert "error" not in pusher.push(folder, repo_id, private=True)
    assert hub.repos["model", repo_id]["private"]


def test_private_push_to_a_public_repository_is_refused(hub, pusher, folder, repo_id):
    pusher.push(folder, repo_id)
    answer = pusher.push(folder, repo_id, private=True, card=page("Secret"))
    assert "expected a private repository, got one that exists and is public" in answer["error"]
    assert len(commits(hub, repo_id)) == 1


def test_push_to_an_organization(hub, pusher, folder, repo_id):
    repo_id = repo_id.replace("alice/", "acme/")
    assert_published(hub, repo_id, folder, pusher.push(folder, repo_id))


def test_push_to_a_branch_makes_it_and_leaves_main(hub, pusher, folder, repo_id):
    answer = pusher.push(folder, repo_id, revision="dev")
    assert commits(hub, repo_id) == []
    assert held(hub, commits(hub, repo_id, "refs/heads/dev")[0]) == local(folder)
    assert pusher.push(folder, repo_id, revision="dev")["oid"] == answer["oid"]


def test_push_as_a_pull_request_leaves_main(hub, pusher, folder, repo_id):
    answer = pusher.push(folder, repo_id, create_pr=True)
    assert answer["pr_url"] == f"{hub.endpoint}/{repo_id}/discussions/1"
    assert commits(hub, repo_id) == []
    assert held(hub, commits(hub, repo_id, "refs/pr/1")[0]) == local(folder)


def test_push_to_a_tag_is_refused(hub, pusher, folder, repo_id):
    answer = pusher.push(folder, repo_id)
    hub.repos["model", repo_id]["refs"]["refs/tags/v1"] = answer["oid"]
    answer = pusher.push(folder, repo_id, revision="v1", card=page("Other"))
    assert "no branch 'v1'. A tag or a commit cannot be pushed to" in answer["error"]
    assert len(commits(hub, repo_id)) == 1


def test_weights_of_an_older_layout_are_removed_in_the_same_commit(hub, pusher, folder, repo_id):
    pusher.push(folder, repo_id)
    shard = "model-00001-of-00001.safetensors"
    (folder / "model.safetensors").rename(folder / shard)
    index = {"metadata": {}, "weight_map": {"weight": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    answer = pusher.push(folder, repo_id)
    assert answer["deleted"] == ["model.safetensors"]
    assert len(commits(hub, repo_id)) == 2
    assert held(hub, commits(hub, repo_id)[0]) == local(folder)


def test_folded_model_is_one_commit_too(hub, pusher, folded_folder, tmp_path, repo_id):
    folded = copy_model(folded_folder, tmp_path / "folded", repo_id)
    assert_published(hub, repo_id, folded, pusher.push(folded, repo_id))
    assert pusher.push(folded, repo_id)["files"] == []


def test_page_of_a_folded_model_that_was_changed_on_the_hub_is_kept(
    hub, pusher, folded_folder, tmp_path, repo_id
):
    folded = copy_model(folded_folder, tmp_path / "folded", repo_id)
    pusher.push(folded, repo_id, card=page("Changed by hand"))
    (folded / "run.json").write_text("{}")
    answer = pusher.push(folded, repo_id, card=page("Made") + CARD_MARK)
    assert answer["files"] == ["run.json"]
    assert "README.md was changed on the Hub and is kept" in answer["notes"][0]
    (folded / "README.md").write_text(page("Changed by hand"))
    assert held(hub, commits(hub, repo_id)[0]) == local(folded, card=page("Changed by hand"))


@pytest.mark.parametrize("first", ["plain", "folded"])
def test_plain_and_folded_models_do_not_replace_each_other(
    hub, pusher, folder, folded_folder, tmp_path, repo_id, first
):
    folded = copy_model(folded_folder, tmp_path / "folded", repo_id)
    order = [folder, folded] if first == "plain" else [folded, folder]
    types = {"plain": "'hf_attn'", "folded": "'hf_attn_folded'"}
    assert_published(hub, repo_id, order[0], pusher.push(order[0], repo_id))
    answer = pusher.push(order[1], repo_id)
    assert f"got one with a model of type {types[first]}. Choose another" in answer["error"]
    assert answer["error"].endswith("nothing in it was changed.")
    assert len(commits(hub, repo_id)) == 1


# Faults that pass


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "fault",
    [
        {"action": "status", "status": 503},
        {"action": "status", "status": 500},
        {"action": "status", "status": 429, "headers": {"Retry-After": "7"}},
        {"action": "drop", "after_bytes": 0},
        {"action": "drop", "after_bytes": 100},
        {"action": "drop", "after_bytes": None},
    ],
    ids=["503", "500", "429", "cut-at-start", "cut-in-the-middle", "answer-lost"],
)
def test_fault_that_passes_is_survived(hub, pusher, folder, repo_id, step, fault):
    hub.fault(STEPS[step], **fault)
    assert_published(hub, repo_id, folder, pusher.push(folder, repo_id))


def test_hub_is_waited_for_as_long_as_it_asks(hub, pusher, folder, repo_id):
    hub.fault(STEPS["commit"], "status", status=429, headers={"Retry-After": "7"})
    assert pusher.push(folder, repo_id)["waits"] == [7.0]


def test_lost_answer_of_the_commit_is_said_and_makes_no_second_commit(hub, pusher, folder, repo_id):
    hub.fault(STEPS["commit"], "drop", times=-1)
    answer = pusher.push(folder, repo_id)
    assert_published(hub, repo_id, folder, answer)
    assert answer["notes"][-1] == "The commit had been made; only its answer was lost."
    assert sum("/commit/" in request["path"] for request in hub.log) == 1


def test_lost_answer_of_a_pull_request_opens_no_second_one(hub, pusher, folder, repo_id):
    pusher.push(folder, repo_id)
    pusher.push(folder, repo_id, create_pr=True, card=page("Another"))
    hub.fault(STEPS["commit"], "drop")
    answer = pusher.push(folder, repo_id, create_pr=True, card=page("Another"))
    assert answer["pr_url"] == f"{hub.endpoint}/{repo_id}/discussions/2"
    assert len(hub.repos["model", repo_id]["threads"]) == 2


def test_slow_network_is_waited_for(hub, pusher, folder, repo_id):
    hub.fault(".*", "slow", times=-1, delay=0.05, bps=1_000_000)
    assert_published(hub, repo_id, folder, pusher.push(folder, repo_id))


# Faults that stay


@pytest.mark.parametrize("step", ["read", "create", "preupload", "validate", "commit"])
@pytest.mark.parametrize("status", [503, 500])
def test_fault_that_stays_is_an_error_and_publishes_nothing(
    hub, pusher, folder, repo_id, step, status
):
    hub.fault(STEPS[step], "status", times=-1, status=status)
    answer = pusher.push(folder, repo_id)
    assert f"the Hub has trouble: HTTP {status} (injected fault)" in answer["error"]
    assert answer["error"].endswith("Run the same command again later. Nothing was published.")
    assert commits(hub, repo_id) == []
    hub.faults.clear()
    assert_published(hub, repo_id, folder, pusher.push(folder, repo_id))


# hf_xet goes on for minutes.
@pytest.mark.parametrize(
    "pusher", [pytest.param("xet", marks=pytest.mark.slow), "lfs"], indirect=True
)
def test_upload_that_never_succeeds_publishes_nothing(hub, pusher, folder, repo_id):
    hub.fault(STEPS["upload"], "drop", times=-1, after_bytes=1000)
    answer = pusher.push(folder, repo_id)
    assert answer["error"].startswith(f"InputError: {repo_id}: ")
    assert answer["error"].endswith("Nothing was published.")
    assert commits(hub, repo_id) == []
    hub.faults.clear()
    assert_published(hub, repo_id, folder, pusher.push(folder, repo_id))


def test_storage_that_refuses_is_not_taken_for_the_token_or_the_connection(
    hub, pusher, folder, repo_id
):
    hub.fault(STEPS["upload"], "status", times=-1, status=403)
    answer = pusher.push(folder, repo_id)
    assert "the Hub's storage of large files refuses: " in answer["error"]
    assert "403" in answer["error"]
    assert answer["error"].endswith("Run the same command again later. Nothing was published.")
    assert "sig=" not in answer["error"] + pusher.log.read_text()
    assert commits(hub, repo_id) == []


def test_hub_that_is_gone_after_a_lost_answer_leaves_the_commit_unknown(
    hub, pusher, folder, repo_id
):
    hub.fault(STEPS["commit"], "drop")
    hub.fault("GET .*/commits/", "drop", times=-1, after_bytes=0)
    answer = pusher.push(folder, repo_id)
    assert "Whether the commit was made is not known" in answer["error"]
    hub.faults.clear()
    again = pusher.push(folder, repo_id)
    assert again["files"] == []
    assert_published(hub, repo_id, folder, again)


# Two writers


def test_commit_that_came_first_is_kept_and_said(hub, pusher, folder, repo_id):
    pusher.push(folder, repo_id, card=page("Before"))
    repo = hub.repos["model", repo_id]
    hub.log.clear()
    hub.fault(STEPS["commit"], "slow", delay=1)

    def commit_first():
        wait_for_request(hub, "validate-yaml")
        head = repo["refs"]["refs/heads/main"]
        files = {**repo["commits"][head]["files"], "notes.txt": hub.blob(b"theirs")}
        hub.commit(repo, "refs/heads/main", files, "theirs", "", "bob", head)

    other = threading.Thread(target=commit_first)
    other.start()
    answer = pusher.push(folder, repo_id)
    other.join()
    assert "error" not in answer
    assert re.fullmatch(
        "Someone else's commit [0-9a-f]{8} came first; this one goes on top of it.",
        answer["notes"][-1],
    )
    assert held(hub, commits(hub, repo_id)[0]) == {**local(folder), "notes.txt": b"theirs"}
    assert len(commits(hub, repo_id)) == 3


def test_two_writers_at_once_never_mix_their_models(hub, pushers, trained_folder, tmp_path):
    repo_id = "alice/two-writers"
    folders = {name: copy_model(trained_folder, tmp_path / name, name) for name in pushers}
    for folder in folders.values():
        (folder / "run.json").write_text(json.dumps({"folder": str(folder)}))
    pushers["xet"].push(trained_folder, repo_id)
    hub.fault(STEPS["commit"], "slow", times=2, delay=0.5)
    answers = {}
    threads = [
        threading.Thread(
            target=lambda name=name: answers.update(
                {name: pushers[name].push(folders[name], repo_id)}
            )
        )
        for name in pushers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not [answer for answer in answers.values() if "error" in answer]
    states = [held(hub, commit) for commit in commits(hub, repo_id)[:-1]]
    assert len(states) == 2
    assert all(state in map(local, folders.values()) for state in states)


# Tokens and names


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("hf_wrong", "the token is not valid. Log in with `hf auth login --force`"),
        ("hf_alice_read", "the token may not write here. Take one with write access, of 'alice'"),
        ("hf_bob_write", "the token may not write here. Take one with write access, of 'alice'"),
        ("hf_with a space", "got a text with characters that no token has"),
        ("", "expected an access token, found none. Log in with `hf auth login`"),
    ],
    ids=["wrong", "read-only", "foreign", "broken", "missing"],
)
@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
def test_token_that_cannot_write_is_named_and_publishes_nothing(
    hub, pusher, folder, repo_id, token, message, exists
):
    if exists:
        pusher.push(folder, repo_id)
    answer = pusher.push(folder, repo_id, token=token, card=page("Other"))
    assert answer["error"].startswith("InputError: ")
    assert message in answer["error"]
    assert not token or token not in answer["error"]
    assert len(commits(hub, repo_id)) == exists


def test_foreign_private_repository_is_not_shown(hub, pusher, folder, repo_id):
    pusher.push(folder, repo_id, private=True)
    answer = pusher.push(folder, repo_id, token="hf_bob_write", card=page("Other"))
    assert "the token may not write here" in answer["error"]
    assert len(commits(hub, repo_id)) == 1


def test_gated_repository_of_ones_own_is_pushed_to(hub, pusher, folder, repo_id):
    pusher.push(folder, repo_id)
    hub.repos["model", repo_id]["gated"] = "manual"
    assert pusher.push(folder, repo_id, card=page("Other"))["files"] == ["README.md"]


def test_name_that_a_model_of_another_type_has_is_refused(hub, pusher, folder, repo_id):
    pusher.push(folder, repo_id)
    repo = hub.repos["model", repo_id]
    head = repo["refs"]["refs/heads/main"]
    files = {"config.json": hub.blob(b'{"model_type": "bert"}')}
    hub.commit(repo, "refs/heads/main", files, "theirs", "", "alice", head)
    answer = pusher.push(folder, repo_id)
    assert "got one with a model of type 'bert'. Choose another name" in answer["error"]
    assert len(commits(hub, repo_id)) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repo_id": "name"}, "expected a repository as user/name, got 'name'. Put your user name"),
        ({"repo_id": "alice/a/b"}, "expected a repository as user/name, got 'alice/a/b'"),
        ({"repo_id": "alice/a--b"}, "expected a repository as user/name, got 'alice/a--b'"),
        ({"create_pr": True, "revision": "dev"}, "expected --create-pr without --revision"),
        ({"revision": "0" * 40}, "expected a branch, got the commit 0000"),
    ],
)
def test_target_that_cannot_be_is_refused_before_anything_is_sent(
    hub, pushers, folder, options, message
):
    hub.log.clear()
    answer = pushers["xet"].push(folder, **{"repo_id": "alice/target", **options})
    assert message in answer["error"]
    assert hub.log == []


def test_card_that_the_hub_refuses_publishes_nothing(hub, pusher, folder, repo_id):
    answer = pusher.push(folder, repo_id, card="---\ntags: [1, 2]\n---\n")
    assert "Invalid metadata in README.md." in answer["error"]
    assert commits(hub, repo_id) == []


# No network, no disk, no patience


def test_no_network_is_said(hub, folder, tmp_path):
    pusher = Pusher(hub, tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    answer = pusher.push(folder, "alice/x")
    pusher.close()
    assert "http://127.0.0.1:9 does not answer: ConnectError" in answer["error"]
    assert "Check the connection and run the same command again." in answer["error"]
    assert answer["waits"] == [1.0, 2.0, 4.0, 8.0]


def test_offline_mode_is_said(hub, folder, tmp_path):
    pusher = Pusher(hub, tmp_path, HF_HUB_OFFLINE="1")
    answer = pusher.push(folder, "alice/x")
    pusher.close()
    assert "got offline mode. Unset HF_HUB_OFFLINE" in answer["error"]


# Writes fail in the middle, as on a full disk; the first argument is how many bytes fit.
PUSH_ON_A_FULL_DISK = """
import resource, signal, sys
from hf_attn.hub import push_folder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    push_folder(sys.argv[1], sys.argv[2], card=sys.argv[3], sleep=lambda seconds: None)
    print("pushed")
except Exception as error:
    print(type(error).__name__, error)
"""


def test_full_disk_publishes_all_or_nothing(hub, pusher, folder, repo_id, tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", PUSH_ON_A_FULL_DISK, folder, repo_id, PAGE],
        env={
            **pusher.environment,
            "HF_HOME": str(tmp_path / "home"),
            "HF_TOKEN": "hf_alice_write",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    if process.stdout == "pushed\n":
        assert held(hub, commits(hub, repo_id)[0]).keys() == local(folder).keys()
    else:
        assert "the client cannot write to its cache: " in process.stdout
        assert process.stdout.startswith("InputError")
        assert commits(hub, repo_id) == []


@pytest.mark.parametrize("step", ["upload", "commit"])
def test_interrupted_push_publishes_all_or_nothing_and_can_be_repeated(
    hub, pusher, folder, repo_id, step
):
    hub.fault(STEPS[step], "slow", delay=3)
    process = subprocess.Popen(
        [sys.executable, "-c", "import hf_attn.cli; hf_attn.cli.main()", "push", folder, repo_id],
        env={**pusher.environment, "HF_TOKEN": "hf_alice_write"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    before = {"upload": "preupload", "commit": "validate-yaml"}[step]
    wait_for_request(hub, before)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Interrupted. Run the same command again" in errors
    assert "Traceback" not in errors
    # The Hub may still be about to carry out what it was sent.
    again = pusher.push(folder, repo_id)
    assert_published(hub, repo_id, folder, again)


# What nobody may see


def test_no_token_is_in_answers_logs_caches_or_repositories(hub, pushers):
    assert any(pusher.answers for pusher in pushers.values())
    places = [file for pusher in pushers.values() for file in pusher.home.rglob("*")]
    places += [pusher.log for pusher in pushers.values()]
    places += [hub.root / "blobs", hub.root / "repos", hub.root / "lfs"]
    found = {
        str(file)
        for place in places
        for file in (place.rglob("*") if place.is_dir() else [place])
        if file.is_file() and re.search(rb"hf_(alice|bob|wrong|with)", file.read_bytes())
    }
    assert not found
    assert not any(
        re.search("hf_(alice|bob|wrong|with)", answer)
        for pusher in pushers.values()
        for answer in pusher.answers
    )


# Random faults


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_random_faults_lose_and_mix_no_file(hub, pushers, trained_folder, tmp_path, seed):
    draw = np.random.default_rng(seed)
    pusher = pushers[["xet", "lfs"][seed % 2]]
    repo_id = f"alice/random-{seed}"
    states = [None]
    for version in range(3):
        folder = copy_model(trained_folder, tmp_path / str(version), f"{seed} {version}")
        (folder / "run.json").write_text(json.dumps({"version": version}))
        states.append(local(folder))
        hub.faults.clear()
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
            answer = pusher.push(folder, repo_id)
            made = commits(hub, repo_id)
            assert all(held(hub, commit) in states for commit in made), "mixed files"
            if "error" not in answer:
                break
        assert "error" not in answer, "lost"
        assert held(hub, made[0]) == states[-1]
        assert len(made) == version + 1
