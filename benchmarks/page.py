"""docs/benchmarks.md: written by the benchmarks, never by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.plot import draw
from benchmarks.table import Table, markdown

DOCS = Path(__file__).parent.parent / "docs"

HEAD = """\
# Benchmarks

Written by `python -m benchmarks --docs` on {date}; numbers are of one machine, each table of one process:
{cpu}, {cores} cores, {system}, Python {python}; {versions}.

The circuit: `RY(x_i)` encoding, layers (2 at 4 qubits, 3 above) of `RY RZ` on each qubit and a ring of CX,
Z on each qubit as outputs. A step is forward and backward with the gradients of inputs and weights. In one
process, pinned to one core, the contenders take turns (A B C A B C), so that a drift of the machine meets all
of them; each number is the median of single calls. *over budget*: a step would last longer than 2 s, or
compiling takes too long; *over memory*: its tape would need more than 4 GiB. Cores that other processes kept
busy meanwhile: {others}.

What each contender is: [`benchmarks/contenders/`](../benchmarks/contenders). PennyLane runs eagerly behind
its torch interface; TensorCircuit-NG is compiled (`jit` of `vmap`) for each circuit and batch, and what that
costs stands in a table of its own; qiskit-machine-learning is its default (parameter-shift) over Aer's exact
`EstimatorV2`. `qhq engine` is the bare NumPy engine, `qhq QuantumLayer` what a model sees.

![Time of a step and ratio at batch 64](benchmarks.png)
"""


def write_page(report: dict[str, Any], tables: list[Table]) -> None:
    """Write the page and its plot."""
    machine, results = report["machine"], report["results"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    others = ", ".join(f"{result['others_cores']:.2f} ({name})" for name, result in results.items())
    head = HEAD.format(**{**machine, "versions": versions, "others": others})
    (DOCS / "benchmarks.md").write_text(head + "\n" + "\n".join(markdown(table) for table in tables))
    draw(results["peers"]["rows"], DOCS / "benchmarks.png")
