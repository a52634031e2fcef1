"""``qhq train``: train on the training split, evaluate on the test split, write a run folder.

What a person is shown of a run: tables with every baseline beside the model, and a sentence that says no more
than one seed can.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qhq.cli.command import (
    Accept,
    Cluster,
    Debug,
    Json,
    Set,
    command,
    figure,
    metrics_table,
    plain_table,
    say_strongest,
    skill_cell,
)
from qhq.cli.completion import complete_backend, complete_config, complete_run
from qhq.cli.jobs import ask_to_send, cost_table, hardware
from qhq.errors import ConfigError
from qhq.limits import MOST_COUNT, MOST_THREADS
from qhq.progress import doing
from qhq.runs.comparison import run_skill
from qhq.runs.run_folder import RunFolder, find_run
from qhq.runs.schema import LAST_VALUE

if TYPE_CHECKING:
    from rich.table import Table

    from qhq.api.evaluation import Evaluation
    from qhq.api.run import Run
    from qhq.runs.measures import Errors, OptionErrors, OptionMetricsRecord
    from qhq.runs.record import RunRecord, WalkRecord
    from qhq.runs.seeds import SeedTable


def train(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="[CONFIG]", help="A config; the quickstart if left out.", autocompletion=complete_config
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend",
            help="Entry of backends.yaml; the config's if left out.",
            autocompletion=complete_backend,
        ),
    ] = None,
    overrides: Set = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="RUN",
            help="Continue a run that was cut off; of a config's name, its latest unfinished one.",
            autocompletion=complete_run,
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Take Yahoo's prices from the cache alone.")
    ] = False,
    accept: Accept = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            max=MOST_THREADS,
            help="Processes for the folds of a walk-forward; the cores if left out, 8 at most.",
        ),
    ] = None,
    cluster: Cluster = None,
    from_run: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Fine-tune a finished run on --backend, as a new run.",
            autocompletion=complete_run,
        ),
    ] = None,
    freeze: Annotated[
        str | None,
        typer.Option(
            "--freeze",
            metavar="circuit",
            help="With --from: what keeps its weights. The head behind it is refitted.",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            min=8,
            max=MOST_COUNT,
            help="With --from: windows of each split at most that the backend is asked for; 128 if left out.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what it would cost on a device; send and write nothing."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Send to a device without asking.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Draw the losses as curves on the terminal while it trains.")
    ] = False,
    tensorboard: Annotated[
        bool,
        typer.Option("--tensorboard", help="Write the losses for TensorBoard, while it trains."),
    ] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a model, evaluate it beside the last-value forecast, and save it as a run.

    A config that walks forward (data.split.scheme walk_forward, no fold named) trains a run for each fold,
    and tests the forecasts of all folds together.

    On a device of your account a config with model.kind features is trained, which needs no gradients, once
    its cost is agreed to. --from RUN --freeze circuit refits the head of a trained run to a backend.

    Example: qhq train --backend aer --set training.epochs=5
    """
    with command(as_json=json, debug=debug) as output:
        from qhq.api.training import forecast_training
        from qhq.api.training import train as train_run

        # PyTorch and Qiskit take seconds to load, in which a person should not wonder.
        doing("Opening prices, model and backend; comparing the exact engine with it")

        def show(run: Run) -> None:
            seeds = _tabulate(run)
            if seeds is None:
                output.result(run.record, *_people(run.read(), str(run.folder)))
            else:
                output.result({**run.record, "seeds": _said(run, seeds)}, *_people_of_seeds(run, seeds))

        # Gradients are asked of a device where its entry says so, which is the consent; all else is asked.
        with hardware(output, yes=True) as terminal:
            if dry_run:
                costs = forecast_training(
                    config, backend=backend, set=overrides, resume=resume, offline=offline,
                    from_run=from_run, freeze=freeze, samples=samples,
                )  # fmt: skip
                output.result(costs.record, cost_table(costs.read().costs))
                return

            def ask(forecast: Evaluation) -> bool:
                if yes:
                    return True
                terminal.ask_from_now_on()
                return ask_to_send(output, forecast.read().costs)

            train_run(config, backend=backend, set=overrides, resume=resume, offline=offline,
                      accept=accept or (), workers=workers, cluster=cluster, from_run=from_run,
                      freeze=freeze, samples=samples, yes=ask, progress=True, watch=watch,
                      tensorboard=tensorboard, on_result=show)  # fmt: skip


def _tabulate(run: Run) -> SeedTable | None:
    """The table of runs that were trained at once; None of a single one."""
    from qhq.runs.seeds import tabulate_seeds

    return tabulate_seeds([RunFolder(each.folder) for each in run.seeds])


def _said(run: Run, seeds: SeedTable) -> dict[str, Any]:
    from qhq.experiment.words import say_seeds
    from qhq.runs.record import WalkRecord

    record = run.read()
    if isinstance(record, WalkRecord) and record.seeds is not None:
        # A walk-forward has dates enough, and tests them over the seeds itself.
        found = record.seeds.to_dict()
        return {**seeds.to_dict(), "tests": found["tests"], "verdict": found["verdict"]}
    return {**seeds.to_dict(), "verdict": say_seeds(seeds)}


