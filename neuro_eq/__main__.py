"""``python -m neuro_eq``."""

from neuro_eq.cli.main import main

main()
