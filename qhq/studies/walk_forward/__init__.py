"""A walk-forward: a model a fold, each an ordinary run, and one verdict over all dates that they forecast.

    config with data.split.scheme: expanding or rolling, and no fold named
        -> a folder in the runs folder: config.yaml, the circuit, walk.json
        -> each fold a cell of one study, and a run of its own below it: fold-000, fold-001, ...
        -> the forecasts of all folds, put together from their predictions.csv: one table, one test

``study`` trains the folds, on any number of workers; ``pooled`` puts together what they forecast.
"""
