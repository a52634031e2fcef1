"""Kill studies at random moments and see that nothing is lost: ``python -m benchmarks.kills``.

A sweep, an ablation and a noise study; ``kill -9`` of the driver, and of a worker, at 10 random moments each,
with processes of this machine and with a Dask cluster. After a driver's death the same command is called
again. Each time the tables and the cells, the winner and the number of trials and final runs must be those of
a study that nothing disturbed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
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
LEFT_OUT = ("seconds", "folder", "runs", "trials", "figure", "figures", "page", "file", "looks", "run")
STUDIES = {
    "sweep": ["sweep", "sweep.yaml"],
    "ablate": ["ablate", "tiny.yaml", "--seeds", "2"],
    "noise": ["noise", "given", "--scale", "0,0.5,1,2", "--shots", "exact,256", "--seeds", "5"],
}


def main() -> None:
    """Every study, way and victim, so many times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--studies", nargs="+", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--ways", nargs="+", choices=("local", "dask"), default=["local", "dask"])
    parser.add_argument("--victims", nargs="+", choices=("driver", "worker"), default=["driver", "worker"])
    asked = parser.parse_args()
    moments = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        os.chdir(folder)
        os.environ |= {"QHQ_MLFLOW": "off", "OMP_NUM_THREADS": "1"}
        Path("tiny.yaml").write_text(EXPERIMENT)
        Path("sweep.yaml").write_text(SWEEP)
        cluster = stack.enter_context(_cluster()) if "dask" in asked.ways else None
        address = cluster.scheduler_address if cluster else ""
        options = {"local": ["--workers", "2"], "dask": ["--cluster", address]}
        victims: dict[str, Callable[[str, int], int]] = {
            "driver": lambda _, driver: driver,
            "worker": lambda way, driver: _worker(way, driver, cluster),
        }
        shutil.move(json.loads(call(["train", "tiny.yaml"], "trained"))["path"], "template")
        faults = 0
        for study, way, victim in itertools.product(asked.studies, asked.ways, asked.victims):
            words, started = [*STUDIES[study], *options[way]], time.perf_counter()
            whole = outcome(call(words, f"{study}-{way}-{victim}-whole"))
            span = time.perf_counter() - started
            good = 0
            for number in range(asked.kills):
                moment = moments.uniform(0.1, 0.95) * span
                runs = f"{study}-{way}-{victim}-{number}"
                choose = partial(victims[victim], way)
                good += kill_one(words, runs, moment, choose) == whole
            faults += asked.kills - good
            said = f"{good} of {asked.kills} the same as undisturbed"
            print(f"{study}, {way}, {victim} killed: {said}", flush=True)
    sys.exit(bool(faults))


def kill_one(words: list[str], runs: str, moment: float, choose: Callable[[int], int]) -> Any:
    """What a study gives whose driver or worker is killed after so many seconds."""
    driver = _start(words, runs)
    time.sleep(moment)
    victim = choose(driver.pid) if driver.poll() is None else 0
    if victim:
        os.kill(victim, signal.SIGKILL)
    said = driver.communicate()[0]
    if driver.returncode not in (0, -signal.SIGKILL):
        print(f"{runs}: the driver ended with {driver.returncode}", file=sys.stderr)
    return outcome(said if driver.returncode == 0 else call(words, runs))


def call(words: list[str], runs: str) -> bytes:
    """Run a command to its end."""
    done = _start(words, runs)
    said = done.communicate()[0]
    if done.returncode:
        raise SystemExit(f"{runs}: {done.returncode}")
    return said


def outcome(said: bytes) -> Any:
    """What must be the same: the whole record but times and places, and the cells and folders there are."""
    record = json.loads(said)
    place = Path(record["folder"] if "folder" in record else record["file"]).resolve()
    trials = sorted(path.parent.name for path in place.glob("trials/*/run.json"))
    finals = len(list(place.parents[1].glob("*/run.json"))) if trials else 0
    store = place / "cells.jsonl" if place.is_dir() else place.with_suffix(".jsonl")
    return _strip(record), sorted(_cells(store)), trials, finals, len(list(place.glob("working/*")))


def _cells(store: Path) -> Iterator[str]:
    """Keys of the whole lines; a kill may have cut one off."""
    for line in store.read_text().splitlines():
        with suppress(ValueError):
            yield json.loads(line)["cell"]


def _strip(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _strip(value) for key, value in content.items() if key not in LEFT_OUT}
    return [_strip(each) for each in content] if isinstance(content, list) else content


def _start(words: list[str], runs: str) -> subprocess.Popen[bytes]:
    """Start a command on a runs folder of its own; a noise study gets a copy of the run."""
    place = Path(runs).absolute()
    if words[0] == "noise" and not place.exists():
        shutil.copytree("template", place / "given")
    command = [sys.executable, "-m", "qhq", *words, "--json"]
    environment = {**os.environ, "QHQ_RUNS_DIR": str(place)}
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
