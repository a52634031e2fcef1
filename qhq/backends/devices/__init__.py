"""A device as data (``calibration``), to the transpiler (``device``), and programs for it (``isa``)."""
