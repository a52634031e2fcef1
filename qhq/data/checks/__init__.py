"""The border: a table becomes a panel, or an error that names the rule, the row and what to do.

`tables` finds the columns and reads the cells (`marks`, what vendors write into them), `draft` says what a
rule and a finding are and sets rows aside. `stocks` and `options` put it together for each panel, with the
rules of the first and `option_rules` and `option_units` of the second. `doubts` and `option_doubts` break no
rule; `breaches` lists every broken rule and the doubts beside them.
"""
