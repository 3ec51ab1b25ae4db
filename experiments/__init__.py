"""Experiments: a declared question, its configurations, a run, a figure, and a verdict computed from the results."""
