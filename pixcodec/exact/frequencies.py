"""Logits to frequencies: an integer softmax by table, restricted to the possible symbols.

Class j covers the residuals starts[j]..ends[j] around the rounded centre q of its pixel (with the raw output q = 0 and
every symbol is its own class); each symbol has the logit of its class.  With logits in 1/256 of a bit and `top` the
largest of the classes that some symbol 0..255 belongs to,

    w_j = EXP2[d mod 256] >> (d div 256)   with d = top - logit_j,        T = sum over the 256 symbols of w
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
    """int64[256]: 2^(24 - f / 256), rounded, by integer arithmetic only: the root by eight integer square roots."""
    from math import isqrt

    precision = 160
    root = 1 << (precision << 8) - 1  # 2^(256 precision - 1): its 256th root is 2^precision 2^(-1/256)
    for _ in range(8):
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
    """Fill `counts`, float32[n, s] holding integers of sum 2^24 - s, from int16[n, classes] and centres int[n].

    There are s = 256 symbols; bilevel images have 2, each its own class, and the centre 0.
    """
    classes, lowest, last = starts.size, np.int64(-(1 << 15)), np.int64(counts.shape[1] - 1)
    whole = np.int64((1 << 24) - counts.shape[1])
    weight, number = np.empty(classes, np.int64), np.empty(classes, np.int64)
    for i in range(logits.shape[0]):
        q, row, out = np.int64(centres[i]), logits[i], counts[i]
        top = lowest
        for j in range(classes):
            number[j] = max(min(ends[j], last - q) - max(starts[j], -q) + 1, 0)  # symbols of the class
            top = max(top, np.int64(row[j]) if number[j] > 0 else lowest)
        for j in range(classes):
            d = max(top - np.int64(row[j]), np.int64(0))  # negative only where the class has no symbol
            weight[j] = exp2[d & (LOGIT_UNIT - 1)] >> min(d // LOGIT_UNIT, 63)
        total = np.int64(0)
        for j in range(classes):
            total += weight[j] * number[j]
        reciprocal = (whole << SHIFT) // total
        rest, largest = whole, np.int64(-1)
        for j in range(classes):
            weight[j] = (weight[j] * reciprocal) >> SHIFT
            rest -= weight[j] * number[j]
            largest = max(largest, weight[j] if number[j] > 0 else np.int64(-1))
        v = 0
        for j in range(classes):  # classes ascend, and so do their symbols
            if number[j] == 1:
                out[v] = np.float32(weight[j])
            elif number[j] > 1:
                out[v : v + number[j]] = np.float32(weight[j])
            v += number[j]
        j = 0
        while number[j] == 0 or weight[j] != largest:
            j += 1
        out[max(starts[j], -q) + q] = np.float32(largest + rest)


@njit(nogil=True, cache=True, error_model="numpy")
def code_length(counts, symbols):  # type: ignore[no-untyped-def]
    """Bits that an ideal coder spends on `symbols` with these counts (for reports, never for coding)."""
    bits = 0.0
    for i in range(symbols.size):
        bits += 24.0 - np.log2(np.float64(counts[i, symbols[i]]) + 1.0)
    return bits


@njit(nogil=True, cache=True, error_model="numpy")
def code_lengths(counts, symbols):  # type: ignore[no-untyped-def]
    """float64[lanes]: `code_length` of each symbol."""
    bits = np.empty(symbols.size)
    for i in range(symbols.size):
        bits[i] = 24.0 - np.log2(np.float64(counts[i, symbols[i]]) + 1.0)
    return bits
