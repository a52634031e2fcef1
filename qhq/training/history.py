"""What happened in each epoch: losses and gradient norms, kept in order and written as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class EpochRecord:
    """One epoch. Losses are in scaled units; gradient norms are L2 norms, averaged over the batches."""

    epoch: int
    train_loss: float
    validation_loss: float
    grad_encoder: float
    grad_circuit: float
    grad_head: float


def history_csv(history: Sequence[EpochRecord]) -> str:
    """Write epochs as CSV text with a header, one row an epoch counted from 1, floats in full precision."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [field.name for field in fields(EpochRecord)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**asdict(record), "epoch": record.epoch + 1} for record in history)
    return stream.getvalue()
