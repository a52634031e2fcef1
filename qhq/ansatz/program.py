"""The built ansatz: one circuit, the roles of its parameters, and what is measured.

Beside it what is made of one: its size (`count_facts`), and the same without what couples its qubits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import NamedTuple

import numpy as np
from qiskit.circuit import (
    Barrier,
    CircuitInstruction,
    Delay,
    Parameter,
    QuantumCircuit,
    QuantumRegister,
    Qubit,
)
from qiskit.circuit.library import UnitaryGate
from qiskit.quantum_info import PauliList, SparsePauliOp
from qiskit.transpiler import TranspileLayout

from qhq.ansatz.spec import AngleScalingKind
from qhq.engine.compile import (
    STANDARD,
    class_of,
    count_resets,
    defer_resets,
    is_parametric,
    lower_checked,
    widened,
    without_final_measurements,
)
from qhq.errors import ConfigError


class PartSizes(NamedTuple):
    """How many inputs, weights and outputs of an ansatz belong to one of the circuits that it is made of."""

    inputs: int
    weights: int
    outputs: int


@dataclass(frozen=True)
class Ansatz:
    """A program that any backend can be opened for.

    Attributes:
        circuit: Circuit on Q qubits, with resets where it has any; measurements at its end are taken out.
            One that measures on its way has more qubits, which hold its results (`qhq.engine.compile`).
            Of a circuit that was transpiled for a wider device, the qubits that nothing acts on and no
            observable reads are taken out.
        inputs: The I parameters that take the angles, in the order of an input row.
        weights: The W trained parameters, in the order of the weight vector.
        observables: The O operators on Q qubits whose expectation values are the outputs. Narrower ones, of
            the width that a transpiled circuit was written with, are put where its layout says.
        angle_scaling: How the model turns any number into an input angle, by name.
        parts: The circuits that it is made of, on qubits of their own, in the order of inputs and outputs;
            empty where it is one.

    Raises:
        ConfigError: If a parameter has no role or two, or the circuit loops until something is measured.
    """

    circuit: QuantumCircuit
    inputs: tuple[Parameter, ...]
    weights: tuple[Parameter, ...]
    observables: tuple[SparsePauliOp, ...]
    angle_scaling: AngleScalingKind = "pi_tanh"
    parts: tuple[PartSizes, ...] = ()

    def __post_init__(self) -> None:
        _check_roles(self.circuit, self.inputs, self.weights)
        # Observables go where the layout says before measurements are taken out, which forgets the layout.
        laid = tuple(laid_out(each, self.circuit) for each in self.observables)
        object.__setattr__(self, "observables", laid)
        layout = self.circuit.layout
        written = without_final_measurements(self.circuit)
        # Past the lock of a frozen dataclass: what is kept is made of what was given, and nothing else may
        # change it.
        object.__setattr__(self, "circuit", widened(written))
        records = self.circuit.num_qubits - written.num_qubits
        padded = (each.expand("I" * records) if records else each for each in self.observables)
        object.__setattr__(self, "observables", tuple(padded))
        _check_observables(self.circuit.num_qubits, self.observables)
        circuit, observables = without_idle_qubits(self.circuit, layout, self.observables)
        object.__setattr__(self, "circuit", circuit)
        object.__setattr__(self, "observables", observables)

    @cached_property
    def lowered(self) -> QuantumCircuit:
        """The circuit as every backend runs it, in the closed set of gates of `qhq.engine.compile.lower`.

        Qubit ``q`` is qubit ``q`` of ``circuit``; there are no classical bits, barriers, delays and global
        phases. A parameter that stood nowhere else is still an input or a weight, but no parameter of this
        circuit. Made once, and compared with Qiskit's operator of ``circuit`` while that is cheap.

        Raises:
            ConfigError: If an operation cannot be lowered, or the two differ.
        """
        return lower_checked(self.circuit)

    @cached_property
    def num_resets(self) -> int:
        """Resets of the lowered circuit, those of qubits that hold records among them."""
        return count_resets(self.lowered)

    @property
    def num_qubits(self) -> int:
        """Q."""
        return int(self.circuit.num_qubits)

    @property
    def num_inputs(self) -> int:
        """I."""
        return len(self.inputs)

    @property
    def num_weights(self) -> int:
        """W."""
        return len(self.weights)

    @property
    def num_outputs(self) -> int:
        """O."""
        return len(self.observables)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Inputs, then weights: the column order of every array of parameter values."""
        return self.inputs + self.weights


def laid_out(observable: SparsePauliOp, circuit: QuantumCircuit) -> SparsePauliOp:
    """An observable on the qubits of a circuit that was written narrower than it became when transpiled.

    One that is as wide as the circuit is meant for its own qubits, as they are after
    ``observable.apply_layout(circuit.layout)``: nothing tells it from one that was not moved.
    """
    layout = circuit.layout
    if layout is None or not observable.num_qubits == layout._input_qubit_count < circuit.num_qubits:
        return observable
    return observable.apply_layout(layout)


