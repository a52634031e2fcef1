"""An ansatz as Python that needs no qhq: a script of plain Qiskit, and gates as lines of source.

The script rebuilds the circuit gate by gate, with the trained weights and the observables. It is run and
compared with the ansatz before it is given out, as every export is. Names of the user's stand in it as one
comment and nowhere else: its code is of qhq's own words, ``x[0]``, ``w[0]`` and numbers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from qiskit.circuit import Parameter, ParameterExpression, QuantumCircuit

from qhq.ansatz.export import agree, in_methods, with_roles
from qhq.ansatz.program import Ansatz
from qhq.engine.compile import Code, Operand, Slot
from qhq.errors import ConfigError, visible

_INFIX = {"ADD": "+", "SUB": "-", "MUL": "*", "DIV": "/", "POW": "**"}
# Operation of an angle -> method of Qiskit's expressions, and function of torch.
_METHODS = {
    "SIN": "sin",
    "COS": "cos",
    "TAN": "tan",
    "ASIN": "arcsin",
    "ACOS": "arccos",
    "ATAN": "arctan",
    "EXP": "exp",
    "LOG": "log",
    "ABS": "abs",
    "SIGN": "sign",
}

# Of one angle: powers of powers double the text with every step.
_MOST_CHARACTERS = 100_000

_SCRIPT = '''\
# {title}
"""A circuit with its trained weights, as plain Qiskit. Written by qhq {version}; it needs no qhq.

build()         the circuit, its inputs x ({inputs}) and its weights w ({weights})
expectations()  values of the observables, shape (B, {outputs}), for inputs of shape (B, {inputs})
"""

import numpy as np
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.quantum_info import {imports}

WEIGHTS = {values}

OBSERVABLES = [
{observables}
]


def build():
    """The circuit; qubit 0 is the rightmost letter of an observable."""
    x, w = list(ParameterVector("x", {inputs})), list(ParameterVector("w", {weights}))
    circuit = QuantumCircuit({qubits})
{gates}
    return circuit, x, w


def expectations(inputs, weights=WEIGHTS):
    """Values of the observables for inputs (B, I) in radians, exactly."""
    circuit, x, w = build()
    rows = []
    for row in np.atleast_2d(inputs):
        values = dict(zip([*x, *w], [*map(float, row), *map(float, weights)], strict=True))
        present = {{each: values[each] for each in circuit.parameters}}
        state = {state}(circuit.assign_parameters(present))
        rows.append([state.expectation_value(each).real for each in OBSERVABLES])
    return np.array(rows)


if __name__ == "__main__":
    print(build()[0].draw("text"))
    print(expectations(np.zeros((1, {inputs}))))
'''


def to_python(ansatz: Ansatz, weights: ArrayLike | None, *, title: str, version: str) -> str:
    """A script that rebuilds the circuit with plain Qiskit, and its weights.

    Args:
        ansatz: What to write.
        weights: Trained weights in radians, shape (W,); zeros if there are none.
        title: Of what: stands in its first line.
        version: Of qhq.

    Raises:
        ConfigError: If there is not one weight for each, or an angle cannot be written.
    """
    values = checked_weights(ansatz, weights)
    circuit = in_methods(ansatz)
    names = parameter_sources(ansatz, circuit)
    lines = [
        f"    circuit.{name}({', '.join([*angles, *map(str, qubits)])})"
        for name, angles, qubits in _steps(circuit, names)
    ]
    if silent := _in_no_gate(circuit, names):
        # They change no expectation; a circuit without them would take other inputs.
        lines.append(f"    circuit.global_phase = {' + '.join(silent)}")
    # A state that is reset becomes a mixture: of a Statevector Qiskit would draw one of its outcomes.
    state = "DensityMatrix" if ansatz.num_resets else "Statevector"
    text = _SCRIPT.format(
        state=state,
        imports=", ".join(sorted([state, "SparsePauliOp"])),
        title=visible(title, cell=True),
        version=version,
        inputs=ansatz.num_inputs,
        weights=ansatz.num_weights,
        outputs=ansatz.num_outputs,
        qubits=ansatz.num_qubits,
        values=f"np.array({values.tolist()!r})",
        observables="\n".join(f"    {each}," for each in _observable_sources(ansatz)),
        gates="\n".join(lines),
    )
    _check(ansatz, circuit, text)
    return text


def checked_weights(ansatz: Ansatz, weights: ArrayLike | None) -> np.typing.NDArray[np.float64]:
    """Weights as numbers, (W,); zeros if there are none.

    Raises:
        ConfigError: If there is not one for each, or one is not finite.
    """
    values = np.zeros(ansatz.num_weights) if weights is None else np.asarray(weights, dtype=np.float64)
    if values.shape != (ansatz.num_weights,) or not np.isfinite(values).all():
        raise ConfigError(
            "A script must have one finite value for each weight",
            got=f"shape {values.shape} for {ansatz.num_weights} weights",
            fix="Give the weights alone, without the inputs",
        )
    return values


def _observable_sources(ansatz: Ansatz) -> list[str]:
    """Each observable as a call of Qiskit's."""
    found = []
    for each in ansatz.observables:
        terms = [(label, complex(value).real) for label, value in each.to_list()]
        found.append(f"SparsePauliOp.from_list({terms!r})")
    return found


