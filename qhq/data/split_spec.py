"""What a config may say of how the sessions are shared out (``data.split``)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from qhq.documents import Spec
from qhq.files import Json
from qhq.limits import MOST_STEPS

_Fraction = Annotated[float, Field(gt=0, lt=1)]
_Scheme = Literal["single", "expanding", "rolling"]
_WALK = "walk_forward"


def _walk_in_own_words(content: Mapping[str, Any]) -> Json:
    """``scheme: walk_forward``, ``history`` and ``refit_every`` as scheme and ``refit``."""
    # One way to write it is kept, so that a stored config, and the name that a study has of it, stay what
    # they were.
    settled = dict(content)
    if "refit_every" in settled:
        every = settled.pop("refit_every")
        if settled.get("refit") not in (None, every):
            raise ValueError("refit and refit_every say the same: give one of them")
        settled["refit"] = every
    if settled.get("scheme") != _WALK:
        if "history" in settled:
            raise ValueError("history needs scheme walk_forward: expanding and rolling have it already")
        return settled
    if settled.get("refit") is None and "folds" not in settled:
        raise ValueError("scheme walk_forward needs refit_every, sessions from refit to refit, or folds")
    # A single split is written down with fold 0: laid over one, every fold would silently be the first alone.
    if settled.get("fold") == 0 and (settled.get("refit") is not None or settled.get("folds") != 1):
        raise ValueError(
            "scheme walk_forward beside fold 0 could mean every fold or the first: set fold to null, or take"
            " scheme expanding or rolling"
        )
    settled["scheme"] = settled.pop("history", "expanding")
    if settled["scheme"] not in ("expanding", "rolling"):
        raise ValueError("history must be expanding or rolling")
    return settled


class SplitSpec(Spec):
    """How the sessions are shared out: by fractions, or by two dates, which then win.

    Walk-forward (``expanding`` or ``rolling``) divides the newest ``test`` fraction into test blocks one
    after another; fold k is validated on the ``validation`` fraction before its block and trained on all
    sessions before that (``expanding``), or on the newest ``train`` fraction of them (``rolling``), where the
    three may add up to more than 1: the first folds are then trained on what there is.
    ``scheme: walk_forward`` is ``expanding``, or what ``history`` says, and ``refit_every`` is ``refit``;
    both are written down so.

    Attributes:
        scheme: One split, or the folds of a walk-forward.
        train: Fraction of the sessions, the oldest.
        validation: Fraction of the sessions that follow.
        test: Fraction of the sessions, the newest.
        validation_from: First date of the validation split, together with ``test_from``.
        test_from: First date of the test split.
        folds: Number of test blocks of a walk-forward.
        fold: Which of them, from 0; None is all of them, one after another, for `qhq train`, and the first
            for whatever trains a single model.
        refit: Sessions of a test block, in place of ``folds``: a model is trained anew each so many sessions.
        embargo: Sessions left out between the targets of two splits, beyond the horizon.
        held_out: Symbols (underlyings) that only the test split may see.
        lookback: Whether the first windows of validation and test take their inputs from the split before, so
            that no session is lost at a border. A walk-forward does by default. A single split does not
            by default: so it was when the shipped figures were measured.
    """

    scheme: _Scheme = "single"
    train: _Fraction = 0.7
    validation: _Fraction = 0.1
    test: _Fraction = 0.2
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
        settled = _walk_in_own_words(content)
        walks = settled.get("scheme", "single") != "single"
        if walks and content.get("lookback") is None:
            settled["lookback"] = True
        # Of one fold there is nothing to choose; None would mean all of several.
        if settled.get("fold") is None and settled.get("folds", 1) == 1 and settled.get("refit") is None:
            settled["fold"] = 0
        return settled

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        total = self.train + self.validation + self.test
        # A rolling history may be longer than what precedes the first test block: later folds have it whole.
        longer = self.scheme == "rolling" and total > 1.0 and self.train + self.validation <= 1.0
        if not longer and not math.isclose(total, 1.0, abs_tol=1e-9):
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
