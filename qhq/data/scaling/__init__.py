"""Scalers: ``fit`` makes one from a training part, ``scalers`` tells what each does, ``static`` goes beside.

``window``, ``symbol``, ``level`` and ``option`` have the scalers themselves, ``homogeneous`` the inputs of
the last; ``pooled`` and ``stored`` are what they share.
"""
