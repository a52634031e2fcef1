"""Kill a sweep at random moments and see that nothing is lost: ``python -m benchmarks.kills``.

``kill -9`` of the driver, and of a worker, at 10 random moments each, with processes of this machine and with
a Dask cluster. After a driver's death the same command is called again. Each time the tables, the winner and
the number of trials and final runs must be those of a sweep that nothing disturbed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

EXPERIMENT = """\
name: tiny
data: {symbols: [AAPL, MSFT], start: 2011-01-01, window: 5}
quantum: {ansatz: reference, qubits: 2, depth: 1}
model: {recurrent: [{unit: gru, hidden: 4}]}
training: {epochs: 20, batch_size: 32, learning_rate: 0.01}
"""
SWEEP = """\
name: kills
experiment: tiny.yaml
set: {backend: statevector}
seeds: 2
stages:
  - name: circuit
    space: {quantum.qubits: [2, 3], quantum.depth: [1, 2]}
  - name: rate
    search: tpe
    trials: 6
    round: 3
    prune: {at: [5]}
    space: {training.learning_rate: {low: 0.001, high: 0.05, log: true}, model.skip: [add, concat]}
final: {seeds: 2}
"""
LEFT_OUT = ("seconds", "folder", "runs", "trials", "figures")


def main() -> None:
    """Every way and victim, so many times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        os.chdir(folder)
        os.environ |= {"QHQ_MLFLOW": "off", "OMP_NUM_THREADS": "1"}
        Path("tiny.yaml").write_text(EXPERIMENT)
        Path("sweep.yaml").write_text(SWEEP)
        cluster = stack.enter_context(_cluster())
        ways = {"local": ["--workers", "2"], "dask": ["--cluster", cluster.scheduler_address]}
        victims: dict[str, Callable[[str, int], int]] = {
            "driver": lambda _, driver: driver,
            "worker": lambda way, driver: _worker(way, driver, cluster),
        }
        for way, options in ways.items():
            started = time.perf_counter()
            whole = outcome(call(options, f"whole-{way}"))
            span = time.perf_counter() - started
            for victim, choose in victims.items():
                good = 0
                for number in range(arguments.kills):
                    moment = moments.uniform(0.1, 0.95) * span
                    runs = f"{way}-{victim}-{number}"
                    good += kill_one(options, runs, moment, lambda pid, way=way: choose(way, pid)) == whole  # noqa: B023
                print(
                    f"{way}, {victim} killed: {good} of {arguments.kills} the same as undisturbed", flush=True
                )


def kill_one(options: list[str], runs: str, moment: float, choose: Callable[[int], int]) -> Any:
    """What a sweep gives whose driver or worker is killed after so many seconds."""
    driver = _start(options, runs)
    time.sleep(moment)
    victim = choose(driver.pid) if driver.poll() is None else 0
    if victim:
        os.kill(victim, signal.SIGKILL)
    said = driver.communicate()[0]
    if driver.returncode not in (0, -signal.SIGKILL):
        print(f"{runs}: the driver ended with {driver.returncode}", file=sys.stderr)
    return outcome(said if driver.returncode == 0 else call(options, runs))


def call(options: list[str], runs: str) -> bytes:
    """Run a sweep to its end."""
    done = _start(options, runs)
    said = done.communicate()[0]
    if done.returncode:
        raise SystemExit(f"{runs}: {done.returncode}")
    return said


def outcome(said: bytes) -> Any:
    """What must be the same: the whole record but times and places, and how many folders there are."""
    record = json.loads(said)
    sweep = Path(record["folder"])
    trials = sorted(path.parent.name for path in sweep.glob("trials/*/run.json"))
    finals = len([path for path in sweep.parents[1].glob("*/run.json")])
    return _strip(record), trials, finals, len(list(sweep.glob("working/*")))


def _strip(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _strip(value) for key, value in content.items() if key not in LEFT_OUT}
    return [_strip(each) for each in content] if isinstance(content, list) else content


def _start(options: list[str], runs: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "qhq", "sweep", "sweep.yaml", *options, "--json"]
    environment = {**os.environ, "QHQ_RUNS_DIR": str(Path(runs).absolute())}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _cluster() -> Any:
    import distributed

    return distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    )


def _worker(way: str, driver: int, cluster: Any) -> int:
    """One of the processes that train; 0 if there is none yet."""
    if way == "dask":
        return next(iter(cluster.workers.values())).pid
    children = Path(f"/proc/{driver}/task/{driver}/children").read_text().split()
    workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return int(workers[-1]) if workers else 0


if __name__ == "__main__":
    main()
