"""docs/benchmarks.md: written by the benchmarks, never by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.plot import draw
from benchmarks.table import TARGETS, Table, cells_of, markdown

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


def refresh_page(report: Mapping[str, Any], tables: Sequence[Table]) -> None:
    """Put new tables in the place of those of the same title, and new targets among the others."""
    machine, results = report["machine"], report["results"]
    busy = ", ".join(f"{result['others_cores']:.2f}" for result in results.values())
    note = f"Measured on {machine['date']}; cores that other processes kept busy meanwhile: {busy}."
    path = DOCS / "benchmarks.md"
    path.write_text(refreshed(path.read_text(), tables, note))


def refreshed(page: str, tables: Sequence[Table], note: str) -> str:
    """The page with its sections replaced, or added at its end.

    Args:
        page: As it is.
        tables: New ones, the targets among them.
        note: When and how they were measured, for each of them but the targets, which have no date.
    """
    head, *sections = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    found = {section.splitlines()[0].removeprefix("## "): section for section in sections}
    for table in tables:
        if table.title == TARGETS:
            old = [cells_of(line) for line in found.get(TARGETS, "").splitlines() if line.startswith("| ")]
            rows = {row[0]: row for row in [*old[2:], *table.rows]}
            found[TARGETS] = markdown(replace(table, rows=tuple(rows.values()))) + "\n"
        else:
            found[table.title] = markdown(replace(table, note=f"{table.note} {note}")) + "\n"
    return head + "".join(found.values()).rstrip("\n") + "\n"
