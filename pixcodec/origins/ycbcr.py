"""YCbCr, as video and JPEG have it: luma, and chroma of full or lower resolution, replicated or interpolated.

Decoders agree on the colours that are meant, not on how sums are rounded.  With y = Y - black, D = Cb - 128,
E = Cr - 128, integers of 2^-16 and >> a floor, conversions by *sums* are

    R = (l y + r E + 2^15) >> 16;  G = (l y - p D - q E + 2^15) >> 16;  B = (l y + s D + 2^15) >> 16

by *words* (16-bit products, as vector instructions have them)

    R = (l y >> 16) + (r E >> 16);  G = (l y >> 16) + (-p D >> 16) + (-q E >> 16);  B = (l y >> 16) + (s D >> 16)

and by *steps* (chroma moves the place in a table of luma), with move(n, C) = (n C >> 16) - (n >> 9),

    R = (l (Y + move(r, Cr)) + o) >> 16;  G = (l (Y + move(-p, Cb) + move(-q, Cr)) + o) >> 16
    B = (l (Y + move(s, Cb)) + o) >> 16

FFmpeg's libswscale has all three: words where a CPU has vectors (4:2:0 and 4:2:2), steps where not, sums for 4:4:4.
Their numbers follow from its coefficients (libswscale/yuv2rgb.c); each was held against its output for all luma.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pixcodec.origins.luma_chroma import Conversion, LumaChroma

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = tuple[int, int, int, int, int]  # l, r, p, q, s

_LEVEL = np.arange(256, dtype=np.int64)
_ZERO = np.zeros(256, np.int64)


def _sums(name: str, black: int, numbers: Numbers) -> Conversion:
    luma, first, second = _products(black, numbers)
    return Conversion(name, np.stack([luma + 32768, first, second]))


def _words(name: str, black: int, numbers: Numbers) -> Conversion:
    return Conversion(name, np.stack(_products(black, numbers)) >> 16 << 16)


def _steps(name: str, start: int, numbers: Numbers) -> Conversion:
    l, r, p, q, s = numbers
    moves = {number: (number * _LEVEL >> 16) - (number >> 9) for number in (r, -p, -q, s)}
    luma = np.stack([l * _LEVEL + start] * 3, axis=1)
    first, second = np.stack([_ZERO, moves[-p], moves[s]], axis=1), np.stack([moves[r], moves[-q], _ZERO], axis=1)
    return Conversion(name, np.stack([luma, l * first, l * second]))


def _products(black: int, numbers: Numbers) -> list[NDArray[np.int64]]:
    l, r, p, q, s = numbers
    around = _LEVEL - 128
    return [
        np.stack([l * (_LEVEL - black)] * 3, axis=1),
        np.stack([_ZERO, -p * around, s * around], axis=1),
        np.stack([r * around, -q * around, _ZERO], axis=1),
    ]


# libswscale's, by matrix and range: black, numbers of products; start, numbers of steps.
_SWSCALE: dict[str, tuple[int, Numbers, int, Numbers]] = {
    "BT.601": (16, (76312, 104600, 25672, 53280, 132200), -1304898, (76309, 89830, 22049, 45756, 113537)),
    "BT.709": (16, (76312, 117488, 13976, 34928, 138440), -1304898, (76309, 100902, 12001, 29993, 118894)),
    "BT.601, full range": (0, (65536, 91880, 22552, 46800, 116128), 32768, (65536, 91881, 22552, 46800, 116129)),
    "BT.709, full range": (0, (65536, 103208, 12272, 30680, 121608), 32768, (65536, 103206, 12275, 30678, 121608)),
}


class YCbCr(LumaChroma):
    """See this file."""

    number, name = 9, "ycbcr"
    CONVERSIONS = (
        _sums("YCbCr of JPEG", 0, (65536, 91881, 22554, 46802, 116130)),
        # The usual 8-bit numbers, times 256: (298 (Y - 16) + 409 E + 128) >> 8 and so on.
        _sums("YCbCr of BT.601", 16, (298 << 8, 409 << 8, 100 << 8, 208 << 8, 516 << 8)),
        _sums("YCbCr of BT.709", 16, (298 << 8, 459 << 8, 55 << 8, 136 << 8, 541 << 8)),
        _sums("YCbCr of BT.709, full range", 0, (65536, 103206, 12276, 30679, 121609)),
        *(_words(f"YCbCr of {name}, by words", black, numbers) for name, (black, numbers, _, _) in _SWSCALE.items()),
        *(_sums(f"YCbCr of {name}, by sums", black, numbers) for name, (black, numbers, _, _) in _SWSCALE.items()),
        *(_steps(f"YCbCr of {name}, by steps", start, numbers) for name, (_, _, start, numbers) in _SWSCALE.items()),
    )
    LAYOUTS = (((2, 2), True), ((2, 2), False), ((1, 2), True), ((1, 2), False), ((1, 1), True))

    @property
    def unsure(self) -> bool:  # type: ignore[override]
        """Three planes of full size may or may not be easier than red, green and blue."""
        return self.factors == (1, 1)
