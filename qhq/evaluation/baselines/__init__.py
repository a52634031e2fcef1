"""Forecasts that need no model.

`catalogue` lists them all and fits those that suit the data; `last_value` also has the scale of MASE, `har`
the line to beat for volatility, `black_scholes` the one for options.
"""
