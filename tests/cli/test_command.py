"""Tables on narrow terminals."""

from __future__ import annotations

import itertools
import sys
from io import BytesIO, StringIO, TextIOWrapper

import pytest
from rich.console import Console

import qhq
from qhq.ansatz.draw import draw_text
from qhq.cli.command import Output, _print_table, plain_table
from qhq.progress import say

COLUMNS = ["variant", "middle/all", "95 % interval", "vs naive (Holm p)"]
ROW = ["exponential smoothing", "8/993", "1.4293 to 1.4382", "not shown (1.000)"]


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


WIDE = [f"column {number}" for number in range(12)]
CELLS = [[f"row-{row}", *(f"{10.0**row * number:.4f}" for number in range(11))] for row in range(3)]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 130, 160])
def test_a_wide_table_is_reported_in_blocks_that_fit_and_every_row_keeps_its_name(width):
    console = Console(width=width, record=True, file=StringIO())
    _print_table(console, plain_table(WIDE, CELLS, title="Title"))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= width
    assert shown.count("Title") == 1
    blocks = shown.count("┏")
    for row in CELLS:
        assert shown.count(row[0]) == blocks
        for cell in row[1:]:
            assert cell in shown
    assert (blocks == 1) is (width >= 130)


def test_a_pipe_is_as_wide_as_columns_says(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    Output(as_json=False).result({}, plain_table(WIDE, CELLS))
    assert 80 < max(map(len, capsys.readouterr().out.splitlines())) <= 160
    monkeypatch.setenv("COLUMNS", "80")
    Output(as_json=False).result({}, plain_table(WIDE, CELLS))
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


class Terminal(StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [20, 60, 80])
def test_what_is_said_by_the_way_breaks_between_words_on_a_terminal_alone(monkeypatch, width):
    text = (
        f"Error: {'a word or two, ' * 12}\n/a/{'longer/' * 20}file: and 'qhq train --resume a-run' --option."
    )
    monkeypatch.setenv("COLUMNS", str(width))
    for stream in (Terminal(), StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        say(text)
        said = stream.getvalue()
        assert said.split() == text.split()
        if stream.isatty():
            assert "'qhq train --resume a-run'" in said
            whole = said.replace("'qhq train --resume a-run'", "'qhq'")
            assert all(len(line) <= width or " " not in line for line in whole.splitlines())
        else:
            assert said == text + "\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "utf-8"])
def test_no_encoding_takes_a_table_or_a_drawing_out_of_line(monkeypatch, encoding):
    stream = TextIOWrapper(BytesIO(), encoding=encoding, errors="qhq.replaced")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("COLUMNS", "80")
    drawing = draw_text(qhq.load_ansatz("reference", qubits=3, depth=1))
    table = plain_table(["símbolo", "日本"], [["Ünï", 1.5], ["日本電信", 2.5]])
    Output(as_json=False).result({}, drawing, table)
    stream.flush()
    shown = stream.buffer.getvalue().decode(encoding).splitlines()
    height = len(drawing.splitlines())
    assert list(map(len, shown[:height])) == list(map(len, drawing.splitlines()))
    assert "\\u2" not in " ".join(shown)
    if encoding != "utf-8":  # where Chinese letters take two columns each
        assert len({len(line) for line in shown[height:]}) == 1


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_drawing_goes_on_below_and_no_line_of_it_is_broken(monkeypatch, qhq, width):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = qhq("circuit", "draw", "efficient_su2", "--qubits", "3", "--depth", "2").stdout.splitlines()
    assert max(map(len, lines)) <= width
    starts = [line[:3] for line in lines if line.startswith("q_")]
    assert starts == ["q_0", "q_1", "q_2"]
    assert sum(line.startswith("«q_") for line in lines) % 3 == 0
    assert len(lines) % 7 == 0


def test_a_program_is_printed_as_it_is(monkeypatch, qhq):
    monkeypatch.setenv("COLUMNS", "20")
    for words in (("circuit", "export", "reference", "--format", "qasm3"), ("backends", "show", "fake_fez")):
        narrow = qhq(*words).stdout
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("COLUMNS")
            assert qhq(*words).stdout == narrow


@pytest.mark.parametrize("words", [["train"], ["eval"], ["circuit", "draw"], ["data", "check"]])
def test_help_fills_its_lines(monkeypatch, qhq, words):
    monkeypatch.setenv("COLUMNS", "80")
    above = qhq(*words, "--help").stdout.partition("╭")[0].splitlines()
    for line, after in itertools.pairwise(map(str.strip, above)):
        # The first word of the next line would not have fitted.
        assert not line or not after or len(f"{line} {after.split()[0]}") > 78
