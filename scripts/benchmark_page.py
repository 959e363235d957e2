"""Puts the page of a model under load on this machine, and prints how long its answers took.

Each visitor has a session of its own and sends what a browser sends when the button is pressed, so
that a request reads a text for all tabs. It ends with exit code 1 at an error, or at an answer
about another text.
"""

from __future__ import annotations

import argparse
import importlib
import re
import socket
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import typer

from hf_attn.demo.server import start_page

TEXTS = (
    "oil prices rose after opec agreed to cut crude output",
    "net profit for the quarter rose to two mln dlrs or eleven cts per share",
    "wheat and corn exports fell in april the agriculture department said",
    "the bank of england raised interest rates",
    "shipping of wheat stopped after the strike",
)


def main() -> None:
    """Runs the load that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="folder that training wrote")
    parser.add_argument("--clients", type=int, default=5, help="visitors at the same time")
    parser.add_argument("--requests", type=int, default=20, help="texts that each asks for")
    options = parser.parse_args()

    for module in ("gradio", "hf_attn.demo.page"):
        importlib.import_module(module)
    started = time.perf_counter()
    page = start_page(options.model, host="127.0.0.1", port=_free_port())
    typer.echo(f"started in {time.perf_counter() - started:.1f} s after the imports")
    alone = _ask(page.local_url, "alone", options.requests)
    with ThreadPoolExecutor(options.clients) as pool:
        visits = [
            pool.submit(_ask, page.local_url, f"visitor{number}", options.requests)
            for number in range(options.clients)
        ]
        together = [seconds for visit in visits for seconds in visit.result()]
    page.close(verbose=False)
    _report("one visitor", alone)
    _report(f"{options.clients} visitors at once", together)


def _ask(address: str, name: str, requests: int) -> list[float]:
    """Gives the seconds until each answer of one visitor.

    Args:
        address: Of the page.
        name: A word of the visitor's own, so that no text comes twice.
        requests: How many texts to ask for.
    """
    seconds = []
    with httpx2.Client(base_url=address, timeout=60) as visitor:
        config = visitor.get("/config").json()
        (button,) = (one for one in config["dependencies"] if one["api_name"] == "read")
        values = {one["id"]: one["props"].get("value") for one in config["components"]}
        request = {
            "data": [values.get(part) for part in button["inputs"]],
            "fn_index": button["id"],
            "session_hash": name,
        }
        for number in range(requests):
            text = f"{TEXTS[number % len(TEXTS)]} {name} {number}"
            request["data"][0] = text
            started = time.perf_counter()
            answer = visitor.post(f"{config['api_prefix']}/run/predict", json=request)
            seconds.append(time.perf_counter() - started)
            answer.raise_for_status()
            words = re.findall(
                r"<button[^>]*>([^<]+)</button>", "".join(map(str, answer.json()["data"]))
            )
            if words[: len(text.split())] != text.split():
                raise SystemExit(f"expected an answer about {text!r}, got one about {words}")
    return seconds


def _report(name: str, seconds: list[float]) -> None:
    median, last = statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]
    typer.echo(
        f"{name}: {len(seconds)} answers, no error, median {1000 * median:.0f} ms, "
        f"95th percentile {1000 * last:.0f} ms"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
