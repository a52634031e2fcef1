"""A training step under noise: forward + backward through QuantumLayer on ``aer_noisy``, one thread.

Beside it the same step with Aer's density matrix and parameter shift, which is how an entry with noise was
trained before, and TensorCircuit-NG's ``DMCircuit`` under the same channels, jitted. The exact engine's step
says what noise costs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
import torch

from benchmarks.clock import medians, race
from benchmarks.table import Table, Target, milliseconds, times
from benchmarks.threads import BUSY_CORES
from qhq.ansatz.assemble import build_ansatz
from qhq.ansatz.program import Ansatz
from qhq.backends.executor import Executor
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.backends.registry import find_backend, open_backend, open_training_backend
from qhq.quantum.layer import QuantumLayer

CELLS = ((4, 2, 32), (6, 4, 32), (8, 3, 32))
"""Qubits, depth and batch."""
NOISY, AER, EXACT, DENSITY_CIRCUIT = (
    "noisy engine",
    "Aer, parameter shift",
    "exact engine",
    "TensorCircuit-NG",
)
DRAWN, SAMPLER = "drawn on the exact engine", "Aer's sampler"
SAMPLED_CELLS = ((4, 2, 32), (6, 4, 32))
MOST_ROWS_AT_ONCE = 4
"""Samples that TensorCircuit-NG takes together at 8 qubits."""
MOST_AER_QUBITS = 6
"""A step of 8 qubits takes Aer minutes."""
MOST_CIRCUIT_QUBITS = 8 if os.environ.get("QHQ_BENCH_SLOW") else 6
"""A step of 8 qubits takes TensorCircuit-NG more than a minute: QHQ_BENCH_SLOW=1 measures it all the same."""

Step = Callable[[], Any]


def layer_step(ansatz: Ansatz, executor: Executor, batch: int) -> Step:
    """Forward and backward, with the gradients of inputs and weights, in float32."""
    layer = QuantumLayer(ansatz, executor, seed=0).float()
    shape = (batch, ansatz.num_inputs)
    inputs = torch.linspace(-3, 3, batch * ansatz.num_inputs).reshape(shape).requires_grad_()
    cotangent = torch.linspace(-1, 1, batch * ansatz.num_outputs).reshape(batch, ansatz.num_outputs)
    return lambda: torch.autograd.grad(layer(inputs), (inputs, layer.weight), cotangent)


def aer_by_shifts(ansatz: Ansatz) -> Executor:
    """The entry as it was before the noisy engine."""
    spec = find_backend("aer_noisy").model_copy(update={"gradient": "parameter_shift", "threads": 1})
    return open_backend(spec, ansatz, seed=0)


def density_circuit_step(ansatz: Ansatz, batch: int) -> Step:
    """The program of the entry on TensorCircuit-NG's ``DMCircuit``, gate by gate with its channels.

    Raises:
        ImportError: If it is not installed.
    """
    import jax
    import tensorcircuit as tc
    from qiskit.quantum_info import Kraus, SuperOp

    tc.set_backend("jax")
    tc.set_dtype("complex64")
    executor = open_backend("aer_noisy", ansatz, seed=0)
    cut, noise = executor.isa.cut(), executor.aer.program.noise
    constants, slopes = _angles(cut, ansatz)
    kraus = {place: Kraus(SuperOp(error)).data for place, error in noise.channels.items()}

    def values(inputs: Any, weights: Any) -> Any:
        circuit = tc.DMCircuit(cut.circuit.num_qubits)
        angles = iter(constants + slopes @ jax.numpy.concatenate([inputs, weights]))
        for instruction in cut.circuit.data:
            gate, qubits = (
                instruction.operation,
                tuple(cut.circuit.find_bit(q).index for q in instruction.qubits),
            )
            # Qiskit's first qubit is the lowest bit of a matrix, TensorCircuit's the highest.
            if gate.name == "rz":
                circuit.rz(qubits[0], theta=next(angles))
            else:
                circuit.any(*qubits[::-1], unitary=gate.to_matrix())
            operators = [
                tc.gates.Gate(np.reshape(each, (2,) * (2 * len(qubits))).astype(np.complex64))
                for each in kraus.get((gate.name, qubits), ())
            ]
            if operators:
                circuit.apply_general_kraus(operators, [qubits[::-1]])
        diagonal = jax.numpy.real(jax.numpy.diag(circuit.densitymatrix()))
        axes = diagonal.reshape((2,) * cut.circuit.num_qubits)
        read = []
        for place in cut.layout:
            up, down = noise.flips[place]
            zero, one = axes.sum(axis=tuple(q for q in range(axes.ndim) if q != place))
            read.append((1 - 2 * up) * zero + (2 * down - 1) * one)
        return jax.numpy.stack(read)

    def one(inputs: Any, weights: Any, cotangent: Any) -> Any:
        found, pull = jax.vjp(values, inputs, weights)
        return found, *pull(cotangent)

    def step(inputs: Any, weights: Any, cotangents: Any) -> Any:
        # At 8 qubits the stored states of 32 samples at once are more than 30 GB: eight at a time there.
        rows = min(batch, MOST_ROWS_AT_ONCE if cut.circuit.num_qubits >= 8 else batch)
        return jax.lax.map(lambda pair: one(pair[0], weights, pair[1]), (inputs, cotangents), batch_size=rows)

    compiled = jax.jit(step)
    rng = np.random.default_rng(0)
    numbers = (
        rng.uniform(-3, 3, (batch, ansatz.num_inputs)).astype(np.float32),
        rng.uniform(-3, 3, ansatz.num_weights).astype(np.float32),
        rng.normal(size=(batch, ansatz.num_outputs)).astype(np.float32),
    )
    return lambda: jax.block_until_ready(compiled(*numbers))


def _angles(cut: Any, ansatz: Ansatz) -> tuple[Any, Any]:
    """Constants (A,) and slopes (A, I + W) of the RZ angles of a program, all affine in this circuit."""
    from qhq.engine.compile import AngleMap, separate_angles

    gates = [each.operation.params[0] for each in cut.circuit.data if each.operation.name == "rz"]
    inner = AngleMap([gate + 0 * cut.parameters[0] for gate in gates], cut.parameters, ())
    outer = AngleMap(separate_angles(ansatz.lowered)[1], ansatz.parameters, ())
    constants = inner.constant + outer.constant @ inner.input_slopes
    return constants, (outer.input_slopes @ inner.input_slopes).T


def sampled_steps(qubits: int, depth: int, batch: int) -> dict[str, Step]:
    """A step of 1,024 shots by parameter shift: drawn on the exact engine, and by Aer's sampler."""
    ansatz = build_ansatz("reference", qubits=qubits, depth=depth)
    opened: Any = open_backend(find_backend("aer_shots").model_copy(update={"threads": 1}), ansatz, seed=0)
    return {DRAWN: layer_step(ansatz, opened, batch), SAMPLER: layer_step(ansatz, opened.aer, batch)}


