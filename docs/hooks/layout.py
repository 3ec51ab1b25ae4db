"""The package as it is installed: in a checkout its outer folders lie beside it, where nobody looks for them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority

ROOT = Path(__file__).resolve().parents[2]
OUTER = ("backends", "experiments", "hardware")


@event_priority(100)  # before the reference is looked up
def on_config(config: MkDocsConfig) -> None:
    """Have the API reference read a folder of links that is laid out as ``setup.cfg`` installs it."""
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [_installed().name]


@cache
def _installed() -> tempfile.TemporaryDirectory[str]:
    """It goes when the program ends."""
    folder = tempfile.TemporaryDirectory(prefix="neuro_eq-docs-")
    package = Path(folder.name) / "neuro_eq"
    package.mkdir()
    for entry in [*(ROOT / "neuro_eq").iterdir(), *(ROOT / name for name in OUTER)]:
        (package / entry.name).symlink_to(entry)
    return folder
