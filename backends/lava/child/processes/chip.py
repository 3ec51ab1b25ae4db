"""A chip's network as a Lava Process with two models: one process for everything, or one for each part.

`EquilibriumChip` is what is run.  Its leaf models keep the whole network in one process and take a batch at once; its
sub-process model is what a chip would be given: a Process a population, a Process a connection.  Both exist in
fixed point, bit for bit the definition in `neuro_eq/hardware/chip.py`, and in floating point.

All processes know the schedule: so many presentations one after the other (of one process: side by side), each with
the same phases.  In one time step of Lava every population takes in what connections held back in the step before,
moves, and sends.

Besides Lava this file needs NumPy and the standard library only, since Lava executes it a second time on discovery.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.model.sub.model import AbstractSubProcessModel
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

CHANNELS = ("v", "sigma", "a", "message", "sent", "wrapped", "saturated", "clipped")
"""What is reported of every unit; from `sent` on they are counts since the presentation began."""

_Array = np.ndarray[Any, np.dtype[Any]]
_Table = dict[str, Any]
_Arrived = Any
"""An array, or 0 where there is nothing."""


class Moment(NamedTuple):
    """Where in the schedule a time step is."""

    presentation: int
    step: int
    """Of the presentation, from 0."""
    nudged: bool
    last: bool
    """Whether it is the last of its presentation."""


class Schedule:
    """`presentations` one after the other, each with `phases` of (steps, nudged)."""

    def __init__(self, presentations: int, phases: list[list[int]]) -> None:
        self.presentations = presentations
        self._phases = phases
        self.steps = sum(steps for steps, _ in phases)

    def at(self, time_step: int) -> Moment:
        """Lava counts its time steps from 1."""
        presentation, step = divmod(time_step - 1, self.steps)
        first = 0
        for steps, nudged in self._phases:
            first += steps
            if step < first:
                return Moment(presentation, step, bool(nudged), step == self.steps - 1)
        raise AssertionError("a step lies in one of the phases")


class FixedUnits:
    """A population's registers, (rows, size), in the chip's integers."""

    def __init__(self, population: _Table, arrays: dict[str, _Array], sigma_delta: bool) -> None:
        self._p = population
        self._bias = arrays[f"bias.{population['name']}"]
        self._table = arrays[f"table.{population['name']}"]
        self._sigma_delta = sigma_delta

    def reset(self, rows: int, data: _Array | None) -> None:
        """Before the first step: no potential, nothing sent; a clamped population has its data."""
        shape = (rows, self._p["size"])
        self.v, self.sigma, self.reference, self.message = (np.zeros(shape, np.int64) for _ in range(4))
        self.counts = np.zeros((4, *shape), np.int64)
        self.a = self._activity(self.v) if data is None else data.astype(np.int64)
        self.counts[3] = 0

    def step(self, arrived: _Arrived, target: _Arrived, gain: _Arrived) -> None:
        """Take in what has arrived, move, and form a message."""
        if not self._p["clamped"]:
            s = arrived + (self.sigma if self._sigma_delta else 0)
            self.sigma = ((s + 2**23) & (2**24 - 1)) - 2**23
            self.counts[1] += self.sigma != s
            stays = np.sign(self.v) * ((np.abs(self.v) * (4096 - self._p["decay"])) >> 12)
            x = stays + self.sigma + self._bias + gain * (target - self.a)
            self.v = np.clip(x, -(2**23) + 1, 2**23 - 1)
            self.counts[2] += self.v != x
            self.a = self._activity(np.sign(self.v) * ((np.abs(self.v) * self._p["decay"]) >> 12))
        if not self._sigma_delta:
            self.message = self.a
        else:
            change = self.a - self.reference
            self.message = np.where(np.abs(change) >= self._p["threshold"], change, 0)
            self.reference = self.reference + self.message
        self.counts[0] += self.message != 0

    def _activity(self, u: _Array) -> _Array:
        if self._table.size:
            edge, stretch = 1 << self._p["reach"], self._p["stretch"]
            at = np.clip(u, -edge, edge - 1) + edge
            left = at >> stretch
            rise = self._table[left + 1] - self._table[left]
            return self._table[left] + _rounded(rise * (at & ((1 << stretch) - 1)), stretch)
        raw = _rounded(u, self._p["shift"])
        low, high = self._p["low"], self._p["high"]
        if self._p["unbounded"]:
            self.counts[3] += (raw > high) | ((raw < low) & (low < 0))
        return np.clip(raw, low, high)


class FloatUnits:
    """The same in float64: u ← u + α(s + b + β(y − a) − u), reported as v."""

    def __init__(self, population: _Table, arrays: dict[str, _Array], sigma_delta: bool) -> None:
        self._p = population
        self._bias = arrays[f"bias.{population['name']}"]
        self._sigma_delta = sigma_delta
        self._rho = activation(population["activation"])

    def reset(self, rows: int, data: _Array | None) -> None:
        """Before the first step: no potential, nothing sent; a clamped population has its data."""
        shape = (rows, self._p["size"])
        self.v, self.sigma, self.reference, self.message = (np.zeros(shape) for _ in range(4))
        self.counts = np.zeros((4, *shape))
        self.a = self._rho(self.v) if data is None else data.astype(np.float64)

    def step(self, arrived: _Arrived, target: _Arrived, gain: _Arrived) -> None:
        """Take in what has arrived, move, and form a message."""
        if not self._p["clamped"]:
            self.sigma = arrived + (self.sigma if self._sigma_delta else 0.0)
            drive = self.sigma + self._bias + gain * (target - self.a)
            self.v = self.v + self._p["alpha"] * (drive - self.v)
            self.a = self._rho(self.v)
        if not self._sigma_delta:
            self.message = self.a
        else:
            change = self.a - self.reference
            self.message = np.where(np.abs(change) >= self._p["threshold"], change, 0.0)
            self.reference = self.reference + self.message
        self.counts[0] += self.message != 0


class Way:
    """A connection: what was sent `delay` steps ago, through the weights."""

    def __init__(self, connection: _Table, arrays: dict[str, _Array], fixed: bool) -> None:
        self._c = connection
        self._weights = arrays[f"weights.{connection['name']}"].T
        self._fixed = fixed

    def reset(self) -> None:
        """Nothing is on its way."""
        self._held: list[_Array] = []

    def arriving(self, nudged: bool) -> _Arrived:
        """What comes out in this step; nothing where this phase does not go this way."""
        if len(self._held) < self._c["delay"] or self._c["phase"] == ("free" if nudged else "nudged"):
            return 0
        total = self._held[0] @ self._weights
        if not self._fixed:
            return total
        exponent = self._c["exponent"]
        return total << exponent if exponent >= 0 else total >> -exponent

    def take(self, message: _Array) -> None:
        """What goes in, at the end of a step."""
        self._held = [*self._held[-self._c["delay"] + 1 :], message] if self._c["delay"] > 1 else [message]


class EquilibriumChip(AbstractProcess):
    """A network of a chip and the presentations that it is shown.

    Parameters
    ----------
    structure
        {"fixed", "sigma_delta", "output", "units", "populations": [...], "connections": [...],
         "presentations", "phases": [[steps, nudged], ...], "trace"}; see `neuro_eq/backends/lava/chip.py`.
    arrays
        "weights.NAME" (post, pre), "bias.NAME" (size,), "table.NAME", "data" (presentations, clamped units),
        "target" (presentations, outputs), "gain" (presentations,).
    """

    def __init__(self, *, structure: _Table, arrays: dict[str, _Array]) -> None:
        super().__init__(structure=structure, arrays=arrays)
        self.report_out = OutPort(shape=report_shape(structure))
        self.report_out.flag_external_pipe(buffer_size=1)


def report_shape(structure: _Table) -> tuple[int, int, int, int]:
    """(steps that are kept, presentations, channels, units)."""
    steps = sum(steps for steps, _ in structure["phases"]) if structure["trace"] else 1
    return steps, structure["presentations"], len(CHANNELS), structure["units"]


class _Report:
    """The table that is filled step by step and sent once."""

    def __init__(self, structure: _Table, dtype: type[np.generic]) -> None:
        self.values = np.zeros(report_shape(structure), dtype=dtype)
        self._trace = structure["trace"]

    def note(self, moment: Moment, rows: slice, population: _Table, units: FixedUnits | FloatUnits) -> None:
        """Write down what a population has come to."""
        if not self._trace and not moment.last:
            return
        place = slice(population["place"], population["place"] + population["size"])
        channels = (units.v, units.sigma, units.a, units.message, *units.counts)
        for channel, values in enumerate(channels):
            self.values[moment.step if self._trace else 0, rows, channel, place] = values


class _OneProcess(PyLoihiProcessModel):
    """All of it in one process, all presentations at once."""

    report_out: PyOutPort
    units_class: type[FixedUnits] | type[FloatUnits]
    dtype: type[np.generic]

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        structure, arrays = proc_params["structure"], proc_params["arrays"]
        fixed = bool(structure["fixed"])
        self._structure = structure
        self._rows = structure["presentations"]
        self._schedule = Schedule(1, structure["phases"])
        self._populations = [
            (p, self.units_class(p, arrays, structure["sigma_delta"])) for p in structure["populations"]
        ]
        self._ways = [(c, Way(c, arrays, fixed)) for c in structure["connections"]]
        for p, units in self._populations:
            units.reset(self._rows, _data_of(p, arrays))
        for _, way in self._ways:
            way.reset()
        self._target, self._gain = arrays["target"], arrays["gain"][:, None]
        self._report = _Report(structure, self.dtype)

    def run_spk(self) -> None:
        moment = self._schedule.at(self.time_step)
        arrived: dict[str, Any] = {
            p["name"]: np.zeros((self._rows, p["size"]), self.dtype) for p, _ in self._populations
        }
        for c, way in self._ways:
            arrived[c["target"]] += way.arriving(moment.nudged)
        for p, units in self._populations:
            pulled = p["name"] == self._structure["output"] and moment.nudged
            units.step(arrived[p["name"]], self._target if pulled else 0, self._gain if pulled else 0)
            self._report.note(moment, slice(None), p, units)
        messages = {p["name"]: units.message for p, units in self._populations}
        for c, way in self._ways:
            way.take(messages[c["source"]])
        if moment.last:
            self.report_out.send(self._report.values)


@implements(proc=EquilibriumChip, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyEquilibriumChipFixed(_OneProcess):
    """The chip's integers."""

    report_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int64, precision=24)
    units_class = FixedUnits
    dtype = np.int64


