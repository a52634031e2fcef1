"""A loopback IBM Quantum service: the unmodified ``qiskit_ibm_runtime`` client talks to it on 127.0.0.1.

Read in this order: `faults` (what can go wrong, as a table), `identity` (tokens), `devices` (fake devices as
the service's JSON), `ledger` (jobs in SQLite, and what was received), `reading` (what a submission asks for),
`cut`, `lone` and `execute` (how a job is really run), `service` (the state and its verbs), `routes` and
`server` (HTTP), `remote` (the same verbs from another process), `fixtures` (what a test imports).
``python -m tests.loopback`` is the service as a process of its own.
"""
