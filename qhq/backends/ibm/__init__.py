"""A device of an IBM Quantum account.

Read ``spec`` (what an entry may say), ``account``, ``client`` (the only file that imports IBM's service;
its errors become ``trouble`` in ``errors``), ``options`` and ``budget`` (what it will cost), ``opening``
(may it be sent?), then ``pub_request``, ``journal`` and ``job_runner`` (jobs that survive a crash,
``waiting`` for them), ``jobs`` (listing and resuming) and ``executor``, which puts them together.
"""
