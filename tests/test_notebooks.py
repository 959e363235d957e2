"""The notebooks of the documentation: what is stored is what their cells give, and no more."""

import importlib
import re
from pathlib import Path

import nbformat
import pytest

from hf_attn import InputError
from hf_attn.corpora import corpus_path

ROOT = Path(__file__).parents[1]
# In the order of `NOTEBOOKS` in the Makefile, where the second reads the model of the first.
NAMES = ("decisions", "inside-attention")
PATHS = [ROOT / "docs" / "notebooks" / f"{name}.ipynb" for name in NAMES]
LARGEST = 200_000  # bytes
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?%?")
# Training on another processor rounds otherwise, and the numbers drift: by hundredths, as far as
# we know. What differs by more than both of these is another result.
ABSOLUTE, RELATIVE = 0.05, 0.05


@pytest.fixture(scope="module")
def stored():
    return [nbformat.read(path, as_version=4) for path in PATHS]


@pytest.fixture(scope="module")
def executed():
    try:
        corpus_path("r8", "train")
    except InputError as error:
        pytest.skip(f"R8 cannot be had here: {error}")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        script = importlib.import_module("execute_notebooks")
    return list(script.executed(PATHS))


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    """What each cell gave, as a reader sees it: text, or HTML without its tags and styles."""
    shown = []
    for cell in code_cells(notebook):
        texts = [
            output.text if output.output_type == "stream" else visible(output.data)
            for output in cell.outputs
        ]
        shown.append("\n".join(texts))
    return shown


def visible(data):
    html = data.get("text/html")
    if html is None:
        return data["text/plain"]
    return re.sub(r"<style.*?</style>|<[^>]+>", " ", html, flags=re.S)


def split(text):
    """Gives the words and signs of a text, and its numbers."""
    words = re.sub(r"\s+", " ", NUMBER.sub("#", text))
    return words, [float(number.rstrip("%")) for number in NUMBER.findall(text)]


def test_makefile_runs_these_notebooks_in_this_order():
    (line,) = re.findall(r"^NOTEBOOKS := (.+)$", (ROOT / "Makefile").read_text(), re.M)
    assert [ROOT / name for name in line.split()] == PATHS
    assert sorted((ROOT / "docs").rglob("*.ipynb")) == sorted(PATHS)


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_notebook_is_small_and_holds_nothing_of_a_machine(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < LARGEST
    assert not re.search(r"/(?:tmp|usr|opt|mnt)/|site-packages|stderr|iopub", text)


def test_every_cell_is_stored_with_its_place_in_the_run(stored):
    for notebook in stored:
        counts = [cell.execution_count for cell in code_cells(notebook)]
        assert counts == list(range(1, len(counts) + 1))


@pytest.mark.parametrize("index", range(len(PATHS)), ids=NAMES)
def test_cells_give_what_is_stored(index, stored, executed):
    pairs = zip(outputs(stored[index]), outputs(executed[index]), strict=True)
    for cell, (before, now) in enumerate(pairs):
        (words_before, numbers_before), (words, numbers) = split(before), split(now)
        assert words == words_before, f"cell {cell}"
        assert numbers == pytest.approx(numbers_before, abs=ABSOLUTE, rel=RELATIVE), f"cell {cell}"
