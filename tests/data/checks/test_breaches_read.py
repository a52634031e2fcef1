"""What a file alone is checked for: nothing is an error that the training itself would take."""

from __future__ import annotations

import pandas as pd
import pytest

from qhq.data.checks.breaches import find_breaches
from qhq.data.checks.stocks import check_panel
from qhq.data.format_spec import FileFormat
from qhq.data.quarantine import RowPolicy
from qhq.data.sources.files import Asked, understand_file
from qhq.errors import DataError

POLICY = RowPolicy(bad_rows=None)
READ = {"close", "adj_close"}


def table(folder, header, row, count=200):
    days = pd.bdate_range("2022-01-03", periods=count).strftime("%Y-%m-%d")
    path = folder / "x.csv"
    path.write_text("\n".join([header, *(row(place, day) for place, day in enumerate(days))]) + "\n")
    return path


def breaches(path, read=READ):
    frame = understand_file(path, path.name).frame
    return frame, {each.rule: each for each in find_breaches(frame, path.name, "stocks", POLICY, read=read)}


@pytest.mark.parametrize("cell", ["", "-", "N/A"])
def test_a_column_without_a_value_is_an_error_only_where_it_is_read(tmp_path, cell):
    path = table(tmp_path, "Date,Close,Volume", lambda place, day: f"{day},{100 + place},{cell}")
    frame, found = breaches(path)
    assert found["number"].severity == "warning"
    assert "a config that reads volume" in found["number"].fix
    assert f"'{cell}'" in found["number"].example or not cell
    assert breaches(path, {"close", "volume"})[1]["number"].severity == "error"
    assert len(check_panel(frame, "x", columns=("close",), policy=POLICY).code) == 200


def test_a_row_that_is_bad_in_an_unread_column_is_left_out_by_configs_that_read_it(tmp_path):
    row = lambda place, day: f"{day},{0 if place in (5, 6) else 100},100"  # noqa: E731
    path = table(tmp_path, "Date,Open,Close", row)
    assert "a config that reads open leaves these rows out" in breaches(path)[1]["price"].fix
    assert "training leaves these rows out" in breaches(path, {"open", "close"})[1]["price"].fix


def test_a_line_that_was_cut_off_names_no_symbol_and_is_left_out(tmp_path):
    path = table(
        tmp_path, "Date,Close,Symbol", lambda place, day: f"{day},{100 + place},{'A' * (place < 199)}"
    )
    frame, found = breaches(path)
    assert (found["name"].severity, found["name"].count) == ("aside", 1)
    assert "line 201" in found["name"].example
    assert "cut off" in found["name"].fix
    for symbols in (None, ("A",)):
        panel = check_panel(frame, "x", symbols=symbols, columns=("close",), policy=POLICY)
        assert (panel.symbols, len(panel.code), panel.quarantine.count) == (("A",), 199, 1)


def test_two_rows_of_a_day_that_differ_are_shown_with_the_difference(tmp_path):
    path = table(tmp_path, "Date,Close", lambda place, day: f"{day},{100 + place}")
    path.write_text(path.read_text() + path.read_text().splitlines()[-1].split(",")[0] + ",7\n")
    assert "close 299 and 7" in breaches(path)[1]["duplicate"].example


CBOE = (
    "underlying_symbol,quote_date,root,expiration,strike,option_type,close,bid_1545,ask_1545,"
    "underlying_bid_1545,underlying_ask_1545,bid_eod,ask_eod,underlying_bid_eod,underlying_ask_eod"
)


@pytest.mark.parametrize("zero", [0, "", 100])
def test_a_file_of_daily_prices_wins_over_zeros_and_over_nothing_else(tmp_path, zero):
    path = table(
        tmp_path, CBOE, lambda place, day: f"A,{day},A,2023-12-15,90,C,1,5,6,{zero},{zero},5,6,99,101", 5
    )
    spot = tmp_path / "spot.csv"
    spot.write_text("Date,Close\n" + "".join(f"2022-01-0{day},50\n" for day in range(3, 8)))
    frame = understand_file(path, "x", asked=Asked(FileFormat(spot=str(spot)))).frame
    assert set(frame["spot"]) == {50.0 if zero != 100 else 100.0}
    if zero == 100:
        return
    with pytest.raises(DataError, match=r"underlying_bid_1545.*data.format.spot=FILE.*form=cboe_eod"):
        understand_file(path, "x")
    assert set(understand_file(path, "x", asked=Asked(FileFormat(form="cboe_eod"))).frame["spot"]) == {100.0}
