"""Without a device: kind ``statevector``, and what the kinds that Aer simulates have in common. No Qiskit.

Beside it: the exact engine (``statevector``), and Aer without noise, exact or sampled (``aer``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field

from qhq.backends.backend import Backend, BackendSpec, SpsaSpec, TranspileSpec
from qhq.limits import MOST_FACTOR, MOST_THREADS, MOST_TRAJECTORIES

if TYPE_CHECKING:
    from qhq.ansatz.program import Ansatz
    from qhq.backends.executor import Executor


class StatevectorSpec(BackendSpec):
    """qhq's exact engine in this process: statevector values, adjoint gradients.

    Attributes:
        threads: Threads that the engine may use; 0 means all cores.
    """

    kind: Literal["statevector"]
    shots: None = None
    gradient: Literal["adjoint"] = "adjoint"
    threads: int = Field(default=0, ge=0, le=MOST_THREADS)


class SimulatedSpec(BackendSpec):
    """What entries have in common that Aer simulates in this process.

    Attributes:
        method: Aer's simulation method; exact values with noise need ``density_matrix``.
        threads: Threads that Aer may use; 0 means all cores.
        noise_scale: How strong the noise is: 0 none, 1 as given.
        readout: How readout errors meet shots: ``sampled`` flips bits one by one, ``exact`` applies
            their mean effect to the average. Exact values always have the mean effect.
        transpile: How the circuit is rewritten for the device.
        spsa: How gradients are estimated with gradient ``spsa``.
        trajectories: How many a sample the noisy engine follows in training where it holds no density matrix.
    """

    method: Literal["statevector", "density_matrix", "matrix_product_state"]
    threads: int = Field(default=0, ge=0, le=MOST_THREADS)
    noise_scale: float = Field(default=1.0, ge=0, le=MOST_FACTOR)
    readout: Literal["sampled", "exact"] = "sampled"
    transpile: TranspileSpec = TranspileSpec()
    spsa: SpsaSpec = SpsaSpec()
    trajectories: int = Field(default=8, ge=1, le=MOST_TRAJECTORIES)

    @property
    def is_exact_without_shots(self) -> bool:
        """Whether it gives exact values: with noise only a density matrix does."""
        return not self.is_noisy or self.method == "density_matrix"

    def at_layout(self, layout: tuple[int, ...]) -> Self | None:
        """The same entry with its circuit starting on these physical qubits, unless it names some itself."""
        if self.transpile.layout is not None:
            return None
        return self.model_copy(update={"transpile": self.transpile.model_copy(update={"layout": layout})})


class StatevectorBackend(Backend[StatevectorSpec]):
    """qhq's exact engine; nothing is drawn on it, so no seed matters, and it trains on itself."""

    def open(self, spec: StatevectorSpec, ansatz: Ansatz, *, seed: int, connection: Any = None) -> Executor:  # noqa: ARG002
        """Open an entry for an ansatz."""
        from qhq.backends.local.statevector import StatevectorExecutor

        return StatevectorExecutor(ansatz, name=spec.name or spec.kind, threads=spec.threads)
