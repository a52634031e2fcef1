"""Market data, from a file or Yahoo to scaled windows in which no future can leak.

Read in the order of the data: ``columns`` (one table of every column), ``spec`` (what a config may ask for),
``load`` (from a config to a checked panel: ``sources``, ``yahoo`` and ``recording`` give rows, ``checks`` is
the border, ``formulas`` computes what rows do not have), ``panel`` (checked rows), ``windows`` (gaps and
segments, then row numbers into a panel), ``split`` (splits by date, with a purge), ``scaling`` (fitted on a
training split, and the way back to prices), ``prepare`` (all of it in one call, honestly or with the named
leaks of a published study, of which ``caveat`` is what is said). ``other`` prepares other data than a run was
made from, ``plausibility`` asks whether data are too good to be true, ``recorder`` records option chains.

This file imports nothing, so that ``qhq.data.spec`` stays light.
"""
