"""``python -m tests.loopback [--port 0] [--state FILE] [--noise none] [--plan open]`` prints its address."""

from __future__ import annotations

import argparse
import signal

from .server import Loopback
from .service import Service


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="tests.loopback")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", default=":memory:")
    parser.add_argument("--noise", choices=["device", "none"], default="device")
    parser.add_argument("--plan", default="open")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    service = Service(given.state, noise=given.noise, seed=given.seed, plan=given.plan)
    print(Loopback(service, port=given.port).start().url, flush=True)  # noqa: T201
    signal.pause()


if __name__ == "__main__":
    main()
