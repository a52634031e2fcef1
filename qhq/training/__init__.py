"""Training: a plain loop over any module. Read `spec`, `loop`, then `checkpoint`."""
