"""Backends: what stands behind a quantum layer, and how each kind of it is opened.

Read in this order: ``backend`` (a kind: what its entries say, what can be done with one), ``executor`` (the
verbs that whatever is opened offers, and whether two agree) and ``registry`` (the kinds there are, and
``backends.yaml``). The rest from the bottom up; each imports only from those named before it, and ``ibm``
nothing from ``noisy``. The ``__init__`` of a folder with a kind is that kind, without Qiskit:

- ``gradients``: from values alone, for every executor that knows no more;
- ``local``: the exact engine, and Aer without noise, exact or sampled;
- ``devices``: a device as data, and a circuit in its gates and on its qubits, behind the correctness gate;
- ``noisy``: a device simulated with its noise;
- ``ibm``: a device of an account, with a journal, a budget and jobs that survive a crash.
"""

from typing import TYPE_CHECKING

from qhq.plugins import lazy_names

if TYPE_CHECKING:
    from qhq.backends.executor import Executor as Executor
    from qhq.backends.registry import open_backend as open_backend

__getattr__ = lazy_names(__name__, {"Executor": "executor", "open_backend": "registry"})
