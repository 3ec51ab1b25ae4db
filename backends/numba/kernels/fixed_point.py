"""The chip's arithmetic, sample by sample; :mod:`neuro_eq.hardware.chip` says what a step is.

Everything is computed in 64 bits, where nothing can overflow unseen, but for the sums over a connection's messages:
those are taken in 32 bits where a bound on them says that this is enough.
"""

from __future__ import annotations

import numpy as np

from neuro_eq.backends.numba.compilation import compiled, entry

# Columns of the table of populations.
BEGIN, SIZE, CLAMPED, SHIFT, DECAY, THRESHOLD, LOW, HIGH, TABLE, ENDS, REACH, STRETCH, UNBOUNDED = range(13)
# Columns of the table of connections.
SOURCE, TARGET, POINTER, EXPONENT, DELAY, PHASE, WHOLE = range(7)
BOTH, FREE, NUDGED = range(3)
WRAPPED, SATURATED, CLIPPED = range(3)
"""Kinds of overflow: of a sigma, of a potential, of an activity that has no bound of its own."""

HALF, MASK = 2**23, 2**24 - 1
TOP = 2**23 - 1
LOW_HALF = 2**32 - 1
BLOCK = 16


@compiled
def shifted(x, exponent):  # type: ignore[no-untyped-def]
    """``x·2^exponent``, bits cut below."""
    return x << exponent if exponent >= 0 else x >> -exponent


@compiled
def rounded(x, bits):  # type: ignore[no-untyped-def]
    """``x / 2^bits`` to the nearest integer."""
    return x << -bits if bits <= 0 else (x + (1 << (bits - 1))) >> bits


@compiled
def add_column(weights, begin, count, m, accumulator):  # type: ignore[no-untyped-def]
    """Indices without a sign, of which none can mean the array's end, let it run over several at a time."""
    first = np.uint64(begin)
    for k in range(np.uint64(count)):
        accumulator[k] += weights[first + k] * m


@compiled
def silent_block(messages, begin):  # type: ignore[no-untyped-def]
    """Whether none of a block's units has sent; far quicker than to ask each, and most are silent."""
    first = np.uint64(begin)
    sent = messages[first]
    for k in range(np.uint64(BLOCK)):
        sent |= messages[first + k]
    return sent == 0


@compiled
def gather(first, whole, messages, begin, size, pointers, indices, weights, effective, accumulator):  # type: ignore[no-untyped-def]
    """Add the columns of all units that sent something; returns the synaptic operations."""
    operations = 0
    for block in range(0, size, BLOCK):
        here = min(BLOCK, size - block)
        if here == BLOCK and silent_block(messages, begin + block):
            continue
        for j in range(block, block + here):
            m = messages[begin + j]
            if m != 0:
                start, end = pointers[first + j], pointers[first + j + 1]
                operations += effective[first + j]
                if whole == 1:
                    add_column(weights, start, end - start, m, accumulator)
                else:
                    for k in range(start, end):
                        accumulator[indices[k]] += weights[k] * m
    return operations


@compiled
def arrive(  # type: ignore[no-untyped-def]
    populations, connections, pointers, indices, weights, effective, inbox, sent, clock, nudged, total, accumulator
):
    """What all connections bring in this step, in ``total``; returns the synaptic operations."""
    operations = 0
    depth = inbox.shape[0]
    for p in range(populations.shape[0]):
        if populations[p, CLAMPED] == 0:
            first = np.uint64(populations[p, BEGIN])
            for i in range(np.uint64(populations[p, SIZE])):
                total[first + i] = 0
    for c in range(connections.shape[0]):
        phase = connections[c, PHASE]
        if (phase == FREE and nudged) or (phase == NUDGED and not nudged):
            continue
        source, target = connections[c, SOURCE], connections[c, TARGET]
        slot = (clock - connections[c, DELAY]) % depth
        if sent[slot, source] == 0:
            continue
        size = np.uint64(populations[target, SIZE])
        for i in range(size):
            accumulator[i] = 0
        operations += gather(
            connections[c, POINTER], connections[c, WHOLE], inbox[slot], populations[source, BEGIN],
            populations[source, SIZE], pointers, indices, weights, effective, accumulator,
        )  # fmt: skip
        exponent = connections[c, EXPONENT]
        up, down = max(exponent, 0), max(-exponent, 0)
        first = np.uint64(populations[target, BEGIN])
        for i in range(size):
            total[first + i] += (np.int64(accumulator[i]) << up) >> down
    return operations


