"""The main loop of the Lava child: requests on standard input, replies on what was standard output.

Run as `python -m child.server PREFIX FOLDER` from the folder above; PREFIX begins the names of all its shared
memory, and FOLDER is for its temporary files.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from . import lifeline, patched, wire

if TYPE_CHECKING:
    from .runtime import LavaRuntime

Reply = tuple[dict[str, Any], dict[str, np.ndarray]]
Arrays = dict[str, np.ndarray]

# Short enough to see the end of a relaxation early, long enough that the hand-over of a run does not count.
_RUN_STEPS = 32


class RefusedError(Exception):
    """A request that does not make sense; the message is one sentence."""


class Session:
    """The network sent last, the Lava runtime that runs it, and the relaxation in progress."""

    def __init__(self) -> None:
        self._structure: dict[str, Any] | None = None
        self._parameters = np.zeros(1)
        self._parameters_are_new = True
        self._runtime: LavaRuntime | None = None
        self._relaxation: _Relaxation | None = None

    def hello(self, header: dict[str, Any], arrays: Arrays) -> Reply:
        """Versions of what runs here; imports Lava, so that a broken environment is noticed at once."""
        lava = patched.import_lava()
        return {"python": platform.python_version(), "numpy": np.__version__, "lava": lava}, {}

    def network(self, header: dict[str, Any], arrays: Arrays) -> Reply:
        """Take a network and its parameters; the runtime is kept where only the parameters are new."""
        from .processes.network import Layout

        structure, given = _normalised(header, arrays)
        layout = Layout(structure)
        if layout.n_free == 0:
            raise RefusedError("the network has no free population, so nothing relaxes")
        for (name, array), shape in zip(given, layout.parameters, strict=True):
            _check_shape(name, array, shape)
        self._structure = structure
        self._parameters = np.concatenate([np.zeros(0), *(array.ravel() for _, array in given)])
        self._parameters_are_new = True
        self._relaxation = None
        return {}, {}

    def begin(self, header: dict[str, Any], arrays: Arrays) -> Reply:
        """Start a relaxation: its rows are loaded into the model, no step is taken yet."""
        from .processes.network import Command, Layout

        if self._structure is None:
            raise RefusedError("begin came before any network")
        layout = Layout(self._structure)
        relaxation = _Relaxation(header, arrays, layout)
        runtime = self._runtime_for(relaxation.rows)
        command = Command(
            time_steps=1,
            load_parameters=self._parameters_are_new,
            load_rows=True,
            samples=relaxation.samples,
            phases=relaxation.phases,
            alpha=float(header["alpha"]),
            max_steps=relaxation.max_steps,
            nudged="target" in arrays,
            corrected="anchor" in arrays,
        )
        parameters = self._parameters if self._parameters_are_new else None
        self._relaxation = None
        self._guarded(runtime.run, command, parameters, relaxation.table)
        self._parameters_are_new = False
        self._relaxation = relaxation
        return {}, {}

    def advance(self, header: dict[str, Any], arrays: Arrays) -> Reply:
        """Take up to `steps` more steps; says whether every sample has finished."""
        from .processes.network import Command

        relaxation, runtime = self._running()
        steps = header.get("steps")
        if type(steps) is not int or steps < 0:
            raise RefusedError(f"steps is {steps!r}, a whole number from 0 on is needed")
        # With max_steps = 0 a single time step evaluates the drive and takes no step.
        left = min(steps, relaxation.max_steps - relaxation.taken) if relaxation.max_steps else 1
        while left > 0 and not relaxation.finished:
            length = min(left, _RUN_STEPS)
            command = Command(time_steps=length, relax=True)
            relaxation.finished = self._guarded(runtime.run, command)
            relaxation.taken += length
            left -= length
        return {"finished": relaxation.finished}, {}

    def snapshot(self, header: dict[str, Any], arrays: Arrays) -> Reply:
        """u, a (rows, free units) and residual (rows,), float64; steps and status (samples,), int64."""
        from .processes.network import Command, split

        relaxation, runtime = self._running()
        self._guarded(runtime.run, Command(time_steps=1, emit_state=True))
        table = self._guarded(runtime.receive_state)[: relaxation.rows]
        u, a, residual, steps, status = split(table, runtime.layout.state_widths)
        samples = relaxation.samples
        return {}, {
            "u": u,
            "a": a,
            "residual": residual[:, 0],
            "steps": steps[:samples, 0].astype(np.int64),
            "status": status[:samples, 0].astype(np.int64),
        }

    def present(self, header: dict[str, Any], arrays: Arrays) -> Reply:
        """Show a chip's network some presentations; the report, and the seconds that the run itself took."""
        from .presentations import ChipRuntime

        runtime = ChipRuntime(header["structure"], arrays, bool(header["hierarchical"]))
        try:
            started = time.perf_counter()
            report = runtime.run()
            return {"seconds": time.perf_counter() - started}, {"report": report}
        finally:
            runtime.stop()

    def learn(self, header: dict[str, Any], arrays: Arrays) -> Reply:
        """Show a connection that learns some events; its weights and tags."""
        from .plasticity import LearningRuntime

        runtime = LearningRuntime(header["rule"], arrays, int(header["seed"]), bool(header["learned"]))
        try:
            weights, tags = runtime.run()
            return {}, {"weights": weights.astype(np.int64), "tags": tags.astype(np.int64)}
        finally:
            runtime.stop()

    def stop(self) -> None:
        """Stop the Lava runtime, if one is running."""
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            runtime.stop()

    def _running(self) -> tuple[_Relaxation, LavaRuntime]:
        if self._relaxation is None or self._runtime is None:
            raise RefusedError("no relaxation has begun")
        return self._relaxation, self._runtime

    def _runtime_for(self, rows: int) -> LavaRuntime:
        """The running runtime if it has this structure and enough rows, else a new one."""
        from .runtime import LavaRuntime

        assert self._structure is not None
        kept = self._runtime
        if kept is not None and kept.structure == self._structure and kept.rows >= rows:
            return kept
        self.stop()
        self._parameters_are_new = True
        self._runtime = LavaRuntime(self._structure, rows)
        return self._runtime

    def _guarded(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Run `call` on the runtime; one that failed is dead and is forgotten."""
        try:
            return call(*arguments)
        except BaseException:
            self._runtime = None
            self._relaxation = None
            raise


class _Relaxation:
    """A relaxation as requested, and how far it has gone."""

    def __init__(self, header: dict[str, Any], arrays: Arrays, layout: Any) -> None:
        max_steps = header.get("max_steps")
        if type(max_steps) is not int or max_steps < 0:
            raise RefusedError(f"max_steps is {max_steps!r}, a whole number from 0 on is needed")
        self.max_steps: int = max_steps
        if not isinstance(header.get("alpha"), (int, float)):
            raise RefusedError(f"alpha is {header.get('alpha')!r}, a number is needed")
        for needed in ("u", "x", "betas"):
            if needed not in arrays:
                raise RefusedError(f"begin needs the array {needed!r}")
        x, betas = arrays["x"], arrays["betas"]
        if x.ndim != 2 or betas.ndim != 1 or not x.shape[0] or not betas.size:
            raise RefusedError(
                f"x has shape {x.shape} and betas {betas.shape}; (samples, clamped) and (phases,) are needed"
            )
        if np.any(betas != 0) and "target" not in arrays:
            raise RefusedError("a nudge beta other than 0 needs the array 'target'")
        if "target" in arrays and not layout.n_target:
            raise RefusedError("a target was given and the network has no cost")
        self.samples, self.phases = x.shape[0], betas.size
        self.rows = self.samples * self.phases
        self.taken = 0
        self.finished = False
        samples, free = self.samples, layout.n_free
        # A tolerance of -1 is never met: the relaxation then takes exactly max_steps.
        columns = [
            _checked(arrays, "u", (self.rows, free)),
            self._each_phase(_checked(arrays, "x", (samples, layout.n_clamped))),
            self._each_phase(_checked(arrays, "target", (samples, layout.n_target))),
            self._each_phase(_checked(arrays, "anchor", (samples, free))),
            self._each_phase(_checked(arrays, "tol", (samples,), absent=-1.0)[:, None]),
            np.repeat(betas, samples)[:, None],
        ]
        self.table = np.concatenate(columns, axis=1, dtype=np.float64)

    def _each_phase(self, rows: np.ndarray) -> np.ndarray:
        return np.tile(rows, (self.phases, 1))


def _checked(arrays: Arrays, name: str, shape: tuple[int, ...], absent: float = 0.0) -> np.ndarray:
    if name not in arrays:
        return np.full(shape, absent)
    _check_shape(name, arrays[name], shape)
    return arrays[name]


def _check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise RefusedError(f"array {name!r} has shape {array.shape}, {shape} is needed")


def _normalised(header: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], list[tuple[str, np.ndarray]]]:
    """The structure without the names of arrays, and the named arrays in the order of the layout.

    Two networks of equal structure share a runtime, whatever their parameters are called.
    """
    given: list[tuple[str, np.ndarray]] = []

    def take(entry: dict[str, Any], role: str) -> np.ndarray:
        name = entry[role]
        if name not in arrays:
            raise RefusedError(f"the network names the array {name!r}, which did not come along")
        given.append((name, arrays[name]))
        return arrays[name]

    populations = [
        {
            **{key: p[key] for key in ("name", "size", "activation", "clamped")},
            "last_axis": p.get("last_axis", p["size"]),
        }
        for p in header["populations"]
    ]
    sizes = {population["name"]: population["size"] for population in populations}
    free = {population["name"] for population in populations if not population["clamped"]}
    synapses = []
    for synapse in header["synapses"]:
        for end in ("source", "target"):
            if end in synapse and synapse[end] not in sizes:
                raise RefusedError(f"a synapse names the population {synapse[end]!r}, which the network does not have")
        if synapse["kind"] == "bias":
            take(synapse, "bias")
            synapses.append({"kind": "bias", "target": synapse["target"]})
        elif synapse["kind"] == "dense":
            take(synapse, "weight")
            synapses.append({key: synapse[key] for key in ("kind", "source", "target", "symmetric")})
        else:
            raise RefusedError(f"a synapse of kind {synapse['kind']!r} is not known here")
    cost = header.get("cost")
    if cost is not None:
        if cost["population"] not in free:
            raise RefusedError(f"the cost names {cost['population']!r}, which is not a free population")
        normal = {"kind": cost["kind"], "population": cost["population"]}
        if cost["kind"] == "cross_entropy":
            normal["classes"] = take(cost, "weight").shape[0]
            take(cost, "bias")
        elif cost["kind"] != "squared_error":
            raise RefusedError(f"a cost of kind {cost['kind']!r} is not known here")
        cost = normal
    return {"populations": populations, "synapses": synapses, "cost": cost}, given


def _answer(session: Session, header: dict[str, Any], arrays: Arrays) -> Reply:
    operations: dict[str, Callable[[dict[str, Any], Arrays], Reply]] = {
        "hello": session.hello,
        "network": session.network,
        "begin": session.begin,
        "advance": session.advance,
        "snapshot": session.snapshot,
        "present": session.present,
        "learn": session.learn,
    }
    try:
        operation = operations.get(header.get("op", ""))
        if operation is None:
            raise RefusedError(f"{header.get('op')!r} is not a request of this server")
        fields, reply = operation(header, arrays)
        return {"ok": True, **fields}, reply
    except RefusedError as error:
        return {"ok": False, "error": str(error), "traceback": ""}, {}
    except Exception as error:
        # A model's own traceback says more than where this side noticed.
        trace = getattr(error, "traceback", "") or traceback.format_exc()
        line = " ".join(str(error).split()) or type(error).__name__
        return {"ok": False, "error": line, "traceback": trace}, {}


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until the parent says `close` or its end of the pipe closes."""

    def fill(view: memoryview) -> None:
        while view:
            count = requests.readinto(view)  # type: ignore[attr-defined]
            if not count:
                raise EOFError
            view = view[count:]

    session = Session()
    try:
        while True:
            header, arrays = wire.decode(fill)
            if header.get("op") == "close":
                session.stop()
                _write(replies, wire.encode({"ok": True}))
                return
            _write(replies, wire.encode(*_answer(session, header, arrays)))
    except (EOFError, BrokenPipeError):
        return
    except wire.WireError as error:
        # After a malformed message the place of the next one is unknown.
        with suppress(OSError):
            _write(replies, wire.encode({"ok": False, "error": f"malformed message: {error}", "traceback": ""}))
    finally:
        session.stop()


def _write(replies: BinaryIO, buffers: list[memoryview]) -> None:
    for buffer in buffers:
        view = buffer
        while view:
            view = view[replies.write(view) :]


def main() -> None:
    """Keep the two pipes for the protocol alone, then serve."""
    prefix, folder = sys.argv[1:]
    if os.environ.get("TMPDIR") != folder:
        sys.exit("FOLDER is removed at the end; it must be the one that TMPDIR names, for this process alone")
    patched.name_shared_memory(prefix)
    lifeline.follow_parents(folder)
    requests, replies = os.dup(0), os.dup(1)
    # Lava and NumPy print; their words go to standard error and cannot get between two messages.
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    try:
        with os.fdopen(requests, "rb", buffering=0) as source, os.fdopen(replies, "wb", buffering=0) as sink:
            serve(source, sink)
    finally:
        # The exit handlers of multiprocessing would join actors that may never end.
        sys.stderr.flush()
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


if __name__ == "__main__":
    main()
