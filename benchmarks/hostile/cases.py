# ruff: noqa: C901, E501, PLR0912, PLR0915  a long table of cases is easier read than cut up
"""What is fed to qhq, a generator a kind: each case is a damaged file, a command, and how that may end."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.hostile.damage import (
    CELLS,
    FOREIGN,
    JUNK,
    doubled_keys,
    flip,
    irregular,
    json_text,
    mutate_safetensors,
    mutate_text,
    mutate_tree,
    mutate_zip,
    nested,
    recode,
    zipped,
)

TINY = (
    "name: tiny\nseed: 1\ndata: {symbols: [AAPL], start: 2012-06-01, window: 5}\n"
    "quantum: {ansatz: reference, qubits: 2, depth: 1}\nmodel: {recurrent: [{unit: gru, hidden: 4}]}\n"
    "training: {epochs: 1, batch_size: 64}\n"
)


@dataclass(frozen=True)
class Case:
    """One damaged file.

    Attributes:
        what: What was done to it, for whoever reads of a fault.
        words: The command that meets it.
        may: Exit statuses that the contract has for it: 2 where a document or a folder of qhq's is at fault,
            3 where prices are, 4 where only a backend can be; 0 and 1 where what is left can be used.
    """

    what: str
    words: list[str]
    may: frozenset[int]


Make = Callable[[random.Random], Case]
DOCUMENT, PRICES = frozenset({0, 2}), frozenset({0, 1, 3})


def documents(place: Path) -> Make:
    """Configs, ansaetze, registries, sweeps and snapshots."""
    import yaml

    from qhq.backends.devices.calibration import load_fake, save_snapshot
    from qhq.paths import shipped_root

    root = shipped_root()
    experiments = [path for path in sorted(root.glob("experiments/**/*.yaml")) if "staged" not in path.parts]
    save_snapshot(load_fake("fake_fez"), place / "good.json.gz")
    snapshot = gzip.decompress((place / "good.json.gz").read_bytes())
    tree = json.loads(snapshot)
    sources: list[tuple[list[str], str, list[str], frozenset[int]]] = [
        ([path.read_text() for path in experiments], "config.yaml", ["data", "check", "FILE", "--json"],
         frozenset({0, 1, 2, 3})),
        ([TINY], "tiny.yaml", ["doctor", "FILE", "--json"], frozenset({0, 1, 2, 3, 4})),
        ([path.read_text() for path in sorted(root.glob("circuits/*.yaml"))], "ansatz.yaml",
         ["circuit", "info", "FILE", "--json"], DOCUMENT),
        ([(root / "backends.yaml").read_text()], "backends.yaml", ["backends", "list", "--json"], DOCUMENT),
        ([(root / "experiments/staged/config.yaml").read_text()], "sweep.yaml",
         ["sweep", "FILE", "--resume", "--json"], frozenset({2, 3})),
    ]  # fmt: skip

    def snapshots(chance: random.Random) -> Case:
        (place / "backends.yaml").write_text("mine: {kind: aer, shots: 16, noise: {snapshot: s.json.gz}}\n")
        path = place / "s.json.gz"
        match chance.randrange(6):
            case 0:
                content = flip(gzip.compress(snapshot), chance)
            case 1:
                content = recode(snapshot, chance)
            case 2:
                content = doubled_keys(snapshot.decode(), chance).encode()
            case _:
                content = gzip.compress(json_text(mutate_tree(tree, chance)).encode("utf-8", "replace"))
        path.write_bytes(content)
        return Case(
            f"snapshot {content[:60]!r}", ["backends", "check", "mine", "--json"], frozenset({0, 1, 2, 4})
        )

    def make(chance: random.Random) -> Case:
        for path in (place / "backends.yaml", place / "s.json.gz"):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        if chance.random() < 0.1:
            return snapshots(chance)
        texts, name, words, may = chance.choice([*sources, sources[0], sources[2]])
        text, path = chance.choice(texts), place / name
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        path.unlink(missing_ok=True)
        way = chance.randrange(10)
        if way < 5:
            content = mutate_text(text, chance).encode("utf-8", "surrogatepass")
        elif way < 8:
            with contextlib.suppress(ValueError, RecursionError):
                text = yaml.safe_dump(mutate_tree(yaml.safe_load(text), chance), allow_unicode=True)
            content = text.encode("utf-8", "surrogatepass")
        elif way == 8:
            content = recode(text.encode(), chance)
        else:
            path.write_text(text)
            told = irregular(path, chance)
            # Without a registry in the current folder the shipped one serves.
            may |= {0, 2}
            return Case(f"{name}: {told}", [str(path) if word == "FILE" else word for word in words], may)
        path.write_bytes(content)
        told = f"{name} {content[:3000]!r}"
        return Case(told, [str(path) if word == "FILE" else word for word in words], may)

    return make


def data_files(place: Path) -> Make:
    """Tables as text, packed text, Parquet, Excel and JSON; folders of recorded chains."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from qhq.data.recording import ChainStore

    days = pd.bdate_range("2020-01-01", periods=120).strftime("%Y-%m-%d")
    walk = 100 * np.exp(np.random.default_rng(0).normal(0, 0.01, (2, 120)).cumsum(axis=1))
    frame = pd.concat(
        [
            pd.DataFrame({"symbol": f"AB{k}", "date": days, "adj_close": walk[k], "volume": 1000.0})
            for k in range(2)
        ],
        ignore_index=True,
    )
    rows = len(frame)
    text = frame.to_csv(index=False)
    stream = io.BytesIO()
    frame.to_excel(stream, index=False)
    excel = stream.getvalue()
    records = frame.to_json(orient="records")
    odd: list[Any] = [
        pa.array([[1.0]] * rows), pa.array([{"a": 1}] * rows), pa.array([b"\xff\x00"] * rows),
        pa.array([2**63 + 5] * rows, pa.uint64()), pa.array([None] * rows), pa.array([True] * rows),
        pa.array([float("inf")] * rows), pa.array([1] * rows, pa.decimal128(38, 10)),
        pa.array([0] * rows, pa.timestamp("ns", "Asia/Tokyo")), pa.array([0] * rows, pa.duration("us")),
        pa.array([0] * rows, pa.time64("ns")), pa.nulls(rows),
        pa.array(["a" * 50_000] * rows).dictionary_encode(), pa.array([-(2**62)] * rows, pa.timestamp("s")),
    ]  # fmt: skip

    def packed(table: Any) -> bytes:
        into = io.BytesIO()
        pq.write_table(table, into)
        return into.getvalue()

    plain = pa.Table.from_pandas(frame)
    parquet = packed(plain)
    day, quote = pd.Timestamp("2026-11-20"), pd.Timestamp("2026-11-20 21:30", tz="UTC")
    chains = [
        pd.DataFrame({
            "contract_id": [f"AB{k}261218C{strike:08d}" for strike in (90_000, 100_000, 110_000)],
            "underlying": f"AB{k}", "date": day + pd.Timedelta(days=shift), "expiry": pd.Timestamp("2026-12-18"),
            "quote_time": quote + pd.Timedelta(days=shift), "strike": [90.0, 100.0, 110.0], "option_type": "call",
            "underlying_price": 100.0, "bid": [10.0, 2.0, 0.5], "ask": [10.2, 2.2, 0.7],
        })
        for k in range(2) for shift in range(-3, 1)
    ]  # fmt: skip
    ChainStore(place / "chains").append(chains)

    def table(chance: random.Random) -> bytes:
        """A Parquet file of another shape than prices have."""
        name = chance.choice(plain.column_names)
        match chance.randrange(5):
            case 0:
                return packed(plain.set_column(plain.column_names.index(name), name, chance.choice(odd)))
            case 1:
                return packed(plain.append_column(name, chance.choice(odd)))
            case 2:
                return packed(pa.table({f"c{k}": [1.0] for k in range(3000)}))
            case 3:
                long = pa.array(["AB"] * 5_000_000).dictionary_encode()
                return packed(pa.table({"symbol": long, "date": pa.array([0] * 5_000_000, pa.date32())}))
            case _:
                return packed(plain.slice(0, chance.choice([0, 1, 2])))

    def recorded(chance: random.Random) -> Case:
        folder = place / "given"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(place / "chains", folder)
        path = chance.choice(sorted(folder.glob("*/*.parquet")))
        match chance.randrange(5):
            case 0:
                told = irregular(path, chance)
            case 1:
                path.write_bytes(content := chance.choice([parquet, table(chance)]))
                told = f"another table of {len(content)} bytes"
            case 2:
                path.write_bytes(recode(path.read_bytes(), chance))
                told = "recoded"
            case 3:
                good = pq.ParquetFile(path).read()
                name = chance.choice(good.column_names)
                array = chance.choice(odd).slice(0, good.num_rows)
                pq.write_table(good.set_column(good.column_names.index(name), name, array), path)
                told = f"{name} as {array.type}"
            case _:
                path.write_bytes(flip(path.read_bytes(), chance))
                told = "flipped"
        words = chance.choice(
            [["data", "check", str(folder), "--json"], ["data", "show", str(folder), "--json"]]
        )
        return Case(f"recorded {path.name}: {told}", words, PRICES)

    def make(chance: random.Random) -> Case:
        kind = chance.choice(
            ["csv", "csv", "cells", "cells", "csv.gz", "parquet", "parquet", "table", "xlsx", "xlsx", "bomb",
             "recoded", "recoded", "json", "zip", "foreign", "irregular", "recorded", "recorded", "header"]
        )  # fmt: skip
        if kind == "recorded":
            return recorded(chance)
        content, ending = text.encode(), "csv"
        match kind:
            case "csv":
                content = flip(content, chance)
            case "cells":
                lines = [line.split(",") for line in text.splitlines()]
                for _ in range(chance.choice([1, 3, 50])):
                    row = chance.choice(lines)
                    row[chance.randrange(len(row))] = chance.choice(CELLS)
                content = "\n".join(map(",".join, lines)).encode("utf-8", "surrogatepass")
            case "header":
                first, _, rest = text.partition("\n")
                names = first.split(",")
                names[chance.randrange(len(names))] = chance.choice([*names, *CELLS, *JUNK[-12:]])
                content = f"{','.join(names)}\n{rest}".encode("utf-8", "surrogatepass")
            case "csv.gz":
                content, ending = flip(gzip.compress(content), chance), "csv.gz"
            case "bomb":
                letter = chance.choice([b"0", b",", b"\n", b'"', b" "])
                content = gzip.compress(content + letter * (chance.choice([1, 80]) << 20), 6)
                ending = "csv.gz"
            case "parquet":
                content, ending = flip(parquet, chance), "parquet"
            case "table":
                content, ending = table(chance), "parquet"
            case "xlsx":
                content, ending = chance.choice([flip, mutate_zip])(excel, chance), "xlsx"
            case "recoded":
                content = recode(content, chance)
                ending = chance.choice(["csv", "csv", "csv.gz", "txt", "csv.xz", "csv.bz2", "csv.zip"])
            case "json":
                tree = mutate_tree(json.loads(records)[:20], chance)
                content = json_text(chance.choice([tree, nested(3000), {"data": tree}])).encode(
                    "utf-8", "replace"
                )
                ending = "json"
            case "zip":
                content, ending = (
                    zipped({chance.choice(["a.csv", "../../x.csv"]): content}, chance),
                    "csv.zip",
                )
            case "foreign":
                content = chance.choice(list(FOREIGN.values()))
                ending = chance.choice(["csv", "parquet", "xlsx", "json", "csv.gz", "txt"])
        path = place / f"table.{ending}"
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        told = irregular(path, chance) if kind == "irregular" else repr(content[:80])
        command = chance.choice(["check", "check", "check", "show"])
        # A folder in a file's place is a study without its config: a word of the command that is wrong.
        may = PRICES | {2} if path.is_dir() else PRICES
        return Case(f"{kind} {told}", ["data", command, str(path), "--json"], may)

    return make


