"""Coders whose carry goes into words already written, and how often it does; for tests of what writes words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixcodec.exact import range_coder
from pixcodec.exact.reference import range_coder as reference

if TYPE_CHECKING:
    import pytest

ONES = 0xFFFFFFFF


def before_a_carry() -> tuple[range_coder.Encoder, reference.Encoder]:
    """Two that have written the same, whose last words are full and whose low is about to be."""
    encoder, by_definition = range_coder.Encoder(), reference.Encoder()
    by_definition._words = [7, 5, ONES, ONES]
    by_definition._low, by_definition._range = (ONES << 32) + 9, 1 << 40
    encoder.words[:4] = by_definition._words
    encoder.state[:3] = by_definition._low, by_definition._range, 4
    return encoder, by_definition


class Carries:
    """Counts the carries of the definition's coder from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, carried = 0, reference._carried

        def counted(low: int, words: list[int]) -> tuple[int, list[int]]:
            self.count += low > reference.STATE_MASK
            return carried(low, words)

        monkeypatch.setattr(reference, "_carried", counted)
