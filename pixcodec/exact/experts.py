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
from numba import njit

from pixcodec.exact import value_lists
from pixcodec.exact.expert_kernels import dot, learner
from pixcodec.exact.range_coder import advance, put, quantile
from pixcodec.exact.tables import LOG2, LOG_UNIT, PROBABILITY_BITS, SQUASH, SQUASH_OCTAVES
from pixcodec.exact.value_lists import COUNTS, hashed, shifted

if TYPE_CHECKING:
    from pixcodec.exact import range_coder

LISTS, MATCH, COUNTERS, PLAIN, EXPERTS = 7, 7, 8, 11, 13  # numbers of the first expert of each form, and of all
INPUTS = 16  # of a mixer: the experts', the network's, and two that are 0, for whole vectors
SETS = 3
ALL = (1 << EXPERTS) - 1  # the mask of all experts, bit e for expert e
LIMIT = 22 * LOG_UNIT  # of odds: probabilities of 2^-22
SURE = 8 * LOG_UNIT  # beyond it the network decides alone
FALSE_TRUST, TRUST_BACK = 64 * LOG_UNIT, 2  # that limit, in 1/32: up when it was wrong and a list knew, down if not
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
LONGEST = 400  # match
COUNTER_NODES = 17 * 16  # cells of a context: the first four decisions together, then the others by what those were
COUNTER_SIZE = (12 + 6 * 256) * COUNTER_NODES

_RECIPROCAL = np.array([int(65536 / (n + 1.5)) for n in range(1024)], np.int32)
_FULL = np.int32((1 << 22) - 1)  # of probabilities in maps and counters, in 2^-22; below them are 10 bits of count
_BEND = np.int32(359)  # log2(1 + f) is f + 0.35 f (1 - f), within 0.009
_ALL = 1 << PROBABILITY_BITS
_u = np.uint64
# Without the runtime that counts references to arrays: nothing is allocated here, and counting took most of the time.
_compiled = njit(nogil=True, cache=True, error_model="numpy", _nrt=False)
# Inlined where arrays would be handed on one by one.
_inlined = njit(nogil=True, cache=True, error_model="numpy", _nrt=False, inline="always")


@_compiled
def _takes_part(here, e):  # type: ignore[no-untyped-def]
    """Whether an expert does, by bool[EXPERTS]; None stands for all, and then the compiler drops the question."""
    if here is None:
        return True
    return here[e]


def _list_states() -> np.ndarray:
    """int32[256] by 16 min(n0, 15) + min(n1, 15): state, + 64 where n1 < n0, + 128 where they are of one class."""
    table = np.zeros(256, np.int32)
    classes = [0, 1, 2, 3, 4, 4, *[5] * 3, *[6] * 6, 7]
    for n0 in range(16):
        for n1 in range(16):
            low, high = sorted((classes[n0], classes[n1]))
            turned = 64 if classes[n0] > classes[n1] else 128 if low == high else 0
            table[16 * n0 + n1] = high * (high + 1) // 2 + low + turned
    return table


def _steps(edges: list[int], size: int) -> np.ndarray:
    """int32[size]: how many of the edges each number has reached."""
    return np.searchsorted(edges, np.arange(size), side="right").astype(np.int32)


