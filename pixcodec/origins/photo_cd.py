"""Photo CD: Kodak's scans, one luma plane and two chroma planes of a quarter of its size.

Source: measured on the pixels themselves (design/findings.md, section 7); with >> a floor,

    a = (145352 (C1 - 156)) >> 16;  b = (119374 (C2 - 137)) >> 16
    R = (89024 Y + 119374 (C2 - 137)) >> 16
    G = (89024 Y - 12714 a - 33358 b) >> 16
    B = (89024 Y + 145352 (C1 - 156)) >> 16

clipped to 0..255; chroma between samples is their mean, rounded up at one half.
"""

from __future__ import annotations

import numpy as np

from pixcodec.origins.luma_chroma import Conversion, LumaChroma


def _conversion() -> Conversion:
    level, zero = np.arange(256, dtype=np.int64), np.zeros(256, np.int64)
    first, second = 145352 * (level - 156), 119374 * (level - 137)
    tables = [
        np.stack([89024 * level] * 3, axis=1),
        np.stack([zero, -12714 * (first >> 16), first], axis=1),
        np.stack([second, -33358 * (second >> 16), zero], axis=1),
    ]
    return Conversion("Photo CD", np.stack(tables))


class PhotoCD(LumaChroma):
    """See this file."""

    number, name = 8, "photo_cd"
    CONVERSIONS = (_conversion(),)
    LAYOUTS = (((2, 2), False),)
