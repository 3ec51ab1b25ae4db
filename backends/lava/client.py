"""The parent's side of the Lava child: start it, ask it, and leave nothing behind however it ends."""

from __future__ import annotations

import os
import secrets
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NoReturn

import numpy as np

from neuro_eq.backends.lava.child import wire
from neuro_eq.backends.lava.environment import child_environment
from neuro_eq.errors import BackendError

_HERE = Path(__file__).resolve().parent
_SHARED_MEMORY = Path("/dev/shm")
_LOOK_EVERY_S = 0.1
_TERMINATE_WITHIN_S = 2.0
_KILL_WITHIN_S = 2.0
_STDERR_BYTES = 4000


@dataclass(frozen=True)
class Snapshot:
    """A relaxation of B samples in K phases: of R = K · B rows, row r is phase r // B of sample r % B."""

    u: np.ndarray
    """Potentials, (R, free units) float64."""
    a: np.ndarray
    """Activities ρ(u), (R, free units) float64."""
    residual: np.ndarray
    """RMS of drive − u over a row's free units when last evaluated, (R,); NaN before the first step."""
    steps: np.ndarray
    """Updates made, (B,) int64."""
    status: np.ndarray
    """0 converged, 1 max_steps (or not finished), 2 diverged, 3 nonfinite; (B,) int64."""


