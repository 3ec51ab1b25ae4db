"""Where a synapse says that it has a kink its response jumps, and nowhere else along a line."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import neuro_eq as ne

TOKENS = {"t": (3, 4)}
MAPS = {"low": (2, 4, 4), "high": (2, 2, 2)}
CASES = {
    "memory": (ne.synapses.TokenMemory(target="t", patterns=5, bias=True, name="s"), TOKENS),
    "attention": (ne.synapses.LinearAttention(target="t", heads=2, name="s"), TOKENS),
    "block": (
        ne.synapses.TransformerBlock(source="t", target="t", heads=2, hidden=6, attention="softmax", name="s"), TOKENS,
    ),
    "max pooling": (ne.synapses.Pooling(source="low", target="high", pool="max", name="s"), MAPS),
    "convolution": (
        ne.synapses.Convolution(source="low", target="high", kernel=(3, 3), padding=1, pool="max", name="s"), MAPS,
    ),
}  # fmt: skip
SMOOTH = {
    "softplus memory": (ne.synapses.TokenMemory(target="t", patterns=5, form="softplus", name="s"), TOKENS),
    "softmax": (ne.synapses.SoftmaxAttention(target="t", heads=2, name="s"), TOKENS),
    "identity": (ne.synapses.LinearAttention(target="t", heads=2, features="identity", name="s"), TOKENS),
    "gelu": (
        ne.synapses.TransformerBlock(
            source="t", target="t", heads=2, hidden=6, attention="softmax", feed_forward="gelu", name="s"
        ),
        TOKENS,
    ),
    "average": (ne.synapses.Pooling(source="low", target="high", name="s"), MAPS),
}


class Line:
    """Activities ``a + t d``, and what a synapse makes of them."""

    def __init__(self, synapse, shapes, seed):
        rng = np.random.default_rng(seed)
        self.synapse, self.shapes = synapse, shapes
        self.theta = {n: v + 0.1 * rng.normal(size=v.shape) for n, v in synapse.initial(shapes, rng).items()}
        self.a, self.d = ({n: rng.normal(size=(1, *shape)) for n, shape in shapes.items()} for _ in range(2))

    def at(self, t):
        return {name: value + t * self.d[name] for name, value in self.a.items()}

    def pieces(self, t):
        return np.concatenate([np.zeros(0), *(one.ravel() for one in self.synapse.pieces(self.at(t), self.theta))])

    def response(self, t):
        """Along the line: the derivative of the drive by t."""
        found = self.synapse.response(self.at(t), self.d, self.theta, tuple(self.shapes))
        return np.concatenate([value.ravel() for value in found.values()])

    def jump(self, low, high):
        return float(np.max(np.abs(self.response(high) - self.response(low))))

    def crossing(self, low, high):
        """Two neighbouring places between which a piece changes."""
        while high - low > 1e-10:
            middle = 0.5 * (low + high)
            low, high = (low, middle) if np.any(self.pieces(low) != self.pieces(middle)) else (middle, high)
        return low, high


GRID = np.linspace(0.0, 1.0, 400)


@pytest.mark.parametrize("name", CASES)
def test_the_response_jumps_where_a_piece_changes_and_nowhere_else(name):
    line = Line(*CASES[name], seed=0)
    crossings = still = 0
    for low, high in pairwise(GRID):
        if np.array_equal(line.pieces(low), line.pieces(high)):
            # A slope of order 10 over 1/400 moves it by less than a tenth; a tiny step moves it by nothing.
            middle = 0.5 * (low + high)
            assert line.jump(middle, middle + 1e-10) <= 1e-7
            still += 1
        else:
            assert line.jump(*line.crossing(low, high)) > 1e-4
            crossings += 1
    assert crossings > 0
    assert still > 0


@pytest.mark.parametrize("name", SMOOTH)
def test_what_is_smooth_has_no_pieces(name):
    synapse, shapes = SMOOTH[name]
    line = Line(synapse, shapes, seed=1)
    assert line.pieces(0.0).size == 0
    assert synapse.analytic


def test_linear_attention_of_a_block_bends_where_a_piece_changes():
    """φ = elu + 1 has a slope without a jump, so it is the response's own slope that jumps."""
    block = ne.synapses.TransformerBlock(
        source="t", target="t", heads=2, hidden=6, attention="linear", feed_forward="gelu", name="s"
    )
    line, step = Line(block, TOKENS, seed=2), 1e-5

    def bend(low, high):
        before = (line.response(low) - line.response(low - step)) / step
        return float(np.max(np.abs((line.response(high + step) - line.response(high)) / step - before)))

    crossings = 0
    for low, high in pairwise(GRID):
        if np.array_equal(line.pieces(low), line.pieces(high)):
            # Third derivatives of order ten, over a step of 1e-5.
            assert bend(0.5 * (low + high), 0.5 * (low + high)) < 2e-4
            continue
        here = line.crossing(low, high)
        assert line.jump(*here) <= 1e-7
        assert bend(*here) > 1e-3
        crossings += 1
    assert crossings > 0
