"""The staged search: each stage is a grid or ranges over config keys, and its best is carried on to the next.

::

    spec, space         what a sweep's YAML may say
    study               read this first: stages in order, then the winner with fresh seeds
    stage, ground       one stage: rounds of proposals, and a ranking
    round               points proposed together: trained with every seed, pruned on the way
    proposals           Optuna: grid, TPE, random; ask, report, tell
    work                what a worker does: one leg of a trial, or a whole final run; no shared disk
    dispatch            what lies on the shelf is taken from there, the rest goes to the workers
    shelf               the sweep's folder: what is done, what was cut off
    ranking, noise      the best and its ties; whether a ranking is more than seed noise
    final, losses, verdict      the winner beside the starting point on the test part, and what to make of it
"""
