"""Judging forecasts, always beside what needs no model.

Read ``baselines`` first (what a model has to beat), then ``metrics`` (errors in the unit of the targets, in
percent, and against the last value) and ``groups`` (the same by underlying, and for those never trained on).
``detail`` adds what is not asked of every run (``direction``, QLIKE, tables by symbol and horizon, histograms
of errors), ``conformal`` intervals about a forecast. ``significance`` tells whether one forecast is better
than another, ``bootstrap`` what several seeds say. ``options`` measures option prices over the strike and in
volatility; ``collapse`` finds a model that gives one value for everything.
"""
