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


@compiled
def shifted(x, exponent):  # type: ignore[no-untyped-def]
    """``x·2^exponent``, bits cut below."""
    return x << exponent if exponent >= 0 else x >> -exponent


@compiled
def rounded(x, bits):  # type: ignore[no-untyped-def]
    """``x / 2^bits`` to the nearest integer."""
    return x << -bits if bits <= 0 else (x + (1 << (bits - 1))) >> bits


@compiled
def add_column(column, m, accumulator):  # type: ignore[no-untyped-def]
    """Slices, whose indices cannot be negative, let it run over several at a time."""
    for k in range(column.size):
        accumulator[k] += column[k] * m


@compiled
def gather(connection, messages, pointers, indices, weights, effective, accumulator):  # type: ignore[no-untyped-def]
    """Add the columns of all units that sent something; returns the synaptic operations."""
    operations = 0
    first = connection[POINTER]
    for j in range(messages.size):
        m = messages[j]
        if m != 0:
            begin, end = pointers[first + j], pointers[first + j + 1]
            operations += effective[first + j]
            if connection[WHOLE] == 1:
                add_column(weights[begin:end], m, accumulator)
            else:
                for k in range(begin, end):
                    accumulator[indices[k]] += weights[k] * m
    return operations


@compiled
def arrive(  # type: ignore[no-untyped-def]
    populations, connections, pointers, indices, weights, effective, inbox, sent, clock, nudged, total, accumulator
):
    """What all connections bring in this step, in ``total``; returns the synaptic operations."""
    operations = 0
    for p in range(populations.shape[0]):
        if populations[p, CLAMPED] == 0:
            total[populations[p, BEGIN] : populations[p, BEGIN] + populations[p, SIZE]] = 0
    for c in range(connections.shape[0]):
        connection = connections[c]
        if (connection[PHASE] == FREE and nudged) or (connection[PHASE] == NUDGED and not nudged):
            continue
        source, target = populations[connection[SOURCE]], populations[connection[TARGET]]
        slot = (clock - connection[DELAY]) % inbox.shape[0]
        if sent[slot, connection[SOURCE]] == 0:
            continue
        here = accumulator[: target[SIZE]]
        here[:] = 0
        messages = inbox[slot, source[BEGIN] : source[BEGIN] + source[SIZE]]
        operations += gather(connection, messages, pointers, indices, weights, effective, here)
        for i in range(target[SIZE]):
            total[target[BEGIN] + i] += shifted(int(here[i]), connection[EXPONENT])
    return operations


@compiled
def integrate(total, sigma, v, pull, decay, keeps, overflow):  # type: ignore[no-untyped-def]
    """A step of a population's registers; leaves u in ``total`` and returns how many potentials moved.

    There is no branch in the loop, and there are no more arrays than a compiler cares to tell apart, so that it runs
    over several units at a time.
    """
    # Factors of 32 bits, and known to be: processors have no fast product of 64.
    share, rest = decay & LOW_HALF, (4096 - decay) & LOW_HALF
    wrapped = 0
    saturated = 0
    moved = 0
    for i in range(total.size):
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
    overflow[WRAPPED] += wrapped
    overflow[SATURATED] += saturated
    return moved


@compiled
def straight(u, a, shift, low, high):  # type: ignore[no-untyped-def]
    """``a = clip(round(u / 2^shift), low, high)``; returns how many lay above and below."""
    above = 0
    below = 0
    up = max(-shift, 0)
    down = max(shift, 0)
    half = (1 << down) >> 1
    for i in range(u.size):
        raw = ((u[i] << up) + half) >> down
        above += raw > high
        below += raw < low
        a[i] = min(max(raw, low), high)
    return above, below


@compiled
def looked_up(u, a, table, reach, stretch):  # type: ignore[no-untyped-def]
    """``a = ρ(u)`` by a table, linear between its ends."""
    edge = 1 << reach
    for i in range(u.size):
        at = min(max(u[i], -edge), edge - 1) + edge
        left = at >> stretch
        rise = table[left + 1] - table[left]
        a[i] = table[left] + rounded(rise * (at & ((1 << stretch) - 1)), stretch)


