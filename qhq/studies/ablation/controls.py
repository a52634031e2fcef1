"""The two controls of a recipe: data on which nothing may win, and data on which a working layer must.

The recipe is the config's model, circuit and training, on other data: closes one session ahead, in windows of
the config's length. On the planted signal the skip connection is taken out, so that all that the head learns
of the window has gone through the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qhq.data.sources.control import Control, best_skill
from qhq.data.spec import DataSpec
from qhq.experiment.config import ExperimentConfig
from qhq.studies.ablation.study import AblationRequest, Progress, run_ablation
from qhq.studies.ablation.variants import HYBRID

CONTROLS: tuple[Control, ...] = ("random_walk", "planted")

_FOUND = {
    "better": "better than",
    "not shown": "not shown to be better than",
    "worse": "worse than",
    "not tested": "not tested against",
}
_TITLES = {"random_walk": "Random walk", "planted": "Planted signal"}


def control_config(config: ExperimentConfig, control: Control) -> ExperimentConfig:
    """Put a recipe on a control; ``data.panel_seed`` stays that of the config."""
    data = DataSpec(
        source=control,
        symbols=None,
        window=config.data.window,
        panel_seed=config.data.panel_seed,
    )
    changes: dict[str, Any] = {"data": data, "name": f"{config.name[:40]}-{control}"}
    if control == "planted":
        changes["model"] = config.model.model_copy(update={"skip": "none"})
    return config.model_copy(update=changes)


def run_controls(
    config: ExperimentConfig, request: AblationRequest, progress: Callable[[Control], Progress]
) -> dict[str, Any]:
    """Run the study on both controls.

    Args:
        config: The hybrid's.
        request: How many seeds and processes.
        progress: Makes what is told of each control's cells.

    Returns:
        ``rows`` of both, each with its ``control`` and that data's ``best_skill``; ``verdict``; ``passed``;
        ``controls``, the record of each study.

    Raises:
        QHQError: As of `run_ablation`.
    """
    records = {
        control: run_ablation(control_config(config, control), request, progress(control))
        for control in CONTROLS
    }
    judged = {control: judge(control, record["rows"]) for control, record in records.items()}
    return {
        "rows": [
            {"control": control, "best_skill": best_skill(control), **row}
            for control, record in records.items()
            for row in record["rows"]
        ],
        "verdict": " ".join(text for _, text in judged.values()),
        "passed": all(passed for passed, _ in judged.values()),
        "controls": {
            control: {**record, "passed": judged[control][0], "best_skill": best_skill(control)}
            for control, record in records.items()
        },
    }


def judge(control: Control, rows: Sequence[Mapping[str, Any]]) -> tuple[bool, str]:
    """Whether a control came out as it must, and a sentence that says so."""
    better = [row["variant"] for row in rows if row["vs_naive"] == "better"]
    if control == "random_walk":
        found = f"{', '.join(better)} called better" if better else "nothing is called better"
        return not better, f"{_TITLES[control]}: {found} than the last value, {_as(not better)}."
    hybrid = next(row for row in rows if row["variant"] == HYBRID)
    passed = HYBRID in better
    return passed, (
        f"{_TITLES[control]}: the hybrid is called {_FOUND[hybrid['vs_naive']]} the last value, {_as(passed)}"
        f" (skill {hybrid['skill']:.1%}; the best there is has {best_skill(control):.1%} over long spans)."
    )


def _as(passed: bool) -> str:
    return "as it should be" if passed else "which it should not be"
