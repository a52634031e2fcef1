import subprocess
import sys

from qhq.data.columns import COLUMNS, KEYS, OPTIONS, QUOTE_DERIVED, STOCKS, TABLES, alias_names, unit_of

UNITS = {"price", "shares", "contracts", "volatility", "return", "log", "years", "days", "ratio", "number"}
UNITS |= {"rate", "date", "time", "text"}


def test_every_column_has_a_known_unit_and_no_name_means_two_columns():
    for table in TABLES.values():
        aliases = [alias for column in table.values() for alias in column.aliases]
        assert len(aliases) == len(alias_names(table))
        assert not set(aliases) & set(table)
        assert {column.unit for column in table.values()} <= UNITS


def test_the_tables_tell_what_is_needed():
    assert (*KEYS, *COLUMNS) == tuple(STOCKS)
    needed = {name for name, column in OPTIONS.items() if column.needed}
    assert needed == {"contract_id", "underlying", "date", "expiry", "strike", "right", "spot"}


def test_quotes_of_the_day_are_told_from_what_is_known_before():
    assert {"bid", "ask", "last", "mid", "iv", "volume", "open_interest", "spread"} == QUOTE_DERIVED


def test_derived_columns_have_units_too():
    assert [unit_of(name) for name in ("years", "log_return", "delta")] == ["years", "return", "ratio"]


def test_the_schema_and_the_spec_are_light():
    code = (
        "import sys, qhq.data.columns, qhq.data.spec; sys.exit(bool({'pandas', 'torch'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
