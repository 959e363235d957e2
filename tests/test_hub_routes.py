"""What was pushed, by our command or the library, loads where this package is not installed."""

import json
import subprocess
import sys

import pytest
from hub_server import HubServer
from pusher import Pusher

from hf_attn.hub import PushResult
from hf_attn.push_view import lines_to_load, report_of_push

# The library's own push: every class for itself, each in a commit of its own.
PUSH_BY_THE_LIBRARY = """
import sys
import hf_attn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

AutoModelForSequenceClassification.from_pretrained(sys.argv[1]).push_to_hub("alice/library")
AutoTokenizer.from_pretrained(sys.argv[1]).push_to_hub("alice/library")
"""
LOAD_WITHOUT_THE_PACKAGE = """
import json, sys
sys.modules["hf_attn"] = None
text = "the barrel of crude said the market"
for lines in json.loads(sys.argv[1]):
    exec("\\n".join(lines))
    print("got", json.dumps(classify(text)[0]))
"""


@pytest.fixture(params=["xet", "lfs"])
def pusher(request, tmp_path_factory):
    variables = {} if request.param == "xet" else {"HF_HUB_DISABLE_XET": "1"}
    with HubServer(tmp_path_factory.mktemp("hub")) as hub:
        started = Pusher(hub, tmp_path_factory.mktemp("pusher"), **variables)
        started.hub = hub
        yield started
        started.close()


def run(code, *arguments, home, pusher):
    process = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**pusher.environment, "HF_HOME": str(home), "HF_TOKEN": "hf_alice_write"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def as_result(answer):
    return PushResult(**{name: value for name, value in answer.items() if name != "waits"})


def test_report_says_what_was_sent_and_how_to_load_it():
    result = PushResult(
        repo_id="alice/x",
        oid="0" * 40,
        commit_url="https://hub/alice/x/commit/0",
        files=("config.json", "model.safetensors"),
        deleted=("model-00001-of-00001.safetensors",),
        num_bytes=12_345,
        notes=("The commit failed: HTTP 503. Tried again.",),
    )
    assert report_of_push(result).splitlines() == [
        "The commit failed: HTTP 503. Tried again.",
        "Sent 2 files, 12,345 bytes, in one commit.",
        "Removed from it, as parts of an older model: model-00001-of-00001.safetensors.",
        "https://hub/alice/x/commit/0",
        "",
        "from transformers import pipeline",
        f'classify = pipeline("text-classification", "alice/x", revision="{"0" * 40}", '
        "trust_remote_code=True)",
    ]


def test_report_of_a_push_that_changed_nothing_says_so():
    result = PushResult(repo_id="alice/x", oid="0" * 40, commit_url="https://hub/alice/x/commit/0")
    assert report_of_push(result).startswith("Nothing changed: the Hub has these files already")


def test_report_of_an_adapter_loads_it_onto_its_base():
    result = PushResult(
        repo_id="alice/x",
        oid="0" * 40,
        commit_url="https://hub/alice/x/commit/0",
        files=("adapter_model.safetensors",),
        base="alice/base",
    )
    assert report_of_push(result).splitlines()[-4:] == [
        "from peft import AutoPeftModelForSequenceClassification",
        "from transformers import pipeline",
        'model = AutoPeftModelForSequenceClassification.from_pretrained("alice/x", '
        f'revision="{"0" * 40}", trust_remote_code=True)',
        'classify = pipeline("text-classification", model, tokenizer="alice/base", '
        "trust_remote_code=True)",
    ]


def test_every_route_loads_by_the_printed_lines_without_the_package(
    trained_folder, tmp_path, pusher
):
    from transformers import pipeline

    routes = [
        ("alice/public", {}),
        ("alice/private", {"private": True}),
        ("acme/organization", {}),
        ("alice/branch", {"revision": "dev"}),
        ("alice/pull-request", {"create_pr": True}),
    ]
    answers = [pusher.push(trained_folder, name, **options) for name, options in routes]
    results = [as_result(answer) for answer in answers]
    lines = [lines_to_load(result) for result in results]
    refs = pusher.hub.repos["model", "alice/public"]["refs"]
    refs["refs/tags/v1"] = results[0].oid
    lines.append([line.replace(results[0].oid, "v1") for line in lines[0]])
    run(PUSH_BY_THE_LIBRARY, trained_folder, home=tmp_path / "library", pusher=pusher)
    head = pusher.hub.repos["model", "alice/library"]["refs"]["refs/heads/main"]
    lines.append(
        [
            line.replace("alice/public", "alice/library").replace(results[0].oid, head)
            for line in lines[0]
        ]
    )
    printed = run(
        LOAD_WITHOUT_THE_PACKAGE, json.dumps(lines), home=tmp_path / "home", pusher=pusher
    )
    got = [
        json.loads(line.removeprefix("got "))
        for line in printed.splitlines()
        if line.startswith("got ")
    ]
    here = pipeline("text-classification", str(trained_folder))
    expected = here("the barrel of crude said the market")[0]
    assert got == [pytest.approx(expected)] * len(lines)
