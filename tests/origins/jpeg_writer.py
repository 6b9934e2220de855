"""A baseline JPEG of given coefficients, with codes of one length: what a decoder is shown, not a good file."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ZIGZAG = sorted(range(64), key=lambda n: (n // 8 + n % 8, n // 8 if (n // 8 + n % 8) % 2 else n % 8))
_AC = [run << 4 | size for run in range(16) for size in range(1, 11)] + [0x00, 0xF0]  # 162 codes of 8 bits
_DC = [*range(12)]  # 12 codes of 4 bits


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _number(value: int) -> tuple[int, str]:
    """Its size in bits, and these."""
    size = abs(value).bit_length()
    return size, format(value if value > 0 else value + (1 << size) - 1, f"0{size}b") if size else ""


def _block(levels: Sequence[int], before: int) -> str:
    size, bits = _number(levels[0] - before)
    out, run = [format(_DC.index(size), "04b") + bits], 0
    for at in ZIGZAG[1:]:
        if levels[at] == 0:
            run += 1
            continue
        while run > 15:
            out.append(format(_AC.index(0xF0), "08b"))
            run -= 16
        size, bits = _number(levels[at])
        out.append(format(_AC.index(run << 4 | size), "08b") + bits)
        run = 0
    return "".join([*out, *([format(_AC.index(0), "08b")] if run else [])])


def write(
    components: Sequence[NDArray],
    tables: Sequence[NDArray],
    factors: Sequence[tuple[int, int]],
    size: tuple[int, int],
) -> bytes:
    """The file.

    Args:
        components: int16[By, Bx, 64], whole MCUs, in natural order.
        tables: uint8[64] of each.
        factors: of sampling, (h, v), of each; those of a single component are (1, 1).
        size: height and width of the picture.
    """
    frame, scan = struct.pack(">BHHB", 8, *size, len(components)), bytes([len(components)])
    head = [b"\xff\xd8"]
    for n, (table, (h, v)) in enumerate(zip(tables, factors, strict=True)):
        head.append(_segment(0xDB, bytes([n, *(int(table[at]) for at in ZIGZAG)])))
        frame += bytes([n + 1, h << 4 | v, n])
        scan += bytes([n + 1, 0])
    head.append(_segment(0xC0, frame))
    counts = [0] * 16
    counts[3] = len(_DC)
    head.append(_segment(0xC4, bytes([0x00, *counts, *_DC])))
    counts[3], counts[7] = 0, len(_AC)
    head.append(_segment(0xC4, bytes([0x10, *counts, *_AC])))
    bits, before = [], [0] * len(components)
    rows, columns = components[0].shape[0] // factors[0][1], components[0].shape[1] // factors[0][0]
    for row in range(rows):
        for column in range(columns):
            for n, (blocks, (h, v)) in enumerate(zip(components, factors, strict=True)):
                for y in range(row * v, row * v + v):
                    for x in range(column * h, column * h + h):
                        levels = blocks[y, x].tolist()
                        bits.append(_block(levels, before[n]))
                        before[n] = levels[0]
    stream = "".join(bits)
    stream += "1" * (-len(stream) % 8)
    data = int("0" + stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\x00")
    return b"".join([*head, _segment(0xDA, scan + b"\x00\x3f\x00"), data, b"\xff\xd9"])
