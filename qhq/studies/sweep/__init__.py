"""The staged search: each stage is a grid or ranges over config keys, and its best is carried on to the next.

::

    spec            what a sweep's YAML may say
    study           read this first: stages in order, then the winner with fresh seeds
    stage           one stage: rounds of points by Optuna, trained with every seed, pruned on the way, ranked
    trials          what a worker does, and where it is kept
    ranking         the best and its ties; whether a ranking is more than seed noise
    final           the winner beside the starting point on the test split
"""
