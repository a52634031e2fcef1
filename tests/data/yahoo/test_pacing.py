"""Pauses, by a clock that only the sleeper moves."""

import numpy as np
import pytest

from qhq.data.yahoo.client import Pacing, PassingError
from qhq.errors import DataError


class Clock:
    def __init__(self):
        self.time, self.slept = 100.0, []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += seconds

    def pacing(self, **changes):
        rng = np.random.default_rng(0)
        return Pacing(clock=lambda: self.time, sleep=self.sleep, rng=rng, **changes)


@pytest.fixture
def clock():
    return Clock()


def failing(times, error=None):
    calls = []

    def ask():
        calls.append(1)
        if len(calls) <= times:
            raise error or PassingError("It must pass", got="a refusal", fix="Wait")
        return len(calls)

    return ask


def test_requests_keep_their_distance(clock):
    pacing, starts = clock.pacing(interval_seconds=2.0), []
    for busy_seconds in (0.5, 5.0, 0.0, 0.0):
        pacing.wait()
        starts.append(clock.time)
        clock.time += busy_seconds
    assert starts == [100.0, 102.0, 107.0, 109.0]


def test_pauses_double_and_are_jittered(clock):
    assert clock.pacing(attempts=6, backoff_seconds=1.0).keep_trying(failing(5)) == 6
    for failures, pause in enumerate(clock.slept):
        assert 0.5 * 2**failures <= pause <= 2**failures
    assert len(set(np.array(clock.slept) / 2.0 ** np.arange(5))) == 5


def test_after_the_last_attempt_it_says_how_often(clock):
    with pytest.raises(DataError, match="It must pass. Got a refusal, 3 times. Wait."):
        clock.pacing(attempts=3).keep_trying(failing(99))
    assert len(clock.slept) == 2


def test_what_will_not_pass_is_not_asked_again(clock):
    with pytest.raises(DataError, match="unknown"):
        clock.pacing().keep_trying(failing(99, DataError("A", got="unknown", fix="B")))
    assert clock.slept == []
