"""How the sessions are shared out, as the ``data.split`` part of a config."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from qhq.documents import Spec
from qhq.limits import MOST_STEPS

Fraction = Annotated[float, Field(gt=0, lt=1)]
Scheme = Literal["single", "expanding", "rolling"]


class SplitSpec(Spec):
    """How the sessions are shared out: by fractions, or by two dates, which then win.

    Walk-forward (``expanding`` or ``rolling``) divides the newest ``test`` fraction into test blocks one
    after another; fold k is validated on the ``validation`` fraction before its block and trained on all
    sessions before that (``expanding``), or on the newest ``train`` fraction of them (``rolling``).

    Attributes:
        scheme: One split, or the folds of a walk-forward.
        train: Fraction of the sessions, the oldest.
        validation: Fraction of the sessions that follow.
        test: Fraction of the sessions, the newest.
        validation_from: First date of the validation part, together with ``test_from``.
        test_from: First date of the test part.
        folds: Number of test blocks of a walk-forward.
        fold: Which of them, from 0; None is all of them, one after another, for `qhq train`, and the first
            for whatever trains a single model.
        refit: Sessions of a test block, in place of ``folds``: a model is trained anew each so many sessions.
        embargo: Sessions left out between the targets of two parts, beyond the horizon.
        held_out: Symbols (underlyings) that only the test part may see.
        lookback: Whether the first windows of validation and test take their inputs from the part before, so
            that no session is lost at a border. A walk-forward does unless told otherwise. A single split
            does not unless told so: so it was when the shipped figures were measured.
    """

    scheme: Scheme = "single"
    train: Fraction = 0.7
    validation: Fraction = 0.1
    test: Fraction = 0.2
    validation_from: date | None = None
    test_from: date | None = None
    folds: Annotated[int, Field(ge=1, le=MOST_STEPS)] = 1
    fold: Annotated[int, Field(ge=0, le=MOST_STEPS)] | None = None
    refit: Annotated[int, Field(ge=1, le=MOST_STEPS)] | None = Field(
        None, exclude_if=lambda each: each is None
    )
    embargo: Annotated[int, Field(ge=0, le=MOST_STEPS)] = 0
    held_out: tuple[str, ...] = ()
    lookback: bool | None = Field(None, exclude_if=lambda each: each is None)

    @property
    def walks(self) -> bool:
        """Whether there are several folds, and none of them is named."""
        return self.fold is None

    @model_validator(mode="before")
    @classmethod
    def _settle(cls, content: Any) -> Any:
        """Write down what was left open, so that a stored config means the same under a later rule."""
        if not isinstance(content, Mapping):
            return content
        walks = content.get("scheme", "single") != "single"
        settled = dict(content)
        if walks and content.get("lookback") is None:
            settled["lookback"] = True
        if content.get("fold") is None and content.get("folds", 1) == 1 and content.get("refit") is None:
            settled["fold"] = 0
        return settled

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

    @model_validator(mode="after")
    def _walks_forward(self) -> Self:
        if self.scheme == "single" and (self.folds > 1 or self.refit is not None):
            raise ValueError("folds and refit need scheme expanding or rolling")
        if self.refit is not None and self.folds > 1:
            raise ValueError("refit counts the sessions of a fold, folds the folds: give one of them")
        if self.fold is not None and self.refit is None and self.fold >= self.folds:
            raise ValueError(f"fold must be below folds, {self.folds}; the first is 0")
        if self.scheme != "single" and self.test_from is not None:
            raise ValueError("validation_from and test_from are for scheme single")
        return self
