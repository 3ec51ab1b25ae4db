"""A chip's network in Lava, shown so many presentations: a runtime of its own, started once for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.run_configs import Loihi2SimCfg

from .arithmetic import Schedule
from .processes.chip import EquilibriumChip
from .runtime import GuardedRuntime


class ChipRuntime(GuardedRuntime):
    """A started `EquilibriumChip`.

    Parameters
    ----------
    structure, arrays
        As `EquilibriumChip` takes them.
    hierarchical
        Whether every population and every connection is a process of its own.
    """

    def __init__(self, structure: dict[str, Any], arrays: dict[str, np.ndarray], hierarchical: bool) -> None:
        presentations = structure["presentations"] if hierarchical else 1
        self._steps = presentations * Schedule(1, structure["phases"]).steps
        process = EquilibriumChip(structure=structure, arrays=arrays)
        kind = "fixed_pt" if structure["fixed"] else "floating_pt"
        super().__init__(process, Loihi2SimCfg(select_tag=kind, select_sub_proc_model=hierarchical))
        source = process.procs.collector if hierarchical else process
        self._report = source.report_out.external_pipe_csp_recv_port
        self._report.observer = self._woken.set

    def run(self) -> np.ndarray:
        """Show everything; returns the report, (steps kept, presentations, channels, units)."""
        try:
            self._run(self._steps)
            self._await(self._report)
            return np.asarray(self._report.recv())
        except BaseException as error:
            self._raise_for(error)
