"""Two workers beside one, and a Dask cluster beside both: ``python -m benchmarks.sweep_workers``.

The same grid of 24 trainings, each time in an empty folder; one worker, two workers and two workers of a
cluster take turns. The tables must be the same. What is timed includes the start of the program and its
workers, which no second worker makes faster (about 18 s on the machine where the figures were taken).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

SWEEP = """\
name: speed
experiment: experiments/quickstart
set: {training.epochs: 30, training.patience: 30}
seeds: 2
stages:
  - name: circuit
    space: {quantum.qubits: [3, 4, 5], quantum.depth: [1, 2, 3, 4]}
final: null
"""
LEFT_OUT = ("seconds",)


def main() -> None:
    """Take turns and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        config = Path(folder) / "sweep.yaml"
        config.write_text(SWEEP)
        ways = {
            "1 worker": ["--workers", "1"],
            "2 workers": ["--workers", "2"],
            "Dask, 2 workers": ["--cluster", stack.enter_context(cluster()).scheduler_address],
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        tables = []
        for turn in range(arguments.turns):
            for way, options in ways.items():
                taken, rows = run(config, options, Path(folder) / f"{turn}-{way}")
                seconds[way].append(taken)
                tables.append(rows)
    say(
        {way: statistics.median(each) for way, each in seconds.items()},
        same=all(each == tables[0] for each in tables),
    )


def cluster():
    """A scheduler and two workers of one thread each on the loopback."""
    import distributed

    os.environ["OMP_NUM_THREADS"] = "1"
    return distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    )


def run(config: Path, options: list[str], runs: Path) -> tuple[float, list[dict[str, Any]]]:
    """Seconds of a whole sweep, the start of the program included, and its rows."""
    command = [sys.executable, "-m", "qhq", "sweep", str(config), *options, "--json"]
    started = time.perf_counter()
    done = subprocess.run(
        command,
        env={**os.environ, "QHQ_RUNS_DIR": str(runs)},
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    taken = time.perf_counter() - started
    rows = json.loads(done.stdout)["rows"]
    return taken, [{key: value for key, value in row.items() if key not in LEFT_OUT} for row in rows]


def say(seconds: dict[str, float], *, same: bool) -> None:
    """Medians, and how many times as fast as one worker."""
    one = seconds["1 worker"]
    for way, each in seconds.items():
        print(f"{way}: {each:.1f} s, {one / each:.2f} times as fast as one")
    print(f"The tables are {'the same' if same else 'NOT the same'}.")


if __name__ == "__main__":
    main()
