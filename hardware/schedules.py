r"""How the contrastive rule is brought to the chip's learning engine: which traces are sent when, and by which rule.

A dense synapse learns ``ΔW ∝ a⁺_post ⊗ a⁺_pre − a⁻_post ⊗ a⁻_pre`` from its two nudged phases.  A learning engine adds
products of seven-bit traces, cuts their last bits downwards and rounds what is left by a random draw.  Schedules differ
in what that does to a small difference of large products:

``contrast``
    One read-out a phase: the post neuron sends ``−a⁻`` as its factor, then ``+a⁺``.  Every product is cut downwards, so
    every pair drifts, also where nothing is to be learned.
``paired``
    Each weight is the difference of two, which learn with opposite signs: what is cut off both cancels in the mean.
    Twice the synapses.
``whole``
    As ``contrast``, with traces in steps of four: ``x·y`` is then a multiple of sixteen, so nothing is cut at all.
    Five bits of trace are left.
``tags``
    As ``contrast``, but into the synapse's tag, which counts finer; after some samples the tag is added to the weight
    and taken from itself.  Rounding costs the weight one draw where it cost many.
``differences``
    ``a⁺⊗a⁺ − a⁻⊗a⁻ = d⊗m + m⊗d`` with ``d = a⁺ − a⁻`` and ``m = (a⁺ + a⁻)/2``: a neuron that remembers its first
    nudged activity sends ``m`` and the *amplified* ``d``.  Where nothing is to be learned nothing is added, cut or
    drawn.  The signs of a presynaptic ``d`` are sent one after the other, since a message is no negative number.

What a chip could do: all five, if its neurons' program can hold one activity back, multiply and add (Loihi 2; Loihi 1
neither sends numbers nor has a program), and if it takes negative third factors, as Lava's model does.  What only the
simulation or a host can do: ``tie``, which copies the forward weights over the way back every so many samples, and
giving both ways the same draws.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Integer

from neuro_eq.errors import SpecError
from neuro_eq.hardware.learning import Product, Rule

Kind = Literal["contrast", "differences"]


@dataclass(frozen=True)
class LearningSchedule:
    """One way of teaching.

    Args:
        name: of the schedule.
        rule: what every synapse's engine evaluates.
        kind: which read-outs a sample has.
        paired: each weight is the difference of two that learn with opposite signs.
        multiple: traces are whole multiples of it, a power of two.
        amplify: differences are sent ``2^amplify`` times as large.
        consolidate: after so many samples tags are added to weights; 0 for never.
        tie: after so many samples the way back is made the forward weights' transpose; 0 for never.
    """

    name: str
    rule: Rule
    kind: Kind = "contrast"
    paired: bool = False
    multiple: int = 1
    amplify: int = 0
    consolidate: int = 0
    tie: int = 0

    def __post_init__(self) -> None:
        if self.multiple not in (1, 2, 4, 8, 16):
            raise SpecError(f"expected a power of two up to 16, found {self.multiple}", "multiple")
        if min(self.amplify, self.consolidate, self.tie) < 0:
            raise SpecError("counts and exponents are 0 or more", "schedule")

    @property
    def events(self) -> int:
        """Evaluations of the rule for each sample."""
        return 3 if self.kind == "differences" else 2

    def finer(self, bits: int) -> LearningSchedule:
        """The same with tags that are added to weights as a ``2^bits``-th: a smaller learning rate.

        Raises:
            SpecError: it has no tags, whose exponent alone can be lowered.
        """
        if not self.consolidate:
            raise SpecError(f'"{self.name}" adds the smallest products there are to weights', "finer")
        dw = tuple(replace(product, exponent=product.exponent - bits) for product in self.rule.dw)
        return replace(self, rule=replace(self.rule, dw=dw))

    def step(self) -> float:
        """Units of a weight that full traces, a difference of 1 between them and one sample add."""
        if self.consolidate:
            (tag, *_), (onto, *_) = self.rule.dt, self.rule.dw
            added = 127 * 127 * tag.mantissa / 2.0 ** (tag.shift - tag.exponent + 7)
            return added * CONSOLIDATING * onto.mantissa / 2.0 ** (onto.shift - onto.exponent + 7)
        (product,) = self.rule.dw
        return 127 * 127 * 2.0**self.amplify * product.mantissa / 2.0 ** (product.shift - product.exponent + 7)


CONSOLIDATING = 32
"""The factor y2 that adds a tag to its weight: with it no bit of the product is cut."""


def _read_out(mantissa: int, exponent: int) -> Rule:
    return Rule(dw=(Product(mantissa, exponent, ("x1", "y1")),))


def _with_tags(finer: int) -> Rule:
    """A tag counts ``2^finer`` times finer than a weight, and is emptied by what fills the weight."""
    return Rule(
        dw=(Product(1, 7 - finer, ("t", "y2")),),
        dt=(Product(1, 3, ("x1", "y1")), Product(-1, 7, ("t", "y2"))),
    )


SCHEDULES: dict[str, LearningSchedule] = {
    schedule.name: schedule
    for schedule in (
        LearningSchedule("contrast", _read_out(1, 0)),
        LearningSchedule("paired", _read_out(1, 0), paired=True),
        LearningSchedule("whole", _read_out(1, 0), multiple=4),
        LearningSchedule("tags", _with_tags(3), consolidate=8),
        LearningSchedule("differences", _read_out(1, 0), "differences", multiple=4, amplify=1),
    )
}
"""The schedules by name."""


def read_outs(
    schedule: LearningSchedule,
    pre: tuple[Integer[np.ndarray, " pre"], Integer[np.ndarray, " pre"]],
    post: tuple[Integer[np.ndarray, " post"], Integer[np.ndarray, " post"]],
    bits: tuple[int, int],
) -> list[tuple[Integer[np.ndarray, " pre"], Integer[np.ndarray, " post"]]]:
    """Presynaptic traces and third factors of a sample, one pair an evaluation: the definition.

    Args:
        pre, post: activities at +β and at −β.
        bits: an activity of 1 is ``2^bits``, before and behind the synapse.
    """

    def trace(a: np.ndarray, b: int) -> np.ndarray:
        return np.clip(_in_steps(a, b - 7, schedule.multiple), 0, 127 // schedule.multiple * schedule.multiple)

    def difference(pair: tuple[np.ndarray, np.ndarray], b: int) -> np.ndarray:
        d = pair[0] - pair[1]
        size = _in_steps(np.abs(d), b - 7 - schedule.amplify, schedule.multiple)
        return np.sign(d) * np.minimum(size, 127 // schedule.multiple * schedule.multiple)

    if schedule.kind == "contrast":
        (plus, minus), (after, before) = pre, post
        return [
            (trace(minus, bits[0]), -trace(before, bits[1])),
            (trace(plus, bits[0]), trace(after, bits[1])),
        ]
    middle = [trace((plus + minus) >> 1, b) for (plus, minus), b in zip((pre, post), bits, strict=True)]
    sent = difference(pre, bits[0])
    return [
        (middle[0], difference(post, bits[1])),
        (np.maximum(sent, 0), middle[1]),
        (np.maximum(-sent, 0), -middle[1]),
    ]


def _in_steps(a: Integer[np.ndarray, " units"], shift: int, multiple: int) -> Integer[np.ndarray, " units"]:
    """``a / 2^shift`` to the nearest multiple, halves up."""
    cut = shift + multiple.bit_length() - 1
    whole = a << -cut if cut <= 0 else (a + (1 << (cut - 1))) >> cut
    return whole * multiple
