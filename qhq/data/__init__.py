"""Market data, from a file or Yahoo to scaled windows in which no future can leak.

Read in the order of the data: ``columns`` (one table of every column), ``spec`` (what a config may ask for),
``load`` (from a config to a checked panel: ``sources``, ``yahoo`` and ``recording`` give rows, ``checks`` is
the border, ``periods`` makes weeks of days, ``formulas`` computes what rows do not have), ``panel`` (checked
rows), ``windows`` (gaps and segments, then row numbers into a panel), ``split`` (splits by date, with a
purge), ``scaling`` (fitted on a training split, and the way back to prices), ``prepare`` (all of it in one
call, honestly or with the leaks of a published study, which ``protocol`` puts in and ``caveat`` describes).
``prepare_other`` prepares other data than a run was made from, ``ahead`` the windows of a forecast that has
not come true, ``plausibility`` asks whether data are too good to be true, ``recorder`` records option chains.

This file imports nothing, so that ``qhq.data.spec`` stays light.
"""
