"""The compiled interpreter of a program. It knows arrays alone: no circuit, no Qiskit, no torch.

Read ``lanes`` (rows of samples), then one file an operation (``product``, ``rotation``, ``diagonal``,
``dense``), ``walsh`` and ``observables`` (what is read out), and ``interpreter``, which runs them all.
"""
