"""Counts to the words of a tile and back, in Python's integers (the definition; constriction gives the same words).

A symbol has the frequency f = its count + 1 of 2^24 and `below`, the sum of the frequencies of the symbols before it.
An interval [low, low + range) of 64 bit numbers begins at low = 0, range = 2^64 - 1.  Each symbol makes it

    scale = range >> 24;   low += scale * below;   range = scale * f

where a carry out of low goes into the words already written.  Once range < 2^32, the upper word of low is written, and
low and range move up by 32 bits.  The end is the upper word of low + 2^32 - 1, and a zero word if the upper word of
low + range is the same: any words could follow.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PRECISION = 24
WORD, STATE = 32, 64
WORD_MASK, STATE_MASK = (1 << WORD) - 1, (1 << STATE) - 1


def interval(counts: Sequence[int], symbol: int) -> tuple[int, int]:
    """`below` and frequency of a symbol."""
    return sum(counts[:symbol]) + symbol, counts[symbol] + 1


class Encoder:
    """Symbols to words."""

    def __init__(self) -> None:
        """Start with no words."""
        self._low, self._range, self._words = 0, STATE_MASK, list[int]()

    def put(self, counts: Sequence[int], symbol: int) -> None:
        """Append a symbol by its counts, of sum 2^24 - their number."""
        self.put_interval(*interval(counts, symbol))

    def put_interval(self, below: int, frequency: int) -> None:
        """Append an interval of 2^24."""
        scale = self._range >> PRECISION
        self._low, self._words = _carried(self._low + scale * below, self._words)
        self._range = scale * frequency
        if self._range >> WORD == 0:
            self._words.append(self._low >> WORD)
            self._low = self._low << WORD & STATE_MASK
            self._range <<= WORD

    def words(self) -> list[int]:
        """All words of what was put, each below 2^32."""
        if self._range == STATE_MASK:
            return []
        point, words = _carried(self._low + WORD_MASK, list(self._words))
        last = point >> WORD
        after = (self._low + self._range & STATE_MASK) >> WORD
        return [*words, last, 0] if after == last else [*words, last]


def _carried(low: int, words: list[int]) -> tuple[int, list[int]]:
    """`low` without its carry, and the words with it."""
    if low <= STATE_MASK:
        return low, words
    at = len(words) - 1
    while words[at] == WORD_MASK:
        words[at] = 0
        at -= 1
    words[at] += 1
    return low & STATE_MASK, words


class Decoder:
    """Words to symbols.  Beyond the last word it reads zeros."""

    def __init__(self, words: Sequence[int]) -> None:
        """Start with the first two words.  What is followed is `_ahead`, the point they say minus low."""
        self._words, self._next = words, 0
        self._range = STATE_MASK
        self._ahead = self._read() << WORD
        self._ahead |= self._read()

    def _read(self) -> int:
        self._next += 1
        return self._words[self._next - 1] if self._next <= len(self._words) else 0

    def get(self, counts: Sequence[int]) -> int:
        """The next symbol; `ValueError` where the words fit none."""
        quantile = self.point()
        symbol = next(v for v, end in enumerate(accumulate(count + 1 for count in counts)) if quantile < end)
        self.take(*interval(counts, symbol))
        return symbol

    def point(self) -> int:
        """Where in 0..2^24 - 1 the words point; `ValueError` where it is nowhere."""
        quantile = self._ahead // (self._range >> PRECISION)
        if quantile >> PRECISION:
            raise ValueError("the words fit no symbol")
        return quantile

    def take(self, below: int, frequency: int) -> None:
        """Go on behind an interval of 2^24 with the point in it."""
        scale = self._range >> PRECISION
        self._ahead -= scale * below
        self._range = scale * frequency
        if self._range >> WORD == 0:
            self._ahead = self._ahead << WORD | self._read()
            self._range <<= WORD

    def finish(self) -> None:
        """`ValueError` where words are left over, or the point is farther from low than an encoder's can be."""
        begun = self._range != STATE_MASK
        if self._next < len(self._words) or (begun and self._ahead >= 2 * (1 << WORD) - 1):
            raise ValueError("words are left over")
