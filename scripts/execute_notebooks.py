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
# Without an HTML table a reader of the raw file sees nothing; without text, a screen reader.
_KEPT = ("text/html", "text/plain")


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
    # The kernel is the one of this interpreter, and imports the package that lies beside us.
    paths_before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), paths_before]))
    try:
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
                client.execute()
                yield _without_machine(notebook)
    finally:
        if paths_before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = paths_before


def _without_machine(notebook: NotebookNode) -> NotebookNode:
    """Gives the notebook without what the next machine would write differently."""
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                if "data" in output:
                    output.data = {kind: output.data[kind] for kind in _KEPT if kind in output.data}
    return notebook


if __name__ == "__main__":
    main()
