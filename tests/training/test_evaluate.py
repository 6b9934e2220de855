"""Validation counts bits in the measured windows only, by source, with what surrounds them seen."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import random_networks as nets
import tiny_training as tiny

torch = pytest.importorskip("torch")

from pixcodec.nets.heads import BITS  # noqa: E402 - after the skip
from pixcodec.nets.photo import Configuration, PhotoNet  # noqa: E402
from pixcodec.training import data, evaluate  # noqa: E402
from pixcodec.training.sources import Picture  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pixcodec.training.data import Batch


def item(height: int, width: int, source: str = "a") -> data.Item:
    planes = nets.picture("random", height, width, 3)
    predicted = np.repeat(planes[..., None].astype(np.int16) * 16, tiny.PARAMETERS.count, axis=3)
    picture = Picture(Path("a.png"), "a", source, "folder", validates=True, scale=1)
    return data.Item(data.Version(picture, 0, 0), planes, predicted)


@pytest.mark.parametrize("size", [(40, 50), (288, 384), (200, 210), (288, 60)])
def test_a_window_has_a_margin_before_it_and_beside_it(size: tuple[int, int]) -> None:
    picture = item(*size)
    batch, (rows, columns) = evaluate.crop(picture, tiny.PARAMETERS)
    measured = data.window(picture.planes)
    np.testing.assert_array_equal(batch.values[0, rows, columns], picture.planes[measured])
    height, width = batch.values.shape[1:3]
    assert rows.stop == height
    assert rows.start == min(measured[0].start, evaluate.MARGIN)
    assert columns.start == min(measured[1].start, evaluate.MARGIN)
    assert width - columns.stop == min(size[1] - measured[1].stop, evaluate.MARGIN)


def test_bits_are_means_over_the_samples_of_all_and_of_each_source() -> None:
    items = [item(20, 30, "small"), item(300, 400, "large"), item(10, 10, "small")]

    def nats(batch: Batch) -> np.ndarray:
        lengths = np.full((3, *batch.values.shape[:3]), 1e9)  # of what is not measured
        rows, columns = data.window(batch.values[0])
        if batch.values.shape[1] > 192:
            columns = slice(evaluate.MARGIN, evaluate.MARGIN + 192)
        lengths[:, :, rows, columns] = (2 if batch.values.shape[1] < 192 else 5) / BITS
        return lengths

    bits = evaluate.summary(items, tiny.PARAMETERS, nats)
    assert bits.sources == {"small": pytest.approx(2), "large": pytest.approx(5)}
    small, large = 20 * 30 + 10 * 10, 192 * 192
    assert bits.total == pytest.approx((2 * small + 5 * large) / (small + large))
    assert bits.line() == f"{bits.total:.4f} (large 5.000 small 2.000)"


def test_nothing_to_validate_with_is_no_failure() -> None:
    assert evaluate.summary([], tiny.PARAMETERS, lambda _: np.zeros(0)) == evaluate.Bits(0.0, {})


def test_a_network_that_knows_nothing_needs_eight_bits(items: Sequence[data.Item]) -> None:
    network = PhotoNet(Configuration(3, tiny.PARAMETERS.count, 8, 1, 8))
    with torch.no_grad():
        for head in network.heads:
            head.output.weight.zero_()
            head.output.bias.zero_()
    validation = [each for each in items if each.version.picture.validates]
    bits = evaluate.validate(network, validation, tiny.PARAMETERS, torch.device("cpu"))
    assert bits.total == pytest.approx(8, abs=1e-3)
    assert set(bits.sources) == {"source1"}


def test_what_lies_outside_window_and_margin_does_not_matter() -> None:
    network = PhotoNet(Configuration(3, tiny.PARAMETERS.count, 8, 1, 8))
    one = item(288, 384)
    planes = one.planes.copy()
    planes[: 96 - evaluate.MARGIN] ^= 0x7F
    planes[:, 96 + 192 + evaluate.MARGIN :] ^= 0x7F
    other = dataclasses.replace(one, planes=planes)
    bits = [evaluate.validate(network, [each], tiny.PARAMETERS, torch.device("cpu")) for each in (one, other)]
    assert bits[0] == bits[1]
