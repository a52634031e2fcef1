"""A small part of ``python -m benchmarks.hostile``: damaged files are used or refused."""

import pytest

from benchmarks.hostile import KINDS, attack

CASES = [("documents", 40), ("data files", 20), ("circuits", 60), ("run folders", 8), ("journals", 20)]


@pytest.mark.parametrize(("kind", "count"), CASES)
def test_what_is_damaged_is_used_or_refused(kind, count):
    tally = attack(kind, count, seed=7)
    assert tally.cases == count
    assert tally.faults == []
    assert len(tally.statuses) > 1
    assert kind in KINDS