@implements(proc=EquilibriumChip, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyEquilibriumChipFloat(_OneProcess):
    """float64."""

    report_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.float64)
    units_class = FloatUnits
    dtype = np.float64


class EquilibriumPopulation(AbstractProcess):
    """Neurons that integrate what arrives, leak, and send their activity or its changes; or that hold data."""

    def __init__(self, *, structure: _Table, arrays: dict[str, _Array], population: _Table) -> None:
        super().__init__(structure=structure, arrays=arrays, population=population)
        self.a_in = InPort(shape=(population["size"],))
        self.s_out = OutPort(shape=(population["size"],))
        self.report_out = OutPort(shape=report_shape(structure))


class EquilibriumConnection(AbstractProcess):
    """Synapses one way; a message comes out `delay` steps after it went in."""

    def __init__(self, *, structure: _Table, arrays: dict[str, _Array], connection: _Table) -> None:
        super().__init__(structure=structure, arrays=arrays, connection=connection)
        post, pre = arrays[f"weights.{connection['name']}"].shape
        self.s_in = InPort(shape=(pre,))
        self.a_out = OutPort(shape=(post,))


class Collector(AbstractProcess):
    """Adds up what the populations report, each at its own place, and hands it out."""

    def __init__(self, *, structure: _Table) -> None:
        super().__init__(structure=structure)
        self.report_in = InPort(shape=report_shape(structure))
        self.report_out = OutPort(shape=report_shape(structure))
        self.report_out.flag_external_pipe(buffer_size=1)