STATEMENTS = [
    "qubit[1000000000] z;", "qubit[-1] z;", "qubit[3] q;", "include \"/etc/passwd\";", "include \"own.yaml\";",
    "include \"c.qasm\";", "gate g q { g q; }\ng q[0];", "U(1e308, 1/0, 0) q[0];", "rz(2^99999) q[0];",
    "for int i in [0:100000000] { x q[0]; }", "while (true) { x q[0]; }", "rz(((((((((1))))))))) q[0];",
    "rz(" + "(" * 3000 + "1" + ")" * 3000 + ") q[0];", "ctrl(100000) @ x q[0], q[1];", "pow(1e9) @ x q[0];",
    "inv @ inv @ x q[0];", "defcal x q { }", "extern f(int) -> int;", "reset q;", "bit[5] c; c = measure q;",
    "barrier q;", "delay[100ns] q[0];", "box { x q[0]; }", "gphase(pi);", "input angle theta; rz(theta) q[0];",
    "cx q[0], q[0];", "x q[99];", "x undefined;", "rz(\"a\") q[0];", "rz(0x1p999) q[0];", "#pragma a", "@a",
    "const int n = 2; x q[n];", "let r = q[0:1]; x r;", "if (true) { x q[0]; } else { y q[0]; }", "\x00", "é;",
    "creg c[2147483648];", "opaque o a;", "o q[0];", "u0(1) q[0];", "rz(sin(x_0)^x_1/0) q[0];", "// " + "a" * 100_000,
    "switch (1) { case 1 { x q[0]; } }", "array[int, 9999999, 9999999] a;", "duration d = 1e99s;", "id q[0];" * 500,
]  # fmt: skip
"""Lines of OpenQASM that a reader may stumble over."""