def open_steps(qubits: int, depth: int, batch: int) -> tuple[dict[str, Step], dict[str, str]]:
    """Steps by name, and why the others sit out."""
    ansatz = build_ansatz("reference", qubits=qubits, depth=depth)
    steps = {
        NOISY: layer_step(ansatz, open_training_backend("aer_noisy", ansatz, seed=0), batch),
        EXACT: layer_step(ansatz, StatevectorExecutor(ansatz, threads=1), batch),
    }
    skipped = {}
    if qubits <= MOST_AER_QUBITS:
        steps[AER] = layer_step(ansatz, aer_by_shifts(ansatz), batch)
    else:
        skipped[AER] = "over budget"
    try:
        if qubits <= MOST_CIRCUIT_QUBITS:
            steps[DENSITY_CIRCUIT] = density_circuit_step(ansatz, batch)
        else:
            skipped[DENSITY_CIRCUIT] = "over budget"
    except ImportError as error:
        skipped[DENSITY_CIRCUIT] = f"{error.name} is not installed"
    return steps, skipped


def measure(*, quick: bool) -> dict[str, Any]:
    """Medians of each cell, in seconds; a step that lasts longer than a second is taken once."""
    torch.set_num_threads(1)
    rows, sampled = [], []
    for cell in CELLS[:1] if quick else CELLS:
        steps, skipped = open_steps(*cell)
        row = dict(zip(("qubits", "depth", "batch"), cell, strict=True))
        rows.append(row | {"seconds": _timed(steps, quick=quick), "skipped": skipped})
    for cell in SAMPLED_CELLS[:1] if quick else SAMPLED_CELLS:
        row = dict(zip(("qubits", "depth", "batch"), cell, strict=True))
        sampled.append(row | {"seconds": _timed(sampled_steps(*cell), quick=quick)})
    return {"rows": rows, "sampled": sampled}


