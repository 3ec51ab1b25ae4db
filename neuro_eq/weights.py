"""The parameters of a trained network, as ``neuro_eq run`` leaves them in ``weights.npz``."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from neuro_eq.errors import FileError, SpecError, did_you_mean
from neuro_eq.spec import Network


def load_weights(path: str | os.PathLike[str], spec: Network) -> dict[str, np.ndarray]:
    """Every parameter of a network from an ``.npz`` file; Python objects in it are never loaded.

    Raises:
        FileError: the file is missing, damaged, or no such archive.
        SpecError: it holds the parameters of another network; names the file and the first that does not fit.
    """
    shapes = spec.parameter_shapes
    place = "the archive"
    try:
        # The stream is ours to close: numpy leaves the files open that it opens and then cannot read.
        with Path(path).open("rb") as stream:
            # numpy takes what is no archive for a pickle.
            if not zipfile.is_zipfile(stream):
                raise FileError(f"{path}: must be an .npz file as numpy.savez writes it, but it is no such archive")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as archive:
                _refuse_other_names(path, archive.files, shapes)
                found = {}
                for name in shapes:
                    place = name
                    found[name] = np.asarray(archive[name])
    except MemoryError:
        raise FileError(f"{path}: {place} does not fit into this machine's memory") from None
    except OSError as error:
        raise FileError(f"{path}: cannot read it ({error.strerror or error})") from None
    except (EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise FileError(f"{path}: {place} cannot be read ({reason})") from None
    for name, value in found.items():
        if value.dtype.kind not in "fiu":
            raise SpecError(f"expected real numbers, found the type {value.dtype}", f"{path}: {name}")
        if value.shape != shapes[name]:
            raise SpecError(f"expected shape {list(shapes[name])}, found {list(value.shape)}", f"{path}: {name}")
        if not np.all(np.isfinite(value)):
            raise SpecError("holds values that are not finite", f"{path}: {name}")
    return found


def _refuse_other_names(path: object, found: list[str], shapes: dict[str, tuple[int, ...]]) -> None:
    for name in found:
        if name not in shapes:
            raise SpecError("the network has no such parameter" + did_you_mean(name, shapes), f"{path}: {name}")
    for name in shapes:
        if name not in found:
            raise SpecError("the network has this parameter, but the file does not", f"{path}: {name}")
