"""Scalers: `fit` makes one from a training part, `scalers` has what each does and how it is stored."""
