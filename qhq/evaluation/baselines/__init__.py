"""Forecasts that need no model.

`catalogue` lists them all and fits those that suit the data. Of the raw windows: `persistence` (the last
value, which also gives the scale of MASE, and Black-Scholes, the line to beat for options), `univariate`
(drift, moving average, exponential smoothing and AR) and `har` (the line to beat for volatility). Of the
scaled windows, as a model sees them: `regression`.
"""
