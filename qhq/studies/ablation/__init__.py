"""The ablation study: does the quantum layer earn its place?

Read ``study`` first. ``cells`` says what stands beside the hybrid, each an ordinary config, and measures one
of them with one seed; ``verdict`` says whom the hybrid must beat and which pairs are named in advance, tests,
and says what came of it in plain sentences.
"""
