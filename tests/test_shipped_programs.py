"""The paper's networks that are shipped: whole, and exact by every path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pixcodec import codec, models, stacks
from pixcodec.exact import arrays, matmul
from pixcodec.exact.evaluation import Evaluation, steps
from pixcodec.exact.program import Program
from pixcodec.exact.reference import program as reference

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(models.__file__).parent.parent / "models"
NAMES = sorted(
    path.parent.name for path in FOLDER.glob("*/card.json") if "program" in json.loads(path.read_text(encoding="utf-8"))
)
SIDE = 7


def load(name: str) -> Program:
    """A shipped program."""
    network = models.load(str(FOLDER / name))
    assert isinstance(network, Program)
    return network


def disc(side: int) -> np.ndarray:
    """A bilevel picture, uint8[side, side, 1]: a disc with a bite, and some noise."""
    y, x = np.ogrid[:side, :side]
    planes = ((y - side / 2) ** 2 + (x - side / 2) ** 2 < side**2 / 9) & ((y < side / 2) | (x < side / 2))
    noise = np.random.default_rng(3).random((side, side)) < 0.05
    return (planes ^ noise).astype(np.uint8)[:, :, None]


def picture(network: Program, side: int) -> np.ndarray:
    """A picture of the network's kind, uint8[side, side, C]."""
    planes = disc(side)
    if network.levels == 2:
        return planes
    y, x, c = np.mgrid[:side, :side, : network.channels]
    return (40 * planes + 60 + 7 * x + 5 * y + 9 * c + (x * y) % 5).astype(np.uint8)


def scales(network: Program, planes: np.ndarray) -> Iterator[tuple[Program, np.ndarray]]:
    """The program and its picture, then those of the small image in it."""
    yield network, planes
    if network.small is not None:
        yield from scales(network.small, planes[::2, ::2])


def test_all_of_the_paper_s_networks_are_shipped() -> None:
    kinds = {load(name).card["network"]["kind"] for name in NAMES}
    assert kinds >= {"pixelcnn", "row_lstm", "diagonal_bilstm", "multi_scale"}
    assert models.DEFAULTS["1"] in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_whole(name: str) -> None:
    network, card = load(name), json.loads((FOLDER / name / models.CARD).read_text())
    assert card["id"] == network.identity.hex()
    assert card["training"]["pixels"] > 0
    assert set(card["training"]["freezing"]) >= {"float", "frozen"}
    assert (FOLDER / name / "float.safetensors").stat().st_size < 20_000_000
    assert (FOLDER / name / "README.md").is_file()


@pytest.mark.parametrize("backend", matmul.NAMES)
@pytest.mark.parametrize("name", NAMES)
def test_all_at_once_and_step_by_step_are_the_reference(name: str, backend: str) -> None:
    if backend.startswith("torch"):
        pytest.importorskip("torch")
    for network, planes in scales(load(name), picture(load(name), SIDE)):
        height, width, channels = planes.shape
        expected = reference.outputs(network, planes)
        library = arrays.choose(network, backend)[0]
        known = library.array(planes.reshape(-1, 1, channels).astype(np.float32))
        at_once = Evaluation(network, 1, height, width, library)
        np.testing.assert_array_equal(library.numbers(at_once.outputs(known)).reshape(expected.shape), expected)
        by_steps = Evaluation(network, 1, height, width, library)
        if network.small is not None:
            small = planes[::2, ::2].reshape(-1, 1, channels)
            by_steps.know_small(library.array(np.ascontiguousarray(small, np.float32)))
        for rows, columns in steps(network, height, width):
            at = by_steps.begin(rows, columns)
            for channel in range(channels):
                if channel < network.groups:
                    own = network.columns(network.last, channel)
                    found = library.numbers(by_steps.step(at, channel)).reshape(len(rows), -1)
                    np.testing.assert_array_equal(found, expected[rows, columns][:, own])
                values = planes[rows, columns, channel][:, None].astype(np.float32)
                by_steps.know(at, channel, library.array(values))
            by_steps.end(rows, columns)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_come_back(name: str) -> None:
    network = load(name)
    images = np.stack([picture(network, 12), picture(network, 12)[::-1]])
    coded = stacks.encode(images, network)
    np.testing.assert_array_equal(stacks.decode(coded.payload, images.shape, network), images)


def test_a_bilevel_picture_comes_back() -> None:
    planes = disc(28)
    data = codec.encode(planes, "1").data
    decoded = codec.decode(data)
    assert decoded.mode == "1"
    np.testing.assert_array_equal(decoded.planes, planes)
    pytest.importorskip("torch")
    assert codec.encode(planes, "1", device="cpu").data == data
    np.testing.assert_array_equal(codec.decode(data, device="cpu").planes, planes)
