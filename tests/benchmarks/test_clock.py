from benchmarks.clock import medians, race


def test_steps_take_turns_and_each_runs_often_enough():
    calls = []
    steps = {name: lambda name=name: calls.append(name) or sum(range(300_000)) for name in "ab"}
    taken = race(steps, seconds=0.0, least=7)
    assert all(len(times) >= 7 for times in taken.values())
    assert calls.index("b") < len(calls) - calls[::-1].index("a")  # a again after b


def test_median_of_each():
    assert medians({"a": [3.0, 1.0, 2.0], "b": [1.0]}) == {"a": 2.0, "b": 1.0}
