"""The project's own files: modules, versions, make targets, and what no file may name."""

import ast
import pkgutil
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import hf_attn

ROOT = Path(__file__).parents[1]
MODULES = [module.name for module in pkgutil.walk_packages(hf_attn.__path__, "hf_attn.")]
REQUIREMENTS = [Requirement(line) for line in metadata.requires("hf-attn")]
BASE = [requirement for requirement in REQUIREMENTS if not requirement.marker]
EXTRAS = [requirement for requirement in REQUIREMENTS if requirement.marker]

# Each module is imported first by a process, where the packages named after them are not installed.
# The processes are forks of one that has imported what takes long.
IMPORT_WITHOUT = """
import importlib, os, sys, traceback
modules, *missing = sys.argv[1:]
sys.modules.update(dict.fromkeys(missing))
import accelerate, datasets, evaluate, scipy.stats, sklearn.metrics, torch, transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer
failed = False
for module in modules.split(","):
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(module)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    failed |= os.waitpid(child, 0)[1] != 0
sys.exit(failed)
"""

# In pieces, so that this file does not name them itself.
HOSTS = [
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("download", "pytorch", "org"),
    ("anaconda", "org"),
    ("npmjs", "(?:org|com)"),
    ("debian", "org"),
]
FORBIDDEN = re.compile(
    "|".join(
        [r"\b" + r"\.".join(host) for host in HOSTS]
        + ["/" + folder + "/" for folder in ("work", "root", "home", "Users")]
    )
)


def modules_of(requirements):
    """The top-level names of the files that these distributions install."""
    files = [file for r in requirements for file in metadata.files(r.name)]
    return {file.parts[0].removesuffix(".py") for file in files}


def imported_modules():
    """What the package imports from elsewhere, anywhere in its code."""
    modules = set()
    for folder in hf_attn.__path__:
        for file in Path(folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    modules.add(node.module.partition(".")[0])
    return modules - {*sys.stdlib_module_names, "hf_attn"}


def import_on_base_dependencies(modules):
    """What went wrong when processes imported each of these modules before any other of ours."""
    missing = modules_of(EXTRAS) - modules_of(BASE)
    command = [sys.executable, "-c", IMPORT_WITHOUT, ",".join(modules), *missing]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stderr if result.returncode else ""


def test_every_module_imports_on_base_dependencies():
    assert import_on_base_dependencies(MODULES) == ""


@pytest.mark.parametrize("module", ["peft", "torchao"])
def test_import_of_an_extra_fails_on_base_dependencies(module):
    assert "ModuleNotFoundError" in import_on_base_dependencies([module])


def test_every_import_is_a_declared_dependency():
    declared = [r for r in REQUIREMENTS if '"dev"' not in str(r.marker)]
    assert imported_modules() - modules_of(declared) == set()


def test_every_base_dependency_is_imported():
    imported = imported_modules()
    assert [r.name for r in BASE if not modules_of([r]) & imported] == []


def test_version_is_written_once():
    assert metadata.version("hf-attn") == hf_attn.__version__
    assert hf_attn.__version__ not in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.13"])
def test_pinned_versions_satisfy_the_lower_bounds(python):
    rows = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {}
    for row in (Requirement(row) for row in rows if row and not row.startswith("#")):
        if row.marker is None or row.marker.evaluate({"python_version": python}):
            (pin,) = row.specifier
            assert pin.operator == "=="
            assert pins.setdefault(canonicalize_name(row.name), pin.version) == pin.version
    for requirement in REQUIREMENTS:
        assert [bound.operator for bound in requirement.specifier] == [">="], requirement
        pin = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin), f"{requirement} but tested with {pin}"


@pytest.mark.parametrize(
    "file",
    ["README.md", "CONTRIBUTING.md", ".ci/run", ".github/workflows/test.yml"],
)
def test_make_targets_that_are_named_exist(file):
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))
    named = re.findall(
        r"(?:^\s*(?:\$ )?|`|run: |step )make ([a-z][a-z-]*)", (ROOT / file).read_text(), re.M
    )
    assert named
    assert set(named) <= targets


def test_files_name_no_registry_host_and_no_folder_of_one_machine():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so it cannot be told which files are the project's")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = [
        f"{file}:{number}: {line.strip()}"
        for file in filter(None, files.split("\0"))
        if (ROOT / file).is_file()
        for number, line in enumerate((ROOT / file).read_text(errors="replace").splitlines(), 1)
        if FORBIDDEN.search(line)
    ]
    assert not found, "\n".join(found)
