"""Many processes on one store, and kills at random moments: ``python -m benchmarks.crowd [--kills 200]``.

Eight processes at once train, measure and read one run, then share one noise study, one ablation, one sweep.
Then every long command is killed with its whole process group (SIGKILL) at random moments of its work, and
called again. Nothing may be lost, torn or doubled:

- every file is whole under its name after the kill, and no hidden one is left after the next call;
- what was finished before the kill (a cell, a trial, an evaluation, a job) is there afterwards as it was;
- the next call ends well, whatever lock was held, with the numbers of a command that nobody disturbed;
- no cell, line, trial, job or entry of the mirror is there twice, no run stays ``running``.

A kill counts if it hit a process that was past its imports and had not ended. A quarter of them hit real
command lines, the others a fork of this process (see `benchmarks.victims`).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.victims import Course, follow, import_everything, kill_at_random, start, warm_up

CONFIG = """\
name: tiny
seed: 1
data: {symbols: [AAPL], start: 2012-06-01, window: 5}
quantum: {ansatz: reference, qubits: 2, depth: 1}
model: {recurrent: [{unit: gru, hidden: 4}]}
training: {epochs: 5, batch_size: 64, learning_rate: 0.01}
backend: statevector
"""
SWEEP = """\
name: small
experiment: tiny.yaml
set: {training.epochs: 3}
seeds: 1
stages:
  - name: circuit
    space: {quantum.qubits: [2, 3]}
    prune: {at: [1]}
final: {seeds: 1}
"""
ENTRY = """
ibm_manila:
  {kind: ibm, resilience_level: 0, samples_per_job: 4, poll_seconds: 0.05, settle_seconds: 1.0,
   max_qpu_seconds: 600}
