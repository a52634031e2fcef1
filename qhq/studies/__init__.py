"""Studies: many measurements for one question.

`portability` evaluates a checkpoint on backend after backend, `noise` against noise strength and shots;
`ablation` asks whether the quantum layer earns its place, `sweep` searches. All of them have their cells
measured by `runner`.
"""
