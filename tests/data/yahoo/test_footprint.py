"""What importing and asking leaves behind: nothing at home, and nothing heavy before it is needed."""

import os
import subprocess
import sys
from pathlib import Path

LIGHT = """
import sys
import qhq.data.yahoo
import qhq.data.yahoo.load, qhq.data.yahoo.history, qhq.data.yahoo.options
print(sorted(name for name in ("yfinance", "curl_cffi") if name in sys.modules))
"""
ASKING = """
from qhq.data.yahoo import fetch_expiries, load_history, open_yahoo
from qhq.data.yahoo.client import Pacing
yahoo = open_yahoo(pacing=Pacing(interval_seconds=0.0))
print(len(load_history(["AAPL"], yahoo=yahoo)), len(fetch_expiries("AAPL", yahoo=yahoo)))
"""


def run(code, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "QHQ_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**kept, **environment},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_yfinance_is_imported_only_when_something_is_asked(tmp_path):
    assert run(LIGHT, HOME=str(tmp_path)) == "[]"


def test_nothing_is_written_outside_the_cache(tmp_path, yahoo_loopback):
    home, cache = tmp_path / "home", tmp_path / "own"
    home.mkdir()
    seen = run(ASKING, HOME=str(home), QHQ_CACHE_DIR=str(cache), QHQ_YAHOO_URL=yahoo_loopback.url)
    assert seen == "390 4"
    assert list(home.rglob("*")) == []
    assert sorted(file.name for file in cache.iterdir()) == ["yahoo", "yfinance"]
