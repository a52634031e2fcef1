"""The compiled interpreter of a program. It knows arrays alone: no circuit, no Qiskit, no torch.

Read ``lanes`` (rows of samples), ``unitaries`` (operations that mix amplitudes), ``zstrings`` (phases, their
slopes, and what is read out), and ``interpreter``, which runs them all.
``handoff`` divides the work among threads, ``jit`` says how all of it is compiled and cached.
"""
