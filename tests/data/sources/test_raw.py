"""Containers as strangers write them: JSON column by column, workbooks of several sheets."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from qhq.data.format_spec import FileFormat
from qhq.data.sources.files import Asked, understand_file

DAYS = ["2024-01-02", "2024-01-03"]
TABLE = pd.DataFrame({"Date": DAYS, "Open": [1.0, 2.0], "Close": [1.5, 2.5]})
CANDLES = {
    "c": [1.5, 2.5],
    "h": [3, 3],
    "l": [1, 1],
    "o": [1, 2],
    "s": "ok",
    "t": [1704171600, 1704258000],
    "v": [5, 6],
}
QUOTE = {"open": [1, 2], "close": [1.5, 2.5], "high": [3, 3], "low": [1, 1], "volume": [5, 6]}
CHART = {"meta": {"symbol": "MSFT"}, "timestamp": [1704205800, 1704292200], "indicators": {"quote": [QUOTE]}}


@pytest.mark.parametrize(
    "text",
    [
        *(TABLE.to_json(orient=orient) for orient in ("columns", "split", "records", "table")),
        *(
            TABLE.set_index("Date").to_json(orient=orient)
            for orient in ("columns", "split", "index", "table")
        ),
        json.dumps(TABLE.to_dict("list")),
        json.dumps(CANDLES),
        json.dumps({"chart": {"result": [CHART], "error": None}}),
        json.dumps({"meta": {"symbol": "MSFT"}, "values": TABLE.to_dict("records"), "status": "ok"}),
    ],
    ids=range(12),
)
def test_json_in_any_orientation(tmp_path, text):
    path = tmp_path / "AAPL.json"
    path.write_text(text)
    reading = understand_file(path, path.name)
    assert [str(day)[:10] for day in reading.frame["date"]] == DAYS
    np.testing.assert_allclose(reading.frame["open"].astype(float), [1, 2])
    np.testing.assert_allclose(reading.frame["close"].astype(float), [1.5, 2.5])
    assert set(reading.frame["symbol"]) == {"MSFT" if "MSFT" in text else "AAPL"}


def workbook(path, **sheets):
    with pd.ExcelWriter(path) as book:
        for name, table in sheets.items():
            table.to_excel(book, sheet_name=name, index=False)
    return path


def test_a_workbook_that_begins_with_remarks_is_read_at_its_table(tmp_path):
    path = workbook(
        tmp_path / "AAPL.xlsx", About=pd.DataFrame({"Prices of Apple": ["as of 2024"]}), Data=TABLE
    )
    reading = understand_file(path, path.name)
    np.testing.assert_allclose(reading.frame["close"].astype(float), [1.5, 2.5])
    assert "sheet 'Data' of 2" in " ".join(reading.notes)


@pytest.mark.parametrize(("sheet", "symbol"), [(None, "AAPL"), ("MSFT", "MSFT")])
def test_of_a_sheet_for_each_stock_the_others_are_told(tmp_path, sheet, symbol):
    path = workbook(tmp_path / "prices.xlsx", AAPL=TABLE, MSFT=TABLE)
    reading = understand_file(path, path.name, asked=Asked(FileFormat(sheet=sheet)))
    assert set(reading.frame["symbol"]) == {symbol}
    assert f"not read: {'MSFT' if sheet is None else 'AAPL'}" in " ".join(reading.notes)
