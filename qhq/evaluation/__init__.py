"""Judging forecasts, always beside what needs no model.

Read ``baselines`` first (what a model has to beat), then ``metrics`` (errors in the unit of the targets, in
percent, and against the last value; of all windows and by underlying) and ``losses`` (what decides, date by
date; ``probabilistic`` those of a distribution). ``significance`` tells whether one forecast is better than
another (by ``mean_test``), ``confidence_set`` which of many
may be the best, ``bootstrap`` what several seeds say, and how far a figure over dates can be trusted.
``detail`` adds what is not asked of every run (directions, QLIKE, tables by symbol and horizon, histograms of
errors), ``conformal`` intervals about a forecast. ``collapse`` finds a model that gives one value for
everything.
"""
