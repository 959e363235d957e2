"""A pytest plugin that writes what became of each test, and how much each one asserted.

A common test that does not know a class often passes without having asserted anything. Counting
the assertions tells such a pass from a real one.
"""

import json
import os
import unittest
from collections import Counter
from functools import wraps
from pathlib import Path

import torch

# Where the record goes, set by scripts/conformance.py.
RECORD = "HF_ATTN_CONFORMANCE_RECORD"

_OUTCOMES = ("passed", "skipped", "failed")


class Recorder:
    """Collects one entry for each test: outcome, reasons of skips, and number of assertions."""

    def __init__(self):
        self.tests = {}
        self.errors = []
        self.assertions = Counter()
        self.running = None

    def count_calls(self, owner, name):
        """Count the calls of `owner.name` as assertions of the running test."""
        check = getattr(owner, name)

        @wraps(check)
        def counted(*args, **kwargs):
            self.assertions[self.running] += 1
            return check(*args, **kwargs)

        setattr(owner, name, counted)

    def pytest_runtest_setup(self, item):
        self.running = item.nodeid

    def pytest_assertion_pass(self, item):
        self.assertions[item.nodeid] += 1

    def pytest_collectreport(self, report):
        if report.failed:
            self.errors.append(f"{report.nodeid}: {report.longreprtext}")

    def pytest_runtest_logreport(self, report):
        """Note a phase of a test, or a part of it: the worst that happened is its outcome."""
        entry = self.tests.setdefault(report.nodeid, {"outcome": "passed", "reasons": []})
        entry["outcome"] = max(entry["outcome"], report.outcome, key=_OUTCOMES.index)
        if report.skipped:
            entry["reasons"].append(_reason(report))
        elif report.failed:
            entry["reasons"].append(report.longreprtext)

    def pytest_sessionfinish(self):
        for name, entry in self.tests.items():
            entry["assertions"] = self.assertions[name]
        record = {"tests": self.tests, "errors": self.errors}
        Path(os.environ[RECORD]).write_text(json.dumps(record, indent=1), encoding="utf-8")


def _reason(report):
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return report.longreprtext


def pytest_configure(config):
    recorder = Recorder()
    for name in dir(unittest.TestCase):
        if name.startswith("assert"):
            recorder.count_calls(unittest.TestCase, name)
    recorder.count_calls(torch.testing, "assert_close")
    config.pluginmanager.register(recorder, "conformance-recorder")
