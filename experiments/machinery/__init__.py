"""What every experiment shares: its shape, where results lie, how many are run, and how they are read."""
