"""The user's own folder of data sets, named by an environment variable."""

from __future__ import annotations

import os
from pathlib import Path

from neuro_eq.errors import DataError

FOLDER_VARIABLE = "NEURO_EQ_DATA"
"""Environment variable that names a folder with ``mnist/``, ``fashion-mnist/``, ``sst2/`` and ``cifar10.npz``."""


def own_place(name: str, entry: str) -> Path | None:
    """Where the user keeps a data set, or None where the user keeps none.

    Args:
        name: of the data set, for the message.
        entry: its folder or file in the user's folder.

    Raises:
        DataError: the variable names no folder.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if not named:
        return None
    root = Path(named).expanduser()
    if not root.is_dir():
        raise DataError(f"{FOLDER_VARIABLE}: must name a folder with {entry} in it, found {named!r}, which is none")
    # A folder with one data set in it says nothing about the others, which may still come from the network.
    place = root / entry
    return place if place.exists() else None


def own_files(name: str, folder: str, files: tuple[str, ...]) -> dict[str, Path] | None:
    """A data set's files in the user's folder, all of them, or None where the user keeps none.

    Raises:
        DataError: the folder is there and one of its files is not.
    """
    own = own_place(name, f"{folder}/")
    if own is None or not own.is_dir():
        return None
    found = {file: own / file for file in files}
    for file, path in found.items():
        if not path.is_file():
            raise DataError(f"{name}: {FOLDER_VARIABLE} has no {file}; put it into {own}")
    return found
