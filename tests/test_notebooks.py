"""The notebooks of docs/notebooks run from top to bottom, in this process: kernels would take longer.

A kernel differs in showing the last expression of a cell; here it is evaluated and turned into text as well.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from tests.test_readme import ROOT, away

pytestmark = pytest.mark.painted


__all__ = ["away"]

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def run_cell(source: str, names: dict, where: str) -> None:
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, where, "exec"), names)
    if last is not None:
        repr(eval(compile(ast.Expression(last.value), where, "eval"), names))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path, away, monkeypatch):
    # Figures have tests of their own, and take longer than the training that they show.
    monkeypatch.setattr("qhq.report.figures.draw_run_figures", lambda *_: [])
    names: dict = {}
    for number, cell in enumerate(cells(path)):
        if cell["cell_type"] == "code":
            run_cell("".join(cell["source"]), names, f"{path.name}, cell {number}")


def test_there_are_five_small_ones_whose_outputs_are_stored():
    assert [path.stem[2:] for path in NOTEBOOKS] == [
        "quickstart", "own_circuit_and_module", "hardware", "noise", "options",
    ]  # fmt: skip
    for path in NOTEBOOKS:
        code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
        assert any(cell["outputs"] for cell in code)
        assert all(output["output_type"] != "error" for cell in code for output in cell["outputs"])
        assert path.stat().st_size < 50_000
