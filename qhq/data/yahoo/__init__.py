"""Yahoo Finance through the unmodified yfinance client: daily prices, option chains, single contracts.

Read in this order: `session` (which host is asked), `pacing` (how often), `client` (a question, and every way
in which its answer can fail), `history` (raw daily prices from Yahoo's split-adjusted ones), `adjustment`
(adjusted closes that a later action never changes), `symbols`, `contract` and `chain` (options), `cache`
(Parquet with a sidecar), `load` (what the data source and ``qhq data fetch`` call).

``QHQ_YAHOO_URL`` (https, or http on this machine) sends every Yahoo host to one address, and then no other
host is asked. yfinance is imported only once something is asked.
"""

from qhq.public import lazy_names

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
        "fetch_chain": "chain",
        "fetch_contract": "contract",
        "fetch_expiries": "chain",
        "fetch_history": "history",
        "load_history": "load",
        "open_yahoo": "client",
    },
)