@compiled
def integrate(total, sigma, v, pull, begin, size, decay, keeps, overflow, p):  # type: ignore[no-untyped-def]
    """A step of a population's registers; leaves u in ``total`` and returns how many potentials moved.

    There is no branch in the loop, and there are no more arrays than a compiler cares to tell apart, so that it runs
    over several units at a time.
    """
    # Factors of 32 bits, and known to be: processors have no fast product of 64.
    share, rest = decay & LOW_HALF, (4096 - decay) & LOW_HALF
    wrapped = 0
    saturated = 0
    moved = 0
    first = np.uint64(begin)
    for k in range(np.uint64(size)):
        i = first + k
        s = total[i] + (sigma[i] & keeps)
        inside = ((s + HALF) & MASK) - HALF
        wrapped += inside != s
        sigma[i] = inside
        before = np.int64(v[i])
        sign = before >> 63
        stays = ((((before ^ sign) - sign) & LOW_HALF) * rest) >> 12
        x = inside + pull[i] + ((stays ^ sign) - sign)
        held = min(max(x, -TOP), TOP)
        saturated += held != x
        moved += held != before
        v[i] = held
        sign = held >> 63
        part = ((((held ^ sign) - sign) & LOW_HALF) * share) >> 12
        total[i] = (part ^ sign) - sign
    overflow[p, WRAPPED] += wrapped
    overflow[p, SATURATED] += saturated
    return moved


@compiled
def straight(u, a, begin, size, shift, low, high):  # type: ignore[no-untyped-def]
    """``a = clip(round(u / 2^shift), low, high)``; returns how many lay above and below."""
    above = 0
    below = 0
    up = max(-shift, 0)
    down = max(shift, 0)
    half = (1 << down) >> 1
    first = np.uint64(begin)
    for k in range(np.uint64(size)):
        i = first + k
        raw = ((u[i] << up) + half) >> down
        above += raw > high
        below += raw < low
        a[i] = min(max(raw, low), high)
    return above, below


@compiled
def looked_up(u, a, begin, size, tables, offset, reach, stretch):  # type: ignore[no-untyped-def]
    """``a = ρ(u)`` by a table, linear between its ends."""
    edge = 1 << reach
    for i in range(begin, begin + size):
        at = min(max(u[i], -edge), edge - 1) + edge
        left = offset + (at >> stretch)
        rise = tables[left + 1] - tables[left]
        a[i] = tables[left] + rounded(rise * (at & ((1 << stretch) - 1)), stretch)


@compiled
def update(populations, p, tables, total, sigma, v, a, pull, sigma_delta, overflow):  # type: ignore[no-untyped-def]
    """One step of a free population; returns how many potentials moved."""
    begin, size = populations[p, BEGIN], populations[p, SIZE]
    moved = integrate(total, sigma, v, pull, begin, size, populations[p, DECAY], -1 if sigma_delta else 0, overflow, p)
    if populations[p, ENDS] != 0:
        looked_up(total, a, begin, size, tables, populations[p, TABLE], populations[p, REACH], populations[p, STRETCH])
        return moved
    low = populations[p, LOW]
    above, below = straight(total, a, begin, size, populations[p, SHIFT], low, populations[p, HIGH])
    if populations[p, UNBOUNDED] != 0:
        overflow[p, CLIPPED] += above
        if low < 0:
            overflow[p, CLIPPED] += below
    return moved


@compiled
def emit(a, reference, out, begin, size, threshold):  # type: ignore[no-untyped-def]
    """What has changed by ``threshold`` or more is sent; returns how many messages there are."""
    count = 0
    first = np.uint64(begin)
    for k in range(np.uint64(size)):
        i = first + k
        m = a[i] - reference[i]
        m = m if abs(m) >= threshold else 0
        reference[i] += m
        out[i] = m
        count += m != 0
    return count


@compiled
def emit_all(a, out, begin, size):  # type: ignore[no-untyped-def]
    """Every activity is sent; one of 0 is no message."""
    count = 0
    for i in range(begin, begin + size):
        out[i] = a[i]
        count += a[i] != 0
    return count


