"""The whole equilibrium network as one Lava Process: `EquilibriumNetwork` and its floating-point model.

One time step of Lava is one relaxation step of all rows. A row is one presentation: one sample under one
nudge β. A population is flat, states are float64, and rows lie along the first axis: u is (rows, free units).

Besides Lava this file needs NumPy and the standard library only, since Lava executes it a second time on
discovery.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

CONVERGED, MAX_STEPS, DIVERGED, NONFINITE = 0, 1, 2, 3
_DIVERGED_AT = 1e6

_Array = np.ndarray[Any, np.dtype[np.float64]]
_Structure = dict[str, Any]


class Command(NamedTuple):
    """What the coming time steps are to do; sent as one float64 vector ahead of each run of Lava."""

    time_steps: int
    """Length of the run that this command governs, in Lava's time steps."""
    relax: bool = False
    """Whether these are relaxation steps; a run that only loads or emits leaves the state as it is."""
    load_parameters: bool = False
    load_rows: bool = False
    emit_state: bool = False
    samples: int = 1
    phases: int = 1
    alpha: float = 1.0
    max_steps: int = 0
    nudged: bool = False
    corrected: bool = False
    """Whether the rows carry an anchor a* for the correction of an asymmetric network."""

    @classmethod
    def from_vector(cls, values: _Array) -> Command:
        """The command that was sent as `values`, with every field of its own type again."""
        kinds = [type(default) for default in cls(time_steps=0)]
        return cls._make(kind(value) for kind, value in zip(kinds, values, strict=True))


class Layout:
    """Where everything lies in the flat vectors and tables that go through the ports."""

    def __init__(self, structure: _Structure) -> None:
        self.free: dict[str, slice] = {}
        self.clamped: dict[str, slice] = {}
        self.n_free = self.n_clamped = 0
        for population in structure["populations"]:
            size = population["size"]
            if population["clamped"]:
                self.clamped[population["name"]] = slice(self.n_clamped, self.n_clamped + size)
                self.n_clamped += size
            else:
                self.free[population["name"]] = slice(self.n_free, self.n_free + size)
                self.n_free += size
        sizes = {population["name"]: population["size"] for population in structure["populations"]}
        self.parameters = [_parameter_shape(synapse, sizes) for synapse in structure["synapses"]]
        self.n_target = 0
        cost = structure["cost"]
        if cost is not None:
            width = sizes[cost["population"]]
            self.n_target = cost.get("classes", width)
            if cost["kind"] == "cross_entropy":
                self.parameters += [(self.n_target, width), (self.n_target,)]
        self.n_parameters = sum(int(np.prod(shape)) for shape in self.parameters)

    @property
    def row_widths(self) -> tuple[int, ...]:
        """Columns of a row of the table that starts a relaxation: u, x, target, anchor, tolerance, β."""
        return self.n_free, self.n_clamped, self.n_target, self.n_free, 1, 1

    @property
    def state_widths(self) -> tuple[int, ...]:
        """Columns of a row of the table that reports the state: u, a, residual, steps, status."""
        return self.n_free, self.n_free, 1, 1, 1


def split(table: _Array, widths: tuple[int, ...]) -> list[_Array]:
    """Views of the columns of `table` (rows, Σ widths), one a width."""
    return np.split(table, np.cumsum(widths)[:-1], axis=1)


class EquilibriumNetwork(AbstractProcess):
    """A network of populations and synapses that relaxes to u = drive(ρ(u)).

    Parameters
    ----------
    structure
        {"populations": [{"name", "size", "last_axis", "activation", "clamped"}],
         "synapses": [{"kind": "dense", "source", "target", "symmetric"} | {"kind": "bias", "target"}],
         "cost": None | {"kind": "squared_error", "population"}
                      | {"kind": "cross_entropy", "population", "classes"}}
    rows
        The most presentations that one relaxation may have.
    """

    def __init__(self, *, structure: _Structure, rows: int) -> None:
        super().__init__(structure=structure)
        layout = Layout(structure)
        # Arrays go through pipes because Var get and set move one element at a time: seconds for one weight
        # matrix.
        self.command_in = InPort(shape=(len(Command._fields),))
        self.parameters_in = InPort(shape=(max(layout.n_parameters, 1),))
        self.rows_in = InPort(shape=(rows, sum(layout.row_widths)))
        self.finished_out = OutPort(shape=(1,))
        self.state_out = OutPort(shape=(rows, sum(layout.state_widths)))
        for port in (self.command_in, self.parameters_in, self.rows_in, self.finished_out, self.state_out):
            port.flag_external_pipe(buffer_size=1)
        self.u = Var(shape=(rows, layout.n_free), init=0.0)


