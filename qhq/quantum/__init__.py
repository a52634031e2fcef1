"""Quantum: an executor as a network of qiskit-machine-learning and as a layer of torch.

Read in this order: ``angle_scaling`` (numbers to angles, in torch), ``network`` (``ExecutorNetwork``), and
``layer`` (``QuantumLayer``, what models hold).
"""

from typing import TYPE_CHECKING

from qhq.public import lazy_names

if TYPE_CHECKING:
    from qhq.quantum.layer import QuantumLayer as QuantumLayer

__getattr__ = lazy_names(__name__, {"QuantumLayer": "layer"})
