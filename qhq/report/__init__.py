"""Report: pictures of a run, drawn from its folder alone; no model is run for them."""