def _levels() -> np.ndarray:
    """int32[1024] by the upper ten bits of a counter: 1 + whole bits of the odds, at most 11, negative below a half."""
    table = np.zeros(1024, np.int32)
    for i in range(1024):
        for_one, for_zero = 2 * i + 1, 2047 - 2 * i
        bits = (max(for_one, for_zero) // min(for_one, for_zero)).bit_length() - 1
        table[i] = (1 + min(bits, 10)) * (1 if for_one > for_zero else -1)
    return table


LIST_STATE = _list_states()
MATCH_COUNT = np.array([1, 2, 3, 4, 6, 9, 15], np.int32)[_steps([2, 4, 8, 16, 32, 64], LONGEST + 1)]
LEVEL, SEEN = _levels(), _steps([4, 16, 100], 1024)


_learn_weights = learner(RATE, WEIGHT_LIMIT)


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
    p += np.int32((np.int64((_FULL if bit else np.int32(0)) - p) * _RECIPROCAL[count]) >> 16)
    return (np.uint32(p) << np.uint32(10)) | np.uint32(min(count + np.int32(1), np.int32(limit)))


@_compiled
def _sums(row, tree):  # type: ignore[no-untyped-def]
    """Frequencies below each node: tree[256 + v] of value v, tree[n] = tree[2 n] + tree[2 n + 1]."""
    for v in range(NODES):
        tree[NODES + v] = np.int32(row[v]) + np.int32(1)
    n = NODES // 2
    while n > 1:
        for k in range(n):
            tree[n + k] = tree[2 * n + 2 * k] + tree[2 * n + 2 * k + 1]
        n >>= 1


@_compiled
def _list_evidence(values, counts, prefix, shift, below, above):  # type: ignore[no-untyped-def]
    """Counts of each list's and the match's values in either half."""
    for e in range(MATCH + 1):
        below[e], above[e] = value_lists.halves(values[e], counts[e], prefix, shift)


@_compiled
def _list_states_at(below, above, unseen, downward, state, turn):  # type: ignore[no-untyped-def]
    """States of the lists and the match; `turn` is -1 where the state is that of the two halves exchanged."""
    for e in range(MATCH + 1):
        s = LIST_STATE[np.uint32(16 * min(below[e], np.int32(15)) + min(above[e], np.int32(15)))]
        turn[e] = np.int32(-1) if (s & 64) or ((s & 128) and downward) else np.int32(0)
        s &= 63
        state[e] = np.int32(NEW) if s == 0 and unseen[e] else s


@_compiled
def _refine(x, state, turn, base, here, maps, cells, change, left, right, part, more):  # type: ignore[no-untyped-def]
    """What each expert would add to the network's odds, and the cells of its map that learn from the decision.

    Loops are split so that all but the look-ups become vectors; int32 everywhere, for numba makes more of sums.
    """
    limit, reach = np.int32(2 * REACH * LOG_UNIT - 1), np.int32(REACH * LOG_UNIT)
    for e in range(INPUTS):
        own = np.int32(np.int32(x ^ turn[e]) - turn[e])
        place = min(max(np.int32(own + reach), np.int32(0)), limit)
        part[e] = np.int32(place >> 2) & np.int32(255)
        more[e] = np.int32(place - reach)
        cells[e] = np.int32(np.int32(base + FIRST_BUCKET[e]) + np.int32(state[e] * np.int32(BUCKETS) + (place >> 10)))
    for e in range(EXPERTS):
        if _takes_part(here, e):
            cell = np.uint32(cells[e])
            left[e] = np.int32(maps[cell] >> np.uint32(10))
            right[e] = np.int32(maps[cell + np.uint32(1)] >> np.uint32(10))
    for e in range(INPUTS):
        p = np.int32(np.int32(left[e] * np.int32(np.int32(256) - part[e]) + right[e] * part[e]) >> 8) | np.int32(1)
        cells[e] = np.int32(cells[e] + np.int32(part[e] >> 7))
        a = np.float32(p).view(np.int32)
        b = np.float32(np.int32(np.int32(1 << 22) - p)).view(np.int32)
        odds = np.int32(np.int32(np.int32(a >> 23) - np.int32(b >> 23)) * np.int32(LOG_UNIT)) - more[e]
        a, b = np.int32(a >> 12) & np.int32(2047), np.int32(b >> 12) & np.int32(2047)
        a = np.int32(a >> 1) + np.int32(np.int32(np.int32(a * np.int32(np.int32(2048) - a)) * _BEND) >> 22)
        b = np.int32(b >> 1) + np.int32(np.int32(np.int32(b * np.int32(np.int32(2048) - b)) * _BEND) >> 22)
        odds = np.int32(odds + np.int32(a - b))
        change[e] = np.int32(np.int32(odds ^ turn[e]) - turn[e])
    for e in range(EXPERTS):
        if not _takes_part(here, e):
            change[e] = np.int32(0)
    change[EXPERTS] = x
    for e in range(EXPERTS + 1, INPUTS):
        change[e] = np.int32(0)


@_compiled
def _learn_maps(maps, cells, turn, here, bit):  # type: ignore[no-untyped-def]
    for e in range(EXPERTS):
        if _takes_part(here, e):
            cell = np.uint32(cells[e])
            maps[cell] = learned(maps[cell], bit ^ (turn[e] & 1), MAP_LIMIT)


@_compiled
def _learn_lists(values, counts, contexts, offsets, value):  # type: ignore[no-untyped-def]
    """Every list of a sample, in one loop without branches."""
    for e in range(LISTS):
        check = (contexts[e] >> 24) & 255
        values[e], counts[e] = value_lists.learn(values[e], counts[e], (value - offsets[e]) & 255, check)


@_compiled
def _packed(planes, y, x):  # type: ignore[no-untyped-def]
    """All channels of a pixel in one number."""
    number = np.int64(0)
    for k in range(planes.shape[2]):
        number = (number << 8) + np.int64(planes[y, x, k])
    return number


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
    """Scratch of a sample: a number an expert in each array, or a list, or a node of the tree."""

    tree: np.ndarray
    slot_values: np.ndarray
    slot_counts: np.ndarray
    values: np.ndarray
    held: np.ndarray
    unseen: np.ndarray
    state: np.ndarray
    turn: np.ndarray
    cells: np.ndarray
    change: np.ndarray
    below: np.ndarray
    above: np.ndarray
    left: np.ndarray
    right: np.ndarray
    part: np.ndarray
    more: np.ndarray
    slots: np.ndarray
    offsets: np.ndarray
    contexts: np.ndarray
    counter: np.ndarray


class Near(NamedTuple):
    """Rows and columns of a pixel's neighbours; outside of the image the nearest known pixel inside."""

    yw: int
    xw: int
    yn: int
    xn: int
    ynw: int
    xnw: int
    xne: int
    yww: int
    xww: int


class Around(NamedTuple):
    """Values of a channel near a pixel, and what is known of the pixel itself."""

    left: int
    upper: int
    corner: int
    right: int
    second_left: int
    known: int
    first: int
    before: int
    before_left: int
    before_upper: int
    change_left: int
    change_up: int
    neighbourhood: int


class Plain(NamedTuple):
    """What states without memory are made of: levels from which cuts are measured, and what is added."""

    left: int
    upper: int
    slope_up: int
    slope_left: int


@_compiled
def _near(y, x, width):  # type: ignore[no-untyped-def]
    """See `Near`."""
    xw, yw = (x - 1, y) if x > 0 else (0, max(y - 1, 0))
    xn, yn = (x, y - 1) if y > 0 else (max(x - 1, 0), y)
    ynw = y - 1 if y > 0 else yw
    xne = min(x + 1, width - 1) if y > 0 else xn
    return Near(yw, xw, yn, xn, ynw, max(x - 1, 0), xne, y if x > 1 else yw, max(x - 2, 0))


@_compiled
def _changes(planes, y, x, row, column, channel):  # type: ignore[no-untyped-def]
    """By how much the channels before differ from another pixel's, in one number."""
    change = np.int64(0)
    for k in range(channel):
        change = change * 512 + np.int64(planes[y, x, k]) - np.int64(planes[row, column, k]) + 256
    return change


@_compiled
def _around(planes, y, x, channel, near):  # type: ignore[no-untyped-def]
    """See `Around`; at the first pixel of a tile neighbours are 128, and nothing is known of the others."""
    c, known = channel, np.int64(channel)
    first = before = np.int64(0)
    if c > 0:
        first, before = np.int64(planes[y, x, 0]), np.int64(planes[y, x, c - 1])
        known = known * 256 + first
    if c > 1:
        known = known * 256 + before
    if x + y == 0:
        level, none = np.int64(128), np.int64(0)
        neighbourhood = hashed(hashed(hashed(none, none), none), none)
        return Around(level, level, level, level, level, known, first, before, none, none, none, none, neighbourhood)
    left, upper = np.int64(planes[near.yw, near.xw, c]), np.int64(planes[near.yn, near.xn, c])
    right, second = np.int64(planes[near.yn, near.xne, c]), np.int64(planes[near.yww, near.xww, c])
    corner = np.int64(planes[near.ynw, near.xnw, c]) if y > 0 else left
    before_left = before_upper = np.int64(0)
    if c > 0:
        before_left, before_upper = planes[near.yw, near.xw, c - 1], planes[near.yn, near.xn, c - 1]
        change_left = _changes(planes, y, x, near.yw, near.xw, c)
        change_up = _changes(planes, y, x, near.yn, near.xn, c)
    else:
        change_left = (upper - corner) * 512 + right - upper
        change_up = (left - corner) * 512 + right - upper
    neighbourhood = hashed(_packed(planes, near.yw, near.xw), _packed(planes, near.yn, near.xn))
    neighbourhood = hashed(neighbourhood, _packed(planes, near.ynw, near.xnw))
    neighbourhood = hashed(neighbourhood, _packed(planes, near.yn, near.xne))
    return Around(
        left, upper, corner, right, second, known, first, before, np.int64(before_left), np.int64(before_upper),
        change_left, change_up, neighbourhood,
    )  # fmt: skip


@_inlined
def _find_match(memory, planes, y, x, step, key):  # type: ignore[no-untyped-def]
    """Choose the pixel that this one may repeat: right of what the left one repeated, or the last with the key."""
    width = planes.shape[1]
    place = key & (memory.matches.size - 1)
    at, long = np.int64(-1), np.int64(0)
    if x > 0 and memory.pointer[y, x - 1] >= 0:
        at, long = np.int64(memory.pointer[y, x - 1]), np.int64(memory.length[y, x - 1])
        row, column = at // width, at % width
        long = min(long + 1, LONGEST) if _packed(planes, row, column) == _packed(planes, y, x - 1) else long >> 2
        at = at + 1 if column + 1 < width and long > 0 else np.int64(-1)
    if at < 0:
        at, long = np.int64(memory.matches[place]), np.int64(1)
    if at >= 0 and at % width + 2 * (at // width) >= step:
        at = np.int64(-1)  # only pixels of earlier steps are known
    memory.pointer[y, x] = at
    memory.length[y, x] = long
    memory.matches[place] = y * width + x


@_inlined
def _see_match(memory, work, planes, y, x, channel):  # type: ignore[no-untyped-def]
    """The repeated pixel's value as a list of one, if its channels before are this pixel's."""
    work.values[MATCH] = work.held[MATCH] = _u(0)
    work.unseen[MATCH] = True
    at, width = np.int64(memory.pointer[y, x]), planes.shape[1]
    if at < 0:
        return
    row, column = at // width, at % width
    for k in range(channel):
        if planes[row, column, k] != planes[y, x, k]:
            return
    work.values[MATCH] = _u(planes[row, column, channel])
    work.held[MATCH] = _u(MATCH_COUNT[memory.length[y, x]])
    work.unseen[MATCH] = False


@_inlined
def _see_lists(memory, work, here, around, c, parity, centre):  # type: ignore[no-untyped-def]
    """Find each list of the sample's contexts."""
    a, contexts, offsets = around, work.contexts, work.offsets
    contexts[0] = hashed(a.known, np.int64(0) if c else a.left)
    contexts[1] = hashed(a.known, a.left if c else a.second_left * 256 + a.left)
    contexts[2] = hashed(hashed(a.known, a.left - a.before_left + 256), a.upper - a.before_upper + 256)
    contexts[3] = hashed(np.int64(c * 4 + parity + 16), a.change_left)
    contexts[4] = hashed(np.int64(c * 4 + parity + 32), a.change_up)
    contexts[5] = hashed(a.known, centre)
    contexts[6] = hashed(a.known, a.neighbourhood)
    offsets[3] = a.left
    offsets[4] = a.upper
    mask = memory.lists.shape[1] - 1
    for e in range(LISTS):
        if _takes_part(here, e):
            slot = value_lists.find(memory.lists[e], contexts[e], mask)
            work.slots[e] = slot
            work.slot_values[e], work.slot_counts[e] = memory.lists[e, slot, 0], memory.lists[e, slot, 1]
    for e in range(LISTS):
        if _takes_part(here, e):
            work.unseen[e] = work.slot_counts[e] == _u(0)
            work.values[e] = shifted(work.slot_values[e], offsets[e])
            work.held[e] = work.slot_counts[e] & COUNTS


@_inlined
def _see_counters(work, around, c, parity):  # type: ignore[no-untyped-def]
    """Where the counters of the sample's contexts begin."""
    third = around.first
    if c == 0:
        third = around.upper
    elif c == 1:
        third = (around.left - around.before_left + around.before) & 255
    work.counter[0] = (c * 4 + parity) * COUNTER_NODES
    work.counter[1] = (12 + (around.before if c > 0 else around.left) + 256 * c) * COUNTER_NODES
    work.counter[2] = (12 + 3 * 256 + third + 256 * c) * COUNTER_NODES


@_compiled
def _see_plain(around):  # type: ignore[no-untyped-def]
    """See `Plain`."""
    slope_up = 32 * min(max(((around.upper - around.corner) >> 2) + 4, 0), 7)
    slope_left = 32 * min(max(((around.left - around.corner) >> 2) + 4, 0), 7)
    return Plain(around.left, around.upper, slope_up + 16, slope_left + 16)


@_inlined
def _states(memory, work, here, plain, node, cut, prefix, shift, downward):  # type: ignore[no-untyped-def]
    """The state of every expert at a decision, 0 of a list or counter that is absent; `node` is the counters'."""
    _list_evidence(work.values, work.held, prefix, shift, work.below, work.above)
    _list_states_at(work.below, work.above, work.unseen, downward, work.state, work.turn)
    for k in range(3):
        if not _takes_part(here, COUNTERS + k):
            continue
        cell = memory.counters[work.counter[k] + node]
        count, level = cell & np.uint32(1023), LEVEL[cell >> np.uint32(22)]
        if count == np.uint32(0):
            work.turn[COUNTERS + k] = -1 if downward else 0
            work.state[COUNTERS + k] = 0
        else:
            work.turn[COUNTERS + k] = level >> 31
            work.state[COUNTERS + k] = (abs(level) - 1) * 4 + 1 + SEEN[count]
    work.state[PLAIN] = min(max(cut - plain.left, -16), 15) + plain.slope_up
    work.state[PLAIN + 1] = min(max(cut - plain.upper, -16), 15) + plain.slope_left


@_compiled
def _seen_lists(state):  # type: ignore[no-untyped-def]
    """How many lists have something below this node, and a class of the match's state or of the neighbourhood's."""
    number = np.int64(0)
    for e in range(MATCH + 1):
        number += state[e] != 0 and state[e] != NEW
    best = np.int64(state[MATCH])
    if best in (0, NEW):
        best = np.int64(state[MATCH - 1])
    return number * 16 + (0 if best in (0, NEW) else 1 + best // 6)


@_inlined
def _row(weights, k, number):  # type: ignore[no-untyped-def]
    """Address of the weights of set `number` of kind k."""
    return weights.ctypes.data + 4 * INPUTS * (k * weights.shape[1] + number)


@_inlined
def _mix(memory, work, c, node, depth, odds):  # type: ignore[no-untyped-def]
    """All that follows at a decision: probability, before the last map too, odds and places of all that learns."""
    size = np.int64(abs(odds))
    sets = (
        c * 512 + depth * 16 + min(15, size >> 9),
        c * 512 + np.int64(work.state[0]),
        c * 512 + _seen_lists(work.state),
    )
    inputs = work.change.ctypes.data
    x0 = min(max(dot(_row(memory.weights, 0, sets[0]), inputs) >> 16, -LIMIT), LIMIT)
    x1 = min(max(dot(_row(memory.weights, 1, sets[1]), inputs) >> 16, -LIMIT), LIMIT)
    x2 = min(max(dot(_row(memory.weights, 2, sets[2]), inputs) >> 16, -LIMIT), LIMIT)
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
    return p, p_mixed, (x0, x1, x2), sets, second, cell + (part >> 9)


@_inlined
def _learn(memory, work, here, mix, bit):  # type: ignore[no-untyped-def]
    """Everything that mixed learns from a decision; `mix` as `_mix` gave it."""
    _, p_mixed, odds_of, sets, second, cell = mix
    target = bit << PROBABILITY_BITS
    memory.last[cell] = learned(memory.last[cell], bit, MAP_LIMIT)
    error_mixed, w = (target - p_mixed) >> 8, memory.second[second]
    for k in range(SETS):
        w[k] = min(max(w[k] + ((odds_of[k] * error_mixed) >> SECOND_RATE), -WEIGHT_LIMIT), WEIGHT_LIMIT)
        error = (target - squash(odds_of[k])) >> (PROBABILITY_BITS - RATE)
        _learn_weights(_row(memory.weights, k, sets[k]), work.change.ctypes.data, error)
    _learn_maps(memory.maps, work.cells, work.turn, here, bit)


@_inlined
def _learn_trust(memory, work, c, odds, prefix, shift, bit):  # type: ignore[no-untyped-def]
    """After a decision of the network alone: less trust where it was wrong and a list knew, else a bit more."""
    if (odds > 0) == (bit == 1):
        memory.trust[c] = max(memory.trust[c] - TRUST_BACK, SURE << 5)
        return
    _list_evidence(work.values, work.held, prefix, shift, work.below, work.above)
    for e in range(MATCH + 1):
        if (work.above[e] if bit else work.below[e]) > 0:
            memory.trust[c] = min(memory.trust[c] + FALSE_TRUST, (24 * LOG_UNIT) << 5)
            return


@_compiled
def _upper(size, p, leaves):  # type: ignore[no-untyped-def]
    """The part of an interval that goes to 1, by its probability in 2^-24; each half keeps 1 for every value in it."""
    return min(max((size * p) >> PROBABILITY_BITS, leaves), size - leaves)


@_inlined
def _code_value(decoding, value, memory, work, here, plain, c, coder, words):  # type: ignore[no-untyped-def]
    """Eight decisions, each of which cuts the interval of the last one in two; the value, and the interval's size."""
    low, node = np.int64(0), np.int64(1)
    below, size, point = np.int64(0), np.int64(_ALL), np.int64(0)
    if decoding:
        point = quantile(coder)
    base = np.int32(c * MAP_SIZE)
    for depth in range(8):
        shift = 7 - depth
        prefix, bit = low >> (shift + 1), (value >> shift) & 1
        late = max(depth - 4, 0)
        counter = node if depth < 4 else (((node >> late) - 15) << 4) + (1 << late) + (node & ((1 << late) - 1))
        n0, n1 = np.int64(work.tree[2 * node]), np.int64(work.tree[2 * node + 1])
        odds = np.int32(logarithm(n1) - logarithm(n0))
        if abs(odds) > memory.trust[c] >> 5:
            upper = _upper(size, (n1 << PROBABILITY_BITS) // (n1 + n0), 1 << shift)
            if decoding:
                bit = np.int64(point >= below + size - upper)
            _learn_trust(memory, work, c, odds, prefix, shift, bit)
        else:
            _states(memory, work, here, plain, counter, low + (1 << shift), prefix, shift, odds < 0)
            _refine(
                odds, work.state, work.turn, base, here, memory.maps, work.cells, work.change,
                work.left, work.right, work.part, work.more,
            )  # fmt: skip
            mix = _mix(memory, work, c, node, depth, odds)
            upper = _upper(size, mix[0], 1 << shift)
            if decoding:
                bit = np.int64(point >= below + size - upper)
            _learn(memory, work, here, mix, bit)
        below += size - upper if bit else 0
        size = upper if bit else size - upper
        for k in range(3):
            if _takes_part(here, COUNTERS + k):
                at = work.counter[k] + counter
                memory.counters[at] = learned(memory.counters[at], bit, COUNTER_LIMIT)
        low += bit << shift
        node = 2 * node + bit
    if decoding:
        advance(coder, words, below, size)
    else:
        put(coder, words, below, size)
    return low, size


@_compiled
def code(decoding, channel, step, first, counts, centres, planes, coder, words, memory, work, here, costs):  # type: ignore[no-untyped-def]
    """Code a channel of a step's pixels, the lanes from `first` on, and learn from them.

    Args:
        decoding: whether values come from the words; else they are in `planes` and go to the words.
        channel: their channel.
        step: the wavefront's; lane y is the pixel (y, step - 2 y).
        first: the first lane.
        counts: float32[lanes, 256] of the network, sum 2^24 - 256.
        centres: int32[lanes], predicted values.
        planes: uint8[H, W, C], known where coded.
        coder: of `range_coder`, its state.
        words: its words.
        memory: what was learned so far.
        work: scratch.
        here: which experts take part, see `_takes_part`.
        costs: float64[lanes], gets the bits that an ideal coder spends on each (for reports).

    Returns:
        Their sum.
    """
    spent, width = 0.0, planes.shape[1]
    for lane in range(len(counts)):
        y = first + lane
        x = step - 2 * y
        centre, parity = np.int64(centres[lane]), (x & 1) + 2 * (y & 1)
        _sums(counts[lane], work.tree)
        near = _near(y, x, width)
        around = _around(planes, y, x, channel, near)
        if channel == 0 and _takes_part(here, MATCH):
            key = hashed(around.neighbourhood, np.int64(planes[near.yww, near.xww, 0]) if x + y else np.int64(0))
            _find_match(memory, planes, y, x, step, key)
        if _takes_part(here, MATCH):
            _see_match(memory, work, planes, y, x, channel)
        _see_lists(memory, work, here, around, channel, parity, centre)
        _see_counters(work, around, channel, parity)
        plain = _see_plain(around)
        value = np.int64(planes[y, x, channel])
        value, size = _code_value(decoding, value, memory, work, here, plain, channel, coder, words)
        costs[lane] = PROBABILITY_BITS - np.log2(np.float64(size))
        spent += costs[lane]
        planes[y, x, channel] = value
        _learn_lists(work.slot_values, work.slot_counts, work.contexts, work.offsets, value)
        for e in range(LISTS):
            if _takes_part(here, e):
                slot = work.slots[e]
                memory.lists[e, slot, 0], memory.lists[e, slot, 1] = work.slot_values[e], work.slot_counts[e]
    return spent


def starting_map(size: int) -> np.ndarray:
    """uint32[size]: cells that leave the odds as they are."""
    buckets = np.minimum(np.arange(BUCKETS), 2 * REACH) - REACH
    p = SQUASH[(buckets + SQUASH_OCTAVES) * (SQUASH.size // (2 * SQUASH_OCTAVES))] >> 2
    row = (p.astype(np.uint32) << np.uint32(10)) | np.uint32(MAP_COUNT)
    return np.tile(row, size // BUCKETS)


class Experts:
    """Everything that is learned in a tile.

    Args:
        height, width, channels: of the tile.
        maps: uint32[C, MAP_SIZE], trained starting values of the experts' maps.
        last: uint32[C, NODES BUCKETS], those of the last map.
        mask: which experts take part, see `pixcodec.expert_names`.

    Attributes:
        costs: float64[], ideal bits of each of the pixels coded last.
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
    ) -> None:
        pixels = height, width
        weights = np.zeros((SETS, channels * 512, INPUTS), np.int32)
        weights[:, :, :EXPERTS], weights[:, :, EXPERTS] = EXPERT_WEIGHT, NETWORK_WEIGHT
        self._memory = Memory(
            np.zeros((LISTS, 1 << LIST_BITS, 2), np.uint64),
            np.full(COUNTER_SIZE, 1 << 31, np.uint32),
            np.full(1 << MATCH_BITS, -1, np.int32),
            starting_map(channels * MAP_SIZE) if maps is None else maps.ravel().copy(),
            weights,
            np.full((channels * 64, SETS), NETWORK_WEIGHT // SETS, np.int64),
            starting_map(channels * NODES * BUCKETS) if last is None else last.ravel().copy(),
            np.full(channels, SURE << 5, np.int64),
            np.full(pixels, -1, np.int32),
            np.zeros(pixels, np.int16),
        )
        lists = np.zeros((4, MATCH + 1), np.uint64)
        numbers, places = np.zeros((10, INPUTS), np.int32), np.zeros((3, LISTS), np.int64)
        tree, unseen, counter = np.zeros(2 * NODES, np.int32), np.zeros(MATCH + 1, np.bool_), np.zeros(3, np.int64)
        self._work = Work(tree, *lists, unseen, *numbers, *places, counter)  # type: ignore[call-arg]
        self._here = None if mask == ALL else np.array([bool(mask >> e & 1) for e in range(EXPERTS)])
        self.costs = np.zeros(height)

    def taught(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Both kinds of maps as starting values, their counts `most` at most, so that others can still be learned."""
        parts = []
        for cells in (self._memory.maps, self._memory.last):
            count = np.minimum(cells & np.uint32(1023), np.uint32(most))
            parts.append(((cells & ~np.uint32(1023)) | count).reshape(len(self._memory.trust), -1))
        return parts[0], parts[1]

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
        coder.room(len(counts))
        return self._code(False, channel, step, first, counts, centres, planes, coder)

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
        self._code(True, channel, step, first, counts, centres, planes, coder)
        coder.check()

    def _code(
        self,
        decoding: bool,  # noqa: FBT001  a constant of the compiled loop
        channel: int,
        step: int,
        first: int,
        counts: np.ndarray,
        centres: np.ndarray,
        planes: np.ndarray,
        coder: range_coder.Encoder | range_coder.Decoder,
    ) -> float:
        where, learned_so_far = (channel, step, first, counts, centres, planes), (self._memory, self._work)
        return float(code(decoding, *where, coder.state, coder.words, *learned_so_far, self._here, self.costs))
