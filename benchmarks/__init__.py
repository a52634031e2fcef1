"""Benchmarks of qhq beside other libraries: ``make bench``, or ``python -m benchmarks --help``.

Read in this order: ``problem`` (the circuit that all run), ``contenders`` (one small file each, all with the
verb ``open_step``), ``clock`` (interleaved timing), the benches (``peers``, ``training_step``, ``scaling``,
``threads``, ``memory``, ``startup``, ``roofline``, ``implied_volatility``, ``option_panel``: each has
``measure``, ``tables`` and ``targets``), ``child`` (each benchmark in its own pinned process), and ``page``
and ``plot`` (docs/benchmarks.md).
"""
