"""JPEG's decoder in integers, as libjpeg-turbo has it by default: coefficients to the pixels that Pillow gives.

Three stages: dequantisation and the inverse DCT of `jidctint` (constants of 13 bits, 2 more bits between its passes);
chroma to full resolution by the triangle filter of `jdsample`; colour by the 16-bit tables of `jdcolor`. Sums are of 64
bits and the end of the DCT is clamped: what overflows or wraps in one build of libjpeg and saturates in another, far
beyond the coefficients of any picture, does neither here.

A component is int16[By, Bx, 64]: blocks in raster order, in each the quantised coefficients 8 v + u of vertical
frequency v and horizontal frequency u.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pixcodec.exact.compiled import compiled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Factors = tuple[tuple[int, int], ...]  # of sampling, (h, v), of each component
Cut = tuple[int, int, int, int]  # rows above a picture, columns before it, rows below and columns behind it
BITS, MORE = 13, 2  # CONST_BITS and PASS1_BITS
_compiled = compiled()
GRAY: Factors = ((1, 1),)
FULL, HALF, ACROSS, DOWN = (((h, v), (1, 1), (1, 1)) for h, v in ((1, 1), (2, 2), (2, 1), (1, 2)))
LAYOUTS: tuple[Factors, ...] = (GRAY, FULL, HALF, ACROSS, DOWN)

# The tables of ITU-T T.81, annex K, that IJG's qualities scale: of luma and twice of chroma, in natural order.
_OF_LUMA = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
    18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
_OF_CHROMA = "17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66" + 38 * " 99"
STANDARD = [np.array(table.split(), np.int64) for table in (_OF_LUMA, _OF_CHROMA, _OF_CHROMA)]


def standard(quality: int, component: int) -> NDArray[np.uint16]:
    """IJG's table of a quality 1..100 for luma (component 0) or chroma, uint16[64]."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((STANDARD[component] * scale + 50) // 100, 1, 255).astype(np.uint16)


def butterfly(c0, c1, c2, c3, c4, c5, c6, c7):  # type: ignore[no-untyped-def]
    """One pass: eight frequencies to eight samples, larger by 2^13 sqrt(8); of integers, or of arrays of them."""
    z = (c2 + c6) * 4433
    even_2, even_3 = z - c6 * 15137, z + c2 * 6270
    even_0, even_1 = (c0 + c4) << 13, (c0 - c4) << 13
    first, last = even_0 + even_3, even_0 - even_3
    second, third = even_1 + even_2, even_1 - even_2
    z1, z2, z3, z4 = c7 + c1, c5 + c3, c7 + c3, c5 + c1
    z5 = (z3 + z4) * 9633
    z1, z2, z3, z4 = z1 * -7373, z2 * -20995, z3 * -16069 + z5, z4 * -3196 + z5
    odd_0, odd_1 = c7 * 2446 + z1 + z3, c5 * 16819 + z2 + z4
    odd_2, odd_3 = c3 * 25172 + z2 + z3, c1 * 12299 + z1 + z4
    return (
        first + odd_3,
        second + odd_2,
        third + odd_1,
        last + odd_0,
        last - odd_0,
        third - odd_1,
        second - odd_2,
        first - odd_3,
    )


_butterfly = _compiled(butterfly)


def inverse_dct(levels: NDArray[Any], table: NDArray[Any]) -> NDArray[np.uint8]:
    """Samples uint8[..., 8, 8] of blocks [..., 64], by a table [64] of steps: what `inverse` is held against."""
    wide = (levels.astype(np.int64) * table.astype(np.int64)).reshape(*levels.shape[:-1], 8, 8)
    for axis, shift in ((-2, BITS - MORE), (-1, BITS + MORE + 3)):
        passed = butterfly(*(wide.take(n, axis) for n in range(8)))  # type: ignore[no-untyped-call]
        wide = (np.stack(passed, axis) + (1 << (shift - 1))) >> shift
    return np.clip(wide + 128, 0, 255).astype(np.uint8)


