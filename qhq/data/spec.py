"""What a config may say about data. Imports neither pandas nor torch."""

from __future__ import annotations

import math
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from qhq.documents import Spec

Scaling = Literal["window", "minmax", "standard", "log_return"]
Source = Literal["bundled", "csv", "parquet"]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Name = Annotated[str, Field(min_length=1)]


class SplitSpec(Spec):
    """How the sessions are shared out: by fractions, or by two dates, which then win.

    Attributes:
        train: Fraction of the sessions, the oldest.
        validation: Fraction of the sessions that follow.
        test: Fraction of the sessions, the newest.
        validation_from: First date of the validation part, together with ``test_from``.
        test_from: First date of the test part.
    """

    train: Fraction = 0.7
    validation: Fraction = 0.1
    test: Fraction = 0.2
    validation_from: date | None = None
    test_from: date | None = None

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        total = self.train + self.validation + self.test
        if not math.isclose(total, 1.0, abs_tol=1e-9):
            raise ValueError(f"train + validation + test must sum to 1, not to {total:g}")
        if (self.validation_from is None) != (self.test_from is None):
            raise ValueError("validation_from and test_from must be given together")
        if self.validation_from and self.test_from and self.validation_from >= self.test_from:
            raise ValueError("validation_from must lie before test_from")
        return self


class DataSpec(Spec):
    """Which prices, cut and scaled how.

    Attributes:
        source: The bundled prices, or a user's own file (schema: ``qhq.data.panel``).
        path: The file of ``csv`` or ``parquet``, relative to the current folder.
        symbols: Symbols to read, in this order.
        start: First date to use, inclusive; None is all.
        end: Last date to use, inclusive; None is all.
        features: Columns that enter a window.
        targets: Columns to forecast together, K of them, each one of ``features``.
        window: Input rows of a window, T.
        horizon: Target rows of a window, H.
        split: How the sessions are shared out.
        scaling: How windows are scaled (``qhq.data.scaling.fit``).
    """

    source: Source = "bundled"
    path: str | None = None
    symbols: Annotated[tuple[Name, ...], Field(min_length=1)] = ("AAPL", "MSFT", "GOOG")
    start: date | None = None
    end: date | None = None
    features: Annotated[tuple[Name, ...], Field(min_length=1)] = ("adj_close",)
    targets: Annotated[tuple[Name, ...], Field(min_length=1)] = ("adj_close",)
    window: Annotated[int, Field(ge=2)] = 20
    horizon: Annotated[int, Field(ge=1)] = 1
    split: SplitSpec = SplitSpec()
    scaling: Scaling = "window"

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.source == "bundled") != (self.path is None):
            raise ValueError("path must be given for source csv or parquet, and only then")
        for key, names in (("symbols", self.symbols), ("features", self.features), ("targets", self.targets)):
            if len(set(names)) != len(names):
                raise ValueError(f"{key} must not name anything twice")
        for target in self.targets:
            if target not in self.features:
                raise ValueError(f"target '{target}' must be one of features ({', '.join(self.features)})")
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"start {self.start} must not lie after end {self.end}")
        return self
