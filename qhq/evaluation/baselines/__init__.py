"""Forecasts that need no model.

`catalogue` lists them all and fits those that suit the data. Of the raw windows: `last_value` (which also has
the scale of MASE) and `univariate` (drift, moving average, exponential smoothing and AR, on the scales of
`track`); `har` is the line to beat for volatility, `black_scholes` the one for options. Of the scaled
windows, as a model sees them: `regression`.
"""
