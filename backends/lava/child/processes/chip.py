"""A chip's network as a Lava Process with two models: one process for everything, or one for each part.

`EquilibriumChip` is what is run.  Its leaf models keep the whole network in one process and take a batch at once; its
sub-process model is what a chip would be given: a Process a population, a Process a connection.  Both exist in
fixed point, bit for bit the definition in `neuro_eq/hardware/chip.py`, and in floating point.

All processes know the schedule: so many presentations one after the other (of one process: side by side), each with
the same phases.  In one time step of Lava every population takes in what connections held back in the step before,
moves, and sends.

The arithmetic is imported by its place in the package, which also holds where Lava executes this file a second time, on
discovery.
"""

from __future__ import annotations

from typing import Any

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

from ..arithmetic import Array, FixedUnits, FloatUnits, Report, Schedule, Table, Way, data_of, report_shape


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

    def __init__(self, *, structure: Table, arrays: dict[str, Array]) -> None:
        super().__init__(structure=structure, arrays=arrays)
        self.report_out = OutPort(shape=report_shape(structure))
        self.report_out.flag_external_pipe(buffer_size=1)


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
            units.reset(self._rows, data_of(p, arrays))
        for _, way in self._ways:
            way.reset()
        self._target, self._gain = arrays["target"], arrays["gain"][:, None]
        self._report = Report(structure, self.dtype)

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

    def __init__(self, *, structure: Table, arrays: dict[str, Array], population: Table) -> None:
        super().__init__(structure=structure, arrays=arrays, population=population)
        self.a_in = InPort(shape=(population["size"],))
        self.s_out = OutPort(shape=(population["size"],))
        self.report_out = OutPort(shape=report_shape(structure))


class EquilibriumConnection(AbstractProcess):
    """Synapses one way; a message comes out `delay` steps after it went in."""

    def __init__(self, *, structure: Table, arrays: dict[str, Array], connection: Table) -> None:
        super().__init__(structure=structure, arrays=arrays, connection=connection)
        post, pre = arrays[f"weights.{connection['name']}"].shape
        self.s_in = InPort(shape=(pre,))
        self.a_out = OutPort(shape=(post,))


class Collector(AbstractProcess):
    """Adds up what the populations report, each at its own place, and hands it out."""

    def __init__(self, *, structure: Table) -> None:
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
        self._report = Report(structure, self.dtype)

    def run_spk(self) -> None:
        moment = self._schedule.at(self.time_step)
        row = slice(moment.presentation, moment.presentation + 1)
        if moment.step == 0:
            data = data_of(self._population, self._arrays)
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
