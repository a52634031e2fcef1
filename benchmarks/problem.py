"""The circuit that all contenders run, and the numbers they run it on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from qhq.ansatz.program import Ansatz

Reals = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Problem:
    """``RY(x_q)`` encoding, L layers of RY RZ on each qubit and a ring of CX, Z on each qubit; float32.

    Attributes:
        qubits: Q; as many inputs and outputs.
        layers: L.
        batch: B.
    """

    qubits: int
    layers: int
    batch: int

    @property
    def num_weights(self) -> int:
        """W = 2 L Q: layer by layer, a column of RY, then a column of RZ."""
        return 2 * self.layers * self.qubits

    @property
    def ring(self) -> list[tuple[int, int]]:
        """Control and target of the CX that close a layer."""
        return [(qubit, (qubit + 1) % self.qubits) for qubit in range(self.qubits)]

    @cached_property
    def inputs(self) -> Reals:
        """Angles (B, Q), in radians."""
        return self._numbers(0, (self.batch, self.qubits))

    @cached_property
    def weights(self) -> Reals:
        """Angles (W,), in radians."""
        return self._numbers(1, (self.num_weights,))

    @cached_property
    def cotangent(self) -> Reals:
        """dL/dE (B, Q) that is pulled back."""
        return self._numbers(2, (self.batch, self.qubits))

    @cached_property
    def ansatz(self) -> Ansatz:
        """The circuit in Qiskit."""
        from qhq.ansatz.assemble import build
        from qhq.ansatz.blocks import RotationBlock
        from qhq.ansatz.spec import AnsatzSpec

        blocks = (RotationBlock(gates="RY RZ"),)
        return build(AnsatzSpec(qubits=self.qubits, depth=self.layers, blocks=blocks))

    def _numbers(self, stream: int, shape: tuple[int, ...]) -> Reals:
        rng = np.random.default_rng([stream, self.qubits, self.layers, self.batch])
        return rng.uniform(-np.pi, np.pi, shape).astype(np.float32)
