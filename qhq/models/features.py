"""A frozen circuit as a feature map, and a head that is fitted on what it gives, without gradients.

::

    windows (B, T, F), static (B, S) --encode--> values (B, V) --angles--> (B, I) --quantum--> <O> (B, O)
    <O>, and the values where asked for --decode--> forecast (B, H, K)

The verbs are those of `HybridForecaster`, so that a checkpoint is evaluated on any backend alike. Nothing of
it is trained step by step: the projection to angles is known from the training windows, the circuit's weights
are drawn from the seed, and the head is fitted once (`qhq.models.heads`).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import torch
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor, nn

from qhq.ansatz.program import Ansatz
from qhq.backends.executor import Executor
from qhq.errors import ConfigError
from qhq.models.heads import LinearHead, build_head
from qhq.models.hybrid import HybridForecaster, Shape, TanhMLP, seeded_torch
from qhq.models.own_forecaster import OwnForecaster
from qhq.models.spec import FeaturesSpec
from qhq.quantum.layer import AngleScaling, QuantumLayer
from qhq.seeding import child_generator, child_seed


class FeatureForecaster(nn.Module):
    """A frozen quantum layer, an MLP in its place or neither, and a head on what it gives.

    Build it with `build_features`.

    Args:
        spec: The ``model`` section of a config.
        shape: Sizes of the data.
        quantum: The quantum layer; its weights do not train.
        mlp: What stands in its place.
        angle_scaling: Name of the bounded map to angles.
    """

    centre: Tensor
    projection: Tensor

    stepwise = False
    """Whether the circuit is called several times for a forecast, a call waiting for the one before."""

    has_known_head = True
    """Whether it has a head that can be refitted."""

    def __init__(
        self,
        spec: FeaturesSpec,
        shape: Shape,
        *,
        quantum: QuantumLayer | None,
        mlp: TanhMLP | None,
        angle_scaling: str,
    ) -> None:
        super().__init__()
        self.spec, self.shape = spec, shape
        self.quantum, self.mlp = quantum, mlp
        values = shape.window * shape.features + shape.static
        inputs, features = spec.latent, values
        if quantum is not None:
            inputs, features = quantum.neural_network.num_inputs, quantum.neural_network.output_shape[0]
        elif mlp is not None:
            features = mlp.leave.out_features
        self.angle_scaling = AngleScaling(angle_scaling)
        self.register_buffer("centre", torch.zeros(values))
        self.register_buffer("projection", torch.zeros(values, inputs))
        wide = features + values * (spec.include_inputs and self.has_middle)
        self.head = build_head(spec.head, wide, shape.horizon * shape.targets)
        self.requires_grad_(False)

    @property
    def has_middle(self) -> bool:
        """Whether the head sees features, or without any the window alone."""
        return self.quantum is not None or self.mlp is not None

    def forward(self, windows: Tensor, static: Tensor | None = None) -> Tensor:
        """Forecast scaled targets (B, H, K) from scaled windows (B, T, F) and static features (B, S)."""
        values = self.encode(windows, static)
        return self.decode(values, self.middle(values))

    def reopen(self, executor: Executor) -> None:
        """Go on with another executor of the same ansatz; the weights stay."""
        if self.quantum is not None:
            self.quantum.reopen(executor)

    def encode(self, windows: Tensor, static: Tensor | None = None) -> Tensor:
        """All values of a window in a row, (B, V): the rows, oldest first, then the static features."""
        values = windows.flatten(1)
        return values if static is None else torch.cat([values, static], dim=-1)

    def angles(self, values: Tensor) -> Tensor:
        """Encoding angles (B, I), in radians, within the bounds of the ansatz's angle scaling."""
        projected = (values - self.centre) @ self.projection
        angles: Tensor = self.angle_scaling(self.spec.bandwidth * projected)
        return angles

    def middle(self, values: Tensor) -> Tensor:
        """Features (B, O) of values (B, V); themselves where nothing stands before the head."""
        layer = self.mlp if self.quantum is None else self.quantum
        features: Tensor = values if layer is None else layer(self.angles(values))
        return features

    def decode(self, values: Tensor, middle: Tensor, head: nn.Linear | None = None) -> Tensor:
        """Scaled forecast (B, H, K) from values (B, V) and features (B, O); ``head`` in place of its own."""
        flat: Tensor = (head or self.head)(self.head_inputs(values, middle))
        return flat.reshape(-1, self.shape.horizon, self.shape.targets)

    def head_inputs(self, values: Tensor, middle: Tensor) -> Tensor:
        """What the head sees (B, D)."""
        both = self.spec.include_inputs and self.has_middle
        return torch.cat([middle, values], dim=-1) if both else middle

    def linear_head(self) -> nn.Linear:
        """The head as a linear layer.

        Raises:
            ConfigError: If it is made of trees.
        """
        if not isinstance(self.head, LinearHead):
            raise ConfigError(
                "Only a linear head can be refitted for a backend",
                got=f"model.head {self.spec.head.kind}",
                fix="Choose another --mitigation, or train with a ridge or lasso head",
            )
        features, outputs = self.head.weight.shape
        layer = nn.Linear(features, outputs, dtype=self.projection.dtype)
        with torch.no_grad():
            # A head has (D, P), as solvers have it; torch has (out, in).
            layer.weight.copy_(self.head.weight.T)
            layer.bias.copy_(self.head.bias)
        return layer

    def keep_head(self, head: nn.Linear) -> None:
        """Take the weights of another linear head, such as one refitted for a backend."""
        assert isinstance(self.head, LinearHead)
        weight, bias = head.weight.detach().double().numpy(), head.bias.detach().double().numpy()
        self.head.keep(weight.T, bias)

    def parts(self) -> dict[str, list[Tensor]]:
        """Numbers by module, none of which trains by gradients; there is no encoder."""
        layer = self.mlp if self.quantum is None else self.quantum
        return {
            "encoder": [],
            "circuit": [] if layer is None else list(layer.parameters()),
            "head": list(self.head.buffers()),
        }

    @torch.no_grad()
    def project(self, values: Tensor, seed: int) -> None:
        """Say how values become inputs, by the training windows (N, V) and no others.

        Raises:
            ConfigError: If ``projection: none`` meets another number of inputs than values.
        """
        inputs = self.projection.shape[1]
        # The rank is decided at 1e-10 of the largest variance, which is below the rounding of float32.
        rows = values.double().numpy()
        width = rows.shape[1]
        if self.spec.projection == "none":
            if inputs != width:
                raise ConfigError(
                    "model.projection 'none' needs as many circuit inputs as a window has values",
                    got=f"{inputs} inputs and {width} values",
                    fix="Change data.window or quantum.qubits, or set model.projection to pca",
                )
            self.projection.copy_(torch.eye(width))
            return
        centre = rows.mean(axis=0)
        self.centre.copy_(torch.as_tensor(centre))
        if self.spec.projection == "last":
            newest = _newest(rows, inputs, self.shape.static)
            self.projection.copy_(torch.as_tensor(newest))
            return
        if self.spec.projection == "random":
            spread = math.sqrt(float(((rows - centre) ** 2).sum(axis=1).mean())) or 1.0
            drawn = child_generator(seed, "projection").normal(size=(width, inputs)) / spread
            self.projection.copy_(torch.as_tensor(drawn))
            return
        self.projection.copy_(torch.as_tensor(_components(rows - centre, inputs)))


