"""The package as it is installed: in a checkout its outer folders lie beside it, where nobody looks for them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority

OUTER = ("backends", "experiments", "hardware")
_made: list[tempfile.TemporaryDirectory[str]] = []


@event_priority(100)  # before the reference is looked up
def on_config(config: MkDocsConfig) -> None:
    """Have the API reference read a folder of links that is laid out as ``setup.cfg`` installs it."""
    root = Path(config.config_file_path).parent
    folder = tempfile.TemporaryDirectory(prefix="neuro_eq-docs-")
    _made.append(folder)  # it goes when the program ends
    package = Path(folder.name) / "neuro_eq"
    package.mkdir()
    for entry in [*(root / "neuro_eq").iterdir(), *(root / name for name in OUTER)]:
        (package / entry.name).symlink_to(entry)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [folder.name]
