"""Gradients from values alone: ``parameter_shift`` (exact) and ``spsa`` (an estimate, on a budget)."""
