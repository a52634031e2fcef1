"""A program in the gates of a device and on its qubits, transpiled once and kept."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import qiskit
from qiskit import qpy
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager

from qhq.ansatz.files import read_qpy
from qhq.ansatz.program import on_qubits
from qhq.backends.devices.device import Device
from qhq.backends.spec import TranspileSpec
from qhq.errors import BackendError, ConfigError
from qhq.files import write_atomically
from qhq.paths import cache_dir

FORMAT = 3
"""Of what is kept; another number leaves what an older qhq kept aside."""

STANDARD = "qiskit.circuit.library.standard_gates"
"""Where Qiskit keeps the gates whose names say all of them."""

LAYOUT = "qhq_layout"
"""Key of a kept circuit's metadata under which its layout stands."""


@dataclass(frozen=True)
class IsaProgram:
    """A circuit on physical qubits, and its observables there.

    Attributes:
        circuit: Gates of the device, on all its qubits.
        parameters: Its parameters, in the order of the columns of a row of values. One that no gate holds, as
            after the transpiler has cancelled its gates, is among them all the same.
        observables: The O operators, on all qubits of the device.
        layout: Physical qubit that each logical one is read from, after the last gate.
    """

    circuit: QuantumCircuit
    parameters: tuple[Parameter, ...]
    observables: tuple[SparsePauliOp, ...]
    layout: tuple[int, ...]

    @property
    def qubits(self) -> tuple[int, ...]:
        """Physical qubits that hold a logical one, or that a gate or an observable acts on; ascending."""
        used = set(self.layout)
        for step in self.circuit.data:
            used |= {self.circuit.find_bit(bit).index for bit in step.qubits}
        for observable in self.observables:
            used |= set(np.flatnonzero((observable.paulis.x | observable.paulis.z).any(axis=0)).tolist())
        return tuple(sorted(used))

    def cut(self) -> IsaProgram:
        """The same program on the qubits in use alone; the k-th of them becomes qubit k."""
        qubits = self.qubits
        place = {qubit: index for index, qubit in enumerate(qubits)}
        circuit = QuantumCircuit(len(qubits))
        for step in self.circuit.data:
            circuit.append(step.operation, [place[self.circuit.find_bit(bit).index] for bit in step.qubits])
        observables = tuple(on_qubits(each, qubits) for each in self.observables)
        return IsaProgram(circuit, self.parameters, observables, tuple(place[each] for each in self.layout))


def build_isa(
    circuit: QuantumCircuit,
    parameters: Sequence[Parameter],
    observables: Sequence[SparsePauliOp],
    device: Device,
    settings: TranspileSpec,
) -> IsaProgram:
    """Write a program for a device, or take the one that an earlier call kept under `cache_dir`.

    Args:
        circuit: Logical circuit on Q qubits.
        parameters: Its parameters, in the order of the columns of a row of values.
        observables: Operators on its Q qubits.
        device: Where it will run.
        settings: How it is rewritten.

    Returns:
        The program; its observables follow the layout.

    Raises:
        BackendError: If it does not fit the device.
    """
    file = cache_dir() / "isa" / f"{_key(circuit, device, settings)}.qpy"
    isa = _read_kept(file)
    if isa is None:
        isa = _transpile(circuit, device, settings)
        _keep(isa, file)
    named = {parameter.name: parameter for parameter in isa.parameters}
    layout = tuple(isa.metadata[LAYOUT])
    laid = tuple(each.apply_layout(list(layout), isa.num_qubits) for each in observables)
    return IsaProgram(isa, tuple(named.get(each.name, each) for each in parameters), laid, layout)


def _transpile(circuit: QuantumCircuit, device: Device, settings: TranspileSpec) -> QuantumCircuit:
    """The circuit on the device's qubits, with the layout after its last gate in the metadata."""
    # Measured, so that the choice of qubits weighs their readout errors too.
    measured = circuit.copy()
    measured.measure_all()
    try:
        isa: QuantumCircuit = generate_preset_pass_manager(
            optimization_level=settings.optimization_level,
            target=device.target,
            initial_layout=None if settings.layout is None else list(settings.layout),
            seed_transpiler=settings.seed,
            # Never trade exactness for fewer gates, whatever the errors of the device.
            approximation_degree=1.0,
        ).run(measured)
    except (QiskitError, IndexError, KeyError) as error:
        raise BackendError(
            "The circuit must fit the device",
            got=f"{circuit.num_qubits} qubits, layout {settings.layout or 'free'} on {device.name}: {error}",
            fix="Correct transpile.layout of the entry, or choose another device",
        ) from error
    return _without_measurement(isa)


def _without_measurement(measured: QuantumCircuit) -> QuantumCircuit:
    """The gates alone; where each logical qubit was measured goes into the metadata.

    The global phase is left out too: it changes no expectation, and Aer stumbles over parameters in it.
    """
    isa = QuantumCircuit(measured.num_qubits)
    layout = [0] * measured.num_clbits
    for step in measured.data:
        qubits = [measured.find_bit(bit).index for bit in step.qubits]
        if step.name == "measure":
            layout[measured.find_bit(step.clbits[0]).index] = qubits[0]
        elif step.name != "barrier":
            isa.append(step.operation, qubits)
    isa.metadata = {LAYOUT: layout}
    return isa


def _key(circuit: QuantumCircuit, device: Device, settings: TranspileSpec) -> str:
    content = [FORMAT, qiskit.__version__, device.fingerprint, settings.model_dump_json(), _content(circuit)]
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _content(circuit: QuantumCircuit) -> list[Any]:
    """What decides what a circuit does; parameters by name, as each process gives them a fresh identity."""
    steps = [
        (_gate_content(step.operation), [circuit.find_bit(bit).index for bit in step.qubits])
        for step in circuit.data
    ]
    return [circuit.num_qubits, str(circuit.global_phase), steps]


def _gate_content(gate: Any) -> list[Any]:
    """Name and numbers of a gate; what it is made of too, unless its name alone says so."""
    numbers = [each.tobytes() if isinstance(each, np.ndarray) else str(each) for each in gate.params]
    state, inside = getattr(gate, "ctrl_state", None), None
    if not str(gate.base_class.__module__).startswith(STANDARD) and gate.definition is not None:
        inside = _content(gate.definition)
    return [gate.name, numbers, state, inside]


def _read_kept(file: Path) -> QuantumCircuit | None:
    """None where nothing readable is kept: it can be made again."""
    try:
        isa = read_qpy(file)
    except ConfigError:
        return None
    return isa if LAYOUT in (isa.metadata or {}) else None


def _keep(isa: QuantumCircuit, file: Path) -> None:
    stream = io.BytesIO()
    qpy.dump(isa, stream)
    try:
        write_atomically(file, stream.getvalue())
    except OSError:
        # A full or read-only disk costs time, not the run.
        return
