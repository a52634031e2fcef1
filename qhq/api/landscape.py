"""The loss around a run's weights: measured on request, kept in the run's folder, and drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qhq.api.given import check_count
from qhq.data.caveat import Caveat
from qhq.errors import ConfigError
from qhq.limits import MOST_COUNT, MOST_SEED
from qhq.progress import Progress, noting, open_steps
from qhq.runs.answers import LANDSCAPE, Landscape, LandscapePart
from qhq.runs.run_folder import RunFolder, provenance
from qhq.runs.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from qhq.experiment.opening import Experiment

_LONGEST_SPAN = 100.0
# Of each direction: 40,401 forward passes in all.
_MOST_POINTS = 201


def study_landscape(
    folder: RunFolder,
    *,
    points: int,
    span: float,
    samples: int,
    seed: int,
    part: LandscapePart,
    progress: Progress,
) -> Landscape:
    """Do what `qhq.api.run.Run.landscape` says."""
    check_count("points", points, 3, _MOST_POINTS)
    check_count("samples", samples, 1, MOST_COUNT)
    check_count("seed", seed, 0, MOST_SEED)
    if points % 2 == 0 or not 0 < span <= _LONGEST_SPAN or part not in ("all", "circuit"):
        raise ConfigError(
            f"points must be odd, span above 0 and at most {_LONGEST_SPAN:g}, and part all or circuit",
            got=f"points {points}, span {span:g}, part '{part}'",
            fix="Take for example points=21, span=1.0, part='all'",
        )
    from qhq.experiment.landscape import measure_landscape
    from qhq.report.figures import save_figure, try_figure
    from qhq.report.training_figures import draw_landscape

    experiment, weights = _opened(folder)
    with open_steps(progress) as steps:
        found = measure_landscape(
            experiment, points=points, span=span, samples=samples, seed=seed, part=part, weights=weights,
            step=steps.step, note=steps.note,
        )  # fmt: skip
    caveat = Caveat(tuple(folder.read_record().leaks))
    kept = found.updated(schema_version=SCHEMA_VERSION, **provenance(), leaks=list(caveat.leaks))
    folder.write_json(LANDSCAPE, kept)
    try_figure(
        lambda path: save_figure(draw_landscape(kept), path, caveat),
        folder.file("figures/landscape.png"),
        noting(progress),
    )
    return kept


def _opened(folder: RunFolder) -> tuple[Experiment, str]:
    """The run with the weights that are looked at, and which these are.

    It is opened anew: the model that a `Run` gives out is not touched even for a moment.
    """
    from qhq.experiment.reopening import open_trained, read_finished
    from qhq.training.checkpoint import load_state

    record, experiment = read_finished(folder), open_trained(folder)
    if record.best_epoch != 0 or not folder.resume.exists():
        return experiment, "kept"
    # A head of zeros is a part of the untrained weights, and around them nothing would move.
    experiment.model.load_state_dict(load_state(folder.resume, experiment.identity()).model)
    return experiment, "last epoch"
