"""Without a device: the exact engine, and Aer without noise, exact or sampled."""
