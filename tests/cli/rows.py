"""Small files for the tests of ``qhq data``."""

import numpy as np
import pandas as pd

from tests.data.chains import make_chain


def prices(rows: int = 60) -> pd.DataFrame:
    days = pd.bdate_range("2020-01-01", periods=rows).strftime("%Y-%m-%d")
    return pd.DataFrame({"symbol": "ABC", "date": days, "close": 100.0 + np.arange(rows)})


def chains(**changes: object) -> pd.DataFrame:
    return pd.concat([make_chain(session="2026-11-19"), make_chain()]).assign(**changes)
