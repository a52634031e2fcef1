"""Runs: the run folder, plain files that are the truth about a run; tables of runs; the MLflow mirror."""