def _timed(steps: dict[str, Step], *, quick: bool) -> dict[str, float]:
    seconds = {}
    for name, step in list(steps.items()):
        if name not in (AER, SAMPLER):
            step()  # compiles
        begin = perf_counter()
        step()
        if (taken := perf_counter() - begin) > 1:
            seconds[name] = taken
            del steps[name]
    return seconds | medians(race(steps, seconds=0.5 if quick else 3))


def tables(result: dict[str, Any]) -> list[Table]:
    """One row a circuit."""
    names = (NOISY, EXACT, AER, DENSITY_CIRCUIT)
    rows = []
    for row in result["rows"]:
        cells = [
            milliseconds(row["seconds"][name]) if name in row["seconds"] else row["skipped"][name]
            for name in names
        ]
        rows.append((f"{row['qubits']} x {row['depth']} x {row['batch']}", *cells))
    note = (
        "Forward + backward through QuantumLayer on aer_noisy, circuit reference, float32, one thread,"
        " milliseconds; qubits x depth x batch."
    )
    shots = [
        (
            f"{row['qubits']} x {row['depth']} x {row['batch']}",
            *map(milliseconds, (row["seconds"][DRAWN], row["seconds"][SAMPLER])),
        )
        for row in result["sampled"]
    ]
    shots_note = (
        "The same on aer_shots, 1,024 shots: gradients by parameter shift, each shift with shots of its own."
    )
    return [
        Table("A training step under noise", note, ("circuit", *names), tuple(rows)),
        Table("A training step under shots", shots_note, ("circuit", DRAWN, SAMPLER), tuple(shots)),
    ]


LEAST = {(4, 2): 8.0, (6, 4): 10.0, (8, 3): 15.0}
"""How many times faster than TensorCircuit-NG the noisy engine is to be, by qubits and depth."""


def targets(result: dict[str, Any]) -> list[Target]:
    """Beside TensorCircuit-NG where it is installed, and beside Aer at 6 qubits."""
    made = []
    for row in result["rows"]:
        seconds, cell = row["seconds"], (row["qubits"], row["depth"])
        if DENSITY_CIRCUIT in seconds:
            ratio = seconds[DENSITY_CIRCUIT] / seconds[NOISY]
            line = f"Noisy engine beside {DENSITY_CIRCUIT}, {cell[0]} qubits, depth {cell[1]}"
            made.append(Target(line, f">= {LEAST[cell]:g}x", times(ratio), ratio >= LEAST[cell]))
        if AER in seconds and cell == (6, 4):
            ratio = seconds[AER] / seconds[NOISY]
            made.append(
                Target("Noisy engine beside Aer, 6 qubits, depth 4", ">= 2,000x", times(ratio), ratio >= 2000)
            )
    for row in result["sampled"]:
        ratio = row["seconds"][SAMPLER] / row["seconds"][DRAWN]
        line = f"Shots drawn on the engine beside Aer's sampler, {row['qubits']} qubits, depth {row['depth']}"
        made.append(Target(line, ">= 50x", times(ratio), ratio >= 50))
    # Whoever shares a core loses more of a long step than of a short one, and so ratios come out too large.
    busy = result.get("others_cores", 0.0) >= BUSY_CORES
    return [replace(each, met=None) for each in made] if busy else made