@implements(proc=EquilibriumChip, protocol=LoihiProtocol)
@tag("fixed_pt", "floating_pt")
class SubEquilibriumChip(AbstractSubProcessModel):
    """A Process a population, a Process a connection: what a chip would be given."""

    def __init__(self, proc: AbstractProcess) -> None:
        structure, arrays = proc.proc_params["structure"], proc.proc_params["arrays"]
        self.collector = Collector(structure=structure)
        populations = {}
        for p in structure["populations"]:
            # Lava finds sub-processes among the attributes.
            own = {name: value for name, value in arrays.items() if not name.startswith("weights.")}
            process = EquilibriumPopulation(structure=structure, arrays=own, population=p)
            process.report_out.connect(self.collector.report_in)
            setattr(self, f"population_{p['name']}", process)
            populations[p["name"]] = process
        for c in structure["connections"]:
            key = f"weights.{c['name']}"
            process = EquilibriumConnection(structure=structure, arrays={key: arrays[key]}, connection=c)
            populations[c["source"]].s_out.connect(process.s_in)
            process.a_out.connect(populations[c["target"]].a_in)
            setattr(self, f"connection_{c['name']}", process)


class _PopulationModel(PyLoihiProcessModel):
    """One population, one presentation after the other."""

    a_in: PyInPort
    s_out: PyOutPort
    report_out: PyOutPort
    units_class: type[FixedUnits] | type[FloatUnits]
    dtype: type[np.generic]

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        structure, self._arrays = proc_params["structure"], proc_params["arrays"]
        self._population = proc_params["population"]
        self._schedule = Schedule(structure["presentations"], structure["phases"])
        self._units = self.units_class(self._population, self._arrays, structure["sigma_delta"])
        self._pulled = self._population["name"] == structure["output"]
        self._heard = any(c["target"] == self._population["name"] for c in structure["connections"])
        self._report = _Report(structure, self.dtype)

    def run_spk(self) -> None:
        moment = self._schedule.at(self.time_step)
        row = slice(moment.presentation, moment.presentation + 1)
        if moment.step == 0:
            data = _data_of(self._population, self._arrays)
            self._units.reset(1, None if data is None else data[row])
        arrived = self.a_in.recv() if self._heard else 0
        pulled = self._pulled and moment.nudged
        target = self._arrays["target"][row] if pulled else 0
        self._units.step(arrived, target, self._arrays["gain"][row][:, None] if pulled else 0)
        self.s_out.send(self._units.message[0])
        self._report.note(moment, row, self._population, self._units)
        if moment.last and moment.presentation == self._schedule.presentations - 1:
            self.report_out.send(self._report.values)


