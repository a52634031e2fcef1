"""A circuit on a device: the map with what is used of it, by its errors, and when each qubit is at work.

Drawn from a `Placement`, which is data: no device is asked, and nothing is drawn at random.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from qhq.backends.devices.placement import Placement, QubitUse

Coupler = tuple[int, int]
Points = NDArray[np.float64]

_UNUSED, _EDGE, _INK = "#dddddd", "#bbbbbb", "#111111"
_MAP = colormaps["viridis_r"]
_ONE, _TWO, _IDLE = "#7fb2e5", "#5b3a96", "#f3c79b"


# Qubits of a device that is drawn once, with all of its numbers.
_SMALL = 30

_WIDTH, _ROW = 9.6, 0.3
"""In inches: of the figure, and of a qubit in the timeline."""


def draw_placement(placement: Placement) -> Figure:
    """The device's map, its part in use with the errors on it, and the timeline of the qubits in use.

    Args:
        placement: From `qhq.backends.registry.place_on`.
    """
    places, norm = lay_out_map(placement.num_qubits, placement.coupling), _norm(placement)
    # A small device needs no part of itself, and a large one no errors on all of its qubits.
    small = placement.num_qubits <= _SMALL
    shown = list(range(placement.num_qubits)) if small else _near(placement)
    unit, part_tall = _fitting(places[shown], 1.15)
    whole_tall = 0.0 if small else _fitting(places, 0.55)[1]
    timeline = _ROW * len(placement.qubits) + 0.2
    tall = whole_tall + part_tall + timeline + 1.95
    figure = Figure(figsize=(_WIDTH, tall))

    def axes_at(top: float, height: float, left: float = 0.3, width: float = _WIDTH - 0.6) -> Axes:
        box = (left / _WIDTH, (tall - top - height) / tall, width / _WIDTH, height / tall)
        axes: Axes = figure.add_axes(box)
        return axes

    if not small:
        _draw_whole(axes_at(0.3, whole_tall), placement, places)
    top = whole_tall + 0.65
    part = axes_at(top, part_tall, width=_MAP_WIDE)
    _draw_part(part, placement, places, norm, shown, with_text=unit >= _READABLE)
    if any(each.error for each in placement.uses):
        bar_tall = min(part_tall, 3.0)
        bar = axes_at(top + (part_tall - bar_tall) / 2, bar_tall, left=_WIDTH - 1.0, width=0.16)
        figure.colorbar(ScalarMappable(norm, _MAP), cax=bar)
        bar.set_ylabel("error", fontsize=8)
        bar.tick_params(labelsize=7.5)
        bar.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        bar.yaxis.set_major_formatter(FuncFormatter(_percent))
        bar.yaxis.set_minor_locator(NullLocator())
    _draw_times(axes_at(tall - timeline - 0.85, timeline, left=1.0, width=_WIDTH - 1.3), placement)
    return figure


_MAP_WIDE, _MOST_TALL, _MARGIN = _WIDTH - 1.6, 6.5, 0.6
# Inches between two qubits from which on errors are written beside them, and not only in the table.
_READABLE = 0.85


def _percent(value: float, _: int | None = None) -> str:
    return f"{100 * value:.2g} %"


def _fitting(places: Points, most: float) -> tuple[float, float]:
    """Inches of a step on the map, at most ``most``, and how tall the map then is."""
    wide, tall = np.ptp(places, axis=0) + 2 * _MARGIN
    unit = min(most, _MAP_WIDE / wide, _MOST_TALL / tall)
    return float(unit), float(unit * tall)


def _near(placement: Placement) -> list[int]:
    """Qubits in use and their neighbours."""
    used = {each.qubit for each in placement.qubits}
    pairs = (pair for pair in placement.coupling if set(pair) & used)
    return sorted(used | {qubit for pair in pairs for qubit in pair})


def _norm(placement: Placement) -> LogNorm:
    """Colours of errors: those of gates of two qubits and of readouts, which are a hundred times apart."""
    known = [each.error for each in placement.kinds if len(each.qubits) > 1 and each.error]
    known += [each.readout_error for each in placement.qubits if each.readout_error]
    low, high = (min(known), max(known)) if known else (1e-3, 1e-1)
    return LogNorm(low / 1.2, high * 1.2)


def _pairs_used(placement: Placement) -> dict[Coupler, tuple[float | None, int]]:
    """Pairs of qubits with gates between them: the largest error of these, and how often they are used."""
    found: dict[Coupler, tuple[float | None, int]] = {}
    for each in placement.kinds:
        if len(each.qubits) == 2:
            pair = (min(each.qubits), max(each.qubits))
            error, times = found.get(pair, (None, 0))
            worst = max((one for one in (error, each.error) if one is not None), default=None)
            found[pair] = (worst, times + each.times)
    return found


def _draw_whole(axes: Axes, placement: Placement, places: Points) -> None:
    used = [each.qubit for each in placement.qubits]
    _lines(axes, placement.coupling, places, _EDGE, 1.2)
    _lines(axes, list(_pairs_used(placement)), places, _TWO, 3.0)
    for qubit, (x, y) in enumerate(places.tolist()):
        face, ink = (_TWO, "#ffffff") if qubit in used else (_UNUSED, "#444444")
        axes.scatter([x], [y], s=110, color=face, edgecolors=_EDGE, linewidths=0.6, zorder=4)
        axes.text(x, y, str(qubit), fontsize=5, ha="center", va="center", zorder=5, color=ink)
    _framed(axes, places, _say_device(placement))


def _say_device(placement: Placement) -> str:
    return f"{placement.device}: {placement.num_qubits} qubits, {len(placement.qubits)} in use"


def _lines(axes: Axes, pairs: Sequence[Coupler], places: Points, colour: str, width: float) -> None:
    lines = [places[list(pair)] for pair in pairs]
    axes.add_collection(LineCollection(lines, colors=colour, linewidths=width, zorder=2))


def _draw_part(
    axes: Axes, placement: Placement, places: Points, norm: LogNorm, shown: Sequence[int], *, with_text: bool
) -> None:
    """Some qubits, those in use in the colours of their errors."""
    used, pairs = {each.qubit: each for each in placement.qubits}, _pairs_used(placement)
    inside = set(shown)
    _lines(axes, [pair for pair in placement.coupling if set(pair) <= inside], places, _EDGE, 1.2)
    for (one, other), (error, times) in pairs.items():
        ends = places[[one, other]]
        colour = "#888888" if error is None else _MAP(norm(error))
        axes.plot(*ends.T, color=colour, linewidth=6, zorder=2.5, solid_capstyle="butt")
        said = "" if error is None else _percent(error)
        (x, y), (across, down) = ends.mean(axis=0), np.abs(ends[1] - ends[0])
        if with_text and down > across:
            axes.text(x + 0.07, y, f"{said}\n{times}×", fontsize=7.5, ha="left", va="center", zorder=5)
        elif with_text:
            axes.text(x, y - 0.07, f"{said}\n{times}×", fontsize=7.5, ha="center", va="bottom", zorder=5)
    for qubit in shown:
        _draw_qubit(axes, places[qubit], qubit, used.get(qubit), norm, with_text=with_text)
    title = "In use: physical and logical qubit; errors are in the table"
    if with_text:
        title = "In use: physical and logical qubit, readout error; error and uses of gates of two qubits"
    if len(shown) == placement.num_qubits:
        title = f"{_say_device(placement)}\n{title}"
    _framed(axes, places[list(shown)], title)


def _draw_qubit(
    axes: Axes, place: Points, qubit: int, own: QubitUse | None, norm: LogNorm, *, with_text: bool
) -> None:
    x, y = place.tolist()
    error = None if own is None else own.readout_error
    face = _UNUSED if error is None else _MAP(norm(error))
    size = (560 if own else 230) if with_text else (260 if own else 110)
    edge = _EDGE if own is None else _INK
    axes.scatter([x], [y], s=size, color=[face], edgecolors=edge, linewidths=1.0, zorder=3)
    dark = error is not None and norm(error) > _DARK
    said = str(qubit) if own is None or own.logical is None else f"{qubit}\nq{own.logical}"
    axes.text(
        x, y, said, fontsize=7.5 if with_text else 5.5, ha="center", va="center", linespacing=0.95,
        color="#ffffff" if dark else _INK, zorder=4,
    )  # fmt: skip
    if with_text and error is not None:
        # Lower left: lines go to the sides and upright, and their texts stand above and to the right.
        axes.annotate(
            _percent(error), (x, y), xytext=(-8, -9), textcoords="offset points", fontsize=7.5, ha="right",
            va="top", zorder=5,
        )  # fmt: skip


# Place in the colours from which on white letters are read better.
_DARK = 0.45


def _framed(axes: Axes, places: Points, title: str) -> None:
    low, high = places.min(axis=0) - _MARGIN, places.max(axis=0) + _MARGIN
    axes.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal")
    axes.set_axis_off()
    axes.set_title(title, fontsize=9.5)


def _draw_times(axes: Axes, placement: Placement) -> None:
    """A bar a qubit: gates as long as they take, and what is idle from the first of them to the readout."""
    if not placement.seconds:
        axes.set_axis_off()
        axes.set_title("The device is known by parameters, which say no durations", fontsize=9)
        return
    scale, unit = (1e6, "µs") if placement.seconds >= 2e-6 else (1e9, "ns")
    begun: dict[int, float] = {}
    bars: dict[tuple[int, bool], list[tuple[float, float]]] = defaultdict(list)
    for use in placement.uses:
        if use.seconds > 0:
            for qubit in use.qubits:
                begun[qubit] = min(begun.get(qubit, math.inf), use.start)
                bars[qubit, len(use.qubits) > 1].append((use.start * scale, use.seconds * scale))
    for row, each in enumerate(placement.qubits):
        if each.qubit in begun:
            start = begun[each.qubit] * scale
            axes.broken_barh([(start, placement.seconds * scale - start)], (row - 0.32, 0.64), color=_IDLE)
        for two, colour in ((False, _ONE), (True, _TWO)):
            axes.broken_barh(bars[each.qubit, two], (row - 0.32, 0.64), color=colour)
    axes.set(
        yticks=range(len(placement.qubits)), yticklabels=[_name(each) for each in placement.qubits],
        ylim=(len(placement.qubits) - 0.4, -0.6), xlim=(0, placement.seconds * scale or 1.0),
        xlabel=f"time, {unit}; the readout is at the right edge",
    )  # fmt: skip
    axes.tick_params(labelsize=8)
    axes.set_title(f"Depth {placement.depth}, of two-qubit gates {placement.depth_2q}", fontsize=9)
    words = ((_ONE, "gates of one qubit"), (_TWO, "of two"), (_IDLE, "idle after the first gate"))
    tall = _ROW * len(placement.qubits) + 0.2
    axes.legend(
        handles=[Patch(color=colour, label=word) for colour, word in words],
        fontsize=7.5, ncols=3, loc="upper center", frameon=False, bbox_to_anchor=(0.5, -0.42 / tall),
    )  # fmt: skip


def _name(use: QubitUse) -> str:
    return f"{use.qubit}" if use.logical is None else f"{use.qubit} (q{use.logical})"


def lay_out_map(qubits: int, coupling: Sequence[Coupler]) -> Points:
    """Places of a device's qubits, (N, 2), x to the right and y down; neighbours are a step apart.

    Devices number their rows from left to right, so that neighbours of successive numbers are a row, and any
    other pair stands upright. Where that does not come out, places are found by how far apart qubits are.
    """
    rows = _by_rows(qubits, coupling)
    return _by_distance(qubits, coupling) if rows is None else rows


def _by_rows(qubits: int, coupling: Sequence[Coupler]) -> Points | None:
    """By rows of successive numbers; None where two qubits share a place or neighbours are apart."""
    level = {pair for pair in coupling if pair[1] - pair[0] == 1}
    run_of, first = [0] * qubits, [0]
    for qubit in range(1, qubits):
        if (qubit - 1, qubit) not in level:
            first.append(qubit)
        run_of[qubit] = len(first) - 1
    corner: dict[int, tuple[int, int]] = {0: (0, 0)}
    upright = [pair for pair in coupling if pair not in level]
    while len(corner) < len(first):
        before = len(corner)
        for pair in upright:
            for one, other in (pair, pair[::-1]):
                here, there = run_of[one], run_of[other]
                if here in corner and there not in corner:
                    x, y = corner[here]
                    along = x + one - first[here]
                    corner[there] = (along - (other - first[there]), y + (1 if other > one else -1))
        if len(corner) == before:
            return None  # a part that hangs on nothing
    places = np.array(
        [(corner[run][0] + qubit - first[run], corner[run][1]) for qubit, run in enumerate(run_of)], float
    )
    steps = [np.abs(places[one] - places[other]).sum() for one, other in coupling]
    apart = len({tuple(place) for place in places.tolist()}) == qubits
    return places if apart and all(step == 1 for step in steps) else None


_ROUNDS = 300


def _by_distance(qubits: int, coupling: Sequence[Coupler]) -> Points:
    """Places whose distances are those along the map, as nearly as a plane allows (SMACOF from a circle)."""
    distance = np.full((qubits, qubits), np.inf)
    np.fill_diagonal(distance, 0.0)
    for one, other in coupling:
        distance[one, other] = distance[other, one] = 1.0
    for middle in range(qubits):
        distance = np.minimum(distance, distance[:, middle : middle + 1] + distance[middle])
    finite = np.isfinite(distance)
    distance[~finite] = distance[finite].max() + 2.0
    places = _principal(distance)
    weight = 1.0 / np.where(distance > 0, distance, 1.0) ** 2
    np.fill_diagonal(weight, 0.0)
    laplacian = np.diag(weight.sum(axis=1)) - weight
    inverse = np.linalg.pinv(laplacian)
    for _ in range(_ROUNDS):
        apart = places[:, None] - places[None]
        length = np.maximum(np.sqrt((apart**2).sum(axis=2)), 1e-9)
        pull = -weight * distance / length
        np.fill_diagonal(pull, 0.0)
        np.fill_diagonal(pull, -pull.sum(axis=1))
        places = inverse @ (pull @ places)
    found: Points = places
    return found


def _principal(distance: Points) -> Points:
    """A first guess: the two directions in which the map is longest (classical scaling)."""
    count = len(distance)
    if count == 1:
        return np.zeros((1, 2))
    centre = np.eye(count) - 1.0 / count
    values, vectors = np.linalg.eigh(-0.5 * centre @ distance**2 @ centre)
    longest = vectors[:, [-1, -2]] * np.sqrt(np.maximum(values[[-1, -2]], 1e-9))
    # A direction's sign is arbitrary: the first qubit is at the upper left.
    longest *= np.where(longest[0] > 0, -1.0, 1.0)
    found: Points = longest
    return found
