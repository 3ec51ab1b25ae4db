"""Training on a chip, one sample after the other: settle, nudge both ways, read out, evaluate the rule."""

from __future__ import annotations

import numpy as np

from neuro_eq.backends.numba.compilation import compiled, entry
from neuro_eq.backends.numba.kernels.fixed_point import BEGIN, run
from neuro_eq.backends.numba.kernels.plasticity import evaluate

# Columns of the table of ways: the two populations' units, the first weight, and by how much activities exceed traces.
PRE, PRE_SIZE, POST, POST_SIZE, FIRST, PRE_SHIFT, POST_SHIFT = range(7)
# Of the table of a schedule's numbers.
DIFFERENCES, PAIRED, MULTIPLE, AMPLIFY, CONSOLIDATE, TIE = range(6)
CONSOLIDATING, LOUD = 32, 127


@compiled
def trace(a, shift, multiple, out):  # type: ignore[no-untyped-def]
    """Activities as traces of seven bits, whole multiples of ``2^multiple``."""
    cut = shift + multiple
    largest = (127 >> multiple) << multiple
    for i in range(a.size):
        x = a[i] << -cut if cut <= 0 else (a[i] + (1 << (cut - 1))) >> cut
        out[i] = min(max(x << multiple, 0), largest)


@compiled
def difference(plus, minus, shift, multiple, amplify, sign, out):  # type: ignore[no-untyped-def]
    """``sign·2^amplify·(a⁺ − a⁻)`` as a trace; of a message (sign ±1 doubled) the positive part only."""
    cut = shift + multiple - amplify
    largest = (127 >> multiple) << multiple
    least = 0 if abs(sign) == 2 else -largest
    for i in range(plus.size):
        d = np.int64(plus[i]) - np.int64(minus[i])
        size = abs(d)
        size = size << -cut if cut <= 0 else (size + (1 << (cut - 1))) >> cut
        x = size << multiple
        x = x if (d > 0) == (sign > 0) else -x
        out[i] = min(max(x, least), largest)


@compiled
def own_weights(copies, k, way):  # type: ignore[no-untyped-def]
    """One copy's weights of a way, ``(pre, post)``."""
    first = way[FIRST]
    return copies[k, first : first + way[PRE_SIZE] * way[POST_SIZE]].reshape(way[PRE_SIZE], way[POST_SIZE])


@compiled
def event(way, products, copies, tags, paired, x, y, z, draws):  # type: ignore[no-untyped-def]
    """Evaluate the rule of one way; of a pair the second learns with the opposite factor."""
    evaluate(products, own_weights(copies, 0, way), own_weights(tags, 0, way), x, y, z, draws[0])
    if paired:
        evaluate(products, own_weights(copies, 1, way), own_weights(tags, 1, way), x, -y, z, draws[1])


@compiled
def teach(ways, products, schedule, plus, minus, copies, tags, draws, x, y, z, middle):  # type: ignore[no-untyped-def]
    """All ways learn from one sample's two nudged phases."""
    multiple, amplify, paired = schedule[MULTIPLE], schedule[AMPLIFY], schedule[PAIRED] == 1
    for k in range(ways.shape[0]):
        way = ways[k]
        pre = slice(way[PRE], way[PRE] + way[PRE_SIZE])
        post = slice(way[POST], way[POST] + way[POST_SIZE])
        xs, ys, zs = x[: way[PRE_SIZE]], y[: way[POST_SIZE]], z[: way[POST_SIZE]]
        if schedule[DIFFERENCES] == 0:
            trace(minus[pre], way[PRE_SHIFT], multiple, xs)
            trace(minus[post], way[POST_SHIFT], multiple, ys)
            for i in range(ys.size):
                ys[i] = -ys[i]
            event(way, products, copies, tags, paired, xs, ys, zs, draws[0, k])
            trace(plus[pre], way[PRE_SHIFT], multiple, xs)
            trace(plus[post], way[POST_SHIFT], multiple, ys)
            event(way, products, copies, tags, paired, xs, ys, zs, draws[1, k])
            continue
        for i in range(plus.size):
            middle[i] = (plus[i] + minus[i]) >> 1
        trace(middle[pre], way[PRE_SHIFT], multiple, xs)
        difference(plus[post], minus[post], way[POST_SHIFT], multiple, amplify, 1, ys)
        event(way, products, copies, tags, paired, xs, ys, zs, draws[0, k])
        difference(plus[pre], minus[pre], way[PRE_SHIFT], multiple, amplify, 2, xs)
        trace(middle[post], way[POST_SHIFT], multiple, ys)
        event(way, products, copies, tags, paired, xs, ys, zs, draws[1, k])
        difference(plus[pre], minus[pre], way[PRE_SHIFT], multiple, amplify, -2, xs)
        for i in range(ys.size):
            ys[i] = -ys[i]
        event(way, products, copies, tags, paired, xs, ys, zs, draws[2, k])


