"""What experts say at decisions, how they are mixed, and what all of them learn, for sixteen lanes at a time.

An expert knows a *state* at each decision, a small number that says what came before in the same context, and a map
from (state, x) to a probability, x being the logarithm of the network's odds.  The mixer adds

    x + sum over experts of w_e (x_e - x)

by three sets of weights, each chosen by something else; a second layer of three weights makes one of the three, and a
last map, by the decision's place, corrects it by a quarter.

All lanes of a group make a decision before any of them learns: `weigh` finds the network's odds, `ask` what experts
say to those that are not sure, and with the decisions `learn`, `learn_trust` and `go_on` teach what was looked up.
"""

from __future__ import annotations

import numpy as np

from pixcodec.exact import value_lists
from pixcodec.exact.compiled import compiled
from pixcodec.exact.cuts import side_by_side
from pixcodec.exact.emit import LANES
from pixcodec.exact.expert_memory import (
    BIT,
    BUCKETS,
    CELL,
    CENTRE,
    COUNTER,
    COUNTERS,
    EXPERTS,
    INPUTS,
    LEVEL,
    LIMIT,
    LIST_STATES,
    LOW,
    LOWER,
    MAP_SIZE,
    MATCH,
    MIDDLE,
    MORE,
    NEW,
    NODE,
    NODES,
    ODDS,
    PEAK,
    PLACE,
    PLAIN,
    REACH,
    SETS,
    SHARE,
    SLOPE,
    STATES,
    SURE,
    TOGETHER,
    UPPER,
    known_at,
    lanes_at,
    numbers_from,
    present,
    vectors_of,
)
from pixcodec.exact.tables import LOG2, LOG_UNIT, PROBABILITY_BITS, SQUASH, SQUASH_OCTAVES
from pixcodec.exact.vectors import (
    bits_of,
    chosen,
    float_bits,
    gathered,
    how_many,
    limited,
    load_int32x4,
    load_int32x16,
    load_uint64x8,
    logistics_below,
    lower_halves,
    lowest,
    mask16,
    octaves,
    product,
    reciprocals,
    scatter,
    shares,
    spread,
    spread4,
    store,
    three_dots,
    total,
    where,
)

# Of what the network decides alone: less where it was wrong and a list was sure, else more.
FALSE_TRUST, TRUST_BACK = 64 * LOG_UNIT, 2
MOST_TRUST = 24 * LOG_UNIT << 5
MIX_BITS = 12  # of the upper halves of weights below the point
RATE, SECOND_RATE, ERROR_BITS, WEIGHT_LIMIT = 3, 7, 15, 1 << 30
INPUT_LIMIT = (1 << 15) - 1
MAP_LIMIT, COUNTER_LIMIT = 1022, 250  # of counts
SURE_OF_LAST = 12 * LOG_UNIT  # beyond it the last map is not asked

