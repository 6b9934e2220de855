"""The bilevel model that is shipped: whole, exact by every path."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pixcodec import codec, models
from pixcodec.exact import arrays, matmul
from pixcodec.exact.evaluation import Evaluation, steps
from pixcodec.exact.reference import program as reference

FOLDER = Path(models.__file__).parent.parent / "models"


def disc(side: int) -> np.ndarray:
    """A bilevel picture, uint8[side, side, 1]: a disc with a bite, and some noise."""
    y, x = np.ogrid[:side, :side]
    planes = ((y - side / 2) ** 2 + (x - side / 2) ** 2 < side**2 / 9) & ((y < side / 2) | (x < side / 2))
    noise = np.random.default_rng(3).random((side, side)) < 0.05
    return (planes ^ noise).astype(np.uint8)[:, :, None]


def test_the_bilevel_model_is_whole() -> None:
    folder = FOLDER / models.DEFAULTS["1"]
    network = models.load(str(folder))
    card = json.loads((folder / models.CARD).read_text())
    assert card["id"] == network.identity.hex()
    assert card["training"]["pixels"] > 0
    assert set(card["training"]["freezing"]) >= {"float", "frozen"}
    assert (folder / "float.safetensors").stat().st_size < 6_000_000


@pytest.mark.parametrize("name", matmul.NAMES)
def test_all_at_once_and_step_by_step_are_the_reference(name: str) -> None:
    if name.startswith("torch"):
        pytest.importorskip("torch")
    network = models.load(models.DEFAULTS["1"])
    planes = disc(9)
    expected = reference.outputs(network, planes)
    library = arrays.choose(network, name)[0]
    known = library.array(planes.reshape(-1, 1, 1).astype(np.float32))
    at_once = Evaluation(network, 1, 9, 9, library)
    np.testing.assert_array_equal(library.numbers(at_once.outputs(known)).reshape(expected.shape), expected)
    by_steps = Evaluation(network, 1, 9, 9, library)
    for rows, columns in steps(network, 9, 9):
        at = by_steps.begin(rows, columns)
        found = library.numbers(by_steps.step(at, 0)).reshape(len(rows), -1)
        np.testing.assert_array_equal(found, expected[rows, columns])
        by_steps.know(at, 0, library.array(planes[rows, columns, 0][:, None].astype(np.float32)))
        by_steps.end(rows, columns)


def test_a_bilevel_picture_comes_back() -> None:
    planes = disc(28)
    data = codec.encode(planes, "1").data
    decoded = codec.decode(data)
    assert decoded.mode == "1"
    np.testing.assert_array_equal(decoded.planes, planes)
    pytest.importorskip("torch")
    assert codec.encode(planes, "1", device="cpu").data == data
    np.testing.assert_array_equal(codec.decode(data, device="cpu").planes, planes)
