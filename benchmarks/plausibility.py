"""What the search for leaks measures on honest data and on leaks, beside what it allows.

    python -m benchmarks.plausibility [--seeds 3]

Honest: the largest part of a target's next change that any column explains beyond the target's own past,
over all seeds, and how many doubts were raised. Leaks: the doubt that is raised, its statistic and its
threshold.
"""

import argparse
import warnings

import numpy as np

from qhq.data.plausibility.doubt import BOUNDS
from qhq.data.plausibility.scan import NO_GAIN, Scan
from tests.data.plausibility.panels import days, doubts, frame, joined, prepared, walk
from tests.data.plausibility.test_honest import HONEST
from tests.data.plausibility.test_leaks import BLOCKS, COPIES, FUTURE, WHOLE


def honest_row(make, seed):
    """Doubts of one honest data set, and (part explained, bound) where they are nearest."""
    table, features, keys = make(np.random.default_rng(seed))
    names = tuple(dict.fromkeys((*keys.get("targets", ("close",)), *features)))
    _, parts, spec = prepared(table, *names, **keys)
    scan = Scan([part.windows for part in (parts.train, parts.validation)], spec)
    told = [(0.0, 0.0)]
    for target in scan.targets():
        for column in scan.columns(target.name):
            best = max(scan.gains(target, column), key=lambda gain: gain.share, default=NO_GAIN)
            told.append((best.share, BOUNDS[target.bound].most))
    return doubts(table, *names, **keys), max(told)


def leaks():
    """Name and doubts of each planted leak."""
    for how, make in FUTURE.items():
        rng, tables = np.random.default_rng(11), []
        for symbol in "AB":
            x = walk(rng)
            tables.append(frame(symbol, days(), close=x, tip=np.asarray(make(rng, x))))
        yield f"column: {how}", doubts(joined(*tables), "close", "tip")
    for how, make in COPIES.items():
        rng = np.random.default_rng(11)
        x = walk(rng)
        table = joined(frame("A", days(), close=x), frame("C", days(), close=make(rng, x)))
        yield f"held out: {how}", doubts(table, split={"held_out": ("C",)})
    for how, make in BLOCKS.items():
        x = walk(np.random.default_rng(11))
        yield (
            f"300 prices again: {how}",
            doubts(frame("A", days(), close=np.concatenate([x[:900], make(x[100:400])]))),
        )
    for how, make in WHOLE.items():
        rng = np.random.default_rng(11)
        table = frame("A", days(), close=walk(rng), tip=make(np.cumsum(rng.normal(0.1, 1, 1200))))
        yield f"scaled by all rows: {how}", doubts(table, "close", "tip")


def main():
    asked = argparse.ArgumentParser()
    asked.add_argument("--seeds", type=int, default=3)
    seeds = asked.parse_args().seeds
    warnings.simplefilter("ignore")
    print("| honest data | doubts | explained at most | allowed |\n|---|---|---|---|")
    for make in HONEST:
        rows = [honest_row(make, seed) for seed in range(seeds)]
        most = max(row[1] for row in rows)
        raised = sum(len(row[0]) for row in rows)
        print(f"| {make.__name__.replace('_', ' ')} | {raised} | {most[0]:.3f} | {most[1]:.2f} |")
    print("\n| leak | doubt | statistic | threshold |\n|---|---|---|---|")
    for name, found in leaks():
        for each in found:
            print(f"| {name} | `{each.code}` | {each.statistic:.4g} | {each.threshold:g} |")
        if not found:
            print(f"| {name} | none | | |")


if __name__ == "__main__":
    main()
