"""Backends: what stands behind a quantum layer, and how each kind of it is opened.

Read in this order: ``spec`` (an entry of ``backends.yaml``), ``executor`` (the three verbs that whatever
is opened offers), ``registry`` (kind -> opener), then the kinds: ``aer`` and what it stands on,
``sampling`` (shots to expectation values) and ``parameter_shift`` (gradients from values).

Devices go one way: ``calibration`` (a device as JSON; from ``fakes`` or a ``snapshot``), ``target`` and
``device`` (what the transpiler sees), ``isa`` (the program on physical qubits), ``gate`` (it must equal the
logical one). Simulated with noise it goes on: ``noise`` and ``noise_scale``, ``noisy_program``, then
``density`` with ``readout``, or ``trajectories``; ``noisy`` puts them together.
"""

from typing import TYPE_CHECKING

from qhq.public import lazy_names

if TYPE_CHECKING:
    from qhq.backends.executor import Executor as Executor
    from qhq.backends.registry import open_backend as open_backend

__getattr__ = lazy_names(__name__, {"Executor": "executor", "open_backend": "registry"})
