"""Quantised products keep the bound whatever the weights, and stay close to the float network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import tiny_training as tiny
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from pixcodec.exact.network import BOUND  # noqa: E402 - after the skip
from pixcodec.exact.tables import LOGIT_UNIT  # noqa: E402
from pixcodec.nets.heads import BITS, NATS_PER_LOGIT  # noqa: E402
from pixcodec.nets.photo import Configuration, PhotoNet  # noqa: E402
from pixcodec.training.quantise import (  # noqa: E402
    LARGEST_CODE,
    LARGEST_WEIGHT,
    IntegerProduct,
    Quantised,
    calibrate,
    quantise,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

Pair = tuple[torch.Tensor, torch.Tensor]


def bound(product: IntegerProduct) -> float:
    sums = (LARGEST_CODE + 1) * product.weight.double().flatten(1).abs().sum(1) + product.bias.double().abs()
    return float(sums.max())


def assert_sound(product: IntegerProduct) -> None:
    assert bound(product) < BOUND
    assert product.weight.abs().max() <= LARGEST_WEIGHT
    for part in (product.weight, product.bias):
        assert torch.equal(part, part.round())
    assert torch.isfinite(product.scale).all()
    assert (product.scale > 0).all()


@settings(max_examples=60)
@given(
    kind=st.sampled_from(["normal", "equal", "sparse", "signs", "zero"]),
    inputs=st.sampled_from([1, 3, 104, 130, 700]),
    weight_size=st.floats(-6, 6),
    bias_size=st.floats(-6, 6),
    unit_size=st.floats(-4, 4),
    seed=st.integers(0, 2**31),
)
def test_no_weights_break_the_bound(
    kind: str, inputs: int, weight_size: float, bias_size: float, unit_size: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(4, inputs, 1, 5, generator=generator)
    weight = {
        "normal": normal,
        "equal": torch.ones_like(normal),
        "sparse": normal * (normal > 1.5),
        "signs": normal.sign(),
        "zero": torch.zeros_like(normal),
    }[kind]
    bias = torch.randn(4, generator=generator) * 10**bias_size
    units = torch.rand(inputs, generator=generator) * 10**unit_size + 1e-6
    with torch.no_grad():
        product = quantise(weight * 10**weight_size, bias, units, torch.ones(4))
    assert_sound(product)


def test_weights_that_would_break_the_bound_get_a_larger_step_and_no_others() -> None:
    terms = torch.ones(2, 104, 1, 5)
    terms[1] *= torch.rand(104, 1, 5, generator=torch.Generator().manual_seed(0))  # half of it on average
    terms[1, 0, 0, 0] = 1
    assert (LARGEST_CODE + 1) * LARGEST_WEIGHT * 104 * 5 > BOUND
    product = quantise(terms, torch.zeros(2), torch.ones(104), torch.ones(2))
    assert_sound(product)
    assert product.weight[0].max() < LARGEST_WEIGHT
    assert product.weight[1].max() == LARGEST_WEIGHT
    assert bound(product) > 0.95 * BOUND, "no more is given away than the bound asks for"


def test_integers_times_their_units_are_the_float_product() -> None:
    generator = torch.Generator().manual_seed(1)
    weight, bias = torch.randn(7, 20, generator=generator), torch.randn(7, generator=generator)
    inputs, outputs = (torch.rand(n, generator=generator) + 0.5 for n in (20, 7))
    product = quantise(weight, bias, inputs, outputs)
    step = product.scale * outputs
    torch.testing.assert_close(product.weight * step[:, None] / inputs, weight, atol=float(step.max()), rtol=0)
    torch.testing.assert_close(product.bias * step, bias, atol=float(step.max()), rtol=0)


def test_so_many_steps_of_a_logit_are_a_bit() -> None:
    bits = NATS_PER_LOGIT * BITS
    assert bits * LOGIT_UNIT == pytest.approx(1)
    assert math.exp(-NATS_PER_LOGIT * LOGIT_UNIT) == pytest.approx(0.5)


def random_codes(configuration: Configuration, seed: int, size: int = 127) -> Pair:
    generator = torch.Generator().manual_seed(seed)
    shapes = (configuration.trunk_codes, sum(configuration.head_codes))
    trunk, heads = (torch.randint(-size, size + 1, (2, 12, 12, n), generator=generator) for n in shapes)
    return trunk.to(torch.int8), heads.to(torch.int8)


@pytest.fixture(scope="module")
def calibrated() -> tuple[Quantised, Sequence[Pair]]:
    torch.manual_seed(3)
    configuration = Configuration(3, tiny.PARAMETERS.count, 16, 2, 12)
    network = PhotoNet(configuration)
    batches = [random_codes(configuration, seed) for seed in range(4)]
    return Quantised(network, calibrate(network, batches)), batches


def test_the_integers_say_what_the_float_network_says(calibrated: tuple[Quantised, Sequence[Pair]]) -> None:
    model, batches = calibrated
    with torch.no_grad():
        for batch in batches:
            for own, l in zip(model(*batch), model.network(*batch), strict=True):
                centred = l - l.mean(-1, keepdim=True)
                error = (own - own.mean(-1, keepdim=True) - centred).square().mean().sqrt()
                assert error < 0.03 * centred.square().mean().sqrt()


def test_logits_are_whole_numbers_of_steps(calibrated: tuple[Quantised, Sequence[Pair]]) -> None:
    model, batches = calibrated
    with torch.no_grad():
        for l in model(*batches[0]):
            whole = l.double() / NATS_PER_LOGIT
            torch.testing.assert_close(whole, whole.round(), atol=1e-2, rtol=0)


def test_calibration_is_the_same_each_time(calibrated: tuple[Quantised, Sequence[Pair]]) -> None:
    model, batches = calibrated
    torch.rand(3)
    again = calibrate(model.network, batches)
    assert torch.equal(again.stream, model.units.stream)
    assert again.alphas == model.units.alphas
    for one, other in zip(again.hidden, model.units.hidden, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("output", ["residual", "raw"])
def test_every_parameter_learns_through_the_rounding(output: str) -> None:
    torch.manual_seed(4)
    configuration = Configuration(3, tiny.PARAMETERS.count, 8, 1, 8, output)
    network = PhotoNet(configuration)
    batch = random_codes(configuration, 0, 60)
    model = Quantised(network, calibrate(network, [batch]))
    values = torch.randint(0, 256, (2, 12, 12, 3), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    model.nats(*batch, values.flip(0), values).mean().backward()
    rounded = {name: p.grad.clone() for name, p in network.named_parameters()}
    network.zero_grad()
    network.nats(*batch, values.flip(0), values).mean().backward()
    for name, p in network.named_parameters():
        assert rounded[name].any(), name
        if p.dim() > 1:
            cosine = torch.nn.functional.cosine_similarity(rounded[name].flatten(), p.grad.flatten(), 0)
            assert cosine > 0.9, name


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_a_network_that_is_nothing_but_zeros_can_be_calibrated(blocks: int) -> None:
    configuration = Configuration(1, tiny.nets.SMALL_GRAY.count, 6, blocks, 5)
    network = PhotoNet(configuration)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        batch = random_codes(configuration, 0)
        model = Quantised(network, calibrate(network, [batch]))
        assert all(not l.any() for l in model(*batch))
        for product in (model.first_product(), *model.head_products(0)):
            assert_sound(product)
