"""Scalers: ``fit`` makes one from a training split and reads a stored one.

``affine`` is what they are made of, ``series`` and ``option`` have the kinds; that of static features stands
in ``fit``.
"""
