"""The ablation study: does the quantum layer earn its place?

Read ``study`` first. ``variants`` says what stands beside the hybrid, each an ordinary config; ``cell``
measures one of them with one seed, ``life`` whether its circuit does anything, ``pool`` many of them at once;
``rivals`` says whom the hybrid must beat and which pairs are named in advance, ``table`` sums up and tests,
``verdict`` says it in plain sentences; ``controls`` does all of it on data whose answer is known.
"""
