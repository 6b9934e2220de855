"""The compiled mixture gives the definition's counts and weights, bit for bit, at every extreme."""

from __future__ import annotations

import numpy as np
import pytest

from pixcodec.exact import mixture
from pixcodec.exact.frequencies import EXP2
from pixcodec.exact.reference import mixture as reference
from pixcodec.exact.tables import tanh_gate

TABLES = EXP2, tanh_gate()
LARGEST = 32767


def outputs_of(components: int, channels: int) -> int:
    return components * (1 + 2 * channels + (3 if channels == 3 else 0))


def ordinary(random: np.random.Generator, size: int) -> np.ndarray:
    return random.normal(0, 500, size).round().astype(np.int32)


def extreme(random: np.random.Generator, size: int) -> np.ndarray:
    return random.choice([-LARGEST - 1, -LARGEST, -1, 0, 1, LARGEST], size).astype(np.int32)


def clamps(random: np.random.Generator, size: int) -> np.ndarray:
    low, high = mixture.LOWEST, mixture.HIGHEST
    return random.choice([low - 1, low, low + 1, high - 1, high, high + 1, 0, 255, 256], size).astype(np.int32)


def beyond_16_bits(random: np.random.Generator, size: int) -> np.ndarray:
    """What a low temperature makes of logits and scales."""
    return random.choice([-(1 << 24), 1 << 24, -70000, 70000, 0], size).astype(np.int32)


KINDS = {kind.__name__: kind for kind in (ordinary, extreme, clamps, beyond_16_bits)}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("components", [1, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_counts_and_weights_are_the_definition_s_bit_for_bit(kind: str, components: int, channels: int) -> None:
    pixels, random = 6, np.random.default_rng([len(kind), components, channels])
    outputs = KINDS[kind](random, pixels * outputs_of(components, channels)).reshape(pixels, -1)
    centres = random.choice([0, 255, 1, 128, 77], (pixels, channels)).astype(np.int64)
    values = random.choice([0, 255, 1, 254, 130], (pixels, channels))
    errors, own = np.zeros_like(centres), np.empty((pixels, components), np.int64)
    mixture.begin(outputs, components, EXP2, own)
    for channel in range(channels):
        counts = np.empty((pixels, 256), np.float32)
        form = outputs, components, channels, channel, centres, errors
        mixture.counts_of_mixture(*form, own, *TABLES, mixture.table(), counts)
        forms = [reference.Pixel(outputs[n], components, channels, centres[n], errors[n]) for n in range(pixels)]
        if channel == 0:
            assert own.tolist() == [reference.weights(pixel) for pixel in forms]
        for n, pixel in enumerate(forms):
            np.testing.assert_array_equal(counts[n], reference.counts(pixel, channel, own[n].tolist()))
        assert (counts.astype(np.int64).sum(axis=1) == reference.TOTAL).all()
        assert (counts >= 0).all()
        errors[:, channel] = values[:, channel] - centres[:, channel]
        expected = [reference.learned(pixel, channel, own[n].tolist()) for n, pixel in enumerate(forms)]
        mixture.learn(*form, own, *TABLES, mixture.table())
        assert own.tolist() == expected
        assert (own.max(axis=1) > 1 << 23).all()
        assert (own.max(axis=1) <= 1 << 24).all()


def test_a_value_that_no_component_expects_leaves_the_weights() -> None:
    outputs = np.array([[0, -300, 0, 0, mixture.LOWEST, mixture.LOWEST]], np.int32)  # two sharp components at 128
    centres, errors, own = np.array([[128]]), np.array([[100]]), np.empty((1, 2), np.int64)
    mixture.begin(outputs, 2, EXP2, own)
    before = own.copy()
    mixture.learn(outputs, 2, 1, 0, centres, errors, own, *TABLES, mixture.table())
    np.testing.assert_array_equal(own, before)


def test_the_weights_go_to_the_component_that_expected_the_value() -> None:
    outputs = np.array([[0, 0, 20 * 64, -20 * 64, -500, -500]], np.int32)  # 20 levels above, 20 below
    centres, errors, own = np.array([[128]]), np.array([[20]]), np.empty((1, 2), np.int64)
    mixture.begin(outputs, 2, EXP2, own)
    mixture.learn(outputs, 2, 1, 0, centres, errors, own, *TABLES, mixture.table())
    assert own[0, 0] > 1000 * own[0, 1]


@pytest.mark.parametrize("channels", [1, 3])
def test_counts_are_the_float_mixture_s_probabilities(channels: int) -> None:
    torch = pytest.importorskip("torch")
    from pixcodec.nets.mixture import Mixture, median_edge

    k, random = 4, np.random.default_rng(channels)
    form = Mixture(k, channels)
    units = np.array(form.units())
    values = torch.from_numpy(random.integers(100, 150, (1, channels, 2, 2)).astype(np.uint8))
    outputs = random.normal(0, 0.3, form.outputs)
    codes = (outputs / units).round().astype(np.int32)
    with torch.no_grad():
        exact = torch.from_numpy(codes * units).float()[None, :, None, None].expand(1, -1, 2, 2)
        bits = form.nats(exact, values)[0, :, 1, 1].numpy() / np.log(2)
    centres = (median_edge(values)[0, :, 1, 1].numpy() + 128).astype(np.int64)[None]
    errors, own = np.zeros_like(centres), np.empty((1, k), np.int64)
    mixture.begin(codes[None], k, EXP2, own)
    for channel in range(channels):
        counts = np.empty((1, 256), np.float32)
        now = codes[None], k, channels, channel, centres, errors
        mixture.counts_of_mixture(*now, own, *TABLES, mixture.table(), counts)
        value = int(values[0, channel, 1, 1])
        assert 24 - np.log2(counts[0, value] + 1) == pytest.approx(bits[channel], abs=0.01)
        errors[0, channel] = value - centres[0, channel]
        mixture.learn(*now, own, *TABLES, mixture.table())
