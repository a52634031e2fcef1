"""A device as data, and a program written for it.

Read ``calibration`` (a device as JSON; from ``fakes`` or a ``snapshot``), ``target`` and ``device``
(what the transpiler sees), ``isa`` (the program on physical qubits), ``gate`` (it must equal the logical
one) and ``as_run`` (for drawing it).
"""
