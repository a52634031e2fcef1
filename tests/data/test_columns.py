import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from qhq.data import columns, formulas
from qhq.data.columns import COLUMNS, COMPUTED, FROM_QUOTES, OPTION_PRICES, OPTIONS, TABLES, alias_names

UNITS = {"price", "shares", "contracts", "volatility", "return", "log", "years", "days", "ratio", "number"}
UNITS |= {"rate", "date", "time", "text"}
DOCS = Path(__file__).parents[2] / "docs" / "data.md"


def test_every_column_has_a_known_unit_and_no_name_means_two_columns():
    assert {column.unit for column in COLUMNS} <= UNITS
    lines = [(kind, column.name) for column in COLUMNS for kind in column.panels.split()]
    assert len(lines) == len(set(lines))
    for table in TABLES.values():
        aliases = [alias for column in table.values() for alias in column.other_names]
        assert len(aliases) == len(alias_names(table))
        assert not set(aliases) & set(table)


def test_what_is_computed_has_its_formula_and_what_it_takes():
    for kind, computed in COMPUTED.items():
        known = {*TABLES[kind], "years"}
        assert not set(computed) & known
        for name, needs in computed.items():
            assert callable(getattr(formulas, name))
            assert set(needs) <= known


def test_nothing_that_pricing_may_see_is_made_of_the_days_quotes():
    assert not FROM_QUOTES & columns.KNOWN_TODAY
    assert set(OPTION_PRICES) <= FROM_QUOTES


def test_what_every_option_file_needs():
    needed = {name for name, column in OPTIONS.items() if column.needed}
    assert needed == {"contract_id", "underlying", "date", "expiry", "strike", "right", "spot"}


@pytest.mark.parametrize("kind", TABLES)
def test_the_docs_tell_the_same_of_a_file(kind):
    section = DOCS.read_text(encoding="utf-8").split(
        f"## A{'n option' if kind == 'options' else ' stock'} file"
    )[1]
    rows = re.findall(r"^\| `(.*)` \| (.*) \| (.*) \| (yes|) \| (.*)\|$", section.split("\n## ")[0], re.M)
    documented = [(*row[:4], row[4].strip()) for row in rows]
    assert documented == [
        (name, each.unit, each.meaning, "yes" if each.needed else "", ", ".join(each.other_names))
        for name, each in TABLES[kind].items()
    ]


def test_a_column_is_added_by_one_line(tmp_path, monkeypatch):
    line = """    Column("vwap", "stocks", "price", "average of the session's trades", "average_price",
           asset=True, unadjusted=True),"""
    source, border = Path(columns.__file__).read_text(encoding="utf-8"), "    # An option file:"
    (tmp_path / "columns_and_one_more.py").write_text(source.replace(border, f"{line}\n{border}"))
    monkeypatch.syspath_prepend(tmp_path)
    added = importlib.import_module("columns_and_one_more")
    assert added.canonical_name("Average Price") == "vwap"
    assert (added.unit_of("vwap"), added.change_scale("vwap", options=False)) == ("price", "log")
    assert set(added.STOCK_VALUES) - set(columns.STOCK_VALUES) == {"vwap"}
    assert {"vwap"} == added.UNADJUSTED - columns.UNADJUSTED


def test_the_columns_and_the_spec_are_light():
    code = (
        "import sys, qhq.data.columns, qhq.data.spec; sys.exit(bool({'pandas', 'torch'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
