"""From a config to windows, a fitted scaler and the fingerprint of the values used.

Which split fits the scalers and which one selects the model is for the protocol to say
(``qhq.data.protocol``). Data that a run was not made from are prepared by ``qhq.data.prepare_other``; what
must be said of them (`OtherData`) stands here, as prepared data carry it.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

from qhq.data.caveat import NO_CAVEAT, Caveat
from qhq.data.columns import unit_of
from qhq.data.load import load_panel
from qhq.data.panel import Panel
from qhq.data.protocol import protocol_of
from qhq.data.quarantine import NOTHING_ASIDE, Quarantine, RowDoubt, tell_rows
from qhq.data.scaling.affine import Scaler
from qhq.data.scaling.fit import StaticScaler, check_scalable, fit_scaler, fit_static
from qhq.data.spec import DEFAULT, SCALINGS, DataSpec
from qhq.data.split import Split, Splits, split_panel
from qhq.data.windows import Windows, arrange_rows
from qhq.errors import ConfigError, DataError

# Scaled targets that differ by less are one value and rounding errors.
_LEAST_SPREAD = 1e-9


@dataclass(frozen=True, eq=False)
class PreparedData:
    """All that training and evaluation need of the data.

    Attributes:
        splits: Rows and windows of each split.
        validation: Windows that early stopping looks at: of the validation split, unless a published
            protocol is followed that took others.
        scaler: Fitted on the training split, with the same exception.
        static: Scaler of the static features, fitted likewise; None without any.
        fingerprint: sha256 of symbols, columns, dates and values, as hex.
        quarantine: Rows that were set aside.
        doubts: How the rows may have been misread.
        span: Dates of the oldest and the newest row.
        caveat: What every output of it must say.
        other: What is to be said of it where it is not the data that the run was made from.
        notes: What a user should know of how a file was read.
        panel: All rows as they were laid out, of data that a run is made from.
    """

    splits: Splits
    validation: Windows
    scaler: Scaler
    static: StaticScaler | None
    fingerprint: str
    span: tuple[np.datetime64, np.datetime64]
    caveat: Caveat = NO_CAVEAT
    quarantine: Quarantine = NOTHING_ASIDE
    doubts: tuple[RowDoubt, ...] = ()
    other: OtherData | None = None
    notes: tuple[str, ...] = ()
    panel: Panel | None = None

    @property
    def train(self) -> Windows:
        """Windows of the training split."""
        return self.splits.train.windows

    @property
    def test(self) -> Windows:
        """Windows of the test split."""
        return self.splits.test.windows


def prepare(spec: DataSpec, panel: Panel | None = None) -> PreparedData:
    """Load, check, lay out, split, cut and fit.

    Args:
        spec: What is asked for.
        panel: What `load_panel` gave for it, where that is at hand.

    Raises:
        DataError: If the data cannot be read, breaks a rule, or is too short for the config.
    """
    panel = load_panel(spec) if panel is None else panel
    laid_out = arrange_rows(panel, spec)
    splits = split_panel(laid_out, spec)
    for split in (splits.train, splits.validation, splits.test):
        # A block of a walk-forward may be a few sessions, in which a price may well stand still.
        check_targets(split, moving=split.kind == "train" or spec.split.scheme == "single")
        check_scalable(spec.scaling, split)
    protocol = protocol_of(spec)
    seen = protocol.scaled_by(laid_out, splits)
    static = fit_static(spec.default_scaling, seen) if spec.static else None
    in_use, scaler = protocol.in_scale(laid_out, fit_scaler(spec.scaling, seen))
    splits = splits if in_use is laid_out else split_panel(in_use, spec)
    _check_scaler(scaler, splits)
    prepared = assemble(panel, splits, spec, scaler, static)
    return replace(prepared, notes=panel.notes, panel=in_use)


def check_one_scale(spec: DataSpec) -> None:
    """Refuse folds whose values could not be put together.

    Raises:
        ConfigError: If a leak gives each fold a scale of its own.
    """
    if not protocol_of(spec).keeps_values:
        raise ConfigError(
            "The folds of a walk-forward must have one scale to be put together",
            got="leak last_symbol_inverts, which gives each fold a scale of its own",
            fix="Name one fold with data.split.fold, or leave the leak out",
        )


def assemble(
    panel: Panel, splits: Splits, spec: DataSpec, scaler: Scaler, static: StaticScaler | None
) -> PreparedData:
    """Put splits and their scalers together under the protocol of a spec, for a run's own data or other."""
    protocol = protocol_of(spec)
    return PreparedData(
        splits,
        protocol.chosen_by(splits),
        scaler,
        static,
        panel_fingerprint(panel),
        (panel.dates.min(), panel.dates.max()),
        caveat=protocol.caveat,
        quarantine=panel.quarantine,
        doubts=panel.doubts,
    )


