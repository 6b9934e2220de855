"""What learns the image while it is coded: experts, the mixer of their opinions, a last correction; all in integers.

A sample is coded as eight decisions, the most significant bit first: each cuts an interval of values in two.  The
network's frequencies give the logarithm x of the odds for the upper half, in 1/1024 of a bit.  An expert knows a
*state* at each decision, a small number that says what came before in the same context, and a map from (state, x) to a
probability, which learns: it gives refined odds x_e.  The mixer adds

    x + sum over experts of w_e (x_e - x)

by three sets of weights, each chosen by something else; a second layer of three weights makes one of the three, and a
last map, by the decision's place, corrects it by a quarter.  All of them learn from every decision, at once, by fixed
rates.  Decisions that the network is very sure of are its own, and cost no time.  The decisions of a sample cut one
interval of 2^24 again and again; what is left in the end is coded, as one symbol.

`pixcodec.expert_names` has the table of them, with the context of each and what it serves.  The first seven are lists
of values (`value_lists`), the next one a list of the repeated pixel's value, three are counters of decisions, the last
two have no memory but the map.  A mask says which take part: the others are not looked up and do not learn, and what
they would add is 0.  `reference/experts.py` is the definition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pixcodec.exact import value_lists
from pixcodec.exact.compiled import compiled
from pixcodec.exact.emit import ALIGNMENT, aligned
from pixcodec.exact.frequencies import MOST_CLASSES, begin, below, class_table
from pixcodec.exact.range_coder import Decoder, advance, put, quantile
from pixcodec.exact.ring import Repeated
from pixcodec.exact.tables import LOG2, LOG_UNIT, PROBABILITY_BITS, SQUASH, SQUASH_OCTAVES
from pixcodec.exact.value_lists import COUNTS, hashed
from pixcodec.exact.vectors import (
    dot,
    element,
    flags,
    float_bits,
    how_many,
    joined,
    limited,
    load_int32x8,
    load_int32x16,
    load_uint64x8,
    lower_halves,
    mask8,
    mask16,
    octaves,
    pairs_of,
    prefetch,
    product,
    reciprocals,
    setter_of,
    spread,
    store,
    three,
    where,
)

if TYPE_CHECKING:
    from pixcodec.exact import range_coder
    from pixcodec.exact.frequencies import Classes

LISTS, MATCH, COUNTERS, PLAIN, EXPERTS = 7, 7, 8, 11, 13  # numbers of the first expert of each form, and of all
INPUTS = 16  # of a mixer: the experts', the network's, and two that are 0, for whole vectors
SETS = 3
ALL = (1 << EXPERTS) - 1  # the mask of all experts, bit e for expert e
LIMIT = 22 * LOG_UNIT  # of odds: probabilities of 2^-22
SURE = 8 * LOG_UNIT  # beyond it the network decides alone
FALSE_TRUST, TRUST_BACK = 64 * LOG_UNIT, 2  # that limit, in 1/32: up when it was wrong and a list sure, down if not
RATE, SECOND_RATE, WEIGHT_LIMIT = 15, 20, 1 << 20
EXPERT_WEIGHT, NETWORK_WEIGHT = 6000, 65536  # to begin with, of 65536
MAP_COUNT, MAP_LIMIT, COUNTER_LIMIT = 3, 1022, 250  # learning rates are 1 / (count + 1.5)
REACH = 13  # of the maps: buckets of one bit from -13 to 13
BUCKETS = 32
LIST_STATES, NEW = 48, 36  # 36: a context that was never seen
STATES = np.array([LIST_STATES] * PLAIN + [256, 256])
MAP_SIZE = int(STATES.sum()) * BUCKETS  # of a channel
FIRST_BUCKET = np.zeros(INPUTS, np.int32)
FIRST_BUCKET[1:EXPERTS] = np.cumsum(STATES)[:-1] * BUCKETS
NODES = 256
LIST_BITS, MATCH_BITS = 16, 16  # slots of a table
AHEAD, RING = 3, 4  # by how many samples what will be looked up is fetched
LONGEST = 400  # match
COUNTER_NODES = 17 * 16  # cells of a context: the first four decisions together, then the others by what those were
COUNTER_SIZE = (12 + 6 * 256) * COUNTER_NODES

_RECIPROCAL = np.array([int(65536 / (n + 1.5)) for n in range(1024)], np.int32)
_FULL = np.int32((1 << 22) - 1)  # of probabilities in maps and counters, in 2^-22; below them are 10 bits of count
_BEND = np.int32(359)  # log2(1 + f) is f + 0.35 f (1 - f), within 0.009
_ALL = 1 << PROBABILITY_BITS
_u = np.uint64
# Without the runtime that counts references to arrays: nothing is allocated here, and counting took most of the time.
_compiled = compiled(_nrt=False)
# Inlined where arrays would be handed on one by one.
_inlined = compiled(_nrt=False, inline="always")


def _steps(edges: list[int], size: int) -> np.ndarray:
    """int32[size]: how many of the edges each number has reached."""
    return np.searchsorted(edges, np.arange(size), side="right").astype(np.int32)


MATCH_COUNT = np.array([1, 2, 3, 4, 6, 9, 15], np.int32)[_steps([2, 4, 8, 16, 32, 64], LONGEST + 1)]


_KIND = np.array([0 if n in (0, NEW) else 1 + n // 6 for n in range(LIST_STATES)], np.int32)  # of a list's state
_look_up, _put = pairs_of(EXPERTS), setter_of(EXPERTS)


@_compiled
def logarithm(n):  # type: ignore[no-untyped-def]
    """log2 of an int32 1..2^24 in 1/1024: the exponent of its binary32, and a table by 11 bits of the fraction."""
    bits = np.float32(n).view(np.int32)
    return np.int32(((bits >> 23) - 127) * LOG_UNIT + LOG2[(bits >> 12) & 2047])


@_compiled
def squash(x):  # type: ignore[no-untyped-def]
    """Probability in 2^-24 of odds with the logarithm x."""
    x = min(max(x, -LIMIT), LIMIT) + SQUASH_OCTAVES * LOG_UNIT
    i, part = x >> 5, x & 31
    return (np.int64(SQUASH[i]) * (32 - part) + np.int64(SQUASH[i + 1]) * part) >> 5


@_compiled
def learned(cell, bit, limit):  # type: ignore[no-untyped-def]
    """A cell, 22 bits of probability and 10 of count, after a decision."""
    count, p = np.int32(cell & np.uint32(1023)), np.int32(cell >> np.uint32(10))
    p += np.int32((np.int64(np.int32(-bit & _FULL) - p) * _RECIPROCAL[count]) >> 16)
    return (np.uint32(p) << np.uint32(10)) | np.uint32(min(count + np.int32(1), np.int32(limit)))


@_inlined
def _bent(bits):  # type: ignore[no-untyped-def]
    """log2 but for a constant, in 1/1024, of numbers whose binary32 has these bits: a parabola instead of a table."""
    part = (bits >> 12) & 2047
    return (bits >> 23) * LOG_UNIT + (part >> 1) + ((part * (2048 - part) * _BEND) >> 22)


@_inlined
def _refine(x, state, turn, base, here, maps, scratch):  # type: ignore[no-untyped-def]
    """What the experts make of the network's odds x at a decision.

    Args:
        x: int32.
        state: int32[16] of the experts.
        turn: int32[16], -1 where the state is that of the two halves exchanged, else 0.
        base: of the channel's cells.
        here: the mask of experts.
        maps: address of the maps.
        scratch: address of 128 bytes.

    Returns:
        What each would add to x, x itself at EXPERTS; places and contents of the cells that learn.
    """
    place = limited((spread(x) ^ turn) - turn + REACH * LOG_UNIT, 0, 2 * REACH * LOG_UNIT - 1)
    part = (place >> 2) & 255
    cells = load_int32x16(FIRST_BUCKET.ctypes.data) + state * BUCKETS + (place >> 10) + base
    left, right = _look_up(maps, cells, scratch)
    low, high = (left >> 10) & _FULL, (right >> 10) & _FULL
    p = ((low * (256 - part) + high * part) >> 8) | 1
    odds = _bent(float_bits(p)) - _bent(float_bits((1 << 22) - p)) - place + REACH * LOG_UNIT
    change = where(here, (odds ^ turn) - turn, 0)
    nearer_right = part > 127
    return where(mask16(1 << EXPERTS), spread(x), change), cells + (part >> 7), where(nearer_right, right, left)


@_inlined
def _learn_maps(maps, places, cells, turn, here, bit, scratch):  # type: ignore[no-untyped-def]
    """`learned` of the cells at `places`, with the bit turned as the states were."""
    count, p = cells & 1023, (cells >> 10) & _FULL
    target = (turn ^ -bit) & _FULL
    p += product(target - p, reciprocals(count), 16)
    _put(maps, places, where(here, (p << 10) | limited(count + 1, 0, MAP_LIMIT), cells), scratch)


class Memory(NamedTuple):
    """What a tile has taught, see `Experts`.

    Attributes:
        lists: uint64[LISTS, slots, 2]. counters: uint32[COUNTER_SIZE].
        matches: int32[], the last pixel, as y W + x, with a hash of its neighbourhood.
        maps, last: uint32[], the experts' maps and the last one.
        weights: int32[SETS, C 512, INPUTS]. second: int64[C 64, SETS].
        trust: int64[C], the odds beyond which the network decides alone, in 1/32.
        pointer: int32[H, W], the pixel that each one may repeat; length: int16[H, W], how long it did.
    """

    lists: np.ndarray
    counters: np.ndarray
    matches: np.ndarray
    maps: np.ndarray
    weights: np.ndarray
    second: np.ndarray
    last: np.ndarray
    trust: np.ndarray
    pointer: np.ndarray
    length: np.ndarray


class Work(NamedTuple):
    """Scratch of a sample.

    Attributes:
        bases: int32[], of `frequencies.begin`.
        slots: int64[LISTS], of each list.
        words: uint64[4, 8], values and counts of the lists and of the match, and what the lists have learned.
        new: uint64[8], `NEW` of those that take part, else 0.
        scratch: int32[32].
        ahead: int64[RING, 20], what samples to come are known by, see `_look_ahead`.
        around: int64[H], hashes of the neighbourhoods of a step's pixels.
        plain: int32[RING, 2, 8], of experts without memory: levels from which they measure cuts, and what they add.
    """

    bases: np.ndarray
    slots: np.ndarray
    words: np.ndarray
    new: np.ndarray
    scratch: np.ndarray
    ahead: np.ndarray
    around: np.ndarray
    plain: np.ndarray


class Near(NamedTuple):
    """Where a pixel's neighbours begin in the samples; outside of the image the nearest known pixel inside."""

    left: int
    upper: int
    corner: int
    right: int
    second: int


