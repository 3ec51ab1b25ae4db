"""One connection under Lava's own learning engine: events come in, weights and tags come out.

Lava executes this file a second time on discovery, so it stands alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class Events(AbstractProcess):
    """Presynaptic messages and postsynaptic factors, one row a time step.

    Parameters
    ----------
    x, y1, y2
        (events, pre) payloads and (events, post) factors.
    """

    def __init__(self, *, x: np.ndarray, y1: np.ndarray, y2: np.ndarray) -> None:
        super().__init__(x=x, y1=y1, y2=y2)
        self.s_out = OutPort(shape=(x.shape[1],))
        self.y1_out = OutPort(shape=(y1.shape[1],))
        self.y2_out = OutPort(shape=(y1.shape[1],))
        self.y3_out = OutPort(shape=(y1.shape[1],))
        self.bap_out = OutPort(shape=(y1.shape[1],))


@implements(proc=Events, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyEventsFixed(PyLoihiProcessModel):
    """Integers."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    y1_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)
    y2_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)
    y3_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)
    bap_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, bool, precision=1)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._x, self._y1, self._y2 = (proc_params[name].astype(np.int32) for name in ("x", "y1", "y2"))

    def run_spk(self) -> None:
        event = self.time_step - 1
        self.s_out.send(self._x[event])
        self.y1_out.send(self._y1[event])
        self.y2_out.send(self._y2[event])
        self.y3_out.send(np.zeros_like(self._y1[event]))
        self.bap_out.send(np.zeros(self._y1.shape[1], dtype=bool))
