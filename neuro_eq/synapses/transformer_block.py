r"""A transformer's block between two populations of tokens, with weights of its own in every place."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from array_api_compat import array_namespace
from pydantic import Field

from neuro_eq.activations import LayerNorm, tangent_of_normal
from neuro_eq.arrays import Activities, Array, Parameters, Reach, Shape, inner, sides
from neuro_eq.errors import SpecError
from neuro_eq.synapses.attention import Heads, Merged, merge, split
from neuro_eq.synapses.base import DirectedSynapse
from neuro_eq.synapses.conventional_attention import Weights, linear_weights, softmax_weights
from neuro_eq.synapses.dense import spectral_norm
from neuro_eq.synapses.embedding import glorot
from neuro_eq.synapses.feed_forward import STEEPEST, Hidden, nonlinearity
from neuro_eq.synapses.tokens import (
    Tokens,
    Valid,
    empty_problem,
    mean_outer,
    mean_rows,
    padding_problem,
    valid_tokens,
)


@dataclass(frozen=True)
class Passed:
    """What a block computed on the way: all that its derivatives need."""

    x: Tokens
    weights: Weights
    v: Heads
    o: Merged
    z: Tokens
    sigma: Array
    n: Tokens
    p: Hidden
    slope: Hidden
    y: Tokens
    masks: tuple[Tokens, Tokens] | tuple[float, float]


@dataclass(frozen=True)
class PulledBack:
    """``λ`` of a block's answer on its way back: at the answer, behind each matrix, at ``h``, and at the heads."""

    on_y: Tokens
    on_up: Hidden
    on_n: Tokens
    on_h: Tokens
    on_output: Tokens
    parts: dict[str, Merged]

    def on_x(self, theta: Parameters) -> Tokens:
        """``(∂y/∂a)ᵀ λ``."""
        found = self.on_h
        for name, part in self.parts.items():
            found = found + part @ theta[name]
        return found

    def on_theta(self, at: Passed) -> dict[str, Array]:
        """``(∂y/∂θ)ᵀ λ``, a mean over the batch."""
        return {
            **{name: mean_outer(part, at.x) for name, part in self.parts.items()},
            "output": mean_outer(self.on_output, at.o),
            "norm_gain": mean_rows(self.on_n * at.z),
            "norm_offset": mean_rows(self.on_n),
            "up": mean_outer(self.on_up, at.n),
            "up_bias": mean_rows(self.on_up),
            "down": mean_outer(self.on_y, at.p),
            "down_bias": mean_rows(self.on_y),
        }


class Link(NamedTuple):
    """Where a block reads, where it drives, and the population of its masks."""

    source: str
    target: str
    masks: str | None


