"""Kinds ``aer`` and ``fake``: a device simulated with its noise."""
