"""What makes two runs the same: the settings that every number of a run follows from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from neuro_eq.datasets import Data
from neuro_eq.engine import Engine
from neuro_eq.errors import FileError
from neuro_eq.frozen import Frozen
from neuro_eq.schedules import Schedule
from neuro_eq.specfile import digest
from neuro_eq.training.checkpoint import Checkpoint

SHOWN = 40
"""A longer value, such as a digest, is not put into a sentence."""


def identity(net: Engine, data: Data, **settings: Any) -> dict[str, str]:
    """The settings of a run, flat: ``"method.beta"`` to its value as JSON; data and network as their SHA-256.

    How many epochs a run has is not among them, as more of them need not change the earlier ones
    (:func:`refuse_another_run`), and neither is how an engine computes (threads, device).
    """
    flat: dict[str, str] = {
        "network": json.dumps(digest(net.spec)),
        "backend": json.dumps(net.name),
        "dtype": json.dumps(net.dtype),
        "network seed": json.dumps(int(net.seed)),
        "data": json.dumps(fingerprint(data)),
    }
    for name, value in settings.items():
        _flatten(name, _plain(value), flat)
    return flat


def fingerprint(data: Data) -> str:
    """SHA-256 of the samples and their targets; the data set's name is not part of it."""
    total = hashlib.sha256()
    for array in (data.x_train, data.y_train, data.x_test, data.y_test):
        total.update(f"{array.dtype}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def refuse_another_run(
    saved: Checkpoint, run: Mapping[str, str], epochs: int, batches: int, schedule: Schedule, path: Any
) -> None:
    """Raise one sentence that names what differs when this run would not come past the checkpoint.

    Args:
        saved: the checkpoint.
        run: this run's settings.
        epochs: how many this run is to have.
        batches: in an epoch.
        schedule: this run's, which is the checkpoint's where the settings agree.
        path: where the checkpoint lies.
    """
    header = saved.header
    for name in {**run, **header.run}:
        here, there = run.get(name, "null"), header.run.get(name, "null")
        if here == there:
            continue
        values = f", {there} there and {here} here" if max(len(here), len(there)) <= SHOWN else ""
        raise FileError(
            f"{path}: belongs to a run with another {name}{values}; name another checkpoint, or overwrite it "
            "(overwrite=True)"
        )
    done = (max(header.epoch, 1) - 1) * batches + header.batch
    if header.batch > batches:
        raise FileError(
            f"{path}: is {header.batch} batches into an epoch of {batches}, so it was changed or is damaged"
        )
    if epochs == header.epochs:
        return
    if done > epochs * batches:
        raise FileError(f"{path}: is in epoch {header.epoch} already, past the {epochs} that are asked for")
    before, now = max(header.epochs * batches, 1), max(epochs * batches, 1)
    if any(schedule.scale(step / before) != schedule.scale(step / now) for step in range(done)):
        raise FileError(
            f"{path}: was begun with {header.epochs} epochs, and with {epochs} the {schedule.kind} schedule would "
            "have given other learning rates from the start; only a constant one goes on"
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Frozen):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"kind": type(value).__qualname__, **{name: _plain(entry) for name, entry in vars(value).items()}}
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return type(value).__qualname__


def _flatten(name: str, value: Any, flat: dict[str, str]) -> None:
    if not isinstance(value, Mapping):
        flat[name] = json.dumps(value)
        return
    for key, entry in value.items():
        _flatten(f"{name}.{key}", entry, flat)
