"""``qhq compare`` over 500 runs, the start of the program included: ``python -m benchmarks.compare``.

The runs are copies of one that is trained for it, each with another seed, depth and error.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

QHQ = [sys.executable, "-m", "qhq"]
TRAIN = [*QHQ, "train", "--set", "training.epochs=1", "--set", "backend=statevector", "--json"]


def main() -> None:
    """Make the runs, then take the median of a few calls."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "QHQ_RUNS_DIR": folder, "QHQ_MLFLOW": "off"}
        subprocess.run(TRAIN, env=environment, check=True, capture_output=True)
        multiply(Path(folder), arguments.runs)
        for options in ([], ["--json"], ["--all", "--sort", "-mape", "--filter", "quantum.depth >= 3"]):
            seconds = [call(options, environment) for _ in range(arguments.repeats)]
            print(f"qhq compare {' '.join(options)}: {statistics.median(seconds):.2f} s")


def multiply(folder: Path, count: int) -> None:
    """Fill a folder with copies of its one run."""
    (first,) = (path.parent for path in folder.glob("*/run.json"))
    record = json.loads((first / "run.json").read_text())
    for number in range(1, count):
        copy = folder / f"copy-{number:04d}"
        shutil.copytree(first, copy)
        record["seed"] = record["design"]["seed"] = number
        record["design"]["quantum"]["depth"] = number % 7
        record["metrics"]["test"]["mape"] = 1 + number / count
        (copy / "run.json").write_text(json.dumps(record, indent=2))


def call(options: list[str], environment: dict[str, str]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    subprocess.run([*QHQ, "compare", *options], env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
