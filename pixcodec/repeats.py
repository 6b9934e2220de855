"""Whether a picture repeats itself, before it is coded: what experts of repetition have to go by."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MIXED = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F], np.uint32)  # odd numbers, a neighbour each


def share_of_repeats(images: NDArray[np.uint8], sides: tuple[int, int]) -> float:
    """The share of pixels whose neighbours (left, upper, and those beside it) were a pixel's before, in the same tile.

    Args:
        images: uint8[N, H, W, C].
        sides: height and width of a tile.
    """
    _, height, width, _ = images.shape
    places = product(range(0, height, sides[0]), range(0, width, sides[1]))
    parts = [images[:, y : y + sides[0], x : x + sides[1]] for y, x in places]
    seen = repeated = 0
    for keys in map(_neighbourhoods, parts):
        seen += keys.size
        repeated += int(np.count_nonzero(np.diff(np.sort(keys, axis=None)) == 0))
    return repeated / seen if seen else 1.0


def _neighbourhoods(images: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Hashes of the four neighbours of all pixels that have them."""
    colours = np.zeros(images.shape[:3], np.uint32)
    for k in range(images.shape[3]):
        colours = (colours << np.uint32(8)) | images[..., k]
    upper = colours[:, :-1]
    near = colours[:, 1:, :-2], upper[:, :, 1:-1], upper[:, :, :-2], upper[:, :, 2:]
    return sum((each * mixed for each, mixed in zip(near, _MIXED, strict=True)), np.zeros_like(near[0]))
