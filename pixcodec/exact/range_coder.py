"""Intervals to constriction's words and back, compiled, for coders that live inside a loop (`reference.range_coder`).

A coder is two arrays: `state`, uint64[4], and `words`, uint32.  Everything is unsigned: numba makes a float of a sum of
int64 and uint64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pixcodec.errors import DamagedTileError
from pixcodec.exact.compiled import compiled
from pixcodec.exact.frequencies import MOST_CLASSES, begin, below, count_of

if TYPE_CHECKING:
    from collections.abc import Sequence

PRECISION = 24
WORD_BYTES = 4
# A frequency is at most 2^24 - (levels - 1) of 2^24, which is 2.19e-5 bits with 256 levels and 8.60e-8 with two.
MAX_SAMPLES_PER_BYTE = {256: 365_000, 2: 94_000_000}
_LOW, _RANGE, _NEXT, _WRONG = range(4)  # of a decoder `_LOW` is the point that the words say, minus low
_FULL = np.uint64(0xFFFFFFFFFFFFFFFF)
_HALF = np.uint64(32)
_MASK = np.uint64(0xFFFFFFFF)
_BITS = np.uint64(PRECISION)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_inlined = compiled(_nrt=False, inline="always")


@_inlined
def _written(low, size, at, words, before):  # type: ignore[no-untyped-def]
    """An encoder's state after an interval, `before` being low in front of it: what is certain goes to words."""
    if low < before:  # a carry goes into the words already written
        last = np.int64(at) - 1
        while words[last] == np.uint32(0xFFFFFFFF):
            words[last] = np.uint32(0)
            last -= 1
        words[last] += np.uint32(1)
    if size >> _HALF == _ZERO:
        words[np.int64(at)] = np.uint32(low >> _HALF)
        at += _ONE
        low <<= _HALF
        size <<= _HALF
    return low, size, at


@_inlined
def _filled(ahead, size, at, words):  # type: ignore[no-untyped-def]
    """A decoder's state after an interval: words come in as there is room, beyond the last one zeros."""
    if size >> _HALF == _ZERO:
        ahead = (ahead << _HALF) | (np.uint64(words[np.int64(at)]) if np.int64(at) < words.size else _ZERO)
        at += _ONE
        size <<= _HALF
    return ahead, size, at


@_inlined
def put(state, words, below, frequency):  # type: ignore[no-untyped-def]
    """Append an interval, int64 `below` and `frequency` of 2^24; `words` must have room for one more."""
    scale, before = state[_RANGE] >> _BITS, state[_LOW]
    low, size = before + scale * np.uint64(below), scale * np.uint64(frequency)
    state[_LOW], state[_RANGE], state[_NEXT] = _written(low, size, state[_NEXT], words, before)


