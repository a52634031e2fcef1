"""A device simulated with its noise.

Read ``spec`` (what an entry may say), ``channels`` and ``scale`` (errors as channels, made stronger or
weaker), ``program`` (a circuit with them), then ``density`` with ``readout``, or ``trajectories``;
``executor`` puts them together.
"""
