"""Runs `push_folder` with the real client in a process of its own, as often as it is asked to."""

import json
import os
import subprocess
import sys

# The client's own waits between its attempts are cut short; hf_xet's are not.
_CHILD = """
import json, sys, time
wait = time.sleep
time.sleep = lambda seconds: wait(min(seconds, 0.01))
from hf_attn.hub import push_folder

for line in sys.stdin:
    waits = []
    try:
        answer = vars(push_folder(**json.loads(line), sleep=waits.append))
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


class Pusher:
    """A process that pushes.

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
