"""Heads that learn: compiled and defined alike bit for bit, by every way to run them, and never out of bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import random_networks as nets
from hypothesis import given, settings
from hypothesis import strategies as st
from test_matmul import runs_here

from pixcodec import tiles
from pixcodec.errors import ModelError
from pixcodec.exact import adam, learn, products
from pixcodec.exact.frequencies import row_size
from pixcodec.exact.network import Learning, Network
from pixcodec.exact.reference import codec as reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUICK = {"rates": [2.0, 1.0, 0.6], "betas": [0.8, 0.98], "epsilon": 1.0}


def learning_network(parameters: Any, form: dict[str, Any] = QUICK, **options: Any) -> Network:
    card, tensors = nets.random_card(parameters, **options)
    card["network"]["learning"] = form
    return Network.build(card, tensors)


NETWORKS = {
    "small": learning_network(nets.SMALL),
    "gray": learning_network(nets.SMALL_GRAY, features=20, blocks=1, head=8, seed=1),
    "phases, odd sizes": learning_network(nets.SMALL, phases=2, head=9, edges=(3, 9), seed=2),
    "raw": learning_network(nets.SMALL_GRAY, output="raw", seed=3),
    "logistics": learning_network(nets.SMALL, output="logistics", edges=(4, 9), seed=7),
    "logistics, gray": learning_network(nets.SMALL_GRAY, output="logistics", head=9, seed=8),
    "panels of five": learning_network(nets.SMALL_GRAY, edges=tuple(range(30, 38)), seed=9),
    "wide": learning_network(nets.SMALL_GRAY, head=130, edges=tuple(range(80, 90)), seed=4),
    "wild": learning_network(nets.SMALL, {"rates": [8.0, 8.0, 8.0], "betas": [0.0, 0.0], "epsilon": 1e-6}, seed=5),
    "slow": learning_network(nets.SMALL, {"rates": [1e-3, 0.0, 1e-3], "betas": [0.99, 0.999], "epsilon": 1e6}, seed=6),
}


def counts_of(network: Network, planes: NDArray[np.uint8], device: str | None = None) -> NDArray[np.int64]:
    """What the coder is given, int64[H, W, C, 256]."""
    result = np.zeros((*planes.shape, 256), np.int64)

    def write(channel: int, step: int, first: int, counts: NDArray[np.int32], centres: NDArray[np.int32]) -> None:
        rows = np.arange(first, first + len(counts))
        result[rows, step - 2 * rows, channel] = nets.symbol_counts(network, counts, centres)

    backend = None if device is None else f"torch-float32:{device}"
    run = tiles._prepare(network, backend, None, [planes], None, learning=learn.LearningHeads)
    if device is None:
        tiles._write_tile(run, planes, tiles.by_steps(write))
    else:
        tiles._write_known_tile(run, planes, device, tiles.by_steps(write))
    return result


@pytest.mark.parametrize("kind", ["smooth", "random", "white", "checkers"])
@pytest.mark.parametrize("name", NETWORKS)
def test_compiled_heads_are_the_defined_ones(name: str, kind: str) -> None:
    network = NETWORKS[name]
    planes = nets.picture(kind, 9, 11, network.channels)
    expected, _ = reference.counts_and_centres(network, planes, learning=True)
    np.testing.assert_array_equal(counts_of(network, planes), expected)
    if name not in ("wild", "slow"):
        assert not np.array_equal(expected, reference.counts_and_centres(network, planes)[0])


@settings(max_examples=20)
@given(st.integers(1, 7), st.integers(1, 9), st.sampled_from(["small", "gray"]), st.integers(0, 99))
def test_of_every_shape(height: int, width: int, name: str, seed: int) -> None:
    network = NETWORKS[name]
    planes = np.random.default_rng(seed).integers(0, 256, (height, width, network.channels)).astype(np.uint8)
    expected, _ = reference.counts_and_centres(network, planes, learning=True)
    np.testing.assert_array_equal(counts_of(network, planes), expected)


@pytest.mark.parametrize("name", ["small", "logistics", "logistics, gray"])
def test_what_fixed_heads_would_have_cost_is_what_they_do_cost(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn, "COMPARED", 1)
    network, planes = NETWORKS[name], nets.picture("smooth", 33, 41, NETWORKS[name].channels)
    ways: list[bool] = [True, False]
    (learned,), (fixed,) = (tiles.encode_each(planes[None], network, (16, 32), [0], learning=way)[0] for way in ways)
    assert learned.fixed_bits == pytest.approx(fixed.network_bits, rel=1e-9)
    assert learned.network_bits != fixed.network_bits
    back, _ = tiles.decode(learned.streams, planes[None].shape, network, (16, 32), experts=0, learning=True)
    np.testing.assert_array_equal(back[0], planes)


def test_the_first_step_is_the_models() -> None:
    network = NETWORKS["small"]
    planes = nets.picture("random", 4, 5, 3)
    np.testing.assert_array_equal(counts_of(network, planes)[0, 0], reference.counts(network, planes)[0, 0])


@pytest.mark.parametrize("name", ["small", "phases, odd sizes", "raw", "logistics"])
def test_torch_gives_the_same_counts(name: str) -> None:
    pytest.importorskip("torch")
    network = NETWORKS[name]
    planes = nets.picture("smooth", 13, 17, network.channels)
    np.testing.assert_array_equal(counts_of(network, planes, "cpu"), counts_of(network, planes))


@pytest.mark.parametrize("kind", sorted(products.PRODUCTS))
def test_every_instruction_for_16_bits_gives_the_same_counts(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    form = products.PRODUCTS[kind]
    if (form.terms == 4 and not form.halves) or not runs_here(kind):
        pytest.skip("not of 16 bits, or not here")
    network, planes = NETWORKS["small"], nets.picture("smooth", 70, 150, 3)  # in the middle of 64 lanes and more
    expected = counts_of(network, planes)
    monkeypatch.setattr(learn, "wide_product_kind", lambda: kind)
    np.testing.assert_array_equal(counts_of(network, planes), expected)


def test_only_the_first_pixels_of_a_long_step_teach(monkeypatch: pytest.MonkeyPatch) -> None:
    from pixcodec.exact.reference import learn as defined

    network, planes = NETWORKS["small"], nets.picture("smooth", 9, 11, 3)
    every = counts_of(network, planes)
    for module in (learn, defined):
        monkeypatch.setattr(module, "TEACHERS", 3)
    few = counts_of(network, planes)
    assert not np.array_equal(few, every)
    np.testing.assert_array_equal(few, reference.counts_and_centres(network, planes, learning=True)[0])


def test_weights_stay_within_bounds_and_finite_whatever_the_rates() -> None:
    network = NETWORKS["wild"]
    heads = learn.LearningHeads(network, 40)
    random = np.random.default_rng(0)
    counts = np.full((40, row_size(57)), 65535, np.int32)
    for _ in range(200):
        for inputs in heads.inputs:
            inputs[:] = random.integers(-127, 256, inputs.shape)
        for channel in range(3):
            heads.logits(channel, 40)
            heads.learn(channel, counts, np.full(40, 7, np.int32), random.integers(0, 256, 40))
    for layer in (layer for layers in heads._layers for layer in layers):
        assert np.isfinite(layer.weights).all()
        assert np.abs(layer.weights).max() <= adam.LARGEST
        assert np.isfinite(layer.second).all()


def test_largest_sums_fit_32_bits() -> None:
    error, largest = products.ERROR, adam.LARGEST
    forward = learn.WIDEST * 255 * largest * products.FINE + learn.LARGEST_BIAS * products.FINE
    back = learn.WIDEST * (error - 1) * learn.RELATIVE * largest
    gradient = learn.TEACHERS * 255 * error
    last = 2 * error * learn.RELATIVE * largest  # the errors of a softmax sum to less than twice one
    assert max(forward, back, gradient, last) + (1 << products.ERROR_SHIFT) < 1 << 31


def test_what_cannot_learn_is_refused() -> None:
    with pytest.raises(ModelError, match="no heads that learn"):
        learn.LearningHeads(nets.random_network(nets.SMALL), 4)
    with pytest.raises(ModelError, match="at most 256 inputs"):
        learn.LearningHeads(learning_network(nets.SMALL_GRAY, features=257, blocks=0), 4)


@pytest.mark.parametrize(
    "form",
    [
        {},
        {**QUICK, "rates": [1, 1]},
        {**QUICK, "betas": [0.5]},
        {**QUICK, "rates": [1, 1, 9]},
        {**QUICK, "rates": [1, -1, 1]},
        {**QUICK, "betas": [0.5, 1]},
        {**QUICK, "epsilon": 0},
        {**QUICK, "epsilon": float("nan")},
        {**QUICK, "rates": ["fast", 1, 1]},
    ],
)
def test_learning_out_of_bounds_is_refused(form: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError)):
        Learning.load(form)
    with pytest.raises(ModelError, match="do not fit together"):
        learning_network(nets.SMALL, form)
