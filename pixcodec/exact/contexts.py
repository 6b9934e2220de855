"""What samples are known by before their first decision: contexts of the lists and counters, the pixel that repeats.

`look_ahead` finds the contexts of some lanes, a vector at a time, and has what they lead to fetched into the cache;
`begin` looks it up, a lane after the other.  Outside of the tile the nearest known pixel inside counts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pixcodec.exact import value_lists
from pixcodec.exact.compiled import compiled
from pixcodec.exact.emit import LANES
from pixcodec.exact.expert_memory import (
    CENTRE,
    CONTEXT,
    COUNTER,
    COUNTER_NODES,
    KEY,
    LEVEL,
    LISTS,
    LOW,
    LOWER,
    MATCH,
    MORE,
    NODE,
    PEAK,
    REPEATED,
    SLOPE,
    TOGETHER,
    UPPER,
    VALUE,
    known_at,
    numbers_from,
    present,
    vectors_of,
)
from pixcodec.exact.frequencies import begin as begin_counts
from pixcodec.exact.tables import PROBABILITY_BITS
from pixcodec.exact.value_lists import COUNTS
from pixcodec.exact.vectors import (
    bytes_at,
    gathered,
    limited,
    load_int32x16,
    load_uint64x8,
    mask16,
    prefetch,
    ratios,
    scatter,
    spread,
    store,
    where,
)

LONGEST = 400  # match
_ALL = 1 << PROBABILITY_BITS
_u = np.uint64
# Without the runtime that counts references to arrays: nothing is allocated here, and counting took most of the time.
_inlined = compiled(_nrt=False, inline="always")


def _steps(edges: list[int], size: int) -> np.ndarray:
    """int32[size]: how many of the edges each number has reached."""
    return np.searchsorted(edges, np.arange(size), side="right").astype(np.int32)


MATCH_COUNT = np.array([1, 2, 3, 4, 6, 9, 15], np.int32)[_steps([2, 4, 8, 16, 32, 64], LONGEST + 1)]


class Near(NamedTuple):
    """Pixels near those of sixteen lanes, as y W + x."""

    left: int
    upper: int
    corner: int
    right: int
    second: int


@_inlined
def hashed(a, b):  # type: ignore[no-untyped-def]
    """32 bits of two numbers each, of vectors."""
    a = a * 0x2545F491 + b + 0x1234567
    a ^= (a >> 15) & 0x1FFFF
    a *= 0x9E3779B1
    return a ^ ((a >> 13) & 0x7FFFF)


@_inlined
def _near(y, x, width):  # type: ignore[no-untyped-def]
    """See `Near`."""
    own, above = y * width + x, limited(y - 1, 0, 1 << 30) * width
    before = limited(x - 1, 0, 1 << 30)
    left = where(x > 0, own - 1, above)
    upper = where(y > 0, own - width, before)
    right = where(y > 0, above + limited(x + 1, 0, width - 1), upper)
    second = where(x > 1, own - 2, where(x == 1, own - 1, left))
    return Near(left, upper, above + before, right, second)


@_inlined
def _packed(samples, pixels, channels):  # type: ignore[no-untyped-def]
    """All channels of pixels, each in one number."""
    number = bytes_at(samples, pixels * channels)
    for k in range(1, channels):
        number = (number << 8) + bytes_at(samples, pixels * channels + k)
    return number


@_inlined
def _neighbourhood(samples, near, channels, begun):  # type: ignore[no-untyped-def]
    """Hashes of the four nearest pixels, of zeros at the first pixel of a tile."""
    two = hashed(
        where(begun, _packed(samples, near.left, channels), 0), where(begun, _packed(samples, near.upper, channels), 0)
    )
    three = hashed(two, where(begun, _packed(samples, near.corner, channels), 0))
    return hashed(three, where(begun, _packed(samples, near.right, channels), 0))


@_inlined
def _slope(level, other):  # type: ignore[no-untyped-def]
    """A class of the step between neighbours, for experts without memory."""
    return 32 * limited(((level - other) >> 2) + 4, 0, 7) + 16


@_inlined
def _find_contexts(v, memory, work, samples, width, channels, begins, step, first, last, c, centres, turn):  # type: ignore[no-untyped-def]
    """See `look_ahead`, of sixteen lanes."""
    y = limited(numbers_from(first + LANES * v), 0, last)
    x = step - 2 * y
    centre = gathered(centres.ctypes.data, y - first)
    near, own, parity = _near(y, x, width), (y * width + x) * channels, (x & 1) + 2 * (y & 1)
    begun = x + y > 0
    left = where(begun, bytes_at(samples, near.left * channels + c), 128)
    upper = where(begun, bytes_at(samples, near.upper * channels + c), 128)
    corner = where(begun, bytes_at(samples, near.corner * channels + c), 128)
    second = where(begun, bytes_at(samples, near.second * channels + c), 128)
    known, before, before_left, before_upper = spread(c), y & 0, y & 0, y & 0
    if c > 0:
        first_value, before = bytes_at(samples, own), bytes_at(samples, own + (c - 1))
        known = known * 256 + first_value
        if c > 1:
            known = known * 256 + before
        before_left = where(begun, bytes_at(samples, near.left * channels + (c - 1)), 0)
        before_upper = where(begun, bytes_at(samples, near.upper * channels + (c - 1)), 0)
        change_left = change_up = y & 0
        for k in range(c):
            value = bytes_at(samples, own + k)
            change_left = change_left * 512 + value - bytes_at(samples, near.left * channels + k) + 256
            change_up = change_up * 512 + value - bytes_at(samples, near.upper * channels + k) + 256
        third = first_value if c > 1 else (left - before_left + before) & 255
    else:
        right = bytes_at(samples, near.right * channels)
        change_left, change_up = (upper - corner) * 512 + right - upper, (left - corner) * 512 + right - upper
        third = upper
    change_left, change_up = where(begun, change_left, 0), where(begun, change_up, 0)
    around = work.around.ctypes.data + 4 * (first + LANES * v)
    at = known_at(work, turn, 0, v)
    if begins:
        store(around, _neighbourhood(samples, near, channels, begun))
        far = where(begun, bytes_at(samples, near.second * channels), 0)
        store(at + 4 * TOGETHER * KEY, hashed(load_int32x16(around), far))
    size = 4 * TOGETHER
    store(at + size * CONTEXT, hashed(known, left if c == 0 else y & 0))
    store(at + size * (CONTEXT + 1), hashed(known, left if c else second * 256 + left))
    store(at + size * (CONTEXT + 2), hashed(hashed(known, left - before_left + 256), upper - before_upper + 256))
    store(at + size * (CONTEXT + 3), hashed(parity + (c * 4 + 16), change_left))
    store(at + size * (CONTEXT + 4), hashed(parity + (c * 4 + 32), change_up))
    store(at + size * (CONTEXT + 5), hashed(known, centre))
    store(at + size * (CONTEXT + 6), hashed(known, load_int32x16(around)))
    store(at + size * LEVEL, left)
    store(at + size * (LEVEL + 1), upper)
    store(at + size * SLOPE, _slope(upper, corner))
    store(at + size * (SLOPE + 1), _slope(left, corner))
    store(at + size * COUNTER, (parity + c * 4) * COUNTER_NODES)
    store(at + size * (COUNTER + 1), ((before if c > 0 else left) + (12 + 256 * c)) * COUNTER_NODES)
    store(at + size * (COUNTER + 2), (third + (12 + 3 * 256 + 256 * c)) * COUNTER_NODES)


@_inlined
def _find_matches(memory, work, samples, width, channels, step, first, number, turn):  # type: ignore[no-untyped-def]
    """Choose the pixel that each lane may repeat: right of what the left one repeated, or the last with its key.

    All look before any of them is put into the table.
    """
    last = first + number - 1
    for v in range(vectors_of(number)):
        y = limited(numbers_from(first + LANES * v), 0, last)
        x, pointers, lengths = step - 2 * y, memory.pointer.ctypes.data, memory.length.ctypes.data
        before, length = gathered(pointers, y), gathered(lengths, y)
        repeats = (x > 0) & (before > -1)
        before = where(repeats, before, 0)
        one, other, same = before * channels, where(repeats, y * width + x - 1, 0) * channels, repeats
        for k in range(channels):
            same &= bytes_at(samples, one + k) == bytes_at(samples, other + k)
        length = where(same, limited(length + 1, 0, LONGEST), length >> 2)
        goes_on = repeats & (length > 0) & (before - ratios(before, width) * width + 1 < width)
        key = load_int32x16(known_at(work, turn, KEY, v))
        found = gathered(memory.matches.ctypes.data, key & (memory.matches.size - 1))
        at, length = where(goes_on, before + 1, found), where(goes_on, length, 1)
        row = ratios(where(at > 0, at, 0), width)
        at = where(at - row * width + 2 * row < step, at, -1)  # only pixels of earlier steps are known
        there = mask16(present(number, v))
        scatter(pointers, y, at, there)
        scatter(lengths, y, length, there)
    for v in range(vectors_of(number)):
        y = numbers_from(first + LANES * v)
        key = load_int32x16(known_at(work, turn, KEY, v))
        there = mask16(present(number, v))
        scatter(memory.matches.ctypes.data, key & (memory.matches.size - 1), y * width + (step - 2 * y), there)


@_inlined
def _see_matches(v, memory, work, samples, width, channels, step, first, last, c, turn):  # type: ignore[no-untyped-def]
    """The repeated pixels' values, with a count of 0 where their channels before are not those of the lanes."""
    y = limited(numbers_from(first + LANES * v), 0, last)
    at, own = gathered(memory.pointer.ctypes.data, y), (y * width + (step - 2 * y)) * channels
    same = at > -1
    at = where(same, at, 0) * channels
    for k in range(c):
        same &= bytes_at(samples, at + k) == bytes_at(samples, own + k)
    count = gathered(MATCH_COUNT.ctypes.data, gathered(memory.length.ctypes.data, y))
    known = known_at(work, turn, REPEATED, v)
    store(known, where(same, bytes_at(samples, at + c), 0))
    store(known + 4 * TOGETHER, where(same, count, 0))


