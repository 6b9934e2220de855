"""The integer JPEG decoder against Pillow's, sample by sample."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import jpeg_writer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixcodec.origins import jpeg_decoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Factors = list[tuple[int, int]]

LAYOUTS = {
    "gray": [(1, 1)],
    "4:4:4": [(1, 1), (1, 1), (1, 1)],
    "4:2:2": [(2, 1), (1, 1), (1, 1)],
    "4:4:0": [(1, 2), (1, 1), (1, 1)],
    "4:2:0": [(2, 2), (1, 1), (1, 1)],
    "mixed": [(2, 2), (2, 1), (1, 2)],
}


def _coefficients(
    rng: np.random.Generator, factors: Factors, tables: list[NDArray], height: int, width: int, spread: float
) -> list[NDArray[np.int16]]:
    """Random levels: DC over all of its range, AC of any frequency, so that samples clip but do not overflow."""
    most_h, most_v = (max(each) for each in zip(*factors, strict=True))
    rows, columns = -(-height // (8 * most_v)), -(-width // (8 * most_h))
    out = []
    for (h, v), table in zip(factors, tables, strict=True):
        wanted = rng.laplace(0, spread, (rows * v, columns * h, 64)) * rng.random((1, 1, 64)) ** 3
        wanted[:, :, 0] = rng.uniform(-1024, 1024, wanted.shape[:2])
        out.append((wanted / table).round().astype(np.int16))
    return out


@pytest.mark.parametrize("layout", LAYOUTS)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32), st.sampled_from([2, 20, 60]), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_every_pixel_is_pillows(layout: str, height: int, width: int, seed: int, spread: int, step: int) -> None:
    rng, factors = np.random.default_rng(seed), LAYOUTS[layout]
    tables = [rng.integers(1, step + 1, 64).astype(np.uint16) for _ in factors]
    components = _coefficients(rng, factors, tables, height, width, spread)
    data = jpeg_writer.write(components, tables, factors, (height, width))
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image).reshape(height, width, -1)
    assert (jpeg_decoder.render(components, tables, factors, height, width) == expected).all()


@given(st.integers(0, 2**32), st.sampled_from([1, 20, 2047]))
@settings(max_examples=60, deadline=None)
def test_the_compiled_dct_is_that_of_numpy(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    component = rng.integers(-most, most + 1, (3, 5, 64)).astype(np.int16)
    table = rng.integers(1, 256, 64).astype(np.uint16)
    blocks = jpeg_decoder.inverse_dct(component, table)
    assert (jpeg_decoder.samples(component, table) == blocks.transpose(0, 2, 1, 3).reshape(24, 40)).all()
