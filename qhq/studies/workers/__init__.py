"""Workers: many independent pieces of work on the processes of this machine, or on a cluster.

`local` and `cluster` have the same verb: ``run(function, items)`` gives ``(index, result)`` as they come.
"""