@compiled
def update(population, tables, total, sigma, v, a, pull, sigma_delta, overflow):  # type: ignore[no-untyped-def]
    """One step of a free population, given its own units; returns how many potentials moved."""
    moved = integrate(total, sigma, v, pull, population[DECAY], -1 if sigma_delta else 0, overflow)
    if population[ENDS] != 0:
        table = tables[population[TABLE] : population[TABLE] + population[ENDS]]
        looked_up(total, a, table, population[REACH], population[STRETCH])
        return moved
    above, below = straight(total, a, population[SHIFT], population[LOW], population[HIGH])
    if population[UNBOUNDED] != 0:
        overflow[CLIPPED] += above
        if population[LOW] < 0:
            overflow[CLIPPED] += below
    return moved


@compiled
def emit(a, reference, out, threshold):  # type: ignore[no-untyped-def]
    """What has changed by ``threshold`` or more is sent; returns how many messages there are."""
    count = 0
    for i in range(a.size):
        m = a[i] - reference[i]
        m = m if abs(m) >= threshold else 0
        reference[i] += m
        out[i] = m
        count += m != 0
    return count


@compiled
def emit_all(a, out):  # type: ignore[no-untyped-def]
    """Every activity is sent; one of 0 is no message."""
    count = 0
    for i in range(a.size):
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
def counts(populations, inbox):  # type: ignore[no-untyped-def]
    """Messages of each population that are on their way, by slot."""
    sent = np.zeros((inbox.shape[0], populations.shape[0]), np.int64)
    for slot in range(inbox.shape[0]):
        for p in range(populations.shape[0]):
            begin = populations[p, BEGIN]
            for i in range(begin, begin + populations[p, SIZE]):
                sent[slot, p] += inbox[slot, i] != 0
    return sent


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
    pulled = slice(populations[output, BEGIN], populations[output, BEGIN] + populations[output, SIZE])
    for r in range(first, last):
        sent = counts(populations, inbox[r])
        pull[pulled] = bias[pulled]
        for t in range(steps):
            now = clock + t
            slot = now % depth
            troubled = overflow[r].sum()
            operations[r] += arrive(
                populations, connections, pointers, indices, weights, effective, inbox[r], sent, now, nudged, total,
                accumulator,
            )  # fmt: skip
            if gain[r] != 0:
                pull[pulled] = bias[pulled] + gain[r] * (target[r] - a[r, pulled])
            moved = 0
            for p in range(count):
                population = populations[p]
                own = slice(population[BEGIN], population[BEGIN] + population[SIZE])
                if population[CLAMPED] == 0:
                    moved += update(
                        population, tables, total[own], sigma[r, own], v[r, own], a[r, own], pull[own], sigma_delta,
                        overflow[r, p],
                    )  # fmt: skip
                n = 0
                if sigma_delta and population[CLAMPED] == 1 and t > 0:
                    # Data stay as they are: after its first step nothing changes that could be sent.
                    if sent[slot, p] != 0:
                        inbox[r, slot, own] = 0
                elif sigma_delta:
                    n = emit(a[r, own], reference[r, own], inbox[r, slot, own], population[THRESHOLD])
                else:
                    n = emit_all(a[r, own], inbox[r, slot, own])
                sent[slot, p] = n
                messages[r, p] += n
            if trace_v.shape[0] > 0:
                trace_v[t, r] = v[r]
                trace_sigma[t, r] = sigma[r]
                trace_a[t, r] = a[r]
                trace_m[t, r] = inbox[r, slot]
            if silent[r] < 0 and moved == 0 and quiet(sent) and overflow[r].sum() == troubled:
                silent[r] = t + 1
                if trace_v.shape[0] == 0:
                    break
