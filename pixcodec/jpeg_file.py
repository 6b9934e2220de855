"""Quantised coefficients from the bytes of a JPEG file: ITU-T T.81, Huffman coded, 8 bits, one or three colours.

Baseline, extended sequential and progressive files (SOF0, 1, 2), with any scans and restart markers.  What is not read
gives None, for then the pixels that a decoder makes of it are coded as those of any picture: arithmetic coding, 12
bits, lossless and hierarchical files, CMYK, factors above 2; and all that is damaged or incomplete, where decoders
differ.

Why not a library: jpeglib (libjpeg, maintained, with wheels) reads the same coefficients, but it brings 78 MB, reads
from paths only, and prints a warning where a file is damaged, without telling its caller.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pixcodec.exact.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOI, EOI, SOS, DQT, DHT, DRI, APP0, APP14 = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xE0, 0xEE
RST0, TEM = 0xD0, 0x01
SOF_SEQUENTIAL, SOF_PROGRESSIVE = (0xC0, 0xC1), 0xC2
OTHER_FRAMES = (0xC3, *range(0xC5, 0xC8), *range(0xC8, 0xD0), 0xDC, 0xDE, 0xDF)  # frames, DNL, hierarchical: not read
BLOCKS_PER_BYTE = 8  # a block takes a bit at least, in the scan of its DC
# Place 8 v + u of the coefficients in the order of the file: diagonals, every other one upwards.
ZIGZAG = np.array(
    sorted(range(64), key=lambda k: (k // 8 + k % 8, k // 8 if (k // 8 + k % 8) % 2 else k % 8)), np.int64
)
LEAST, MOST = -2048, 2047  # of a coefficient
_CODES = 1 << 16  # a table of Huffman codes by 16 bits: 256 length + symbol, or 0 where there is none
# Of the state of a scan: place of the next byte, bits read ahead (32 at most are kept) and their number, how many of
# them are beyond the last byte, blocks that are still without new coefficients, and whether anything is wrong.
_AT, _HELD, _COUNT, _BEYOND, _RUN, _DAMAGED = range(6)
_compiled = compiled()
_inlined = compiled(inline="always")


@dataclass(frozen=True)
class JpegFile:
    """What a JPEG file holds.

    Attributes:
        width, height: in pixels.
        components: int16[By, Bx, 64] each, quantised coefficients 8 v + u, DC as it is; the blocks that have samples
            of the picture, without those that fill up units.
        tables: uint16[64] each, steps in the same order.
        factors: (h, v) each, samples across and down in a unit.
        transform: "gray", "ycbcr" or "rgb", as libjpeg decides: three colours are YCbCr behind a JFIF marker; else
            Adobe's marker tells; else the components' names R, G, B; else YCbCr.
    """

    width: int
    height: int
    components: list[NDArray[np.int16]]
    tables: list[NDArray[np.uint16]]
    factors: list[tuple[int, int]]
    transform: str


class _NotReadError(Exception):
    """The file is damaged or of another kind."""


def _require(sound: bool) -> None:  # noqa: FBT001  it is the condition
    if not sound:
        raise _NotReadError


class _Bytes:
    """Bytes in order; whoever wants more than there are gets `_NotReadError`."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        self.at += count
        _require(count >= 0 and self.at <= len(self.data))
        return self.data[self.at - count : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def short(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def marker(self) -> int:
        """The next marker, perhaps behind fill bytes."""
        _require(self.byte() == 0xFF)
        code = self.byte()
        while code == 0xFF:
            code = self.byte()
        return code

    def segment(self) -> _Bytes:
        return _Bytes(self.take(self.short() - 2))

    def more(self) -> bool:
        return self.at < len(self.data)


@dataclass
class _Component:
    """Of a frame: its name, factors, number of its table of steps, and size in blocks."""

    name: int
    h: int
    v: int
    table: int
    rows: int = 0
    columns: int = 0
    first: int = 0  # block in the array of all
    steps: NDArray[np.uint16] | None = None  # as they are when its first scan begins
    last_bit: NDArray[np.int64] = field(default_factory=lambda: np.full(64, -1))  # that is known of each coefficient


@_inlined
def _bits(data, state, count):  # type: ignore[no-untyped-def]
    """The next `count` <= 16 bits, which stay; zeros behind the last one, which `_skip` counts."""
    while state[_COUNT] < count:
        byte, at = np.int64(0), state[_AT]
        if at < len(data) and data[at] != 0xFF:
            byte, state[_AT] = np.int64(data[at]), at + 1
        elif at + 1 < len(data) and data[at + 1] == 0:
            byte, state[_AT] = np.int64(0xFF), at + 2
        else:
            state[_BEYOND] += 8
        state[_HELD] = (state[_HELD] << 8 | byte) & 0xFFFFFFFF
        state[_COUNT] += 8
    return (state[_HELD] >> (state[_COUNT] - count)) & ((1 << count) - 1)


@_inlined
def _take(data, state, count):  # type: ignore[no-untyped-def]
    """The next `count` bits."""
    value = _bits(data, state, count)
    state[_COUNT] -= count
    return value


@_inlined
def _symbol(data, state, codes):  # type: ignore[no-untyped-def]
    """The next symbol; 0 and damage where no code fits."""
    found = np.int64(codes[_bits(data, state, 16)])
    state[_DAMAGED] |= found == 0
    state[_COUNT] -= found >> 8
    return found & 255


@_inlined
def _extended(data, state, size):  # type: ignore[no-untyped-def]
    """A number of `size` bits, negative where the first of them is 0 (T.81, F.2.2.1)."""
    value = _take(data, state, size)
    return value if size == 0 or value >> (size - 1) else value - (1 << size) + 1


@_inlined
def _kept(state, value):  # type: ignore[no-untyped-def]
    """A coefficient, and damage where it is none."""
    state[_DAMAGED] |= value < LEAST or value > MOST
    return value


@_inlined
def _first_bits(data, state, block, dc, ac, previous, start, end, low, zigzag):  # type: ignore[no-untyped-def]
    """A block of a sequential scan, or of a progressive one that comes first; `previous` is the DC before."""
    k = start
    if k == 0:
        size = _symbol(data, state, dc)
        state[_DAMAGED] |= size > 15
        previous += _extended(data, state, min(size, 15))
        block[0] = _kept(state, previous << low)
        k = 1
    if state[_RUN] > 0:
        state[_RUN] -= 1
        return previous
    while k <= end:
        symbol = _symbol(data, state, ac)
        run, size = symbol >> 4, symbol & 15
        if size == 0 and run < 15:
            state[_RUN] = (1 << run) - 1 + _take(data, state, run)
            state[_DAMAGED] |= start == 0 and run > 0
            break
        k += run
        if k > end:
            state[_DAMAGED] = 1
            break
        if size:
            block[zigzag[k]] = _kept(state, _extended(data, state, size) << low)
        k += 1
    return previous


@_inlined
def _next_bits(data, state, block, ac, start, end, low, zigzag):  # type: ignore[no-untyped-def]
    """One more bit of each coefficient of a block, in a progressive scan (T.81, G.1.2.3)."""
    if start == 0:
        block[0] |= _take(data, state, 1) << low
        return
    k = start
    while k <= end and state[_RUN] == 0:
        symbol = _symbol(data, state, ac)
        run, size, new = symbol >> 4, symbol & 15, 0
        state[_DAMAGED] |= size > 1
        if size:
            new = (1 if _take(data, state, 1) else -1) << low
        elif run < 15:
            state[_RUN] = (1 << run) + _take(data, state, run)
            break
        while k <= end:
            place = zigzag[k]
            if block[place]:
                _correct(data, state, block, place, low)
            elif run == 0:
                block[place] = new
                break
            else:
                run -= 1
            k += 1
        state[_DAMAGED] |= k > end and (new != 0 or run > 0)
        k += 1
    if state[_RUN] > 0:
        state[_RUN] -= 1
        while k <= end:
            if block[zigzag[k]]:
                _correct(data, state, block, zigzag[k], low)
            k += 1


@_inlined
def _correct(data, state, block, place, low):  # type: ignore[no-untyped-def]
    """One more bit of a coefficient that is not 0."""
    if _take(data, state, 1):
        block[place] += (1 if block[place] > 0 else -1) << low


@_inlined
def _restart(data, state, number):  # type: ignore[no-untyped-def]
    """Behind an interval: nothing but the rest of a byte is left, and the marker `number` follows, if it is not -1."""
    state[_DAMAGED] |= state[_BEYOND] > state[_COUNT] or state[_COUNT] - state[_BEYOND] >= 8
    state[_HELD] = state[_COUNT] = state[_BEYOND] = 0
    state[_DAMAGED] |= state[_RUN] > 0
    state[_RUN] = 0
    at = state[_AT]
    if number < 0:
        return
    while at + 1 < len(data) and data[at] == 0xFF and data[at + 1] == 0xFF:
        at += 1
    if at + 1 < len(data) and data[at] == 0xFF and data[at + 1] == RST0 + (number & 7):
        state[_AT] = at + 2
    else:
        state[_DAMAGED] = 1


@_compiled
def _scan(data, state, parts, rows, columns, interval, band, codes, zigzag, coefficients):  # type: ignore[no-untyped-def]
    """A scan's bits to coefficients; what goes wrong is in `state`.

    Args:
        data: uint8[], of the file.
        state: int64[6], zeros but for the place of the first byte.
        parts: int64[n, 7], first block, rows and columns of blocks, blocks down and across in a unit, tables of codes.
        rows: of units.
        columns: of units.
        interval: units between restarts, 0 for no restarts.
        band: int64[4], first and last coefficient, bit before, bit.
        codes: uint16[8, 65536], DC's four and AC's.
        zigzag: ZIGZAG.
        coefficients: int16[blocks + 1, 64], the last one for those outside.
    """
    start, end, high, low = band
    previous = np.zeros(4, np.int64)
    for unit in range(rows * columns):
        if interval and unit and unit % interval == 0:
            _restart(data, state, unit // interval - 1)
            previous[:] = 0
        if state[_DAMAGED]:
            return
        y, x = unit // columns, unit % columns
        for part in range(len(parts)):
            first, height, width, down, across, dc, ac = parts[part]
            for n in range(down * across):
                row, column = y * down + n // across, x * across + n % across
                inside = row < height and column < width
                block = coefficients[first + row * width + column if inside else len(coefficients) - 1]
                if high:
                    _next_bits(data, state, block, codes[4 + ac], start, end, low, zigzag)
                else:
                    previous[part] = _first_bits(
                        data, state, block, codes[dc], codes[4 + ac], previous[part], start, end, low, zigzag
                    )
    _restart(data, state, -1)


def _steps(segment: _Bytes, tables: dict[int, NDArray[np.uint16]]) -> None:
    """DQT."""
    while segment.more():
        kind = segment.byte()
        _require(kind >> 4 < 2 and kind & 15 < 4)
        raw = np.frombuffer(segment.take(64 << (kind >> 4)), ">u2" if kind >> 4 else "u1").astype(np.uint16)
        _require(bool(raw.all()))
        table = np.zeros(64, np.uint16)
        table[ZIGZAG] = raw
        tables[kind & 15] = table


def _codes(segment: _Bytes, codes: NDArray[np.uint16], known: set[int]) -> None:
    """DHT."""
    while segment.more():
        kind = segment.byte()
        _require(kind >> 4 < 2 and kind & 15 < 4)
        counts = segment.take(16)
        symbols = np.frombuffer(segment.take(sum(counts)), np.uint8).astype(np.int64)
        lengths = np.repeat(np.arange(1, 17), list(counts))
        widths = 1 << (16 - lengths)
        _require(0 < len(symbols) <= 256 and int(widths.sum()) <= _CODES)
        table = codes[4 * (kind >> 4) + (kind & 15)]
        table[:] = 0
        table[: widths.sum()] = np.repeat(lengths << 8 | symbols, widths)
        known.add(4 * (kind >> 4) + (kind & 15))


class _File:
    """What was read of a file so far."""

    def __init__(self, data: bytes) -> None:
        self._bytes = _Bytes(data)
        self._data = np.frombuffer(data, np.uint8)
        self._tables: dict[int, NDArray[np.uint16]] = {}
        self._codes, self._known = np.zeros((8, _CODES), np.uint16), set[int]()
        self._interval = 0
        self._jfif, self._adobe = False, -1
        self._components: list[_Component] = []
        self._progressive = False
        self._width = self._height = 0
        self._coefficients = np.zeros((0, 64), np.int16)

    def read(self) -> JpegFile:
        _require(self._bytes.take(2) == bytes([0xFF, SOI]))
        code = self._bytes.marker()
        while code != EOI:
            _require(code not in OTHER_FRAMES and code not in {SOI, TEM} and not RST0 <= code < SOI and code > TEM)
            self._segment(code, self._bytes.segment())
            code = self._bytes.marker()
        return self._result()

    def _segment(self, code: int, segment: _Bytes) -> None:
        if code == DQT:
            _steps(segment, self._tables)
        elif code == DHT:
            _codes(segment, self._codes, self._known)
        elif code == DRI:
            self._interval = segment.short()
        elif code == APP0 and len(segment.data) >= 14 and segment.data.startswith(b"JFIF\0"):
            self._jfif = True
        elif code == APP14 and len(segment.data) >= 12 and segment.data.startswith(b"Adobe"):
            self._adobe = segment.data[11]
        elif code in SOF_SEQUENTIAL or code == SOF_PROGRESSIVE:
            self._progressive = code == SOF_PROGRESSIVE
            self._frame(segment)
        elif code == SOS:
            self._scan(segment)

    def _frame(self, segment: _Bytes) -> None:
        _require(not self._components and segment.byte() == 8)
        self._height, self._width, count = segment.short(), segment.short(), segment.byte()
        _require(self._height > 0 and self._width > 0 and count in {1, 3})
        for _ in range(count):
            name, factors, table = segment.take(3)
            self._components.append(_Component(name, factors >> 4, factors & 15, table))
        _require(len({part.name for part in self._components}) == count)
        if count == 1:  # factors mean nothing then
            self._components[0].h = self._components[0].v = 1
        self._h, self._v = self._components[0].h, self._components[0].v
        blocks = 0
        for part in self._components:
            _require(1 <= part.h <= self._h <= 2 and 1 <= part.v <= self._v <= 2)
            part.rows = -(-self._height * part.v // (8 * self._v))
            part.columns = -(-self._width * part.h // (8 * self._h))
            part.first = blocks
            blocks += part.rows * part.columns
        _require(blocks <= BLOCKS_PER_BYTE * len(self._data))
        self._coefficients = np.zeros((blocks + 1, 64), np.int16)

    def _scan(self, segment: _Bytes) -> None:
        count = segment.byte()
        _require(1 <= count <= len(self._components))
        chosen, parts = [], np.zeros((count, 7), np.int64)
        for n in range(count):
            name, kinds = segment.take(2)
            part = next((part for part in self._components if part.name == name), None)
            if part is None or part in chosen or kinds >> 4 > 3 or kinds & 15 > 3:
                raise _NotReadError
            chosen.append(part)
            unit = (part.v, part.h) if count > 1 else (1, 1)
            parts[n] = part.first, part.rows, part.columns, *unit, kinds >> 4, kinds & 15
            if part.steps is None:
                _require(part.table in self._tables)
                part.steps = self._tables[part.table]
        start, end, bits = segment.take(3)
        high, low = bits >> 4, bits & 15
        self._check_band(chosen, start, end, high, low)
        for n in range(count):
            _require(start > 0 or high > 0 or int(parts[n, 5]) in self._known)
            _require(end == 0 or 4 + int(parts[n, 6]) in self._known)
        rows, columns = chosen[0].rows, chosen[0].columns
        if count > 1:
            rows, columns = -(-self._height // (8 * self._v)), -(-self._width // (8 * self._h))
        state = np.zeros(6, np.int64)
        state[_AT] = self._bytes.at
        band = np.array([start, end, high, low])
        _scan(self._data, state, parts, rows, columns, self._interval, band, self._codes, ZIGZAG, self._coefficients)
        _require(not state[_DAMAGED])
        self._bytes.at = int(state[_AT])

    def _check_band(self, chosen: list[_Component], start: int, end: int, high: int, low: int) -> None:
        """Each bit of each coefficient once, the highest first; in a progressive scan DC alone or AC of one colour."""
        if self._progressive:
            _require(start <= end < 64 and low <= 13 and (high == 0 or high == low + 1))
            _require(end == 0 if start == 0 else len(chosen) == 1)
        else:
            _require((start, end, high, low) == (0, 63, 0, 0))
        for part in chosen:
            _require(bool((part.last_bit[start : end + 1] == (high or -1)).all()))
            _require(start == 0 or part.last_bit[0] >= 0)
            part.last_bit[start : end + 1] = low

    def _result(self) -> JpegFile:
        _require(bool(self._components) and all((part.last_bit == 0).all() for part in self._components))
        blocks = self._coefficients[:-1]
        _require(int(blocks.min()) >= LEAST and int(blocks.max()) <= MOST)
        planes = [
            blocks[part.first : part.first + part.rows * part.columns].reshape(part.rows, part.columns, 64)
            for part in self._components
        ]
        return JpegFile(
            self._width,
            self._height,
            planes,
            [part.steps for part in self._components if part.steps is not None],
            [(part.h, part.v) for part in self._components],
            self._transform(),
        )

    def _transform(self) -> str:
        if len(self._components) == 1:
            return "gray"
        rgb = bytes(part.name for part in self._components) == b"RGB"
        if self._jfif or (self._adobe < 0 and not rgb) or self._adobe > 0:
            return "ycbcr"
        return "rgb"


def read(data: bytes) -> JpegFile | None:
    """Coefficients of a JPEG file, or None where it is damaged, incomplete, or of a kind that is not read."""
    try:
        return _File(data).read()
    except _NotReadError:
        return None
