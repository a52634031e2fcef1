"""Backends: what stands behind a quantum layer, and how each kind of it is opened.

Read in this order: ``spec`` (an entry of ``backends.yaml``), ``executor`` (the three verbs that whatever is
opened offers) and ``registry`` (kind -> opener). Each kind then has a room of its own:

- ``simulators``: the exact engine, and Aer without noise, exact or sampled;
- ``devices``: a device as data, and a circuit in its gates and on its qubits, behind the correctness gate;
- ``noise``: a device simulated with its noise;
- ``ibm``: a device of an account, with a journal, a budget and jobs that survive a crash;
- ``gradients``: from values alone, for all of them.

``parity`` compares two executors, ``check`` opens an entry to see whether it is ready.
"""

from typing import TYPE_CHECKING

from qhq.public import lazy_names

if TYPE_CHECKING:
    from qhq.backends.executor import Executor as Executor
    from qhq.backends.registry import open_backend as open_backend

__getattr__ = lazy_names(__name__, {"Executor": "executor", "open_backend": "registry"})