def circuits(place: Path) -> Make:
    """QPY, OpenQASM 2 and 3, and what stands around them."""
    import numpy as np
    from qiskit import QuantumCircuit, qpy
    from qiskit.circuit import Parameter, ParameterVector

    from qhq.ansatz.assemble import build
    from qhq.ansatz.export import export
    from qhq.ansatz.spec import load_ansatz

    sources: list[tuple[str, bytes]] = []
    for name in ("reference", "sim_02", "real_amplitudes", "zz_feature_map"):
        ansatz = build(load_ansatz(name, {"qubits": 3, "depth": 1}))
        values = [0.1] * (ansatz.num_inputs + ansatz.num_weights)
        sources += [("qpy", export(ansatz, "qpy", None)), ("qasm", export(ansatz, "qasm3", None))]
        with contextlib.suppress(Exception):
            sources.append(("qasm", export(ansatz, "qasm2", values)))

    def strange(chance: random.Random) -> bytes:
        """QPY that Qiskit wrote, of a circuit that nobody trains."""
        vector, circuit = ParameterVector("x", 3), QuantumCircuit(3, 2)
        circuit.name = chance.choice(["", "\x1b[31m", "../../x", "a" * 5000, "\u202e"])
        circuit.metadata = chance.choice(
            [{}, {"qhq": nested(200)}, {"qhq": {"format": 99}}, {"a": "b" * 10_000}]
        )
        for qubit in range(3):
            circuit.ry(vector[qubit], qubit)
        angle: Any = vector[0]
        match chance.randrange(9):
            case 0:
                for _ in range(300):
                    angle = (angle * 2 + 1).sin()
                circuit.rz(angle, 0)
            case 1:
                circuit.rz(angle / 1e-320 if chance.random() < 0.5 else (angle * 1e308 * 1e308), 0)
            case 2:
                circuit.unitary(np.eye(8), [0, 1, 2])
            case 3:
                with circuit.if_test((circuit.clbits[0], 1)):
                    circuit.x(0)
            case 4:
                with circuit.for_loop(range(10**6)):
                    circuit.x(0)
            case 5:
                circuit.measure(0, 0)
                circuit.reset(0)
                circuit.rz(Parameter(chance.choice(["x_0", "", "\x00", "é", "__import__('os')"])), 0)
            case 6:
                circuit.initialize([1, 0, 0, 0, 0, 0, 0, 0], [0, 1, 2])
            case 7:
                circuit.delay(10**9, 0)
                circuit.global_phase = float("nan") if chance.random() < 0.5 else 1e300
            case _:
                sub = QuantumCircuit(3, name="g")
                sub.rz(vector[1], 0)
                circuit.append(sub.to_gate(), [0, 1, 2])
        into = io.BytesIO()
        qpy.dump([circuit] * chance.choice([1, 1, 1, 0, 2]), into)
        return into.getvalue()

    def make(chance: random.Random) -> Case:
        ending, content = chance.choice(sources)
        way = chance.randrange(10)
        with contextlib.suppress(Exception):
            if way == 0:
                ending, content = "qpy", strange(chance)
        if way == 0:
            content = content if chance.random() < 0.5 else flip(content, chance)
        elif ending == "qasm" and way < 4:
            lines = content.decode().splitlines()
            for _ in range(chance.choice([1, 1, 2])):
                lines.insert(chance.randrange(2, len(lines) + 1), chance.choice(STATEMENTS))
            content = "\n".join(lines).encode("utf-8", "surrogatepass")
        elif ending == "qasm" and way < 8:
            content = mutate_text(content.decode(), chance).encode("utf-8", "surrogatepass")
        elif way == 9:
            content = recode(content, chance)
        else:
            content = flip(content, chance)
        if chance.random() < 0.1:
            content = gzip.compress(content + b"\n" * chance.choice([0, 0, 200 << 20]))
        path = place / f"c.{ending}"
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        told = irregular(path, chance) if chance.random() < 0.04 else repr(content[:3000])
        roles = chance.choice(["inputs: x", "weights: angles", "weights: none", "inputs: [x_0]"])
        (place / "own.yaml").write_text(f"qubits: 3\nfile: {{path: c.{ending}, {roles}}}\n")
        command = chance.choice(
            [
                ["info"],
                ["info"],
                ["info"],
                ["draw"],
                ["export", "--format", "qasm3"],
                ["info", "--isa", "fake_fez"],
            ]
        )
        words = [
            "circuit",
            command[0],
            str(place / "own.yaml"),
            *command[1:],
            *(["--json"] if command[0] == "info" else []),
        ]
        # A circuit that cannot be mapped to a device is refused by the backend.
        return Case(f"{ending} {told}", words, DOCUMENT | ({4} if "--isa" in words else set()))

    return make