@implements(proc=EquilibriumNetwork, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyEquilibriumNetworkFloat(PyLoihiProcessModel):
    """float64: every step equals the oracle's up to the order of sums."""

    command_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.float64)
    parameters_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.float64)
    rows_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.float64)
    finished_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.float64)
    state_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.float64)
    u: np.ndarray = LavaPyType(np.ndarray, np.float64)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._equations = Equations(proc_params["structure"])
        self._relaxation: Relaxation | None = None
        self._command = Command(time_steps=0)
        self._time_steps_left = 0

    def run_spk(self) -> None:
        """One time step; a command is awaited only where a run begins, so the others cost no message."""
        if self._time_steps_left == 0:
            self._obey(self.command_in.recv())
        if self._command.relax and self._relaxation is not None:
            self._relaxation.step()
        self._time_steps_left -= 1
        if self._time_steps_left == 0:
            self._report()

    def _obey(self, values: _Array) -> None:
        command = Command.from_vector(values)
        self._command = command
        self._time_steps_left = command.time_steps
        if command.load_parameters:
            self._equations.load(self.parameters_in.recv())
        if command.load_rows:
            self._relaxation = Relaxation(self._equations, command, self.rows_in.recv(), self.u)

    def _report(self) -> None:
        relaxation = self._relaxation
        finished = relaxation is not None and not relaxation.active.any()
        self.finished_out.send(np.array([float(finished)]))
        if self._command.emit_state and relaxation is not None:
            state = np.zeros(self.state_out.shape)
            relaxation.write(state)
            self.state_out.send(state)


class _Dense(NamedTuple):
    weight: _Array
    source: str
    target: str
    symmetric: bool


class Equations:
    """drive(a) of the network with its present parameters, in plain NumPy."""

    def __init__(self, structure: _Structure) -> None:
        self.layout = Layout(structure)
        self._structure = structure
        free = [population for population in structure["populations"] if not population["clamped"]]
        self._activations = [
            (self.layout.free[p["name"]], p.get("last_axis", p["size"]), activation(p["activation"])) for p in free
        ]
        self._dense: list[_Dense] = []
        self._biases: list[tuple[str, _Array]] = []
        self._readout: tuple[_Array, _Array] | None = None

    def load(self, flat: _Array) -> None:
        """Take new parameters: weights, biases and the readout's, one after the other as the layout says."""
        arrays = []
        start = 0
        for shape in self.layout.parameters:
            stop = start + int(np.prod(shape))
            arrays.append(np.ascontiguousarray(flat[start:stop]).reshape(shape))
            start = stop
        self._dense, self._biases = [], []
        for synapse, array in zip(self._structure["synapses"], arrays, strict=False):
            if synapse["kind"] == "bias":
                self._biases.append((synapse["target"], array))
            else:
                self._dense.append(_Dense(array, synapse["source"], synapse["target"], synapse["symmetric"]))
        cost = self._structure["cost"]
        if cost is not None and cost["kind"] == "cross_entropy":
            self._readout = (arrays[-2], arrays[-1])

    def activity(self, u: _Array) -> _Array:
        """a = ρ(u), (rows, free units)."""
        a = np.empty_like(u)
        for units, last_axis, rho in self._activations:
            # States are flat here; softmax acts along the last axis of the population's own shape.
            own = u[:, units]
            a[:, units] = rho(own.reshape(-1, last_axis)).reshape(own.shape)
        return a

    def constant_drive(self, x: _Array) -> _Array:
        """What stays during a relaxation, (rows, free units): the drive of biases and clamped populations."""
        free, clamped = self.layout.free, self.layout.clamped
        drive = np.zeros((x.shape[0], self.layout.n_free))
        for target, bias in self._biases:
            if target in free:
                drive[:, free[target]] += bias
        for weight, source, target, symmetric in self._dense:
            if source in clamped and target in free:
                drive[:, free[target]] += x[:, clamped[source]] @ weight.T
            elif symmetric and source in free and target in clamped:
                drive[:, free[source]] += x[:, clamped[target]] @ weight
        return drive

    def recurrent_drive(self, a: _Array, drive: _Array) -> None:
        """Add to `drive` what free populations send; a self-synapse, e = −½aᵀWa, drives by W a once."""
        free = self.layout.free
        for weight, source, target, symmetric in self._dense:
            if source not in free or target not in free:
                continue
            drive[:, free[target]] += a[:, free[source]] @ weight.T
            if symmetric and source != target:
                drive[:, free[source]] += a[:, free[target]] @ weight

    def asymmetry_correction(self, delta: _Array, drive: _Array) -> None:
        """Add (Dᵀ − D)δ to `drive`, δ = a − a*; a symmetric synapse has D = Dᵀ and adds nothing."""
        free = self.layout.free
        for weight, source, target, symmetric in self._dense:
            if symmetric or source not in free or target not in free:
                continue
            drive[:, free[source]] += delta[:, free[target]] @ weight
            drive[:, free[target]] -= delta[:, free[source]] @ weight.T

    def nudge(self, a: _Array, y: _Array, beta: _Array, drive: _Array) -> None:
        """Subtract β ∂C/∂a; y is (rows, target units), beta (rows, 1)."""
        units = self.layout.free[self._structure["cost"]["population"]]
        if self._readout is None:
            drive[:, units] -= beta * (a[:, units] - y)
            return
        weight, bias = self._readout
        drive[:, units] -= beta * ((softmax(a[:, units] @ weight.T + bias) - y) @ weight)


