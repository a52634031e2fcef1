"""From a spec to the circuit it describes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import SparsePauliOp

from qhq.ansatz.files import read_block, read_circuit_file, split_roles
from qhq.ansatz.program import Ansatz, PartSizes
from qhq.ansatz.spec import PAULI, AnsatzSpec, load_ansatz
from qhq.documents import validate
from qhq.errors import ConfigError, nearest

__all__ = ["Ansatz", "Circuit", "build", "build_ansatz", "pauli_observables"]

Circuit: TypeAlias = Ansatz | AnsatzSpec | QuantumCircuit | str | Path
"""What a user may give where an ansatz is asked for."""

# Keywords by which a circuit of Qiskit's becomes an ansatz.
_ROLES = ("inputs", "observables", "angle_scaling")


def build(spec: AnsatzSpec) -> Ansatz:
    """Build the ansatz of a spec.

    Layered circuits name their inputs ``x[0]``, ``x[1]``, ... and their weights ``w[0]``, ``w[1]``, ...,
    counted from the left of the circuit to the right and in each column from the first qubit to the last.

    >>> ansatz = build(AnsatzSpec(qubits=3, depth=2))
    >>> ansatz.num_inputs, ansatz.num_weights, ansatz.num_outputs
    (3, 6, 3)

    Raises:
        ConfigError: If a circuit file cannot be used, or an observable does not fit the circuit.
    """
    if spec.parts:
        return _side_by_side([build(each) for each in spec.parts])
    if spec.file is not None and spec.file.weights is None:
        circuit, inputs, weights = read_circuit_file(spec.file, spec.qubits, spec.depth)
    else:
        circuit, inputs, weights = _stack_layers(spec)
    observables = pauli_observables(spec.observables, circuit.num_qubits)
    return Ansatz(circuit, inputs, weights, observables, spec.angle_scaling)


def _side_by_side(parts: Sequence[Ansatz]) -> Ansatz:
    """One circuit of several, each on qubits, inputs, weights and observables of its own."""
    inputs = ParameterVector("x", sum(each.num_inputs for each in parts))
    weights = ParameterVector("w", sum(each.num_weights for each in parts))
    circuit = QuantumCircuit(sum(each.num_qubits for each in parts), name="ansatz")
    observables = list[SparsePauliOp]()
    qubits, own_inputs, own_weights = 0, iter(inputs), iter(weights)
    for number, part in enumerate(parts):
        names = [*islice(own_inputs, part.num_inputs), *islice(own_weights, part.num_weights)]
        # In two steps: to Qiskit a new name that another parameter has still is a conflict.
        between = ParameterVector(f"part_{number}", len(names))
        renamed = part.circuit.assign_parameters(dict(zip(part.parameters, between, strict=True)))
        renamed = renamed.assign_parameters(dict(zip(between, names, strict=True)))
        circuit.add_bits(renamed.clbits)
        wires = range(qubits, qubits + part.num_qubits)
        circuit.compose(renamed, wires, renamed.clbits, inplace=True)
        behind = circuit.num_qubits - qubits - part.num_qubits
        padding = "I" * behind, "I" * qubits
        for each in part.observables:
            terms = [(padding[0] + label + padding[1], coeff) for label, coeff in each.to_list()]
            observables.append(SparsePauliOp.from_list(terms))
        qubits += part.num_qubits
    sizes = tuple(PartSizes(each.num_inputs, each.num_weights, each.num_outputs) for each in parts)
    return Ansatz(circuit, tuple(inputs), tuple(weights), tuple(observables), parts[0].angle_scaling, sizes)


def build_ansatz(circuit: Circuit, **keys: Any) -> Ansatz:
    """Make an ansatz of whatever names, describes or is a circuit.

    Args:
        circuit: The name of a file in ``circuits/``, the path of one, a spec, a ``QuantumCircuit`` of
            Qiskit's, or an ansatz, which is given back.
        **keys: Of a file: keys laid over its own, such as ``qubits=4, depth=2``. Of a ``QuantumCircuit``:
            ``inputs``, the parameters that take the inputs, as objects, by name, or by one prefix of their
            names (by default ``x``, as Qiskit's feature maps call theirs), the rest being weights;
            ``observables``, ``z_each`` or operators, as labels or Qiskit's objects; ``angle_scaling``.

    Raises:
        ConfigError: If there is no such ansatz, a key does not exist, or a parameter has no role.

    >>> from qiskit.circuit.library import real_amplitudes, zz_feature_map
    >>> build_ansatz(zz_feature_map(2).compose(real_amplitudes(2, reps=1)), observables=["IZ"]).num_weights
    4
    """
    if isinstance(circuit, str | Path):
        program = build(load_ansatz(str(circuit), keys))
        program.circuit.name = Path(circuit).stem
        return program
    if isinstance(circuit, QuantumCircuit):
        return _with_roles(circuit, keys)
    if not isinstance(circuit, Ansatz | AnsatzSpec):
        raise ConfigError(
            "A circuit must be the name of a file in circuits/, a QuantumCircuit or an ansatz",
            got=f"a {type(circuit).__name__}",
            fix="Name one ('qhq circuit list' shows them), or build a QuantumCircuit whose parameters called"
            " x[0], x[1], ... take the inputs",
        )
    if keys:
        raise ConfigError(
            "Overrides apply only to an ansatz that is given by its name",
            got=f"{', '.join(keys)} beside an object that is already built",
            fix=f"Name the file, as in load_ansatz('reference', {next(iter(keys))}=...), or leave them out",
        )
    return build(circuit) if isinstance(circuit, AnsatzSpec) else circuit


def _with_roles(circuit: QuantumCircuit, keys: Mapping[str, Any]) -> Ansatz:
    unknown = [key for key in keys if key not in _ROLES]
    if unknown:
        raise ConfigError(
            "A QuantumCircuit is as wide and as deep as it was built; only roles can be set",
            got=f"{unknown[0]}={keys[unknown[0]]!r}",
            fix=nearest(unknown[0], _ROLES),
        )
    wanted = keys.get("inputs", "x")  # the prefix of Qiskit's feature maps, whatever the rest is called
    if not isinstance(wanted, str):
        wanted = [wanted] if isinstance(wanted, Parameter) else wanted
        wanted = [each if isinstance(each, str) else getattr(each, "name", str(each)) for each in wanted]
    inputs, weights = split_roles(circuit, wanted, what="inputs", source=f"circuit '{circuit.name}'")
    # A circuit that was transpiled for a device is wider than the one that was written.
    width = getattr(circuit.layout, "_input_qubit_count", circuit.num_qubits)
    observables = tuple(_operators(keys.get("observables", "z_each"), width))
    scaling = {key: value for key, value in keys.items() if key == "angle_scaling"}
    spec = validate(AnsatzSpec, scaling, f"circuit '{circuit.name}'", lambda key: key)
    return Ansatz(circuit, inputs, weights, observables, spec.angle_scaling)


def _operators(wanted: Any, qubits: int) -> Iterable[SparsePauliOp]:
    if isinstance(wanted, str) and wanted == "z_each":
        return pauli_observables(wanted, qubits)
    given = wanted if isinstance(wanted, list | tuple) else [wanted]
    found = list[SparsePauliOp]()
    for each in given:
        try:
            # "Z0 X1" is qhq's own spelling; Qiskit's constructor would take it for letters that it does not
            # know.
            is_by_qubit = isinstance(each, str) and re.fullmatch(PAULI, each) is not None
            found.append(_pauli(each, qubits) if is_by_qubit else SparsePauliOp(each))
        except (QiskitError, TypeError, ValueError) as error:
            raise ConfigError(
                "An observable must be a Pauli operator, as a label or an operator of Qiskit's",
                got=f"{each!r}",
                fix="Write 'z_each', a list such as ['IZ', 'Z1'], or SparsePauliOp objects",
            ) from error
    return found


def pauli_observables(observables: str | Sequence[str], qubits: int) -> tuple[SparsePauliOp, ...]:
    """Turn ``z_each``, or a list such as ``["IIXZ", "Z0 X1"]``, into operators on ``qubits`` qubits.

    Raises:
        ConfigError: If an operator is wider than the circuit, or names a qubit twice.
    """
    if isinstance(observables, str):
        return pauli_observables([f"Z{qubit}" for qubit in range(qubits)], qubits)
    return tuple(_pauli(text, qubits) for text in observables)


def _pauli(text: str, qubits: int) -> SparsePauliOp:
    if text.isalpha():
        if len(text) != qubits:
            raise _observable_error(text, qubits)
        return SparsePauliOp(text)
    places = [int(factor[1:]) for factor in text.split()]
    if max(places) >= qubits or len(set(places)) != len(places):
        raise _observable_error(text, qubits)
    letters = "".join(factor[0] for factor in text.split())
    return SparsePauliOp.from_sparse_list([(letters, places, 1.0)], num_qubits=qubits)


def _observable_error(text: str, qubits: int) -> ConfigError:
    return ConfigError(
        "An observable must name each qubit at most once and fit the circuit",
        got=f"'{text}' for {qubits} qubits",
        fix=f"Write {qubits} letters as in '{'Z'.rjust(qubits, 'I')}', or qubits below {qubits} as in 'Z0'",
    )


def _stack_layers(spec: AnsatzSpec) -> tuple[QuantumCircuit, tuple[Parameter, ...], tuple[Parameter, ...]]:
    encoding = spec.encoding.circuit(spec.qubits, first=True)
    each, renews = encoding.num_parameters, spec.encoding.renews
    inputs = tuple(ParameterVector("x", each * max(spec.depth, 1) if renews else each))
    circuit = QuantumCircuit(spec.qubits, name="ansatz").compose(_renamed(encoding, inputs[:each]))
    # Once more by the same parameters, re-uploading is one input in many gates; in time, each has its own.
    again = spec.encoding.circuit(spec.qubits, first=False)
    if spec.file is not None:
        layers = [[read_block(spec.file, spec.qubits)]] * spec.depth
    else:
        coupling = spec.entangler.circuit(spec.qubits)
        layers = [
            [*(block.circuit(spec.qubits, last=layer == spec.depth - 1) for block in spec.blocks), coupling]
            for layer in range(spec.depth)
        ]
    # One vector for all layers, so that Qiskit sorts the weights by their index.
    weights = tuple(ParameterVector("w", sum(block.num_parameters for layer in layers for block in layer)))
    unused = iter(weights)
    for layer, blocks in enumerate(layers):
        if layer > 0 and spec.encoding.repeat:
            circuit.compose(
                _renamed(again, inputs[layer * each :][:each] if renews else inputs), inplace=True
            )
        for block in blocks:
            circuit.compose(_renamed(block, tuple(islice(unused, block.num_parameters))), inplace=True)
    return circuit, inputs, weights


def _renamed(circuit: QuantumCircuit, parameters: Sequence[Parameter]) -> QuantumCircuit:
    # By position in ``circuit.parameters``, which Qiskit sorts by the index within a vector: r[2] before
    # r[10].
    return circuit.assign_parameters(dict(zip(circuit.parameters, parameters, strict=True)))
