"""Training: a plain loop over any module. Read `spec`, `loop`, then `history` and `checkpoint`."""
