"""Lists of the values that followed a context, each in 16 bytes: one line of the cache for a sample and a context.

A slot is two words of eight bytes.  The first holds seven values and a check byte of the context's hash, the second the
values' counts, 0 where there is none, and how often the slot was used.  Values that come often move to the front.
Everything is done to all bytes of a word at once (the definition, with plain lists, is in `reference/experts.py`).
"""

from __future__ import annotations

import numpy as np
from numba import njit

VALUES = 7  # of a list
LARGEST_COUNT = 31  # so that seven counts sum to less than a byte holds
MOST_USES = 250

_u = np.uint64
ONES, LOW, HIGH = _u(0x0101010101010101), _u(0x7F7F7F7F7F7F7F7F), _u(0x8080808080808080)
COUNTS = _u(0x00FFFFFFFFFFFFFF)  # all bytes but the last
_LAST = _u(0x0080000000000000)  # the high bit of the seventh byte
_ROUND, _FIVE_BITS = _u(0x0004040404040404), _u(0x001F1F1F1F1F1F1F)
_0, _1, _3, _5, _7, _8, _16, _32, _56 = (_u(n) for n in (0, 1, 3, 5, 7, 8, 16, 32, 56))
_compiled = njit(nogil=True, cache=True, error_model="numpy", _nrt=False)


@_compiled
def hashed(a, b):  # type: ignore[no-untyped-def]
    """32 bits of two numbers, int64."""
    a = (a * 0x2545F491 + b + 0x1234567) & 0xFFFFFFFF
    a ^= a >> 15
    a = (a * 0x9E3779B1) & 0xFFFFFFFF
    return a ^ (a >> 13)


@_compiled
def find(table, context, mask):  # type: ignore[no-untyped-def]
    """The slot of a context, one of two neighbours: the one with its check byte, or the less used one, emptied.

    The other one's uses fall by one, so that no slot is kept for ever.
    """
    check = _u((context >> 24) & 255)
    first = context & mask
    second = first ^ 1
    if (table[first, 0] >> _56) == check and table[first, 1] != _0:
        return first
    if (table[second, 0] >> _56) == check and table[second, 1] != _0:
        return second
    slot = first if table[first, 1] >> _56 <= table[second, 1] >> _56 else second
    other = slot ^ 1
    if table[other, 1] >> _56 > _1:
        table[other, 1] -= _1 << _56
    table[slot, 0] = check << _56
    table[slot, 1] = _0
    return slot


@_compiled
def shifted(values, offset):  # type: ignore[no-untyped-def]
    """All values of a list plus an offset, modulo 256."""
    by = _u(offset) * ONES
    return ((values & LOW) + (by & LOW)) ^ ((values ^ by) & HIGH)


@_compiled
def halves(values, counts, prefix, shift):  # type: ignore[no-untyped-def]
    """Counts of the values whose upper bits are `prefix` and then 0, or 1; `shift` bits follow."""
    differs = (values ^ (_u((prefix << 1) << shift) * ONES)) & (_u(255 << shift & 255) * ONES)
    differs_one = differs ^ (_u(1 << shift) * ONES)
    zero = (((((differs & LOW) + LOW) | differs) & HIGH) ^ HIGH) >> _7
    one = (((((differs_one & LOW) + LOW) | differs_one) & HIGH) ^ HIGH) >> _7
    c0 = counts & ((zero << _8) - zero)
    c1 = counts & ((one << _8) - one)
    c0 += c0 >> _32
    c1 += c1 >> _32
    c0 += c0 >> _16
    c1 += c1 >> _16
    return np.int32((c0 + (c0 >> _8)) & _u(255)), np.int32((c1 + (c1 >> _8)) & _u(255))


@_compiled
def learn(values, counts, value, check):  # type: ignore[no-untyped-def]
    """Both words of a slot after a value came.

    Its count grows by one, to 31 at most; the other counts c lose (c + 4) >> 3.  A value that is not there takes the
    first free place, or the last one.  A value whose count is now at least that of the one before it changes places.
    """
    all_value = _u(value) * ONES
    differs = values ^ all_value
    used = ((counts & LOW) + LOW) & HIGH & COUNTS
    same = ((((differs & LOW) + LOW) | differs) & HIGH ^ HIGH) & used
    free = (used ^ HIGH) & COUNTS | _LAST
    at = same if same != _0 else free & (~free + _1)
    unit = at >> _7
    place = (unit << _8) - unit
    uses = counts >> _56
    counts &= COUNTS
    own = (counts & place if same != _0 else _0) + unit
    own -= (own >> _5) & unit
    counts -= ((counts + _ROUND) >> _3) & _FIVE_BITS
    counts = (counts & ~place) | own
    values = (values & ~place & COUNTS) | (all_value & place)
    overtakes = place if unit > _1 and ((counts << _8) & place) <= own else _0
    counts_differ = ((counts << _8) ^ counts) & overtakes
    values_differ = ((values << _8) ^ values) & overtakes
    counts ^= counts_differ | (counts_differ >> _8)
    values ^= values_differ | (values_differ >> _8)
    return values | (_u(check) << _56), counts | (min(uses + _1, _u(MOST_USES)) << _56)
