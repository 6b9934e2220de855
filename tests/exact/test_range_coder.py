"""The words of docs/format.md, section 6: what the reference writes and reads is what constriction writes and reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from carries import Carries

from pixcodec import coding
from pixcodec.errors import DamagedTileError
from pixcodec.exact.reference import range_coder

if TYPE_CHECKING:
    from collections.abc import Sequence

TOTAL = (1 << 24) - 256
TOP = 1 << 64


def rows(random: np.random.Generator, n: int, kind: int) -> np.ndarray:
    """int64[n, 256] of sum 2^24 - 256: flat, peaked, or all in one symbol but a little."""
    p = random.dirichlet(np.full(256, (1, 0.02, 1e-4)[kind]), n)
    counts = np.floor(p * TOTAL).astype(np.int64)
    counts[np.arange(n), counts.argmax(1)] += TOTAL - counts.sum(1)
    return counts


def reference_words(counts: np.ndarray, symbols: Sequence[int]) -> list[int]:
    encoder = range_coder.Encoder()
    for row, symbol in zip(counts.tolist(), symbols, strict=True):
        encoder.put(row, symbol)
    return encoder.words()


def constriction_words(counts: np.ndarray, symbols: Sequence[int]) -> list[int]:
    encoder = coding.Encoder()
    encoder.encode(np.array(symbols, np.int32), counts.astype(np.float32))
    return np.frombuffer(encoder.payload(), "<u4").tolist()


def read_by_reference(words: Sequence[int], counts: np.ndarray) -> list[int] | None:
    """The symbols, or None where the words are refused."""
    try:
        decoder = range_coder.Decoder(words)
        symbols = [decoder.get(row) for row in counts.tolist()]
        decoder.finish()
    except ValueError:
        return None
    return symbols


def read_by_constriction(words: Sequence[int], counts: np.ndarray) -> list[int] | None:
    try:
        decoder = coding.Decoder(np.array(words, "<u4").tobytes())
        symbols = decoder.decode(counts.astype(np.float32)).tolist()
        decoder.finish()
    except DamagedTileError:
        return None
    return symbols


def test_the_words_of_random_symbols_are_constrictions(monkeypatch: pytest.MonkeyPatch) -> None:
    carries = Carries(monkeypatch)
    random, endings = np.random.default_rng(1), set()
    for trial in range(600):
        counts = rows(random, int(random.integers(1, 9)), trial % 3)
        symbols = random.integers(0, 256, len(counts)).tolist()
        if trial % 2:  # likely ones
            symbols = [int(np.searchsorted(np.cumsum(row), random.integers(TOTAL), side="right")) for row in counts]
        words = reference_words(counts, symbols)
        assert words == constriction_words(counts, symbols)
        assert read_by_reference(words, counts) == symbols
        assert read_by_constriction(words, counts) == symbols
        endings.add(words[-1] == 0)
    assert carries.count > 10
    assert endings == {False, True}


def test_no_symbols_have_no_words() -> None:
    none = np.zeros((0, 256), np.int64)
    assert reference_words(none, []) == constriction_words(none, []) == []


def row_with(below: int, frequency: int) -> list[int]:
    """Counts that give the symbol 100 these numbers."""
    assert below >= 100
    return [below - 100, *[0] * 99, frequency - 1, TOTAL - (below - 100) - (frequency - 1), *[0] * 154]


@pytest.mark.parametrize("held", [1, 2, 5])
@pytest.mark.parametrize("last", ["carry", "no carry", "end"])
def test_a_carry_goes_through_any_number_of_full_words(held: int, last: str) -> None:
    """Symbols of frequency 1, each over the place where low wraps, so that it stays open whether a carry comes."""
    encoder = range_coder.Encoder()
    counts = [row_with(10_000_000, 1)]
    encoder.put(counts[0], 100)
    while len(encoder._words) < held or last != "done":
        low, scale = encoder._low, encoder._range >> 24
        open_now = low + encoder._range > TOP
        place = TOP if open_now else ((low >> 32) + 1) << 32
        below = (place - low) // scale
        if len(encoder._words) == held:
            assert open_now
            below += {"carry": 1, "no carry": -1, "end": 0}[last]
            last = "done"
        counts.append(row_with(below, 1))
        encoder.put(counts[-1], 100)
    table, symbols = np.array(counts), [100] * len(counts)
    words = encoder.words()
    assert words == constriction_words(table, symbols)
    assert read_by_reference(words, table) == read_by_constriction(words, table) == symbols


def test_damaged_words_are_read_alike_or_refused_alike() -> None:
    random, refused = np.random.default_rng(2), 0
    for trial in range(300):
        counts = rows(random, int(random.integers(1, 9)), trial % 3)
        words = reference_words(counts, random.integers(0, 256, len(counts)).tolist())
        words[random.integers(len(words))] ^= 1 << int(random.integers(32))
        for damaged in (words, words[:-1], [*words, 0], [*words, 0, 0], [2**32 - 1] * len(words)):
            symbols = read_by_reference(damaged, counts)
            assert symbols == read_by_constriction(damaged, counts)
            refused += symbols is None
    assert refused > 300
