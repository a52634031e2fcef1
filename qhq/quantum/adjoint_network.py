"""The exact engine behind the interface of qiskit-machine-learning, for a circuit of one's own."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.quantum_info import Operator, Pauli, PauliList, SparseObservable, SparsePauliOp
from qiskit.quantum_info.operators.base_operator import BaseOperator
from qiskit_machine_learning.neural_networks import NeuralNetwork

from qhq.ansatz.program import laid_out, without_idle_qubits
from qhq.engine import StatevectorEngine, check_fits_memory
from qhq.engine.compile import lower_checked
from qhq.errors import ConfigError, nearest

_Array = NDArray[np.float64]
# What has one expectation value: any of Qiskit's operators, or labels with their coefficients.
_Observable: TypeAlias = BaseOperator | SparseObservable | Mapping[str, float] | str

# What ``EstimatorQNN`` takes besides, and has no meaning without an estimator.
_ESTIMATOR_KEYWORDS = ("estimator", "gradient", "default_precision", "pass_manager")
_KEYWORDS = ("circuit", "observables", "input_params", "weight_params", "input_gradients")
# Imaginary part of a coefficient, beside the largest one, that multiplying matrices leaves behind.
_ROUNDING = 1e-12


class AdjointNetwork(NeuralNetwork):
    """``EstimatorQNN`` with exact values, and exact gradients in one backward sweep an observable.

    The keywords and attributes are those of ``EstimatorQNN``, so that one name is all that changes; what
    belongs to an estimator (``estimator``, ``gradient``, ``default_precision``, ``pass_manager``) does not
    exist here. Three things are better defined: a ``PauliList`` is one output for each of its Paulis, a
    mapping of labels to coefficients is one output, and observables that are narrower than a transpiled
    circuit follow its layout. Those that are as wide as the circuit act on its own qubits, and must be moved
    by ``observable.apply_layout(circuit.layout)`` first, as for ``EstimatorQNN``.

    Args:
        circuit: Circuit on n qubits, unitary up to final measurements, which are left out: the observables
            say what is measured.
        observables: One operator, or a list of them, O in all; by default Z on all qubits at once. An
            operator is a ``SparsePauliOp``, ``Pauli``, ``SparseObservable``, ``Operator``, a label such as
            ``"ZI"``, or a mapping of labels to coefficients.
        input_params: Parameters that take the input data, I in all.
        weight_params: Parameters that are trained, W in all.
        input_gradients: Whether ``backward`` also gives gradients by inputs. Left out it is False, as for
            ``EstimatorQNN``, except inside a backward pass of torch: through a ``TorchConnector`` whatever
            stands before the network always learns, unless this is set to False in so many words.

    Raises:
        ConfigError: If the circuit is not unitary, a parameter has no place, an observable does not fit, or a
            keyword belongs to an estimator.

    >>> from qiskit.circuit.library import real_amplitudes, zz_feature_map
    >>> features, ansatz = zz_feature_map(2), real_amplitudes(2, reps=1)
    >>> network = AdjointNetwork(circuit=features.compose(ansatz),
    ...                          input_params=features.parameters, weight_params=ansatz.parameters)
    >>> network.forward([0.1, 0.2], np.zeros(4)).shape
    (1, 1)
    """

    def __init__(
        self,
        *,
        circuit: QuantumCircuit,
        observables: Iterable[_Observable] | _Observable | None = None,
        input_params: Iterable[Parameter] | None = None,
        weight_params: Iterable[Parameter] | None = None,
        input_gradients: bool | None = None,
        **estimator_keywords: Any,
    ) -> None:
        _refuse_keywords(estimator_keywords)
        if not isinstance(circuit, QuantumCircuit):
            raise ConfigError(
                "The circuit of a network must be a QuantumCircuit",
                got=f"a {type(circuit).__name__}",
                fix="Pass circuit=..., with the roles of its parameters in input_params and weight_params",
            )
        self._circuit = circuit
        # A transpiled circuit may be wider than the one that was written, and its qubits elsewhere.
        written = getattr(circuit.layout, "_input_qubit_count", None)
        self.num_virtual_qubits = int(circuit.num_qubits if written is None else written)
        self._observables = _listed(observables, self.num_virtual_qubits)
        self._input_params = _parameters("input_params", input_params, circuit)
        self._weight_params = _parameters("weight_params", weight_params, circuit)
        super().__init__(
            num_inputs=len(self._input_params),
            num_weights=len(self._weight_params),
            sparse=False,
            output_shape=len(self._observables),
            input_gradients=bool(input_gradients),
        )
        # Kept as it was given: None is neither True nor False (see ``_inside_torch``).
        self._asked_for = input_gradients
        self._open()

    def _open(self) -> None:
        paulis = tuple(laid_out(as_pauli_sum(each), self._circuit) for each in self._observables)
        parameters = [*self._input_params, *self._weight_params]
        # Gradients by weights are wanted sample by sample, which the engine gives for its inputs only.
        circuit = self._circuit
        if all(each.num_qubits == circuit.num_qubits for each in paulis):  # else the engine says so
            circuit, paulis = without_idle_qubits(circuit, circuit.layout, paulis)
        check_fits_memory(circuit.num_qubits)
        self._engine = StatevectorEngine(lower_checked(circuit), paulis, parameters, [])

    @property
    def circuit(self) -> QuantumCircuit:
        """The circuit as it was given."""
        return copy.copy(self._circuit)

    @property
    def observables(self) -> list[_Observable]:
        """The observables as they were given, one an output."""
        return list(self._observables)

    @property
    def input_params(self) -> list[Parameter]:
        """The parameters that take the input data."""
        return list(self._input_params)

    @property
    def weight_params(self) -> list[Parameter]:
        """The parameters that are trained."""
        return list(self._weight_params)

    @property
    def input_gradients(self) -> bool:
        """Whether ``backward`` gives gradients by inputs when it is called outside torch."""
        return bool(self._asked_for)

    @input_gradients.setter
    def input_gradients(self, input_gradients: bool) -> None:
        self._asked_for = input_gradients

    def _forward(self, input_data: _Array | None, weights: _Array | None) -> _Array:
        return self._engine.expectations(self._rows(input_data, weights), _NO_WEIGHTS)

    def _backward(self, input_data: _Array | None, weights: _Array | None) -> tuple[_Array | None, _Array]:
        """Jacobians (B, O, I), None without input gradients, and (B, O, W)."""
        # A sweep an output: qiskit-machine-learning wants the whole Jacobian, and an adjoint sweep gives one
        # row.
        rows, outputs = self._rows(input_data, weights), self.output_shape[0]
        jacobian = np.empty((len(rows), outputs, rows.shape[1]))
        for output in range(outputs):
            cotangent = np.zeros((len(rows), outputs))
            cotangent[:, output] = 1.0
            jacobian[:, output], _ = self._engine.vjp(rows, _NO_WEIGHTS, cotangent)
        by_inputs, by_weights = np.split(jacobian, [self.num_inputs], axis=2)
        wanted = _inside_torch() if self._asked_for is None else self._asked_for
        return by_inputs if wanted else None, by_weights

    def _rows(self, input_data: _Array | None, weights: _Array | None) -> _Array:
        """One row (I + W) a sample: its inputs, then the weights."""
        inputs = np.zeros((1, 0)) if input_data is None else np.asarray(input_data, dtype=np.float64)
        shared = np.zeros(0) if weights is None else np.asarray(weights, dtype=np.float64)
        for name, given, wanted in (
            ("input_data", inputs.shape[1], self.num_inputs),
            ("weights", len(shared), self.num_weights),
        ):
            if given != wanted:
                raise ConfigError(
                    f"A network must be given {name} for all its parameters",
                    got=f"{given} for {wanted}",
                    fix=f"Pass {name} with {wanted} columns",
                )
        return np.hstack([inputs, np.broadcast_to(shared, (len(inputs), len(shared)))])

    def __getstate__(self) -> dict[str, object]:
        """State without the engine, whose workspaces are not copied."""
        return {key: value for key, value in self.__dict__.items() if key != "_engine"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._open()


_NO_WEIGHTS = np.zeros(0)


def as_pauli_sum(observable: _Observable) -> SparsePauliOp:
    """Any Hermitian operator as a sum of Paulis with real coefficients.

    >>> as_pauli_sum({"ZZ": 0.5, "XI": 2.0})
    SparsePauliOp(['ZZ', 'XI'],
                  coeffs=[0.5+0.j, 2. +0.j])

    Raises:
        ConfigError: If it is no operator, or not Hermitian.
    """
    try:
        paulis = _to_paulis(observable)
        coefficients = np.asarray(paulis.coeffs, dtype=np.complex128)  # refuses free parameters
        if not np.isfinite(coefficients).all():
            raise ValueError("a coefficient is not finite")
    except Exception as error:  # Qiskit's constructors raise whatever comes
        raise ConfigError(
            "An observable must be an operator with numbers as coefficients, or the label of one",
            got=f"{_shown(observable)} ({type(observable).__name__})",
            fix="Pass SparsePauliOp objects, or labels of one letter a qubit such as 'ZI'",
        ) from error
    # Relative to the largest: the scale of a Hamiltonian is its user's.
    largest = np.abs(coefficients).max(initial=0.0)
    imaginary = np.abs(coefficients.imag)
    if imaginary.max(initial=0.0) > _ROUNDING * largest:
        raise ConfigError(
            "An observable must be Hermitian, so that its expectation value is real",
            got=f"{_shown(observable)}, with the coefficient {coefficients[imaginary.argmax()]}",
            fix="Use real coefficients, or take the real and the imaginary part as two observables",
        )
    return SparsePauliOp(paulis.paulis, coefficients.real)


def _shown(observable: Any) -> str:
    """Its repr in one line."""
    text = " ".join(repr(observable).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _to_paulis(observable: Any) -> SparsePauliOp:
    if isinstance(observable, SparsePauliOp):
        return observable.simplify() if np.iscomplex(observable.coeffs).any() else observable
    if isinstance(observable, SparseObservable):  # may hold projectors, which are sums of Paulis
        return SparsePauliOp.from_sparse_observable(observable)
    if isinstance(observable, Mapping):
        return SparsePauliOp.from_list(list(observable.items()))
    if isinstance(observable, str | Pauli):
        return SparsePauliOp(observable)
    if isinstance(observable, PauliList) or not isinstance(observable, BaseOperator):
        raise TypeError("one output is no list")
    return SparsePauliOp.from_operator(Operator(observable))


def _listed(observables: Any, qubits: int) -> list[_Observable]:
    """One observable an output."""
    if observables is None:
        return [SparsePauliOp("Z" * qubits)]
    if isinstance(observables, PauliList):
        return [SparsePauliOp(each) for each in observables]
    if isinstance(observables, BaseOperator | SparseObservable | Mapping | str):
        return [observables]
    try:
        listed = list(observables)
    except TypeError:
        return [observables]  # whose turn in `as_pauli_sum` says what is wrong with it
    # A list of one PauliList, or with one among its members, stands for all of theirs.
    flat = [each for member in listed for each in (member if isinstance(member, PauliList) else [member])]
    if not flat:
        raise ConfigError(
            "A network must have at least one observable",
            got="an empty list",
            fix="Leave observables out for Z on all qubits, or name some",
        )
    return flat


def _parameters(name: str, given: Any, circuit: QuantumCircuit) -> list[Parameter]:
    try:
        listed = [] if given is None else list(given)
    except TypeError:
        listed = [given]  # one parameter by itself
    present = set(circuit.parameters)
    for each in listed:
        if each not in present:
            raise ConfigError(
                f"Each of {name} must be a parameter of the circuit",
                got=f"{_shown(each)}, which is not among {', '.join(map(str, circuit.parameters)) or 'none'}",
                fix="Pass the Parameter objects that stand in its gates",
            )
    return listed


def _inside_torch() -> bool:
    """Whether torch is going back through a graph at the moment, and so asks for every gradient."""
    torch = sys.modules.get("torch")
    # Only if torch is there already: users of other optimisers need not wait for its import.
    return torch is not None and torch._C._current_graph_task_id() != -1


def _refuse_keywords(given: Mapping[str, Any]) -> None:
    """Say what a keyword is for; those that ask for nothing, as ``estimator=None``, are let through."""
    for name, value in given.items():
        if name in _ESTIMATOR_KEYWORDS:
            if value is None or (name == "default_precision" and value == 0):
                continue
            raise ConfigError(
                "AdjointNetwork calculates exact values itself and takes nothing of an estimator",
                got=f"the keyword '{name}' ({type(value).__name__})",
                fix=f"Leave {name} out, or use qiskit-machine-learning's EstimatorQNN for it",
            )
        raise ConfigError(
            "AdjointNetwork must be given keywords that it knows",
            got=f"'{name}'",
            fix=nearest(name, _KEYWORDS),
        )
