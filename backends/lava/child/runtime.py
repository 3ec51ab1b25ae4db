"""One Lava runtime under guard: whatever happens inside it, a call here returns or raises, and never hangs.

Lava waits for ever where a model raises or an actor is killed, so runs are non-blocking, the actors are
polled, and a broken runtime is killed rather than stopped. This uses private names of lava-nc 0.10.0.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

import numpy as np
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg, RunConfig
from lava.magma.runtime.mgmt_token_enums import MGMT_RESPONSE, enum_equal

from .processes.network import Command, EquilibriumNetwork, Layout

_START_WITHIN_S = 8.0
_GIVE_UP_AFTER_S = 3.0
_LOOK_EVERY_S = 0.1


class LavaRuntimeError(Exception):
    """Lava or its model failed; `traceback` is the model's own where it left one."""

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class GuardedRuntime:
    """The runtime of one Process. After a LavaRuntimeError it is dead.

    Parameters
    ----------
    process
        What runs.
    config
        How Lava chooses its model.
    """

    def __init__(self, process: AbstractProcess, config: RunConfig) -> None:
        self._process = process
        self._woken = threading.Event()
        try:
            with _time_limit(_START_WITHIN_S):
                self._process.create_runtime(run_cfg=config)
        except BaseException as error:
            self._raise_for(error)
        self._answers = self._process.runtime.service_to_runtime[0]
        self._answers.observer = self._woken.set

    def stop(self) -> None:
        """End the runtime, always by force: Lava's stop() may hang, and the model holds nothing to keep."""
        self._abandon()

    def _run(self, steps: int) -> None:
        """So many time steps; returns when they are done."""
        self._process.run(RunSteps(num_steps=steps, blocking=False))
        self._await(self._answers)
        # Lava's own wait() would take the observer away that wakes this side.
        if not enum_equal(self._answers.recv(), MGMT_RESPONSE.DONE):
            raise LavaRuntimeError("the Lava model failed")
        self._process.runtime._is_running = False

    def _await(self, port: Any) -> None:
        while True:
            self._woken.clear()
            if port.probe():
                return
            if not self._woken.wait(_LOOK_EVERY_S):
                self._check_actors()

    def _actors(self) -> list[Any]:
        infrastructure = getattr(self._process.runtime, "_messaging_infrastructure", None)
        return list(infrastructure.actors) if infrastructure is not None else []

    def _check_actors(self) -> None:
        for actor in self._actors():
            if actor.is_alive():
                continue
            if actor.exception or not actor.exitcode:
                raise LavaRuntimeError("the Lava model failed")
            raise LavaRuntimeError(f"a process of Lava ended in the middle of a run ({_ending(actor.exitcode)})")

    def _raise_for(self, error: BaseException) -> NoReturn:
        """Kill the runtime and raise what was behind `error`: a model's own exception, if one can be had."""
        message, trace = str(error) or type(error).__name__, getattr(error, "trace", "")
        if trace:
            message = f"the Lava model could not be built: {type(error).__name__}: {error}"
        elif isinstance(error, LavaRuntimeError):
            own = self._model_exception()
            if own is not None:
                message, trace = f"the Lava model raised {type(own[0]).__name__}: {own[0]}", own[1]
        self._abandon()
        if isinstance(error, Exception):
            raise LavaRuntimeError(message, trace) from error
        raise error

    def _model_exception(self) -> tuple[BaseException, str] | None:
        # The service tells of a failed model, and ends, before the model has handed its exception over.
        deadline = time.monotonic() + _GIVE_UP_AFTER_S
        while True:
            actors = self._actors()
            over = time.monotonic() > deadline or not any(actor.is_alive() for actor in actors)
            for actor in actors:
                if actor.exception:
                    return actor.exception
            if over or any(actor.exitcode for actor in actors):
                return None
            time.sleep(0.01)

    def _abandon(self) -> None:
        """Kill the actors and remove the shared memory; does nothing the second time."""
        runtime = self._process.runtime
        if runtime is None:
            return
        # Lava's finaliser would call stop(), which hangs on a broken runtime.
        self._process.runtime = None
        runtime._is_started = False
        infrastructure = runtime._messaging_infrastructure
        if infrastructure is None:
            return
        for actor in infrastructure.actors:
            with suppress(ValueError):
                actor.kill()
                multiprocessing.Process.join(actor, 1.0)
        _remove_shared_memory(infrastructure.smm)


