"""Training as experiments want it: with twins, nudges that change, and diagnostics that explain what happened."""
