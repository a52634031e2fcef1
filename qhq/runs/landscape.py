"""The record of a landscape, ``studies/landscape.json`` of a run's folder."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from qhq.runs.record import Sourced
from qhq.runs.schema import Count, Number

LANDSCAPE = "studies/landscape.json"
"""Where a run keeps it."""

LandscapePart = Literal["all", "circuit"]


class Landscape(Sourced):
    """Training loss around a run's weights, in two random directions.

    Attributes:
        part: Which weights were moved.
        weights: ``kept``, or those of the ``last epoch`` where the untrained ones were kept.
        parameters: How many they are.
        samples: Training windows that the loss is of.
        seed: Of the directions.
        span: How far each direction goes to both sides, where 1 is the length of the weights.
        loss: At the weights themselves, scaled.
        losses: On a square grid, rows along the second direction; None where it is no finite number.
    """

    part: LandscapePart
    weights: str
    parameters: Count
    samples: Count
    seed: Count
    span: Number
    loss: Number
    losses: list[list[Number | None]] = Field(min_length=3, max_length=201)

    @model_validator(mode="after")
    def _is_square(self) -> Self:
        if any(len(row) != len(self.losses) for row in self.losses):
            raise ValueError("losses must be as many in each row as there are rows")
        return self

    @property
    def lowest(self) -> float:
        """The lowest loss on the grid."""
        return min((each for row in self.losses for each in row if each is not None), default=self.loss)

    @property
    def says(self) -> str:
        """What it shows, in a sentence."""
        known = [each for row in self.losses for each in row if each is not None]
        highest = max(known, default=self.loss)
        lower = sum(each < self.loss * (1 - 1e-6) for each in known)
        where = "the lowest on the grid" if not lower else f"{lower} of {len(known)} points are lower"
        return (
            f"The training loss at the weights is {self.loss:.4g}, {where}; around them it goes from"
            f" {self.lowest:.4g} to {highest:.4g} within {self.span:g} times their length"
            f" ({self.parameters:,} weights, {self.samples} windows)."
        )
