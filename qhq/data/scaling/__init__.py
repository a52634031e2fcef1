"""Scalers: ``fit`` makes one from a training split and reads a stored one; ``static`` goes beside it.

``affine`` is what they are made of, ``series`` and ``option`` have the kinds.
"""
