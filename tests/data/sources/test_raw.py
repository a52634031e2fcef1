"""Containers as strangers write them: JSON column by column, workbooks of several sheets.

What would fill the machine is refused before it is read, whatever it is packed in.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qhq.data import sizes
from qhq.data.file_format import FileFormat
from qhq.data.sources.files import Asked, understand_file
from qhq.data.sources.raw import read_raw
from qhq.errors import DataError
from qhq.limits import available_bytes

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
def test_of_a_sheet_for_each_stock_the_others_are_reported(tmp_path, sheet, symbol):
    path = workbook(tmp_path / "prices.xlsx", AAPL=TABLE, MSFT=TABLE)
    reading = understand_file(path, path.name, asked=Asked(FileFormat(sheet=sheet)))
    assert set(reading.frame["symbol"]) == {symbol}
    assert f"not read: {'MSFT' if sheet is None else 'AAPL'}" in " ".join(reading.notes)


ROW = b"2020-01-02,AAPL,300.35\n"
HUGE = 80 << 20


def repeated(compress, path, start, piece, size):
    """Content of ``size`` bytes in pieces: a bomb that takes the test no memory either."""
    with compress(path, "wb") as stream:
        stream.write(start)
        for _ in range(size // len(piece)):
            stream.write(piece)


@pytest.mark.parametrize("name", ["rows.csv.gz", "rows.csv.bz2", "rows.csv.xz"])
def test_a_bomb_is_refused(tmp_path, name):
    opener = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}[name.rpartition(".")[2]]
    repeated(opener, tmp_path / name, b"date,symbol,close\n" + ROW, b"0" * (1 << 20), HUGE)
    with pytest.raises(DataError, match=r"100 times.*or more"):
        read_raw(tmp_path / name, name, FileFormat())


def test_a_zip_and_a_workbook_are_looked_at_too(tmp_path):
    for name, member in (("rows.zip", "rows.csv"), ("rows.xlsx", "[Content_Types].xml")):
        with (
            zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open(member, "w", force_zip64=True) as stream,
        ):
            stream.write(b"date,symbol,close\n" + ROW)
            for _ in range(HUGE >> 20):
                stream.write(b"0" * (1 << 20))
        with pytest.raises(DataError, match="100 times"):
            read_raw(tmp_path / name, name, FileFormat())


def test_a_parquet_file_of_one_value_is_refused_by_its_footer(tmp_path):
    path = tmp_path / "rows.parquet"
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000_000, pa.int8()), pa.array([1.0]))
    with pq.ParquetWriter(path, pa.schema([("close", column.type)]), compression="zstd") as writer:
        for _ in range(20):
            writer.write_table(pa.table({"close": column}))
    with pytest.raises(DataError, match="100 times"):
        read_raw(path, "rows.parquet", FileFormat())


def test_a_file_larger_than_the_memory_is_refused_with_both_figures(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"date,symbol,close\n" + ROW * 3000)  # the first look is at the beginning alone
    with path.open("r+b") as stream:
        stream.truncate(available_bytes())
    with pytest.raises(DataError, match=r"must fit into memory. Got .* needed, .* available"):
        read_raw(path, "rows.csv", FileFormat())


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.csv.xz", "rows.parquet", "rows.xlsx"])
def test_real_tables_pass(tmp_path, name):
    days = pd.bdate_range("2010-01-01", periods=2000).strftime("%Y-%m-%d")
    frame = pd.DataFrame({"date": days, "symbol": "AAPL", "close": range(2000)})
    writers = {"parquet": frame.to_parquet, "xlsx": frame.to_excel}
    writers.get(name.rpartition(".")[2], frame.to_csv)(tmp_path / name, index=False)
    assert len(read_raw(tmp_path / name, name, FileFormat()).frame) == 2000


def test_small_files_may_expand_as_they_like(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv.gz"
    with gzip.open(path, "wb") as stream:
        stream.write(b"date,symbol,close\n" + ROW * 100_000)
    assert path.stat().st_size * sizes._MOST_RATIO < 100_000 * len(ROW)
    assert len(read_raw(path, path.name, FileFormat()).frame) == 100_000