def without_idle_qubits(
    circuit: QuantumCircuit, layout: TranspileLayout | None, observables: Sequence[SparsePauliOp]
) -> tuple[QuantumCircuit, tuple[SparsePauliOp, ...]]:
    """A transpiled circuit on the qubits in use, in their order, with its observables on the same.

    The others are those of the device, of which there may be hundreds. No expectation depends on them.

    Args:
        circuit: On all qubits of the device.
        layout: Its layout; a circuit without one stays as it was written.
        observables: On all qubits of the device.
    """
    if layout is None or layout._input_qubit_count == circuit.num_qubits or circuit.num_vars:
        return circuit, tuple(observables)
    # Read from the symplectic form: labels of a few hundred qubits would be letters of I by the hundred.
    used: set[int] = set()
    for each in observables:
        used.update(np.flatnonzero((each.paulis.x | each.paulis.z).any(axis=0)).tolist())
    for step in circuit.data:
        # Transpilers put a barrier across all qubits and delays on idle ones; neither is a use of them. A
        # delay by a free parameter is, or the parameter would be lost.
        fixed = isinstance(step.operation, Delay) and not is_parametric(step.operation)
        if not fixed and not isinstance(step.operation, Barrier):
            used |= {circuit.find_bit(bit).index for bit in step.qubits}
    qubits = sorted(used) or [0]
    if len(qubits) == circuit.num_qubits:
        return circuit, tuple(observables)
    place = {circuit.qubits[qubit]: index for index, qubit in enumerate(qubits)}
    # A register each, named by the qubit of the device, so that a drawing still says which they were.
    cut = QuantumCircuit(*(QuantumRegister(1, f"q{qubit}") for qubit in qubits), name=circuit.name)
    cut.metadata, cut.global_phase = circuit.metadata, circuit.global_phase
    if any(step.clbits for step in circuit.data):
        cut.add_bits(circuit.clbits)
    for step in circuit.data:
        wires = [place[bit] for bit in step.qubits if bit in place]
        if len(wires) == len(step.qubits):
            cut.append(step.operation, wires, step.clbits)
        elif wires and isinstance(step.operation, Barrier):
            cut.barrier(wires)
    return cut, tuple(on_qubits(each, qubits) for each in observables)


def on_qubits(observable: SparsePauliOp, qubits: Sequence[int]) -> SparsePauliOp:
    """An observable that acts on some qubits alone, on those; the k-th of them becomes qubit k."""
    paulis, kept = observable.paulis, list(qubits)
    return SparsePauliOp(PauliList.from_symplectic(paulis.z[:, kept], paulis.x[:, kept]), observable.coeffs)


def unitary(ansatz: Ansatz) -> Ansatz:
    """The same in gates alone, on a qubit more for each reset (deferred measurement)."""
    circuit, observables = defer_resets(ansatz.lowered, ansatz.observables)
    held = set(circuit.parameters)
    # A parameter whose gates were all lowered away still has its column in every array: in the global phase,
    # which no expectation sees, it stays one of the circuit's.
    circuit.global_phase = sum((each for each in ansatz.parameters if each not in held), 0)
    return Ansatz(circuit, ansatz.inputs, ansatz.weights, observables, ansatz.angle_scaling)


def with_plain_names(ansatz: Ansatz) -> QuantumCircuit:
    """The circuit with inputs called ``x_0``, ``x_1``, ... and weights ``w_0``, ``w_1``, ..."""
    names = {each: Parameter(f"x_{index}") for index, each in enumerate(ansatz.inputs)}
    names |= {each: Parameter(f"w_{index}") for index, each in enumerate(ansatz.weights)}
    renamed: QuantumCircuit = ansatz.circuit.assign_parameters(names)
    return renamed


def _check_roles(
    circuit: QuantumCircuit, inputs: tuple[Parameter, ...], weights: tuple[Parameter, ...]
) -> None:
    given = inputs + weights
    if len(set(given)) != len(given):
        raise ConfigError(
            "Each parameter must be listed once, as an input or as a weight",
            got=f"twice: {_names({each for each in given if given.count(each) > 1})}",
            fix="List it once",
        )
    present = set(circuit.parameters)
    if missing := set(given) - present:
        raise ConfigError(
            "Every listed parameter must stand in the circuit",
            got=f"without a gate: {_names(missing)}",
            fix="Use it in a gate or leave it out",
        )
    if roleless := present - set(given):
        raise ConfigError(
            "Every parameter of the circuit must be an input or a weight",
            got=f"neither: {_names(roleless)}",
            fix="List it",
        )
    if not inputs:
        raise ConfigError(
            "An ansatz must take at least one input", got="none", fix="Encode inputs in the circuit"
        )