def _check_scaler(scaler: Scaler, splits: Splits) -> None:
    """Refuse here, not after a training, what cannot be scaled or leaves nothing to learn."""
    for split in (splits.validation, splits.test):
        # Called for what it refuses, such as a symbol that training has not; one window shows it.
        scaler.inputs(split.windows.select(slice(1)))
    targets = scaler.targets(splits.train.windows)
    spread = np.ptp(targets[np.isfinite(targets)]) if np.isfinite(targets).any() else 0.0
    if spread <= _LEAST_SPREAD:
        raise DataError(
            f"Scaled targets must vary in training (data.scaling {scaler.kind})",
            got="one value in all windows",
            fix="Choose another data.scaling: under this one there is nothing to learn",
        )


def check_targets(split: Split, *, moving: bool = True) -> None:
    """Refuse what has no skill to be measured, before hours go into training.

    Args:
        split: The split to be looked at.
        moving: Whether every group must move; a few new sessions need not.

    Raises:
        DataError: If a target is zero, or does not move.
    """
    windows = split.windows
    zero = _is_zero_price(windows)
    moves = (windows.targets[:, 0] != windows.last).any(axis=1)
    for group in np.unique(windows.group):
        own = windows.group == group
        if zero[own].any() or (moving and not moves[own].any()):
            raise DataError(
                "A target must not be zero, and must move in every split",
                got=f"{'zero' if zero[own].any() else 'one value only'} for {group} in the {split.kind}"
                " split",
                fix=f"Choose other data.targets, drop {group} or change data.split",
            )


def _is_zero_price(windows: Windows) -> npt.NDArray[np.bool_]:
    """Whether a target with an error in percent is zero, shape (N,); an option may be worth nothing."""
    in_percent = [unit_of(name) in ("price", "shares") for name in windows.cut.targets]
    if windows.panel.groups:
        in_percent = [False] * len(in_percent)
    return np.asarray((windows.targets[:, :, in_percent] == 0).any(axis=(1, 2)))