@_compiled
def inverse(levels, table, work, out):  # type: ignore[no-untyped-def]
    """Samples [64] of one block [64], both as `inverse_dct`; `work` is int64[64]."""
    for u in range(8):
        a, b, c, d, e, f, g, h = _butterfly(
            np.int64(levels[u]) * table[u],
            np.int64(levels[8 + u]) * table[8 + u],
            np.int64(levels[16 + u]) * table[16 + u],
            np.int64(levels[24 + u]) * table[24 + u],
            np.int64(levels[32 + u]) * table[32 + u],
            np.int64(levels[40 + u]) * table[40 + u],
            np.int64(levels[48 + u]) * table[48 + u],
            np.int64(levels[56 + u]) * table[56 + u],
        )
        work[u], work[8 + u], work[16 + u], work[24 + u] = (
            a + 1024 >> 11,
            b + 1024 >> 11,
            c + 1024 >> 11,
            d + 1024 >> 11,
        )
        work[32 + u], work[40 + u], work[48 + u], work[56 + u] = (
            e + 1024 >> 11,
            f + 1024 >> 11,
            g + 1024 >> 11,
            h + 1024 >> 11,
        )
    for at in range(0, 64, 8):
        passed = _butterfly(
            work[at], work[at + 1], work[at + 2], work[at + 3], work[at + 4], work[at + 5], work[at + 6], work[at + 7]
        )
        for n in range(8):
            out[at + n] = min(max((passed[n] + (1 << 17) >> 18) + 128, 0), 255)


@_compiled
def _planes(component, table, plane):  # type: ignore[no-untyped-def]
    rows, columns, _ = component.shape
    work, out = np.empty(64, np.int64), np.empty(64, np.int64)
    for row in range(rows):
        for column in range(columns):
            inverse(component[row, column], table, work, out)
            for y in range(8):
                for x in range(8):
                    plane[8 * row + y, 8 * column + x] = out[8 * y + x]


def samples(component: NDArray[np.int16], table: NDArray[Any]) -> NDArray[np.uint8]:
    """A component's plane, uint8[8 By, 8 Bx]."""
    plane = np.empty((8 * component.shape[0], 8 * component.shape[1]), np.uint8)
    _planes(component, table.astype(np.int64), plane)
    return plane


def upsample(plane: NDArray[Any], down: int, across: int) -> NDArray[np.int64]:
    """A plane [h, w] at `down` times its rows and `across` times its columns, each 1 or 2.

    In between two samples 3/4 of the nearer and 1/4 of the other; outside of all the last one. Rounding is once, at the
    end, and up and down in turn. Two columns or less are repeated where columns double, as libjpeg-turbo does.
    """
    wide = plane.astype(np.int64)
    if across == 2 and plane.shape[1] <= 2:
        return wide.repeat(down, axis=0).repeat(across, axis=1)
    for axis, factor in ((0, down), (1, across)):
        if factor == 2:
            wide = _between(wide, axis)
    if across == 2:
        even, odd, shift = (8, 7, 4) if down == 2 else (1, 2, 2)
        wide[:, ::2] += even
        wide[:, 1::2] += odd
        return wide >> shift
    if down == 2:
        wide[::2] += 1
        wide[1::2] += 2
        return wide >> 2
    return wide


def _between(plane: NDArray[np.int64], axis: int) -> NDArray[np.int64]:
    """Twice as many samples along an axis, each of four parts."""
    count = plane.shape[axis]
    places = np.arange(count)
    before, after = plane.take(np.maximum(places - 1, 0), axis), plane.take(np.minimum(places + 1, count - 1), axis)
    pairs = np.stack([3 * plane + before, 3 * plane + after], axis + 1)
    doubled = list(plane.shape)
    doubled[axis] *= 2
    return pairs.reshape(doubled)


_CHROMA = np.arange(-128, 128, dtype=np.int64)
RED_OF_CR, BLUE_OF_CB = (91881 * _CHROMA + 32768) >> 16, (116130 * _CHROMA + 32768) >> 16
GREEN_OF_CB, GREEN_OF_CR = -22554 * _CHROMA + 32768, -46802 * _CHROMA


