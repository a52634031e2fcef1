"""One border for text: nothing from outside acts on a terminal, in a spreadsheet or in a page."""

from __future__ import annotations

import json

import openpyxl
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qhq.cli.command import Output, end_with, plain_table
from qhq.errors import ConfigError, apart, no_formula, visible
from qhq.report.table_export import export_table

ACTING = {
    "title": "\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;ZWNobw==\x1b\\",
    "colour": "\x1b[31mred",
    "C1": "\x9b31m",
    "carriage return": "good\rbad",
    "backspace": "bad\x08\x08\x08good",
    "bell": "\x07",
    "null": "a\x00b",
    "delete": "a\x7f",
    "right to left": "\u202egpj.exe",
    "isolate": "\u2067a\u2069",
    "surrogate": "name\udcff",
    "line separator": "a\u2028b",
    "tag": "\U000e0041",
}


@pytest.mark.parametrize("name", ACTING)
def test_what_would_act_is_shown(name, capsys):
    text = ACTING[name]
    output = Output(as_json=False)
    output.result({}, f"line {text}", plain_table([f"key {text}"], [[text]], title=f"title {text}"))
    output.note(f"note {text}")
    output.tell(f"[/told] {text}")
    end_with(ConfigError("A must hold", got=text, fix="Mend it"), as_json=False)
    said = "".join(capsys.readouterr())
    acting = [each for each in text if visible(each) != each]
    assert acting
    assert not [each for each in acting if each in said]
    said.encode()
    assert "\\" in said


def test_json_stays_exact(capsys):
    content = {name: text for name, text in ACTING.items() if name != "surrogate"}
    Output(as_json=True).result(content, "nobody reads this")
    assert json.loads(capsys.readouterr().out) == content


@given(st.text())
def test_plain_text_stays_and_what_is_shown_is_plain(text):
    assert visible(visible(text)) == visible(text)
    if text.isprintable() and text.isascii():
        assert visible(text) == text
    assert "\n" not in visible(text, cell=True)


FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+cmd|' /C calc'!A0",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "＝1",
    '=HYPERLINK("x")',
]


@pytest.mark.parametrize("form", ["csv", "excel"])
def test_a_spreadsheet_calculates_nothing(tmp_path, form):
    rows = [{"run": text, f"{text} key": 1.5, "list": [text]} for text in FORMULAS]
    path = export_table(rows, tmp_path / "table.xlsx", form)
    if form == "csv":
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        cells = [*frame.columns, *frame.to_numpy().ravel()]
    else:
        sheet = openpyxl.load_workbook(path).active
        cells = [str(cell.value) for row in sheet.iter_rows() for cell in row if cell.value is not None]
        assert {cell.data_type for row in sheet.iter_rows() for cell in row} <= {"s", "n", "inlineStr"}
    assert not [cell for cell in cells if cell[:1] in "=+-@\t\r\n＝" and cell]


@pytest.mark.parametrize("number", ["-1", "+2.5", "-1.5e-3", "-.5"])
def test_a_number_in_text_stays_one(number):
    assert no_formula(number) == number


@pytest.mark.parametrize("name", ACTING)
@pytest.mark.parametrize("form", ["csv", "excel", "latex"])
def test_control_characters_reach_no_file(tmp_path, form, name):
    path = export_table([{f"k{ACTING[name]}": ACTING[name], "n": 1}], tmp_path / "table", form)
    if form != "excel":
        text = path.read_text(encoding="utf-8")
        assert not [each for each in ACTING[name] if visible(each) != each and each in text]


LATEX = [
    "\\input{/etc/passwd}",
    "\\write18{id}",
    "a_b & c% $x$ #1 {y} ~ ^ \\\\",
    "%\\end{tabular}",
    "\\\n\\input x",
]


@pytest.mark.parametrize("text", LATEX)
def test_a_page_runs_nothing(tmp_path, text):
    path = export_table([{text: text, "list": [text]}], tmp_path / "table.tex", "latex")
    body = path.read_text()
    allowed = r"\\(begin|end)\{tabular\}(\{\w+\})?|\\(top|mid|bottom)rule"
    allowed += r"|\\textbackslash|\\textasciitilde|\\textasciicircum|\\space|\\[&%$#_{}]| \\\\$"
    import re

    left = re.sub(allowed, "", body, flags=re.MULTILINE)
    assert "\\" not in left, left
    assert body.count("tabular") == 2 + 2 * text.count("tabular") + text.count("tabular")


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((1.136, 1.133), ("1.136", "1.133")),
        ((1.0984961, 1.0985302), ("1.098", "1.099")),
        ((1.09851, 1.09853), ("1.09851", "1.09853")),
        ((100.0000001, 100.0), ("100.0000001", "100")),
        ((0.5, 0.5), ("0.5", "0.5")),
        ((1.0, 1.0 + 2**-52), ("1", "1.0000000000000002")),
    ],
)
def test_numbers_that_a_message_compares_look_different_where_they_are(values, shown):
    assert apart(*values) == shown