class Relaxation:
    """Masked steps u ← u + α(drive − u) of all rows; row r is phase r // samples of sample r % samples.

    All rows of a sample move and stop together, governed by the largest residual among them.
    """

    def __init__(self, equations: Equations, command: Command, table: _Array, u: _Array) -> None:
        if not 0.0 < command.alpha <= 1.0:
            raise ValueError(f"alpha is {command.alpha:g}; a relaxation step needs 0 < alpha <= 1")
        rows = command.samples * command.phases
        start, x, self._target, anchor, tolerance, self._beta = split(table[:rows], equations.layout.row_widths)
        self._equations = equations
        self._command = command
        self._anchor = anchor if command.corrected else None
        self._tolerance = tolerance[: command.samples, 0]
        with np.errstate(all="ignore"):
            self._constant = equations.constant_drive(x)
        # The Process's Var holds the state of all rows it can take; a relaxation works on the first of them.
        self.u = u[:rows]
        self.u[...] = start
        self.residual = np.full(rows, np.nan)
        self.steps = np.zeros(command.samples, dtype=np.int64)
        self.status = np.full(command.samples, MAX_STEPS)
        self.active = np.ones(command.samples, dtype=bool)
        self._first: _Array | None = None
        self._taken = 0

    def step(self) -> None:
        """One update of the samples still active, and after the last allowed one the judging evaluation."""
        if not self.active.any():
            return
        with np.errstate(all="ignore"):
            change = self._evaluate()
            if self._taken < self._command.max_steps:
                self._update(change)
                self._taken += 1
                if self._taken < self._command.max_steps or not self.active.any():
                    return
                self._evaluate()
        self.active[:] = False

    def write(self, state: _Array) -> None:
        """Fill the first rows of `state` with u, a, residual, steps and status."""
        phases = self._command.phases
        u, a, residual, steps, status = split(state[: self.u.shape[0]], self._equations.layout.state_widths)
        u[...] = self.u
        with np.errstate(all="ignore"):
            a[...] = self._equations.activity(self.u)
        residual[:, 0] = self.residual
        steps[:, 0] = np.tile(self.steps, phases)
        status[:, 0] = np.tile(self.status, phases)

    def _evaluate(self) -> _Array:
        """drive − u of all rows; notes the residuals and lets the samples go that have come to an end."""
        change = self._drive() - self.u
        residual = np.sqrt(np.mean(change**2, axis=1))
        rows = np.tile(self.active, self._command.phases)
        self.residual[rows] = residual[rows]
        governing = residual.reshape(self._command.phases, self._command.samples).max(axis=0)
        if self._first is None:
            self._first = governing
        nonfinite = ~np.isfinite(governing)
        diverged = governing > _DIVERGED_AT * np.maximum(1.0, self._first)
        converged = governing <= self._tolerance
        for code, reached in ((NONFINITE, nonfinite), (DIVERGED, diverged), (CONVERGED, converged)):
            ended = self.active & reached
            self.status[ended] = code
            self.active[ended] = False
        return change

    def _drive(self) -> _Array:
        a = self._equations.activity(self.u)
        drive = self._constant.copy()
        self._equations.recurrent_drive(a, drive)
        if self._anchor is not None:
            self._equations.asymmetry_correction(a - self._anchor, drive)
        if self._command.nudged:
            self._equations.nudge(a, self._target, self._beta, drive)
        return drive

    def _update(self, change: _Array) -> None:
        rows = np.tile(self.active, self._command.phases)
        self.u[rows] += self._command.alpha * change[rows]
        self.steps[self.active] += 1


def softmax(u: _Array) -> _Array:
    """Along the last axis; the largest entry is subtracted first so that nothing overflows."""
    e = np.exp(u - u.max(axis=-1, keepdims=True))
    probability: _Array = e / e.sum(axis=-1, keepdims=True)
    return probability


def sigmoid(u: _Array) -> _Array:
    """1 / (1 + e^{−u}), by the exponential of −|u| only, which cannot overflow."""
    e = np.exp(-np.abs(u))
    return np.where(u >= 0, 1.0, e) / (1.0 + e)


def activation(name: str) -> Callable[[_Array], _Array]:
    """ρ by its name in the spec; ValueError for one that this model does not know."""
    known: dict[str, Callable[[_Array], _Array]] = {
        "identity": np.copy,
        "relu": lambda u: np.maximum(u, 0.0),
        "hard_sigmoid": lambda u: np.clip(u, 0.0, 1.0),
        "sigmoid": sigmoid,
        "tanh": np.tanh,
        "softmax": softmax,
    }
    if name not in known:
        raise ValueError(f"activation {name!r} is not one of {', '.join(known)}")
    return known[name]


def _parameter_shape(synapse: dict[str, Any], sizes: dict[str, int]) -> tuple[int, ...]:
    if synapse["kind"] == "bias":
        return (sizes[synapse["target"]],)
    return (sizes[synapse["target"]], sizes[synapse["source"]])