def to_rgb(y: NDArray[Any], cb: NDArray[Any], cr: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels uint8[H, W, 3] of planes [H, W]."""
    luma = y.astype(np.int64)
    green = (GREEN_OF_CB[cb] + GREEN_OF_CR[cr]) >> 16
    return np.clip(np.stack([luma + RED_OF_CR[cr], luma + green, luma + BLUE_OF_CB[cb]], axis=2), 0, 255).astype(
        np.uint8
    )


def sizes(factors: Factors, height: int, width: int) -> list[tuple[int, int]]:
    """Rows and columns of each component's samples, given its sampling factors (h, v), of a picture."""
    most_h, most_v = max(h for h, _ in factors), max(v for _, v in factors)
    return [(-(-height * v // most_v), -(-width * h // most_h)) for h, v in factors]


def render(
    components: Sequence[NDArray[np.int16]],
    tables: Sequence[NDArray[Any]],
    factors: Factors,
    height: int,
    width: int,
) -> NDArray[np.uint8]:
    """The picture uint8[H, W, C], gray of one component or red, green and blue of three.

    Args:
        components: at least as many blocks as cover `sizes`.
        tables: [64] of each, in the order of its coefficients.
        factors: of sampling, (h, v), of each.
        height: in pixels.
        width: in pixels.
    """
    most_h, most_v = max(h for h, _ in factors), max(v for _, v in factors)
    planes = []
    for component, table, (h, v), (rows, columns) in zip(
        components, tables, factors, sizes(factors, height, width), strict=True
    ):
        plane = samples(component, table)[:rows, :columns]
        planes.append(upsample(plane, most_v // v, most_h // h)[:height, :width])
    if len(planes) == 1:
        return planes[0].astype(np.uint8)[:, :, None]
    return to_rgb(*planes)


@dataclass(frozen=True)
class Source:
    """A JPEG, and the picture that is cut out of it.

    Args:
        factors: of sampling.
        cut: what lies around the picture.
        tables: uint16[64] of each component.
        components: int16[By, Bx, 64] of each, as `shapes` says.
    """

    factors: Factors
    cut: Cut
    tables: list[NDArray[np.uint16]]
    components: list[NDArray[np.int16]]

    def render(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """The picture, uint8 of `shape`."""
        top, left, _, _ = self.cut
        whole = render(self.components, self.tables, self.factors, *size(shape, self.cut))
        return whole[top : top + shape[0], left : left + shape[1]]


def size(shape: tuple[int, ...], cut: Cut) -> tuple[int, int]:
    """Height and width of the JPEG that a picture of `shape` is cut out of."""
    top, left, bottom, right = cut
    return top + shape[0] + bottom, left + shape[1] + right


def shapes(factors: Factors, height: int, width: int) -> list[tuple[int, int]]:
    """Rows and columns of blocks of each component of a JPEG: those that its samples need."""
    return [(-(-rows // 8), -(-columns // 8)) for rows, columns in sizes(factors, height, width)]


def cells(wrong: NDArray[np.bool_], phase: tuple[int, ...]) -> NDArray[np.int64]:
    """How many of bool[H, W] are in each cell of 8x8, of which the first ones lack so many rows and columns."""
    padded = np.pad(wrong, [(cut, -(side + cut) % 8) for side, cut in zip(wrong.shape, phase[:2], strict=True)])
    rows, columns = (side // 8 for side in padded.shape)
    return np.asarray(padded.reshape(rows, 8, columns, 8).sum(axis=(1, 3)))


def spread(marked: NDArray[np.bool_], phase: tuple[int, ...], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The pixels [H, W] of marked `cells`."""
    whole = marked.repeat(8, axis=0).repeat(8, axis=1)
    return whole[phase[0] : phase[0] + shape[0], phase[1] : phase[1] + shape[1]]
