"""A program in the gates of a device and on its qubits, transpiled once and kept, behind a correctness gate.

The gate: before anything is spent, what the device would run, noiseless, must equal the logical program at
random points. A qubit order or an observable that went wrong on the way shows there, and nowhere later.

Devices have an rzz of free angle between 0 and pi/2 alone, and an angle has another value in each row. With
t = angle mod 2 pi, and up to a global phase,

    rzz(t) = rzz(t)                          0      <= t <= pi/2
           = ZZ . (X rzz(pi - t) X)          pi/2   <  t <= pi
           = ZZ . rzz(t - pi)                pi     <  t <= 3 pi/2
           = X rzz(2 pi - t) X               3 pi/2 <  t <  2 pi

(X on one of the two qubits), so that with rz(pi) for Z and rx(pi) for X, both of them fractional gates too,
one circuit holds for all rows: their angles are 0 or pi, as the row has it. See `within_range`.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import qiskit
from qiskit import qpy
from qiskit.circuit import Parameter, ParameterExpression, QuantumCircuit, QuantumRegister
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import Target, generate_preset_pass_manager

from qhq.ansatz.files import read_qpy
from qhq.ansatz.program import Ansatz, on_qubits
from qhq.backends.backend import TranspileSpec
from qhq.backends.devices.calibration import Calibration, Device
from qhq.backends.executor import FloatArray
from qhq.backends.gradients import by_angles
from qhq.backends.local.aer import ExactProgram, open_exact
from qhq.engine.compile import count_resets
from qhq.errors import BackendError, ConfigError
from qhq.files import write_atomically
from qhq.paths import cache_dir
from qhq.seeding import child_generator

# Of what is kept; another number leaves what an older qhq kept aside.
_FORMAT = 3

# Where Qiskit keeps the gates whose names say all of them.
_STANDARD = "qiskit.circuit.library.standard_gates"

# Key of a kept circuit's metadata under which its layout stands.
_LAYOUT = "qhq_layout"

# Largest difference of an expectation value that passes.
_GATE_TOLERANCE = 1e-6

# Random points that are compared.
_GATE_SAMPLES = 4

# Widest program that is compared by statevector; a wider one by matrix product states.
_STATEVECTOR_QUBITS = 24


@dataclass(frozen=True)
class IsaProgram:
    """A circuit on physical qubits, and its observables there.

    Attributes:
        circuit: Gates of the device, on all its qubits.
        parameters: Its parameters, in the order of the columns of a row of values. One that no gate holds, as
            after the transpiler has cancelled its gates, is among them all the same.
        observables: The O operators, on all qubits of the device.
        layout: Physical qubit that each logical one is read from, after the last gate.
        errors: Of each gate of the circuit, as the device's calibration has it; None where it says none.
        target: The device; None of a part of it.
    """

    circuit: QuantumCircuit
    parameters: tuple[Parameter, ...]
    observables: tuple[SparsePauliOp, ...]
    layout: tuple[int, ...]
    errors: tuple[float | None, ...] = ()
    target: Target | None = field(default=None, compare=False, repr=False)

    @property
    def qubits(self) -> tuple[int, ...]:
        """Physical qubits that hold a logical one, or that a gate or an observable acts on; ascending."""
        # A qubit that no gate acts on is measured all the same.
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
        # Cut before it is simulated: a device of 156 qubits has no statevector, the few in use have one.
        observables = tuple(on_qubits(each, qubits) for each in self.observables)
        return IsaProgram(circuit, self.parameters, observables, tuple(place[each] for each in self.layout))

    def as_ansatz(self, logical: Ansatz) -> Ansatz:
        """What the device runs as an ansatz of its own, to draw, export and count it.

        Args:
            logical: What it was made from.

        Returns:
            An ansatz whose qubit k is the k-th physical qubit in use, named by its physical number and by
            the logical qubit that is read from it.
        """
        cut = self.cut()
        inputs, weights = cut.parameters[: logical.num_inputs], cut.parameters[logical.num_inputs :]
        read = {physical: f"_q{index}" for index, physical in enumerate(self.layout)}
        registers = (QuantumRegister(1, f"p{each}{read.get(each, '')}") for each in self.qubits)
        named = QuantumCircuit(*registers).compose(cut.circuit, range(cut.circuit.num_qubits))
        # It changes no expectation, and keeps a parameter that stands in no gate (any more) in the circuit.
        idle = set(cut.parameters) - set(named.parameters)
        named.global_phase = sum((each for each in cut.parameters if each in idle), 0)
        return Ansatz(named, inputs, weights, cut.observables, logical.angle_scaling)


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
    # Another Qiskit may transpile otherwise, and another calibration has other best qubits.
    asked = [_FORMAT, qiskit.__version__, device.fingerprint, settings.model_dump_json(), _content(circuit)]
    file = cache_dir() / "isa" / f"{hashlib.sha256(repr(asked).encode()).hexdigest()}.qpy"
    isa = _read_kept(file)
    if isa is None:
        isa = _transpile(circuit, device, settings)
        _keep(isa, file)
    named = {parameter.name: parameter for parameter in isa.parameters}
    layout = tuple(isa.metadata[_LAYOUT])
    laid = tuple(each.apply_layout(list(layout), isa.num_qubits) for each in observables)
    # A parameter whose gates were cancelled is in no circuit any more, and a column of every row still.
    columns = tuple(named.get(each.name, each) for each in parameters)
    return IsaProgram(isa, columns, laid, layout, _errors(isa, device.target), device.target)


def _errors(isa: QuantumCircuit, target: Target) -> tuple[float | None, ...]:
    found = []
    for step in isa.data:
        places = tuple(isa.find_bit(bit).index for bit in step.qubits)
        known = target[step.name].get(places) if step.name in target.operation_names else None
        found.append(None if known is None or known.error is None else float(known.error))
    return tuple(found)


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
    isa.metadata = {_LAYOUT: layout}
    return isa


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
    if not str(gate.base_class.__module__).startswith(_STANDARD) and gate.definition is not None:
        inside = _content(gate.definition)
    return [gate.name, numbers, state, inside]


def _read_kept(file: Path) -> QuantumCircuit | None:
    """None where nothing readable is kept: it can be made again."""
    try:
        isa = read_qpy(file)
    except ConfigError:
        return None
    return isa if _LAYOUT in (isa.metadata or {}) else None


def _keep(isa: QuantumCircuit, file: Path) -> None:
    stream = io.BytesIO()
    qpy.dump(isa, stream)
    try:
        write_atomically(file, stream.getvalue())
    except OSError:
        # A full or read-only disk costs time, not the run.
        return


def check_isa(isa: IsaProgram, ansatz: Ansatz, *, seed: int) -> None:
    """Compare a program on a device, noiseless, with the ansatz it was made from.

    Args:
        isa: The program, its parameters the angles of the lowered ansatz, its observables laid out.
        ansatz: What it must compute.
        seed: Where the compared points come from.

    Raises:
        BackendError: If an expectation value differs by more than `_GATE_TOLERANCE`.
    """
    # From the ansatz, not from what the transpiler was given: a fault on the way to it shows too.
    circuit, parameters, _ = by_angles(ansatz)
    logical = _noiseless(circuit, parameters, ansatz.observables)
    cut = isa.cut()
    on_device = _noiseless(cut.circuit, cut.parameters, cut.observables)
    angles = child_generator(seed, "gate").uniform(-np.pi, np.pi, (_GATE_SAMPLES, len(parameters)))
    distance = np.abs(on_device(angles) - logical(angles)).max()
    _check_distance(distance, isa)


def _check_distance(distance: float, isa: IsaProgram) -> None:
    # Not <=, so that NaN does not pass.
    if not distance < _GATE_TOLERANCE:
        raise BackendError(
            f"The circuit on the device must compute what the ansatz computes, to {_GATE_TOLERANCE:g}",
            got=f"a difference of {distance:.1e} with layout {list(isa.layout)}",
            fix="Report this with the circuit: a qubit order or an observable is wrong, so nothing was run",
        )


def check_same(isa: IsaProgram, known: IsaProgram, *, seed: int) -> None:
    """Compare a program, noiseless, with one of the same parameters and observables that passed the gate.

    Raises:
        BackendError: If an expectation value differs by more than `_GATE_TOLERANCE`.
    """
    angles = child_generator(seed, "gate").uniform(-np.pi, np.pi, (_GATE_SAMPLES, len(isa.parameters)))
    values = [
        _noiseless(each.circuit, each.parameters, each.observables)(angles)
        for each in (isa.cut(), known.cut())
    ]
    _check_distance(np.abs(values[0] - values[1]).max(), isa)


def _noiseless(
    circuit: QuantumCircuit, parameters: Sequence[Parameter], observables: Sequence[SparsePauliOp]
) -> ExactProgram:
    wide = circuit.num_qubits + count_resets(circuit) > _STATEVECTOR_QUBITS
    method = "matrix_product_state" if wide else "statevector"
    return open_exact(circuit, parameters, observables, method=method)


def within_range(
    circuit: QuantumCircuit, parameters: Sequence[str], values: FloatArray
) -> tuple[QuantumCircuit, tuple[str, ...], FloatArray]:
    """Write every rzz with an angle between 0 and pi/2, whatever the row.

    Args:
        circuit: In the gates of a device.
        parameters: Names of its parameters, in the order of the columns.
        values: Rows, shape (N, P), radians.

    Returns:
        A circuit that does the same, the names of its parameters, and its rows.
    """
    if "rzz" not in circuit.count_ops():
        return circuit, tuple(parameters), values
    written = _Written(circuit, list(parameters), values)
    for step in circuit.data:
        if step.operation.name == "rzz":
            written.add_rzz(step.operation.params[0], step.qubits)
        else:
            written.circuit.append(step.operation, step.qubits, step.clbits)
    return written.finished()


class _Written:
    """The circuit as it is written anew, with the columns that it needs besides the old ones."""

    def __init__(self, circuit: QuantumCircuit, names: list[str], values: FloatArray) -> None:
        self.circuit = circuit.copy_empty_like()
        self._names, self._columns = names, [values[:, place] for place in range(values.shape[1])]
        self._rows = len(values)

    def add_rzz(self, angle: ParameterExpression | float, qubits: Sequence[object]) -> None:
        """Add an rzz, with the gates around it that bring its angle into range."""
        turned = np.mod(self._values(angle), 2 * np.pi)
        # rzz(pi) is ZZ up to a phase, so that two rz(pi) take half a turn off.
        beyond = (turned > np.pi / 2) & (turned <= 3 * np.pi / 2)
        turned = np.where(beyond, turned - np.pi, turned)
        turned = np.where(turned > np.pi, turned - 2 * np.pi, turned)
        # X on one of the qubits turns ZZ over, and with it the sign of the angle.
        flipped = turned < 0
        # Rounding may leave an angle just outside of the range, which the device would refuse.
        inside = np.clip(np.abs(turned), 0.0, np.pi / 2)
        first, second = qubits
        for qubit in (first, second):
            self._add("rz", np.pi * beyond, [qubit])
        self._add("rx", np.pi * flipped, [first])
        self._add("rzz", inside, [first, second])
        self._add("rx", np.pi * flipped, [first])

    def finished(self) -> tuple[QuantumCircuit, tuple[str, ...], FloatArray]:
        """What was written; parameters that stand nowhere any more are left out."""
        used = {parameter.name for parameter in self.circuit.parameters}
        kept = [place for place, name in enumerate(self._names) if name in used]
        columns = [self._columns[place] for place in kept]
        values = np.stack(columns, axis=1) if columns else np.zeros((self._rows, 0))
        return self.circuit, tuple(self._names[place] for place in kept), values

    def _add(self, gate: str, angles: FloatArray, qubits: list[object]) -> None:
        """Add a rotation by angles (N,): a number where all rows have the same, and nothing where it is 0."""
        # A number where all rows agree: each parameter is a column of every PUB that is sent.
        if np.ptp(angles) == 0:
            if angles[0] != 0 or gate == "rzz":
                getattr(self.circuit, gate)(float(angles[0]), *qubits)
            return
        name = f"fractional_{len(self._names)}"
        self._names.append(name)
        self._columns.append(angles)
        getattr(self.circuit, gate)(Parameter(name), *qubits)

    def _values(self, angle: ParameterExpression | float) -> FloatArray:
        """An angle in every row, shape (N,)."""
        if not isinstance(angle, ParameterExpression) or not angle.parameters:
            return np.full(self._rows, float(angle))
        places = [(parameter, self._names.index(parameter.name)) for parameter in angle.parameters]
        bound = [
            angle.bind({parameter: float(self._columns[place][row]) for parameter, place in places})
            for row in range(self._rows)
        ]
        found = np.array([float(each) for each in bound])
        assert all(map(math.isfinite, found))
        return found


# That of IBM's devices.
REP_DELAY_SECONDS = 250e-6
"""Pause between two shots where a device does not say."""

# IBM's own rule of thumb.
JOB_SECONDS = 2.0
"""What a job takes on the device besides its shots."""

# Name of a gate and its qubits -> seconds.
_Duration = Callable[[str, tuple[int, ...]], float]


def circuit_seconds(circuit: QuantumCircuit, duration: Target | _Duration) -> float:
    """Time that the gates of a circuit take: its longest path.

    Args:
        circuit: In the gates of a device.
        duration: The device, or what says how long each of its gates takes.
    """
    lasts = durations_of(duration) if isinstance(duration, Target) else duration
    ends = [0.0] * circuit.num_qubits
    for step in circuit.data:
        qubits = tuple(circuit.find_bit(bit).index for bit in step.qubits)
        end = max(ends[qubit] for qubit in qubits) + lasts(step.name, qubits)
        for qubit in qubits:
            ends[qubit] = end
    return max(ends, default=0.0)


def shot_seconds(calibration: Calibration, target: Target, layout: Sequence[int]) -> float:
    """Time between two shots besides the gates: the slowest readout, and the pause of the device."""
    microseconds = calibration.configuration.get("default_rep_delay")
    pause = REP_DELAY_SECONDS if microseconds is None else float(microseconds) * 1e-6
    lasts = durations_of(target)
    return pause + max(lasts("measure", (qubit,)) for qubit in layout)


def durations_of(target: Target) -> _Duration:
    """How long each gate of a device takes, in seconds; 0 where its calibration does not say."""

    def seconds(name: str, qubits: tuple[int, ...]) -> float:
        properties = target[name].get(qubits) if name in target.operation_names else None
        return 0.0 if properties is None or properties.duration is None else float(properties.duration)

    return seconds
