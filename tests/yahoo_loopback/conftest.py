"""The fixture of the service, for its own tests."""

from .fixtures import yahoo_loopback

__all__ = ["yahoo_loopback"]
