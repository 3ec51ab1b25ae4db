"""What a run would cost a chip, from the counts of a simulation and a published table: always an estimate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from neuro_eq.hardware.mapper import Placement


@dataclass(frozen=True)
class Activity:
    """Counts of one sample.

    Attributes:
        steps: that were taken.
        messages: that were sent, to every core that listens.
        deliveries: the same, once for each core that one goes to.
        operations: additions of a weight.
        neurons: that are updated in every step.
        learning_updates: synapses whose rule was evaluated.
    """

    steps: float
    messages: float
    deliveries: float
    operations: float
    neurons: int
    learning_updates: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """Time and energy of one sample.

    Attributes:
        seconds, joules: estimated.
        source: of the table.
        assumptions: what had to be assumed, a sentence each.
    """

    seconds: float
    joules: float
    source: str
    assumptions: tuple[str, ...]


def estimate(activity: Activity, placement: Placement) -> Estimate | None:
    """Time and energy of a sample; None for a chip whose costs are not published."""
    costs = placement.chip.costs
    if costs is None:
        return None
    updates = activity.steps * activity.neurons
    active = min(activity.messages, updates)
    # Half of the tiles' side is a fair guess of the way from one core to another.
    hops = math.sqrt(placement.tiles) / 2
    energy = (
        activity.operations * costs.synaptic_operation
        + active * costs.active_update
        + (updates - active) * costs.idle_update
        + activity.learning_updates * costs.learning_update
        + activity.deliveries * (costs.spike + hops * sum(costs.hop) / 2)
    )
    cores = max(1, len(placement.cores))
    share = max((core.used["neurons"] for core in placement.cores), default=0) / max(1, activity.neurons)
    busy = share * (active * costs.active_time + (updates - active) * costs.idle_time)
    operations = activity.operations * max(share, 1 / cores) * costs.operation_time
    barrier = costs.barrier[0] + (costs.barrier[1] - costs.barrier[0]) * min(1.0, (placement.tiles - 1) / 31)
    assumptions: tuple[str, ...] = (
        "every neuron is updated in every step, and one that sends counts as active",
        "the busiest core holds its share of all synaptic operations",
        "a message crosses half of the side of a square of tiles",
        "data that come in from outside cost nothing beyond the synaptic operations",
    )
    if not placement.chip.payloads:
        assumptions += ("a message with a payload costs as much as a spike, though this chip's spikes carry none",)
    return Estimate(busy + operations + activity.steps * barrier, energy, costs.source, assumptions)
