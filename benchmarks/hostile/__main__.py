"""``python -m benchmarks.hostile``: all kinds, each case in a process of its own."""

from __future__ import annotations

import argparse
import sys

from benchmarks.hostile import KINDS, attack
from benchmarks.hostile.judge import forget_threads, import_all


def main() -> int:
    """Run all kinds and print what came of them; 1 where there is a fault."""
    parser = argparse.ArgumentParser(description="Damaged files, fed to qhq.")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is 1,900 cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, action="append", help="all if left out; may be repeated")
    parser.add_argument("--case", type=int, help="this case alone, to see a fault again")
    asked = parser.parse_args()
    forget_threads()
    import_all()
    faults = 0
    for kind in asked.kind or KINDS:
        count = 1 if asked.case else max(1, round(asked.scale * KINDS[kind][1]))
        tally = attack(kind, count, asked.seed, apart=True, first=asked.case or 1)
        faults += len(tally.faults)
        statuses = dict(sorted(tally.statuses.items(), key=str))
        print(
            f"{kind}, seed {asked.seed}: {tally.cases} cases, exit statuses {statuses},"
            f" {len(tally.faults)} faults, slowest {tally.slowest:.1f} s, peak {tally.peak / 2**30:.2f} GiB",
            flush=True,
        )
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main())
