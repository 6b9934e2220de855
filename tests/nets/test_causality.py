"""Every output sees exactly the values that the analytic receptive field says, and those are known before it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pixcodec.nets import networks  # noqa: E402 - after the skip
from pixcodec.nets.autoregressive import KINDS, Configuration  # noqa: E402
from pixcodec.nets.receptive_field import receptive_field, values_seen  # noqa: E402

SMALL: dict[str, Any] = {"features": 6, "layers": 2, "first": 5, "kernel": 3, "hidden": 9}
IMAGES: dict[str, dict[str, Any]] = {
    "gray": {"channels": 1},
    "bilevel": {"channels": 1, "levels": 2},
    "colour": {"channels": 3},
    "colour, groups of unequal sizes": {"channels": 3, "levels": 2, "features": 7, "hidden": 8},
    "colour, mixture": {"channels": 3, "output": "mixture", "components": 2},
    "gray, mixture": {"channels": 1, "output": "mixture", "components": 2},
}
SIZE = (5, 8)
ROUNDING = 1e-9  # outputs are of the size of 10 and change by 1e-4 at least, or by less than 1e-13


def seen(configuration: Configuration, size: tuple[int, int]) -> np.ndarray:
    """bool[H, W, groups, H, W, channels]: what each output sees of each value by analysis."""
    return _seen(replace(configuration, residual=True, skip=True), size)


@cache
def _seen(c: Configuration, size: tuple[int, int]) -> np.ndarray:
    result = np.zeros((*size, c.groups, *size, c.channels), bool)
    for output in np.ndindex(*size, c.groups):
        for value in values_seen(c, size, output):
            result[output + value] = True
    return result


def moved(configuration: Configuration, size: tuple[int, int]) -> np.ndarray:
    """The same by experiment: each value of a random image is changed alone, in networks of random weights.

    In one network a ReLU that is never open hides some ways, so up to twenty are tried until nothing is missing.
    """
    result = _moved(configuration, size, 0)
    for seed in range(1, 20):
        if (result | ~seen(configuration, size)).all():
            break
        result |= _moved(configuration, size, seed)
    return result


def _moved(configuration: Configuration, size: tuple[int, int], seed: int) -> np.ndarray:
    torch.manual_seed(seed)
    network = networks.make(configuration).double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            # Biases above 0 keep enough of the features alive; steep gates would close for good.
            parameter.normal_(0.3 if name.endswith("bias") else 0.0, 0.5)
        values = (configuration.channels, *size)
        image = torch.randn(values, dtype=torch.float64)
        changed = image + 2 * torch.eye(image.numel(), dtype=torch.float64).unflatten(1, values)
        before, after = network(image[None]), network(changed)
    differs = (
        ((after - before).abs() > ROUNDING).unflatten(1, (configuration.groups, -1)).any(2)
    )  # [values, groups, H, W]
    return differs.unflatten(0, values).permute(4, 5, 3, 1, 2, 0).numpy()


def known(configuration: Configuration, size: tuple[int, int]) -> np.ndarray:
    """What an output may see: earlier pixels in raster order, and of its own pixel the channels before its own."""
    c = configuration
    result = np.zeros((*size, c.groups, *size, c.channels), bool)
    for y, x, group, row, column, channel in np.ndindex(*result.shape):
        result[y, x, group, row, column, channel] = (row, column) < (y, x) or (
            (row, column) == (y, x) and channel < group
        )
    return result


@pytest.mark.parametrize("residual", [True, False], ids=["residual", "plain"])
@pytest.mark.parametrize("skip", [True, False], ids=["skip", "no skip"])
@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_an_output_moves_with_the_values_it_sees_and_with_no_others(
    kind: str, image: str, *, skip: bool, residual: bool
) -> None:
    c = Configuration(kind, **{**SMALL, **IMAGES[image]}, residual=residual, skip=skip)
    found, expected = moved(c, SIZE), seen(c, SIZE)
    assert not (found & ~known(c, SIZE)).any(), "an output sees what is not known yet"
    assert not (found & ~expected).any(), "an output sees more than the analysis says"
    assert not (expected & ~found).any(), "an output does not see what the analysis says"


@pytest.mark.parametrize("kind", KINDS)
def test_the_paper_sizes_see_it_too(kind: str) -> None:
    c = Configuration(kind, channels=1, levels=2, **{**SMALL, "first": 7})
    np.testing.assert_array_equal(moved(c, (11, 13)), seen(c, (11, 13)))


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (6, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_images_of_one_row_or_column_are_seen_alike(kind: str, size: tuple[int, int]) -> None:
    c = Configuration(kind, channels=3, levels=2, **SMALL)
    np.testing.assert_array_equal(moved(c, size), seen(c, size))


def field(kind: str, radius: int = 12, **changes: Any) -> set[tuple[int, int]]:
    return receptive_field(Configuration(kind, 1, 2, **{**SMALL, "first": 7, **changes}), radius)


def context(radius: int, rows: int, left: int, right: int) -> set[tuple[int, int]]:
    """All earlier pixels up to so many rows and columns away."""
    taps = {(dy, dx) for dy in range(radius + 1) for dx in range(-radius, radius + 1) if dy > 0 or dx < 0}
    return {(dy, dx) for dy, dx in taps if dy <= rows and -left <= dx <= right}


def test_pixelcnn_has_a_blind_spot_to_the_right() -> None:
    for layers in (1, 3, 5):
        reach = 3 + layers
        blind = context(12, reach, reach, reach) - field("pixelcnn", layers=layers)
        # The first kernel takes one row for its three columns to the right, each column more takes another row.
        assert blind == {(dy, dx) for dy in range(1, reach) for dx in range(4, reach + 1) if dx > dy + 2}


def test_row_lstm_sees_a_triangle() -> None:
    seen_by_one_layer = field("row_lstm", layers=1, radius=20)
    for dy in range(1, 12):
        row = sorted(dx for y, dx in seen_by_one_layer if y == dy)
        # On the left dy states, 1 of the input to state and 3 of mask A; on the right mask A takes one row for its 3.
        assert row == list(range(-dy - 4, dy - 1 + 3 + 1))


def test_diagonal_bilstm_sees_the_whole_context_with_one_layer() -> None:
    for layers in (1, 2):
        assert field("diagonal_bilstm", layers=layers) == context(12, 12, 12, 12)


def test_gated_pixelcnn_has_no_blind_spot() -> None:
    for layers in (1, 3, 5):
        reach = 3 + layers
        assert field("gated_pixelcnn", layers=layers) == context(12, reach, reach, reach)


def test_the_upper_right_corner_is_out_of_a_diagonal_bilstms_sight() -> None:
    """The last column of the row above is seen through the mask A of the pixel right of it, which is not there."""
    c = Configuration("diagonal_bilstm", 1, 2, **SMALL)
    for x in range(8):
        sees = (1, 7, 0) in values_seen(c, (4, 8), (2, x, 0))
        assert sees == (x + c.first // 2 >= 7)
        assert (0, 7, 0) in values_seen(c, (4, 8), (2, x, 0))
