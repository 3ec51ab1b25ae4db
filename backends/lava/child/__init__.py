"""The part that runs under Lava's own interpreter; it needs the standard library, NumPy 1.26 and Lava alone.

Started as `python -m child.server PREFIX` from the folder above this one, so that nothing else of neuro_eq
is imported. The parent imports only `wire` from here.
"""
