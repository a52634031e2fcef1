"""What an ablation is of: a config, or that of a run."""

from __future__ import annotations

from collections.abc import Sequence

from qhq.experiment.config import ExperimentConfig, load_config
from qhq.experiment.opening import check_own_prices
from qhq.tracking.run_folder import find_run, is_run


def load_subject(reference: str | None, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read a config by its path, or that of a run by its folder or name; None is the quickstart.

    The circuit of a run is the one in its folder, whatever ``circuits/`` holds now.

    Raises:
        ConfigError: If there is none.
        DataError: If its prices are not those that the run was made for.
    """
    if reference is None or not is_run(reference):
        return load_config(reference, overrides)
    folder = find_run(reference)
    config = load_config(str(folder.config), overrides)
    check_own_prices(folder, overrides)
    return config
