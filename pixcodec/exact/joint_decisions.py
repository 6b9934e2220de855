"""Decisions of lanes to words, those that are nearly certain as one: whether each of them comes as is likely.

Every call of the coder loses what its range has beyond a multiple of 2^24, so what says little should not take a call.
Where one comes otherwise, it and the likely ones before it are coded by what is then known, the others as they are.
`reference/joint_decisions.py` is the definition.
"""

from __future__ import annotations

import numpy as np

from pixcodec.exact.compiled import compiled
from pixcodec.exact.emit import LANES
from pixcodec.exact.expert_memory import BIT, SHARE, VALUE, lanes_at, present, vectors_of
from pixcodec.exact.range_coder import put_decision, take_decision
from pixcodec.exact.tables import PROBABILITY_BITS
from pixcodec.exact.vectors import bits_of, load_int32x16, lowest, mask16, product, spread, store, where

NEARLY = 1 << (PROBABILITY_BITS - 6)  # a less likely decision than this is nearly impossible
_ALL = 1 << PROBABILITY_BITS
_UNIT = 2.0**-PROBABILITY_BITS
_u = np.uint64
_inlined = compiled(_nrt=False, inline="always")


@_inlined
def _one(decoding, wanted, p, state, words):  # type: ignore[no-untyped-def]
    """A decision, `wanted` if it is written, by the probability p of 1, and the coder's state after it."""
    low, size, at, wrong = state
    if decoding:
        bit, low, size, at, misfit = take_decision(low, size, at, words, _u(p))
        wrong |= misfit
    else:
        bit = _u(wanted)
        low, size, at = put_decision(low, size, at, words, _u(p), bit)
    return np.int64(bit), (low, size, at, wrong)


@_inlined
def _missed(lanes, left, joint, place, decoding, state, words):  # type: ignore[no-untyped-def]
    """Code the first of these lanes' decisions, of which not all are likely ones, up to one that is not.

    `joint` is the probability that all were; the lanes that remain, and the coder's state.
    """
    going = True
    while going:
        k = lowest(left)
        left &= left - 1
        p = np.int64(lanes[SHARE, k])
        bit = likely = p >> (PROBABILITY_BITS - 1)
        most = p if likely else _ALL - p
        if left:  # it may be a later one
            ones = most - joint if likely else _ALL - most
            p = np.int64((_u(ones) << _u(PROBABILITY_BITS)) // _u(_ALL - joint))
            bit, state = _one(decoding, (lanes[VALUE, k] >> place) & 1, p, state, words)
            joint = np.int64((_u(joint) << _u(PROBABILITY_BITS)) // _u(most))
            going = bit == likely
        else:
            bit = 1 - likely
            going = False
        lanes[BIT, k] = np.int32(bit)
    return left, state


@_inlined
def decide(number, place, decoding, coder, words, work):  # type: ignore[no-untyped-def]
    """Code a decision of each of the first lanes, by its probability: this bit of its value."""
    lanes, state = work.lanes, (coder[0], coder[1], coder[2], coder[3])
    together = spread(_ALL)
    sure = missed = others = 0
    for v in range(vectors_of(number)):
        there = mask16(present(number, v))
        share = load_int32x16(lanes_at(work, SHARE, v))
        likely = share >> (PROBABILITY_BITS - 1)
        most = where(likely == 0, _ALL - share, share)
        nearly = there & (most > _ALL - NEARLY)
        together = product(together, where(nearly, most, _ALL), PROBABILITY_BITS)
        store(lanes_at(work, BIT, v), where(there, likely, 0))
        wrong = nearly & (likely != (load_int32x16(lanes_at(work, VALUE, v)) >> place) & 1)
        sure |= bits_of(nearly) << (LANES * v)
        missed |= bits_of(wrong) << (LANES * v)
        others |= (present(number, v) & ~bits_of(nearly)) << (LANES * v)
    if sure:
        store(work.joint.ctypes.data, together)
        joint = np.int64(work.joint[0])
        for i in range(1, LANES):
            joint = (joint * np.int64(work.joint[i])) >> PROBABILITY_BITS
        all_likely, state = _one(decoding, missed == 0, joint, state, words)
        if all_likely == 0:
            left, state = _missed(lanes, sure, joint, place, decoding, state, words)
            others |= left
    while others:
        k = lowest(others)
        others &= others - 1
        bit, state = _one(decoding, (lanes[VALUE, k] >> place) & 1, lanes[SHARE, k], state, words)
        lanes[BIT, k] = np.int32(bit)
    coder[0], coder[1], coder[2], coder[3] = state
    for v in range(vectors_of(number)):
        share = load_int32x16(lanes_at(work, SHARE, v))
        store(lanes_at(work, SHARE, v), where(load_int32x16(lanes_at(work, BIT, v)) == 0, _ALL - share, share))
    for k in range(number):
        work.spent[k] *= _UNIT * np.float64(lanes[SHARE, k])
