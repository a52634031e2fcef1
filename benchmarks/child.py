"""Each benchmark runs in a process of its own: ``python -m benchmarks.child NAME RESULT.json [--quick]``.

The process is held to one core and one thread, but for what measures threads, before any heavy import.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.machine import Watch

BENCHES: dict[str, str] = {
    "peers": "one",
    "training_step": "one",
    "seeds": "one",
    "qlstm": "one",
    "noisy_step": "one",
    "obvious_line": "one",
    "scaling": "one",
    "roofline": "one",
    "implied_volatility": "one",
    "option_panel": "one",
    "threads": "all",
    "memory": "all",
    "startup": "all",
}
"""Name of the benchmark (a module) -> the cores it may use."""

ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def run_bench(name: str, *, quick: bool) -> dict[str, Any]:
    """Run a benchmark in a child process; its result, and what others did meanwhile.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.child", name, str(path)]
        environment = {**os.environ, **ONE_THREAD} if BENCHES[name] == "one" else dict(os.environ)
        subprocess.run([*command, *(["--quick"] if quick else [])], env=environment, check=True)
        return json.loads(path.read_text())


def hold_to_one_core() -> None:
    """Pin this process to the last core it may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def main(arguments: list[str]) -> None:
    """Measure and write the result."""
    name, path = arguments[:2]
    if BENCHES[name] == "one":
        hold_to_one_core()
    watch = Watch()
    result = import_module(f"benchmarks.{name}").measure(quick="--quick" in arguments)
    Path(path).write_text(json.dumps({**result, "others_cores": watch.others()}))


if __name__ == "__main__":
    main(sys.argv[1:])
