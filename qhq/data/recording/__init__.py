"""Recording option chains day by day: expired contracts cannot be had afterwards.

`recorder` fetches the chains of today and says when to come again, `store` adds them to the panel on disk and
reads it back.
"""
