import gzip
import hashlib
from datetime import date

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.load import load_panel
from qhq.data.sources.files import BUNDLED
from qhq.data.spec import DataSpec
from qhq.errors import DataError
from tests.data.panels import make_frame


def _spec(path, **kwargs):
    return DataSpec(**({"source": "csv", "path": str(path), "symbols": ("AAA", "BBB")} | kwargs))


def test_the_bundled_csv_is_the_one_of_the_notice():
    digest = hashlib.sha256(gzip.decompress(BUNDLED.read_bytes())).hexdigest()
    notice = BUNDLED.with_name("NOTICE").read_text()
    assert digest == "e73fe05d106b7da1abe8f947264c514afd02cef5c9db4864b9437c84d6bd6069"
    assert digest in notice
    assert "public domain" in notice


def test_every_bundled_row_keeps_the_rules():
    columns = ("open", "high", "low", "close", "volume", "adj_close")
    spec = DataSpec(symbols=("AAPL", "FB", "GOOG", "IBM", "MSFT"), features=columns)
    panel = load_panel(spec)
    assert_array_equal(panel.counts, [3270, 196, 2148, 3270, 3270])
    assert (panel.dates.min(), panel.dates.max()) == (
        np.datetime64("2000-03-01"),
        np.datetime64("2013-03-01"),
    )
    assert_allclose(panel.values[0, :6], [118.56, 132.06, 118.5, 130.31, 9616100, 4.186662803811], rtol=0)


@pytest.mark.parametrize(
    ("header", "called"),
    [
        ("adj_close", {}),
        ("Adj Close", {}),
        ("Close", {"adj_close": "close"}),
        ("Price", {"adj_close": "Price", "close": "Price"}),
        ("Close/Last", {"adj_close": "Close/Last", "close": "Close/Last"}),  # no ticker named Last
        ("Close (USD)", {"adj_close": "Close (USD)", "close": "Close (USD)"}),  # nor USD
        (
            "Settlement Price [EUR/MWh]",
            {
                "adj_close": "Settlement Price [EUR/MWh]",
                "close": "Settlement Price [EUR/MWh]",
            },
        ),
        ("Close price", {"adj_close": "Close price", "close": "Close price"}),
        ("\u6536\u76d8\u4ef7", {"adj_close": "\u6536\u76d8\u4ef7", "close": "\u6536\u76d8\u4ef7"}),
    ],
)
def test_prices_are_called_before_people_as_their_file_calls_them(tmp_path, header, called):
    frame = make_frame(rows=20)[["symbol", "date", "adj_close"]].rename(columns={"adj_close": header})
    frame.to_csv(tmp_path / "prices.csv", index=False)
    assert load_panel(_spec(tmp_path / "prices.csv", features=("adj_close",))).called == called


@pytest.mark.parametrize("name", ["prices.csv", "prices.csv.gz", "prices.parquet"])
def test_a_users_file_reads_back_exactly(tmp_path, name):
    frame, path = make_frame(), tmp_path / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    panel = load_panel(_spec(path, source="parquet" if name.endswith("parquet") else "csv"))
    assert_allclose(panel.values[:, 0], frame["adj_close"], rtol=0)


def test_a_parquet_index_is_a_column(tmp_path):
    make_frame().set_index("date").to_parquet(tmp_path / "prices.parquet")
    assert len(load_panel(_spec(tmp_path / "prices.parquet", source="parquet")).dates) == 400


def test_a_path_is_relative_to_the_current_folder(tmp_path, monkeypatch):
    make_frame().to_csv(tmp_path / "prices.csv", index=False)
    monkeypatch.chdir(tmp_path)
    assert load_panel(_spec("prices.csv")).symbols == ("AAA", "BBB")


def test_a_ticker_that_looks_like_a_missing_value_is_one(tmp_path):
    make_frame(symbols=("NA",)).to_csv(tmp_path / "prices.csv", index=False)
    assert load_panel(_spec(tmp_path / "prices.csv", symbols=("NA",))).symbols == ("NA",)


def test_start_and_end_are_inclusive(tmp_path):
    panel = load_panel(DataSpec(start=date(2010, 1, 4), end=date(2011, 12, 30)))
    assert (panel.dates.min(), panel.dates.max()) == (
        np.datetime64("2010-01-04"),
        np.datetime64("2011-12-30"),
    )


@pytest.mark.parametrize(
    ("span", "match"),
    [
        (
            {"start": date(1990, 1, 1)},
            r"data\.start must lie in the span.* 1990-01-01, .* 2000-03-01 to 2013",
        ),
        ({"end": date(2024, 1, 1)}, r"data\.end must lie in the span.* 2024-01-01"),
        ({"end": date(2003, 1, 1)}, r"none of GOOG from 2000-03-01 to 2003-01-01"),
    ],
)
def test_dates_outside_the_data_are_refused(span, match):
    with pytest.raises(DataError, match=match):
        load_panel(DataSpec(**span))


CUT_SHORT = gzip.compress(b"symbol,date,adj_close\n" * 99, mtime=0)[:40]


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.csv", b"", "Got an empty file"),
        ("a.csv", b"\x89PNG\r\n\x1a\n", "Got a picture"),
        ("a.csv", b"just a note\n", "Got one column, 'just a note'"),
        ("a.csv", b"symbol,date,adj_close\nAAA,2020-01-01,1,234\n", "4 in line 2: 'AAA,2020-01-01,1,234'"),
        ("a.csv", b"symbol,date,adj_close\n", "Got a header alone"),
        ("a.csv.gz", b"no gzip", "Got no .gz archive"),
        ("a.csv.gz", CUT_SHORT, "readable CSV file. Got EOFError"),
        ("a.parquet", b"symbol,date,adj_close\n", "Got a header alone"),
        ("a.parquet", b"PAR1 and no more", "readable Parquet file. Got ArrowInvalid"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, match):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=match) as caught:
        load_panel(_spec(tmp_path / name, source="parquet" if name.endswith("parquet") else "csv"))
    assert name in str(caught.value)


@pytest.mark.parametrize(("name", "match"), [("none.csv", "which is not there"), (".", "which is a folder")])
def test_a_missing_file_is_named(tmp_path, name, match):
    with pytest.raises(DataError, match=match):
        load_panel(_spec(tmp_path / name))
