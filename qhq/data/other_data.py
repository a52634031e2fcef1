"""What must be said where the data are not those that a run was made from."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from qhq.data.columns import unit_of
from qhq.data.quarantine import Quarantine, RowDoubt, tell_rows
from qhq.data.spec import DEFAULT, SCALINGS, DataSpec


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
