"""Market data, from a file to scaled windows in which no future can leak.

Read in the order of the data: ``spec`` (what a config may ask for), ``sources`` (a file becomes a table),
``panel`` (the schema, checked once at the border), ``split`` (parts by date, with a purge), ``windows``
(row numbers into a part), ``scaling`` (fitted on a training part, and the way back to prices), ``prepare``
(all of it in one call).

This file imports nothing, so that ``qhq.data.spec`` stays light.
"""
