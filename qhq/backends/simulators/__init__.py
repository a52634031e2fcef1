"""Simulators without noise: ``statevector`` (the exact engine), ``aer``, and ``sampling`` for its shots."""