class Around(NamedTuple):
    """Values of a channel near a pixel, and what is known of the pixel itself."""

    left: int
    upper: int
    corner: int
    second: int
    known: int
    first: int
    before: int
    before_left: int
    before_upper: int
    change_left: int
    change_up: int


@_inlined
def _near(y, x, width, channels):  # type: ignore[no-untyped-def]
    """See `Near`."""
    own = y * width + x
    left = own - 1 if x > 0 else max(y - 1, 0) * width
    upper = own - width if y > 0 else max(x - 1, 0)
    corner = max(y - 1, 0) * width + max(x - 1, 0)
    right = (y - 1) * width + min(x + 1, width - 1) if y > 0 else upper
    second = own - 2 if x > 1 else own - 1 if x == 1 else left
    return Near(left * channels, upper * channels, corner * channels, right * channels, second * channels)


@_inlined
def _sample(samples, place):  # type: ignore[no-untyped-def]
    return np.int64(samples[_u(place)])


@_inlined
def _packed(samples, place, channels):  # type: ignore[no-untyped-def]
    """All channels of a pixel in one number."""
    number = np.int64(samples[_u(place)])
    for k in range(1, channels):
        number = (number << 8) + np.int64(samples[_u(place + k)])
    return number


@_inlined
def _changes(samples, own, other, channel):  # type: ignore[no-untyped-def]
    """By how much the channels before differ from another pixel's, in one number."""
    change = np.int64(0)
    for k in range(channel):
        change = change * 512 + np.int64(samples[_u(own + k)]) - np.int64(samples[_u(other + k)]) + 256
    return change