def folders(place: Path) -> Make:
    """Run folders, sweeps and studies of others."""
    from qhq.runs.run_folder import RunFolder, list_runs

    (place / "tiny.yaml").write_text(TINY)
    kept, cut = place / "kept", place / "cut"
    # Trained in a process of its own: threads that it starts would be missing in the forks of this one.
    subprocess.run([sys.executable, "-m", "qhq", "train", "tiny.yaml"], check=True, capture_output=True)
    list_runs()[0].path.rename(kept)
    shutil.copytree(kept, cut)
    record = RunFolder(cut).read_record().to_dict()
    RunFolder(cut).write_json("run.json", {**record, "status": "running"})
    for folder in (kept, cut):
        RunFolder(folder).add_evaluation({"run": "x", "results": [], "leaks": []})
        (folder / "mlflow.json").write_text('{"run.json": {"s": {"run_id": "a", "state": "b"}}}')
    names = ["run.json", "run.json", "run.json", "config.yaml", "config.yaml", "model.safetensors", "circuit.qpy",
             "resume.pt", "predictions.csv", "history.csv", "evals", "studies", "mlflow.json"]  # fmt: skip
    used = {
        "compare": (
            ["compare", "--json"],
            ["compare", "--csv", "t.csv", "--all"],
            ["compare", "--latex", "t.tex"],
        ),
        "eval": (["eval", "RUN", "--backend", "statevector", "--samples", "4", "--json"],),
        "resume": (["train", "--resume", "RUN", "--json"],),
        "doctor": (["doctor", "RUN", "--json"],),
        "noise": (
            ["noise", "RUN", "--samples", "2", "--seeds", "2", "--scale", "0", "--shots", "8", "--json"],
        ),
    }

    def make(chance: random.Random) -> Case:
        shutil.rmtree(place / "runs", ignore_errors=True)
        run = place / "runs" / "given"
        use = chance.choice(["compare", "compare", "eval", "eval", "resume", "resume", "doctor", "noise"])
        shutil.copytree(cut if use == "resume" else kept, run)
        words = [str(run) if word == "RUN" else word for word in chance.choice(used[use])]
        path = run / chance.choice(names)
        if path.name == "evals":
            path = next(path.glob("*.json"))
        elif path.name == "studies":
            path.mkdir()
            path = path / "noise-0123456789.json"
            path.write_text('{"kind": "noise", "backend": "aer", "rows": []}')
        content, may = path.read_bytes(), {0, 1, 2} if use == "doctor" else {0, 2}
        told = ""
        match chance.randrange(10):
            case 0 | 1:
                told = irregular(path, chance)
            case 2 | 3:
                path.write_bytes(flip(content, chance))
            case 4:
                path.write_bytes(recode(content, chance))
            case _:
                told = _change(path, content, chance)
        if path.name == "config.yaml":  # what it asks for may be there, and not fit
            may |= {3}
        elif path.name == "run.json":
            may |= {3} if any(key in told for key in ("data", "scaler", "fingerprint", "static")) else set()
            may |= {4} if any(key in told for key in ("backend", "kind", "shots", "gradient")) else set()
        return Case(f"{path.name} {told} {words[:2]}", words, frozenset(may))

    return make


