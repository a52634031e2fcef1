"""Recording option chains day by day: expired contracts cannot be had afterwards.

`recorder` fetches the chains of today, `store` adds them to the panel on disk, of which `session_file` reads
and writes one file, `schedule` says when to come again.
"""
