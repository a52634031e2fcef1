"""The engine as objects: ``statevector`` drives the kernels, in the memory and on the workers of ``jobs``."""
