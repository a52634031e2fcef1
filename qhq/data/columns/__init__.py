"""Columns computed from others, each row from itself and the rows before it in its series.

`catalogue` lists them all, `stocks` and `options` compute them, `series` looks back along a series.
"""
