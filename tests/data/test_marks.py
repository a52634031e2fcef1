"""Marks in cells: what a whole column tells of its numbers and dates, and what is refused."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.marks import (
    Ambiguity,
    Numerals,
    choose_numerals,
    explain_cell,
    read_dates,
    read_marked_number,
    read_marked_numbers,
)

STYLES = {
    "English": (".", ",", lambda text: text),
    "German": (",", ".", lambda text: text.translate(str.maketrans(",.", ".,"))),
    "French": (",", " ", lambda text: text.translate(str.maketrans(",.", "\u202f,"))),
    "Swiss": (".", "'", lambda text: text.replace(",", "\u2019")),
}
CENTS = st.lists(st.integers(-(10**9), 10**9), min_size=1).map(lambda cents: [each / 100 for each in cents])
DAYS = st.lists(st.dates(date(1971, 1, 1), date(2069, 12, 31)), min_size=1, unique=True)


@pytest.mark.parametrize("style", STYLES)
@given(CENTS)
def test_numbers_of_every_style_come_back(style, numbers):
    decimal, thousands, rewrite = STYLES[style]
    cells = [rewrite(f"{number:,.2f}") for number in [*numbers, 1234567.25]]
    chosen = choose_numerals(cells)
    assert chosen == Numerals(decimal, thousands)
    assert_allclose(read_marked_numbers(cells, chosen, "price"), [*numbers, 1234567.25], rtol=1e-15)


@pytest.mark.parametrize(
    ("cell", "unit", "value"),
    [
        ("$1,234.50", "price", 1234.5),
        ("1,234.50 $", "price", 1234.5),
        ("₹12,34,567.5", "price", 1234567.5),
        ("USD 12.5", "price", 12.5),
        ("(1.5)", "price", -1.5),
        ("-$1.5", "price", -1.5),
        ("$-1.5", "price", -1.5),
        ("1.23M", "shares", 1.23e6),
        ("58.41K", "shares", 58410.0),
        ("2B", "shares", 2e9),
        ("0.45%", "rate", 0.0045),
        ("\u22121.5", "price", -1.5),
        (" 12.5 ", "price", 12.5),
        ("1.5e3", "price", 1500.0),
        ("12.5%", "price", np.nan),
        ("1.34.1", "price", np.nan),
        ("12,34", "price", np.nan),
        ("n/a?", "price", np.nan),
        ("1,2345", "price", np.nan),
        ("", "price", np.nan),
        ("12.5*", "price", np.nan),
        ("1-2", "price", np.nan),
    ],
)
def test_marks_of_vendors(cell, unit, value):
    assert_allclose(read_marked_number(cell, Numerals(), unit), value, rtol=1e-15)


@pytest.mark.parametrize(
    ("cells", "settings"),
    [(["1,234"], (".", ",")), (["1.5", "2,25"], (".", ",")), (["1,234.5", "1.234,5"], (".", ","))],
)
def test_two_readings_of_numbers_are_ambiguous(cells, settings):
    ambiguity = choose_numerals(cells)
    assert isinstance(ambiguity, Ambiguity)
    assert ambiguity.settings == settings
    assert set(ambiguity.cells) <= set(cells)


def test_counts_have_no_fraction():
    assert choose_numerals(["1,234"], counts=True) == Numerals(".", ",")


FORMS = {
    "iso": "%Y-%m-%d",
    "iso with slashes": "%Y/%m/%d",
    "iso with points": "%Y.%m.%d",
    "compact": "%Y%m%d",
    "iso with a time": "%Y-%m-%dT00:00:00.000Z",
    "an offset": "%Y-%m-%d 00:00:00-05:00",
    "UTC": "%Y-%m-%d 00:00:00 UTC",
    "month in words": "%b %d, %Y",
    "day before it": "%d-%b-%Y",
    "capitals": "%d-%b-%Y",
    "long": "%A, %B %d, %Y",
    "German": "%d.%m.%Y",
    "German with a time": "%d.%m.%Y 00:00:00.000",
    "short year": "%d-%b-%y",
}


@pytest.mark.parametrize("form", FORMS)
@given(DAYS)
def test_dates_of_every_form_come_back(form, days):
    cells = [day.strftime(FORMS[form]) for day in days]
    read = read_dates([cell.upper() for cell in cells] if form == "capitals" else cells)
    assert_array_equal(read.days, np.array(days, dtype="M8[D]"))
    assert not read.timed.any()


@pytest.mark.parametrize(("order", "form"), [("dayfirst", "%d/%m/%Y"), ("monthfirst", "%m/%d/%Y")])
@given(DAYS)
def test_the_column_decides_between_day_and_month_or_the_user_does(order, form, days):
    cells = [day.strftime(form) for day in days]
    assert_array_equal(read_dates(cells, wanted=order).days, np.array(days, dtype="M8[D]"))
    read = read_dates(cells)
    if any(day.day > 12 for day in days) or all(day.day == day.month for day in days):
        assert not isinstance(read, Ambiguity)
        assert_array_equal(read.days, np.array(days, dtype="M8[D]"))
    else:
        assert isinstance(read, Ambiguity)
        assert read.settings == ("dayfirst", "monthfirst")


@pytest.mark.parametrize(
    ("cells", "wanted", "days"),
    [
        (["31/02/2024", "13/01/2024"], None, ["NaT", "2024-01-13"]),  # a slip, and no evidence of an order
        (["24/01/31"], "yearfirst", ["2024-01-31"]),
        (["02.01.24"], "%d.%m.%y", ["2024-01-02"]),
        (["2024-01-02", "someday"], None, ["2024-01-02", "NaT"]),
        (["01/02/2024"], "iso", ["NaT"]),
        (["45293"], None, ["2024-01-02"]),
        (["1704171600", "1704171600000", "1704171600000000000"], None, ["2024-01-02"] * 3),
        (["5-Mär-2021", "1. Mai 2021"], None, ["2021-03-05", "2021-05-01"]),
        (["99999999"], None, ["NaT"]),
    ],
)
def test_dates_one_by_one(cells, wanted, days):
    assert_array_equal(read_dates(cells, wanted=wanted).days, np.array(days, dtype="M8[D]"))


def test_a_time_of_day_is_noticed_and_midnight_is_none():
    cells = [
        "2024-01-02 00:00:00+00:00",
        "2024-01-02 09:30",
        "1/2/2024 4:00 PM",
        "2024-01-02T00:00:00Z",
        "1704205800",
    ]
    read = read_dates(cells, usual="monthfirst")
    assert read.timed.tolist() == [False, True, True, False, True]


@pytest.mark.parametrize(
    ("cell", "unit", "cause", "cure"),
    [
        ("", "price", "an empty cell", "never fill it in"),
        ("#DIV/0!", "price", "an error of the spreadsheet", "Mend the cell there"),
        ("12.5%", "price", "a percentage in a column of price", "data.format.columns"),
        ("12.5*", "price", "footnote mark", "data.format.ignore"),
        ("1.234,5", "price", "thousands separator or a decimal comma", "data.format.decimal"),
        ("halted", "price", "a word", "at its source"),
        ("Total", "date", "a footer", "Delete that line"),
        ("09:30", "date", "a time without a date", "data.format.columns.date"),
        ("2024-02-30", "date", "no calendar has", "Correct the cell"),
        ("2024-01-02", "price", "a date in a column of numbers", "qhq data check"),
        ("185.64", "date", "a number where a date should be", "data.format.columns.date"),
    ],
)
def test_the_likely_cause_and_its_cure(cell, unit, cause, cure):
    found = explain_cell(cell, unit)
    assert cause in found[0]
    assert cure in found[1]
