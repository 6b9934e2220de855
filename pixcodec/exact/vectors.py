"""Vectors of integers as values of compiled functions: a variable is a register, and operators are its instructions.

A compiled function may hold an `INT32X16` like a number: ``+ - * & | ^ << >>`` and comparisons with another one or with
a number work on all sixteen, and what is here loads, stores and converts.  Comparisons give masks, which `where`
understands.  LLVM splits the vectors for processors with narrower registers; everything is of integers, and so the same
on every processor.  Addresses are integers, as ``array.ctypes.data`` gives them.

What each does is said in `vector_instructions`, which needs numba; here are their names.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pixcodec.exact.compiled import Lazy, compiled


def _instruction(name: str) -> Any:
    """One of `vector_instructions`."""
    return Lazy(lambda: getattr(import_module("pixcodec.exact.vector_instructions"), name))


as_bytes = _instruction("as_bytes")
bits_of = _instruction("bits_of")
byte_sums = _instruction("byte_sums")
bytes_at = _instruction("bytes_at")
chosen = _instruction("chosen")
dot = _instruction("dot")
float_bits = _instruction("float_bits")
gathered = _instruction("gathered")
how_many = _instruction("how_many")
logistics_below = _instruction("logistics_below")
load_int32x16 = _instruction("load_int32x16")
load_int32x4 = _instruction("load_int32x4")
load_uint64x8 = _instruction("load_uint64x8")
lower_halves = _instruction("lower_halves")
lowest = _instruction("lowest")
mask16 = _instruction("mask16")
octaves = _instruction("octaves")
prefetch = _instruction("prefetch")
product = _instruction("product")
ratios = _instruction("ratios")
reciprocals = _instruction("reciprocals")
row_below = _instruction("row_below")
scatter = _instruction("scatter")
shares = _instruction("shares")
spread = _instruction("spread")
spread4 = _instruction("spread4")
store = _instruction("store")
three_dots = _instruction("three_dots")
total = _instruction("total")
where = _instruction("where")


@compiled(_nrt=False, inline="always")
def limited(vector, low, high):  # type: ignore[no-untyped-def]
    """Each element, or the nearest number to it from `low` to `high`."""
    vector = where(vector < low, low, vector)
    return where(vector > high, high, vector)
