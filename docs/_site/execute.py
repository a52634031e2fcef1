"""Execute the notebooks of docs/notebooks in a kernel and store their outputs: `make notebooks`.

Tests run the cells in their own process, which is cheaper. What is stored here is for readers alone.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
_KEPT = ("text/plain", "image/png")
"""A table's HTML says nothing that its text does not, and is many times as long."""


def main() -> None:
    """Execute each notebook in an empty folder with a runs folder of its own."""
    os.environ["QHQ_MLFLOW"] = "off"
    os.environ["QHQ_PROGRESS"] = "off"
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            os.environ["QHQ_RUNS_DIR"] = str(Path(folder) / "runs")
            NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()
        for cell in notebook.cells:
            cell.metadata = {}
            if cell.cell_type != "code":
                continue
            # What goes to standard error is progress and warnings, which differ from time to time.
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
            for output in cell.outputs:
                output.metadata = {} if "metadata" in output else output.get("metadata")
                if "data" in output:
                    output.data = {kind: output.data[kind] for kind in _KEPT if kind in output.data}
        notebook.metadata = {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        nbformat.write(notebook, path)
        print(path.name)


if __name__ == "__main__":
    main()
