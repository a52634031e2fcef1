"""What a config may say of how a file is written (``data.format``): separators, dates, units."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from qhq.documents import Spec
from qhq.limits import MOST_STEPS

Volatility = Literal["fraction", "percent", "basis_points", "variance", "total_variance"]


class OptionUnits(Spec):
    """Units of an option file; None assumes those of the panel, and qhq warns if the numbers suggest others.

    Attributes:
        volatility: Of ``iv``: a fraction per square root of a year (0.2), percent (20), basis points (2000),
            variance (0.04), or variance times years to expiry.
        rates: Of ``rate``: a fraction per year (0.05) or percent (5).
        prices: Of bid, ask, mid and last: per share, or per contract of 100 shares (or of ``multiplier``).
        strikes: In the unit of the spot, in hundredths or in thousandths of it.
        expiries: ``as_written``, or ``last_trading_day``: a Saturday, a Sunday or a US exchange holiday
            means the last trading day before it, to which days to expiry are then counted.
    """

    volatility: Volatility | None = None
    rates: Literal["fraction", "percent"] | None = None
    prices: Literal["per_share", "per_contract"] | None = None
    strikes: Literal["spot_unit", "hundredths", "thousandths"] | None = None
    expiries: Literal["as_written", "last_trading_day"] | None = None


AS_PANEL = OptionUnits()
"""Nothing said of the units."""

# What ``data.format.dates`` may be, beside a pattern such as ``%d.%m.%y``.
_DATE_ORDERS = (
    "iso", "dayfirst", "monthfirst", "yearfirst", "compact", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns",
    "excel",
)  # fmt: skip

_Text = Annotated[str, Field(min_length=1)]


class FileFormat(OptionUnits):
    """How a file is written; a key is needed only where the file itself leaves two readings.

    The units of an option file are among the keys (``OptionUnits``).

    Attributes:
        form: The vendor's form by its name (``qhq.data.sources.forms``); found by the header if left out.
            ``plain`` is none: columns are read by the names of the schema.
        columns: ``{name of the schema: column of the file}``, where the header does not say which is which.
        symbol: Symbol of a file that has no column for it; its file name if left out.
        dates: Order of the dates: iso, dayfirst, monthfirst, yearfirst, compact (20240131), epoch_s,
            epoch_ms, epoch_us, epoch_ns, excel (days since 1899-12-30), or a pattern such as ``%d.%m.%y``.
        decimal: Mark before the fraction of a number.
        thousands: Mark between groups of digits.
        ignore: Characters around a number that say nothing, such as a footnote's ``*``.
        delimiter: Between the fields of a text file.
        encoding: Of a text file, such as utf-8, utf-16 or cp1252.
        sheet: Sheet of an Excel file; the first if left out.
        header: Line of the file with the names of the columns, counted from 1.
        intraday: ``last`` makes one row of each session out of bars or quotes within the day: of bars the
            first open, the highest high, the lowest low, the last close and the sum of the volumes; of option
            quotes the last. Without it they are refused.
        spot: File of daily prices that gives an option file without a column ``spot`` the price of its
            underlyings (their ``close``).
    """

    form: _Text | None = None
    columns: dict[str, _Text] = Field(default_factory=dict)
    symbol: _Text | None = None
    dates: _Text | None = None
    decimal: Annotated[str, Field(pattern=r"^[.,]$")] | None = None
    thousands: Annotated[str, Field(pattern=r"^[.,' ]?$")] | None = None
    ignore: str = ""
    delimiter: _Text | None = None
    encoding: _Text | None = None
    sheet: _Text | None = None
    header: Annotated[int, Field(ge=1, le=MOST_STEPS)] | None = None
    intraday: Annotated[str, Field(pattern="^last$")] | None = None
    spot: _Text | None = None

    @field_validator("dates")
    @classmethod
    def _is_known(cls, dates: str | None) -> str | None:
        if dates is not None and "%" not in dates and dates not in _DATE_ORDERS:
            raise ValueError(f"must be one of {', '.join(_DATE_ORDERS)}, or a pattern such as %d.%m.%y")
        return dates