def _change(path: Path, content: bytes, chance: random.Random) -> str:
    """Damage a file of a run folder by what it holds."""
    if path.suffix == ".json":
        before = json.loads(content)
        after = mutate_tree(before, chance)
        text = json_text(after)
        if chance.random() < 0.1:
            text = doubled_keys(content.decode(), chance)
            after = text[:40]
        path.write_text(text, errors="surrogatepass")
        if isinstance(after, dict) and isinstance(before, dict):
            return " ".join(key for key in {**before, **after} if before.get(key) != after.get(key))
        return str(after)[:40]
    if path.suffix in (".yaml", ".csv"):
        path.write_text(mutate_text(content.decode(), chance), errors="surrogatepass")
    elif path.suffix == ".safetensors":
        path.write_bytes(mutate_safetensors(content, chance))
    elif path.suffix == ".pt":
        path.write_bytes(mutate_zip(content, chance))
    else:
        path.write_bytes(flip(content, chance))
    return "by its form"


def journals(place: Path) -> Make:
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
    cells: list[Any] = [None, b"\xff", *JUNK[:12], 1.5, -1, 2**62, "planned", "sent", "stored", "../../x", 1e300,
                        float("inf"), b"\x1f\x8b", "x" * 100_000, "\x1b]0;x\x07"]  # fmt: skip

    def make(chance: random.Random) -> Case:
        for each in runs.glob(f"{path.name}*"):
            shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
        path.write_bytes(good)
        told, may = "cells", frozenset({0, 2})
        way = chance.random()
        if way < 0.3:
            path.write_bytes(flip(good, chance))
            told = "flipped"
        elif way < 0.4:
            path.write_bytes(recode(good, chance))
            told = "recoded"
        elif way < 0.5:
            told = irregular(path, chance)
        else:
            with contextlib.closing(sqlite3.connect(path)) as database, database:
                if chance.random() < 0.2:
                    database.execute(f"pragma user_version = {chance.choice([0, 99, 2**31 - 1, -1])}")
                for table in chance.sample(tables, chance.randrange(1, len(tables) + 1)):
                    row = [chance.choice(cells) for _ in columns[table]]
                    marks = ", ".join("?" * len(row))
                    with contextlib.suppress(sqlite3.Error, OverflowError):
                        database.execute(f"insert or replace into '{table}' values ({marks})", row)
        words = chance.choice([["jobs", "--json"], ["jobs"], ["jobs", "discard", "x", "--json"],
                               ["jobs", "resume", "nope", "--json"]])  # fmt: skip
        return Case(f"journal {told}", words, may | {4})

    return make


KINDS: dict[str, tuple[Callable[[Path], Make], int]] = {
    "documents": (documents, 1000),
    "data files": (data_files, 300),
    "circuits": (circuits, 300),
    "run folders": (folders, 200),
    "journals": (journals, 100),
}
"""What makes the cases of a kind, and how many of them a whole round has."""
