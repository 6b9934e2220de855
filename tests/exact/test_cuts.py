"""Symbols by mixtures: the words of the definition, and every symbol comes back."""

from __future__ import annotations

import numpy as np
import pytest
from test_logistics import drawn

from pixcodec.exact import cuts, range_coder
from pixcodec.exact.frequencies import class_table
from pixcodec.exact.reference import logistics
from pixcodec.exact.reference import range_coder as reference
from pixcodec.exact.rows import MIXTURES

TABLE = class_table(np.arange(511))  # which mixtures do not ask
HEIGHT = 45


def column(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Outputs int16[n, 9], their rows, centres and symbols of the pixels that a step has in all of HEIGHT rows."""
    outputs, centres, symbols = drawn(HEIGHT, seed)
    rows = MIXTURES.room(centres.shape, TABLE)
    MIXTURES.make(outputs, centres, TABLE, 256, rows)
    return outputs, rows, centres, symbols


def planes_of(symbols: np.ndarray, step: int) -> np.ndarray:
    """uint8[HEIGHT, step + 1, 2] with these symbols in the second channel of the step."""
    planes = np.zeros((HEIGHT, step + 1, 2), np.uint8)
    planes[np.arange(HEIGHT), step - 2 * np.arange(HEIGHT), 1] = symbols
    return planes


STEP = 2 * HEIGHT


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("parts", [[45], [1] * 45, [16, 16, 13], [17, 28], [3, 42]])
def test_words_are_the_definition_s_and_come_back(parts: list[int], seed: int) -> None:
    outputs, rows, centres, symbols = column(seed)
    definition, encoder, costs = reference.Encoder(), range_coder.Encoder(), np.zeros(HEIGHT + 1)
    for own, q, symbol in zip(outputs.tolist(), centres.tolist(), symbols.tolist(), strict=True):
        definition.put(logistics.counts(own, q).tolist(), symbol)
    encoder.room(HEIGHT)
    planes, first = planes_of(symbols, STEP), 0
    for number in parts:
        own = STEP, first, first, number, rows, centres, TABLE, planes, 1
        cuts.put_lanes(*own, encoder.state, encoder.words, costs)
        first += number
    payload = encoder.payload()
    assert payload == np.array(definition.words(), "<u4").tobytes()
    assert costs[-1] == pytest.approx(MIXTURES.code_length(rows, centres, TABLE, symbols), rel=1e-12)
    decoder, found, first = range_coder.Decoder(payload), np.zeros_like(planes), 0
    for number in parts:
        own = STEP, first, first, number, rows, centres, TABLE, found, 1
        cuts.take_lanes(*own, decoder.state, decoder.words)
        first += number
    decoder.finish()
    np.testing.assert_array_equal(found, planes)


def test_every_symbol_of_one_mixture() -> None:
    outputs, centres, _ = drawn(16, 7)
    for own, q in zip(outputs, centres, strict=True):
        symbols = np.arange(256, dtype=np.int32)
        rows, around = MIXTURES.room(symbols.shape, TABLE), np.full(256, q, np.int32)
        MIXTURES.make(np.broadcast_to(own, (256, 9)).copy(), around, TABLE, 256, rows)
        planes = np.zeros((256, 513, 1), np.uint8)
        planes[symbols, 512 - 2 * symbols, 0] = symbols
        encoder, found = range_coder.Encoder(), np.zeros_like(planes)
        encoder.room(256)
        cuts.put_lanes(512, 0, 0, 256, rows, around, TABLE, planes, 0, encoder.state, encoder.words, np.zeros(257))
        decoder = range_coder.Decoder(encoder.payload())
        cuts.take_lanes(512, 0, 0, 256, rows, around, TABLE, found, 0, decoder.state, decoder.words)
        decoder.finish()
        np.testing.assert_array_equal(found, planes)


def test_any_words_give_symbols_or_are_said_to_fit_none() -> None:
    random = np.random.default_rng(9)
    _, rows, centres, _ = column(5)
    wrong = 0
    for size in (0, 1, 2, 5, 40):
        for words in (random.integers(0, 1 << 32, size, np.uint32), np.full(size, 0xFFFFFFFF, np.uint32)):
            decoder, found = (
                range_coder.Decoder(words.astype("<u4").tobytes()),
                np.zeros((HEIGHT, STEP + 1, 2), np.uint8),
            )
            cuts.take_lanes(STEP, 0, 0, HEIGHT, rows, centres, TABLE, found, 1, decoder.state, decoder.words)
            wrong += int(decoder.state[3])
    assert wrong > 0
