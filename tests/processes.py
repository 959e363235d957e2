"""Runs code in a Python process of its own, where nothing has been imported yet."""

import subprocess
import sys
import textwrap


def run_python(code, *arguments, without_package=False):
    """Gives what the code prints; it reads the arguments from `sys.argv[1:]`."""
    block = "import sys; sys.modules['hf_attn'] = None\n" if without_package else ""
    completed = subprocess.run(
        [sys.executable, "-W", "error", "-c", block + textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout
