"""The border: a table becomes a panel, or an error that names the rule, the row and what to do.

`headers` finds the columns, `cells` reads them, `rules` and `option_rules` say what must hold; `stocks` and
`options` put it together for each panel. `breaches` lists every broken rule, and the `doubts` beside them.
"""