def _check_observables(qubits: int, observables: tuple[SparsePauliOp, ...]) -> None:
    if not observables or any(each.num_qubits != qubits for each in observables):
        widths = ", ".join(str(each.num_qubits) for each in observables) or "none"
        raise ConfigError(
            "Each observable must act on all qubits of the circuit",
            got=f"widths {widths} for {qubits} qubits",
            fix="Give at least one Pauli operator of that width",
        )
    if any(coefficient.imag for each in observables for coefficient in each.coeffs):
        raise ConfigError(
            "Observables must be Hermitian",
            got="a Pauli operator with a complex coefficient",
            fix="Use real coefficients",
        )


def _names(parameters: Iterable[Parameter]) -> str:
    return ", ".join(sorted(each.name for each in parameters))


@dataclass(frozen=True)
class CircuitFacts:
    """Size of an ansatz as written, before any backend rewrites it.

    Attributes:
        qubits: Q.
        inputs: I.
        weights: W.
        observables: O.
        depth: Longest path, counted in gates.
        depth_2q: Longest path, counted in gates on two or more qubits.
        two_qubit_gates: Gates on two or more qubits.
        gates: How often each gate occurs, the most frequent first.
    """

    qubits: int
    inputs: int
    weights: int
    observables: int
    depth: int
    depth_2q: int
    two_qubit_gates: int
    gates: dict[str, int]


def count_facts(ansatz: Ansatz) -> CircuitFacts:
    """Count the facts of an ansatz.

    >>> from qhq.ansatz.assemble import build
    >>> from qhq.ansatz.spec import AnsatzSpec
    >>> count_facts(build(AnsatzSpec(qubits=3))).gates
    {'ry': 6, 'cx': 3}
    """
    circuit = ansatz.circuit
    return CircuitFacts(
        qubits=ansatz.num_qubits,
        inputs=ansatz.num_inputs,
        weights=ansatz.num_weights,
        observables=ansatz.num_outputs,
        depth=circuit.depth(),
        depth_2q=circuit.depth(lambda instruction: instruction.operation.num_qubits > 1),
        two_qubit_gates=circuit.num_nonlocal_gates(),
        gates={name: int(count) for name, count in circuit.count_ops().items()},
    )


def without_entanglers(ansatz: Ansatz) -> Ansatz:
    """Leave out every gate on two or more qubits, and the weights that stood in no other gate.

    Gates that a circuit defines itself are opened down to Qiskit's standard gates. The qubits, the inputs and
    the observables stay, so that the rest of a model does too.

    >>> from qhq.ansatz.assemble import build
    >>> from qhq.ansatz.spec import AnsatzSpec
    >>> product = without_entanglers(build(AnsatzSpec(qubits=3, depth=2)))
    >>> product.circuit.num_nonlocal_gates(), product.num_weights
    (0, 6)

    Raises:
        ConfigError: If an input enters by gates on several qubits alone.
    """
    circuit = QuantumCircuit(*ansatz.circuit.qregs, name=ansatz.circuit.name)
    if circuit.num_qubits < ansatz.num_qubits:
        circuit.add_bits(each for each in ansatz.circuit.qubits if each not in circuit.qubits)
    circuit.global_phase = 0.0  # no observable sees it, and it may hold parameters of gates left out
    _copy_single(ansatz.circuit, ansatz.circuit.qubits, circuit)
    present = set(circuit.parameters)
    lost = [each.name for each in ansatz.inputs if each not in present]
    if lost:
        raise ConfigError(
            "Every input must still enter without the gates on several qubits",
            got=f"only such gates for {', '.join(lost)}",
            fix="Encode each input by a rotation, or leave quantum.entangled: true",
        )
    weights = tuple(each for each in ansatz.weights if each in present)
    left = iter(ansatz.weights)
    parts = tuple(
        part._replace(weights=sum(each in present for each in islice(left, part.weights)))
        for part in ansatz.parts
    )
    return Ansatz(circuit, ansatz.inputs, weights, ansatz.observables, ansatz.angle_scaling, parts)


def _copy_single(source: QuantumCircuit, qubits: Sequence[Qubit], target: QuantumCircuit) -> None:
    """Append the one-qubit gates of ``source``, its own qubits standing for ``qubits`` of ``target``."""
    for instruction in source.data:
        gate = instruction.operation
        wires = [qubits[source.find_bit(each).index] for each in instruction.qubits]
        # A standard gate couples as a whole: what Qiskit defines CX or RZZ by would leave gates on one qubit.
        whole = isinstance(gate, Barrier) or class_of(gate) in STANDARD or class_of(gate) is UnitaryGate
        if len(wires) == 1:
            target.append(CircuitInstruction(gate, wires))
        elif not whole and getattr(gate, "definition", None) is not None:
            _copy_single(gate.definition, wires, target)
