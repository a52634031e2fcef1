"""Run the benchmarks: ``python -m benchmarks [--only NAME ...] [--quick] [--json PATH] [--docs]``.

With ``--only`` and ``--docs`` the tables of these benchmarks are refreshed, and the rest of the page stays.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from benchmarks.child import BENCHES, run_bench
from benchmarks.machine import describe_machine
from benchmarks.page import refresh_page, write_page
from benchmarks.table import Table, rich_table, target_table


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="qhq beside other libraries.")
    parser.add_argument("--only", nargs="+", choices=BENCHES, metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--quick", action="store_true", help="few cells, short runs: under two minutes")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all numbers there")
    parser.add_argument(
        "--docs", action="store_true", help="write docs/benchmarks.md, or with --only its tables"
    )
    options = parser.parse_args(arguments)
    if options.docs and options.quick:
        parser.error("--docs must be a full run; leave --quick out")
    return options


def report_of(name: str) -> ModuleType:
    """The module that holds ``tables`` and ``targets`` of a benchmark."""
    return import_module("benchmarks.peers_report" if name == "peers" else f"benchmarks.{name}")


def all_tables(results: dict[str, Any]) -> list[Table]:
    """Targets first, then the tables of every benchmark."""
    made = [target for name, result in results.items() for target in report_of(name).targets(result)]
    tables = [table for name, result in results.items() for table in report_of(name).tables(result)]
    return [target_table(made), *tables]


def main(arguments: list[str]) -> None:
    """Measure, show, write."""
    options = parse(arguments)
    report: dict[str, Any] = {"machine": describe_machine(), "quick": options.quick, "results": {}}
    for name in options.only or BENCHES:
        print(f"{name} ...", file=sys.stderr)
        report["results"][name] = run_bench(name, quick=options.quick)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    tables = all_tables(report["results"])
    console = Console(width=None if sys.stdout.isatty() else 180)
    for table in tables:
        console.print(rich_table(table))
        console.print()
    if options.docs and options.only:
        refresh_page(report, tables)
    elif options.docs:
        write_page(report, tables)


if __name__ == "__main__":
    main(sys.argv[1:])
