"""Decisions of a group of lanes to words, in Python's integers (the definition; see `exact.joint_decisions`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pixcodec.exact.reference.experts import Coder

ALL, NEARLY, CHUNK = 1 << 24, 1 << 18, 16


def decide(bits: Sequence[int], shares: Sequence[int], coder: Coder) -> list[int]:
    """Decisions, `bits` if they are written, by the probabilities of 1 in 2^-24.

    First it is said of all that are nearly certain whether each is the likely one.
    """
    likely, most = [p >> 23 for p in shares], [max(p, ALL - p) for p in shares]
    sure = [k for k, p in enumerate(most) if p > ALL - NEARLY]
    made = dict[int, int]()
    if sure:
        joint = joint_probability(sure, most)
        if coder.decide(int(all(bits[k] == likely[k] for k in sure)), joint):
            made = {k: likely[k] for k in sure}
        else:
            made = _missed(sure, bits, likely, most, joint, coder)
    for k, p in enumerate(shares):
        if k not in made:
            made[k] = coder.decide(bits[k], p)
    return [made[k] for k in range(len(shares))]


def joint_probability(sure: Sequence[int], most: Sequence[int]) -> int:
    """That all of these come as is likely, by the probabilities of that: products of every sixteenth, then of these."""
    parts = [ALL] * CHUNK
    for k in sure:
        parts[k % CHUNK] = parts[k % CHUNK] * most[k] >> 24
    joint = ALL
    for part in parts:
        joint = joint * part >> 24
    return joint


def _missed(
    sure: Sequence[int], bits: Sequence[int], likely: Sequence[int], most: Sequence[int], joint: int, coder: Coder
) -> dict[int, int]:
    """The decisions up to the first that is not the likely one, knowing that there is one; the last is certain."""
    made = dict[int, int]()
    for k in sure[:-1]:
        ones = most[k] - joint if likely[k] else ALL - most[k]
        made[k] = coder.decide(bits[k], (ones << 24) // (ALL - joint))
        if made[k] != likely[k]:
            return made
        joint = (joint << 24) // most[k]
    return {**made, sure[-1]: 1 - likely[sure[-1]]}
