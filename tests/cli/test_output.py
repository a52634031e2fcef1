"""Tables on narrow terminals."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from qhq.cli.output import _print_table, plain_table

COLUMNS = ["variant", "middle/all", "95 % interval", "vs naive (Holm p)"]
ROW = ["exponential smoothing", "8/993", "1.4293 to 1.4382", "no different (1.000)"]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 160])
def test_no_figure_is_cut_in_two(width):
    console = Console(width=width, record=True, file=StringIO())
    _print_table(console, plain_table(COLUMNS, [ROW]))
    shown = console.export_text()
    for word in " ".join([*COLUMNS, *ROW]).split():
        assert word in shown


def test_what_is_longer_than_any_figure_is_folded():
    console = Console(width=40, record=True, file=StringIO())
    _print_table(console, plain_table(["path"], [["a" * 90]]))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 40
    assert "".join(lines).count("a") == 91
