"""Experiments: a declared question, its configuration, a run, a figure, and a verdict computed from the results."""
