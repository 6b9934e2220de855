"""Logits to frequencies: an integer softmax by table, restricted to the possible symbols.

Class j covers the residuals starts[j]..ends[j] around the rounded centre q of its pixel (with the raw output q = 0 and
every symbol is its own class); each symbol has the logit of its class.  With logits in 1/1024 of a bit and `top` the
largest of the classes that some symbol 0..255 belongs to,

    w_j = EXP2[d mod 1024] >> (d div 1024)   with d = top - logit_j,        T = sum over the 256 symbols of w
    count = (w * floor((2^24 - 256) 2^28 / T)) >> 28

and what is missing to the sum 2^24 - 256 goes to the first symbol with the largest count.  The coder adds 1 to each.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pixcodec.exact.network import LOGIT_UNIT, SYMBOLS

TOTAL = (1 << 24) - SYMBOLS  # sum of the counts of a row
EXP2_BITS = 24
SHIFT = 28


def _exp2_table() -> np.ndarray:
    """int64[1024]: 2^(24 - f / 1024), rounded, by integer arithmetic only: the root by ten integer square roots."""
    from math import isqrt

    precision = 160
    root = 1 << (precision << 10) - 1  # 2^(1024 precision - 1): its 1024th root is 2^precision 2^(-1/1024)
    for _ in range(10):
        root = isqrt(root)
    table, power = np.empty(LOGIT_UNIT, np.int64), 1 << precision
    drop = precision - EXP2_BITS
    for f in range(LOGIT_UNIT):
        table[f] = (power + (1 << drop - 1)) >> drop
        power = power * root >> precision
    return table


EXP2 = _exp2_table()


def class_intervals(classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last residual of each class, from the class of each residual -255..255 (ascending)."""
    numbers = np.arange(int(classes.max()) + 1)
    starts = np.searchsorted(classes, numbers, side="left") - 255
    ends = np.searchsorted(classes, numbers, side="right") - 256
    return starts, ends


@njit(nogil=True, cache=True, error_model="numpy")
def counts_of_logits(logits, centres, starts, ends, exp2, counts):  # type: ignore[no-untyped-def]
    """Fill `counts`, float32[n, 256] holding integers of sum 2^24 - 256, from int16[n, classes] and centres int[n]."""
    classes = starts.size
    w = np.empty(classes, np.int64)
    for i in range(logits.shape[0]):
        q = np.int64(centres[i])
        low, high = 0, classes - 1
        while ends[low] < -q:
            low += 1
        while starts[high] > 255 - q:
            high -= 1
        top = np.int64(logits[i, low])
        for j in range(low + 1, high + 1):
            top = max(top, np.int64(logits[i, j]))
        total = np.int64(0)
        for j in range(low, high + 1):
            d = top - np.int64(logits[i, j])
            w[j] = exp2[d & (LOGIT_UNIT - 1)] >> min(d // LOGIT_UNIT, 63)
            total += w[j] * (min(ends[j], 255 - q) - max(starts[j], -q) + 1)
        reciprocal = (np.int64(TOTAL) << SHIFT) // total
        rest, largest, at = np.int64(TOTAL), np.int64(-1), 0
        for j in range(low, high + 1):
            count = (w[j] * reciprocal) >> SHIFT
            begin, end = max(starts[j], -q) + q, min(ends[j], 255 - q) + q
            rest -= count * (end - begin + 1)
            if count > largest:
                largest, at = count, begin
            value = np.float32(count)
            for v in range(begin, end + 1):
                counts[i, v] = value
        counts[i, at] = np.float32(largest + rest)


@njit(nogil=True, cache=True, error_model="numpy")
def code_length(counts, symbols):  # type: ignore[no-untyped-def]
    """Bits that an ideal coder spends on `symbols` with these counts (for reports, never for coding)."""
    bits = 0.0
    for i in range(symbols.size):
        bits += 24.0 - np.log2(np.float64(counts[i, symbols[i]]) + 1.0)
    return bits
