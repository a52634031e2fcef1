"""Yahoo Finance through the unmodified yfinance client: daily prices, option chains, single contracts.

Read in this order: `client` (which host is asked and how often, and every way in which an answer
can fail), `history` (daily prices as traded from Yahoo's split-adjusted ones, and adjusted closes that a
later action never changes), `options` (chains and contracts), `load` (the cache of Parquet files; what the
data source and ``qhq data fetch`` call).

``QHQ_YAHOO_URL`` (https, or http on this machine) sends every Yahoo host to one address, and then no other
host is asked. yfinance is imported only once something is asked.
"""

from qhq.plugins import lazy_names

__all__ = [
    "fetch_chain",
    "fetch_contract",
    "fetch_expiries",
    "fetch_history",
    "load_history",
    "open_yahoo",
]
__getattr__ = lazy_names(
    __name__,
    {
        "fetch_chain": "options",
        "fetch_contract": "options",
        "fetch_expiries": "options",
        "fetch_history": "history",
        "load_history": "load",
        "open_yahoo": "client",
    },
)
