"""Studies: one checkpoint, looked at many times.

`portability` evaluates it on backend after backend, `noise` against noise strength and shots; `subset` draws
the windows for either, `cells` keeps what was measured.
"""
