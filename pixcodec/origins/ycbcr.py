"""YCbCr, as video and JPEG have it: luma, and chroma of full or lower resolution, replicated or interpolated.

Each conversion is, with D = Cb - 128, E = Cr - 128 and integers of 2^-16,

    R = (l (Y - black) + r E + 2^15) >> 16
    G = (l (Y - black) - p D - q E + 2^15) >> 16
    B = (l (Y - black) + s D + 2^15) >> 16
"""

from __future__ import annotations

import numpy as np

from pixcodec.origins.luma_chroma import Conversion, LumaChroma


def _conversion(name: str, black: int, numbers: tuple[int, int, int, int, int]) -> Conversion:
    luma, red, green_first, green_second, blue = numbers
    level, zero = np.arange(256, dtype=np.int64), np.zeros(256, np.int64)
    around = level - 128
    tables = [
        np.stack([luma * (level - black) + 32768] * 3, axis=1),
        np.stack([zero, -green_first * around, blue * around], axis=1),
        np.stack([red * around, -green_second * around, zero], axis=1),
    ]
    return Conversion(name, np.stack(tables))


class YCbCr(LumaChroma):
    """See this file."""

    number, name = 9, "ycbcr"
    CONVERSIONS = (
        _conversion("YCbCr of JPEG", 0, (65536, 91881, 22554, 46802, 116130)),
        # The usual 8-bit numbers, times 256: (298 (Y - 16) + 409 E + 128) >> 8 and so on.
        _conversion("YCbCr of BT.601", 16, (298 << 8, 409 << 8, 100 << 8, 208 << 8, 516 << 8)),
        _conversion("YCbCr of BT.709", 16, (298 << 8, 459 << 8, 55 << 8, 136 << 8, 541 << 8)),
        _conversion("YCbCr of BT.709, full range", 0, (65536, 103206, 12276, 30679, 121609)),
    )
    LAYOUTS = (((2, 2), True), ((2, 2), False), ((1, 2), True), ((1, 2), False), ((1, 1), True))

    @property
    def unsure(self) -> bool:  # type: ignore[override]
        """Three planes of full size may or may not be easier than red, green and blue."""
        return self.factors == (1, 1)
