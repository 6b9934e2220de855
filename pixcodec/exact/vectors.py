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


def _instruction(name: str, *arguments: Any) -> Any:
    """One of `vector_instructions`, or what a function there makes of arguments."""

    def make() -> Any:
        found = getattr(import_module("pixcodec.exact.vector_instructions"), name)
        return found(*arguments) if arguments else found

    return Lazy(make)


as_bytes = _instruction("as_bytes")
as_words = _instruction("as_words")
dot = _instruction("dot")
element = _instruction("element")
flags = _instruction("flags")
float_bits = _instruction("float_bits")
how_many = _instruction("how_many")
joined = _instruction("joined")
load_int32x16 = _instruction("load_int32x16")
load_int32x8 = _instruction("load_int32x8")
load_uint64x8 = _instruction("load_uint64x8")
lower_halves = _instruction("lower_halves")
mask16 = _instruction("mask16")
mask8 = _instruction("mask8")
octaves = _instruction("octaves")
prefetch = _instruction("prefetch")
product = _instruction("product")
reciprocals = _instruction("reciprocals")
spread = _instruction("spread")
store = _instruction("store")
three = _instruction("three")
where = _instruction("where")


def pairs_of(count: int) -> Lazy:
    """See `vector_instructions.pairs_of`."""
    return _instruction("pairs_of", count)


def setter_of(count: int) -> Lazy:
    """See `vector_instructions.setter_of`."""
    return _instruction("setter_of", count)


@compiled(_nrt=False, inline="always")
def limited(vector, low, high):  # type: ignore[no-untyped-def]
    """Each element, or the nearest number to it from `low` to `high`."""
    vector = where(vector < low, low, vector)
    return where(vector > high, high, vector)
