"""Decisions that are coded in compiled loops: constriction's words, and those of the definition."""

from __future__ import annotations

import numpy as np
import pytest
from carries import Carries, before_a_carry

from pixcodec import coding
from pixcodec.errors import DamagedTileError
from pixcodec.exact import range_coder
from pixcodec.exact.compiled import compiled
from pixcodec.exact.reference import range_coder as reference
from pixcodec.exact.reference.decisions import Reader, Writer

ALL = 1 << 24


@compiled()
def _put(state: np.ndarray, words: np.ndarray, shares: np.ndarray, bits: np.ndarray) -> None:
    low, size, at = state[0], state[1], state[2]
    for n in range(bits.size):
        low, size, at = range_coder.put_decision(low, size, at, words, shares[n], bits[n])
    state[0], state[1], state[2] = low, size, at


@compiled()
def _take(state: np.ndarray, words: np.ndarray, shares: np.ndarray, bits: np.ndarray) -> None:
    low, size, at = state[0], state[1], state[2]
    for n in range(bits.size):
        bits[n], low, size, at, wrong = range_coder.take_decision(low, size, at, words, shares[n])
        state[3] |= wrong
    state[0], state[1], state[2] = low, size, at


def drawn(random: np.random.Generator, kind: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of 1 in 2^-24, and decisions that they make likely, or not, uint64[n] each."""
    shares = random.integers(1, ALL, n)
    if kind == "extreme":
        shares = random.choice([1, 2, 128, ALL // 2, ALL - 128, ALL - 2, ALL - 1], n)
    if kind == "sure":
        shares = np.full(n, ALL - 1)
    bits = random.integers(0, ALL, n) < shares
    if kind == "unlikely":
        bits = ~bits
    return shares.astype(np.uint64), bits.astype(np.uint64)


def written(shares: np.ndarray, bits: np.ndarray) -> bytes:
    encoder = range_coder.Encoder()
    for part in np.array_split(np.arange(bits.size), 3):
        encoder.room(part.size)
        _put(encoder.state, encoder.words, shares[part], bits[part])
    return encoder.payload()


def read(payload: bytes, shares: np.ndarray) -> list[int] | None:
    """The decisions, or None where the words are refused."""
    decoder, bits = range_coder.Decoder(payload), np.zeros(shares.size, np.uint64)
    _take(decoder.state, decoder.words, shares, bits)
    try:
        decoder.finish()
    except DamagedTileError:
        return None
    return [int(bit) for bit in bits]


def read_by_definition(payload: bytes, shares: np.ndarray) -> list[int] | None:
    decoder = reference.Decoder(np.frombuffer(payload, "<u4").tolist())
    reader = Reader(decoder)
    try:
        bits = [reader.decide(0, int(p)) for p in shares]
        decoder.finish()
    except ValueError:
        return None
    return bits


def constrictions(shares: np.ndarray, bits: np.ndarray) -> bytes:
    """Two symbols, of counts one less than their frequencies."""
    ones, encoder = shares.astype(np.int64), coding.Encoder()
    encoder.encode(bits.astype(np.int32), np.stack([ALL - ones - 1, ones - 1], axis=1).astype(np.float32))
    return encoder.payload()


@pytest.mark.parametrize("kind", ["random", "unlikely", "extreme", "sure"])
def test_words_are_constriction_s_and_the_definition_s(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    carries = Carries(monkeypatch)
    random = np.random.default_rng(len(kind))
    for trial in range(150):
        shares, bits = drawn(random, kind, int(random.integers(1, 300)))
        payload = written(shares, bits)
        encoder = reference.Encoder()
        writer = Writer(encoder)
        for bit, p in zip(bits.tolist(), shares.tolist(), strict=True):
            writer.decide(bit, p)
        assert payload == np.array(encoder.words(), "<u4").tobytes()
        if trial % 3 == 0:
            assert payload == constrictions(shares, bits)
        assert read(payload, shares) == bits.tolist()
    assert carries.count > 3 or kind == "sure"


def test_carries_run_through_words_of_ones() -> None:
    encoder, by_definition = before_a_carry()
    shares, writer = [15, 1, ALL - 1, 1, 1 << 23] * 2, Writer(by_definition)
    for p in shares:
        writer.decide(1, p)
    _put(encoder.state, encoder.words, np.array(shares, np.uint64), np.ones(10, np.uint64))
    words = by_definition.words()
    assert words[:4] == [7, 6, 0, 0]
    assert encoder.payload() == np.array(words, "<u4").tobytes()


def test_words_that_nobody_writes_are_refused_as_by_the_definition() -> None:
    random, refused = np.random.default_rng(5), 0
    for trial in range(400):
        shares, bits = drawn(random, ["random", "unlikely", "extreme"][trial % 3], 60)
        words = np.frombuffer(written(shares, bits), "<u4").copy()
        words[random.integers(words.size)] ^= np.uint32(1 << random.integers(32))
        for damaged in (words, words[:-1], np.append(words, words[:1]), np.full(words.size, 0xFFFFFFFF, np.uint32)):
            found = read(damaged.tobytes(), shares)
            assert found == read_by_definition(damaged.tobytes(), shares)
            refused += found is None
    assert 300 < refused < 1500