class LavaClient:
    """A Lava child and its requests. The first failure of any kind ends it; a new client starts a new one.

    Every method raises BackendError with the cause, and with the model's own traceback where there is one,
    once the child's whole process group is killed and its shared memory removed. An exception such as
    KeyboardInterrupt is passed on after the same. Several threads may use a client, a forked process may not.

    Parameters
    ----------
    python
        An interpreter in which Lava can be imported, as `environment.find()` returns it.
    timeout
        Seconds that any request may take.
    """

    def __init__(self, python: Path, *, timeout: float = 60.0) -> None:
        self.timeout = timeout
        self._lock = threading.Lock()
        self._ended: str | None = None
        self._child = _Child(python)
        self._finalizer = weakref.finalize(self, self._child.destroy)
        self.versions: dict[str, str] = self.request("hello")[0]
        """Versions of python, numpy and lava in the child."""

    def network(self, structure: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Send a network and its parameters, or new parameters of the network sent before.

        `structure` is {"populations": [...], "synapses": [...], "cost": ...}; each synapse names its array
        in `arrays`, weights of shape (target units, source units), biases (target units,), float64.
        """
        self.request("network", structure, {name: _float64(array) for name, array in arrays.items()})

    def begin(
        self,
        *,
        u: np.ndarray,
        x: np.ndarray,
        betas: np.ndarray,
        alpha: float,
        max_steps: int,
        target: np.ndarray | None = None,
        anchor: np.ndarray | None = None,
        tol: np.ndarray | None = None,
    ) -> None:
        """Start a relaxation of B samples in K phases, R = K · B rows; no step is taken yet.

        Shapes: `u` (R, free units) start potentials, `x` (B, clamped units), `betas` (K,), `target` (B,
        outputs), `anchor` (B, free units) the activities a* around which an asymmetric network is corrected,
        `tol` (B,). Without `tol` exactly `max_steps` steps are taken.
        """
        given = {"u": u, "x": x, "betas": betas, "target": target, "anchor": anchor, "tol": tol}
        arrays = {name: _float64(array) for name, array in given.items() if array is not None}
        self.request("begin", {"alpha": float(alpha), "max_steps": int(max_steps)}, arrays)

    def advance(self, steps: int, *, timeout: float | None = None) -> bool:
        """Take up to `steps` more steps, never past `max_steps`; says whether all samples have finished."""
        return bool(self.request("advance", {"steps": int(steps)}, timeout=timeout)[0]["finished"])

    def snapshot(self) -> Snapshot:
        """The present state of the relaxation."""
        return Snapshot(**self.request("snapshot")[1])

    def request(
        self,
        op: str,
        fields: Mapping[str, Any] | None = None,
        arrays: Mapping[str, np.ndarray] | None = None,
        timeout: float | None = None,
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Send one request and wait for its reply: its fields and its arrays."""
        within = self.timeout if timeout is None else timeout
        with self._lock:
            if self._ended is not None:
                raise BackendError(f"the Lava child has ended: {self._ended}")
            try:
                self._child.send(wire.encode({**(fields or {}), "op": op}, arrays), time.monotonic() + within)
                reply, received = wire.decode(self._child.fill)
            except _ExpiredError:
                self._fail(f"Lava did not answer the request {op!r} within {within:g} s")
            except (EOFError, OSError):
                self._fail(f"the Lava child ended during the request {op!r}{self._child.obituary()}")
            except wire.WireError as error:
                self._fail(f"the Lava child and its parent do not understand each other: {error}")
            except BaseException as error:
                self._end(f"{op!r} was interrupted by {type(error).__name__}")
                raise
            if not reply.pop("ok", False):
                self._fail(str(reply.get("error", "no reason given")), str(reply.get("traceback", "")))
            return reply, received

    @property
    def closed(self) -> bool:
        """Whether the child has ended, by `close` or by a failure."""
        return self._ended is not None

    def close(self) -> None:
        """End the child; no process and no shared memory is left. Does nothing the second time."""
        with self._lock:
            if self._ended is None:
                self._end("it was closed")

    def __enter__(self) -> LavaClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end(self, reason: str) -> None:
        self._ended = reason
        self._child.destroy()

    def _fail(self, reason: str, traceback: str = "") -> NoReturn:
        self._end(reason)
        raise BackendError(reason, traceback.rstrip()) from None


class _ExpiredError(Exception):
    """The time of a request is over."""


class _Child:
    """The child's process group, its pipes and its shared memory. Knows nothing of networks."""

    def __init__(self, python: Path) -> None:
        self._owner = os.getpid()
        self._gone = False
        self._deadline = 0.0
        self._prefix = f"neq{secrets.token_hex(5)}_"
        self._stderr: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 (closed in destroy)
        # Lava's processes leave the addresses of their servers there when they are killed.  The name is short, since
        # an address has room for a hundred letters.
        self._folder = tempfile.mkdtemp(prefix="neq")
        command = [str(python), "-m", "child.server", self._prefix, self._folder]
        try:
            self._process = subprocess.Popen(
                command,
                cwd=_HERE,
                env={**child_environment(python), "TMPDIR": self._folder},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                bufsize=0,
                # A group of its own can be ended as a whole, and Ctrl-C does not reach it before the parent.
                start_new_session=True,
            )
        except OSError as error:
            self._stderr.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise BackendError(f"the Lava interpreter {python} cannot be started: {error.strerror}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)

    def send(self, buffers: list[memoryview], deadline: float) -> None:
        """Write `buffers`; this and the reading of the reply end at `deadline` (time.monotonic)."""
        self._deadline = deadline
        for buffer in buffers:
            view = buffer
            while view:
                self._wait(self._in, select.POLLOUT)
                with suppress(BlockingIOError):
                    view = view[os.write(self._in, view) :]

    def fill(self, view: memoryview) -> None:
        """Fill `view` with what the child wrote; EOFError once it has ended."""
        while view:
            self._wait(self._out, select.POLLIN)
            with suppress(BlockingIOError):
                data = os.read(self._out, min(len(view), 2**20))
                if not data:
                    raise EOFError
                view[: len(data)] = data
                view = view[len(data) :]

    def _wait(self, pipe: int, event: int) -> None:
        poll = select.poll()
        poll.register(pipe, event)
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise _ExpiredError
            if poll.poll(1000 * min(left, _LOOK_EVERY_S)):
                return
            # Lava's processes hold the pipe open as well, so its end does not tell that the server has died.
            if self._process.poll() is not None:
                raise EOFError

    def obituary(self) -> str:
        """How the server ended and the last words on its standard error, to be put behind a sentence."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        code = self._process.returncode
        ending = ""
        if code is not None:
            ending = f" (killed by signal {-code})" if code < 0 else f" (exit status {code})"
        size = os.fstat(self._stderr.fileno()).st_size
        words = os.pread(self._stderr.fileno(), _STDERR_BYTES, max(0, size - _STDERR_BYTES))
        text = words.decode(errors="replace").strip()
        return f"{ending}; its last words:\n\n{text}" if text else ending

    def destroy(self) -> None:
        """End the group and remove its shared memory and temporary files, once, and never from a forked process."""
        if self._gone or os.getpid() != self._owner:
            return
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        # Python's resource tracker ignores SIGTERM: it removes the shared memory, then ends by itself.
        self._signal(signal.SIGTERM, _TERMINATE_WITHIN_S)
        self._signal(signal.SIGKILL, _KILL_WITHIN_S)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILL_WITHIN_S)
        if _SHARED_MEMORY.is_dir():
            for segment in _SHARED_MEMORY.glob(f"{self._prefix}*"):
                segment.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._stderr.close()
        self._gone = True

    def _signal(self, number: int, within: float) -> None:
        """Send a signal to what still runs of the group and wait up to `within` seconds for its end."""
        deadline = time.monotonic() + within
        group = self._process.pid
        if not _runs(group):
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
        while _runs(group) and time.monotonic() < deadline:
            # The server is this process's own child and stays a zombie until asked for.
            self._process.poll()
            time.sleep(0.01)


def _float64(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, dtype=np.float64)


def _runs(group: int) -> bool:
    """Whether a process of the group is alive; zombies, which some init processes keep, do not count."""
    processes = Path("/proc")
    if not (processes / "self" / "stat").exists():
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True
    for entry in processes.iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            # The second field is the command in parentheses, which may itself hold blanks and parentheses.
            state, _, pgrp = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == group and state not in "ZX":
                return True
    return False
