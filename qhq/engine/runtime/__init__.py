"""The engine as objects: ``statevector`` drives the kernels, in memory of ``workspace``, on ``workers``."""
