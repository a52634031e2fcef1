"""Experiment: the wiring of one run. Read `run` first; it follows the data from prices to a run folder."""
