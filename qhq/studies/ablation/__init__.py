"""The ablation study: does the quantum layer earn its place?

Read ``study`` first. ``variants`` says what stands beside the hybrid, each an ordinary config; ``cell``
measures one of them with one seed; ``rivals`` says whom the hybrid must beat and which pairs are named in
advance; ``verdict`` sums up, tests and says it in plain sentences.
"""
