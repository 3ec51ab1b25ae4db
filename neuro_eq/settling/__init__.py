"""Relaxations on the array API: one driver that judges samples, and one file for how each solver steps."""

from __future__ import annotations

from neuro_eq.settling.driver import ArraySettling

__all__ = ["ArraySettling"]
