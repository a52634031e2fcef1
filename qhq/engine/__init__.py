"""The exact engine: a batched statevector with adjoint gradients for any Qiskit circuit.

It knows circuits and arrays, nothing else of qhq. ``compile`` turns a circuit into a flat ``program``, which
``kernels`` run; ``runtime`` is the engine as objects; ``torch_engine`` runs the same program over torch, for
CUDA tensors. The rest of qhq imports from here and, for what a circuit is made of, from
``qhq.engine.compile``; from nowhere deeper.

- ``StatevectorEngine``: expectations (B, O) and gradients; ``Residual`` is what its forward pass leaves.
- ``StateEngine``: the final ``States`` (B, 2^n).
- ``MetricEngine``: the Fubini-Study metric of the final state by the weights (W, W).
- ``TorchEngine``: expectations as a torch function, on any device.
- ``DensityEngine``: expectations and gradients of a circuit whose gates have ``Channels``, exactly.
- ``MixtureEngine``: exact expectations where many of many qubits are reset.
- ``TrajectoryEngine``: unbiased estimates of the same, on more qubits, from ``KrausChannels``.
- ``RNNPass``, ``GRUPass``, ``LSTMPass``: recurrent units of many models at once (`qhq.models.stack`).
- ``check_fits_memory``: refuses a circuit that no memory holds, before anything is made for it.
"""

from typing import TYPE_CHECKING

from qhq.plugins import lazy_names

if TYPE_CHECKING:
    from qhq.engine.density.compile import Channels as Channels
    from qhq.engine.density.engine import MOST_NOISY_QUBITS as MOST_NOISY_QUBITS
    from qhq.engine.density.engine import DensityEngine as DensityEngine
    from qhq.engine.density.engine import DensityResidual as DensityResidual
    from qhq.engine.density.trajectories import KrausChannels as KrausChannels
    from qhq.engine.density.trajectories import TrajectoryEngine as TrajectoryEngine
    from qhq.engine.metric import MetricEngine as MetricEngine
    from qhq.engine.mixture import MixtureEngine as MixtureEngine
    from qhq.engine.runtime.jobs import check_fits_memory as check_fits_memory
    from qhq.engine.runtime.recurrent import GRUPass as GRUPass
    from qhq.engine.runtime.recurrent import LSTMPass as LSTMPass
    from qhq.engine.runtime.recurrent import RNNPass as RNNPass
    from qhq.engine.runtime.statevector import Residual as Residual
    from qhq.engine.runtime.statevector import StateEngine as StateEngine
    from qhq.engine.runtime.statevector import States as States
    from qhq.engine.runtime.statevector import StatevectorEngine as StatevectorEngine
    from qhq.engine.torch_engine import TorchEngine as TorchEngine

__getattr__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(("Residual", "StateEngine", "States", "StatevectorEngine"), "runtime.statevector"),
        "Channels": "density.compile",
        **dict.fromkeys(("MOST_NOISY_QUBITS", "DensityEngine", "DensityResidual"), "density.engine"),
        **dict.fromkeys(("KrausChannels", "TrajectoryEngine"), "density.trajectories"),
        "MetricEngine": "metric",
        **dict.fromkeys(("GRUPass", "LSTMPass", "RNNPass"), "runtime.recurrent"),
        "MixtureEngine": "mixture",
        "check_fits_memory": "runtime.jobs",
        "TorchEngine": "torch_engine",
    },
)
