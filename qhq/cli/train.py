"""``qhq train``: train on the training split, evaluate on the test split, write a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qhq.cli.hardware import hardware
from qhq.cli.heartbeat import doing
from qhq.cli.options import Accept, Debug, Json, Set
from qhq.cli.output import command, figure, plain_table
from qhq.cli.results import chosen, plausibility_lines, result_tables, verdict
from qhq.errors import ConfigError


def train(
    config: Annotated[
        str | None, typer.Argument(metavar="[CONFIG]", help="A config; the quickstart if left out.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", help="Entry of backends.yaml; the config's if left out.")
    ] = None,
    overrides: Set = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Continue a run that was cut off.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Take Yahoo's prices from the cache alone.")
    ] = False,
    accept: Accept = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a model, evaluate it beside the last-value forecast, and save it as a run.

    A config that walks forward (data.split.scheme expanding or rolling, no fold named) trains a run for each
    fold, and tests the forecasts of all folds together.

    Example: qhq train --backend aer --set training.epochs=5
    """
    with command(as_json=json, debug=debug) as output:
        from qhq.data.plausibility.doubt import check_names
        from qhq.report.figures import draw_run_figures
        from qhq.runs.mirror import mirror_run
        from qhq.runs.run_folder import RunFolder

        if resume is not None and (config or backend or overrides):
            raise ConfigError(
                "--resume continues a run as it was configured",
                got="--resume together with CONFIG, --backend or --set",
                fix="Give --resume RUN alone, or with --accept",
            )
        accepted = check_names(accept or ())
        changes = [*(overrides or []), *(["data.offline=true"] if offline else [])]
        # A device is trained on where its entry says so, which is the consent.
        with hardware(output, yes=True):
            record = _run(config, backend, changes, resume, accepted)
        output.result(record, *_people(record))
        if "folds" in record:
            return
        folder = RunFolder(Path(record["path"]))
        draw_run_figures(folder, output.note)
        if record.get("collapse"):
            output.note(f"Warning: {record['collapse']['message']}")
        mirror_run(folder, output.note)


def _run(
    config: str | None,
    backend: str | None,
    overrides: list[str],
    resume: str | None,
    accepted: tuple[str, ...],
) -> dict[str, Any]:
    from qhq.cli.progress import TrainingProgress
    from qhq.experiment.config import load_config
    from qhq.experiment.run import resume_run, train_run
    from qhq.experiment.walk_forward import find_walk, read_walk, resume_walk, train_walk
    from qhq.runs.run_folder import find_run

    doing("Opening prices, model and backend; comparing the exact engine with it")
    with TrainingProgress() as progress:
        walk = None if resume is None else find_walk(resume)
        if walk is not None:
            folder = resume_walk(walk, progress, accepted)
        elif resume is not None:
            folder = resume_run(find_run(resume), progress, accept=accepted)
        else:
            study = load_config(config, overrides)
            if backend is not None:
                study = study.model_copy(update={"backend": backend})
            walks = study.data.split.walks
            folder = (train_walk if walks else train_run)(study, progress, accepted)
            walk = folder if walks else None
    record = read_walk(folder) if walk is not None else folder.read_record()
    return {**record, "path": str(folder.path)}


def _people(record: dict[str, Any]) -> list[Any]:
    """What a person is shown of a run; that of somebody else may lack any of it.

    Raises:
        ConfigError: If the record does not hold what a finished run's does.
    """
    from qhq.runs.looks import say_looks

    try:
        last = [*plausibility_lines(record), *say_looks(record.get("looks"))]
        if "folds" in record:
            return [_summary(record), _folds(record), *result_tables(record), record["verdict"], *last]
        return [_summary(record), *chosen(record), *result_tables(record), verdict(record), *last]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ConfigError(
            "The run.json of a finished run must hold its results",
            got=f"{record['path']}: {type(error).__name__}: {error}",
            fix="Name another run; 'qhq compare' lists them",
        ) from error


def _folds(record: dict[str, Any]) -> Any:
    """A row a fold: what it was trained to and forecasts, and its skill."""
    columns = [
        "fold",
        "trained to",
        "forecasts from",
        "to",
        "windows",
        "epochs",
        "MAE",
        "last value",
        "skill",
    ]
    rows = [
        [
            row["fold"], row["trained_to"], row["from"], row["to"], row["windows"], row["epochs"],
            figure(row["mae"]), figure(row["naive_mae"]),
            None if row["skill"] is None else f"{row['skill']:+.4f}",
        ]
        for row in record["folds"]
    ]  # fmt: skip
    return plain_table(columns, rows, title=f"{len(rows)} folds, each a run below {record['run']}")


def _summary(record: dict[str, Any]) -> str:
    trained, seconds = (
        f"Trained {record['epochs']} epoch{'s' if record['epochs'] != 1 else ''}",
        f"{record['seconds']['total']:.1f} s",
    )
    # Without a circuit the backend of the config is asked nothing.
    ending = (
        f" on {record['backend']} in {seconds}" if record["quantum"] else f" in {seconds}, without a circuit"
    )
    return f"Run {record['run']}\nFolder {record['path']}\n{trained}{ending}."
