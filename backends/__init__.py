"""The engines, one folder each; every one keeps the contract of :mod:`neuro_eq.engine` and :mod:`neuro_eq.relaxing`."""
