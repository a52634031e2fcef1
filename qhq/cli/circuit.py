"""``qhq circuit``: the ansaetze of circuits/, drawn, exported, counted, measured; no model is touched."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qhq.cli.command import Debug, Json, Verbatim, command, plain_table
from qhq.cli.completion import complete_ansatz, complete_backend
from qhq.errors import ConfigError
from qhq.limits import MOST_COUNT, MOST_SEED
from qhq.progress.steps import StudyProgress

if TYPE_CHECKING:
    from rich.table import Table

    from qhq.ansatz.program import Ansatz
    from qhq.backends.devices.placement import Placement
    from qhq.runs.run_folder import RunFolder

app = typer.Typer(help="The ansaetze in circuits/: list, draw, export, info.", no_args_is_help=True)

_Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME|RUN",
        help="An ansatz in circuits/, the path of its YAML, or a run, whose circuit it is.",
        autocompletion=complete_ansatz,
    ),
]
_Qubits = Annotated[
    int | None, typer.Option("--qubits", min=1, max=MOST_COUNT, help="Qubits instead of the file's.")
]
_Depth = Annotated[
    int | None, typer.Option("--depth", min=0, max=MOST_COUNT, help="Layers instead of the file's.")
]
_Isa = Annotated[
    str | None,
    typer.Option(
        "--isa",
        metavar="BACKEND",
        help="As this device would run it, on its qubits.",
        autocompletion=complete_backend,
    ),
]
_Out = Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")]


@app.command("list")
def list_circuits(json: Json = False, debug: Debug = False) -> None:
    """List the ansaetze, those of the current folder before the shipped ones."""
    with command(as_json=json, debug=debug) as output:
        from qhq.ansatz.spec import list_ansaetze, load_ansatz

        rows = []
        for name, path in list_ansaetze().items():
            try:
                spec = load_ansatz(name)
            except ConfigError as error:
                # One file that somebody is writing must not hide all others.
                output.note(f"Skipped {name}: {error}")
                continue
            sizes = {"qubits": spec.qubits, "depth": spec.depth}
            rows.append({"name": name, **sizes, "description": spec.description, "path": str(path)})
        columns = ("name", "qubits", "depth", "description")
        cells = [[row[column] for column in columns] for row in rows]
        output.result({"rows": rows}, plain_table(columns, cells))


@app.command()
def draw(
    name: _Name,
    out: _Out = None,
    qubits: _Qubits = None,
    depth: _Depth = None,
    isa: _Isa = None,
    style: Annotated[
        str,
        typer.Option(
            "--style",
            help="Of a picture: roles (data, weights, entanglers), qiskit, or latex (a .pdf by pdflatex).",
        ),
    ] = "roles",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw an ansatz: as text, or to a .txt, .png, .svg, .pdf or .tex file with --output.

    In a picture, gates of data, trained weights and entanglers differ in colour and shape; those of a run
    have their trained values.
    """
    with command(as_json=json, debug=debug) as output:
        from qhq.ansatz.draw import draw_circuit, draw_text

        ansatz = _build(name, qubits, depth, isa)
        if out is None:
            text = draw_text(ansatz, columns=output.columns)
            output.result({"name": name, "text": text}, Verbatim(text))
        elif style not in ("roles", "qiskit", "latex"):
            raise ConfigError(
                "--style must be roles, qiskit or latex", got=f"'{style}'", fix="Write one of these"
            )
        elif style == "latex":
            from qhq.ansatz.draw import draw_latex

            draw_latex(ansatz, out)
            output.result({"name": name, "path": str(out)}, f"Wrote {out}")
        else:
            from qhq.ansatz.roles import PICTURE_FORMS, draw_roles_to

            if style == "roles" and out.suffix.removeprefix(".").lower() in PICTURE_FORMS:
                folder = _run_of(name)
                errors: tuple[float | None, ...] = ()
                if isa is not None:
                    from qhq.backends.registry import errors_as_run

                    errors = errors_as_run(_build(name, qubits, depth, None), isa)
                draw_roles_to(ansatz, out, None if folder is None else _trained(folder), errors)
            else:
                draw_circuit(ansatz, out)
            output.result({"name": name, "path": str(out)}, f"Wrote {out}")


