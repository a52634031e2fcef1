"""The fixtures of the service, for its own tests."""

from .fixtures import connect, loopback, no_backoff, noiseless

__all__ = ["connect", "loopback", "no_backoff", "noiseless"]
