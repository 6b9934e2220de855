"""Sigmoid, tanh and logarithm as integers, made by integer arithmetic alone, so that they are the same everywhere.

`sigmoid_gate` and `tanh_gate` take a gate's input, in 1/256, clamped to -8..8: entry x + 2048.  `tanh_cell` takes an
LSTM's cell, in 1/2048, clamped to -8..8: entry c + 16384.  All give 1/4096; only the paper's networks want them.

LOG2 is the logarithm to base 2 of 1 + i/2048, in 1/1024.  SQUASH[k] is 2^24 / (1 + 2^-x) for x = k/32 - 24, from 1 to
2^24 - 1: the probability, in 2^-24, whose odds have the logarithm x.
"""

from __future__ import annotations

from functools import cache
from math import isqrt

import numpy as np

SYMBOLS = 256
LOGIT_UNIT = 256  # logits count 1/256 of a bit, so that int16 reaches 128 bits: sharp networks need more than 32
GATE_UNIT = 256  # of what goes into a gate: 1/256
CELL_UNIT = 2048  # of an LSTM's cell: 1/2048
OPEN = 4096  # an open gate: 1
_RANGE = 8  # both functions are flat beyond
GATE_LIMIT, CELL_LIMIT = _RANGE * GATE_UNIT, _RANGE * CELL_UNIT
_PRECISION = 160


def _powers(count: int, unit: int) -> list[int]:
    """2^160 exp(-k / unit) for k = 0..count, by the series and repeated products."""
    one = 1 << _PRECISION
    base = term = one
    n = 1
    while term:  # the series of exp(-1 / unit), signs alternating
        term //= unit * n
        base += term if n % 2 == 0 else -term
        n += 1
    powers = [one]
    for _ in range(count):
        powers.append(powers[-1] * base >> _PRECISION)
    return powers


def _rounded(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def _tanh(limit: int, unit: int) -> np.ndarray:
    """int32[2 limit + 1]: rint(4096 tanh(x / unit))."""
    one = 1 << _PRECISION
    upper = [_rounded(OPEN * (one - power), one + power) for power in _powers(2 * limit, unit)[::2]]
    return np.array([-value for value in upper[:0:-1]] + upper, np.int32)


def logistic(limit: int, unit: int, top: int) -> np.ndarray:
    """int32[2 limit + 1]: rint(top / (1 + exp(-x / unit)))."""
    one = 1 << _PRECISION
    upper = [_rounded(top * one, one + power) for power in _powers(limit, unit)]
    return np.array([top - value for value in upper[:0:-1]] + upper, np.int32)


@cache
def sigmoid_gate() -> np.ndarray:
    """int32[2 GATE_LIMIT + 1]: SIGMOID."""
    return logistic(GATE_LIMIT, GATE_UNIT, OPEN)


@cache
def tanh_gate() -> np.ndarray:
    """int32[2 GATE_LIMIT + 1]: TANH."""
    return _tanh(GATE_LIMIT, GATE_UNIT)


@cache
def tanh_cell() -> np.ndarray:
    """int32[2 CELL_LIMIT + 1]: TANH_CELL; it takes 10 ms."""
    return _tanh(CELL_LIMIT, CELL_UNIT)


def _log2(entries: int, unit: int) -> np.ndarray:
    """int32[entries]: rint(unit log2(1 + i / entries)), bit by bit: squaring doubles a logarithm."""
    bits, precision = 24, np.uint64(31)  # squares of numbers below 2 fit in 64 bits
    x = (np.arange(entries, 2 * entries, dtype=np.uint64) << precision) // np.uint64(entries)
    digits = np.zeros(entries, np.uint64)
    for _ in range(bits):
        x = x * x >> precision
        carry = x >> precision + np.uint64(1)
        x >>= carry
        digits = (digits << np.uint64(1)) + carry
    return ((digits * np.uint64(2 * unit) + np.uint64(1 << bits)) >> np.uint64(bits + 1)).astype(np.int32)


def _squash(octaves: int, steps: int, top: int) -> np.ndarray:
    """int32[2 octaves steps + 2]: top / (1 + 2^-x) for x = -octaves, and on in steps of 1 / steps."""
    one = 1 << _PRECISION
    root = one << _PRECISION * (steps - 1)  # of 2^-1 in steps: integer roots, steps is a power of two
    root >>= 1
    for _ in range(steps.bit_length() - 1):
        root = isqrt(root)
    power, table = one << octaves, []
    for _ in range(2 * octaves * steps + 2):
        table.append(min(max(_rounded(top * one, one + power), 1), top - 1))
        power = power * root >> _PRECISION
    return np.array(table, np.int32)


LOG_UNIT = 1024  # logarithms count 1/1024 of a bit
LOG2 = _log2(2048, LOG_UNIT)
SQUASH_OCTAVES, SQUASH_STEPS, PROBABILITY_BITS = 24, 32, 24
SQUASH = _squash(SQUASH_OCTAVES, SQUASH_STEPS, 1 << PROBABILITY_BITS)
