"""Names of the panel's columns; what they hold is told in ``panel``."""

from __future__ import annotations

KEYS = ("symbol", "date")
PRICES = ("open", "high", "low", "close", "adj_close")
COLUMNS = ("open", "high", "low", "close", "volume", "adj_close")
