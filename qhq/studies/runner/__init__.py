"""The runner of studies: a store of cells, and workers on this machine or on a Dask cluster.

`local` and `cluster` have the same verb: ``run(function, items)`` gives ``(index, result)`` as they come.
"""
