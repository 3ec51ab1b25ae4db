"""Networks as TOML files, both ways and exactly."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from neuro_eq.atomic import write_text
from neuro_eq.errors import FileError, SpecError
from neuro_eq.frozen import Frozen
from neuro_eq.spec import Network


def to_toml(model: Frozen) -> str:
    """A network or a configuration as TOML; floats keep every bit (shortest round-trip form)."""
    return tomlkit.dumps(_without_none(model.model_dump(mode="json")))


def from_toml(text: str) -> Network:
    """The network that a TOML text describes."""
    return Network(**parse_toml(text))


def digest(spec: Network) -> str:
    """SHA-256 of the network's TOML: two networks with the same digest are the same."""
    return hashlib.sha256(to_toml(spec).encode()).hexdigest()


def load(path: str | os.PathLike[str]) -> Network:
    """Read a network from a TOML file.

    Raises:
        FileError: the file is missing, unreadable or not TOML.
        SpecError: it is TOML, but not a network; the message names the file and the place in it.
    """
    table = read_toml(path)
    try:
        return Network(**table)
    except SpecError as error:
        raise SpecError(error.problem, f"{path}: {error.place}" if error.place else str(path)) from None


def save(spec: Network, path: str | os.PathLike[str]) -> None:
    """Write a network to a TOML file; ``load(path) == spec`` afterwards."""
    write_text(path, to_toml(spec))


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A TOML file as a plain dictionary."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(f"{path}: cannot read it ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise FileError(f"{path}: not a text file in UTF-8, so not TOML") from None
    try:
        return parse_toml(text)
    except FileError as error:
        raise FileError(f"{path}: {error}") from None


def parse_toml(text: str) -> dict[str, Any]:
    """A TOML text as a plain dictionary."""
    try:
        return tomlkit.parse(text).unwrap()
    except (TOMLKitError, ValueError, RecursionError) as error:
        raise FileError(f"not valid TOML ({' '.join(str(error).split())})") from None


def _without_none(value: Any) -> Any:
    """What has been written out, without its entries that are None, as TOML has no null.

    A model may have a word for a None of its own, which pydantic's ``exclude_none`` would drop.
    """
    if isinstance(value, dict):
        return {name: _without_none(entry) for name, entry in value.items() if entry is not None}
    return [_without_none(entry) for entry in value] if isinstance(value, list) else value
