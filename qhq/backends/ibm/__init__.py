"""A device of an IBM Quantum account.

Read ``kind`` (what an entry may say and asks for), ``account``, ``client`` (IBM's service behind plain verbs)
on ``wire`` (IBM's client made harmless; what its errors and results mean, as ``trouble`` and ``results``),
``request`` (what is asked) and ``budget`` (what it will cost), ``opening`` (may it be sent?), then ``parts``,
``journal`` and ``job_runner`` (jobs that survive a crash, ``waiting`` for them), ``jobs`` (listing and
resuming them) and ``executor``, which puts all of it together.
"""
