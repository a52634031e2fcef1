"""The fixture of the service, for the tests of this package."""

from tests.yahoo_loopback.fixtures import yahoo_loopback

__all__ = ["yahoo_loopback"]
