"""Tables of integers to few bytes: an adaptive binary code of magnitudes, by the range coder of the tiles.

A number n is sent as u = 2n, or -2n - 1 if it is negative, and u + 1 as its length in bits (unary: is it longer?), then
the bits below the highest one.  Decisions about the length and the two highest of those bits learn; their contexts are
the column and whether the number above, in the same column, was 0.  docs/format.md, section 12, has it in full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pixcodec.exact import range_coder
from pixcodec.exact.compiled import compiled
from pixcodec.varint import varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pixcodec.varint import Reader

BITS = 32  # of u + 1 at most
MAX_PER_BYTE = 2**15  # rows of a table for each byte: a decision costs 2^-11 bits at least
FREE_BYTES = 16  # that a reader adds: zeros at the end are not written
_LEARNED = 3  # bits below the highest one, of which as many as the first two learn
_ONE, _HALF = 1 << 16, 1 << 15
_LIMIT, _LEAST = 254, 32
_compiled = compiled()


@_compiled
def _interval(cell, bit):  # type: ignore[no-untyped-def]
    """Below and frequency, of 2^24, of a decision; p is that of 1, of 2^16."""
    one = cell[0] << 8
    return ((1 << 24) - one, one) if bit else (0, (1 << 24) - one)


@_compiled
def _learn(cell, bit):  # type: ignore[no-untyped-def]
    cell[0] += ((bit << 16) - cell[0]) // (cell[1] + 2)
    cell[0] = min(max(cell[0], _LEAST), _ONE - _LEAST)
    cell[1] = min(cell[1] + 1, _LIMIT)


@_compiled
def _cells(columns):  # type: ignore[no-untyped-def]
    """For each column and whether the number above is 0: by length, whether it is longer; then bits by length."""
    cells = np.zeros((columns, 2, BITS + 1, 4, 2), np.int64)
    cells[..., 0] = _HALF
    return cells


@_compiled
def _write(table, state, words):  # type: ignore[no-untyped-def]
    count, columns = table.shape
    cells = _cells(columns)
    for row in range(count):
        for column in range(columns):
            number = table[row, column]
            u = 2 * number + 1 if number >= 0 else -2 * number
            own = cells[column, 1 if row and table[row - 1, column] == 0 else 0]
            length = 1
            while u >> length:
                length += 1
            for at in range(1, length + 1):
                bit = 1 if at < length else 0
                if at < BITS:
                    below, size = _interval(own[at, 0], bit)
                    range_coder.put(state, words, below, size)
                    _learn(own[at, 0], bit)
            node = 1
            for shift in range(length - 2, -1, -1):
                bit = u >> shift & 1
                if node < 4:
                    below, size = _interval(own[length, node], bit)
                    _learn(own[length, node], bit)
                else:
                    below, size = bit << 23, 1 << 23
                range_coder.put(state, words, below, size)
                node = 2 * node + bit


@_compiled
def _read(table, state, words):  # type: ignore[no-untyped-def]
    count, columns = table.shape
    cells = _cells(columns)
    for row in range(count):
        for column in range(columns):
            own = cells[column, 1 if row and table[row - 1, column] == 0 else 0]
            length = 1
            while length < BITS:
                bit = 1 if range_coder.quantile(state) >= (1 << 24) - (own[length, 0, 0] << 8) else 0
                below, size = _interval(own[length, 0], bit)
                range_coder.advance(state, words, below, size)
                _learn(own[length, 0], bit)
                if not bit:
                    break
                length += 1
            u, node = 1, 1
            for _ in range(length - 1):
                if node < 4:
                    bit = 1 if range_coder.quantile(state) >= (1 << 24) - (own[length, node, 0] << 8) else 0
                    below, size = _interval(own[length, node], bit)
                    _learn(own[length, node], bit)
                else:
                    bit = 1 if range_coder.quantile(state) >= 1 << 23 else 0
                    below, size = bit << 23, 1 << 23
                range_coder.advance(state, words, below, size)
                u, node = 2 * u + bit, 2 * node + bit
            table[row, column] = u // 2 if u & 1 else -(u // 2)


def _end(coder: range_coder.Encoder) -> bytes:
    """The words so far and a point of the last interval, big endian, without the zeros that a reader adds."""
    low, size, count, _ = (int(number) for number in coder.state)
    zeros = size.bit_length() - 1
    point = -(-low >> zeros) << zeros
    if point >= low + size:
        zeros -= 1
        point = -(-low >> zeros) << zeros
    whole = int.from_bytes(coder.words[:count].astype(">u4").tobytes(), "big")
    return ((whole << 64) + point).to_bytes(4 * count + 8, "big").rstrip(b"\0")


def pack(table: NDArray[Any]) -> bytes:
    """Bytes of a table int64[n, columns] of numbers below 2^30 in magnitude, behind their length (LEB128)."""
    coder = range_coder.Encoder()
    coder.room(table.size * 2 * BITS)
    _write(np.ascontiguousarray(table, np.int64), coder.state, coder.words)
    data = _end(coder) if table.size else b""
    return varint(len(data)) + data


def read(reader: Reader, count: int, columns: int) -> NDArray[np.int64]:
    """The table int64[count, columns] that `pack` wrote; the reader's error for bytes that it never writes."""
    start = reader.position
    data = reader.take(reader.number())
    if count > MAX_PER_BYTE * (len(data) + FREE_BYTES):
        message = f"{reader.what} is damaged: {len(data)} bytes cannot hold {count} rows; fetch the file anew"
        raise reader.error(message)
    padded = data + bytes(-len(data) % 4)
    decoder = range_coder.Decoder(np.frombuffer(padded, ">u4").astype("<u4").tobytes())
    table = np.zeros((count, columns), np.int64)
    _read(table, decoder.state, decoder.words)
    # Whatever other bytes mean, no writer writes them: there is one form of each table.
    if np.abs(table).max(initial=0) >= 1 << BITS - 2 or pack(table) != reader.data[start : reader.position]:
        message = f"{reader.what} is damaged: its numbers are not those that were written; fetch the file anew"
        raise reader.error(message)
    return table
