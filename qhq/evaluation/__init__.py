"""Judging forecasts, always beside what needs no model.

Read ``baselines`` first (the last value, and its error in training), then ``metrics`` (errors in the unit of
the prices, in percent, and against the last value).
"""
