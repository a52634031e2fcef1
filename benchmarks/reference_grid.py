"""How long the 105 circuits of the published grid take: ``python -m benchmarks.reference_grid``.

Runs ``qhq sweep experiments/reference/grid_published.yaml`` in a folder of its own, and beside it measures
the training step of each of the 105 models as the published loop takes it (see `benchmarks.published_loop`).
What that loop would need for the same number of steps is extrapolated: steps that the sweep took, times the
step measured, on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from math import ceil
from pathlib import Path
from typing import Any

from benchmarks.published_loop import BATCH, Cell, cells, step_seconds

GRID = "experiments/reference/grid_published.yaml"
BLOCKS = "quantum.overrides.blocks"


def main() -> None:
    """Measure the grid, then the loop, and say both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--grid", default=GRID)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds, record = sweep(arguments.grid, arguments.workers, Path(folder))
        steps = {cell_of(row): steps_of(row, record) for row in record["rows"]}
    loop = measure_loop()
    report = {
        "circuits": len(steps),
        "workers": arguments.workers,
        "sweep_seconds": seconds,
        "steps": sum(steps.values()),
        "published_loop_step_seconds": {str(cell): each for cell, each in loop.items()},
        "published_loop_seconds": sum(loop[cell] * count for cell, count in steps.items()),
    }
    print(json.dumps(report) if arguments.json else say(report))


def sweep(grid: str, workers: int, folder: Path) -> tuple[float, dict[str, Any]]:
    """Seconds of a whole sweep, the start of the program included, and its record."""
    command = [sys.executable, "-m", "qhq", "sweep", grid, "--workers", str(workers), "--json"]
    started = time.perf_counter()
    environment = {**os.environ, "QHQ_RUNS_DIR": str(folder)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    return time.perf_counter() - started, json.loads(done.stdout)


def cell_of(row: dict[str, Any]) -> Cell:
    """Which of the circuits a row is."""
    return int(row["quantum.qubits"]), int(row["quantum.depth"]), int(row[BLOCKS])


def steps_of(row: dict[str, Any], record: dict[str, Any]) -> int:
    """Training steps that a row took."""
    trial = Path(record["folder"]) / "trials" / row["trials"][0] / "run.json"
    windows = json.loads(trial.read_text())["data"]["train"]["windows"]
    return int(row["epochs"]) * ceil(windows / BATCH)


def measure_loop() -> dict[Cell, float]:
    """Seconds of a step of each circuit, on one thread."""
    import torch

    torch.set_num_threads(1)
    return {cell: step_seconds(cell) for cell in cells()}


def say(report: dict[str, Any]) -> str:
    """Lines for people."""
    own, theirs = report["sweep_seconds"], report["published_loop_seconds"]
    times = sorted(report["published_loop_step_seconds"].values())
    core = own * report["workers"]
    return (
        f"{report['circuits']} circuits, {report['steps']} training steps: {own / 60:.1f} minutes with"
        f" {report['workers']} workers.\n"
        f"Published loop, one call a sample: {1e3 * times[0]:.0f} to {1e3 * times[-1]:.0f} ms a step."
        f" The same steps would take {theirs / 3600:.1f} hours on one core (extrapolated):"
        f" {theirs / core:.0f} times the core time of the sweep."
    )


if __name__ == "__main__":
    main()
