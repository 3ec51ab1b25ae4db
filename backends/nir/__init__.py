"""Networks for other simulators and chips, in the Neuromorphic Intermediate Representation."""
