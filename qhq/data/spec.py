"""What a config may say about data: how files are written, where rows come from, how they are cut and scaled.

Imports neither pandas nor torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from qhq.data.caveat import Caveat, Leak
from qhq.data.columns import (
    FROM_LOGS,
    FROM_QUOTES,
    KNOWN_TODAY,
    OPTION_PRICES,
    PRICING_COLUMNS,
    TABLES,
    PanelKind,
    canonical_name,
    unit_of,
)
from qhq.data.file_format import FileFormat
from qhq.data.quarantine import LIMIT, BadRows, RowPolicy
from qhq.data.split_spec import SplitSpec
from qhq.documents import Spec
from qhq.errors import nearest
from qhq.limits import MOST_SEED, MOST_STEPS

Source = Literal[
    "bundled", "csv", "parquet", "yahoo", "recorded", "surface", "synthetic", "random_walk", "planted"
]
Task = Literal["forecast", "price"]
_Gaps = Literal["close", "mask"]
Scaling = str
"""A key of `SCALINGS`."""
_Name = Annotated[str, Field(min_length=1)]
_Names = tuple[_Name, ...]
Bounds = tuple[float | None, float | None]

OPTION_SOURCES = ("recorded", "surface", "synthetic")
_FILE_SOURCES = ("csv", "parquet", "recorded")
# Files of the user's own; nobody can correct a row of the others.
_EDITABLE_SOURCES = ("csv", "parquet")
PRICED = (*OPTION_PRICES, "iv")
"""Columns that an implied volatility can be turned into."""

DEFAULT = "default"
"""Key of `data.scaling` for every column that is not named there."""


@dataclass(frozen=True)
class ScalingFacts:
    """What must be known of a scaling before there are data. What is not said is not so.

    Attributes:
        scaler: What fits it: a file of ``qhq.data.scaling``, a class in it, and its class method, as
            ``series:SymbolScaler.fit_minmax``. Named here and imported there, as a scaler needs windows.
        logs: Whether it takes logarithms of prices, which then must be above zero.
        options: Whether it needs a contract's strike, spot or volatility.
        by_series: Whether it keeps statistics per series, so that it cannot scale new contracts.
        unit_free: Whether a model does not notice that all prices were multiplied by one number.
        keeps_level: Whether the level of an adjusted close, which tells of later dividends, is left in.
    """

    scaler: str
    logs: bool = False
    options: bool = False
    by_series: bool = False
    unit_free: bool = False
    keeps_level: bool = False


SCALINGS: dict[Scaling, ScalingFacts] = {
    "window": ScalingFacts("series:WindowScaler.fit", logs=True, unit_free=True),
    "window_mean": ScalingFacts("series:WindowMeanScaler.fit", keeps_level=True),
    "minmax": ScalingFacts("series:SymbolScaler.fit_minmax", by_series=True),
    "standard": ScalingFacts("series:SymbolScaler.fit_standard", by_series=True),
    "log_standard": ScalingFacts("series:SymbolScaler.fit_log_standard", by_series=True),
    "log_return": ScalingFacts("series:LogReturnScaler.fit", logs=True, by_series=True, unit_free=True),
    "raw": ScalingFacts("series:PanelScaler.fit_raw", keeps_level=True),
    "panel_minmax": ScalingFacts("series:PanelScaler.fit_minmax", keeps_level=True),
    "contract_minmax": ScalingFacts("option:ContractScaler.fit", options=True),
    "over_strike": ScalingFacts("option:ChangeScaler.fit_over_strike", options=True, unit_free=True),
    "over_spot": ScalingFacts("option:ChangeScaler.fit_over_spot", options=True, unit_free=True),
    "residual": ScalingFacts("option:ChangeScaler.fit_residual", options=True, unit_free=True),
    "implied_volatility": ScalingFacts("option:ImpliedVolatilityScaler.fit", options=True, unit_free=True),
}
"""To add a scaling: a line here, and the class that it names."""

OPTION_SCALINGS = tuple(name for name, facts in SCALINGS.items() if facts.options)
"""Scalings that need an option panel."""


def _canonical(name: str) -> str:
    # Of both kinds of panels: fields are read one by one, before the source says which it is.
    return canonical_name(name, TABLES["options"] | TABLES["stocks"])


class DataSpec(Spec):
    """Which prices, for which task, cut and scaled how.

    Attributes:
        source: The bundled prices, a user's own file (schema: ``qhq.data.columns``),
            Yahoo, chains that ``qhq data record`` kept, the surface data of the extra ``data``,
            synthetic options on the bundled prices, or a control (``qhq.data.sources.synthetic``).
        panel: Stocks or options; needed for ``csv`` and ``parquet`` files of options only.
        path: The file of ``csv`` or ``parquet`` (its content decides which), or the folder of
            ``recorded``. Given alone it stands for source ``csv``, with all symbols of the file unless some
            are named.
        format: How the file is written, where it leaves two readings (``qhq.data.spec``).
        symbols: Symbols, or underlyings of the options, in this order; None is all.
        start: First date to use, inclusive; None is all.
        end: Last date to use, inclusive; None is all.
        every: ``week`` or ``month`` makes of the sessions of each that is over one row (`qhq.data.periods`).
            None takes the rows as they are; it is not written.
        task: ``forecast``: nothing of a target's day or later is an input. ``price``: option quotes of a
            day from that day's spot and the history until the day before.
        features: Columns that enter a window, row by row.
        static: Columns that enter once beside it: of the last input row (``forecast``), or of the target's
            own row (``price``), where none may come from that day's option quotes.
        targets: Columns to forecast together, K of them, each one of ``features``.
        window: Input rows of a window, T.
        horizon: Target rows of a window, H.
        gaps: ``close`` takes the rows there are as neighbours; ``mask`` lays them on the sessions, fills a
            missing input from before, and tells the model in one more feature which rows are real.
        max_gap: Missing sessions in a row that a window may span.
        where: ``{column: [low, high]}`` that a window's last input row must keep; null is no limit.
        split: How the sessions are shared out.
        scaling: How windows are scaled (``qhq.data.scaling``): one kind for all columns, or
            ``{default: KIND, COLUMN: KIND, ...}``; static columns are scaled by the default.
        rate: Interest rate per year for option files without a column ``rate``, continuously compounded; a
            fraction, not percent.
        bad_rows: ``quarantine`` sets rows that break a rule aside and says so, ``refuse`` takes no data with
            one. None sets aside, but for cells of a user's own file that cannot be read, and for real prices
            below zero where logarithms are taken (``qhq.data.caveat``).
        bad_rows_limit: Share of bad rows above which the data are refused all the same.
        calendar: Name of the exchange's calendar in ``exchange_calendars``, such as ``XLON`` or ``24/7``,
            which says what is a session: the rows must fit it. Without one it is New York's where the rows
            fit that, and else their spacing.
        offline: Serve Yahoo from the cache alone.
        panel_seed: Seed of the synthetic panel, or of a control.
        leaks: Leaks to switch on by name, to show what they do; every output then says so. Without any it is
            not written, so that a config without leaks is called what it was.
    """

    source: Source = "bundled"
    panel: PanelKind | None = None
    path: str | None = None
    format: FileFormat = Field(FileFormat(), exclude_if=lambda given: given == FileFormat())
    symbols: Annotated[_Names, Field(min_length=1)] | None = ("AAPL", "MSFT", "GOOG")
    start: date | None = None
    end: date | None = None
    every: Literal["week", "month"] | None = Field(None, exclude_if=lambda given: given is None)
    task: Task = "forecast"
    features: Annotated[_Names, Field(min_length=1)] = ("adj_close",)
    static: _Names = ()
    targets: Annotated[_Names, Field(min_length=1)] = ("adj_close",)
    window: Annotated[int, Field(ge=2, le=MOST_STEPS)] = 20
    horizon: Annotated[int, Field(ge=1, le=MOST_STEPS)] = 1
    gaps: _Gaps = "close"
    max_gap: Annotated[int, Field(ge=0, le=MOST_STEPS)] = 10
    where: dict[str, Bounds] = Field(default_factory=dict)
    split: SplitSpec = SplitSpec()
    scaling: Scaling | dict[_Name, Scaling] = "window"
    rate: Annotated[float, Field(gt=-1, lt=1)] = 0.0
    bad_rows: BadRows | None = Field(None, exclude_if=lambda choice: choice is None)
    bad_rows_limit: Annotated[float, Field(ge=0, le=1)] = Field(
        LIMIT, exclude_if=lambda limit: limit == LIMIT
    )
    # Not written without one, so that a config of before is called what it was.
    calendar: _Name | None = Field(None, exclude_if=lambda name: name is None)
    offline: bool = False
    panel_seed: Annotated[int, Field(ge=0, le=MOST_SEED)] = 0
    leaks: tuple[Leak, ...] = Field((), exclude_if=lambda leaks: not leaks)

    @property
    def kind(self) -> PanelKind:
        """Stocks or options."""
        return "options" if self.source in OPTION_SOURCES else self.panel or "stocks"

    @property
    def columns(self) -> _Names:
        """Every column that the config needs, each once; features first."""
        always = PRICING_COLUMNS if self.kind == "options" else ()
        return tuple(dict.fromkeys([*self.features, *self.static, *self.targets, *self.where, *always]))

    @property
    def default_scaling(self) -> Scaling:
        """Scaling of what has none of its own."""
        return self.scaling if isinstance(self.scaling, str) else self.scaling[DEFAULT]

    @property
    def scalings(self) -> dict[str, Scaling]:
        """Scaling of each feature."""
        own: Mapping[str, Scaling] = {} if isinstance(self.scaling, str) else self.scaling
        return {name: own.get(name, self.default_scaling) for name in self.features}

    @property
    def caveat(self) -> Caveat:
        """What every output of it must say."""
        return Caveat(self.leaks)

    def with_fold(self, fold: int) -> DataSpec:
        """The same of one fold of a walk-forward."""
        return self.model_copy(update={"split": self.split.model_copy(update={"fold": fold})})

    @property
    def row_policy(self) -> RowPolicy:
        """What to do with rows that break a rule."""
        return RowPolicy(
            self.bad_rows,
            self.bad_rows_limit,
            editable=self.source in _EDITABLE_SOURCES,
            signed=not self.takes_logs,
            span=(self.start, self.end),
            calendar=self.calendar,
        )

    @property
    def takes_logs(self) -> bool:
        """Whether prices must be above zero: a scaling or a computed column takes their logarithms."""
        logs = {name for name, kind in self.scalings.items() if SCALINGS[kind].logs}
        # A return or an indicator has no say in whether a price may be below zero.
        priced = isinstance(self.scaling, str) or any(unit_of(name) == "price" for name in logs)
        return (priced and bool(logs)) or not FROM_LOGS.isdisjoint(self.columns)

    @model_validator(mode="before")
    @classmethod
    def _path_implies_source(cls, content: Any) -> Any:
        """A path alone is a file of the user's own, and its symbols are those in it."""
        if isinstance(content, Mapping) and content.get("path") is not None and "source" not in content:
            return {"symbols": None} | dict(content) | {"source": "csv"}
        return content

    @field_validator("scaling", mode="before")
    @classmethod
    def _settle_scaling(cls, given: Any) -> Any:
        """A scaling for each column, names as in the schema; one for all of them is that kind itself."""
        if isinstance(given, str) and given in SCALINGS:
            return given
        if not isinstance(given, Mapping):
            hint = nearest(str(given), SCALINGS)
            raise ValueError(f"must be a scaling, or {{default: SCALING, COLUMN: SCALING, ...}}. {hint}")
        # What a mapping does not name is scaled as in a config that says nothing of scaling.
        settled: dict[str, object] = {DEFAULT: "window"}
        for column, kind in given.items():
            if kind not in SCALINGS:
                raise ValueError(f"'{kind}' of '{column}' is no scaling. {nearest(str(kind), SCALINGS)}")
            name = column if column == DEFAULT else _canonical(str(column))
            if name in settled and name != DEFAULT:
                raise ValueError(f"'{name}' must have one scaling")
            settled[name] = kind
        return settled if len(settled) > 1 else settled[DEFAULT]

    @field_validator("symbols")
    @classmethod
    def _strip(cls, names: _Names | None) -> _Names | None:
        return None if names is None else tuple(name.strip() for name in names)

    @field_validator("features", "static", "targets")
    @classmethod
    def _write_as_schema(cls, names: _Names) -> _Names:
        return tuple(_canonical(name) for name in names)

    @field_validator("where")
    @classmethod
    def _write_keys_as_schema(cls, where: dict[str, Bounds]) -> dict[str, Bounds]:
        return {_canonical(name): limits for name, limits in where.items()}

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.source in _FILE_SOURCES) != (self.path is not None):
            raise ValueError("path must be given for source csv, parquet or recorded, and only then")
        if self.panel is not None and self.panel != self.kind:
            raise ValueError(f"source {self.source} has a panel of {self.kind}, not of {self.panel}")
        if self.source == "yahoo" and None in (self.symbols, self.start, self.end):
            raise ValueError("symbols, start and end must be named for source yahoo")
        if self.source == "yahoo" and any(name != name.upper() for name in self.symbols or ()):
            raise ValueError("symbols of source yahoo must be in capitals")
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"start {self.start} must not lie after end {self.end}")
        if self.every and self.kind == "options":
            raise ValueError(f"every: {self.every} needs a panel of stocks: a contract has few weeks")
        self._check_names()
        self._check_task()
        self._check_scaling()
        self._check_leaks()
        return self

    def _check_names(self) -> None:
        lists = {"features": self.features, "targets": self.targets, "static": self.static}
        for key, names in ({"symbols": self.symbols or ()} | lists).items():
            if len(set(names)) != len(names):
                raise ValueError(f"{key} must not name anything twice")
        for target in self.targets:
            if target not in self.features:
                raise ValueError(f"target '{target}' must be one of features ({', '.join(self.features)})")
        for symbol in self.split.held_out:
            if self.symbols is not None and symbol not in self.symbols:
                raise ValueError(f"split.held_out '{symbol}' must be one of symbols")

    def _check_task(self) -> None:
        if self.task == "forecast":
            return
        if self.kind != "options" or self.horizon != 1:
            raise ValueError("task price needs an option panel and horizon 1: it prices today's quotes")
        for name in self.static:
            if name not in KNOWN_TODAY:
                raise ValueError(
                    f"static '{name}' may come from the day's option quotes, which task price must not see;"
                    " put it among features, which end the day before, or take some of"
                    f" {', '.join(sorted(KNOWN_TODAY))}"
                )
        for target in self.targets:
            if target not in FROM_QUOTES:
                raise ValueError(f"target '{target}' of task price must be an option quote (such as mid)")

    def _check_leaks(self) -> None:
        if len(set(self.leaks)) != len(self.leaks):
            raise ValueError("leaks must not name anything twice")
        if "last_symbol_inverts" in self.leaks and (
            self.scaling not in ("minmax", "standard") or self.static or self.where or self.gaps == "mask"
        ):
            raise ValueError(
                "leak last_symbol_inverts needs scaling minmax or standard, which are by symbol,"
                " and neither static, where nor gaps: mask"
            )

    def _check_scaling(self) -> None:
        named = () if isinstance(self.scaling, str) else self.scaling
        for column in named:
            if column != DEFAULT and column not in self.features:
                static = " (static columns are scaled by the default)" if column in self.static else ""
                raise ValueError(
                    f"scaling of '{column}' must be of one of the features{static}."
                    f" {nearest(column, self.features)}"
                )
        for column, kind in self.scalings.items():
            of = "" if isinstance(self.scaling, str) else f" of {column}"
            if SCALINGS[kind].options and self.kind != "options":
                raise ValueError(f"scaling {kind}{of} needs an option panel")
            if of and kind == "implied_volatility" and column in self.targets and column not in PRICED:
                raise ValueError(
                    f"scaling {kind} cannot bring target '{column}' back: it inverts {', '.join(PRICED)};"
                    " give that column another"
                )
        # An adjusted level tells of dividends to come; only what is relative to the series itself does not.
        kind = self.scalings.get("adj_close", "window")
        if SCALINGS[kind].keeps_level or (
            "adj_close" in self.static and SCALINGS[self.default_scaling].keeps_level
        ):
            raise ValueError(
                f"scaling {kind} of adj_close would tell of later dividends: take close, or another scaling"
            )
        # Neither a static value nor a limit is taken relative to its own series.
        for key in ("static", "where"):
            if "adj_close" in getattr(self, key):
                raise ValueError(f"adj_close must not be in {key}: its level tells of later dividends")