def panel_fingerprint(panel: Panel) -> str:
    """Name the content of a panel: sha256, as hex; the same on every machine."""
    digest = hashlib.sha256(repr((panel.symbols, panel.columns)).encode())
    # Little-endian and of 64 bits, whatever the machine has: np.intp is of 32 bits on some.
    for array in (panel.code.astype("<i8"), panel.dates.astype("datetime64[D]").astype("<i8")):
        digest.update(array.tobytes())
    digest.update(np.ascontiguousarray(panel.values, dtype="<f8").tobytes())
    # Sessions without a row decide which rows are neighbours. A panel that misses none is named as ever.
    digest.update(panel.missed.astype("datetime64[D]").astype("<i8").tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Overlap:
    """How the other data overlap with the run's own.

    Attributes:
        sessions: Sessions of the other data inside the run's ``train``, ``validation`` and ``test`` split.
        compared: Values that both have.
        revised: Those of them that are not the same, beyond a common factor.
        example: The first of these, for people.
        factors: Common factor of a symbol's prices to those of the run, where it is not 1.
    """

    sessions: dict[str, int]
    compared: int
    revised: int
    example: str
    factors: dict[str, float]


@dataclass(frozen=True)
class OtherData:
    """What an evaluation on other data says of it.

    Attributes:
        origin: The file, or the name of the source.
        spec: The data config with what was asked for.
        fingerprint: Of its rows.
        first: Its oldest row.
        last: Its newest row.
        since: Where the evaluated targets begin, and ``until`` where they end.
        windows: How many are evaluated.
        overlap: What it shares with the run's own data.
        seen_sessions: Evaluated sessions that lie in the run's training or validation split.
        same: Whether the rows are the run's own after all, and only other dates of them are evaluated.
        quarantine: Its rows that were set aside.
        doubts: How others may have been misread.
        read: How its file was read, where that had to be found out.
    """

    origin: str
    spec: DataSpec
    fingerprint: str
    first: str
    last: str
    since: str
    until: str
    windows: int
    overlap: Overlap
    seen_sessions: int
    same: bool
    quarantine: Quarantine
    doubts: tuple[RowDoubt, ...]
    read: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """As plain JSON."""
        return {
            "source": self.spec.source,
            "path": self.spec.path,
            "symbols": None if self.spec.symbols is None else list(self.spec.symbols),
            "same_rows": self.same,
            "fingerprint": self.fingerprint,
            "first": self.first,
            "last": self.last,
            "from": self.since,
            "to": self.until,
            "windows": self.windows,
            "seen_sessions": self.seen_sessions,
            "overlap": {
                "sessions": self.overlap.sessions,
                "compared": self.overlap.compared,
                "revised": self.overlap.revised,
                "factors": self.overlap.factors,
            },
            "quarantine": self.quarantine.to_dict(),
            "doubts": [asdict(doubt) for doubt in self.doubts],
            "notes": self.notes(),
        }

    def notes(self) -> list[str]:
        """What a reader of the results must know, a sentence or more each, without the last full stop."""
        left = self.overlap.sessions["train"] + self.overlap.sessions["validation"]
        if left and not self.seen_sessions:
            said = f"{left} sessions lie in the run's training and validation splits: not evaluated"
            return [said, *self.row_notes()]
        return self.row_notes()

    def row_notes(self) -> list[str]:
        """What is to be known of the rows, and of those among them that the run has seen."""
        overlap, notes = self.overlap, []
        if self.seen_sessions:
            notes.append(
                f"Warning: {self.seen_sessions} evaluated sessions lie in the run's training or validation"
                " split: these errors are too low"
            )
        if overlap.revised:
            notes.append(
                f"{overlap.revised} of {overlap.compared} values shared with the run's data were revised,"
                f" {overlap.example}"
            )
        harmless = "does not depend on it" if is_unit_free(self.spec) else "was fitted on the old ones"
        for symbol, factor in overlap.factors.items():
            notes.append(
                f"Prices of {symbol} are {factor:.6g} times those of the run (a split, a dividend or another"
                f" unit since); scaling '{say_scaling(self.spec)}' {harmless}"
            )
        notes += [each.removesuffix(".") for each in tell_rows(self.quarantine, self.doubts, self.read)]
        return notes


def is_unit_free(spec: DataSpec) -> bool:
    """Whether a model of a config does not notice that all prices were multiplied by one number."""
    kinds = [kind for name, kind in spec.scalings.items() if unit_of(name) == "price"]
    return all(SCALINGS[kind].unit_free for kind in kinds)


def say_scaling(spec: DataSpec) -> str:
    """Name the scaling of a config for people: one kind, or each for its columns.

    >>> say_scaling(DataSpec(features=("adj_close", "volume"), scaling={"volume": "log_standard"}))
    'window, log_standard of volume'
    """
    if isinstance(spec.scaling, str):
        return spec.scaling
    own = [f"{kind} of {name}" for name, kind in spec.scaling.items() if name != DEFAULT]
    return ", ".join([spec.default_scaling, *own])
