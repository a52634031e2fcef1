"""Pricing: what Black's formula says of European options, as arrays.

Every function of ``black_scholes`` broadcasts like a NumPy ufunc and answers NaN, never an error, where a
quote makes no sense.
"""

from typing import TYPE_CHECKING

from qhq.plugins import lazy_names

if TYPE_CHECKING:
    from qhq.pricing.black_scholes import delta as delta
    from qhq.pricing.black_scholes import gamma as gamma
    from qhq.pricing.black_scholes import price as price
    from qhq.pricing.black_scholes import theta as theta
    from qhq.pricing.black_scholes import vega as vega

# Names of the greeks; each is a function of ``black_scholes`` with the arguments of ``price``.
_GREEKS = ("delta", "gamma", "vega", "theta")

__getattr__ = lazy_names(__name__, dict.fromkeys(("price", *_GREEKS), "black_scholes"))
