"""The quantum layer: a torch module over an executor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from qiskit_machine_learning.connectors import TorchConnector
from torch import Tensor, nn
from torch.fx import Proxy

from qhq.ansatz.assemble import Circuit, build_ansatz
from qhq.ansatz.program import Ansatz
from qhq.ansatz.spec import AngleScalingKind
from qhq.backends.backend import BackendSpec
from qhq.backends.executor import Executor
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.backends.registry import open_backend
from qhq.errors import BackendError, ConfigError, nearest
from qhq.quantum.differentiation import differentiable_values, tracing_error
from qhq.quantum.network import ExecutorNetwork
from qhq.seeding import child_generator

ANGLE_SCALINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "pi_tanh": lambda values: math.pi * torch.tanh(values),
    "half_pi_tanh": lambda values: math.pi / 2 * torch.tanh(values),
    "pi_sin": lambda values: math.pi * torch.sin(values),
    "arctan": torch.arctan,
    "two_arctan": lambda values: 2 * torch.arctan(values),
    # Of numbers that somebody scaled to [-1, 1]: they are angles in proportion, as papers have them.
    "pi_clip": lambda values: math.pi * torch.clamp(values, -1.0, 1.0),
    # For arcsin and arccos, which end at 1 with an infinite slope: single precision rounds tanh(10) to 1.
    "unit_tanh": lambda values: 0.99 * torch.tanh(values),
}
"""Name in an ansatz -> map to radians, each within [-pi, pi] and of non-zero slope at 0."""


class AngleScaling(nn.Module):
    """Elementwise map of a tensor of any shape to angles in radians.

    >>> AngleScaling("half_pi_tanh")(torch.tensor([0.0, 100.0]))
    tensor([0.0000, 1.5708])

    Raises:
        ConfigError: If the kind is unknown.
    """

    def __init__(self, kind: AngleScalingKind | str) -> None:
        super().__init__()
        if kind not in ANGLE_SCALINGS:
            raise ConfigError(
                "angle_scaling must be known", got=f"'{kind}'", fix=nearest(kind, ANGLE_SCALINGS)
            )
        self.kind = kind

    def forward(self, values: Tensor) -> Tensor:
        """Scale ``values``; shape and dtype stay."""
        return ANGLE_SCALINGS[self.kind](values)

    def extra_repr(self) -> str:
        """Show the kind when the model is printed."""
        return self.kind


class QuantumLayer(TorchConnector):
    """Numbers in, expectation values out; trains its weights and passes gradients to what stands before.

    Against its parent, ``TorchConnector``, it keeps the dtype of its input, takes any leading shape, asks the
    executor for one vector-Jacobian product instead of full Jacobians, draws its weights from a seed,
    and saves each tensor once. A copy shares the backend; a pickle leaves it behind: :meth:`open` it again.

    Args:
        ansatz: The program, with I inputs, W weights and O observables: the name of a file in ``circuits/``,
            the path of one, a ``QuantumCircuit`` of Qiskit's, an `Ansatz` or an `AnsatzSpec`.
        executor: Where it runs: an entry of ``backends.yaml`` by name or as a spec, or an executor that was
            opened for the ansatz. By default the exact engine, with adjoint gradients.
        seed: Where the initial weights come from, uniform in [-pi, pi), and what a backend draws.
        scale_inputs: Whether the layer turns its inputs into angles by the scaling that the ansatz names,
            such as ``pi * tanh``. By default it does where it opens the backend itself. Over an executor,
            which takes angles in radians, it does not: its inputs then are angles.
        overrides: Keys laid over those of the ansatz's file, such as ``qubits=4, depth=2``; of a
            ``QuantumCircuit``, ``inputs``, ``observables`` and ``angle_scaling`` (see
            `qhq.ansatz.assemble.build_ansatz`).

    Raises:
        ConfigError: If there is no such ansatz or backend, or a key does not exist.
        BackendError: If the executor was opened for another ansatz.

    >>> layer = QuantumLayer("reference", qubits=4, depth=2)
    >>> layer(torch.ones(16, 4)).shape
    torch.Size([16, 4])
    """

    def __init__(
        self,
        ansatz: Circuit,
        executor: Executor | BackendSpec | str | None = None,
        *,
        seed: int = 0,
        scale_inputs: bool | None = None,
        **overrides: Any,
    ) -> None:
        program = build_ansatz(ansatz, **overrides)
        if scale_inputs is None:
            scale_inputs = executor is None or isinstance(executor, BackendSpec | str)
        if executor is None:
            # Not an entry of backends.yaml, which may be edited: the obvious line is the exact engine
            # everywhere.
            executor = StatevectorExecutor(program)
        elif isinstance(executor, BackendSpec | str):
            executor = open_backend(executor, program, seed=seed)
        # From NumPy, as float64: the same weights whatever torch's default dtype, and its generator stays as
        # it was.
        initial = child_generator(seed, "quantum weights").uniform(-math.pi, math.pi, program.num_weights)
        super().__init__(ExecutorNetwork(program, executor), initial_weights=initial)
        # The parent registers one tensor under two names, which safetensors refuses to save.
        del self._weights
        # The parent's are of single precision, whatever torch's default.
        if self.weight.dtype != torch.get_default_dtype():
            self.weight = nn.Parameter(torch.as_tensor(initial, dtype=torch.get_default_dtype()))
        self.angle_scaling = AngleScaling(program.angle_scaling) if scale_inputs else None

    @property
    def neural_network(self) -> ExecutorNetwork:
        """The network that holds the executor."""
        network: ExecutorNetwork = self.__dict__["_neural_network"]
        return network

    @property
    def ansatz(self) -> Ansatz:
        """The program."""
        return self.neural_network.ansatz

    @property
    def num_inputs(self) -> int:
        """I: the last dimension of what goes in."""
        return self.ansatz.num_inputs

    @property
    def num_outputs(self) -> int:
        """O: the last dimension of what comes out."""
        return self.ansatz.num_outputs

    @property
    def weight(self) -> Tensor:
        """Weights (W,), in radians.

        A parameter; or a plain tensor where torch computes it from others before each call, as
        ``torch.nn.utils.prune`` and ``DataParallel`` do.
        """
        # In place of the parent's property, which reads the tensor under the name that was deleted.
        state = self.__dict__
        weights: Tensor | None = state.get("_parameters", {}).get("weight")
        if weights is None:
            weights = state.get("weight")
        if weights is None:
            raise AttributeError("weight")
        return weights

    @weight.setter
    def weight(self, weights: Tensor) -> None:
        self.__dict__["weight"] = weights

    @weight.deleter
    def weight(self) -> None:
        del self.__dict__["weight"]

    def forward(self, input_data: Tensor | None = None) -> Tensor:
        """Expectation values (..., O) of inputs (..., I), in the dtype and on the device of the input.

        Raises:
            BackendError: If the last dimension is not I, the layer is closed, or the backend fails.
        """
        network = self.neural_network
        # Tracers record what torch does and see none of what the engine does: their result would be a
        # constant.
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            exporter = "an export to ONNX" if torch.onnx.is_in_onnx_export() else "torch.jit.trace"
            raise tracing_error(f"{exporter}, which would store today's values as constants")
        if isinstance(input_data, Proxy):
            raise tracing_error("torch.fx.symbolic_trace, which would look into NumPy")
        if not isinstance(input_data, Tensor) or input_data.shape[-1:] != (network.num_inputs,):
            raise _input_error(input_data, network.num_inputs)
        dtype = input_data.dtype
        if dtype not in (torch.float32, torch.float64):
            if not dtype.is_floating_point:
                raise BackendError(
                    "The inputs of a quantum layer must be real floating point numbers",
                    got=str(dtype),
                    fix="Convert them with .float()",
                )
            input_data = input_data.float()  # half precision, as under autocast, is too coarse for angles
        if self.angle_scaling is not None:
            input_data = self.angle_scaling(input_data)
        if input_data.ndim == 2:  # the common case; two views more would cost as much as a small circuit
            values = differentiable_values(network, input_data, self.weight)
        else:
            values = differentiable_values(network, input_data.reshape(-1, network.num_inputs), self.weight)
            values = values.reshape(*input_data.shape[:-1], *network.output_shape)
        return values if values.dtype == dtype else values.to(dtype)

    def open(self, backend: BackendSpec | str, *, seed: int = 0) -> None:
        """Go on with the same weights on another backend.

        Args:
            backend: Name of an entry of ``backends.yaml``, or the entry.
            seed: Where whatever the backend draws comes from.

        Raises:
            ConfigError: If there is no such entry.
            BackendError: If the backend cannot run the ansatz.
        """
        self.reopen(open_backend(backend, self.ansatz, seed=seed))

    def reopen(self, executor: Executor) -> None:
        """Go on with another executor of the same ansatz; the weights stay.

        Raises:
            BackendError: If the executor was opened for another ansatz.
        """
        self.neural_network.reopen(executor)

    def listen(self) -> list[Tensor]:
        """Keep the angles (B, I) of every forward pass from now on, those without a gradient left out.

        Returns:
            Where they are put; whoever listens takes them out.
        """
        heard: list[Tensor] = []
        self.neural_network.heard = heard
        return heard

    def metric(self, angles: Tensor, *, blocks: bool = False) -> Tensor:
        """The Fubini-Study metric (W, W) of the circuit's state by its weights, the mean over some angles.

        In double precision, ``g_ij = Re <d_i psi|d_j psi> - Re(<d_i psi|psi> <psi|d_j psi>)``.

        Args:
            angles: Inputs of the circuit (B, I), in radians.
            blocks: Whether only what rotations that stand beside each other have in common is in it, which
                takes a state a block and not four a weight.

        Raises:
            BackendError: If the layer is not open on the exact engine, the only one that has the state.

        >>> QuantumLayer("reference", qubits=1, depth=1).metric(torch.zeros(1, 1)).round(decimals=9)
        tensor([[0.2500]], dtype=torch.float64)
        """
        executor: Any = self.neural_network.executor
        if not hasattr(executor, "metric"):
            raise BackendError(
                "The metric of a circuit is computed of its state, which the exact engine alone has",
                got=f"a layer on {self.neural_network.backend}",
                fix="Open it on statevector: layer.open('statevector')",
            )
        rows, weights = (each.detach().double().cpu().numpy() for each in (angles, self.weight))
        return torch.from_numpy(executor.metric(rows, weights, blocks=blocks))

    def __prepare_scriptable__(self) -> NoReturn:
        """Refuse ``torch.jit.script``, which asks for this first.

        Raises:
            BackendError: Always.
        """
        raise tracing_error("torch.jit.script, which compiles Python and would look into NumPy")

    def extra_repr(self) -> str:
        """What the layer runs, and where."""
        program, backend = self.ansatz, self.neural_network.backend
        return (
            f"ansatz='{program.circuit.name}', qubits={program.num_qubits}, inputs={program.num_inputs},"
            f" weights={program.num_weights}, outputs={program.num_outputs},"
            f" backend={backend!r}, scale_inputs={self.angle_scaling is not None}"
        )


def _input_error(given: Any, inputs: int) -> BackendError:
    if given is not None and not isinstance(given, Tensor):
        return BackendError(
            "The inputs of a quantum layer must be a torch tensor",
            got=f"a {type(given).__name__}",
            fix="Convert it, with torch.as_tensor(values, dtype=torch.float32)",
        )
    return BackendError(
        "The last dimension of the angles must be the inputs of the ansatz",
        got=f"shape {() if given is None else tuple(given.shape)} for {inputs} inputs",
        fix="Let the linear layer before it give that many",
    )