@_inlined
def _neighbourhood(samples, near, channels, begun):  # type: ignore[no-untyped-def]
    """A hash of the four nearest pixels, of zeros at the first pixel of a tile."""
    none = np.int64(0)
    if not begun:
        return hashed(hashed(hashed(none, none), none), none)
    two = hashed(_packed(samples, near.left, channels), _packed(samples, near.upper, channels))
    return hashed(hashed(two, _packed(samples, near.corner, channels)), _packed(samples, near.right, channels))


@_inlined
def _around(samples, own, c, near, begun):  # type: ignore[no-untyped-def]
    """See `Around`; at the first pixel of a tile neighbours are 128, and nothing is known of the others."""
    known, first, before = np.int64(c), np.int64(0), np.int64(0)
    if c > 0:
        first, before = _sample(samples, own), _sample(samples, own + c - 1)
        known = known * 256 + first
    if c > 1:
        known = known * 256 + before
    if not begun:
        level, none = np.int64(128), np.int64(0)
        return Around(level, level, level, level, known, first, before, none, none, none, none)
    left, upper = _sample(samples, near.left + c), _sample(samples, near.upper + c)
    corner, second = _sample(samples, near.corner + c), _sample(samples, near.second + c)
    if c > 0:
        before_left, before_upper = _sample(samples, near.left + c - 1), _sample(samples, near.upper + c - 1)
        change_left, change_up = _changes(samples, own, near.left, c), _changes(samples, own, near.upper, c)
    else:
        before_left = before_upper = np.int64(0)
        right = _sample(samples, near.right)
        change_left = (upper - corner) * 512 + right - upper
        change_up = (left - corner) * 512 + right - upper
    return Around(left, upper, corner, second, known, first, before, before_left, before_upper, change_left, change_up)