@implements(proc=EquilibriumPopulation, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyEquilibriumPopulationFixed(_PopulationModel):
    """The chip's integers."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int64, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int64, precision=24)
    report_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int64, precision=24)
    units_class = FixedUnits
    dtype = np.int64


@implements(proc=EquilibriumPopulation, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyEquilibriumPopulationFloat(_PopulationModel):
    """float64."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.float64)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.float64)
    report_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.float64)
    units_class = FloatUnits
    dtype = np.float64


class _ConnectionModel(PyLoihiProcessModel):
    """What was held back comes out before anything goes in, so that loops do not wait for themselves."""

    s_in: PyInPort
    a_out: PyOutPort
    dtype: type[np.generic]

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        structure = proc_params["structure"]
        self._schedule = Schedule(structure["presentations"], structure["phases"])
        self._way = Way(proc_params["connection"], proc_params["arrays"], bool(structure["fixed"]))

    def run_spk(self) -> None:
        moment = self._schedule.at(self.time_step)
        if moment.step == 0:
            self._way.reset()
        out = np.zeros(self.a_out.shape, self.dtype)
        out += np.reshape(self._way.arriving(moment.nudged), (-1,))
        self.a_out.send(out)
        self._way.take(self.s_in.recv()[None])


@implements(proc=EquilibriumConnection, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyEquilibriumConnectionFixed(_ConnectionModel):
    """The chip's integers."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int64, precision=24)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int64, precision=24)
    dtype = np.int64


@implements(proc=EquilibriumConnection, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyEquilibriumConnectionFloat(_ConnectionModel):
    """float64."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.float64)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.float64)
    dtype = np.float64


class _CollectorModel(PyLoihiProcessModel):
    report_in: PyInPort
    report_out: PyOutPort

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        structure = proc_params["structure"]
        self._schedule = Schedule(structure["presentations"], structure["phases"])

    def run_spk(self) -> None:
        moment = self._schedule.at(self.time_step)
        if moment.last and moment.presentation == self._schedule.presentations - 1:
            self.report_out.send(self.report_in.recv())


@implements(proc=Collector, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyCollectorFixed(_CollectorModel):
    """The chip's integers."""

    report_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int64, precision=24)
    report_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int64, precision=24)


@implements(proc=Collector, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyCollectorFloat(_CollectorModel):
    """float64."""

    report_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.float64)
    report_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.float64)


def _data_of(population: _Table, arrays: dict[str, _Array]) -> _Array | None:
    """(presentations, size) for a clamped population, whose places are the first of all."""
    if not population["clamped"]:
        return None
    return arrays["data"][:, population["place"] : population["place"] + population["size"]]


def _rounded(x: _Array, bits: int) -> _Array:
    return x << -bits if bits <= 0 else (x + (1 << (bits - 1))) >> bits


def activation(name: str) -> Callable[[_Array], _Array]:
    """ρ by its name in the spec; ValueError for one that no neuron computes by itself."""
    known: dict[str, Callable[[_Array], _Array]] = {
        "identity": np.copy,
        "relu": lambda u: np.maximum(u, 0.0),
        "hard_sigmoid": lambda u: np.clip(u, 0.0, 1.0),
        "sigmoid": lambda u: 0.5 * (1.0 + np.tanh(0.5 * u)),
        "tanh": np.tanh,
    }
    if name not in known:
        raise ValueError(f"activation {name!r} is not one of {', '.join(known)}")
    return known[name]
