"""Rounding in binary32, half to even, in compiled loops: what every layer of a network does after its sums."""

from __future__ import annotations

import numpy as np

from pixcodec.exact.compiled import compiled

ROUND = np.float32(12582912.0)  # 1.5 * 2^23: adding and subtracting it rounds numbers below 2^22


@compiled()
def rescaled(x: float, scale: np.float32, low: np.float32, high: np.float32) -> np.float32:
    """clamp(rint(x * scale), low, high) of an integer below 2^24; `low` and `high` are integers below 2^22."""
    return (min(max(np.float32(x) * scale, low), high) + ROUND) - ROUND
