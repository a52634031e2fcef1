"""The noisy engine: exact expectations and adjoint gradients of circuits whose gates have channels.

``compile`` turns a circuit and its channels into two sweeps over Pauli vectors, ``kernels`` run a sweep, and
``engine`` is what the rest of qhq sees.
"""