def _people_of_seeds(run: Run, seeds: SeedTable) -> list[str | Table]:
    """What a person is shown of several seeds: each, their mean and spread, and the baselines beside them."""
    from qhq.evaluation.baselines.catalogue import label_of
    from qhq.runs.looks import say_looks

    record = run.read()
    columns = ["seed", "run", "epochs", "best epoch", "MAE", "RMSE", "MAPE %", "MASE", "skill %"]
    rows = [[row["seed"], row["run"], row["epochs"], row["best_epoch"], *_cells(row)] for row in seeds.rows]
    named = label_of(seeds.strongest)
    rows += [
        ["mean", None, None, None, *_cells(seeds.mean)],
        ["sd", None, None, None, *(cell and cell.removeprefix("+") for cell in _cells(seeds.sd))],
        ["last value", None, None, None, *_cells(seeds.last_value)],
    ]
    if seeds.strongest != LAST_VALUE:
        rows.append([named, None, None, None, *_cells(seeds.strongest_measures)])
    seconds = sum(each.read().seconds["total"] for each in run.seeds)
    head = f"{len(seeds.rows)} runs in {run.folder.parent}, trained in {seconds:.1f} s."
    table = plain_table(columns, rows, title=f"Test split, task {record.task}")
    for column in table.columns[4:]:
        column.justify = "right"
    verdict = str(_said(run, seeds)["verdict"])
    return [head, table, verdict, *plausibility_lines(record), *say_looks(record.looks), *_next(record)]


def _cells(measures: Mapping[str, Any]) -> list[str | None]:
    *errors, skill = (measures[name] for name in ("mae", "rmse", "mape", "mase", "skill"))
    return [
        *(None if each is None else figure(each) for each in errors),
        skill_cell(skill),
    ]


def _people(record: RunRecord | WalkRecord, path: str) -> list[str | Table]:
    """What a person is shown of a run.

    Raises:
        ConfigError: If the record does not hold what a finished run's does.
    """
    from qhq.runs.looks import say_looks
    from qhq.runs.record import RunRecord, no_results

    if record.epochs is None or "total" not in record.seconds:
        raise no_results(record, "epochs or seconds.total")
    parts = [_summary(record, path)]
    last = [*plausibility_lines(record), *say_looks(record.looks), *_next(record)]
    if isinstance(record, RunRecord):
        from qhq.experiment.words import say_subset

        said = [verdict(record), *say_subset(record)]
        return [*parts, *chosen(record), *result_tables(record), *said, *last]
    tables = [_folds(record), *_regimes(record), *result_tables(record)]
    return [*parts, *tables, str(record.verdict), *last]


def _next(record: RunRecord | WalkRecord) -> list[str]:
    """What there is to do with a run, as commands; nothing while doubts of it are open."""
    from qhq.experiment.plausibility import read_doubts
    from qhq.experiment.words import say_untrained
    from qhq.runs.record import RunRecord

    if any(doubt.accepted is None for doubt in read_doubts(record.plausibility)):
        return []
    # Commands take the latest run, which this one need not be: others may train, and an old one be resumed.
    try:
        name = "" if find_run(None).name == record.run else f" {record.run}"
    except ConfigError:  # the run is not among those of the runs folder
        name = f" {record.run}"
    steps = [("report", "", "all of it as one page")]
    if record.task == "forecast":
        steps.append(("predict", "", "the next session, with intervals"))
    if isinstance(record, RunRecord) and record.quantum is not None:
        if say_untrained(record):
            steps.append(("doctor", "", "whether its circuit responds and learns"))
        else:
            both = "" if name else " --backend aer"
            steps.append(("eval", f"{both} --backend fake_fez --samples 64", "a device's noise"))
    # Beside a name there is no place for words in 80 columns, and a broken line cannot be copied.
    lines = [f"  qhq {verb}{name}{rest}{'' if name else f'  # {why}'}" for verb, rest, why in steps]
    return ["\n".join(["Next:", *lines])]


def _folds(record: WalkRecord) -> Table:
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
        "skill %",
    ]
    rows = [
        [
            row.fold, row.trained_to, row.first, row.last, row.windows, row.epochs,
            figure(row.mae), figure(row.naive_mae), skill_cell(row.skill),
        ]
        for row in record.folds or ()
    ]  # fmt: skip
    return plain_table(columns, rows, title=f"{len(rows)} folds, each a run below {record.run}")


def _regimes(record: WalkRecord) -> list[Table]:
    """A row a regime; none of a walk of an earlier version."""
    rows = [
        [
            row.regime, row.windows, row.dates, figure(row.mae), figure(row.naive_mae),
            skill_cell(row.skill),
        ]
        for row in record.regimes
    ]  # fmt: skip
    title = "By how much the input rows moved, beside the training split of each fold"
    columns = ["regime", "windows", "dates", "MAE", "last value", "skill %"]
    return [plain_table(columns, rows, title=title)] if rows else []