def _newest(rows: np.ndarray, count: int, static: int) -> np.ndarray:
    """The last ``count`` values before the static ones, oldest first, each of unit variance: (V, count).

    Raises:
        ConfigError: If there are fewer.
    """
    values = rows.shape[1] - static
    if count > values:
        raise ConfigError(
            "model.projection 'last' needs a window with as many values as the circuit has inputs",
            got=f"{count} inputs and {values} values",
            fix="Lengthen data.window, or set model.projection to pca",
        )
    spread = rows.std(axis=0)
    matrix = np.zeros((rows.shape[1], count))
    for column, row in enumerate(range(values - count, values)):
        # A value that is constant in training tells nothing: an angle of 0, not an infinite one.
        matrix[row, column] = 1 / spread[row] if spread[row] > 0 else 0.0
    return matrix


def _components(rows: np.ndarray, count: int) -> np.ndarray:
    """Principal components of centred rows (N, V) as columns (V, count), their scores of unit variance.

    Where there are fewer components than asked for, they are taken again from the first on: a qubit more sees
    an angle that another sees too, as when inputs are uploaded again.
    """
    # Of the covariance, V x V: a singular value decomposition of all N rows would cost many times that.
    spread, vectors = np.linalg.eigh(rows.T @ rows / max(1, len(rows)))
    order = np.argsort(spread)[::-1]
    spread, vectors = spread[order], vectors[:, order]
    # Eigenvalues of the covariance are squares: what rounding leaves of a direction that no window has is
    # some 1e-16 of the largest, and a direction of 1e-5 of its length still counts.
    rank = max(1, int((spread > 1e-10 * max(spread[0], 1e-300)).sum()))
    # A component's sign is arbitrary: the largest entry is positive, so that no library decides it.
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    columns = vectors * signs / np.sqrt(np.maximum(spread, 1e-300))
    found: np.ndarray = columns[:, [place % rank for place in range(count)]]
    return found


def projected(ansatz: Ansatz) -> Ansatz:
    """The same circuit with all Pauli operators on one and on two qubits as observables.

    3 Q of one qubit, then 9 Q (Q - 1) / 2 of two (Huang et al., Nature Communications 12, 2631, 2021: what
    is known of a state from its small reduced density matrices).

    >>> from qhq.ansatz.assemble import build
    >>> from qhq.ansatz.spec import AnsatzSpec
    >>> projected(build(AnsatzSpec(qubits=3))).num_outputs
    36
    """
    qubits = ansatz.num_qubits
    single = [((letter, (qubit,))) for qubit in range(qubits) for letter in "XYZ"]
    pairs = [
        (one + other, (first, second))
        for first, second in itertools.combinations(range(qubits), 2)
        for one, other in itertools.product("XYZ", repeat=2)
    ]
    observables = tuple(
        SparsePauliOp.from_sparse_list([(letters, places, 1.0)], num_qubits=qubits)
        for letters, places in [*single, *pairs]
    )
    return replace(ansatz, observables=observables)


def build_features(
    spec: FeaturesSpec,
    shape: Shape,
    *,
    quantum: QuantumLayer | None,
    angle_scaling: str,
    seed: int,
) -> FeatureForecaster:
    """Build the model; its head forecasts 0, scaled, and its projection is 0 until `project` is called.

    Raises:
        ConfigError: If there are two middles.
    """
    mlp = None
    if spec.middle is not None:
        if quantum is not None:
            raise ConfigError(
                "Either a quantum layer or model.middle must stand before the head",
                got="both",
                fix="Set quantum: null for the MLP, or model.middle: null",
            )
        angle_scaling = spec.middle.angle_scaling
        with seeded_torch(child_seed(seed, "twin")):  # the stream that the MLP of a hybrid is drawn from
            mlp = TanhMLP(spec.latent, spec.middle.hidden, spec.middle.outputs)
    return FeatureForecaster(spec, shape, quantum=quantum, mlp=mlp, angle_scaling=angle_scaling)


Forecaster = HybridForecaster | OwnForecaster | FeatureForecaster
"""Every model that a run may have."""