@_inlined
def _find_match(memory, samples, channels, y, x, step, key):  # type: ignore[no-untyped-def]
    """Choose the pixel that this one may repeat: right of what the left one repeated, or the last with the key."""
    width = memory.pointer.shape[1]
    place = key & (memory.matches.size - 1)
    at, long = np.int64(-1), np.int64(0)
    if x > 0 and memory.pointer[y, x - 1] >= 0:
        at, long = np.int64(memory.pointer[y, x - 1]), np.int64(memory.length[y, x - 1])
        own = (y * width + x - 1) * channels
        same = _packed(samples, at * channels, channels) == _packed(samples, own, channels)
        long = min(long + 1, LONGEST) if same else long >> 2
        at = at + 1 if at % width + 1 < width and long > 0 else np.int64(-1)
    if at < 0:
        at, long = np.int64(memory.matches[place]), np.int64(1)
    if at >= 0 and at % width + 2 * (at // width) >= step:
        at = np.int64(-1)  # only pixels of earlier steps are known
    memory.pointer[y, x] = at
    memory.length[y, x] = long
    memory.matches[place] = y * width + x


@_inlined
def _see_match(memory, work, samples, channels, y, x, channel):  # type: ignore[no-untyped-def]
    """The repeated pixel's value as a list of one, if its channels before are this pixel's."""
    work.words[0, MATCH] = work.words[1, MATCH] = _u(0)
    at = np.int64(memory.pointer[y, x]) * channels
    if at < 0:
        return
    own = (y * memory.pointer.shape[1] + x) * channels
    for k in range(channel):
        if samples[_u(at + k)] != samples[_u(own + k)]:
            return
    work.words[0, MATCH] = _u(samples[_u(at + channel)])
    work.words[1, MATCH] = _u(MATCH_COUNT[memory.length[y, x]])


@_inlined
def _look_ahead(memory, work, here, samples, channels, begins, y, x, c, centre, row, plain):  # type: ignore[no-untyped-def]
    """What a sample of this step is known by, in a row of `ahead`; all but its own channels before is of earlier steps.

    A pixel `begins` with the first channel that is coded.

    Columns: 0 the contexts of the lists, 8 their offsets, 16 where the counters of its contexts begin, 19 the key of
    the match; and `plain` of `Work`.  What will be looked up is fetched.
    """
    width, begun = memory.pointer.shape[1], x + y > 0
    near, own, parity = _near(y, x, width, channels), (y * width + x) * channels, (x & 1) + 2 * (y & 1)
    a = _around(samples, own, c, near, begun)
    if begins:
        work.around[y] = _neighbourhood(samples, near, channels, begun)
        row[19] = hashed(work.around[y], _sample(samples, near.second) if begun else np.int64(0))
        prefetch(memory.matches.ctypes.data + 4 * (row[19] & (memory.matches.size - 1)))
    row[0] = hashed(a.known, np.int64(0) if c else a.left)
    row[1] = hashed(a.known, a.left if c else a.second * 256 + a.left)
    row[2] = hashed(hashed(a.known, a.left - a.before_left + 256), a.upper - a.before_upper + 256)
    row[3] = hashed(np.int64(c * 4 + parity + 16), a.change_left)
    row[4] = hashed(np.int64(c * 4 + parity + 32), a.change_up)
    row[5] = hashed(a.known, centre)
    row[6] = hashed(a.known, work.around[y])
    row[8 + 3], row[8 + 4] = a.left, a.upper
    third = a.first
    if c == 0:
        third = a.upper
    elif c == 1:
        third = (a.left - a.before_left + a.before) & 255
    row[16] = (c * 4 + parity) * COUNTER_NODES
    row[17] = (12 + (a.before if c > 0 else a.left) + 256 * c) * COUNTER_NODES
    row[18] = (12 + 3 * 256 + third + 256 * c) * COUNTER_NODES
    plain[0, 3], plain[0, 4] = a.left, a.upper
    plain[1, 3] = 32 * min(max(((a.upper - a.corner) >> 2) + 4, 0), 7) + 16
    plain[1, 4] = 32 * min(max(((a.left - a.corner) >> 2) + 4, 0), 7) + 16
    slots = memory.lists.shape[1]
    for e in range(LISTS):
        if here >> e & 1:
            prefetch(memory.lists.ctypes.data + 16 * (e * slots + (row[e] & (slots - 1))))
    match = memory.pointer[y, x] if not begins else memory.pointer[y, x - 1] + 1 if x > 0 else 0
    prefetch(samples.ctypes.data + max(match, 0) * channels)
    for k in range(1, 3):
        counters = memory.counters.ctypes.data + 4 * row[16 + k]
        prefetch(counters)
        prefetch(counters + 64 * (1 + (centre >> 4)))  # of the decisions from the fifth on, if the centre is near


@_inlined
def _see_lists(memory, work, here, row):  # type: ignore[no-untyped-def]
    """Find each list of the sample's contexts: their words, int64[8] each, and that of the match."""
    mask = memory.lists.shape[1] - 1
    for e in range(LISTS):
        if here >> e & 1:
            slot = value_lists.find(memory.lists[e], row[e], mask)
            work.slots[e] = slot
            work.words[0, e], work.words[1, e] = memory.lists[e, slot, 0], memory.lists[e, slot, 1]
    address = work.words.ctypes.data
    return load_uint64x8(address), load_uint64x8(address + 64)


@_inlined
def _see_counters(memory, row, node):  # type: ignore[no-untyped-def]
    """The cells of the sample's three counters at a node, int32[8]."""
    return three(
        np.int64(memory.counters[_u(row[16] + node)]),
        np.int64(memory.counters[_u(row[17] + node)]),
        np.int64(memory.counters[_u(row[18] + node)]),
    )


@_inlined
def _learn_counters(memory, here, row, node, cells, bit):  # type: ignore[no-untyped-def]
    """Those cells after a decision, where they take part."""
    count, p = cells & 1023, (cells >> 10) & _FULL
    p += product((-bit & _FULL) - p, reciprocals(count), 16)
    cells = where(mask8(here >> COUNTERS), (p << 10) | limited(count + 1, 0, COUNTER_LIMIT), cells)
    memory.counters[_u(row[16] + node)] = element(cells, 0)
    memory.counters[_u(row[17] + node)] = element(cells, 1)
    memory.counters[_u(row[18] + node)] = element(cells, 2)


@_inlined
def _counter_states(cells, here, downward):  # type: ignore[no-untyped-def]
    """State and turn of the counters, 0 of those that take no part."""
    count, for_one = cells & 1023, 2 * ((cells >> 22) & 1023) + 1
    for_zero = 2048 - for_one
    larger, smaller = where(for_one > for_zero, for_one, for_zero), where(for_one > for_zero, for_zero, for_one)
    seen = flags(count > 3) + flags(count > 15) + flags(count > 99)
    state, turn = 4 * limited(octaves(larger, smaller), 0, 10) + 1 + seen, 0 - flags(for_zero > for_one)
    present = mask8(here >> COUNTERS & 7)
    state, turn = where(count == 0, 0, state), where(count == 0, -downward, turn)
    return where(present, state, 0), where(present, turn, 0)


@_inlined
def _class(evidence):  # type: ignore[no-untyped-def]
    """0 to 7: itself up to 3, then up to 5, 8, 14 and above."""
    less = where(evidence > 4, 4, evidence)
    return less + flags(evidence > 5) + flags(evidence > 8) + flags(evidence > 14)


@_inlined
def _states(here, lists, cells, levels, cut, prefix, shift, downward):  # type: ignore[no-untyped-def]
    """State and turn of every expert at a decision; `levels` as `_look_ahead` wrote them, at an address."""
    values, held, unseen = lists
    below, above = value_lists.halves(values, held, prefix, shift)
    below, above = _class(below), _class(above)
    turned = flags(below > above) | (flags(below == above) & downward)
    larger, smaller = where(below > above, below, above), where(below > above, above, below)
    state = ((larger * (larger + 1)) >> 1) + smaller
    state = where(state == 0, unseen, state)
    counter_state, counter_turn = _counter_states(cells, here, downward)
    plain = limited(cut - load_int32x8(levels), -16, 15) + load_int32x8(levels + 32)
    others = where(mask8(0b111), counter_state, where(mask8(0b11000), plain, 0))
    return joined(state, others), joined(0 - turned, counter_turn), state


@_inlined
def _seen_lists(state):  # type: ignore[no-untyped-def]
    """How many lists have something below this node, and a class of the match's state or of the neighbourhood's."""
    number = how_many((state != 0) & (state != NEW))
    match, other = (np.int64(_KIND[_u(element(state, MATCH))]), np.int64(_KIND[_u(element(state, MATCH - 1))]))
    return number * 16 + (match | (other & (np.int64(match != 0) - 1)))


@_inlined
def _row(weights, k, number):  # type: ignore[no-untyped-def]
    """Address of the weights of set `number` of kind k."""
    return weights.ctypes.data + 4 * INPUTS * (k * weights.shape[1] + number)


@_inlined
def _mix(memory, c, node, depth, odds, change, lists_state):  # type: ignore[no-untyped-def]
    """All that follows at a decision: probability, before the last map too, odds and places of all that learns."""
    size = np.int64(abs(odds))
    a0 = _row(memory.weights, 0, c * 512 + depth * 16 + min(15, size >> 9))
    a1 = _row(memory.weights, 1, c * 512 + element(lists_state, 0))
    a2 = _row(memory.weights, 2, c * 512 + _seen_lists(lists_state))
    w0, w1, w2 = load_int32x16(a0), load_int32x16(a1), load_int32x16(a2)
    x0 = min(max(dot(w0, change) >> 16, -LIMIT), LIMIT)
    x1 = min(max(dot(w1, change) >> 16, -LIMIT), LIMIT)
    x2 = min(max(dot(w2, change) >> 16, -LIMIT), LIMIT)
    second = (c * 8 + depth) * 8 + min(7, size >> 10)
    w = memory.second[second]
    mixed = min(max((x0 * w[0] + x1 * w[1] + x2 * w[2]) >> 16, -LIMIT), LIMIT)
    p = p_mixed = squash(mixed)
    place = min(max(mixed + REACH * LOG_UNIT, 0), 2 * REACH * LOG_UNIT - 1)
    part, cell = place & 1023, (c * NODES + node) * BUCKETS + (place >> 10)
    if abs(mixed) < 12 * LOG_UNIT:
        a = np.int64(memory.last[cell] >> np.uint32(10)) * (1024 - part)
        b = np.int64(memory.last[cell + 1] >> np.uint32(10)) * part
        p = (3 * p_mixed + ((a + b) >> 8)) >> 2
    p = min(max(p, np.int64(1)), np.int64(_ALL - 1))
    return p, p_mixed, second, cell + (part >> 9), ((x0, a0, w0), (x1, a1, w1), (x2, a2, w2))


@_inlined
def _learn_weights(mixer, change, target):  # type: ignore[no-untyped-def]
    """A set's row: weights and where they are, after it gave odds."""
    odds, address, weights = mixer
    error = (target - squash(odds)) >> (PROBABILITY_BITS - RATE)
    weights += (change * error + (1 << RATE - 1)) >> RATE
    store(address, limited(weights, -WEIGHT_LIMIT, WEIGHT_LIMIT))


@_inlined
def _learn(memory, change, mix, bit):  # type: ignore[no-untyped-def]
    """Everything that mixed learns from a decision; `mix` as `_mix` gave it."""
    _, p_mixed, second, cell, (first, between, last) = mix
    target = bit << PROBABILITY_BITS
    memory.last[cell] = learned(memory.last[cell], bit, MAP_LIMIT)
    error_mixed, w = (target - p_mixed) >> 8, memory.second[second]
    w[0] = min(max(w[0] + ((first[0] * error_mixed) >> SECOND_RATE), -WEIGHT_LIMIT), WEIGHT_LIMIT)
    w[1] = min(max(w[1] + ((between[0] * error_mixed) >> SECOND_RATE), -WEIGHT_LIMIT), WEIGHT_LIMIT)
    w[2] = min(max(w[2] + ((last[0] * error_mixed) >> SECOND_RATE), -WEIGHT_LIMIT), WEIGHT_LIMIT)
    _learn_weights(first, change, target)
    _learn_weights(between, change, target)
    _learn_weights(last, change, target)


@_inlined
def _learn_trust(memory, lists, c, odds, prefix, shift, bit):  # type: ignore[no-untyped-def]
    """After a decision of the network alone: less trust where it was wrong and a list was sure, else a bit more."""
    if (odds > 0) == (bit == 1):
        memory.trust[c] = max(memory.trust[c] - TRUST_BACK, SURE << 5)
        return
    zero, one = value_lists.halves(lists[0], lists[1], prefix, shift)
    if how_many(((one if bit else zero) > 1) & ((zero if bit else one) == 0)):
        memory.trust[c] = min(memory.trust[c] + FALSE_TRUST, (24 * LOG_UNIT) << 5)


@_compiled
def _upper(size, p, leaves):  # type: ignore[no-untyped-def]
    """The part of an interval that goes to 1, by its probability in 2^-24; each half keeps 1 for every value in it."""
    return min(max((size * p) >> PROBABILITY_BITS, leaves), size - leaves)


@_inlined
def _code_value(  # type: ignore[no-untyped-def]
    decoding, value, counts, centre, classes, memory, work, here, lists, row, levels, c, coder, words
):
    """Eight decisions, each of which cuts the interval of the last one in two; the value, and the interval's size."""
    low, node = np.int64(0), np.int64(1)
    lower, upper = np.int64(0), np.int64(_ALL)  # frequencies below the values that are left, and with them
    start, size, point = np.int64(0), np.int64(_ALL), np.int64(0)
    begin(counts, centre, classes, work.bases)
    if decoding:
        point = quantile(coder)
    maps, mask, scratch = memory.maps.ctypes.data, mask16(here), work.scratch.ctypes.data
    for depth in range(8):
        shift = 7 - depth
        cut, prefix, bit = low + (1 << shift), low >> (shift + 1), (value >> shift) & 1
        late = max(depth - 4, 0)
        counter = node if depth < 4 else (((node >> late) - 15) << 4) + (1 << late) + (node & ((1 << late) - 1))
        cells = _see_counters(memory, row, counter)
        middle = below(counts, centre, classes, work.bases, cut)
        n0, n1 = middle - lower, upper - middle
        odds = np.int32(logarithm(n1) - logarithm(n0))
        if abs(odds) > memory.trust[c] >> 5:
            share = _upper(size, (n1 << PROBABILITY_BITS) // (n1 + n0), 1 << shift)
            if decoding:
                bit = np.int64(point >= start + size - share)
            _learn_trust(memory, lists, c, odds, prefix, shift, bit)
        else:
            downward = np.int64(odds < 0)
            state, turn, lists_state = _states(here, lists, cells, levels, cut, prefix, shift, downward)
            change, places, learners = _refine(odds, state, turn, c * MAP_SIZE, mask, maps, scratch)
            mix = _mix(memory, c, node, depth, odds, change, lists_state)
            share = _upper(size, mix[0], 1 << shift)
            if decoding:
                bit = np.int64(point >= start + size - share)
            _learn(memory, change, mix, bit)
            _learn_maps(maps, places, learners, turn, mask, bit, scratch)
        one, rest = -bit, size - share  # masks: what comes next cannot be guessed, and a wrong guess costs more
        start += rest & one
        size = rest ^ ((rest ^ share) & one)
        lower, upper = lower ^ ((lower ^ middle) & one), middle ^ ((upper ^ middle) & one)
        _learn_counters(memory, here, row, counter, cells, bit)
        low += bit << shift
        node = 2 * node + bit
    if decoding:
        advance(coder, words, start, size)
    else:
        put(coder, words, start, size)
    return low, size


@_compiled
def code(  # type: ignore[no-untyped-def]
    step, first, at, number, decoding, channel, channels, known, every_counts, every_centres, classes, samples, coder,
    words, memory, work, here, costs,
):  # fmt: skip
    """Code a channel of a step's pixels, so many lanes from `first` on, and learn from them.

    Args:
        step: the wavefront's; lane y is the pixel (y, step - 2 y).
        first: the first lane.
        at: its place in the counts and centres.
        number: of lanes.
        decoding: whether values come from the words; else they are in `planes` and go to the words.
        channel: their channel.
        channels: how many there are.
        known: how many of them, the first ones, are known and not coded.
        every_counts: int32[lanes, row_size], the network's `frequencies`.
        every_centres: int32[lanes], predicted values.
        classes: of residuals.
        samples: uint8[H W C], known where coded.
        coder: of `range_coder`, its state.
        words: its words.
        memory: what was learned so far.
        work: scratch.
        here: the mask of experts that take part.
        costs: float64[lanes + 1 or more], gets the bits that an ideal coder spends on each (for reports); their sum is
            added to the last one.
    """
    counts, centres = every_counts[at : at + number], every_centres[at : at + number]
    lanes, spent = len(counts), costs.size - 1
    for lane in range(-AHEAD, lanes):
        if lane + AHEAD < lanes:
            y = first + lane + AHEAD
            number, centre = (lane + AHEAD) % RING, np.int64(centres[lane + AHEAD])
            row, plain = work.ahead[number], work.plain[number]
            for k in range(0, counts.strides[0], ALIGNMENT):  # another thread may have made them
                prefetch(counts.ctypes.data + counts.strides[0] * (lane + AHEAD) + k)
            _look_ahead(
                memory, work, here, samples, channels, channel == known, y, step - 2 * y, channel, centre, row, plain
            )
        if lane < 0:
            continue
        y, row, levels = first + lane, work.ahead[lane % RING], work.plain[lane % RING].ctypes.data
        x = step - 2 * y
        own = (y * memory.pointer.shape[1] + x) * channels + channel
        if here >> MATCH & 1:
            if channel == known:
                _find_match(memory, samples, channels, y, x, step, row[19])
            _see_match(memory, work, samples, channels, y, x, channel)
        values, uses = _see_lists(memory, work, here, row)
        offsets = load_uint64x8(row.ctypes.data + 64)
        unseen = lower_halves(where(uses == 0, load_uint64x8(work.new.ctypes.data), 0))
        lists = (value_lists.shifted(values, offsets), uses & COUNTS, unseen)
        value, size = _code_value(
            decoding, _sample(samples, own), counts[lane], np.int64(centres[lane]), classes, memory, work, here, lists,
            row, levels, channel, coder, words,
        )  # fmt: skip
        costs[lane] = PROBABILITY_BITS - np.log2(np.float64(size))
        costs[spent] += costs[lane]
        samples[_u(own)] = value
        values, uses = value_lists.learn(values, uses, (value - offsets) & 255)
        store(work.words.ctypes.data + 128, values)
        store(work.words.ctypes.data + 192, uses)
        for e in range(LISTS):
            if here >> e & 1:
                slot = work.slots[e]
                memory.lists[e, slot, 0], memory.lists[e, slot, 1] = work.words[2, e], work.words[3, e]


def starting_map(size: int) -> np.ndarray:
    """uint32[size]: cells that leave the odds as they are."""
    buckets = np.minimum(np.arange(BUCKETS), 2 * REACH) - REACH
    p = SQUASH[(buckets + SQUASH_OCTAVES) * (SQUASH.size // (2 * SQUASH_OCTAVES))] >> 2
    row = (p.astype(np.uint32) << np.uint32(10)) | np.uint32(MAP_COUNT)
    return np.tile(row, size // BUCKETS)


def _starting_maps(size: int, trained: np.ndarray | None) -> np.ndarray:
    """uint32[size]: `starting_map`, but for the last channels what was trained of them, if anything."""
    cells = starting_map(size)
    if trained is not None:
        cells[size - trained.size :] = trained.ravel()
    return cells


class Experts:
    """Everything that is learned in a tile.

    Args:
        height, width, channels: of the tile, with planes that are known, which come first and are not coded.
        maps: uint32[C, MAP_SIZE], trained starting values of the experts' maps of those that are coded.
        last: uint32[C, NODES BUCKETS], those of the last map.
        mask: which experts take part, see `pixcodec.expert_names`.
        known: how many of the channels are known and not coded, the first ones.
        classes: those of the residuals that counts are of; by default each residual has its own.

    Attributes:
        costs: float64[], ideal bits of each of the pixels coded last; the last one is the sum of all so far.
    """

    def __init__(
        self,
        height: int,
        width: int,
        channels: int,
        maps: np.ndarray | None = None,
        last: np.ndarray | None = None,
        *,
        mask: int = ALL,
        known: int = 0,
        classes: Classes | None = None,
    ) -> None:
        pixels = height, width
        weights = aligned((SETS, channels * 512, INPUTS), np.int32)
        weights[:, :, :EXPERTS], weights[:, :, EXPERTS] = EXPERT_WEIGHT, NETWORK_WEIGHT
        begin = aligned((channels * MAP_SIZE,), np.uint32)
        begin[:] = _starting_maps(begin.size, maps)
        self._memory = Memory(
            aligned((LISTS, 1 << LIST_BITS, 2), np.uint64),
            aligned((COUNTER_SIZE,), np.uint32, 1 << 31),
            np.full(1 << MATCH_BITS, -1, np.int32),
            begin,
            weights,
            np.full((channels * 64, SETS), NETWORK_WEIGHT // SETS, np.int64),
            _starting_maps(channels * NODES * BUCKETS, last),
            np.full(channels, SURE << 5, np.int64),
            np.full(pixels, -1, np.int32),
            np.zeros(pixels, np.int16),
        )
        new = np.array([NEW * (mask >> e & 1) for e in range(MATCH + 1)], np.uint64)
        self._work = Work(
            np.zeros(MOST_CLASSES, np.int32), np.zeros(LISTS, np.int64), np.zeros((4, 8), np.uint64), new,
            np.zeros(32, np.int32), np.zeros((RING, 20), np.int64), np.zeros(height, np.int64),
            np.zeros((RING, 2, 8), np.int32),
        )  # fmt: skip
        self._here, self._known = mask, known
        self._classes = classes or class_table(np.arange(2 * NODES - 1))
        self.costs = np.zeros(height + 1)

    def taught(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Both kinds of maps as starting values, their counts `most` at most, so that others can still be learned.

        Of the channels that are coded: uint32[C, MAP_SIZE] and [C, NODES BUCKETS].
        """
        parts = []
        for cells in (self._memory.maps, self._memory.last):
            count = np.minimum(cells & np.uint32(1023), np.uint32(most))
            parts.append(((cells & ~np.uint32(1023)) | count).reshape(len(self._memory.trust), -1)[self._known :])
        return parts[0], parts[1]

    def coding(
        self,
        channel: int,
        counts: np.ndarray,
        centres: np.ndarray,
        planes: np.ndarray,
        coder: range_coder.Encoder | range_coder.Decoder,
    ) -> Repeated:
        """A call that writes some pixels of a step's channel or, by a decoder, reads them into `planes`; see `code`.

        An encoder must have room for a word each; a decoder must be asked whether what it read was there.
        """
        return Repeated(
            code, 4, isinstance(coder, Decoder), channel, planes.shape[2], self._known, counts, centres, self._classes,
            planes.reshape(-1), coder.state, coder.words, self._memory, self._work, self._here, self.costs,
        )  # fmt: skip

    def encode(
        self,
        channel: int,
        step: int,
        first: int,
        counts: np.ndarray,
        centres: np.ndarray,
        planes: np.ndarray,
        coder: range_coder.Encoder,
    ) -> float:
        """Write a channel of a step's pixels, see `code`; ideal bits, whose parts are then in `costs`."""
        before = self.costs[-1]
        coder.room(len(counts))
        self.coding(channel, counts, centres, planes, coder)(step, first, 0, len(counts))
        return float(self.costs[-1] - before)

    def decode(
        self,
        channel: int,
        step: int,
        first: int,
        counts: np.ndarray,
        centres: np.ndarray,
        planes: np.ndarray,
        coder: range_coder.Decoder,
    ) -> None:
        """Read a channel of a step's pixels into `planes`, see `code`; `DamagedTileError` where the words fit none."""
        self.coding(channel, counts, centres, planes, coder)(step, first, 0, len(counts))
        coder.check()