@_inlined
def quantile(state):  # type: ignore[no-untyped-def]
    """Where in 0..2^24-1 the decoder's point lies, int64; `advance` must follow with an interval around it."""
    value = np.int64(state[_LOW] // (state[_RANGE] >> _BITS))
    if value >> PRECISION:  # no encoder writes such words
        state[_WRONG] = _ONE
        value = np.int64((1 << PRECISION) - 1)
    return value


@_inlined
def advance(state, words, below, frequency):  # type: ignore[no-untyped-def]
    """The interval that was found."""
    scale = state[_RANGE] >> _BITS
    ahead, size = state[_LOW] - scale * np.uint64(below), scale * np.uint64(frequency)
    state[_LOW], state[_RANGE], state[_NEXT] = _filled(ahead, size, state[_NEXT], words)


@_inlined
def put_decision(low, size, at, words, p, bit):  # type: ignore[no-untyped-def]
    """Append a decision, uint64 0 or 1, by the probability p of 1 in 2^-24: 1 has the upper end of the interval.

    All but `words` are uint64: a coder's state, which is given back.
    """
    scale = size >> _BITS
    zero, one = scale * (np.uint64(1 << PRECISION) - p), _ZERO - bit
    size = zero ^ ((zero ^ (scale * p)) & one)
    return _written(low + (zero & one), size, at, words, low)


@_inlined
def take_decision(low, size, at, words, p):  # type: ignore[no-untyped-def]
    """The next decision, see `put_decision`, the state after it, and 1 where no encoder writes such words, else 0."""
    scale = size >> _BITS
    zero = scale * (np.uint64(1 << PRECISION) - p)
    bit = np.uint64(low >= zero)
    one = _ZERO - bit
    low -= zero & one
    size = zero ^ ((zero ^ (scale * p)) & one)
    wrong = np.uint64(low >= size)
    low, size, at = _filled(low, size, at, words)
    return bit, low, size, at, wrong


@compiled()
def put_rows(counts, centres, classes, symbols, state, words, costs):  # type: ignore[no-untyped-def]
    """Append symbols int[n], each by its row of counts (`frequencies`) around its centre.

    `costs`, float64[n or more], gets the bits that an ideal coder spends on each; their sum is added to the last one.
    """
    bases = np.empty(MOST_CLASSES, np.int32)
    for n in range(symbols.size):
        row, q, v = counts[n], np.int64(centres[n]), np.int64(symbols[n])
        begin(row, q, classes, bases)
        frequency = np.int64(count_of(row, q, classes, v)) + 1
        put(state, words, below(row, q, classes, bases, v), frequency)
        costs[n] = PRECISION - np.log2(np.float64(frequency))
        costs[costs.size - 1] += costs[n]


@compiled()
def take_rows(counts, centres, classes, state, words, symbols):  # type: ignore[no-untyped-def]
    """The next symbols int32[n], each by its row of counts, see `put_rows`."""
    bases = np.empty(MOST_CLASSES, np.int32)
    for n in range(symbols.size):
        row, q, v = counts[n], np.int64(centres[n]), np.int64(0)
        begin(row, q, classes, bases)
        point, start = quantile(state), np.int64(0)
        for k in range(8):  # bits of the symbol
            higher = v + (128 >> k)
            frequencies = below(row, q, classes, bases, higher)
            if frequencies <= point:
                v, start = higher, frequencies
        advance(state, words, start, np.int64(count_of(row, q, classes, v)) + 1)
        symbols[n] = v


@compiled()
def put_lanes(step, first, at, number, counts, centres, classes, planes, channel, state, words, costs):  # type: ignore[no-untyped-def]
    """`put_rows` of a channel of planes uint8[H, W, C], of so many of a step's lanes.

    They are those from `first` on, whose counts and centres begin at `at`; lane y is the pixel (y, step - 2 y).
    """
    symbols = np.empty(number, np.int32)
    for n in range(number):
        symbols[n] = planes[first + n, step - 2 * (first + n), channel]
    put_rows(counts[at : at + number], centres[at : at + number], classes, symbols, state, words, costs)


@compiled()
def take_lanes(step, first, at, number, counts, centres, classes, planes, channel, state, words):  # type: ignore[no-untyped-def]
    """`take_rows` into a channel of planes, see `put_lanes`."""
    symbols = np.empty(number, np.int32)
    take_rows(counts[at : at + number], centres[at : at + number], classes, state, words, symbols)
    for n in range(number):
        planes[first + n, step - 2 * (first + n), channel] = symbols[n]


class Encoder:
    """A coder's arrays for writing.

    Attributes:
        state, words: for `put`; `room` must have been called.
    """

    def __init__(self) -> None:
        self.state = np.array([0, _FULL, 0, 0], np.uint64)
        self.words = np.zeros(1024, np.uint32)

    def room(self, count: int) -> None:
        """Make room for the words of `count` intervals: one each at most."""
        needed = int(self.state[_NEXT]) + count
        if needed > self.words.size:
            words = np.zeros(max(needed, 2 * self.words.size), np.uint32)  # memory is used where words are written
            words[: self.words.size] = self.words
            self.words = words

    def payload(self) -> bytes:
        """All words, little endian."""
        low, size, count, _ = (int(number) for number in self.state)
        if size == int(_FULL):
            return b""
        words = self.words[:count].astype("<u4")
        point = low + int(_MASK)
        if point >> 64:
            at = count - 1
            while words[at] == int(_MASK):
                words[at] = 0
                at -= 1
            words[at] += 1
        last = point >> 32 & int(_MASK)
        after = (low + size & int(_FULL)) >> 32
        tail = [last, 0] if after == last else [last]
        return words.tobytes() + np.array(tail, "<u4").tobytes()


class Decoder:
    """A coder's arrays for reading.

    Attributes:
        state, words: for `quantile` and `advance`.
    """

    def __init__(self, payload: bytes) -> None:
        """Start at the first word; `DamagedTileError` unless `payload` is whole words."""
        if len(payload) % WORD_BYTES:
            raise DamagedTileError(
                f"a tile's payload must be whole words of {WORD_BYTES} bytes, found {len(payload)} bytes; "
                "fetch the file anew"
            )
        self.words = np.frombuffer(payload, "<u4").astype(np.uint32)
        first = [int(word) for word in self.words[:2]] + [0, 0]
        self.state = np.array([first[0] << 32 | first[1], _FULL, 2, 0], np.uint64)

    def check(self) -> None:
        """`DamagedTileError` where the words fitted no symbol."""
        if self.state[_WRONG]:
            raise DamagedTileError("the tile's words fit no symbols; fetch the file anew")

    def finish(self) -> None:
        """`DamagedTileError` where words are left over, or the point is farther from low than an encoder's can be."""
        self.check()
        ahead, size, following, _ = (int(number) for number in self.state)
        begun = size != int(_FULL)
        if following < self.words.size or (begun and ahead >= 2 * (1 << 32) - 1):
            raise DamagedTileError("the tile holds more words than its pixels need; fetch the file anew")


def check_room(streams: Sequence[bytes], samples: int, levels: int) -> None:
    """`DamagedTileError` where streams cannot hold so many samples, before memory is reserved for them."""
    size = sum(len(stream) + WORD_BYTES for stream in streams)
    if samples > MAX_SAMPLES_PER_BYTE[levels] * size:
        raise DamagedTileError(f"{size} bytes cannot hold {samples} samples; fetch the file anew")
