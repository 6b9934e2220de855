"""The coder that is compiled into loops writes constriction's words and reads them."""

from __future__ import annotations

import numpy as np
import pytest
from carries import before_a_carry

from pixcodec import coding
from pixcodec.errors import DamagedTileError
from pixcodec.exact import range_coder
from pixcodec.exact.compiled import compiled
from pixcodec.exact.frequencies import class_counts, class_table, row_size, symbol_counts
from pixcodec.exact.network import residual_classes


@compiled()
def _put(state: np.ndarray, words: np.ndarray, below: np.ndarray, sizes: np.ndarray) -> None:
    for n in range(below.size):
        range_coder.put(state, words, below[n], sizes[n])


@compiled()
def _get(state: np.ndarray, words: np.ndarray, counts: np.ndarray, symbols: np.ndarray) -> None:
    for n in range(symbols.size):
        point, below, v = range_coder.quantile(state), 0, 0
        while below + counts[n, v] + 1 <= point:
            below += counts[n, v] + 1
            v += 1
        range_coder.advance(state, words, below, counts[n, v] + 1)
        symbols[n] = v


def rows(random: np.random.Generator, n: int, levels: int, kind: int) -> np.ndarray:
    """int64[n, levels] of sum 2^24 - levels: flat, peaked, or all in one symbol but a little."""
    p = random.dirichlet(np.full(levels, (1, 0.02, 1e-4)[kind]), n)
    total = (1 << 24) - levels
    counts = np.floor(p * total).astype(np.int64)
    counts[np.arange(n), counts.argmax(1)] += total - counts.sum(1)
    return counts


def written(counts: np.ndarray, symbols: np.ndarray) -> bytes:
    encoder, at = range_coder.Encoder(), np.arange(len(symbols))
    sizes = counts + 1
    below = (np.cumsum(sizes, axis=1) - sizes)[at, symbols]
    for part in np.array_split(at, 3):
        encoder.room(len(part))
        _put(encoder.state, encoder.words, below[part], sizes[at, symbols][part])
    return encoder.payload()


def constrictions(counts: np.ndarray, symbols: np.ndarray) -> bytes:
    encoder = coding.Encoder()
    encoder.encode(symbols.astype(np.int32), counts.astype(np.float32))
    return encoder.payload()


@pytest.mark.parametrize("levels", [2, 256])
@pytest.mark.parametrize("kind", [0, 1, 2])
def test_words_are_constriction_s(levels: int, kind: int) -> None:
    random = np.random.default_rng([levels, kind])
    for trial in range(150):
        counts = rows(random, int(random.integers(1, 40)), levels, kind)
        symbols = random.integers(0, levels, len(counts))
        if trial % 2:  # likely ones
            points = random.integers(0, 1 << 24, len(counts))
            symbols = (np.cumsum(counts + 1, axis=1) <= points[:, None]).sum(axis=1)
        payload = constrictions(counts, symbols)
        assert written(counts, symbols) == payload
        decoder, found = range_coder.Decoder(payload), np.empty(len(symbols), np.int64)
        _get(decoder.state, decoder.words, counts, found)
        decoder.finish()
        np.testing.assert_array_equal(found, symbols)


@pytest.mark.parametrize("edges", [[1], [25, 27, 30, 36, 48, 64, 96], list(range(1, 256))], ids=str)
def test_rows_are_put_and_taken_as_constriction_does(edges: list[int]) -> None:
    random = np.random.default_rng(len(edges))
    classes = class_table(residual_classes({"output": "residual", "edges": edges}))
    for spread in (0, 300, 3000, 20000):
        logits = np.clip(np.rint(random.normal(0, spread, (50, classes.number))), -32767, 32767).astype(np.int16)
        centres, symbols = random.integers(0, 256, (2, 50)).astype(np.int32)
        own, single = np.empty((50, row_size(classes.number)), np.int32), np.empty((50, 256), np.float32)
        class_counts(logits, centres, classes, 256, own)
        symbol_counts(own, centres, classes, single)
        counts, encoder, costs = single.astype(np.int64), range_coder.Encoder(), np.zeros(51)
        encoder.room(50)
        range_coder.put_rows(own, centres, classes, symbols, encoder.state, encoder.words, costs)
        assert encoder.payload() == constrictions(counts, symbols)
        bits = 24 - np.log2(counts[np.arange(50), symbols] + 1)
        np.testing.assert_allclose(costs, [*bits, bits.sum()])
        decoder, found = range_coder.Decoder(encoder.payload()), np.empty(50, np.int32)
        range_coder.take_rows(own, centres, classes, decoder.state, decoder.words, found)
        decoder.finish()
        np.testing.assert_array_equal(found, symbols)


def test_carries_run_through_words_of_ones() -> None:
    encoder, by_definition = before_a_carry()
    counts = np.array([[(1 << 24) - 17, 15]] * 9)
    for row in counts.tolist():
        by_definition.put(row, 1)
    sizes = counts + 1
    _put(encoder.state, encoder.words, sizes[:, 0], sizes[:, 1])
    words = by_definition.words()
    assert words[:4] == [7, 6, 0, 0]
    assert encoder.payload() == np.array(words, "<u4").tobytes()


def test_no_symbols_are_no_words() -> None:
    assert range_coder.Encoder().payload() == b""
    range_coder.Decoder(b"").finish()


def test_words_that_nobody_writes_are_refused_as_constriction_refuses_them() -> None:
    random = np.random.default_rng(5)
    refused = 0
    for trial in range(600):
        counts = rows(random, 12, 256, trial % 3)
        symbols = random.integers(0, 256, len(counts))
        words = np.frombuffer(constrictions(counts, symbols), "<u4").copy()
        if trial % 3 == 0:
            words[random.integers(words.size)] ^= np.uint32(1 << random.integers(32))
        elif trial % 3 == 1:
            words = words[:-1] if trial % 2 else np.concatenate([words, words[:1]])
        else:
            words[0] = 0xFFFFFFFF
        results = []
        for decode in (by_constriction, compiled):
            try:
                results.append(decode(words.tobytes(), counts))
            except DamagedTileError:
                results.append(None)
        assert results[0] == results[1]
        refused += results[0] is None
    assert 50 < refused < 600


def by_constriction(payload: bytes, counts: np.ndarray) -> list[int]:
    decoder = coding.Decoder(payload)
    symbols: list[int] = decoder.decode(counts.astype(np.float32)).tolist()
    decoder.finish()
    return symbols


def compiled(payload: bytes, counts: np.ndarray) -> list[int]:
    decoder, symbols = range_coder.Decoder(payload), np.empty(len(counts), np.int64)
    _get(decoder.state, decoder.words, counts, symbols)
    decoder.finish()
    return symbols.tolist()


def test_half_a_word_is_refused() -> None:
    with pytest.raises(DamagedTileError, match="whole words"):
        range_coder.Decoder(b"12345")