def _steps(
    circuit: QuantumCircuit, names: Mapping[Parameter, str]
) -> Iterator[tuple[str, list[str], list[int]]]:
    """Gates in the order of the circuit: name of Qiskit's method, source of the angles, qubits."""
    for step in circuit.data:
        angles = [angle_source(value, names, _as_method) for value in step.operation.params]
        yield step.operation.name, angles, [circuit.find_bit(bit).index for bit in step.qubits]


def _as_method(name: str, text: str) -> str:
    return f"({text}).{name}()"


def _in_no_gate(circuit: QuantumCircuit, names: Mapping[Parameter, str]) -> list[str]:
    held: set[Parameter] = set()
    for step in circuit.data:
        for value in step.operation.params:
            held |= set(value.parameters) if isinstance(value, ParameterExpression) else set()
    return [names[each] for each in circuit.parameters if each not in held]


def parameter_sources(ansatz: Ansatz, circuit: QuantumCircuit) -> dict[Parameter, str]:
    """Parameters of the plain program, which are named by position, as they stand in the source."""
    split = ansatz.num_inputs
    wanted = {f"x_{place}": f"x[{place}]" for place in range(split)}
    wanted |= {f"w_{place}": f"w[{place}]" for place in range(ansatz.num_weights)}
    return {each: wanted[each.name] for each in circuit.parameters}


def angle_source(value: Any, names: Mapping[Parameter, str], call: Callable[[str, str], str]) -> str:
    """An angle as Python.

    Args:
        value: A number or an expression of parameters.
        names: How each parameter is written.
        call: How a function is written: its name, and the source of its argument.

    Raises:
        ConfigError: If it is a complex number, or too long.
    """
    if not isinstance(value, ParameterExpression):
        return repr(float(value))
    # Qiskit's is a set, whose order differs from process to process; a script must not.
    parameters = sorted(value.parameters, key=lambda each: each.name)
    code = Code(value, parameters)
    texts = [names[each] for each in parameters]

    def text(operand: Operand | None) -> str:
        if isinstance(operand, Slot):
            return texts[operand.index]
        if not isinstance(operand, float):
            raise _no_source(value)
        return repr(operand) if operand >= 0 else f"({operand!r})"

    for step in code.steps:
        if step.op in _INFIX:
            found = f"({text(step.left)} {_INFIX[step.op]} {text(step.right)})"
        elif step.op in _METHODS:
            found = call(_METHODS[step.op], text(step.left))
        else:
            raise _no_source(value)
        if len(found) > _MOST_CHARACTERS:
            raise _no_source(value)
        texts.append(found)
    return text(code.result)


def _no_source(value: ParameterExpression) -> ConfigError:
    return ConfigError(
        "The angles of a script must be real functions of inputs and weights",
        got=f"the angle {str(value)[:100]}",
        fix="Export to qpy",
    )


def _check(ansatz: Ansatz, written: QuantumCircuit, text: str) -> None:
    """Run the script and compare what it builds with the ansatz.

    Raises:
        ConfigError: If it is another circuit: Qiskit may compute an angle otherwise than it was written.
    """
    # Of qhq's own words alone, see above: nothing of a user's file is run.
    scope: dict[str, Any] = {"__name__": "script"}
    exec(compile(text, "script", "exec"), scope)
    circuit, x, w = scope["build"]()
    built = Ansatz(circuit, tuple(x), tuple(w), tuple(scope["OBSERVABLES"]))
    # Too wide for a state: the gates that were built must be those that were written.
    if not (agree(ansatz, built) or agree(with_roles(written, ansatz), built)):
        raise ConfigError(
            "A script must build the circuit that it was written for",
            got=f"another one from '{ansatz.circuit.name}'",
            fix="Export to qpy",
        )
