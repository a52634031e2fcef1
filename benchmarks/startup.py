"""From a fresh process to the first result, with a warm and with a cold kernel cache."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.table import Table, Target, digits

SCRIPT = """
import json
from time import perf_counter
begin = perf_counter()
import torch
from qhq.ansatz import build, load_ansatz
from qhq.backends.registry import open_training_backend
from qhq.quantum import QuantumLayer
imported = perf_counter()
ansatz = build(load_ansatz("reference", {"qubits": 6, "depth": 3}))
layer = QuantumLayer(ansatz, open_training_backend("aer", ansatz, seed=0), seed=0)
def step(dtype):
    begin = perf_counter()
    inputs = torch.ones(16, 6, dtype=dtype, requires_grad=True)
    layer.to(dtype)(inputs).sum().backward()
    return perf_counter() - begin
opened = perf_counter()
print(json.dumps({"imports": imported - begin, "open": opened - imported, "first": step(torch.float32),
                  "second": step(torch.float32), "double": step(torch.float64) if DOUBLE else 0.0}))
"""
"""What a user's first lines do; prints seconds."""


def run_script(cache: str | None = None, *, double: bool = True) -> dict[str, Any]:
    """The script in a fresh process, and what it said on standard error."""
    environment = dict(os.environ) if cache is None else {**os.environ, "QHQ_CACHE_DIR": cache}
    command = [sys.executable, "-W", "ignore", "-c", f"DOUBLE = {double}\n{SCRIPT}"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return {**json.loads(done.stdout.splitlines()[-1]), "said": done.stderr.strip()}


def measure(*, quick: bool) -> dict[str, Any]:
    """Medians of warm starts and one cold start, in seconds."""
    run_script()
    warm = [run_script() for _ in range(2 if quick else 7)]
    with tempfile.TemporaryDirectory() as cache:
        cold = run_script(cache, double=not quick)
    keys = ("imports", "open", "first", "second", "double")
    return {"warm": {key: statistics.median(each[key] for each in warm) for key in keys}, "cold": cold}


def first_call(seconds: dict[str, float]) -> float:
    """From the imports to the first gradients."""
    return seconds["open"] + seconds["first"]


def tables(result: dict[str, Any]) -> list[Table]:
    """Stages of both starts."""
    stages = {
        "imports (torch, qiskit, numba, qhq)": "imports",
        "circuit and layer opened": "open",
        "first forward + backward, float32": "first",
        "second one": "second",
        "first one in float64": "double",
    }
    warm, cold = result["warm"], result["cold"]
    rows = tuple((name, digits(warm[key]), digits(cold[key])) for name, key in stages.items())
    said = cold["said"].splitlines()[0] if cold["said"] else "nothing"
    note = f"Seconds, 6 qubits, batch 16. With a cold cache it says: `{said}`"
    return [Table("Start-up", note, ("", "warm cache, s", "cold cache, s"), rows)]


def targets(result: dict[str, Any]) -> list[Target]:
    """Acceptance 5."""
    warm, cold = result["warm"], result["cold"]
    start, compiled = first_call(warm), first_call(cold)
    with_imports = f"{digits(start)} s ({digits(start + warm['imports'])} s with imports)"
    said = "with a message" if cold["said"] else "WITHOUT a message"
    double = f" (and {digits(cold['double'])} s when float64 is first used)" if cold["double"] else ""
    met = compiled < 30 and bool(cold["said"])
    return [
        Target("First call, warm cache, after imports", "< 0.5 s", with_imports, start < 0.5),
        Target("First call, cold cache", "< 30 s", f"{digits(compiled)} s, {said}{double}", met),
    ]
