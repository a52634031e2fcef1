"""Market data, from a file or Yahoo to scaled windows in which no future can leak.

Read in the order of the data: ``spec`` and ``split_spec`` (what a config may ask for), ``sources`` (rows as
they come; ``yahoo`` and ``recording`` fetch and keep them), ``schema`` and ``checks`` (the border),
``panel`` (checked rows), ``columns`` (columns computed from others), ``layout`` (gaps and segments),
``split`` (parts by date, with a purge), ``windows`` (row numbers into a part), ``reference`` (what the
volatility of the day before would price), ``scaling`` (fitted on a training part, and the way back to
prices), ``prepare`` (all of it in one call). ``overview`` counts what a panel holds; ``leak_spec`` and
``leaks`` are what a config may switch on by name to show what others did.

This file imports nothing, so that ``qhq.data.spec`` stays light.
"""
