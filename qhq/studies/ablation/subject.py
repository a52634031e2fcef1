"""What an ablation is of: a config, or that of a run."""

from __future__ import annotations

from collections.abc import Sequence

from qhq.experiment.config import ExperimentConfig, load_config
from qhq.tracking.run_folder import find_run, is_run


def load_subject(reference: str | None, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read a config by its path, or that of a run by its folder or name; None is the quickstart.

    The circuit of a run is the one in its folder, whatever ``circuits/`` holds now.

    Raises:
        ConfigError: If there is none.
    """
    if reference is None or not is_run(reference):
        return load_config(reference, overrides)
    return load_config(str(find_run(reference).config), overrides)
