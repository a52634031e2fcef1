"""Writing an ansatz for other tools: OpenQASM 3, OpenQASM 2, QPY."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from qiskit import qasm2, qasm3
from qiskit.circuit import QuantumCircuit

from qhq.ansatz.program import Ansatz, with_plain_names
from qhq.ansatz.stored import qpy_bytes
from qhq.errors import ConfigError, nearest


def export(ansatz: Ansatz, form: str, values: ArrayLike | None = None) -> bytes:
    """Content of a file that holds the circuit.

    Args:
        ansatz: What to write.
        form: A key of :data:`FORMS`: ``qasm3``, ``qasm2`` or ``qpy``.
        values: Values to write in place of the parameters: inputs, then weights, shape (I + W,).

    Raises:
        ConfigError: If the form is unknown or cannot hold the circuit, or there are too few values.
    """
    if form not in FORMS:
        raise ConfigError("The form of an export must be known", got=f"'{form}'", fix=nearest(form, FORMS))
    return FORMS[form](ansatz, values)


def export_circuit(ansatz: Ansatz, path: Path, form: str, values: ArrayLike | None = None) -> None:
    """Write the circuit to a file; see :func:`export`.

    Raises:
        ConfigError: Also if the file cannot be written.
    """
    content = export(ansatz, form, values)
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigError(
            "The export must be writable", got=f"{path}: {error.strerror}", fix="Choose another path"
        ) from error


def to_qasm3(ansatz: Ansatz, values: ArrayLike | None = None) -> str:
    """OpenQASM 3; inputs are its input variables ``x_0``, ``x_1``, ..., weights ``w_0``, ``w_1``, ...

    Args:
        ansatz: What to write.
        values: Values in place of the parameters, shape (I + W,).
    """
    return str(qasm3.dumps(_bound(ansatz, values)))


def to_qasm2(ansatz: Ansatz, values: ArrayLike | None) -> str:
    """OpenQASM 2, which has no parameters.

    Args:
        ansatz: What to write.
        values: Inputs, then weights, shape (I + W,).

    Raises:
        ConfigError: Without values.
    """
    if values is None:
        raise ConfigError(
            "OpenQASM 2 must have a number at every angle",
            got=f"{ansatz.num_inputs + ansatz.num_weights} free parameters",
            fix="Export to qasm3 or qpy, or give the values of inputs and weights",
        )
    return str(qasm2.dumps(_bound(ansatz, values)))


def to_qpy(ansatz: Ansatz, values: ArrayLike | None = None) -> bytes:
    """QPY, which holds the whole ansatz.

    Raises:
        ConfigError: If values are given; QPY keeps the parameters, so that it stays an ansatz.
    """
    if values is not None:
        raise ConfigError(
            "QPY must keep the parameters of an ansatz",
            got="values in their place",
            fix="Leave the values out, or export to qasm3",
        )
    return qpy_bytes(ansatz)


FORMS: dict[str, Callable[[Ansatz, ArrayLike | None], bytes]] = {
    "qasm3": lambda ansatz, values: to_qasm3(ansatz, values).encode(),
    "qasm2": lambda ansatz, values: to_qasm2(ansatz, values).encode(),
    "qpy": to_qpy,
}


def _bound(ansatz: Ansatz, values: ArrayLike | None) -> QuantumCircuit:
    if values is None:
        return with_plain_names(ansatz)
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (len(ansatz.parameters),):
        raise ConfigError(
            "There must be one value for each input and weight",
            got=f"shape {numbers.shape} for {ansatz.num_inputs} inputs and {ansatz.num_weights} weights",
            fix="Give the inputs, then the weights",
        )
    return ansatz.circuit.assign_parameters(dict(zip(ansatz.parameters, numbers, strict=True)))
