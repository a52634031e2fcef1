"""Options to test with: drawn one by one, or thousands from a seed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EPS = np.finfo(np.float64).eps


class Option(NamedTuple):
    """The arguments of every function of ``black_scholes``, in their order."""

    forward: Floats | float
    strike: Floats | float
    years: Floats | float
    volatility: Floats | float
    discount: Floats | float
    right: Floats | float

    def quote(self, price: Floats | float):
        """The arguments of ``implied_volatility``."""
        return price, self.forward, self.strike, self.years, self.discount, self.right


def _option(
    forward: float, spread: float, years: float, volatility: float, rate: float, right: int
) -> Option:
    return Option(forward, forward * np.exp(spread), years, volatility, np.exp(-rate * years), right)


options = st.builds(
    _option,
    forward=st.floats(0.01, 1e5),
    spread=st.floats(-1.5, 1.5),
    years=st.floats(1 / 365, 5),
    volatility=st.floats(0.01, 3),
    rate=st.floats(-0.02, 0.15),
    right=st.sampled_from([-1, 1]),
)


def random_options(number: int, *, seed: int) -> Option:
    """From a day to three years, from 5 % to 150 % of volatility, most within 60 % of the forward."""
    draw = np.random.default_rng(seed)
    forward = draw.uniform(1, 1000, number)
    years = draw.uniform(1 / 365, 3, number)
    return Option(
        forward=forward,
        strike=forward * np.exp(draw.normal(0, 0.3, number)),
        years=years,
        volatility=draw.uniform(0.05, 1.5, number),
        discount=np.exp(-draw.uniform(-0.01, 0.08, number) * years),
        right=draw.choice([-1.0, 1.0], number),
    )