@app.command()
def layout(
    name: _Name,
    isa: Annotated[
        str, typer.Option("--isa", metavar="BACKEND", help="The device: an entry with one, such as fake_fez.")
    ],
    out: Annotated[
        Path | None, typer.Option("--output", "-o", help="Picture to write: .png, .svg or .pdf.")
    ] = None,
    qubits: _Qubits = None,
    depth: _Depth = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show where a circuit lies on a device, the error of each gate used, and how long each qubit idles.

    The picture has the device's map, the part in use by its errors, and the gates over time.

    Example: qhq circuit layout latest --isa fake_fez --output layout.svg
    """
    with command(as_json=json, debug=debug) as output:
        from qhq.backends.registry import place_on

        placement = place_on(_build(name, qubits, depth, None), isa)
        wrote = []
        if out is not None:
            from qhq.report.device_figures import draw_placement
            from qhq.report.figures import save_figure

            save_figure(draw_placement(placement), out)
            wrote = [f"Wrote {out}"]
        facts = {
            "name": name, "backend": isa, "depth": placement.depth, "depth_2q": placement.depth_2q,
            "seconds": placement.seconds, "without_error": placement.without_error,
            "qubits": [asdict(each) for each in placement.qubits],
            "gates": [asdict(each) for each in placement.kinds],
            **({} if out is None else {"path": str(out)}),
        }  # fmt: skip
        lasts = f"{placement.seconds * 1e9:,.0f} ns"
        said = f"Depth {placement.depth}, {placement.depth_2q} of two-qubit gates, {lasts}"
        if placement.without_error is not None:
            said += f"; no gate and no readout errs in {100 * placement.without_error:.1f} % of the shots"
        output.result(facts, f"{said}.", _qubit_table(placement), _gate_table(placement), *wrote)


def _qubit_table(placement: Placement) -> Table:
    rows = [
        [
            each.qubit, "" if each.logical is None else each.logical, each.gates,
            f"{each.busy_seconds * 1e9:.0f}", f"{each.idle_seconds * 1e9:.0f}",
            _percent(each.readout_error), _microseconds(each.t1_seconds), _microseconds(each.t2_seconds),
        ]
        for each in placement.qubits
    ]  # fmt: skip
    columns = ["qubit", "logical", "gates", "busy ns", "idle ns", "readout error", "T1 us", "T2 us"]
    return plain_table(columns, rows, title="Qubits in use; idle: from the first gate to the readout")


def _gate_table(placement: Placement) -> Table:
    rows = [
        [
            each.name,
            " ".join(map(str, each.qubits)),
            each.times,
            _percent(each.error),
            f"{each.seconds * 1e9:.0f}",
        ]
        for each in placement.kinds
    ]
    return plain_table(["gate", "qubits", "times", "error", "ns"], rows, title="Gates used, by qubits")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3g} %"


def _microseconds(value: float | None) -> str:
    return "-" if value is None else f"{value * 1e6:.0f}"


@app.command()
def export(
    name: _Name,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            "--to",
            help="qasm3, qasm2, qpy, python (a script of plain Qiskit) or torch (a run whole).",
        ),
    ] = "qasm3",
    values: Annotated[
        str | None,
        typer.Option("--values", help="Inputs, then weights, separated by commas; qasm2 needs them."),
    ] = None,
    out: _Out = None,
    qubits: _Qubits = None,
    depth: _Depth = None,
    isa: _Isa = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Export an ansatz to OpenQASM, QPY or a script; text goes to the terminal without --output.

    Of a run, ``--to python`` has the trained weights, and ``--to torch`` the whole model, scaler and all. The
    scripts need no qhq.

    Example: qhq circuit export RUN --to torch --output model.py
    """
    with command(as_json=json, debug=debug) as output:
        from qhq.ansatz.export import export as export_ansatz
        from qhq.ansatz.export import export_circuit

        if form in _SCRIPTS:
            text = _script(name, form, _numbers(values), qubits, depth, isa)
            if out is not None:
                from qhq.files import write_atomically
                from qhq.runs.run_folder import writable

                with writable(out):
                    write_atomically(out, text)
                output.result({"name": name, "format": form, "path": str(out)}, f"Wrote {out}")
            else:
                output.result({"name": name, "format": form, "text": text}, Verbatim(text.rstrip()))
            return
        ansatz, numbers = _build(name, qubits, depth, isa), _numbers(values)
        if out is not None:
            export_circuit(ansatz, out, form, numbers)
            output.result({"name": name, "format": form, "path": str(out)}, f"Wrote {out}")
        elif form == "qpy":
            raise ConfigError(
                "QPY is binary and must go to a file", got="no --output", fix=f"Add --output {name}.qpy"
            )
        else:
            text = export_ansatz(ansatz, form, numbers).decode()
            output.result({"name": name, "format": form, "text": text}, Verbatim(text.rstrip()))


@app.command()
def info(
    name: _Name,
    qubits: _Qubits = None,
    depth: _Depth = None,
    isa: _Isa = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Measure gradients, states, spectrum, capacity and sensitivity.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of what --deep draws.")] = 0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Count an ansatz: qubits, inputs, weights, depth, gates; with --deep measure what it can do."""
    with command(as_json=json, debug=debug) as output:
        from qhq.ansatz.program import count_facts

        ansatz = _build(name, qubits, depth, isa)
        facts = {"name": name, **asdict(count_facts(ansatz)), "angle_scaling": ansatz.angle_scaling}
        gates = ", ".join(f"{gate} {count}" for gate, count in facts["gates"].items())
        if ansatz.num_resets:
            from qhq.backends.local.statevector import exact_form

            facts["resets"], facts["exact_engine"] = ansatz.num_resets, exact_form(ansatz)
        cells = [[key.replace("_", " "), value] for key, value in {**facts, "gates": gates}.items()]
        tables = [plain_table(["", ""], cells)]
        if deep:
            # What a device would run has one width, that of its layout: no family to scale.
            # A run's circuit may be of a file that has changed since.
            family = None if isa or _run_of(name) else lambda width: _build(name, width, depth, None)
            facts["deep"], table = _deep_facts(ansatz, family, seed)
            tables.append(table)
        output.result(facts, *tables)


_SCRIPTS = ("python", "torch")


def _script(
    name: str, form: str, values: list[float] | None, qubits: int | None, depth: int | None, isa: str | None
) -> str:
    """A script that needs no qhq; weights are those of the run, or ``--values``."""
    folder = _run_of(name)
    if form == "torch":
        if folder is None or isa or values is not None:
            raise ConfigError(
                "--to torch must be of a run as it was trained",
                got=f"{name}{' with --isa' if isa else ' with --values' if values is not None else ''}",
                fix="Name a run alone, or take --to python for a circuit",
            )
        from qhq.experiment.torch_script import torch_script

        return torch_script(folder)
    from qhq import __version__
    from qhq.ansatz.script import to_python

    weights = _trained(folder) if folder is not None and values is None else values
    title = f"Circuit of run {folder.name}" if folder else f"Circuit {name}"
    return to_python(_build(name, qubits, depth, isa), weights, title=title, version=__version__)


def _trained(folder: RunFolder) -> list[float] | None:
    """Trained weights of a run's circuit; None of one that is not finished, or that has none of that name."""
    if not folder.weights.is_file():
        return None
    from qhq.training.checkpoint import read_weights

    found = read_weights(folder.weights).get("quantum.weight")
    return None if found is None else [float(value) for value in found]


def _run_of(name: str) -> RunFolder | None:
    """The run of that name; an ansatz of the same name comes first.

    Raises:
        ConfigError: If a name without a path is that of neither.
    """
    from qhq.ansatz.spec import is_path, list_ansaetze
    from qhq.errors import nearest
    from qhq.runs.run_folder import find_run, refers_to_run

    known = list_ansaetze()
    if name in known:
        return None
    if refers_to_run(name):
        return find_run(name)
    if is_path(name) or Path(name).is_file():
        return None
    raise ConfigError(
        "The circuit must be an ansatz in circuits/, the path of a YAML file, or a run",
        got=f"'{name}'",
        fix=f"{nearest(name, known)}; 'qhq compare' lists the runs",
    )


def _build(name: str, qubits: int | None, depth: int | None, isa: str | None) -> Ansatz:
    from qhq.ansatz.assemble import build
    from qhq.ansatz.spec import load_ansatz

    sizes = {key: value for key, value in {"qubits": qubits, "depth": depth}.items() if value is not None}
    folder = _run_of(name)
    if folder is None:
        ansatz = build(load_ansatz(name, sizes))
    elif sizes:
        raise ConfigError(
            "The circuit of a run must be taken as it ran",
            got=f"--{next(iter(sizes))} with run {folder.name}",
            fix="Leave --qubits and --depth out, or name the ansatz",
        )
    else:
        from qhq.ansatz.stored import load_built

        ansatz = load_built(folder.circuit)
    if isa is None:
        return ansatz
    from qhq.backends.registry import as_run

    written, layout = as_run(ansatz, isa)
    places = ", ".join(f"{logical} from {physical}" for logical, physical in enumerate(layout))
    typer.echo(f"On {isa}, logical qubits are read from physical ones: {places}.", err=True)
    return written


def _numbers(values: str | None) -> list[float] | None:
    if values is None:
        return None
    try:
        return [float(value) for value in values.split(",")]
    except ValueError as error:
        raise ConfigError(
            "--values must be numbers separated by commas", got=f"'{values}'", fix="Write for example 0.1,0.2"
        ) from error


# What takes longer shows a bar.
_PATIENCE_SECONDS = 2.0


class LateProgress(StudyProgress):
    """A bar that appears only when the work takes long."""

    def __init__(self) -> None:
        super().__init__()
        self._due = time.monotonic() + _PATIENCE_SECONDS

    def __enter__(self) -> LateProgress:
        return self

    def step(self, done: int, total: int, what: str) -> None:
        """Move the bar, once it is due."""
        if time.monotonic() > self._due:
            self.bar.start()
        super().step(done, total, what)


def _deep_facts(
    ansatz: Ansatz, family: Callable[[int], Ansatz] | None, seed: int
) -> tuple[dict[str, object], Table]:
    """Measure an ansatz: one JSON object, and a table for people.

    Args:
        ansatz: The circuit.
        family: Qubits -> the same circuit at that width; None if it has only its own.
        seed: Where all that is drawn comes from.
    """
    from qhq.diagnostics.overview import look_deep, read_overview

    with LateProgress() as progress:
        overview = look_deep(ansatz, family, seed=seed, progress=progress.step)
    readings = read_overview(overview)
    facts = {**asdict(overview), "seed": seed, "readings": [asdict(each) for each in readings]}
    rows = [[each.name, each.figure, each.beside, each.verdict, each.says] for each in readings]
    title = "At random inputs and weights, with 95 % intervals"
    return facts, plain_table(["", "measured", "beside", "", "which says"], rows, title=title)