@compiled
def consolidate(ways, products, paired, copies, tags, draws, x, y, z):  # type: ignore[no-untyped-def]
    """Every neuron sends once, and the third factor adds each tag to its weight."""
    for k in range(ways.shape[0]):
        way = ways[k]
        xs, ys, zs = x[: way[PRE_SIZE]], y[: way[POST_SIZE]], z[: way[POST_SIZE]]
        xs[:] = LOUD
        ys[:] = 0
        zs[:] = CONSOLIDATING
        event(way, products, copies, tags, paired, xs, ys, zs, draws[k])
        zs[:] = 0


@compiled
def tie(ways, ties, copies):  # type: ignore[no-untyped-def]
    """The way back takes over the forward weights."""
    for t in range(ties.shape[0]):
        for k in range(copies.shape[0]):
            forward, back = own_weights(copies, k, ways[ties[t, 0]]), own_weights(copies, k, ways[ties[t, 1]])
            for j in range(forward.shape[0]):
                for i in range(forward.shape[1]):
                    back[i, j] = forward[j, i]


@compiled
def after_sample(ways, ties, products, schedule, count, copies, tags, draws, x, y, z):  # type: ignore[no-untyped-def]
    """What happens every so many samples."""
    if schedule[CONSOLIDATE] > 0 and count % schedule[CONSOLIDATE] == 0:
        consolidate(ways, products, schedule[PAIRED] == 1, copies, tags, draws, x, y, z)
    if schedule[TIE] > 0 and count % schedule[TIE] == 0:
        tie(ways, ties, copies)


@entry
def teach_all(ways, ties, products, schedule, plus, minus, copies, tags, draws, counted):  # type: ignore[no-untyped-def]
    """Learn from samples whose nudged activities are given, ``(samples, units)``."""
    units = plus.shape[1]
    x, y, z, middle = (
        np.zeros(units, np.int64),
        np.zeros(units, np.int64),
        np.zeros(units, np.int64),
        np.zeros(units, np.int64),
    )
    last = draws.shape[1] - 1
    for s in range(plus.shape[0]):
        teach(ways, products, schedule, plus[s], minus[s], copies, tags, draws[s], x, y, z, middle)
        after_sample(ways, ties, products, schedule, counted + s + 1, copies, tags, draws[s, last], x, y, z)


@entry
def train(  # type: ignore[no-untyped-def]
    populations, tables, bias, connections, pointers, indices, weights, effective, output, steps, nudged_steps, gain,
    blank, data, targets, ways, ties, products, schedule, copies, tags, draws, counted, overflow, settled, accumulator,
):  # fmt: skip
    """Samples one after the other; each is answered, before it is learned from, in ``settled (samples, outputs)``."""
    units = blank.size
    depth = 1
    for c in range(connections.shape[0]):
        depth = max(depth, connections[c, 4])
    count = populations.shape[0]
    a, v, sigma, reference = (
        np.zeros((1, units), np.int32), np.zeros((1, units), np.int32), np.zeros((1, units), np.int32),
        np.zeros((1, units), np.int32),
    )  # fmt: skip
    inbox = np.zeros((1, depth, units), np.int32)
    messages, operations = np.zeros((1, count), np.int64), np.zeros(1, np.int64)
    gains = np.zeros(1, np.int64)
    nothing = np.zeros((0, 1, 0), np.int32)
    x, y, z, middle = (
        np.zeros(units, np.int64),
        np.zeros(units, np.int64),
        np.zeros(units, np.int64),
        np.zeros(units, np.int64),
    )
    plus, minus = np.zeros(units, np.int64), np.zeros(units, np.int64)
    last = draws.shape[1] - 1
    silent = np.zeros(1, np.int64)
    first = populations[output, BEGIN]
    for s in range(data.shape[0]):
        a[0] = blank
        a[0, : data.shape[1]] = data[s]
        v[:], sigma[:], reference[:], inbox[:] = 0, 0, 0, 0
        for phase in range(3):
            nudging = phase > 0
            taken, begun = (nudged_steps, steps) if nudging else (steps, 0)
            gains[0] = 0 if phase == 0 else (gain if phase == 1 else -gain)
            silent[0] = -1
            run(
                populations, tables, bias, connections, pointers, indices, weights, effective, output, 0, 1,
                taken, begun, True, nudging, a, v, sigma,
                reference, inbox, targets[s : s + 1], gains, messages, operations, silent, overflow, nothing, nothing,
                nothing, nothing, accumulator,
            )  # fmt: skip
            if phase == 0:
                for i in range(settled.shape[1]):
                    settled[s, i] = a[0, first + i]
                kept = (a.copy(), v.copy(), sigma.copy(), reference.copy(), inbox.copy())
            elif phase == 1:
                plus[:] = a[0]
                a[:], v[:], sigma[:], reference[:], inbox[:] = kept
            else:
                minus[:] = a[0]
        teach(ways, products, schedule, plus, minus, copies, tags, draws[s], x, y, z, middle)
        after_sample(ways, ties, products, schedule, counted + s + 1, copies, tags, draws[s, last], x, y, z)
        if schedule[PAIRED] == 1:
            weights[:] = copies[0] - copies[1]
        else:
            weights[:] = copies[0]
