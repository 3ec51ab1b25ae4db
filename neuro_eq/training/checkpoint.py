"""A checkpoint: everything that a run needs to go on as if it had never stopped, in one file.

The file is an uncompressed zip archive, as ``numpy.load`` reads it: ``header.json``, and arrays in NumPy's own format
(parameters, moments, the epochs so far, the sums of the one under way).  The archive's comment ends in the SHA-256 of
all bytes before it, which is checked before anything else is looked at; then every entry must have the form that the
header promises.  Nothing is unpickled, and nothing that stands in a file is executed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import tokenize
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from neuro_eq import __version__
from neuro_eq.atomic import replacing
from neuro_eq.errors import FileError, SpecError
from neuro_eq.frozen import Frozen
from neuro_eq.training.results import FIGURES, History, Tally
from neuro_eq.trajectory import Position

FORMAT: Literal[1] = 1
"""Raised whenever a file of the old form would be misread."""

HEADER = "header.json"
_SIGNATURE = b"neuro_eq checkpoint, sha256 "
_DIGITS = 64
_KINDS = "fiub"
"""Kinds of NumPy dtypes that a checkpoint may hold: numbers."""

_DAMAGE = (
    zipfile.BadZipFile, SpecError, KeyError, ValueError, TypeError, OSError, EOFError, OverflowError, RuntimeError,
    SyntaxError, struct.error, tokenize.TokenError,
)  # fmt: skip
"""How zip archives, JSON, NumPy and our own checks say that content is wrong."""


class Recorded(Frozen):
    """The trajectory file of a run.

    Attributes:
        name: of the file, in the folder that the run records into.
        position: how far it has come.
        overwrite: whether it takes the place of a file of that name at the end.
    """

    name: str = Field(pattern=r"^[^/\\\x00]*[^/\\\x00.][^/\\\x00]*$")
    position: Position
    overwrite: bool


class Header(Frozen):
    """What a checkpoint says in words.

    Attributes:
        neuro_eq: the version that wrote it.
        run: setting to its value as JSON: what makes two runs the same (:mod:`neuro_eq.training.identity`).
        epochs: how many the run was to have.
        epoch: the one under way, from 1; 0 before the untrained network has been looked at.
        batch: how many of its batches are done.
        seconds: what the epoch has taken so far.
        samples: what its tally has counted.
        steps: of the optimiser.
        moments: names of the optimiser's moments.
        trajectory: the recording, if there is one.
    """

    format: Literal[1] = FORMAT
    neuro_eq: str = __version__
    run: dict[str, str]
    epochs: int = Field(ge=0)
    epoch: int = Field(ge=0)
    batch: int = Field(ge=0)
    seconds: float = Field(ge=0.0)
    samples: int = Field(ge=0)
    steps: int = Field(ge=0)
    moments: tuple[str, ...] = ()
    trajectory: Recorded | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A run between two of its batches.

    Attributes:
        header: settings, position, counts.
        history: the epochs so far.
        tally: the sums of the epoch under way.
        parameters: the network's.
        moments: the optimiser's, by name and parameter.
    """

    header: Header
    history: History
    tally: Tally
    parameters: Mapping[str, np.ndarray]
    moments: Mapping[str, Mapping[str, np.ndarray]]

    def recording(self, trajectory: Recorded | None) -> Checkpoint:
        """The same, with another trajectory file."""
        return replace(self, header=Header(**{**dict(self.header), "trajectory": trajectory}))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file, whole or not at all.

        Raises:
            FileError: it cannot be written; the checkpoint that was there before still is.
        """
        content = self._encoded()
        with replacing(path) as file:
            file.write(content)

    def _encoded(self) -> memoryview:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(zipfile.ZipInfo(HEADER), json.dumps(self.header.model_dump(mode="json")))
            for name, array in self._arrays().items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            archive.comment = _SIGNATURE + b"0" * _DIGITS
        content = buffer.getbuffer()
        content[-_DIGITS:] = _digest(content)
        return content

    def _arrays(self) -> dict[str, np.ndarray]:
        return {
            "history": self.history.table(),
            "tally.sums": np.array([self.tally.sums[name] for name in Tally.SUMS]),
            "tally.ratios": self.tally.joined_ratios,
            **{f"parameters/{name}": value for name, value in self.parameters.items()},
            **{
                f"moments/{moment}/{name}": value
                for moment, values in self.moments.items()
                for name, value in values.items()
            },
        }


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        FileError: it is missing or unreadable, is none, is damaged, or is of another format version.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise FileError(f"{path}: cannot read it ({error.strerror or error})") from None
    # A zip archive's comment is its end, so a file that was cut short has lost the signature.
    if not content.startswith(b"PK") or not content[:-_DIGITS].endswith(_SIGNATURE):
        raise FileError(f"{path}: is no checkpoint of neuro_eq, or one that is damaged or cut short")
    if _digest(memoryview(content)) != content[-_DIGITS:]:
        raise FileError(f"{path}: is a damaged checkpoint, as its content does not match its digest")
    try:
        return _decoded(content)
    except _DAMAGE as error:
        raise FileError(f"{path}: is no checkpoint that this neuro_eq can read ({_words(error)})") from None


def _decoded(content: bytes) -> Checkpoint:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        if len(entries) < len(archive.infolist()):
            raise ValueError("two entries have one name")
        for info in entries.values():
            # Stored as they are, the entries cannot be larger than the file that holds them.
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > len(content):
                raise ValueError(f"{info.filename} is compressed")
        table = json.loads(archive.read(entries.pop(HEADER)))
        if not isinstance(table, dict):
            raise ValueError("its header is no table")
        if table.get("format") != FORMAT:
            raise ValueError(f"it has format version {table.get('format')!r}, and this one reads version {FORMAT}")
        header = Header(**table)
        arrays = {name.removesuffix(".npy"): _array(name, archive.read(info)) for name, info in entries.items()}
    sums = _of(arrays.pop("tally.sums"), (len(Tally.SUMS),))
    ratios = arrays.pop("tally.ratios")
    rows = arrays.pop("history")
    moments: dict[str, dict[str, np.ndarray]] = {name: {} for name in header.moments}
    parameters: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        kind, _, rest = name.partition("/")
        if kind == "parameters":
            parameters[rest] = array
        elif kind == "moments":
            moment, _, parameter = rest.partition("/")
            moments[moment][parameter] = array
        else:
            raise ValueError(f"it has an entry {name}")
    return Checkpoint(
        header=header,
        history=History.of(_of(rows, (header.epoch, len(FIGURES)))),
        tally=Tally.of(header.samples, sums, _of(ratios, (ratios.size,))),
        parameters=parameters,
        moments=moments,
    )


def _array(name: str, entry: bytes) -> np.ndarray:
    """An array in NumPy's format, version 1.0, which fills its entry exactly."""
    file = io.BytesIO(entry)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError(f"{name} is no array of NumPy's format 1.0")
    shape, in_columns, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind not in _KINDS or dtype.hasobject:
        raise ValueError(f"{name} does not hold numbers")
    count = 1
    for size in shape:
        count *= size
    if min(shape, default=0) < 0 or count * dtype.itemsize != len(entry) - file.tell():
        raise ValueError(f"{name} does not have the size of its shape")
    flat = np.frombuffer(entry, dtype=dtype, count=count, offset=file.tell())
    return flat.reshape(shape, order="F" if in_columns else "C").copy(order="K")


def _of(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.shape != shape or array.dtype != np.float64:
        raise ValueError(f"{array.dtype} numbers of shape {list(array.shape)} where {list(shape)} in float64 belong")
    return array


def _digest(content: memoryview) -> bytes:
    return hashlib.sha256(content[:-_DIGITS]).hexdigest().encode()


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def refuse_what_does_not_fit(
    saved: Checkpoint,
    shapes: Mapping[str, tuple[int, ...]],
    moments: Collection[str],
    path: str | os.PathLike[str],
) -> None:
    """Raise when the arrays are not those of a network with parameters of these shapes and of its optimiser."""
    parts = {"parameters": saved.parameters, **saved.moments}
    shapes_found = [{name: value.shape for name, value in part.items()} for part in parts.values()]
    if set(saved.moments) != set(moments) or any(found != dict(shapes) for found in shapes_found):
        raise FileError(f"{path}: its arrays are not those of this network and optimiser, so it is damaged")
