"""Dates and numbers of whole columns: one order of dates, units said once, cures that can be followed."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from qhq.data.checks.stocks import check_panel
from qhq.data.file_format import FileFormat
from qhq.data.marks import Numerals as Marks
from qhq.data.marks import explain_cell, read_dates, read_marked_number
from qhq.data.sources.files import Asked, read_file, understand_file
from qhq.errors import DataError

HEADER = "underlying,date,expiry,strike,right,iv,rate,spot\n"


def options(folder, rows, **given):
    path = folder / "options.csv"
    path.write_text(HEADER + rows)
    return read_file(path, path.name, asked=Asked(FileFormat(**given)))


@pytest.mark.parametrize(
    ("rows", "given"),
    [
        ("A,2024-01-02,02/02/2024,9,C,.2,0,9\nA,2024-01-02,01/03/2024,9,C,.2,0,9\n", {"dates": "dayfirst"}),
        ("A,02/01/2024,02/02/2024,9,C,.2,0,9\nA,02/01/2024,01/03/2024,9,C,.2,0,9\n", {"dates": "dayfirst"}),
        ("A,15/01/2024,02/02/2024,9,C,.2,0,9\nA,16/01/2024,01/03/2024,9,C,.2,0,9\n", {}),
        ("A,02/01/2024,02/02/2024,9,C,.2,0,9\nA,02/01/2024,2024-03-01,9,C,.2,0,9\n", {"dates": "dayfirst"}),
        ("A,240102,240202,9,C,.2,0,9\nA,240102,240301,9,C,.2,0,9\n", {"dates": "%y%m%d"}),
        ("A,240102,2024-02-02,9,C,.2,0,9\nA,240102,2024-03-01,9,C,.2,0,9\n", {"dates": "%y%m%d"}),
    ],
)
def test_expiries_are_read_in_the_order_that_the_config_or_the_dates_say(tmp_path, rows, given):
    frame = options(tmp_path, rows, **given)
    assert [str(day)[:10] for day in frame["expiry"]] == ["2024-02-02", "2024-03-01"]


def test_expiries_tell_the_order_of_dates_that_leave_it_open(tmp_path):
    frame = options(tmp_path, "A,02/01/2024,19/01/2024,9,C,.2,0,9\n")
    assert str(frame["date"].iloc[0])[:10] == "2024-01-02"


@pytest.mark.parametrize(
    ("unit", "cells", "values"),
    [
        ("percent", ("21%", "25"), (21, 25)),
        ("basis_points", ("21%", "2500"), (2100, 2500)),
        ("fraction", ("21%", "0.25"), (0.21, 0.25)),
        (None, ("21%", "0.25"), (0.21, 0.25)),
    ],
)
def test_a_percent_sign_and_the_unit_of_the_config_do_not_divide_twice(tmp_path, unit, cells, values):
    rows = "".join(f"A,2024-01-0{day},2024-02-02,9,C,{cell},5%,9\n" for day, cell in enumerate(cells, 2))
    frame = options(tmp_path, rows, volatility=unit, rates="percent")
    np.testing.assert_allclose(frame["iv"].astype(float), values)
    np.testing.assert_allclose(frame["rate"].astype(float), 5)


@pytest.mark.parametrize(
    ("cells", "days"),
    [
        (("19/01/02", "19/01/03", "19/12/31"), ("2019-01-02", "2019-01-03", "2019-12-31")),
        (("2024年1月4日", "2024年12月30日"), ("2024-01-04", "2024-12-30")),
        (("2024년 1월 4일",), ("2024-01-04",)),
        (("1 août 2024", "3 juin 2024", "9 févr. 2024"), ("2024-08-01", "2024-06-03", "2024-02-09")),
        (("3 juillet 2024", "3 juil. 2024"), ("2024-07-03", "2024-07-03")),
        (("2 de enero de 2024", "4 septiembre 2024"), ("2024-01-02", "2024-09-04")),
        (("4 Ağu 2024", "6 Mayıs 2024", "5 Oca 2024"), ("2024-08-04", "2024-05-06", "2024-01-05")),
        (("20240102 160000", "20240103 000000"), ("2024-01-02", "2024-01-03")),
        (("20240102.0",), ("2024-01-02",)),
        (("1704153600000.0",), ("2024-01-02",)),
        (("915148800", "1704153600"), ("1999-01-01", "2024-01-02")),
        (("915148800000",), ("1999-01-01",)),
    ],
)  # fmt: skip
def test_dates_as_other_places_write_them(cells, days):
    assert tuple(map(str, read_dates(cells).days)) == days


@pytest.mark.parametrize(
    ("cell", "cause", "cure"),
    [
        ("2024W05", "a week", "daily"),
        ("2024-W05", "a week", "daily"),
        ("2024Q1", "a quarter", "daily"),
        ("Q1 2024", "a quarter", "daily"),
        ("Jan-24", "a month", "daily"),
        ("2024-01", "a month", "daily"),
        ("202401", "a month", "daily"),
        ("2024", "a year", "daily"),
        ("240119", "six digits", "%y%m%d"),
        ("2024002", "number of a day", "%Y%j"),
        ("1.70415e12", "rounded", "text"),
    ],
)
def test_a_date_that_is_no_day_has_a_cure_of_its_own(cell, cause, cure):
    explained = explain_cell(cell, "date")
    assert cause in explained[0]
    assert cure in explained[1]


@pytest.mark.parametrize(
    "cell", ["1.5 GBX", "1.5p", "R 1.5", "R1.5", "HK$1.5", "1.5 kr", "₺1.5", "1.5円", "ZAc 1.5", "C$ 1.5"]
)
def test_marks_of_currencies(cell):
    assert read_marked_number(cell, Marks(), "price") == 1.5


def test_marks_apply_to_text_and_never_to_the_numbers_and_dates_of_a_workbook(tmp_path):
    rows = [
        [datetime(2024, 1, 5), 1.234, 1000],
        ["06.01.2024", "1.235,5", "1.000"],
        [datetime(2024, 1, 8), 2.5, None],
    ]
    pd.DataFrame(rows, columns=["Date", "Close", "Volume"], dtype=object).to_excel(
        tmp_path / "x.xlsx", index=False
    )
    (tmp_path / "x.json").write_text(
        '[{"date": "2024-01-05", "close": 1.234}, {"date": "2024-01-06", "close": "1.235,5"}]'
    )
    for given in (FileFormat(), FileFormat(decimal=","), FileFormat(decimal=",", dates="dayfirst")):
        frame = understand_file(tmp_path / "x.xlsx", "x", asked=Asked(given)).frame
        assert_allclose(frame["close"], [1.234, 1235.5, 2.5])
        assert_allclose(frame["volume"], [1000, 1000, np.nan])
        assert frame["date"].astype("str").tolist() == ["2024-01-05", "2024-01-06", "2024-01-08"]
    frame = understand_file(tmp_path / "x.json", "x", asked=Asked(FileFormat(decimal=","))).frame
    assert_allclose(frame["close"], [1.234, 1235.5])


def test_a_date_that_does_not_fit_the_order_that_is_set_is_not_cured_by_setting_it(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("Date,Close\n01/02/2024,5\n25/02/2024,6\n")
    frame = read_file(path, "x", asked=Asked(FileFormat(dates="monthfirst")))
    with pytest.raises(DataError, match=r"'25/02/2024'.*to another order than monthfirst") as caught:
        check_panel(frame, "x", columns=("close",))
    assert "dates=monthfirst" not in str(caught.value)


def test_a_close_that_stands_for_an_adjusted_close_is_called_one(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("Date,Price\n2024-01-02,5\n2024-01-03,\n")
    frame = read_file(path, "x", ("adj_close",))
    with pytest.raises(DataError, match=r"'close' must be a finite number.*column 'Price'"):
        check_panel(frame, "x", columns=("adj_close",))


def test_a_line_with_a_comma_too_many_has_two_readings(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("Date,Open,Close\n2024-01-02,1,5,2,5\n")
    with pytest.raises(DataError, match=r"decimal mark .* thousands separator"):
        read_file(path, "x")
