"""Lava Processes and their models; Lava executes every file here to find a model, so each stands alone."""
