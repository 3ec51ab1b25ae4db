"""From a trained network to a chip: quantised, placed on cores, simulated bit for bit, reported."""
