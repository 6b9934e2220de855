"""Stacks of images in one stream: they come back, cost what they should, and are drawn the same everywhere."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import random_programs as programs
from hypothesis import given, settings
from hypothesis import strategies as st

from pixcodec import stacks
from pixcodec.errors import DamagedTileError, PixcodecError, UnsupportedImageError
from pixcodec.exact.arrays import NumpyArrays

NETWORKS = {
    "bilevel": programs.program("pixelcnn", "bilevel"),
    "gray": programs.program("row_lstm", "gray"),
    "colour": programs.program("diagonal_bilstm", "colour"),
    "bilevel_colour": programs.program("gated_pixelcnn", "bilevel_colour"),
    "gray_mixture": programs.program("diagonal_bilstm", "gray_mixture"),
    "mixture": programs.program("gated_pixelcnn", "mixture"),
    "two scales, colour": programs.program("multi_scale", "colour"),
    "two scales, mixture": programs.program("multi_scale_diagonal_bilstm", "mixture"),
}
SAMPLES = {
    "bilevel": "b469cadc334a46a40db53b243d96f0bdf1dfc8ad0c02780e49ab874c06b2adc0",
    "gray": "1afd6d564b3e9822264bc95184c5c55c18ef9f4c43ed9418ef1ac2275cb0cc5b",
    "colour": "81b6ed26184629547115917ce1e786592e0efe44216947bc0b0c630284a36604",
    "bilevel_colour": "dc454395feedf429da0e332ccfdcde3fa59bf693ac2d2f5e8013b165952ff7dd",
    "gray_mixture": "a884fff1f3584326411e2aa458b3fdb40c62f80949ecb50633aa264800c194d1",
    "two scales, colour": "6a38ef749a0607eecd33376a10cce0b1e1d5c361642e9d39be45488c13fe0a35",
    "two scales, mixture": "e87293ca5ac65bcf1ef39c5c09073d3ed741f983c2a727a0aea08c16e7a8bc1d",
    "mixture": "5a5d8b6007645eaa75d5903afc7f173ed7ca677936c64f2cb3edc688f223d587",
}


@given(st.sampled_from(sorted(NETWORKS)), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(0, 9))
@settings(max_examples=40)
def test_images_come_back(name: str, count: int, height: int, width: int, seed: int) -> None:
    images = programs.images(NETWORKS[name], count, height, width, seed)
    coded = stacks.encode(images, NETWORKS[name], arrays=NumpyArrays())
    np.testing.assert_array_equal(stacks.decode(coded.payload, images.shape, NETWORKS[name]), images)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_stream_is_as_long_as_its_ideal_bits(name: str) -> None:
    images = programs.images(NETWORKS[name], 3, 8, 9)
    coded, lengths = stacks.encode(images, NETWORKS[name]), stacks.lengths(images, NETWORKS[name])
    assert lengths.payload == coded.payload
    assert lengths.bits.shape == images.shape[1:]
    assert lengths.bits.sum() * len(images) == pytest.approx(coded.ideal_bits, rel=1e-9)
    assert coded.ideal_bits - 1 <= 8 * len(coded.payload) <= coded.ideal_bits * 1.001 + 32


@pytest.mark.parametrize("name", NETWORKS)
def test_samples_are_pinned_by_their_seed(name: str) -> None:
    drawn = stacks.sample(NETWORKS[name], (3, 5, 6), seed=7)
    assert hashlib.sha256(drawn.tobytes()).hexdigest() == SAMPLES[name]
    np.testing.assert_array_equal(stacks.sample(NETWORKS[name], (3, 5, 6), seed=7, arrays=NumpyArrays()), drawn)
    assert (stacks.sample(NETWORKS[name], (3, 5, 6), seed=8) != drawn).any()
    assert drawn.max() < NETWORKS[name].levels


@pytest.mark.parametrize("name", NETWORKS)
def test_samples_cost_less_than_other_images(name: str) -> None:
    drawn = stacks.sample(NETWORKS[name], (4, 8, 8), seed=1)
    others = programs.images(NETWORKS[name], 4, 8, 8)
    others[1:3] = others[[0, 3]]
    assert stacks.encode(drawn, NETWORKS[name]).ideal_bits < stacks.encode(others, NETWORKS[name]).ideal_bits


@pytest.mark.parametrize("name", NETWORKS)
def test_a_completion_keeps_the_given_rows(name: str) -> None:
    images = programs.images(NETWORKS[name], 3, 6, 5)
    for rows in (0, 3, 6):
        completed = stacks.sample(NETWORKS[name], (3, 6, 5), seed=2, known=images, rows=rows)
        np.testing.assert_array_equal(completed[:, :rows], images[:, :rows])
        assert rows == 6 or (completed[:, rows:] != images[:, rows:]).any()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_completion_of_a_sample_by_its_seed_is_the_sample(name: str) -> None:
    drawn = stacks.sample(NETWORKS[name], (2, 5, 5), seed=4)
    again = stacks.sample(NETWORKS[name], (2, 5, 5), seed=4, known=drawn, rows=2)
    np.testing.assert_array_equal(again, drawn)


@pytest.mark.parametrize("name", NETWORKS)
def test_temperature_one_changes_nothing_and_a_low_one_draws_the_likeliest(name: str) -> None:
    network, shape = NETWORKS[name], (2, 5, 5)
    drawn = stacks.sample(network, shape, seed=4)
    np.testing.assert_array_equal(stacks.sample(network, shape, seed=4, temperature=1.0), drawn)
    cold, hot = (stacks.sample(network, shape, seed=4, temperature=t) for t in (0.05, 20))
    assert stacks.encode(cold, network).ideal_bits < stacks.encode(hot, network).ideal_bits
    for extreme in (1e-9, 1e9):
        assert stacks.sample(network, shape, seed=4, temperature=extreme).shape == drawn.shape


@pytest.mark.parametrize("name", NETWORKS)
def test_damaged_streams_give_other_pixels_or_one_error(name: str) -> None:
    network, random = NETWORKS[name], np.random.default_rng(0)
    images = programs.images(network, 2, 5, 4)
    payload = stacks.encode(images, network).payload
    damaged = [b"", payload[:-1], payload[:-4], payload[4:], payload + bytes(4), bytes(len(payload)), b"\xff" * 40]
    for _ in range(12):
        flipped = bytearray(payload)
        flipped[random.integers(len(flipped))] ^= 1 << random.integers(8)
        damaged.append(bytes(flipped))
    for each in damaged:
        try:
            decoded = stacks.decode(each, images.shape, network)
        except DamagedTileError as problem:
            assert str(problem).endswith("fetch the file anew")  # noqa: PT017 - not all of them raise
        else:
            assert decoded.max() < network.levels


def test_a_stream_of_other_channels_is_damaged() -> None:
    with pytest.raises(DamagedTileError, match="codes 1 channels, not 3"):
        stacks.decode(b"", (1, 2, 2, 3), NETWORKS["gray"])


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 2, 2, 3), np.uint8),
        np.zeros((2, 2, 1), np.uint8),
        np.zeros((1, 2, 2, 1), np.int64),
        np.zeros((0, 2, 2, 1), np.uint8),
        np.full((1, 2, 2, 1), 2, np.uint8),
    ],
)
def test_images_that_the_network_is_not_for_are_refused(images: np.ndarray) -> None:
    for function in (stacks.encode, stacks.lengths):
        with pytest.raises(UnsupportedImageError, match="choose another model") as caught:
            function(images, NETWORKS["bilevel"])
        assert isinstance(caught.value, PixcodecError)


def test_progress_ends_with_all_pixels() -> None:
    told: list[tuple[int, int]] = []
    images = programs.images(NETWORKS["bilevel"], 2, 4, 5)
    stacks.encode(images, NETWORKS["bilevel"], progress=lambda done, whole: told.append((done, whole)))
    assert told[-1] == (20, 20)
    assert told == sorted(told)
