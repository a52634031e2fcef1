"""The exact engine: a batched statevector with adjoint gradients for any Qiskit circuit.

It knows circuits and arrays, nothing else of qhq. Read in this order: ``lowering`` (any circuit -> two-term
rotations and fixed gates), ``angles`` (their angles as functions of inputs and weights), ``frame`` and
``tape`` (rotations and phases in a linear frame -> a flat program), ``kernels`` (the compiled interpreter),
``adjoint`` (the engine as an object), ``states`` (the states behind the expectations) and ``torch_twin`` (the
same program over torch, for CUDA tensors).
"""