"""
"""Added to the shipped backends."""
JOBS = 4
"""Of the evaluation on a device: 16 samples, 4 a job."""
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
DEVICE = ["eval", "given", "--backend", "ibm_manila", "--samples", "16", "--shots", "256", "--yes", "--json"]
ABLATE = ["ablate", "tiny.yaml", "--seeds", "1", "--set", "training.epochs=2", "--json"]
SEARCH = ["sweep", "sweep.yaml", "--json"]
TABLE = ["compare", "--csv", "runs/t.csv", "--excel", "runs/t.xlsx", "--latex", "runs/t.tex", "--json"]
CHANGING = frozenset({
    "seconds", "created", "finished", "folder", "runs", "trials", "figure", "figures", "page", "file",
    "job_ids", "git", "versions", "run", "path", "qpu_seconds", "files", "calibration", "sweep", "study",
    "wall_seconds", "looks",
})  # fmt: skip
"""Keys of a record that say when and where, not what."""


@dataclass
class Scenario:
    """A command that is killed, and what must hold afterwards.

    Attributes:
        words: The command.
        template: Folder that its runs folder begins as.
        again: Calls that take up what was cut off; gives what must be the same each time.
        before: What is done before the command.
        mirrored: With the MLflow mirror.
        workers: Whether it has processes of its own: two as a command line, one as a fork.
        course: How it goes undisturbed.
        wanted: What ``again`` gives undisturbed.
        hits: Kills that hit, by kind of process.
        faults: What was lost, torn or doubled.
    """

    words: list[str]
    template: str
    again: Callable[[Place], Any]
    before: Callable[[Place], None] = lambda _: None
    mirrored: bool = False
    workers: bool = False
    course: Course = field(default_factory=lambda: Course(0.0, 0))
    wanted: Any = None
    hits: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


@dataclass
class Place:
    """The current folder of all commands; its ``runs`` are made anew for each."""

    root: Path
    service: Any
    sent: Counter[str] = field(default_factory=Counter)

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def begin(self, scenario: Scenario) -> None:
        shutil.rmtree(self.runs, ignore_errors=True)
        shutil.copytree(self.root / scenario.template, self.runs, symlinks=True)
        os.environ["QHQ_MLFLOW"] = "on" if scenario.mirrored else "off"
        self.sent = Counter(self.service.submissions())
        scenario.before(self)

    def call(self, words: list[str], *, fork: bool = True) -> Any:
        """One command to its end; its record.

        Raises:
            RuntimeError: If it does not end well.
        """
        command = start(words, self.root / "again.out", fork=fork)
        status = command.wait()
        out, err = command.said()
        if status:
            raise RuntimeError(f"{' '.join(words[:3])} ended with {status}: {(err or out)[-400:]}")
        return json.loads(out)


def result(record: Any) -> Any:
    """What of a record must be the same each time."""
    if isinstance(record, dict):
        return {key: result(value) for key, value in record.items() if key not in CHANGING}
    return [result(each) for each in record] if isinstance(record, list) else record


def _trained(place: Place) -> Any:
    """Every run that was begun, resumed to its end; a new one if the kill came before it had a folder."""
    names = [path.parent.name for path in place.runs.glob("*/run.json")]
    if len(names) > 1:
        raise RuntimeError(f"one training made {len(names)} run folders")
    record = place.call(
        ["train", "--resume", names[0], "--json"] if names else ["train", "tiny.yaml", "--json"]
    )
    folder = Path(record["path"])
    files = {
        name: zlib.crc32((folder / name).read_bytes()) for name in ("predictions.csv", "model.safetensors")
    }
    return {**files, "epochs": record["epochs"], "metrics": record["metrics"]}


def _evaluated(place: Place) -> Any:
    """The same evaluation again; that of the killed call is there whole or not at all."""
    pattern = "given/evals/[0-9]*.json"  # none of the hidden files of a writer
    there = len(list(place.runs.glob(pattern)))
    record = place.call(EVAL)
    found = len(list(place.runs.glob(pattern)))
    if found != there + 1 or there > 1:
        raise RuntimeError(f"{found} evaluations, {there} of them of the killed call")
    return record["results"]


def _mirrored(place: Place) -> Any:
    """The mirror has the run once, and its database is whole."""
    record = place.call(EVAL)
    with sqlite3.connect(place.runs / "mlflow.db") as store:
        (said,) = store.execute("PRAGMA integrity_check").fetchone()
        query = "SELECT COUNT(*) FROM tags WHERE key = 'qhq.identity' GROUP BY value"
        counts = [count for (count,) in store.execute(query)]
    if said != "ok" or counts != [1]:
        raise RuntimeError(f"mlflow.db: {said}; entries of each folder: {counts}")
    return record["results"]


def _on_a_device(place: Place) -> Any:
    """Jobs that were cut off are taken up, none is paid twice, and the evaluation has all results."""
    place.call(["jobs", "resume", "--yes", "--json"])
    row = place.call(DEVICE)["results"][0]
    states = Counter(each["state"] for each in place.call(["jobs", "--json"])["rows"])
    sent = Counter(place.service.submissions())
    sent.subtract(place.sent)
    if (
        states != {"stored": JOBS}
        or sorted(sent.values())[-JOBS:] != [1] * JOBS
        or sum(sent.values()) != JOBS
    ):
        raise RuntimeError(f"jobs {dict(states)}, submissions by tag {sorted(sent.values())[-2 * JOBS :]}")
    return {"samples": row["samples"], "jobs": len(row["job_ids"])}


def _with_jobs(place: Place) -> None:
    """Cut an evaluation on a device off when some of its jobs were sent."""
    place.service.hold()
    before = len(place.service.jobs())
    command = start(DEVICE, place.root / "cut.out", fork=True)
    while len(place.service.jobs()) < before + 2 and command.ended() is None:
        time.sleep(0.01)
    command.kill()
    place.service.release()


def _tabled(place: Place) -> Any:
    record = place.call(TABLE)
    with zipfile.ZipFile(place.runs / "t.xlsx") as book:
        if (bad := book.testzip()) is not None:
            raise RuntimeError(f"t.xlsx: {bad}")
    return [record["rows"], (place.runs / "t.csv").read_text(), (place.runs / "t.tex").read_text()]


def scenarios() -> dict[str, Scenario]:
    """Every long command."""
    return {
        "train": Scenario(["train", "tiny.yaml", "--json"], "empty", _trained),
        "train --resume": Scenario(["train", "--resume", "cut", "--json"], "with-cut", _trained),
        "eval": Scenario(EVAL, "with-given", _evaluated),
        "noise": Scenario(NOISE, "with-given", lambda place: place.call(NOISE)),
        "ablate": Scenario(ABLATE, "empty", lambda place: place.call(_alone(ABLATE)), workers=True),
        "sweep": Scenario(SEARCH, "empty", lambda place: place.call(_alone(SEARCH)), workers=True),
        "eval on a device": Scenario(DEVICE, "with-given", _on_a_device),
        "jobs resume": Scenario(
            ["jobs", "resume", "--yes", "--json"], "with-given", _on_a_device, before=_with_jobs
        ),
        "compare, export": Scenario(TABLE, "with-given", _tabled),
        "eval, mirrored": Scenario(EVAL, "with-mirror", _mirrored, mirrored=True),
    }


def _alone(words: list[str]) -> list[str]:
    return [*words, "--workers", "1"]


# What must hold of files


def torn(root: Path) -> list[str]:
    """Files that are half written under their own name."""
    found = []
    # Not by a glob: a folder that goes meanwhile would end it.
    paths = [Path(folder) / name for folder, _, names in os.walk(root) for name in names]
    for path in paths:
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            continue
        try:
            if not _is_whole(path):
                found.append(str(path.relative_to(root)))
        except FileNotFoundError:
            continue
        except (ValueError, zipfile.BadZipFile):
            found.append(str(path.relative_to(root)))
    return found


def _is_whole(path: Path) -> bool:
    data = path.read_bytes()
    if path.suffix == ".json":
        json.loads(data)
    elif path.suffix in (".csv", ".yaml", ".html", ".tex", ".qasm"):
        return data.endswith(b"\n") or data.rstrip().endswith((b"</html>", b"}"))
    elif path.suffix == ".png":
        return data.endswith(b"IEND\xaeB`\x82")
    elif path.suffix in (".pt", ".xlsx"):
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    elif path.suffix == ".safetensors":
        header = int.from_bytes(data[:8], "little")
        json.loads(data[8 : 8 + header])
    return True


def finished(root: Path) -> dict[str, Any]:
    """What is done for good: cells of every store, trials, finished runs, evaluations."""
    done: dict[str, Any] = {}
    for key, values in cells(root):
        done[f"cell {key}"] = values
    patterns = ("*/evals/[0-9]*.json", "sweeps/*/trials/[!.]*/run.json")
    for path in (path for pattern in patterns for path in root.glob(pattern)):
        done[str(path.relative_to(root))] = path.read_bytes()
    for path in root.glob("*/run.json"):
        if not path.parent.name.startswith(".") and json.loads(path.read_text())["status"] == "finished":
            done[str(path.relative_to(root))] = path.read_bytes()
    return done


def cells(root: Path) -> Iterator[tuple[str, Any]]:
    """Whole lines of every store: its file and cell, and the values."""
    for path in [*root.rglob("cells.jsonl"), *root.glob("*/studies/*.jsonl")]:
        for line in path.read_text().splitlines():
            try:
                content = json.loads(line)
            except ValueError:
                continue
            if content["crc32"] == zlib.crc32(json.dumps([content["cell"], content["values"]]).encode()):
                yield f"{path.relative_to(root)} {content['cell']}", content["values"]


def left_over(root: Path) -> list[str]:
    """What must not be there once a command has ended well."""
    found = [f"hidden {path.relative_to(root)}" for path in root.rglob(".qhq-*")]
    found += [
        f"cell twice: {key}" for key, count in Counter(key for key, _ in cells(root)).items() if count > 1
    ]
    for path in root.rglob("run.json"):
        if json.loads(path.read_text())["status"] == "running" and "legs" not in path.parts:
            found.append(f"still running: {path.relative_to(root)}")
    found += [f"still handed out: {path.relative_to(root)}" for path in root.glob("sweeps/*/working/*")]
    return found


# Kills


def calibrate(place: Place, scenario: Scenario) -> None:
    """Run a command undisturbed: how long it works, and what it gives."""
    place.begin(scenario)
    words = _alone(scenario.words) if scenario.workers else scenario.words
    command = start(words, place.root / "first.out", fork=True)
    status, scenario.course = follow(command, place.runs)
    if status:
        raise RuntimeError(f"undisturbed: {status}: {command.said()[1][-400:]}")
    scenario.wanted = result(scenario.again(place))


def one_kill(place: Place, scenario: Scenario, fork: bool, chance: random.Random) -> bool:
    """Kill once and take up; whether it hit."""
    place.begin(scenario)
    workers = ["1" if fork else "2"]
    words = [*scenario.words, "--workers", *workers] if scenario.workers else scenario.words
    command = start(words, place.root / "killed.out", fork=fork)
    # A command line loads kernels and fonts that a fork has already: it computes for longer.
    course = scenario.course if fork else replace(scenario.course, seconds=1.3 * scenario.course.seconds)
    if kill_at_random(command, place.runs, course, chance) != -9:
        return False
    faults = [f"torn: {name}" for name in torn(place.runs)]
    before = finished(place.runs)
    try:
        record = result(scenario.again(place))
        if record != scenario.wanted:
            faults.append("another result than undisturbed")
    except (RuntimeError, OSError, ValueError, sqlite3.Error) as error:
        faults.append(f"{type(error).__name__}: {error}")
    after = finished(place.runs)
    faults += [f"lost or changed: {name}" for name, value in before.items() if after.get(name) != value]
    faults += [f"torn afterwards: {name}" for name in torn(place.runs)]
    faults += left_over(place.runs)
    scenario.hits["fork" if fork else "command line"] += 1
    scenario.faults += faults
    return True


def kills(place: Place, count: int, seconds: float, seed: int) -> dict[str, Scenario]:
    """So many kills that hit, over all commands in turn, or as many as there is time for."""
    chance, every = random.Random(seed), scenarios()
    for name, scenario in every.items():
        calibrate(place, scenario)
        course = scenario.course
        print(
            f"{name}: {course.seconds:.1f} s computed, {course.changes} changes", file=sys.stderr, flush=True
        )
    until = time.monotonic() + seconds
    hit, missed = 0, 0
    turns = itertools.cycle(itertools.product(range(4), every))
    while hit < count and time.monotonic() < until and missed <= count:
        turn, name = next(turns)
        scenario, known = every[name], len(every[name].faults)
        # Every fourth of each command, the first of them at another turn, so that neither way comes late.
        struck = one_kill(place, scenario, (turn + list(every).index(name)) % 4 != 0, chance)
        hit, missed = hit + struck, missed + (not struck)
        for fault in scenario.faults[known:]:
            print(f"{name}: {fault}", file=sys.stderr, flush=True)
        if (hit + missed) % 10 == 0:
            print(f"{hit} kills that hit, {missed} that came too late", file=sys.stderr, flush=True)
    print(f"\n{hit} kills that hit, {missed} that came after the end and do not count")
    print(f"{'killed':<20}{'forks':>7}{'command lines':>15}{'lost, torn or doubled':>24}")
    for name, scenario in every.items():
        hits = scenario.hits
        print(f"{name:<20}{hits['fork']:>7}{hits['command line']:>15}{len(scenario.faults):>24}")
    return every


# Eight at once


def crowd(place: Place, name: str, template: str, commands: list[list[str]]) -> list[str]:
    """Commands at once on one store: each ends with the same table, or says who holds it."""
    place.begin(Scenario([], template, lambda _: None))
    running = [start(words, place.root / f"crowd-{n}.out", fork=True) for n, words in enumerate(commands)]
    statuses: dict[int, int] = {}
    faults: list[str] = []
    while len(statuses) < len(running):
        for number, command in enumerate(running):
            if number not in statuses and (status := command.ended()) is not None:
                statuses[number] = status
        faults += [f"torn while running: {each}" for each in torn(place.runs)]
        time.sleep(0.1)
    tables: dict[str, list[Any]] = {}
    for number, command in enumerate(running):
        out, err = command.said()
        if statuses[number] == 0:
            tables.setdefault(" ".join(commands[number]), []).append(result(json.loads(out)))
        elif statuses[number] != 2 or "held by process" not in err:
            faults.append(f"{commands[number][0]}: exit status {statuses[number]}: {err[-300:]}")
    faults += [
        f"other tables: {words[:20]}" for words, each in tables.items() if each.count(each[0]) != len(each)
    ]
    faults += [f"torn afterwards: {each}" for each in torn(place.runs)] + left_over(place.runs)
    ended = Counter(statuses.values())
    print(
        f"{name:<26}{ended[0]:>4} with the table, {ended[2]} told who holds it, {len(faults)} faults",
        flush=True,
    )
    for fault in faults:
        print(f"    {fault}", flush=True)
    return faults


def crowds(place: Place) -> list[str]:
    """Eight processes: on one run, and on one store of each study."""
    mixed = [NOISE, NOISE, NOISE, EVAL, EVAL, EVAL, TABLE, ["train", "--resume", "given", "--json"]]
    faults = crowd(place, "eight on one run", "with-given", mixed)
    found = len(list(place.runs.glob("given/evals/[0-9]*.json")))
    faults += [] if found == 3 else [f"{found} evaluations of 3"]
    faults += crowd(place, "eight noise studies", "with-given", [NOISE] * 8)
    faults += crowd(place, "eight ablations", "empty", [_alone(ABLATE)] * 8)
    faults += crowd(place, "eight sweeps", "empty", [_alone(SEARCH)] * 8)
    resume = ["train", "--resume", "cut", "--json"]
    return faults + crowd(place, "eight resumes", "with-cut", [resume] * 8)


# Where all of that happens


@contextmanager
def prepared() -> Iterator[Place]:
    """A folder with what the commands begin from, and a loopback service of a device."""
    from qhq.paths import shipped_root
    from tests.loopback.remote import Remote

    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crowd-"))).resolve()
        os.chdir(root)
        os.environ |= {"QHQ_MLFLOW": "off", "QHQ_RUNS_DIR": str(root / "runs")}
        service = stack.enter_context(Remote(root / "service.sqlite", noise="none"))
        os.environ |= service.environment()
        place = Place(root, service)
        entries = (shipped_root() / "backends.yaml").read_text() + ENTRY
        for name, text in (("tiny.yaml", CONFIG), ("sweep.yaml", SWEEP), ("backends.yaml", entries)):
            (root / name).write_text(text)
        import_everything()
        (root / "empty").mkdir()
        warm_up(["train", "tiny.yaml", "--set", "training.epochs=1", "--json"])
        _templates(place)
        yield place
        os.chdir("/")


def _templates(place: Place) -> None:
    """Runs folders to begin from: a finished run, one that was cut off, one with a mirror."""
    empty = Scenario(["train", "tiny.yaml", "--json"], "empty", lambda _: None)
    place.begin(empty)
    Path(place.call(empty.words)["path"]).rename(place.runs / "given")
    shutil.copytree(place.runs, place.root / "with-given")
    place.begin(empty)
    command = start(empty.words, place.root / "cut.out", fork=True)
    while not list(place.runs.glob("*/resume.pt")) and command.ended() is None:
        time.sleep(0.002)
    command.kill()
    (cut,) = (path.parent for path in place.runs.glob("*/run.json"))
    cut.rename(place.runs / "cut")
    shutil.copytree(place.runs, place.root / "with-cut")
    place.begin(Scenario([], "with-given", lambda _: None, mirrored=True))
    place.call(EVAL)
    with sqlite3.connect(place.runs / "mlflow.db") as store:  # a store that is ready and has no run yet
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            if "run_uuid" in [column[1] for column in store.execute(f"PRAGMA table_info({table})")]:
                store.execute(f"DELETE FROM {table}")
    shutil.rmtree(place.runs / "given")
    shutil.copytree(place.root / "with-given" / "given", place.runs / "given")
    shutil.copytree(place.runs, place.root / "with-mirror")


def main() -> int:
    """Crowds, then kills; exit status 1 where anything was lost, torn or doubled."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="kills that hit, in all")
    parser.add_argument("--minutes", type=float, default=90.0, help="leave off after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-crowds", action="store_true", help="kills alone")
    asked = parser.parse_args()
    with prepared() as place:
        faults = [] if asked.no_crowds else crowds(place)
        every = kills(place, asked.kills, asked.minutes * 60, asked.seed)
        faults += [f"{name}: {fault}" for name, scenario in every.items() for fault in scenario.faults]
    print("nothing lost, torn or doubled" if not faults else f"{len(faults)} faults")
    for fault in faults:
        print(fault)
    return min(len(faults), 1)


if __name__ == "__main__":
    sys.exit(main())
