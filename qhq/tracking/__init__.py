"""Tracking: the run folder, plain files that are the truth about a run."""
