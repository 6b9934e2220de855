"""The mixture's probabilities are those of its definition, sum to 1, and have gradients wherever parameters go."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pixcodec.nets.mixture import (  # noqa: E402 - after the skip
    HIGHEST_LOG_SCALE,
    LOWEST_LOG_SCALE,
    MEAN_LEVELS,
    SCALE_LEVELS,
    Mixture,
    median_edge,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPONENTS = 3


def parameters(channels: int, pixels: int, size: float = 1.0) -> Any:
    """float64[pixels, outputs]."""
    return size * torch.randn(pixels, Mixture(COMPONENTS, channels).outputs, dtype=torch.float64)


def log_scales(channels: int) -> slice:
    """Where among a pixel's outputs they are."""
    return slice((1 + channels) * COMPONENTS, (1 + 2 * channels) * COMPONENTS)


def nats(channels: int, outputs: Any, values: Any, before: Sequence[int] = (128, 128, 128)) -> Any:
    """Code lengths [pixels, channels] of values [pixels, channels] given parameters [pixels, outputs].

    Each is an image's last pixel, whose left, upper and upper left neighbours are of the gray `before`.
    """
    images = torch.zeros(len(values), channels, 2, 2, dtype=torch.uint8)
    for (y, x), gray in zip(((1, 0), (0, 1), (0, 0)), before, strict=True):
        images[:, :, y, x] = gray
    images[:, :, 1, 1] = values
    return Mixture(COMPONENTS, channels).nats(outputs[:, :, None, None].expand(-1, -1, 2, 2), images)[:, :, 1, 1]


def sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x)) if x > -700 else 0.0


def mass(value: int, mean: float, log_scale: float) -> float:
    """A component's probability of a value, by the definition: between its edges, and the tails at 0 and 255."""
    scale = SCALE_LEVELS * np.exp(np.clip(log_scale, LOWEST_LOG_SCALE, HIGHEST_LOG_SCALE))
    below = -np.inf if value == 0 else (value - 0.5 - mean) / scale
    above = np.inf if value == 255 else (value + 0.5 - mean) / scale
    if below > 0:  # the distribution is symmetric, and in its upper tail 1 - 1 would be left of the digits
        below, above = -above, -below
    return sigmoid(above) - sigmoid(below)


def probabilities_by_hand(outputs: np.ndarray, values: tuple[int, ...], predicted: int) -> list[float]:
    """Of each channel's value given those before it, for one pixel."""
    channels = len(values)
    parts = outputs.reshape(-1, COMPONENTS)
    joint, result = np.exp(parts[0]) / np.exp(parts[0]).sum(), []
    errors = [value - predicted for value in values]
    for c, value in enumerate(values):
        masses = []
        for k in range(COMPONENTS):
            mean = predicted + MEAN_LEVELS * parts[1 + c, k]
            if channels == 3:
                red_to_green, red_to_blue, green_to_blue = np.tanh(parts[7:10, k])
                mean += [0, red_to_green * errors[0], red_to_blue * errors[0] + green_to_blue * errors[1]][c]
            masses.append(mass(value, mean, parts[1 + channels + c, k]))
        after = joint * masses
        result.append(after.sum() / joint.sum() if joint.any() else 0.0)
        joint = after
    return result


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("log_scale", [-8.0, -4.0, -2.0, 0.0, 3.0, 8.0])
def test_all_256_values_of_a_channel_sum_to_one(channels: int, log_scale: float) -> None:
    torch.manual_seed(1)
    outputs = parameters(channels, 1).float()
    outputs[:, log_scales(channels)] += log_scale
    values = torch.arange(256, dtype=torch.uint8)
    for c in range(channels):
        before = [torch.full((256,), v, dtype=torch.uint8) for v in (17, 200)[:c]]
        after = [torch.zeros(256, dtype=torch.uint8)] * (channels - c - 1)
        each = torch.stack([*before, values, *after], 1)
        total = float((-nats(channels, outputs.expand(256, -1), each)[:, c].double()).exp().sum())
        assert total == pytest.approx(1, abs=2e-5)


@pytest.mark.parametrize(("before", "predicted"), [((128, 128, 128), 128), ((90, 100, 95), 95), ((10, 20, 40), 10)])
@pytest.mark.parametrize("channels", [1, 3])
def test_probabilities_are_those_of_the_definition(channels: int, before: Sequence[int], predicted: int) -> None:
    torch.manual_seed(2)
    compared = 0
    for random, log_scale in itertools.product(parameters(channels, 4), (-4.0, -1.0, 2.0)):
        outputs = random.clone()
        outputs[log_scales(channels)] += log_scale
        for values in [(0, 255, 3), (128, 127, 126), (255, 0, 255), (90, 100, 120)]:
            expected = probabilities_by_hand(outputs.numpy(), values[:channels], predicted)
            pixel = torch.tensor([values[:channels]], dtype=torch.uint8)
            found = nats(channels, outputs[None].float(), pixel, before)[0]
            for length, probability in zip(found.tolist(), expected, strict=True):
                if probability > 1e-100:  # what is left of binary64 is not enough for the channels after
                    assert length == pytest.approx(-np.log(probability), rel=1e-4, abs=1e-4)
                    compared += 1
    assert compared > 24 * channels


def test_far_out_in_a_tail_the_probability_falls_as_the_logistic_does() -> None:
    outputs = torch.zeros(1, Mixture(COMPONENTS, 1).outputs)
    outputs[:, log_scales(1)] = -3.0
    lengths = nats(1, outputs.expand(2, -1), torch.tensor([[250], [254]], dtype=torch.uint8))[:, 0]
    assert float(lengths[1] - lengths[0]) == pytest.approx(4 / (SCALE_LEVELS * np.exp(-3.0)), rel=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (4, 6)])
def test_the_med_prediction_is_the_median_of_left_upper_and_their_plane(size: tuple[int, int]) -> None:
    values = torch.randint(0, 256, (2, 3, *size), generator=torch.Generator().manual_seed(5)).to(torch.uint8)
    found = median_edge(values)
    padded = np.pad(values.numpy().astype(int), [(0, 0), (0, 0), (1, 0), (1, 0)], constant_values=128)
    for n, c, y, x in np.ndindex(*values.shape):
        corner, upper, left = padded[n, c, y, x], padded[n, c, y, x + 1], padded[n, c, y + 1, x]
        assert float(found[n, c, y, x]) == sorted([left, upper, left + upper - corner])[1] - 128


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [0.0, 1.0, 30.0, 1e3])
def test_code_lengths_and_gradients_stay_finite(channels: int, size: float) -> None:
    torch.manual_seed(3)
    outputs = parameters(channels, 400, size=size).float().requires_grad_()
    values = torch.randint(0, 256, (400, channels)).to(torch.uint8)
    values[:100], values[100:200] = 0, 255
    lengths = nats(channels, outputs, values)
    assert lengths.isfinite().all()
    assert lengths.min() > -1e-3 * max(size, 1)
    lengths.sum().backward()
    assert outputs.grad.isfinite().all()


@pytest.mark.parametrize("channels", [1, 3])
def test_every_parameter_of_a_pixel_is_used_once(channels: int) -> None:
    torch.manual_seed(4)
    outputs = parameters(channels, 1).float().requires_grad_()
    nats(channels, outputs, torch.tensor([[90, 100, 120][:channels]], dtype=torch.uint8)).sum().backward()
    assert (outputs.grad != 0).all()
    assert Mixture(10, 1).outputs == 30
    assert Mixture(10, 3).outputs == 100, "as in PixelCNN++"
