"""Two networks for one image: what the second one sees of the first one's, and what it costs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pixcodec.nets import autoregressive, multiscale, networks  # noqa: E402 - after the skip
from pixcodec.nets.autoregressive import KINDS  # noqa: E402

SMALL: dict[str, Any] = {"features": 6, "layers": 2, "first": 5, "hidden": 9}
SIZE = (5, 7)
ROUNDING = 1e-9


def shape(kind: str, **form: Any) -> multiscale.Configuration:
    """Both networks of one kind."""
    small = autoregressive.Configuration(kind, **{**SMALL, **form})
    return multiscale.Configuration(small, autoregressive.Configuration(kind, **{**SMALL, **form, "context": 5}))


def network(of: multiscale.Configuration, seed: int) -> Any:
    """Random weights that keep features alive."""
    torch.manual_seed(seed)
    made = networks.make(of).double()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.normal_(0.3 if name.endswith("bias") else 0.0, 0.4)
    return made


def on_grid(y: int, x: int) -> bool:
    return y % 2 == 0 and x % 2 == 0


@pytest.mark.parametrize("form", [{"channels": 1, "levels": 2}, {"channels": 3}, {"output": "mixture"}])
@pytest.mark.parametrize("kind", KINDS)
def test_the_large_image_s_network_sees_all_of_the_small_one_and_of_its_own_what_is_earlier(
    kind: str, form: dict[str, Any]
) -> None:
    """By experiment: a pixel's value is changed, and outputs may move at later pixels, or anywhere if it is known."""
    of = shape(kind, **form)
    values = torch.randint(0, of.levels, (1, of.channels, *SIZE), dtype=torch.uint8)
    reached = 0
    for seed in range(3):
        full = network(of, seed).full

        def outputs(image: Any, full: Any = full) -> Any:
            codes = autoregressive.codes(image, of.levels).double()
            return full(codes, multiscale.known_codes(image, of.levels).double())

        before = outputs(values)
        for y, x in np.ndindex(*SIZE):
            other = values.clone()
            other[:, -1, y, x] ^= 1 if of.levels == 2 else 128
            moved = ((outputs(other) - before).abs() > ROUNDING).any(1)[0]
            for row, column in np.ndindex(*SIZE):
                if moved[row, column] and not on_grid(y, x):
                    assert (row, column) > (y, x)
                reached += bool(moved[row, column] and (row, column) < (y, x))
    assert reached > 20, "what the small image tells is not seen ahead"


@pytest.mark.parametrize("kind", KINDS)
def test_code_lengths_are_the_small_image_s_at_its_pixels_and_the_large_one_s_elsewhere(kind: str) -> None:
    of = shape(kind, channels=3)
    torch.manual_seed(1)
    made = networks.make(of)
    values = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8)
    lengths = made.nats(values)
    small = made.small.nats(values[:, :, ::2, ::2].contiguous())
    torch.testing.assert_close(lengths[:, :, ::2, ::2], small)
    outputs = made.full(autoregressive.codes(values, 256), multiscale.known_codes(values, 256))
    large = autoregressive.code_lengths(of.full, outputs, values)
    torch.testing.assert_close(lengths[:, :, 1], large[:, :, 1])
    torch.testing.assert_close(lengths[:, :, :, 1], large[:, :, :, 1])
    lengths.mean().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


def test_what_is_known_lies_on_even_rows_and_columns() -> None:
    values = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8)
    known = multiscale.known_codes(values, 256)
    assert known.shape == (2, 4, *SIZE)
    for y, x in np.ndindex(*SIZE):
        if on_grid(y, x):
            assert (known[:, :3, y, x] == autoregressive.codes(values, 256)[:, :, y, x]).all()
        assert (known[:, 3, y, x] == float(on_grid(y, x))).all()
        assert on_grid(y, x) or not known[:, :, y, x].any()


def test_three_scales_are_two_whose_small_image_is_of_two() -> None:
    two = shape("pixelcnn", channels=1, levels=2)
    three = multiscale.Configuration(two, two.full)
    assert networks.load_shape(json.loads(json.dumps(three.save()))) == three
    values = torch.randint(0, 2, (1, 1, 9, 6), dtype=torch.uint8)
    torch.manual_seed(1)
    made = networks.make(three)
    lengths = made.nats(values)
    smallest = made.small.small.nats(values[:, :, ::4, ::4].contiguous())
    torch.testing.assert_close(lengths[:, :, ::4, ::4], smallest)


def test_multiply_adds_count_the_small_image_s_by_its_pixels() -> None:
    made = networks.make(shape("row_lstm", channels=1))
    full, small = networks.multiply_adds(made.full), networks.multiply_adds(made.small)
    assert networks.multiply_adds(made) == full + small // 4
    assert full - networks.multiply_adds(made.full.network) == 7 * 7 * 2 * 5 + 3 * 3 * 5 * 5


@pytest.mark.parametrize("name", [name for name in networks.PRESETS if multiscale.KIND in name])
def test_presets_are_of_scales(name: str) -> None:
    with torch.device("meta"):
        made = networks.make(networks.PRESETS[name])
    assert sum(parameter.numel() for parameter in made.parameters()) > 1e6


@pytest.mark.parametrize(
    ("small", "full"),
    [
        ({"channels": 1}, {"channels": 3, "context": 4}),
        ({"levels": 2}, {"levels": 256, "context": 4}),
        ({}, {"context": 0}),
    ],
)
def test_networks_of_different_images_are_no_scales(small: dict[str, Any], full: dict[str, Any]) -> None:
    card = {"kind": "multi_scale", "small": {"kind": "pixelcnn", **small}, "full": {"kind": "pixelcnn", **full}}
    with pytest.raises(ValueError, match="network"):
        networks.load_shape(card)