class LavaRuntime(GuardedRuntime):
    """A started `EquilibriumNetwork` of at most `rows` presentations."""

    def __init__(self, structure: dict[str, Any], rows: int) -> None:
        self.structure = structure
        self.rows = rows
        self.layout = Layout(structure)
        process = EquilibriumNetwork(structure=structure, rows=rows)
        super().__init__(process, Loihi2SimCfg(select_tag="floating_pt"))
        for name in ("finished_out", "state_out"):
            self._receiver(name).observer = self._woken.set

    def run(self, command: Command, parameters: np.ndarray | None = None, table: np.ndarray | None = None) -> bool:
        """One run of Lava as `command` says; returns whether all samples have finished.

        `parameters` is the flat vector and `table` the (rows, width) one that the layout describes; where
        they are given, the command says so.
        """
        try:
            self._send("command_in", np.array(command, dtype=np.float64))
            if parameters is not None:
                self._send("parameters_in", _padded(parameters, (max(self.layout.n_parameters, 1),)))
            if table is not None:
                self._send("rows_in", _padded(table, (self.rows, table.shape[1])))
            self._run(command.time_steps)
            return bool(self._receive("finished_out")[0])
        except BaseException as error:
            self._raise_for(error)

    def receive_state(self) -> np.ndarray:
        """The (rows, width) table of the state, after a run whose command asked for it."""
        try:
            return self._receive("state_out")
        except BaseException as error:
            self._raise_for(error)

    def _send(self, port: str, values: np.ndarray) -> None:
        sender = getattr(self._process, port).external_pipe_csp_send_port
        # The model takes each message before its run ends, so a pipe that stays full means a dead model.
        deadline = time.monotonic() + _GIVE_UP_AFTER_S
        while not sender.probe():
            self._check_actors()
            if time.monotonic() > deadline:
                raise LavaRuntimeError(f"the Lava model does not take what was sent to {port}")
            time.sleep(0.001)
        sender.send(values)

    def _receiver(self, port: str) -> Any:
        return getattr(self._process, port).external_pipe_csp_recv_port

    def _receive(self, port: str) -> np.ndarray:
        receiver = self._receiver(port)
        self._await(receiver)
        return np.asarray(receiver.recv())


def _remove_shared_memory(manager: Any) -> None:
    if manager is None or manager._manager is None:
        return
    with suppress(Exception), _time_limit(_GIVE_UP_AFTER_S):
        manager._manager.shutdown()
    manager._manager = None
    for segment in manager._shared_memory_handles:
        # The manager removed them already, unless it was killed.
        with suppress(FileNotFoundError):
            segment.unlink()
    manager._shared_memory_handles.clear()


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise LavaRuntimeError if the block takes longer, out of a wait inside Lava too (main thread only)."""

    def expire(_signal: int, _frame: FrameType | None) -> None:
        raise LavaRuntimeError(f"Lava did not answer within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _padded(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`values` with zeros behind it, since a port of Lava has one shape only."""
    if values.shape == shape:
        return values
    padded = np.zeros(shape)
    padded[: values.shape[0]] = values
    return padded


def _ending(exitcode: int) -> str:
    if exitcode >= 0:
        return f"exit status {exitcode}"
    with suppress(ValueError):
        return f"killed by {signal.Signals(-exitcode).name}"
    return f"killed by signal {-exitcode}"
