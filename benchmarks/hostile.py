"""Files that were damaged or made to do harm, fed to qhq: ``python -m benchmarks.hostile [--scale 1]``.

Seeded. At scale 1: 1,000 documents, 300 data files, 300 circuits, 300 run folders and journals. Each must be
used or refused: no traceback (a fault of qhq's own is exit status 70), an exit status of the contract, at
most 2 GiB of memory, at most 60 seconds. The suite runs a small part of it (``tests/test_hostile.py``).
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

STATUSES = {0, 1, 2, 3, 4}
MOST_SECONDS, MOST_BYTES = 60, 2 << 30
JUNK = [
    "", "null", "true", "-1", "1e20", "1e400", "-0.0", "NaN", "Infinity", "9" * 400, '"x"', "[]", "{}",
    "[[]]",    '"\\u0000"', '"\\ud800"', '"../../../etc/passwd"', '"=1+1"', '"\\u001b]0;x\\u0007"',
    "[" * 5000, '{"a":' * 2000,    '"' + "a" * 100_000 + '"', "2012-02-30", "!!python/object:os.system x",
    "&a [*a]", "<<: *a", "\t", "\\",
]  # fmt: skip
CELLS = [
    "",
    "nan",
    "-",
    "1e999",
    "=1+1",
    "1,234",
    "12.5%",
    "\u202e",
    "\x00",
    "2020-13-45",
    "0",
    "-5",
    "9" * 60,
    '"',
]

LETTERS = "[]{}:,&*!|>'\"%@`#\t\x00\x1b;()"


@dataclass
class Tally:
    """What came of the cases of one kind."""

    cases: int = 0
    statuses: Counter[object] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0


def flip(content: bytes, chance: random.Random) -> bytes:
    """Damage bytes as disks, transfers and malice do."""
    data = bytearray(content)
    match chance.randrange(6):
        case 0:
            return bytes(data[: chance.randrange(len(data) + 1)])
        case 1:
            for _ in range(chance.choice([1, 1, 2, 20])):
                if data:
                    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 2:
            at = chance.randrange(len(data) + 1)
            data[at:at] = chance.randbytes(chance.choice([1, 4, 100]))
        case 3:
            at = chance.randrange(len(data) + 1)
            data[at : at + chance.choice([1, 8, 64])] = b""
        case 4:
            at = chance.randrange(len(data) + 1)
            data[at : at + 8] = chance.choice([b"\xff" * 8, b"\x00" * 8, b"\x7f" + b"\xff" * 7])
        case _:
            at = chance.randrange(len(data) + 1)
            data[at:] = data[: len(data) - at]
    return bytes(data)


def mutate_text(text: str, chance: random.Random) -> str:
    """Change lines and values of YAML, OpenQASM or Python-like text."""
    lines = text.splitlines() or [""]
    for _ in range(chance.choice([1, 1, 2, 3])):
        at = chance.randrange(len(lines)) if lines else 0
        line = lines[at] if lines else ""
        match chance.randrange(6):
            case 0 | 1:
                lines[at : at + 1] = [f"{line.partition(':')[0]}: {chance.choice(JUNK)}"]
            case 2:
                lines.insert(at, chance.choice([chance.choice(JUNK), line]))
            case 3:
                lines[at : at + 1] = []
            case 4:
                cut = chance.randrange(len(line) + 1)
                lines[at : at + 1] = [
                    line[:cut] + chance.choice("[]{}:,&*!|>'\"%@`#\t\x00\x1b;()") + line[cut:]
                ]
            case _:
                lines[at : at + 1] = [
                    line.replace(chance.choice("0123456789"), chance.choice(["", "99999999", "-"]))
                ]
    return "\n".join(lines) + "\n"


def mutate_json(content: object, chance: random.Random) -> object:
    """Put something else in the place of one value, at any depth."""
    if isinstance(content, dict) and content and chance.random() < 0.85:
        key = chance.choice(list(content))
        changed = dict(content)
        if chance.random() < 0.15:
            del changed[key]
        else:
            changed[key] = mutate_json(content[key], chance)
        return changed
    if isinstance(content, list) and content and chance.random() < 0.6:
        at = chance.randrange(len(content))
        return [*content[:at], mutate_json(content[at], chance), *content[at + 1 :]]
    return chance.choice(
        [
            None,
            True,
            -1,
            0,
            1e300,
            10**30,
            "",
            "x",
            "../../etc",
            [],
            {},
            [[]],
            "\x1b[31m",
            [1, "a"],
            {"a": {}},
        ]
    )


Case = tuple[str, list[str]]


def documents(chance: random.Random, place: Path) -> Iterator[Case]:
    """Configs, ansaetze and registries."""
    from qhq.paths import shipped_root

    root = shipped_root()
    kinds: list[tuple[list[Path], str, list[str]]] = [
        (sorted(root.glob("experiments/**/config.yaml")), "config.yaml", ["data", "check", "FILE", "--json"]),
        (sorted(root.glob("circuits/*.yaml")), "ansatz.yaml", ["circuit", "info", "FILE", "--json"]),
        ([root / "backends.yaml"], "backends.yaml", ["backends", "list", "--json"]),
    ]
    while True:
        sources, name, words = chance.choice(kinds)
        text = mutate_text(chance.choice(sources).read_text(encoding="utf-8"), chance)
        (place / "backends.yaml").unlink(missing_ok=True)
        path = place / name
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        yield text, [str(path) if word == "FILE" else word for word in words]


def data_files(chance: random.Random, place: Path) -> Iterator[Case]:
    """Tables as text, packed text, Parquet and Excel."""
    import numpy as np
    import pandas as pd

    days = pd.bdate_range("2020-01-01", periods=120).strftime("%Y-%m-%d")
    walk = 100 * np.exp(np.random.default_rng(0).normal(0, 0.01, (2, 120)).cumsum(axis=1))
    frame = pd.concat(
        [
            pd.DataFrame({"symbol": f"AB{k}", "date": days, "adj_close": walk[k], "volume": 1000.0})
            for k in range(2)
        ]
    )
    stream = io.BytesIO()
    frame.to_parquet(stream, index=False)
    parquet, text = stream.getvalue(), frame.to_csv(index=False)
    stream = io.BytesIO()
    frame.to_excel(stream, index=False)
    excel = stream.getvalue()
    while True:
        kind = chance.choice(["csv", "csv", "cells", "cells", "csv.gz", "parquet", "xlsx", "bomb"])
        if kind == "csv":
            content = flip(text.encode(), chance)
        elif kind == "cells":
            rows = [line.split(",") for line in text.splitlines()]
            for _ in range(chance.choice([1, 3, 50])):
                row = chance.choice(rows)
                row[chance.randrange(len(row))] = chance.choice(CELLS)
            content = "\n".join(map(",".join, rows)).encode("utf-8", "surrogatepass")
        elif kind == "csv.gz":
            content = flip(gzip.compress(text.encode()), chance)
        elif kind == "bomb":
            letter = chance.choice([b"0", b",", b"\n", b'"', b" "])
            content = gzip.compress(text.encode() + letter * (chance.choice([1, 80]) << 20), 6)
        else:
            content = flip(parquet if kind == "parquet" else excel, chance)
        ending = {"cells": "csv", "bomb": "csv.gz"}.get(kind, kind)
        path = place / f"table.{ending}"
        path.write_bytes(content)
        yield f"{kind} {content[:80]!r}", ["data", "check", str(path), "--json"]


def circuits(chance: random.Random, place: Path) -> Iterator[Case]:
    """QPY, OpenQASM 2 and 3, and what stands around them."""
    from qhq.ansatz.assemble import build
    from qhq.ansatz.catalogue import load_ansatz
    from qhq.ansatz.export import export

    sources: list[tuple[str, bytes]] = []
    for name in ("reference", "sim_02", "real_amplitudes", "zz_feature_map"):
        ansatz = build(load_ansatz(name, {"qubits": 3, "depth": 1}))
        values = [0.1] * (ansatz.num_inputs + ansatz.num_weights)
        sources += [("qpy", export(ansatz, "qpy", None)), ("qasm", export(ansatz, "qasm3", None))]
        with contextlib.suppress(Exception):
            sources.append(("qasm", export(ansatz, "qasm2", values)))
    while True:
        ending, content = chance.choice(sources)
        if ending == "qasm" and chance.random() < 0.7:
            content = mutate_text(content.decode(), chance).encode("utf-8", "surrogatepass")
        else:
            content = flip(content, chance)
        if chance.random() < 0.1:
            content = gzip.compress(content)
        (place / f"c.{ending}").write_bytes(content)
        roles = chance.choice(["inputs: x", "weights: angles", "weights: none", "inputs: [x_0]"])
        spec = f"qubits: 3\nfile: {{path: c.{ending}, {roles}}}\n"
        (place / "own.yaml").write_text(spec)
        yield f"{ending} {content[:120]!r}", ["circuit", "info", str(place / "own.yaml"), "--json"]


def folders(chance: random.Random, place: Path) -> Iterator[Case]:
    """Run folders of others, and the journal of jobs."""
    from qhq.experiment.config import load_config
    from qhq.experiment.run import train_run
    from qhq.training.loop import Watcher

    (place / "tiny.yaml").write_text(
        "name: tiny\nseed: 1\ndata: {symbols: [AAPL], start: 2012-06-01, window: 5}\n"
        "quantum: {ansatz: reference, qubits: 2, depth: 1}\nmodel: {recurrent: [{unit: gru, hidden: 4}]}\n"
        "training: {epochs: 1, batch_size: 64}\n"
    )
    good = train_run(load_config(str(place / "tiny.yaml")), Watcher()).path
    kept = place / "kept"
    good.rename(kept)
    names = ["run.json", "run.json", "run.json", "config.yaml", "model.safetensors", "circuit.qpy",
             "resume.pt", "predictions.csv", "history.csv"]  # fmt: skip
    commands = [["compare", "--json"],
                ["eval", "RUN", "--backend", "statevector", "--samples", "4", "--json"],
                ["train", "--resume", "RUN", "--json"], ["compare", "--csv", "t.csv", "--all"],
                ["doctor", "RUN", "--json"]]  # fmt: skip
    while True:
        shutil.rmtree(place / "runs", ignore_errors=True)
        run = place / "runs" / "given"
        shutil.copytree(kept, run)
        path = run / chance.choice(names)
        content = path.read_bytes() if path.exists() else b"{}"
        path.unlink(missing_ok=True)
        match chance.randrange(10):
            case 0:
                os.mkfifo(path)
            case 1:
                path.symlink_to(chance.choice(["/dev/zero", "/etc/passwd", "loop", str(path)]))
            case 2:
                path.mkdir()
            case 3 | 4:
                path.write_bytes(flip(content, chance))
            case _:
                if path.suffix == ".json":
                    path.write_text(json.dumps(mutate_json(json.loads(content), chance)))
                elif path.suffix in (".yaml", ".csv"):
                    path.write_text(mutate_text(content.decode(), chance), errors="surrogatepass")
                else:
                    path.write_bytes(flip(content, chance))
        words = chance.choice(commands)
        yield f"{path.name} {words[:2]}", [str(run) if word == "RUN" else word for word in words]


def journals(chance: random.Random, place: Path) -> Iterator[Case]:
    """The journal of jobs, with rows, damaged as a whole or cell by cell."""
    import sqlite3

    from qhq.backends.ibm.journal import Journal, journal_file

    runs = place / "runs"
    runs.mkdir(exist_ok=True)
    Journal(runs).close()
    path = journal_file(runs)
    with contextlib.closing(sqlite3.connect(path)) as database:
        tables = [row[0] for row in database.execute("select name from sqlite_master where type = 'table'")]
        columns = {
            table: [row[1] for row in database.execute(f"pragma table_info('{table}')")] for table in tables
        }
    good = path.read_bytes()
    while True:
        for each in runs.glob(f"{path.name}*"):
            each.unlink()
        path.write_bytes(good)
        if chance.random() < 0.4:
            path.write_bytes(flip(good, chance))
        else:
            with contextlib.closing(sqlite3.connect(path)) as database, database:
                for table in chance.sample(tables, chance.randrange(1, len(tables) + 1)):
                    cells = [chance.choice([None, b"\xff", *JUNK[:12], 1.5]) for _ in columns[table]]
                    marks = ", ".join("?" * len(cells))
                    with contextlib.suppress(sqlite3.Error):
                        database.execute(f"insert or replace into '{table}' values ({marks})", cells)
        yield "journal", chance.choice([["jobs", "--json"], ["jobs", "list", "--json"], ["jobs"]])


KINDS: dict[str, tuple[Callable[[random.Random, Path], Iterator[Case]], int]] = {
    "documents": (documents, 1000),
    "data files": (data_files, 300),
    "circuits": (circuits, 300),
    "run folders": (folders, 200),
    "journals": (journals, 100),
}


class Hang(BaseException):
    """A case that took too long; no handler of the program catches it."""


def _alarm(*_: object) -> None:
    raise Hang


def attack(kind: str, count: int, seed: int, *, seconds: int = MOST_SECONDS) -> Tally:
    """Run some cases of a kind in this process, in a folder of their own."""
    from typer.testing import CliRunner

    from qhq.cli.app import app

    tally, before = Tally(), (Path.cwd(), dict(os.environ))
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        place = Path(name)
        os.environ.update(QHQ_RUNS_DIR=str(place / "runs"), QHQ_MLFLOW="off")
        os.chdir(place)
        old = signal.signal(signal.SIGALRM, _alarm)
        try:
            cases = KINDS[kind][0](random.Random(f"{kind} {seed}"), place)
            for _ in range(count):
                what, words = next(cases)
                started = time.monotonic()
                signal.alarm(seconds)
                try:
                    result = CliRunner().invoke(app, words)
                    status: object = result.exit_code
                    told, error = result.output, result.exception
                except Hang:
                    status, told, error = "hang", "", None
                finally:
                    signal.alarm(0)
                tally.cases += 1
                tally.statuses[status] += 1
                tally.slowest = max(tally.slowest, time.monotonic() - started)
                raised = error is not None and not isinstance(error, SystemExit)
                if raised or status not in STATUSES or "Traceback" in told:
                    case = f"{kind} seed {seed} case {tally.cases}: {status} {words}"
                    tally.faults.append(f"{case}: {what[:200]}\n    {error!r} {told[-400:]!r}")
        finally:
            signal.signal(signal.SIGALRM, old)
            os.chdir(before[0])
            os.environ.clear()
            os.environ.update(before[1])
    return tally


def main() -> int:
    """Run all kinds and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, action="append")
    asked = parser.parse_args()
    faults = 0
    for kind in asked.kind or KINDS:
        tally = attack(kind, max(1, round(asked.scale * KINDS[kind][1])), asked.seed)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        over = peak > MOST_BYTES
        faults += len(tally.faults) + over
        print(f"{kind}: {tally.cases} cases, exit statuses {dict(tally.statuses)},"
              f" {len(tally.faults)} faults, slowest {tally.slowest:.1f} s,"
              f" peak {peak / 2**30:.2f} GiB{' ABOVE' if over else ''}")  # fmt: skip
        for fault in tally.faults:
            print(fault)
        sys.stdout.flush()
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main())