_FULL = np.int32((1 << 22) - 1)  # of probabilities in maps and counters, in 2^-22; below them are 10 bits of count
_BEND = np.int32(359)  # log2(1 + f) is f + 0.35 f (1 - f), within 0.009
_ALL = 1 << PROBABILITY_BITS
_FIRST_BUCKET = np.zeros(INPUTS, np.int32)
_FIRST_BUCKET[1:EXPERTS] = np.cumsum(STATES)[:-1] * BUCKETS
_CLASS = np.array([0, 1, 2, 3, 4, 4, 5, 5, 5, 6, 6, 6, 6, 6, 6, 7], np.int32)  # of a list's count, 15 and more as 15
_TRIANGLE = np.array([n * (n + 1) // 2 for n in range(LANES)], np.int32)
_KIND = np.array([0 if n in (0, NEW) else 1 + n // 6 for n in range(LIST_STATES)], np.int32)  # of a list's state
_VECTOR, _ROW = 4 * LANES, 4 * TOGETHER  # bytes
_inlined = compiled(_nrt=False, inline="always")


@_inlined
def _get(work, row, v):  # type: ignore[no-untyped-def]
    """Numbers of sixteen lanes."""
    return load_int32x16(lanes_at(work, row, v))


@_inlined
def _of(work, row, lanes):  # type: ignore[no-untyped-def]
    """Numbers of any sixteen lanes."""
    return gathered(lanes_at(work, row, 0), lanes)


@_inlined
def _logarithms(n):  # type: ignore[no-untyped-def]
    """log2 of numbers from 1 to 2^24, in 1/1024: exponents of their binary32, a table by 11 bits of the fraction."""
    bits = float_bits(n)
    return ((bits >> 23) - 127) * LOG_UNIT + gathered(LOG2.ctypes.data, (bits >> 12) & 2047)


@_inlined
def _squashed(x):  # type: ignore[no-untyped-def]
    """Probabilities in 2^-24 of odds with these logarithms, within the limit."""
    x += SQUASH_OCTAVES * LOG_UNIT
    place, part = x >> 5, x & 31
    table = SQUASH.ctypes.data
    return (gathered(table, place) * (32 - part) + gathered(table + 4, place) * part) >> 5


@_inlined
def _bent(numbers):  # type: ignore[no-untyped-def]
    """log2 of numbers below 2^24, but for a constant, in 1/1024: a parabola instead of a table."""
    bits = float_bits(numbers)
    part = (bits >> 12) & 2047
    return (bits >> 23) * LOG_UNIT + (part >> 1) + ((part * (2048 - part) * _BEND) >> 22)


@_inlined
def _between(left, right, part, bits):  # type: ignore[no-untyped-def]
    """Probabilities of two cells, the second one's weight being part / 2^bits, times 2^(bits - 8), of 24 bits."""
    left, right = (left >> 10) & _FULL, (right >> 10) & _FULL
    return ((left * ((1 << bits) - part) + right * part) >> 8) & (_ALL - 1)


@_inlined
def _learned(cells, target, most):  # type: ignore[no-untyped-def]
    """Cells, 22 bits of probability and 10 of count, after decisions that say 0 or `_FULL`."""
    count, p = cells & 1023, (cells >> 10) & _FULL
    p += product(target - p, reciprocals(count), 16)
    return (p << 10) | limited(count + 1, 0, most)


@_inlined
def take_mixtures(number, rows, work):  # type: ignore[no-untyped-def]
    """Lay the mixtures of some lanes, from the address of their rows, side by side."""
    for v in range(vectors_of(number)):
        side_by_side(LANES * v, number - 1, rows, work.mixtures.ctypes.data + _VECTOR * v, _ROW)


@_inlined
def _below(v, cut, smooth, rows, work, active):  # type: ignore[no-untyped-def]
    """The network's frequencies below cuts of sixteen lanes."""
    edge = cut - _get(work, CENTRE, v)
    if smooth:
        return logistics_below(work.mixtures.ctypes.data + _VECTOR * v, _ROW, edge)
    j = gathered(work.residuals.ctypes.data, edge + 255)
    j = where(active, j + numbers_from(LANES * v) * work.bases.shape[1], 0)
    found = gathered(work.bases.ctypes.data, j) + (gathered(rows, j) + 1) * cut
    return found + where(cut > _get(work, PEAK, v), _get(work, MORE, v), 0)


@_inlined
def weigh(v, depth, channel, smooth, memory, work, rows, turn, active):  # type: ignore[no-untyped-def]
    """The network's odds of sixteen lanes, and a mask of those that it is sure of, with its probabilities.

    `rows` is the address of the counts of all lanes, or what it says is `smooth`: mixtures (`take_mixtures`).
    """
    size = 128 >> depth
    cut, lower, upper = _get(work, LOW, v) + size, _get(work, LOWER, v), _get(work, UPPER, v)
    middle = _below(v, cut, smooth, rows, work, active)
    middle = where(middle < lower + size, lower + size, middle)  # each half keeps 1 for every value in it
    middle = where(middle > upper - size, upper - size, middle)
    n0 = where(active, middle - lower, 1)
    n1 = where(active, upper - middle, 1)
    odds = _logarithms(n1) - _logarithms(n0)
    alone = (where(odds < 0, 0 - odds, odds) > memory.trust[channel] >> 5) & active
    if bits_of(alone):
        store(lanes_at(work, SHARE, v), shares(n1, n0))
    store(lanes_at(work, MIDDLE, v), middle)
    store(lanes_at(work, ODDS, v), odds)
    node = _get(work, NODE, v)
    if depth >= 4:
        late = depth - 4
        node = (((node >> late) - 15) << 4) + (1 << late) + (node & ((1 << late) - 1))
    for i in range(3):
        place = where(active, node + load_int32x16(known_at(work, turn, COUNTER + i, v)), 0)
        store(lanes_at(work, PLACE + i, v), place)
        store(lanes_at(work, CELL + i, v), gathered(memory.counters.ctypes.data, place))
    return alone


@_inlined
def _halves(k, shift, work):  # type: ignore[no-untyped-def]
    """Counts of a lane's lists below and above its cut."""
    address = work.lists.ctypes.data + 192 * k
    prefix = np.int64(work.lanes[LOW, k]) >> (shift + 1)
    return value_lists.halves(load_uint64x8(address), load_uint64x8(address + 64), prefix, shift)


@_inlined
def see_evidence(k, depth, work):  # type: ignore[no-untyped-def]
    """Of each list of a lane, in bytes: counts below and above its cut, and `NEW` if it was never seen."""
    below, above = _halves(k, 7 - depth, work)
    seen = below | (above << 8) | load_uint64x8(work.lists.ctypes.data + 192 * k + 128)
    store(work.evidence.ctypes.data + 32 * k, lower_halves(seen))


@_inlined
def _refine(v, e, state, turn, positive, negative, channel, memory, work):  # type: ignore[no-untyped-def]
    """What an expert adds to the network's odds x, by its states; where `turn` is -1, those of the halves exchanged.

    `positive` and `negative` are places of x and -x in maps.
    """
    place = where(turn < 0, negative, positive)
    part, maps = (place >> 2) & 255, memory.maps.ctypes.data
    cells = state * BUCKETS + (place >> 10) + (np.int64(_FIRST_BUCKET[e]) + channel * MAP_SIZE)
    left, right = gathered(maps, cells), gathered(maps + 4, cells)
    p = _between(left, right, part, 8) | 1
    change = _bent(p) - _bent((1 << 22) - p) - place + REACH * LOG_UNIT
    at = _VECTOR * (INPUTS * v + e)
    store(work.inputs.ctypes.data + at, limited((change ^ turn) - turn, -INPUT_LIMIT, INPUT_LIMIT))
    store(work.turns.ctypes.data + at, turn)
    store(work.cells.ctypes.data + at, cells + (part >> 7))
    store(work.learners.ctypes.data + at, where(part > 127, right, left))


@_inlined
def _ask_lists(v, lanes, odds, positive, negative, channel, memory, work, here):  # type: ignore[no-untyped-def]
    """By lists and the match; the first list's state, how many have something, a class of the last ones' states."""
    classes, triangle = _CLASS.ctypes.data, _TRIANGLE.ctypes.data
    number = first = last = match = odds & 0
    for e in range(MATCH + 1):
        if here >> e & 1:
            seen = gathered(work.evidence.ctypes.data + 4 * e, lanes * 8)
            below = chosen(classes, limited(seen & 255, 0, 15))
            above = chosen(classes, limited((seen >> 8) & 255, 0, 15))
            turned = below > above
            larger, smaller = where(turned, below, above), where(turned, above, below)
            state = chosen(triangle, larger) + smaller
            state = where(state == 0, seen >> 16, state)
            turn = where(turned, -1, where(below == above, odds >> 31, 0))
            _refine(v, e, state, turn, positive, negative, channel, memory, work)
            number += where((state != 0) & (state != NEW), 1, 0)
            if e == 0:
                first = state
            if e == MATCH - 1:
                last = state
            if e == MATCH:
                match = state
    kinds = _KIND.ctypes.data
    match = gathered(kinds, match)
    return first, number, where(match != 0, match, gathered(kinds, last))


@_inlined
def _ask_others(v, depth, lanes, odds, positive, negative, channel, memory, work, here, turn):  # type: ignore[no-untyped-def]
    """By counters, and by what has no memory but the map."""
    for i in range(3):
        if here >> (COUNTERS + i) & 1:
            cells = _of(work, CELL + i, lanes)
            count, one = cells & 1023, 2 * ((cells >> 22) & 1023) + 1
            zero = 2048 - one
            turned = zero > one
            larger, smaller = where(turned, zero, one), where(turned, one, zero)
            often = where(count > 3, 1, 0) + where(count > 15, 1, 0) + where(count > 99, 1, 0)
            state = where(count == 0, 0, 4 * limited(octaves(larger, smaller), 0, 10) + 1 + often)
            turned = where(count == 0, odds >> 31, where(turned, -1, 0))
            _refine(v, COUNTERS + i, state, turned, positive, negative, channel, memory, work)
    cut = _of(work, LOW, lanes) + (128 >> depth)
    for i in range(2):
        if here >> (PLAIN + i) & 1:
            level = gathered(known_at(work, turn, LEVEL + i, 0), lanes)
            state = limited(cut - level, -16, 15) + gathered(known_at(work, turn, SLOPE + i, 0), lanes)
            _refine(v, PLAIN + i, state, odds & 0, positive, negative, channel, memory, work)


@_inlined
def ask(v, number, depth, channel, memory, work, here, turn):  # type: ignore[no-untyped-def]
    """Probabilities by all experts for the v-th sixteen lanes that ask, of which the first `number` count."""
    lanes = load_int32x16(work.asked.ctypes.data + _VECTOR * v)
    odds = _of(work, ODDS, lanes)
    size = where(odds < 0, 0 - odds, odds)
    positive = limited(REACH * LOG_UNIT + odds, 0, 2 * REACH * LOG_UNIT - 1)
    negative = limited(REACH * LOG_UNIT - odds, 0, 2 * REACH * LOG_UNIT - 1)
    first, seen, kind = _ask_lists(v, lanes, odds, positive, negative, channel, memory, work, here)
    _ask_others(v, depth, lanes, odds, positive, negative, channel, memory, work, here, turn)
    store(work.inputs.ctypes.data + _VECTOR * (INPUTS * v + EXPERTS), odds)
    sets, rows = work.sets.ctypes.data + _VECTOR * v, memory.weights.shape[1]
    store(sets, limited(size >> 9, 0, 15) + (channel * 512 + depth * 16))
    store(sets + _ROW, first + (rows + channel * 512))
    store(sets + 2 * _ROW, seen * 16 + kind + (2 * rows + channel * 512))
    store(sets + 3 * _ROW, limited(size >> 10, 0, 7) + (channel * 8 + depth) * 8)
    for k in range(LANES * v, LANES * v + number):
        _mix(k, memory, work)
    mixed = load_int32x16(work.mixed.ctypes.data + _VECTOR * v)
    p_mixed = _squashed(mixed)
    place, last = limited(mixed + REACH * LOG_UNIT, 0, 2 * REACH * LOG_UNIT - 1), memory.last.ctypes.data
    part, cells = place & 1023, (_of(work, NODE, lanes) + channel * NODES) * BUCKETS + (place >> 10)
    left, right = gathered(last, cells), gathered(last + 4, cells)
    p = (3 * p_mixed + _between(left, right, part, 10)) >> 2
    p = where((mixed < SURE_OF_LAST) & (mixed > -SURE_OF_LAST), p, p_mixed)
    p = limited(p, 128 >> depth, _ALL - (128 >> depth))  # each half keeps 1 for every value in it
    scatter(lanes_at(work, SHARE, 0), lanes, p, mask16(present(number, 0)))
    ends = work.ends.ctypes.data + 3 * _VECTOR * v
    store(ends, p_mixed)
    store(ends + _VECTOR, where(part > 511, right, left))
    store(ends + 2 * _VECTOR, cells + (part >> 9))


@_inlined
def _mix(k, memory, work):  # type: ignore[no-untyped-def]
    """Three odds by three sets of weights, and one of these, of a lane that asks."""
    v, i = k // LANES, k % LANES
    x = gathered(work.inputs.ctypes.data + _VECTOR * INPUTS * v + 4 * i, numbers_from(0) * LANES)
    store(work.rows.ctypes.data + _VECTOR * k, x)
    weights = memory.weights.ctypes.data
    first, between, last = (
        load_int32x16(weights + 4 * INPUTS * np.int64(work.sets[0, k])),
        load_int32x16(weights + 4 * INPUTS * np.int64(work.sets[1, k])),
        load_int32x16(weights + 4 * INPUTS * np.int64(work.sets[2, k])),
    )
    ways = limited(three_dots(first, between, last, x) >> MIX_BITS, -LIMIT, LIMIT)
    store(work.ways.ctypes.data + 16 * k, ways)
    second = load_int32x4(memory.second.ctypes.data + 16 * np.int64(work.sets[3, k]))
    work.mixed[k] = min(max(total(ways * (second >> 16)) >> MIX_BITS, -LIMIT), LIMIT)


@_inlined
def learn(v, number, memory, work, here):  # type: ignore[no-untyped-def]
    """What all that was mixed learns from the decisions; see `ask`."""
    lanes, mask = load_int32x16(work.asked.ctypes.data + _VECTOR * v), mask16(present(number, 0))
    bit = 0 - _of(work, BIT, lanes)
    target = bit & _ALL
    for e in range(EXPERTS):
        if here >> e & 1:
            at = _VECTOR * (INPUTS * v + e)
            turn, cells = load_int32x16(work.turns.ctypes.data + at), load_int32x16(work.learners.ctypes.data + at)
            places = load_int32x16(work.cells.ctypes.data + at)
            scatter(memory.maps.ctypes.data, places, _learned(cells, (turn ^ bit) & _FULL, MAP_LIMIT), mask)
    ends = work.ends.ctypes.data + 3 * _VECTOR * v
    cells = _learned(load_int32x16(ends + _VECTOR), bit & _FULL, MAP_LIMIT)
    scatter(memory.last.ctypes.data, load_int32x16(ends + 2 * _VECTOR), cells, mask)
    errors, fours = work.sets.ctypes.data + 4 * _ROW + _VECTOR * v, numbers_from(0) * (SETS + 1)
    for i in range(SETS):
        p = _squashed(gathered(work.ways.ctypes.data + 4 * (LANES * (SETS + 1) * v + i), fours))
        store(errors + _ROW * i, (target - p) >> (PROBABILITY_BITS - ERROR_BITS))
    store(errors + _ROW * SETS, (target - load_int32x16(ends)) >> (PROBABILITY_BITS - ERROR_BITS))
    for k in range(LANES * v, LANES * v + number):
        _learn_weights(k, memory, work)


@_inlined
def _learn_weights(k, memory, work):  # type: ignore[no-untyped-def]
    """All weights of a lane, as they are by now: lanes may have the same."""
    x, weights = load_int32x16(work.rows.ctypes.data + _VECTOR * k), memory.weights.ctypes.data
    for i in range(SETS):
        address = weights + 4 * INPUTS * np.int64(work.sets[i, k])
        changed = load_int32x16(address) + ((x * spread(work.sets[SETS + 1 + i, k])) >> RATE)
        store(address, limited(changed, -WEIGHT_LIMIT, WEIGHT_LIMIT))
    address = memory.second.ctypes.data + 16 * np.int64(work.sets[SETS, k])
    change = (load_int32x4(work.ways.ctypes.data + 16 * k) * spread4(work.sets[2 * SETS + 1, k])) >> SECOND_RATE
    store(address, limited(load_int32x4(address) + change, -WEIGHT_LIMIT, WEIGHT_LIMIT))


@_inlined
def learn_trust(v, depth, channel, memory, work):  # type: ignore[no-untyped-def]
    """After decisions of the network alone: less trust where it was wrong and a list was sure, else a bit more."""
    alone = work.alone[v]
    wrong = bits_of(((_get(work, ODDS, v) >> 31) + 1) != _get(work, BIT, v)) & alone
    trust = memory.trust[channel]
    right = alone & ~wrong
    while right:
        right &= right - 1
        trust -= TRUST_BACK
    trust = max(trust, SURE << 5)
    while wrong:
        k = LANES * v + lowest(wrong)
        wrong &= wrong - 1
        below, above = _halves(k, 7 - depth, work)
        one = work.lanes[BIT, k] != 0
        says, denies = lower_halves(above if one else below), lower_halves(below if one else above)
        if how_many((says > 1) & (denies == 0)):
            trust = min(trust + FALSE_TRUST, MOST_TRUST)
    memory.trust[channel] = trust


@_inlined
def go_on(v, depth, memory, work, here, active):  # type: ignore[no-untyped-def]
    """Teach sixteen lanes' counters their decisions, and go on to what these leave."""
    bit, low = 0 - _get(work, BIT, v), _get(work, LOW, v)
    lower, middle, upper = _get(work, LOWER, v), _get(work, MIDDLE, v), _get(work, UPPER, v)
    store(lanes_at(work, LOWER, v), where(bit < 0, middle, lower))
    store(lanes_at(work, UPPER, v), where(bit < 0, upper, middle))
    store(lanes_at(work, LOW, v), low + (bit & (128 >> depth)))
    store(lanes_at(work, NODE, v), 2 * _get(work, NODE, v) - bit)
    for i in range(3):
        if here >> (COUNTERS + i) & 1:
            cells = _learned(_get(work, CELL + i, v), bit & _FULL, COUNTER_LIMIT)
            scatter(memory.counters.ctypes.data, _get(work, PLACE + i, v), cells, active)
