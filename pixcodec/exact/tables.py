"""Sigmoid and tanh as integers, made by integer arithmetic alone, so that they are the same everywhere.

SIGMOID and TANH take a gate's input, in 1/256, clamped to -8..8: entry x + 2048.  TANH_CELL takes an LSTM's cell, in
1/2048, clamped to -8..8: entry c + 16384.  All give 1/4096.
"""

from __future__ import annotations

import numpy as np

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


SIGMOID = logistic(GATE_LIMIT, GATE_UNIT, OPEN)
TANH = _tanh(GATE_LIMIT, GATE_UNIT)
TANH_CELL = _tanh(CELL_LIMIT, CELL_UNIT)
