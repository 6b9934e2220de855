"""Lists of the values that followed a context, each in 16 bytes: one line of the cache for a sample and a context.

A slot is two words of eight bytes.  The first holds seven values and a check byte of the context's hash, the second the
values' counts, 0 where there is none, and how often the slot was used.  Values that come often move to the front.
Everything is done to all bytes of a word at once (the definition, with plain lists, is in `reference/experts.py`).
"""

from __future__ import annotations

import numpy as np

from pixcodec.exact.compiled import compiled
from pixcodec.exact.vectors import as_bytes, byte_sums, where

VALUES = 7  # of a list
LARGEST_COUNT = 31  # so that seven counts sum to less than a byte holds
MOST_USES = 250

_u = np.uint64
ONES, LOW, HIGH = _u(0x0101010101010101), _u(0x7F7F7F7F7F7F7F7F), _u(0x8080808080808080)
COUNTS = _u(0x00FFFFFFFFFFFFFF)  # all bytes but the last
_LAST = _u(0x0080000000000000)  # the high bit of the seventh byte
_ROUND, _FIVE_BITS, _ALL = _u(0x0004040404040404), _u(0x001F1F1F1F1F1F1F), _u(0xFFFFFFFFFFFFFFFF)
_0, _1, _24, _56, _255 = _u(0), _u(1), _u(24), _u(56), _u(255)
_compiled = compiled(_nrt=False)


@_compiled
def find(table, start, context, mask):  # type: ignore[no-untyped-def]
    """Where a context's slot is, one of two neighbours: the one with its check byte, or the less used one, emptied.

    The other one's uses fall by one, so that no slot is kept for ever.  A table is uint64[], two words a slot, from
    `start` on; `mask` is the number of its slots less 1.
    """
    check = (context >> _24) & _255
    first = np.int64(start) + 2 * np.int64(context & _u(mask))
    second = first ^ 2
    if (table[_u(first)] >> _56) == check and table[_u(first + 1)] != _0:
        return first
    if (table[_u(second)] >> _56) == check and table[_u(second + 1)] != _0:
        return second
    slot = first if table[_u(first + 1)] >> _56 <= table[_u(second + 1)] >> _56 else second
    other = slot ^ 2
    if table[_u(other + 1)] >> _56 > _1:
        table[_u(other + 1)] -= _1 << _56
    table[_u(slot)] = check << _56
    table[_u(slot + 1)] = _0
    return slot


@_compiled
def shifted(values, offsets):  # type: ignore[no-untyped-def]
    """All values of eight lists plus an offset each, modulo 256."""
    by = offsets * ONES
    return ((values & LOW) + (by & LOW)) ^ ((values ^ by) & HIGH)


@_compiled
def halves(values, counts, prefix, shift):  # type: ignore[no-untyped-def]
    """Counts of the values of eight lists whose upper bits are `prefix` and then 0, or 1; `shift` bits follow."""
    differs, places = (as_bytes(values) ^ (prefix << 1 << shift)) & (255 << shift), as_bytes(counts)
    return byte_sums(where(differs == 0, places, 0)), byte_sums(where(differs == 1 << shift, places, 0))


@_compiled
def learn(values, counts, value):  # type: ignore[no-untyped-def]
    """Both words of eight slots after a value came to each; the check bytes stay.

    Its count grows by one, to 31 at most; the other counts c lose (c + 4) >> 3.  A value that is not there takes the
    first free place, or the last one.  A value whose count is now at least that of the one before it changes places.
    """
    all_value = value * ONES
    differs = values ^ all_value
    used = ((counts & LOW) + LOW) & HIGH & COUNTS
    same = ((((differs & LOW) + LOW) | differs) & HIGH ^ HIGH) & used
    free = (used ^ HIGH) & COUNTS | _LAST
    at = where(same != 0, same, free & (0 - free))
    unit = at >> 7
    place = (unit << 8) - unit
    uses, held = counts >> 56, counts & COUNTS
    own = where(same != 0, held & place, 0) + unit
    own -= (own >> 5) & unit
    held -= ((held + _ROUND) >> 3) & _FIVE_BITS
    held = (held & (place ^ _ALL)) | own
    values = (values & (place ^ _ALL)) | (all_value & place)
    overtakes = where(((held << 8) & place) > own, 0, where(unit > 1, place, 0))
    held_differ = ((held << 8) ^ held) & overtakes
    values_differ = ((values << 8) ^ values) & overtakes
    held ^= held_differ | (held_differ >> 8)
    values ^= values_differ | (values_differ >> 8)
    return values, held | (where(uses > MOST_USES - 1, MOST_USES, uses + 1) << 56)
