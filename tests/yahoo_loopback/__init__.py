"""A loopback Yahoo Finance: the unmodified ``yfinance`` client talks to it on 127.0.0.1.

Read in this order: `listing` (what was really traded), `market` (the state: listings, a clock, faults, what
was asked), `chart` and `options` (the market as Yahoo's JSON), `server` (HTTP), `fixtures` (what a test
imports). Yahoo's habits are kept: all prices are adjusted for the splits up to the market's own today, a bar
grows until the close, an unknown symbol is a 404 with a reason, options want a crumb.
``python -m tests.yahoo_loopback`` is the service as a process of its own.
"""