@compiled
def quiet(sent):  # type: ignore[no-untyped-def]
    """Whether no message is on its way."""
    for slot in range(sent.shape[0]):
        for p in range(sent.shape[1]):
            if sent[slot, p] != 0:
                return False
    return True


@compiled
def all_of(overflow):  # type: ignore[no-untyped-def]
    """Overflows of a sample so far."""
    total = 0
    for p in range(overflow.shape[0]):
        total += overflow[p, WRAPPED] + overflow[p, SATURATED] + overflow[p, CLIPPED]
    return total


@compiled
def count_sent(populations, inbox, sent):  # type: ignore[no-untyped-def]
    """Messages of each population that are on their way, by slot."""
    for slot in range(inbox.shape[0]):
        for p in range(populations.shape[0]):
            sent[slot, p] = 0
            begin = populations[p, BEGIN]
            for i in range(begin, begin + populations[p, SIZE]):
                sent[slot, p] += inbox[slot, i] != 0


@compiled
def send(populations, p, first, a, reference, out, before, sigma_delta):  # type: ignore[no-untyped-def]
    """Messages of one population, in the slot of this step; returns how many there are.

    ``before`` is how many the slot still holds.  Data stay as they are, so that after the first step of a run nothing
    changes that could be sent.
    """
    begin, size = populations[p, BEGIN], populations[p, SIZE]
    if not sigma_delta:
        return emit_all(a, out, begin, size)
    if first or populations[p, CLAMPED] == 0:
        return emit(a, reference, out, begin, size, populations[p, THRESHOLD])
    if before != 0:
        for i in range(begin, begin + size):
            out[i] = 0
    return 0


@entry
def run(  # type: ignore[no-untyped-def]
    populations, tables, bias, connections, pointers, indices, weights, effective, output, first, last, steps, clock,
    sigma_delta, nudged, a, v, sigma, reference, inbox, target, gain, messages, operations, silent, overflow,
    trace_v, trace_sigma, trace_a, trace_m, accumulator,
):  # fmt: skip
    """``steps`` steps of the samples ``first … last − 1``, each by itself until it is silent.

    A sample whose potentials stand still while no message is on its way will never move again, so what is left of its
    steps is skipped: nothing of the result can tell.
    """
    count = populations.shape[0]
    depth = inbox.shape[1]
    total = np.zeros(bias.size, np.int64)
    pull = bias.copy()
    sent = np.zeros((depth, count), np.int64)
    pulled, width = populations[output, BEGIN], populations[output, SIZE]
    traced = trace_v.shape[0] > 0
    for r in range(first, last):
        # Views made once a sample: each costs as much as a few units.
        a_r, v_r, sigma_r, reference_r, inbox_r, overflow_r = a[r], v[r], sigma[r], reference[r], inbox[r], overflow[r]
        count_sent(populations, inbox_r, sent)
        for i in range(width):
            pull[pulled + i] = bias[pulled + i]
        for t in range(steps):
            now = clock + t
            slot = now % depth
            troubled = all_of(overflow_r)
            operations[r] += arrive(
                populations, connections, pointers, indices, weights, effective, inbox_r, sent, now, nudged, total,
                accumulator,
            )  # fmt: skip
            if gain[r] != 0:
                for i in range(width):
                    pull[pulled + i] = bias[pulled + i] + gain[r] * (target[r, i] - a_r[pulled + i])
            moved = 0
            out = inbox_r[slot]
            for p in range(count):
                if populations[p, CLAMPED] == 0:
                    moved += update(populations, p, tables, total, sigma_r, v_r, a_r, pull, sigma_delta, overflow_r)
                n = send(populations, p, t == 0, a_r, reference_r, out, sent[slot, p], sigma_delta)
                sent[slot, p] = n
                messages[r, p] += n
            if traced:
                trace_v[t, r] = v_r
                trace_sigma[t, r] = sigma_r
                trace_a[t, r] = a_r
                trace_m[t, r] = out
            if silent[r] < 0 and moved == 0 and quiet(sent) and all_of(overflow_r) == troubled:
                silent[r] = t + 1
                if not traced:
                    break