def _summary(record: RunRecord | WalkRecord, path: str) -> str:
    from qhq.runs.record import RunRecord

    if isinstance(record, RunRecord) and record.finetuned is not None:
        # How near the exact model its forecasts are stands in its record.
        count, origin = record.finetuned.windows.get("train", 0), record.finetuned.origin
        trained = f"Refitted the head of {origin} on {count} training windows"
    elif isinstance(record, RunRecord) and record.head is not None:
        trained = f"Fitted a {record.head.kind} head on {record.head.features} features of a window"
    else:
        trained = f"Trained {record.epochs} epoch{'s' if record.epochs != 1 else ''}"
    seconds = f"{record.seconds['total']:.1f} s"
    # Without a circuit the backend of the config is asked nothing.
    ending = f" on {record.backend} in {seconds}" if record.quantum else f" in {seconds}, without a circuit"
    return f"Run {record.run}\nFolder {path}\n{trained}{ending}."


def result_tables(record: RunRecord | WalkRecord) -> list[str | Table]:
    """Metrics on the test split: in all, of what was trained on and held out, and over the strike."""
    from qhq.evaluation.baselines.catalogue import label_of

    def table(title: str, forecasts: Mapping[str, Errors]) -> Table:
        return metrics_table(title, [(label_of(name), each) for name, each in forecasts.items()])

    from qhq.experiment.words import say_pooled

    metrics = record.tested()
    # The skill that the verdict and `qhq compare` tell, of a run of an earlier version too.
    whole = {name: each.updated(skill=run_skill(metrics, name)) for name, each in metrics.forecasts.items()}
    tables: list[str | Table] = [table(f"Test split, task {record.task}", whole)]
    for forecasts, title in ((metrics.seen, "Trained on"), (metrics.held_out, "Held out")):
        if forecasts:
            tables.append(table(title, forecasts))
    tables += say_strongest({name: each for name, each in whole.items() if name != "test"})
    tables += say_pooled({"the model": whole["test"]}, whole["naive"])
    if metrics.mape_reason:
        tables.append(f"{metrics.mape_reason}.")
    if metrics.options is not None:
        tables += _options(metrics.options)
    said = [each.verdict for each in (metrics.intervals, metrics.distribution) if each is not None]
    return [*tables, *(sentence for sentence in said if sentence)]


def verdict(record: RunRecord) -> str:
    """One sentence: the model's error beside that of its task's baseline, and that one seed tests nothing."""
    from qhq.experiment.words import say_test  # it imports pandas, and `qhq --help` must not

    return say_test(record.tested())


def chosen(record: RunRecord) -> list[str]:
    """What the validation split says of the kept weights; nothing of a run of an earlier version."""
    from qhq.experiment.words import say_validation

    return [] if record.validation is None else [say_validation(record.validation)]


def plausibility_lines(record: RunRecord | WalkRecord) -> list[str]:
    """Reasons not to trust a run: each open doubt, and each that somebody accepted."""
    from qhq.experiment.plausibility import read_doubts

    doubts = read_doubts(record.plausibility)
    waiting = [doubt for doubt in doubts if doubt.accepted is None]
    if not waiting:
        return [doubt.sentence() for doubt in doubts]
    many = f"{len(waiting)} doubts are" if len(waiting) > 1 else "1 doubt is"
    head = f"Do not trust this result yet: {many} open ({', '.join(doubt.code for doubt in waiting)})."
    return [head, *(doubt.sentence() for doubt in doubts)]


def _options(options: OptionMetricsRecord) -> list[str | Table]:
    """Errors over the strike, in all and by underlying, and which forecasts have no implied volatility."""
    from qhq.evaluation.baselines.catalogue import label_of

    groups = {"all": options.forecasts, **options.symbols}
    rows = [
        [group, label_of(name), *_option_cells(each)]
        for group, forecasts in groups.items()
        for name, each in forecasts.items()
    ]
    table = plain_table(
        ["", "", "MAE / strike, bp", "RMSE / strike, bp", "MAE of iv, points", "values"], rows
    )
    table.title = "Over the strike (1 bp = 0.01 %), and in implied volatility"
    # A run of an earlier version did not count them.
    impossible = [
        f"{label_of(name)} {each.iv_bounded:,}" for name, each in options.forecasts.items() if each.iv_bounded
    ]
    if not impossible:
        return [table]
    values = max(each.iv_rows for each in options.forecasts.values())  # the same for all forecasts
    return [
        table,
        f"Forecasts outside what any volatility gives, such as below intrinsic value, of {values:,}:"
        f" {', '.join(impossible)}. They count with a volatility of 0 or of 500 %.",
    ]


def _option_cells(metrics: OptionErrors) -> list[str]:
    volatility = metrics.iv_mae
    return [
        f"{1e4 * metrics.mae_over_strike:.2f}",
        f"{1e4 * metrics.rmse_over_strike:.2f}",
        "-" if volatility is None else f"{100 * volatility:.2f}",
        f"{metrics.iv_rows:,}",
    ]
