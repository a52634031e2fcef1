"""Many processes on one run, and kills at random moments: ``python -m benchmarks.crowd [--kills 40]``.

Eight processes measure, evaluate and read one run at once. Then each long command is killed (``kill -9``) at
random moments and called again. Nothing may be lost, torn or doubled: every JSON file parses at every moment,
every cell of a store is there once, a resumed training ends with the bytes of one that nobody disturbed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

CONFIG = """\
name: tiny
seed: 1
data: {symbols: [AAPL, MSFT], start: 2011-01-01, window: 5}
quantum: {ansatz: reference, qubits: 2, depth: 1}
model: {recurrent: [{unit: gru, hidden: 4}]}
training: {epochs: 12, batch_size: 32, learning_rate: 0.01}
backend: statevector
"""
QHQ = [sys.executable, "-m", "qhq"]
NOISE = [
    "noise",
    "given",
    "--samples",
    "8",
    "--seeds",
    "2",
    "--scale",
    "0,1",
    "--shots",
    "exact,64",
    "--json",
]
EVAL = ["eval", "given", "--backend", "aer", "--backend", "aer_shots", "--samples", "16", "--json"]
COMPARE = ["compare", "--json"]


def run(words: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    return subprocess.run([*QHQ, *words], check=False, capture_output=True, text=True, **options)  # type: ignore[call-overload, no-any-return]


def torn(root: Path) -> list[str]:
    """Files of a folder that are half written, or left over by a writer that is no more."""
    found = []
    for path in root.rglob("*"):
        if path.name.startswith(".qhq-") or path.name.startswith(".new-"):
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.name == "predictions.csv" and not path.read_text().endswith("\n"):
                raise ValueError(path)
        except FileNotFoundError:
            continue
        except ValueError:
            found.append(str(path))
    return found


def cells(root: Path) -> Counter[str]:
    """Cells of every store below a folder, by key."""
    lines = [line for path in root.rglob("cells.jsonl") for line in path.read_text().splitlines() if line]
    return Counter(json.loads(line)["cell"] for line in lines)


def crowd(folder: Path) -> list[str]:
    """Eight processes at once on one run."""
    commands = [NOISE, NOISE, NOISE, EVAL, EVAL, EVAL, COMPARE, ["train", "--resume", "given", "--json"]]
    running = [
        subprocess.Popen([*QHQ, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for words in commands
    ]
    faults = []
    while any(each.poll() is None for each in running):
        faults += [f"torn while running: {name}" for name in torn(folder / "runs")]
        time.sleep(0.05)
    for words, each in zip(commands, running, strict=True):
        out, told = each.communicate()
        waited = "one process at a time" in told
        if each.returncode not in ((0, 2) if waited else (0,)):
            faults.append(f"{words[0]}: exit status {each.returncode}: {told[-300:]}")
        elif each.returncode == 0:
            json.loads(out)
    faults += [f"torn afterwards: {name}" for name in torn(folder / "runs")]
    evaluations = len(list((folder / "runs" / "given" / "evals").glob("*.json")))
    if evaluations != 3:
        faults.append(f"{evaluations} evaluations of 3")
    print(
        f"crowd of {len(commands)}: {len(faults)} faults,"
        f" exit statuses {[each.returncode for each in running]}"
    )
    return faults


def kill(words: list[str], after: float) -> int:
    """Begin a command and kill it some seconds later."""
    process = subprocess.Popen([*QHQ, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.kill()
    return process.wait()


def timed(words: list[str]) -> float:
    """Seconds that a command takes undisturbed."""
    begun = time.monotonic()
    run(words)
    return time.monotonic() - begun


def main() -> int:
    """Crowd, then kills."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    chance, faults, killed = random.Random(asked.seed), [], 0
    with tempfile.TemporaryDirectory(prefix="crowd-") as name:
        folder = Path(name)
        os.chdir(folder)
        os.environ |= {"QHQ_MLFLOW": "off", "OMP_NUM_THREADS": "1", "QHQ_RUNS_DIR": str(folder / "runs")}
        (folder / "tiny.yaml").write_text(CONFIG)
        assert run(["train", "tiny.yaml"]).returncode == 0
        (whole,) = (folder / "runs").glob("2*")
        whole.rename(folder / "runs" / "given")
        wanted = (folder / "runs" / "given" / "predictions.csv").read_bytes()
        shutil.copytree(folder / "runs" / "given", folder / "kept")
        faults += crowd(folder)
        commands = {"train": ["train", "tiny.yaml"], "noise": NOISE, "eval": EVAL}
        seconds = {what: timed(words) for what, words in commands.items()}
        for number in range(asked.kills):
            shutil.rmtree(folder / "runs")
            (folder / "runs").mkdir()
            what = ("train", "noise", "eval")[number % 3]
            if what != "train":
                shutil.copytree(folder / "kept", folder / "runs" / "given")
            words = commands[what]
            killed += kill(words, chance.uniform(0.2, 0.9) * seconds[what]) == -9
            faults += [f"torn by a kill of {what}: {each}" for each in torn(folder / "runs")]
            if what == "train":
                for each in (folder / "runs").glob("2*"):
                    ended = run(["train", "--resume", each.name, "--json"])
                    if ended.returncode or (each / "predictions.csv").read_bytes() != wanted:
                        faults.append(f"resume of {each.name}: {ended.returncode} {ended.stderr[-300:]}")
            else:
                ended = run(words)
                if ended.returncode:
                    faults.append(f"{what} after a kill: {ended.returncode} {ended.stderr[-300:]}")
            doubled = [key for key, count in cells(folder / "runs").items() if count > 1]
            faults += [f"cell twice: {key}" for key in doubled]
        print(
            f"kills: {killed} of {asked.kills} calls were killed before their end,"
            f" {len(faults)} faults in all"
        )
    for fault in faults:
        print(fault)
    return min(len(faults), 1)


if __name__ == "__main__":
    sys.exit(main())
