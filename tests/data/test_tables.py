import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from qhq.data.tables import EMPTY_WORDS, code_names, code_words, is_empty, read_days, read_numbers

FLOATS = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1)


@given(FLOATS)
def test_numbers_come_back_exactly(numbers):
    for text in (map(repr, numbers), (f" {number!r} " for number in numbers)):
        values, unreadable = read_numbers(pd.Series(list(text)))
        assert_array_equal(values, numbers)
        assert not unreadable.any()


@given(FLOATS)
def test_a_cell_that_is_no_number_spoils_no_other(numbers):
    values, unreadable = read_numbers(pd.Series([*map(repr, numbers), "abc", "1,234.5"]))
    assert_array_equal(values, [*numbers, np.nan, np.nan])
    assert_array_equal(unreadable, [False] * len(numbers) + [True] * 2)


@pytest.mark.parametrize("column", [pd.Series([*EMPTY_WORDS, "NaN", None]), pd.Series([None, np.nan, pd.NA])])
def test_an_empty_cell_is_missing_and_no_mistake(column):
    values, unreadable = read_numbers(column)
    assert np.isnan(values).all()
    assert not unreadable.any()
    assert is_empty(column).all()


def test_numbers_of_every_type_are_read():
    for dtype in ("int32", "Int64", "float32", "Float64", "object", "category"):
        assert_array_equal(read_numbers(pd.Series([1, 2, 1]).astype(dtype))[0], [1.0, 2.0, 1.0])


def test_days_are_read_once_for_each_text():
    days = read_days(pd.Series(["2020-01-02", "2020-01-02T21:00:00Z", "02.01.2020", None, "2020-02-30"]))
    assert_array_equal(days, np.array(["2020-01-02", "2020-01-02", "NaT", "NaT", "NaT"], "M8[D]"))


def test_names_are_numbered_as_they_come():
    codes, names = code_names(pd.Series(["b", "a", None, "b", ""]))
    assert names[codes].tolist() == ["b", "a", "", "b", ""]
    assert names.tolist() == ["b", "a", ""]


def test_words_are_coded_without_case():
    assert_array_equal(
        code_words(pd.Series(["Call", " PUT", "?"]), {"call": 1.0, "put": -1.0}), [1, -1, np.nan]
    )