class TransformerBlock(DirectedSynapse):
    r"""``f = γ·[h + M₂ ⊙ (W₂ φ(W₁ N(h) + b₁) + b₂)]``, ``h = a + M₁ ⊙ W_O attention(W_Q a, W_K a, W_V a)``.

    The conventional block (Vaswani et al., 2017), all matrices independent: it has no energy, so a network with it is
    trained by AsymEP or dyadic EP, which need its response and the transposed one.  The activity ``a`` of the source
    is already normed where its population has layer norm; N is a second one, whose gain, here, is a vector.  γ is
    learned and scales the whole block, the residual ``a`` included: the dynamics settles where it is small enough.

    ``M₁`` and ``M₂`` are masks of dropout, and data: a clamped population ``(2, tokens, d)`` holds them, so that all
    phases of a batch have the same.  Where it is drawn (:class:`~neuro_eq.drawn.Dropout`) training draws once for a
    batch, and an evaluation has ones.

    Its response on tokens of norm at most r is, with N tokens and slopes of φ up to s, at most

        γ · (1 + m ‖W_O‖ √Σ_h L_h²) · (1 + m s ‖W₂‖ max|g| ‖W₁‖/√ε),

        softmax   L_h = ‖W_V‖ [√N + r² ‖W_QᵀW_K‖ (1 + √N)/√width]
        linear    L_h = ‖W_V‖ [√N + r (‖W_Q‖ + √N ‖W_K‖)]

    where m is the largest value of a mask.

    Args:
        source, target: populations of one shape ``(tokens, d)``; one population for a block that loops on itself.
        shared: further pairs of source and target that have the same parameters, as in tied blocks.
        heads: of the attention, each ``d/heads`` wide.
        hidden: units of the feed-forward layer.
        attention: ``"softmax"`` or ``"linear"``, φ(q)·φ(k) over its sum with φ = elu + 1.
        feed_forward: φ: ``"relu"``, or ``"gelu"`` by its tanh form.
        causal: a token looks at itself and at those before it only.
        padding: as of every synapse on tokens.
        masks: the clamped population of the masks of dropout, or None.
        shared_masks: those of the shared pairs, one for each, where there are masks.
        epsilon: of N.
        scale: γ at the start.
        gain: factor on the Glorot start values of all matrices.
    """

    kind: Literal["transformer_block"] = "transformer_block"
    source: str
    target: str
    shared: tuple[tuple[str, str], ...] = ()
    heads: int = Field(default=1, ge=1, le=2**15)
    hidden: int = Field(ge=1, le=2**31)
    attention: Literal["softmax", "linear"] = "softmax"
    feed_forward: Literal["relu", "gelu"] = "relu"
    causal: bool = False
    padding: str | None = None
    masks: str | None = None
    shared_masks: tuple[str, ...] = ()
    epsilon: float = Field(default=1.0, gt=0.0, le=1e100)
    scale: float = Field(default=0.5, ge=-1e100, le=1e100)
    gain: float = Field(default=1.0, ge=0.0, le=1e100)

    @property
    def links(self) -> tuple[Link, ...]:
        """Every source, its target and its masks."""
        first = Link(self.source, self.target, self.masks)
        more = self.shared_masks or (None,) * len(self.shared)
        return (first, *(Link(*ends, masks) for ends, masks in zip(self.shared, more, strict=False)))

    @property
    def driven(self) -> tuple[str, ...]:
        return _once(link.target for link in self.links)

    @property
    def data(self) -> tuple[str, ...]:
        return tuple(name for name in (self.padding, self.masks, *self.shared_masks) if name is not None)

    @property
    def sources(self) -> tuple[str, ...]:
        return (*_once(link.source for link in self.links), *self.data)

    @property
    def populations(self) -> tuple[str, ...]:
        return (*_once(name for link in self.links for name in (link.source, link.target)), *self.data)

    @property
    def default_name(self) -> str:
        return f"{self.source}_{self.target}_block"

    def population_fields(self) -> dict[str, str]:
        fields = super().population_fields()
        fields |= {f"shared[{i}][{j}]": name for i, ends in enumerate(self.shared) for j, name in enumerate(ends)}
        fields |= {field: getattr(self, field) for field in ("padding", "masks") if getattr(self, field) is not None}
        return {**fields, **{f"shared_masks[{i}]": name for i, name in enumerate(self.shared_masks)}}

    def shape_problem(self, shapes: Mapping[str, Shape]) -> str | None:
        shape = shapes[self.source]
        if len(self.shared_masks) != (0 if self.masks is None else len(self.shared)):
            wanted = "no masks" if self.masks is None else f"one population of masks for each of {len(self.shared)}"
            return f"its shared pairs need {wanted}, found {len(self.shared_masks)}"
        for source, target, masks in self.links:
            if len(shape) != 2 or shapes[source] != shape or shapes[target] != shape:
                found = shapes[source] if shapes[source] != shape else shapes[target]
                return (
                    f'"{source}" and "{target}" must have one shape (tokens, d), found {list(shape)} and {list(found)}'
                )
            if masks is not None and shapes[masks] != (2, *shape):
                return f'"{masks}" must hold two masks of tokens, {[2, *shape]}, found {list(shapes[masks])}'
        if shape[1] % self.heads:
            return f"{shape[1]} numbers a token do not divide into {self.heads} heads"
        return padding_problem(self.padding, shape[0], shapes)

    def data_problem(self, a: Mapping[str, np.ndarray]) -> str | None:
        return empty_problem(self.padding, a)

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        d = shapes[self.source][1]
        return {
            "query": (d, d), "key": (d, d), "value": (d, d), "output": (d, d), "norm_gain": (d,), "norm_offset": (d,),
            "up": (self.hidden, d), "up_bias": (self.hidden,), "down": (d, self.hidden), "down_bias": (d,), "gamma": (),
        }  # fmt: skip

    def initial(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> dict[str, np.ndarray]:
        start: dict[str, np.ndarray] = {}
        for name, shape in self.parameter_shapes(shapes).items():
            if len(shape) == 2:
                bound = self.gain * glorot(shape)
                start[name] = rng.uniform(-bound, bound, shape)
            else:
                start[name] = np.full(shape, {"norm_gain": 1.0, "gamma": self.scale}.get(name, 0.0))
        return start

    @property
    def analytic(self) -> bool:
        return self.attention == "softmax" and self.feed_forward == "gelu"

    # -- forward, along and back -------------------------------------------------------------------------------

    def drive(self, a: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        links = [link for link in self.links if link.target in onto]
        return _total((link.target, theta["gamma"] * self.passed(a, theta, link).y) for link in links)

    def response(self, a: Activities, delta: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        links = [link for link in self.links if link.target in onto]
        return _total(
            (link.target, self._along(self.passed(a, theta, link), delta[link.source], theta)) for link in links
        )

    def transposed(self, a: Activities, lam: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        links = [link for link in self.links if link.source in onto]
        return _total(
            (link.source, self._against(self.passed(a, theta, link), lam[link.target], theta)) for link in links
        )

    def asymmetry(self, a: Activities, delta: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        parts: list[tuple[str, Array]] = []
        for link in self.links:
            if link.source in onto or link.target in onto:
                at = self.passed(a, theta, link)
                parts.append((link.source, self._against(at, delta[link.target], theta)))
                parts.append((link.target, -self._along(at, delta[link.source], theta)))
        return _total((name, value) for name, value in parts if name in onto)

    def drive_vjp(self, a: Activities, lam: Activities, theta: Parameters) -> dict[str, Array]:
        return _total(pair for link in self.links for pair in self._gradient(a, lam[link.target], theta, link).items())

    def pieces(self, a: Activities, theta: Parameters) -> tuple[Array, ...]:
        inside: list[Array] = []
        for link in self.links:
            at = self.passed(a, theta, link)
            inside += [] if self.feed_forward != "relu" else [at.p]
            # φ = elu + 1 changes its form where it is one.
            inside += [] if self.attention != "linear" else [at.weights.q - 1.0, at.weights.k - 1.0]
        return tuple(sides(x) for x in inside)

    def passed(self, a: Activities, theta: Parameters, link: Link) -> Passed:
        """The block's answer ``y = f/γ`` from one source and what leads to it."""
        x = a[link.source]
        q, k, v = (self._heads(x, theta[name]) for name in ("query", "key", "value"))
        weigh = softmax_weights if self.attention == "softmax" else linear_weights
        weights = weigh(q, k, self._valid(a), self.causal)
        masks = (1.0, 1.0) if link.masks is None else (a[link.masks][:, 0, ...], a[link.masks][:, 1, ...])
        o = merge(weights.values @ v)
        h = x + masks[0] * _times(o, theta["output"])
        z, sigma = LayerNorm(epsilon=self.epsilon).normal(h)
        n = theta["norm_gain"] * z + theta["norm_offset"]
        p, slope = nonlinearity(self.feed_forward, _times(n, theta["up"]) + theta["up_bias"])
        y = h + masks[1] * (_times(p, theta["down"]) + theta["down_bias"])
        return Passed(x, weights, v, o, z, sigma, n, p, slope, y, masks)

    def _along(self, at: Passed, dx: Tokens, theta: Parameters) -> Tokens:
        """``∂f/∂a`` along a change of the source."""
        dq, dk, dv = (self._heads(dx, theta[name]) for name in ("query", "key", "value"))
        do = merge(at.weights.change(dq, dk) @ at.v + at.weights.values @ dv)
        dh = dx + at.masks[0] * _times(do, theta["output"])
        dn = theta["norm_gain"] * tangent_of_normal(at.z, dh) / at.sigma
        dp = at.slope * _times(dn, theta["up"])
        return theta["gamma"] * (dh + at.masks[1] * _times(dp, theta["down"]))

    def _against(self, at: Passed, lam: Tokens, theta: Parameters) -> Tokens:
        """``(∂f/∂a)ᵀ λ``."""
        return self._back(at, theta["gamma"] * lam, theta).on_x(theta)

    def _gradient(self, a: Activities, lam: Tokens, theta: Parameters, link: Link) -> dict[str, Array]:
        """``(∂f/∂θ)ᵀ λ``, a mean over the batch."""
        at = self.passed(a, theta, link)
        found = self._back(at, theta["gamma"] * lam, theta).on_theta(at)
        return {**found, "gamma": array_namespace(lam).mean(inner(lam, at.y), axis=0)}

    def _back(self, at: Passed, lam: Tokens, theta: Parameters) -> PulledBack:
        """What ``λ`` of ``y`` is on the way back."""
        on_y = at.masks[1] * lam
        on_up = at.slope * (on_y @ theta["down"])
        on_n = on_up @ theta["up"]
        on_h = lam + tangent_of_normal(at.z, theta["norm_gain"] * on_n) / at.sigma
        on_output = at.masks[0] * on_h
        on_o = split(on_output @ theta["output"], self.heads)
        transpose = array_namespace(lam).matrix_transpose
        on_q, on_k = at.weights.pull_back(on_o @ transpose(at.v))
        parts = {"query": merge(on_q), "key": merge(on_k), "value": merge(transpose(at.weights.values) @ on_o)}
        return PulledBack(on_y, on_up, on_n, on_h, on_output, parts)

    # -- bounds ------------------------------------------------------------------------------------------------

    def response_bound_within(self, theta: Parameters, reach: Mapping[str, Reach]) -> dict[tuple[str, str], float]:
        bounds: dict[tuple[str, str], float] = {}
        for link in self.links:
            pair = (link.target, link.source)
            bounds[pair] = bounds.get(pair, 0.0) + self._bound(theta, reach, link)
        return bounds

    def _bound(self, theta: Parameters, reach: Mapping[str, Reach], link: Link) -> float:
        rows, norm = reach[link.source]
        if not math.isfinite(norm):
            raise SpecError(
                f'"{self.name}" of kind "{self.kind}" has no bound on its response, as the activities of '
                f'"{link.source}" have none, so no budget can hold it'
            )
        d = theta["query"].shape[1]
        mask = 1.0 if link.masks is None else reach[link.masks].norm / math.sqrt(d)
        each = [self._head_bound(h, theta, math.sqrt(rows), norm) for h in range(self.heads)]
        looking = spectral_norm(theta["output"]) * math.sqrt(sum(bound * bound for bound in each))
        xp = array_namespace(theta["norm_gain"])
        gain = float(xp.max(xp.abs(theta["norm_gain"]))) / math.sqrt(self.epsilon)
        thinking = STEEPEST[self.feed_forward] * spectral_norm(theta["down"]) * gain * spectral_norm(theta["up"])
        return abs(float(theta["gamma"])) * (1.0 + mask * looking) * (1.0 + mask * thinking)

    def response_bound(self, theta: Parameters) -> dict[tuple[str, str], float]:
        return self.response_bound_within(theta, {self.source: Reach(1, math.inf)})

    def scaled(self, theta: Parameters, factor: float) -> dict[str, Array]:
        """The whole block, residual and all, is as large as γ."""
        return {**theta, "gamma": factor * theta["gamma"]}

    def _head_bound(self, h: int, theta: Parameters, root: float, norm: float) -> float:
        width = theta["query"].shape[0] // self.heads
        query, key, value = (theta[name][h * width : (h + 1) * width, :] for name in ("query", "key", "value"))
        if self.attention == "linear":
            moved = norm * (spectral_norm(query) + root * spectral_norm(key))
        else:
            both = spectral_norm(array_namespace(query).matrix_transpose(query) @ key)
            moved = norm * norm * both * (1.0 + root) / math.sqrt(width)
        return spectral_norm(value) * (root + moved)

    def _valid(self, a: Activities) -> Valid | None:
        return None if self.padding is None else valid_tokens(a[self.padding])

    def _heads(self, x: Tokens, weight: Array) -> Heads:
        return split(_times(x, weight), self.heads)


def _times(x: Tokens, weight: Array) -> Merged:
    """``W x`` of every token."""
    return x @ array_namespace(x).matrix_transpose(weight)


def _once(names: Iterable[str]) -> tuple[str, ...]:
    """Every name once, in the order of its first place."""
    return tuple(dict.fromkeys(names))


def _total(parts: Iterable[tuple[str, Array]]) -> dict[str, Array]:
    """Sums by name."""
    total: dict[str, Array] = {}
    for name, value in parts:
        total[name] = total[name] + value if name in total else value
    return total
