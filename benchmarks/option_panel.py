"""350,000 option rows from a CSV file: loaded, checked, laid out, split and cut into windows."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.memory import gibibytes, peak_bytes
from benchmarks.table import Table, Target, digits

ROWS = 350_000
WRITE = """
import sys
from qhq.data.sources.synthetic import synthesise
frame = synthesise(("AAPL", "MSFT", "GOOG"), start="2007-01-01", end="2011-06-30")
frame["last"] = (frame["bid"] + frame["ask"]) / 2
frame.head(int(sys.argv[2])).to_csv(sys.argv[1], index=False)
"""
"""Run in a process of its own, so that its memory is not counted."""


def measure(*, quick: bool) -> dict[str, Any]:
    """Seconds of each step, rows, windows and the peak of memory."""
    from qhq.data.load import load_panel
    from qhq.data.split import split_panel
    from qhq.data.windows import arrange_rows

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "options.csv"
        count = ROWS // 10 if quick else ROWS
        subprocess.run([sys.executable, "-c", WRITE, str(path), str(count)], check=True)
        spec = _spec(path)
        before, times = peak_bytes(), [perf_counter()]
        panel = load_panel(spec)
        times.append(perf_counter())
        parts = split_panel(arrange_rows(panel, spec), spec)
        times.append(perf_counter())
    windows = sum(len(part.windows) for part in (parts.train, parts.validation, parts.test))
    return {
        "rows": len(panel.code),
        "windows": windows,
        "load_seconds": times[1] - times[0],
        "cut_seconds": times[2] - times[1],
        "before_bytes": before,
        "peak_bytes": peak_bytes(),
    }


def _spec(path: Path) -> Any:
    from qhq.data.spec import DataSpec

    return DataSpec(
        source="csv",
        panel="options",
        path=str(path),
        symbols=None,
        task="price",
        features=("bid", "ask", "spot", "iv"),
        static=("moneyness", "years", "right", "delta"),
        targets=("bid", "ask"),
        window=10,
        gaps="mask",
        scaling="residual",
    )


def tables(result: dict[str, Any]) -> list[Table]:
    """Time of each step, and memory."""
    rows = (
        ("load, check, compute columns", digits(result["load_seconds"])),
        ("lay out, split, cut windows", digits(result["cut_seconds"])),
        ("peak memory of the process", gibibytes(result["peak_bytes"])),
        ("before loading", gibibytes(result["before_bytes"])),
    )
    note = f"{result['rows']:,} rows of a CSV file, {result['windows']:,} windows; seconds, wall."
    return [Table("An option panel", note, ("", ""), rows)]


def targets(result: dict[str, Any]) -> list[Target]:
    """Under 10 s and 2 GiB."""
    if result["rows"] < ROWS:
        return []
    seconds, peak = result["load_seconds"] + result["cut_seconds"], result["peak_bytes"]
    return [
        Target("350,000 option rows to windows", "< 10 s", f"{digits(seconds)} s", seconds < 10),
        Target("350,000 option rows, peak memory", "< 2 GiB", gibibytes(peak), peak < 2 << 30),
    ]
