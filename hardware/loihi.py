"""What Loihi 1 and Loihi 2 offer, as data with their sources.

Sources: [1] Davies et al., "Loihi: a neuromorphic manycore processor with on-chip learning", IEEE Micro 38(1), 2018,
text and Table 1 (energies and times are from simulation before silicon). [2] Intel, "Taking neuromorphic computing to
the next level with Loihi 2", technology brief, 2021, and Orchard et al., "Efficient neuromorphic signal processing with
Loihi 2", IEEE SiPS 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from neuro_eq.errors import SpecError, did_you_mean


@dataclass(frozen=True)
class Limit:
    """A number that must not be exceeded.

    Attributes:
        value: the number; None where none is published, so that nothing can be held to it.
        source: where it stands.
        certain: whether it is stated there for one core as we use it, rather than read out of a total.
    """

    value: int | None
    source: str
    certain: bool = True


@dataclass(frozen=True)
class Costs:
    """Energies in joules and times in seconds of single events.

    Attributes:
        synaptic_operation, active_update, idle_update, learning_update, spike, hop: energy of each.
        operation_time, active_time, idle_time: of a core that does one after the other.
        barrier: time in which all cores agree on the next step, with one tile and with 32.
    """

    synaptic_operation: float
    active_update: float
    idle_update: float
    learning_update: float
    spike: float
    hop: tuple[float, float]
    operation_time: float
    active_time: float
    idle_time: float
    barrier: tuple[float, float]
    source: str


@dataclass(frozen=True)
class Chip:
    """One kind of chip.

    Attributes:
        name: as ``--target`` takes it.
        cores: of one chip.
        neurons, in_axons, out_axons, synapse_bits: of one core.
        cores_per_tile: that share a router.
        payloads: whether a message carries a number; where not, only a simulation can send graded messages.
        programs: whether a neuron's program is free, which activities and nudges here need.
        costs: None where none are published.
    """

    name: str
    cores: Limit
    neurons: Limit
    in_axons: Limit
    out_axons: Limit
    synapse_bits: Limit
    cores_per_tile: int
    payloads: bool
    programs: bool
    costs: Costs | None

    @property
    def per_core(self) -> Mapping[str, Limit]:
        """The limits of one core by the names that a utilisation report uses."""
        return {
            "neurons": self.neurons,
            "in-axons": self.in_axons,
            "out-axons": self.out_axons,
            "synapse bits": self.synapse_bits,
        }


_PICO, _NANO = 1e-12, 1e-9

LOIHI1 = Chip(
    name="loihi1",
    cores=Limit(128, "[1]"),
    neurons=Limit(1024, "[1], compartments"),
    in_axons=Limit(4096, "[1]"),
    out_axons=Limit(4096, "[1]"),
    synapse_bits=Limit(128 * 1024 * 8, "[1], 128 KB of synapse memory"),
    cores_per_tile=4,
    payloads=False,
    programs=False,
    costs=Costs(
        synaptic_operation=23.6 * _PICO,
        active_update=81 * _PICO,
        idle_update=52 * _PICO,
        learning_update=120 * _PICO,
        spike=1.7 * _PICO,
        hop=(3.0 * _PICO, 4.0 * _PICO),
        operation_time=3.5 * _NANO,
        active_time=8.4 * _NANO,
        idle_time=5.3 * _NANO,
        barrier=(113 * _NANO, 465 * _NANO),
        source="[1], Table 1, before silicon",
    ),
)

LOIHI2 = Chip(
    name="loihi2",
    cores=Limit(128, "[2]"),
    neurons=Limit(8192, "[2], at most, fewer with long programs", certain=False),
    in_axons=Limit(None, "not published"),
    out_axons=Limit(None, "not published"),
    synapse_bits=Limit(192 * 1024 * 8, "[2], 192 KB shared by synapses, neurons and programs", certain=False),
    cores_per_tile=4,
    payloads=True,
    programs=True,
    costs=None,
)

CHIPS: dict[str, Chip] = {chip.name: chip for chip in (LOIHI1, LOIHI2)}
"""Chips by the name of a target."""


def chip_named(name: str) -> Chip:
    """The chip of that name.

    Raises:
        SpecError: there is none.
    """
    if name not in CHIPS:
        raise SpecError(f'no chip "{name}"' + did_you_mean(name, CHIPS), "target")
    return CHIPS[name]
