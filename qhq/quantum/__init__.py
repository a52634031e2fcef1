"""Quantum: an executor as a network of qiskit-machine-learning and as a layer of torch.

Read in this order: ``network`` (``ExecutorNetwork``), ``differentiation`` (how torch goes through it),
``layer`` (``QuantumLayer``, what models hold) and ``adjoint_network`` (``EstimatorQNN`` on the exact engine).
"""

from typing import TYPE_CHECKING

from qhq.plugins import lazy_names

if TYPE_CHECKING:
    from qhq.quantum.adjoint_network import AdjointNetwork as AdjointNetwork
    from qhq.quantum.layer import QuantumLayer as QuantumLayer

__getattr__ = lazy_names(__name__, {"AdjointNetwork": "adjoint_network", "QuantumLayer": "layer"})
