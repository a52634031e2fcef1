"""A device as data and to the transpiler (``calibration``), and programs for it (``isa``)."""
