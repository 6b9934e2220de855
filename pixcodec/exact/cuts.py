"""Symbols by mixtures of logistics: an interval is cut in two eight times, where the mixture has the cut.

Of a symbol's interval, all 2^24 at first, each cut leaves the half that it is in; where the cut lies is what the
mixture has below it (`logistics.below`), but far enough from both ends that each half has 1 for every symbol in it.  So
no classes round a symbol's frequency, and it does not matter that binary32 may fall a little from edge to edge.
Writers know all halves and cut sixteen lanes at once; readers cut one lane at sixteen edges at once, twice.
"""

from __future__ import annotations

import numpy as np

from pixcodec.exact.compiled import compiled
from pixcodec.exact.emit import LANES
from pixcodec.exact.expert_memory import numbers_from
from pixcodec.exact.logistics import MIXTURE, OUTPUTS
from pixcodec.exact.range_coder import PRECISION, advance, put, quantile
from pixcodec.exact.tables import SYMBOLS
from pixcodec.exact.vectors import gathered, limited, load_int32x16, logistics_below, row_below, spread, store, where

_ALL = 1 << PRECISION
_VECTOR = 4 * LANES  # bytes
_inlined = compiled(_nrt=False, inline="always")


@_inlined
def side_by_side(first, last, mixtures, room, stride):  # type: ignore[no-untyped-def]
    """Put sixteen pixels' mixtures, from one on, into nine vectors; behind the last one it comes again.

    `mixtures` and `room` are addresses, `stride` bytes from one vector to the next.
    """
    at = limited(numbers_from(first), 0, last) * MIXTURE
    for k in range(OUTPUTS):
        store(room + stride * k, gathered(mixtures + 4 * k, at))


@_inlined
def _find_intervals(symbols, centres, room, ends):  # type: ignore[no-untyped-def]
    """Both ends of the intervals of sixteen symbols, by mixtures side by side."""
    low = symbols & 0
    lower, upper = low, spread(_ALL)
    for depth in range(8):
        size = (SYMBOLS >> 1) >> depth
        middle = logistics_below(room.ctypes.data, _VECTOR, low + size - centres)
        middle = limited(middle, lower + size, upper - size)
        higher = (symbols & size) != 0
        low, lower, upper = where(higher, low + size, low), where(higher, middle, lower), where(higher, upper, middle)
    store(ends.ctypes.data, lower)
    store(ends.ctypes.data + _VECTOR, upper)


@compiled()
def put_lanes(  # type: ignore[no-untyped-def]
    step, first, at, number, mixtures, centres, _classes, planes, channel, state, words, costs
):
    """Append symbols of a channel of planes uint8[H, W, C], of so many of a step's lanes; see `range_coder.put_lanes`.

    Their mixtures, float32[n, MIXTURE], and centres begin at `at`.
    """
    symbols, room = np.zeros(LANES, np.int32), np.empty((OUTPUTS, LANES), np.int32)
    ends, last = np.empty((2, LANES), np.int32), at + number - 1
    for start in range(0, number, LANES):
        count = min(LANES, number - start)
        for k in range(count):
            y = first + start + k
            symbols[k] = planes[y, step - 2 * y, channel]
        side_by_side(at + start, last, mixtures.ctypes.data, room.ctypes.data, _VECTOR)
        around = gathered(centres.ctypes.data, limited(numbers_from(at + start), 0, last))
        _find_intervals(load_int32x16(symbols.ctypes.data), around, room, ends)
        for k in range(count):
            frequency = np.int64(ends[1, k] - ends[0, k])
            put(state, words, np.int64(ends[0, k]), frequency)
            costs[start + k] = PRECISION - np.log2(np.float64(frequency))
            costs[costs.size - 1] += costs[start + k]


@compiled()
def take_lanes(step, first, at, number, mixtures, centres, _classes, planes, channel, state, words):  # type: ignore[no-untyped-def]
    """The next symbols into a channel of planes, see `put_lanes`."""
    found = np.empty(LANES, np.int32)
    for n in range(number):
        own = mixtures.ctypes.data + (at + n) * mixtures.strides[0]
        q, point = np.int64(centres[at + n]), quantile(state)
        low, lower, upper = np.int64(0), np.int64(0), np.int64(_ALL)
        for shift in range(4, -1, -4):
            store(found.ctypes.data, row_below(own, low - q, 1 << shift))
            place = np.int64(0)
            for k in range(3, -1, -1):
                size, half = np.int64(1) << (shift + k), np.int64(1) << k
                middle = min(max(np.int64(found[place + half]), lower + size), upper - size)
                higher = -np.int64(point >= middle)
                lower ^= (lower ^ middle) & higher
                upper = middle ^ ((middle ^ upper) & higher)
                place += half & higher
            low += place << shift
        advance(state, words, lower, upper - lower)
        y = first + n
        planes[y, step - 2 * y, channel] = low


@compiled()
def code_length(mixtures, centres, _classes, symbols):  # type: ignore[no-untyped-def]
    """Bits that an ideal coder spends on symbols int32[n] (for reports, never for coding)."""
    room, ends = np.empty((OUTPUTS, LANES), np.int32), np.empty((2, LANES), np.int32)
    last, bits = symbols.size - 1, 0.0
    for start in range(0, symbols.size, LANES):
        side_by_side(start, last, mixtures.ctypes.data, room.ctypes.data, _VECTOR)
        at = limited(numbers_from(start), 0, last)
        _find_intervals(gathered(symbols.ctypes.data, at), gathered(centres.ctypes.data, at), room, ends)
        for k in range(min(LANES, symbols.size - start)):
            bits += PRECISION - np.log2(np.float64(ends[1, k] - ends[0, k]))
    return bits


@compiled()
def symbol_counts(mixtures, centres, _classes, counts):  # type: ignore[no-untyped-def]
    """Fill `counts`, float32[n, 256] holding integers, with the frequencies of all symbols less 1."""
    room, ends = np.empty((OUTPUTS, LANES), np.int32), np.empty((2, LANES), np.int32)
    for i in range(counts.shape[0]):
        side_by_side(i, i, mixtures.ctypes.data, room.ctypes.data, _VECTOR)
        for start in range(0, SYMBOLS, LANES):
            _find_intervals(numbers_from(start), spread(np.int64(centres[i])), room, ends)
            for k in range(LANES):
                counts[i, start + k] = ends[1, k] - ends[0, k] - 1
