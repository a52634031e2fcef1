"""``python -m tests.yahoo_loopback [--port 0]`` prints its address."""

from __future__ import annotations

import argparse
import signal

from .server import Loopback


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="tests.yahoo_loopback")
    parser.add_argument("--port", type=int, default=0)
    print(Loopback(port=parser.parse_args().port).start().url, flush=True)  # noqa: T201
    signal.pause()


if __name__ == "__main__":
    main()