@_inlined
def look_ahead(memory, work, here, samples, width, channels, begins, step, first, number, c, centres, turn):  # type: ignore[no-untyped-def]
    """What lanes of a step are known by, into `Work.known[turn]`; but for their own channels before, of earlier steps.

    Args:
        memory: what was learned.
        work: scratch.
        here: the mask of experts.
        samples: address of uint8[H W C].
        width: of the tile.
        channels: of the tile.
        begins: whether pixels begin with this channel: the first one that is coded.
        step: the wavefront's; lane y is the pixel (y, step - 2 y).
        first: the first lane.
        number: of lanes.
        c: their channel.
        centres: int32[number], predicted values.
        turn: 0 or 1.
    """
    for v in range(vectors_of(number)):
        _find_contexts(
            v, memory, work, samples, width, channels, begins, step, first, first + number - 1, c, centres, turn
        )
    if here >> MATCH & 1:
        if begins:
            _find_matches(memory, work, samples, width, channels, step, first, number, turn)
        for v in range(vectors_of(number)):
            _see_matches(v, memory, work, samples, width, channels, step, first, first + number - 1, c, turn)
    mask, known = (memory.lists.size // (2 * LISTS)) - 1, work.known[turn]
    lists, counters = memory.lists.ctypes.data, memory.counters.ctypes.data
    for k in range(number):
        for e in range(LISTS):
            if here >> e & 1:
                prefetch(lists + 16 * (e * (mask + 1) + (np.int64(known[CONTEXT + e, k]) & mask)))
        at = counters + 4 * np.int64(known[COUNTER + 1, k])
        more = counters + 4 * np.int64(known[COUNTER + 2, k])
        far = 64 * (1 + (np.int64(centres[k]) >> 4))  # decisions from the fifth on, if the centre is near
        prefetch(at)
        prefetch(at + far)
        prefetch(more)
        prefetch(more + far)


@_inlined
def begin(k, memory, work, here, samples, width, channels, step, y, channel, smooth, row, centre, classes, turn):  # type: ignore[no-untyped-def]
    """Look up what lane k, the pixel (y, step - 2 y), is known by, and make it ready for its first decision.

    `row` are its counts, unless what the network says is `smooth`.
    """
    x, known, lanes = step - 2 * y, work.known[turn], work.lanes
    if here >> MATCH & 1:
        work.lists[k, 0, MATCH], work.lists[k, 1, MATCH] = _u(known[REPEATED, k]), _u(known[REPEATED + 1, k])
    slots = memory.lists.size // (2 * LISTS)
    for e in range(LISTS):
        if here >> e & 1:
            at = value_lists.find(memory.lists, 2 * e * slots, _u(np.uint32(known[CONTEXT + e, k])), slots - 1)
            work.slots[k, e] = at
            work.lists[k, 0, e], work.lists[k, 1, e] = memory.lists[_u(at)], memory.lists[_u(at + 1)]
    work.offsets[k, 3], work.offsets[k, 4] = _u(known[LEVEL, k]), _u(known[LEVEL + 1, k])
    address = work.lists.ctypes.data + 192 * k
    uses = load_uint64x8(address + 64)
    store(address, value_lists.shifted(load_uint64x8(address), load_uint64x8(work.offsets.ctypes.data + 64 * k)))
    store(address + 64, uses & COUNTS)
    store(address + 128, where(uses == 0, load_uint64x8(work.new.ctypes.data), 0))
    if not smooth:
        begin_counts(row, centre, classes, work.bases[k])
        lanes[PEAK, k], lanes[MORE, k] = row[_u(row.size - 2)], row[_u(row.size - 1)]
    lanes[LOW, k], lanes[NODE, k], lanes[LOWER, k], lanes[UPPER, k] = 0, 1, 0, _ALL
    lanes[CENTRE, k] = centre
    lanes[VALUE, k] = samples[_u((y * width + x) * channels + channel)]
    work.spent[k] = 1.0


@_inlined
def teach(k, memory, work, here, value):  # type: ignore[no-untyped-def]
    """Put a lane's value into its lists, as they are by now: lanes may have the same."""
    for e in range(LISTS):
        if here >> e & 1:
            at = work.slots[k, e]
            work.words[0, e], work.words[1, e] = memory.lists[_u(at)], memory.lists[_u(at + 1)]
    address, offsets = work.words.ctypes.data, load_uint64x8(work.offsets.ctypes.data + 64 * k)
    values, uses = value_lists.learn(load_uint64x8(address), load_uint64x8(address + 64), (value - offsets) & 255)
    store(address + 128, values)
    store(address + 192, uses)
    for e in range(LISTS):
        if here >> e & 1:
            at = work.slots[k, e]
            memory.lists[_u(at)], memory.lists[_u(at + 1)] = work.words[2, e], work.words[3, e]
