"""A chip's network in Lava: the same presentations in Lava's processes, to be held against the integer engine.

with LavaChip(timeout=60) as lava:
    found = lava.run(chip, {"input": x}, phases=[(60, False)])
found.v[-1]           # after the last step, every unit in the order of ``chip.places``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, Shaped

from neuro_eq.backends.lava import environment
from neuro_eq.backends.lava.client import LavaClient
from neuro_eq.hardware.chip import ChipNetwork
from neuro_eq.hardware.learning import Rule
from neuro_eq.hardware.real import RealNetwork

Steps = Shaped[np.ndarray, "kept presentations units"]


@dataclass(frozen=True, eq=False)
class LavaRun:
    """What Lava reports of every unit, by step where a trace was asked for, else after the last one.

    Attributes:
        v, sigma, a, messages: as in :class:`neuro_eq.hardware.chip.ChipNetwork`; in floating point v is u.
        sent: messages since the presentation began.
        wrapped, saturated, clipped: overflows since then.
        seconds: that the run took, without starting Lava.
    """

    v: Steps
    sigma: Steps
    a: Steps
    messages: Steps
    sent: Steps
    wrapped: Steps
    saturated: Steps
    clipped: Steps
    seconds: float


class LavaChip:
    """Runs networks of a chip in Lava.

    Args:
        timeout: seconds that a run may take before the child is ended.
        python: Lava's interpreter; found by itself when not given.
    """

    def __init__(self, timeout: float = 120.0, python: Path | None = None) -> None:
        self.client = LavaClient(environment.find() if python is None else python, timeout=timeout)

    def close(self) -> None:
        """End the child."""
        self.client.close()

    def __enter__(self) -> LavaChip:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def run(
        self,
        network: ChipNetwork | RealNetwork,
        data: Mapping[str, Any],
        phases: Sequence[tuple[int, bool]],
        *,
        target: Any = None,
        gain: Any = 0,
        hierarchical: bool = False,
        trace: bool = True,
    ) -> LavaRun:
        """Show presentations, each from the start through all phases.

        Args:
            network: in integers, or in real numbers for the ``floating_pt`` models.
            data: of the clamped populations, in the network's own numbers.
            phases: steps, and whether the output is nudged in them.
            target: of the nudged phases, ``(presentations, outputs)``.
            gain: of the nudge, one number or one for each presentation.
            hierarchical: a process a population and a process a connection, one presentation after the other; without,
                one process and all of them at once.
            trace: report every step.

        Raises:
            BackendError: Lava failed; with the model's own traceback.
        """
        fixed = isinstance(network, ChipNetwork)
        kind = np.int64 if fixed else np.float64
        shown = np.concatenate(
            [np.asarray(data[p.name]).reshape(len(data[p.name]), -1) for p in network.clamped], axis=1
        )
        rows = len(shown)
        outputs = network.population(network.output).size
        arrays = {
            "data": shown.astype(kind),
            "target": np.zeros((rows, outputs), kind) if target is None else np.asarray(target).astype(kind),
            "gain": np.broadcast_to(np.asarray(gain), (rows,)).astype(kind),
        }
        for p in network.populations:
            arrays[f"bias.{p.name}"] = p.bias.astype(kind)
            arrays[f"table.{p.name}"] = getattr(p, "table", np.zeros(0)).astype(np.int64)
        for c in network.connections:
            arrays[f"weights.{c.name}"] = c.weights.astype(kind)
        structure = {
            "fixed": fixed,
            "sigma_delta": network.messages == "sigma_delta",
            "output": network.output,
            "units": network.units,
            "populations": [{**_program(p), "place": network.places[p.name].start} for p in network.populations],
            "connections": [
                {"name": c.name, "source": c.source, "target": c.target, "delay": c.delay, "phase": c.phase,
                 "exponent": getattr(c, "exponent", 0)}
                for c in network.connections
            ],
            "presentations": rows,
            "phases": [[int(steps), bool(nudged)] for steps, nudged in phases],
            "trace": trace,
        }  # fmt: skip
        reply, received = self.client.request("present", {"structure": structure, "hierarchical": hierarchical}, arrays)
        report = received["report"]
        v, sigma, a, messages, sent, wrapped, saturated, clipped = np.moveaxis(report, 2, 0)
        return LavaRun(v, sigma, a, messages, sent, wrapped, saturated, clipped, reply["seconds"])

    def learn(
        self,
        rule: Rule,
        weights: Integer[np.ndarray, "post pre"],
        tags: Integer[np.ndarray, "post pre"],
        x1: Integer[np.ndarray, "events pre"],
        y1: Integer[np.ndarray, "events post"],
        y2: Integer[np.ndarray, "events post"],
        seed: int = 1,
        learned: bool = False,
    ) -> tuple[Integer[np.ndarray, "post pre"], Integer[np.ndarray, "post pre"]]:
        """Weights and tags after Lava's learning engine has evaluated a rule once an event.

        What it rounds by is drawn: :func:`draws`.

        Args:
            x1: presynaptic traces, 0…127, sent as graded messages that overwrite the trace.
            y1, y2: postsynaptic traces.
            seed: of the draws.
            learned: the weights are those of a connection that has learned, which have one bit more; without, Lava
                cuts it when it builds the connection.

        Raises:
            BackendError: Lava failed.
        """
        # Half of a payload is what the trace becomes.
        arrays = {"weights": weights, "tags": tags, "x": 2 * np.asarray(x1), "y1": y1, "y2": y2}
        arrays = {name: np.asarray(value, dtype=np.int64) for name, value in arrays.items()}
        _, received = self.client.request(
            "learn", {"rule": rule.strings(), "seed": int(seed), "learned": bool(learned)}, arrays
        )
        return received["weights"], received["tags"]


@dataclass(frozen=True)
class Draws:
    """What Lava's learning engine rounds by, one number an event: of variables, of pre- and of postsynaptic traces."""

    variables: Float[np.ndarray, " events"]
    pre: Float[np.ndarray, " events"]
    post: Float[np.ndarray, " events"]


def draws(events: int, seed: int = 1) -> Draws:
    """The draws of a connection of Lava's from its first event on.

    Variables are rounded by a generator of the next seed that draws once when it is made and once an event, traces by
    some that draw twice an event; those of the postsynaptic ones have the seed after that.
    """
    return Draws(
        variables=np.random.default_rng(seed + 1).random(events + 1)[1:],
        pre=np.random.default_rng(seed).random(2 * events + 1)[2::2],
        post=np.random.default_rng(seed + 2).random(2 * events + 1)[2::2],
    )


def _program(p: Any) -> dict[str, Any]:
    common = {"name": p.name, "size": p.size, "clamped": p.clamped, "threshold": p.threshold}
    if hasattr(p, "alpha"):
        return {**common, "alpha": p.alpha, "activation": p.activation}
    return {
        **common, "decay": p.decay, "shift": p.drive_bits - p.activity_bits, "low": p.low, "high": p.high,
        "reach": p.reach_bits, "stretch": p.stretch_bits, "unbounded": p.unbounded,
    }  # fmt: skip
