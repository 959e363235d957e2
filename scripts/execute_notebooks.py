"""Runs the notebooks of the documentation and stores what their cells give.

    python scripts/execute_notebooks.py docs/notebooks/decisions.ipynb ...

They run in the order given, in one folder that is removed at the end, so that a notebook can read
the model that one before it trained. What is stored depends on the cells alone: no times, no
versions, and nothing of what libraries say on standard error.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
# How a value is stored, in the first of these forms that it has.
_FORMS = ("text/html", "text/plain")
# One thread, as the last digits of a sum depend on how it is shared out.
_SETTINGS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


def main() -> None:
    """Executes notebooks in place."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("notebooks", nargs="+", type=Path)
    notebooks = parser.parse_args().notebooks
    for path, notebook in zip(notebooks, executed(notebooks), strict=True):
        nbformat.write(notebook, path)


def executed(paths: Iterable[Path]) -> Iterator[NotebookNode]:
    """Yields each notebook with the outputs of its cells.

    Raises:
        CellExecutionError: If a cell does (from `nbclient.exceptions`).
    """
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            notebook = nbformat.read(path, as_version=4)
            client = NotebookClient(
                notebook,
                timeout=600,
                kernel_name="python3",
                resources={"metadata": {"path": folder}},
                record_timing=False,
            )
            client.execute(env=_environment())
            yield _without_machine(notebook)


def _environment() -> dict[str, str]:
    """Gives what the kernel runs under; it imports the package that lies beside us."""
    python_path = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    return {**os.environ, **_SETTINGS, "PYTHONPATH": os.pathsep.join(python_path)}


def _without_machine(notebook: NotebookNode) -> NotebookNode:
    """Gives the notebook without what the next machine would write differently."""
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                if "data" in output:
                    form = next(form for form in _FORMS if form in output.data)
                    output.data = {form: output.data[form]}
    return notebook


if __name__ == "__main__":
    main()
