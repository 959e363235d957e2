"""Pushes and pulls with the real client in a process of its own, as often as it is asked to."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
from safetensors.numpy import save_file

# The client's own waits between its attempts are cut short; hf_xet's are not.
_CHILD = """
import json, os, resource, sys, time
from pathlib import Path
wait = time.sleep
time.sleep = lambda seconds: wait(min(seconds, 0.01))
from huggingface_hub import constants
from hf_attn.fetching import pull
from hf_attn.hub import push_folder

def run(do, **job):
    if do == "push":
        return vars(push_folder(**job, sleep=waits.append))
    os.environ["HF_TOKEN"], constants.HF_HUB_CACHE = job["token"], job["cache"]
    resource.setrlimit(resource.RLIMIT_FSIZE, (job["disk"], resource.RLIM_INFINITY))
    try:
        files = pull(job["repo_id"], Path(job["folder"]), revision=job["revision"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, [resource.RLIM_INFINITY] * 2)
    return {"files": [path.name for path in files]}

for line in sys.stdin:
    waits = []
    try:
        answer = run(**json.loads(line))
    except Exception as error:
        texts = []
        while error is not None:
            texts.append(f"{type(error).__name__}: {error}")
            error = error.__cause__ or error.__context__
        answer = {"error": texts[0], "causes": texts[1:]}
    print("answer", json.dumps({**answer, "waits": waits}), flush=True)
"""

# The client passes the bytes of an LFS upload to httpx2 in a way that this will drop.
_WARNINGS = ["-W", "error", "-W", "ignore:Use 'content=:DeprecationWarning"]


def page(title):
    """A model card that the Hub takes without a warning."""
    return f"---\nlicense: apache-2.0\n---\n\n# {title}\n"


PAGE = page("A model")
_WEIGHT_BYTES = 300_000


def copy_model(source, target, name):
    """Copies a trained folder, with a page of somebody's and weights that only this name has."""
    shutil.copytree(source, target)
    values = np.random.default_rng(list(name.encode())).bytes(_WEIGHT_BYTES)
    (target / "README.md").write_text(PAGE)
    save_file({"weight": np.frombuffer(values, np.uint8)}, target / "model.safetensors")
    return target


class Pusher:
    """A process that pushes and pulls.

    Args:
        hub: The server.
        folder: Where the process keeps its cache and its log.
        variables: More of its environment.
    """

    def __init__(self, hub, folder, **variables):
        self.home, self.log, self.answers = folder / "home", folder / "log", []
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_VERBOSITY": "debug",
            **variables,
        }
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, *_WARNINGS, "-c", _CHILD],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def push(self, folder, repo_id, *, token="hf_alice_write", card=PAGE, **options):
        """Gives the fields of the result and the waits, or `error` and its `causes`."""
        job = {"folder": str(folder), "repo_id": repo_id, "token": token, "card": card, **options}
        return self._run({"do": "push", **job})

    def pull(self, folder, repo_id, *, cache, token="", revision=None, disk=-1):
        """Gives the names of the files, or `error` and its `causes`.

        A file that is written may have so many bytes as `disk` says, as on a full disk.
        """
        job = {"folder": str(folder), "repo_id": repo_id, "cache": str(cache), "token": token}
        return self._run({"do": "pull", **job, "revision": revision, "disk": disk})

    def _run(self, job):
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        while not (line := self._process.stdout.readline()).startswith("answer "):
            assert line, self.log.read_text()
        self.answers.append(line)
        return json.loads(line.removeprefix("answer "))

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()
