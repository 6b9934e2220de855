"""Luma and chroma to train on: photographs as Photo CD and YCbCr have them, with what is known when a plane is coded.

A luma knows both chroma planes; a second chroma plane knows the first, which knows nothing: what is not there is 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pixcodec.origins.photo_cd import PhotoCD
from pixcodec.origins.ycbcr import YCbCr

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pixcodec.origins.luma_chroma import LumaChroma

    Planes = NDArray[np.uint8]

LUMA, CHROMA = "luma", "chroma"
NAMES = (LUMA, CHROMA)
# How often each kind and layout is drawn: film scans and video mostly have chroma at a quarter of the pixels.
_KINDS: tuple[type[LumaChroma], ...] = (PhotoCD, YCbCr, YCbCr)
_LAYOUTS = (((2, 2), True), ((2, 2), True), ((2, 2), False), ((1, 2), True), ((1, 2), False), ((1, 1), True))


def converted(planes: Planes, name: str, number: int) -> Planes:
    """A group of planes to train on, the same for the same number.

    Args:
        planes: uint8[H, W, 3], red, green and blue.
        name: of `NAMES`.
        number: of the draw.

    Returns:
        What is known, then the plane that is coded: of "luma" uint8[H, W, 3], of "chroma" uint8[h, w, 2].
    """
    random = np.random.default_rng(number)
    kind = _KINDS[random.integers(len(_KINDS))]
    factors, replicated = ((2, 2), False) if kind is PhotoCD else _LAYOUTS[random.integers(len(_LAYOUTS))]
    phases = tuple(int(random.integers(factor)) for factor in factors)
    origin = kind(int(random.integers(len(kind.CONVERSIONS))), factors, (phases[0], phases[1]), replicated)
    luma, first, second = separated(planes, origin)
    if name == CHROMA:
        alone = random.random() < 0.5
        return np.concatenate([np.zeros_like(first), first] if alone else [first, second], axis=2)
    enlarged = [origin.enlarged(chroma, *planes.shape[:2]) for chroma in (first, second)]
    return np.concatenate([*enlarged, luma], axis=2)


def separated(planes: Planes, origin: LumaChroma) -> tuple[Planes, Planes, Planes]:
    """Luma uint8[H, W, 1] and chroma uint8[h, w, 1] nearest to red, green and blue uint8[H, W, 3]."""
    matrix, offsets = origin.CONVERSIONS[origin.conversion].inverse()
    separate = (planes.reshape(-1, 3) + 0.5 - offsets) @ matrix.T
    luma, *chroma = np.moveaxis(separate.reshape(planes.shape), 2, 0)
    small = [_reduced(plane, origin.factors, origin.phases, origin.replicated) for plane in chroma]
    return tuple(np.clip(np.rint(p), 0, 255).astype(np.uint8)[:, :, None] for p in (luma, *small))  # type: ignore[return-value]


def _reduced(
    plane: NDArray[np.float64],
    factors: tuple[int, int],
    phases: tuple[int, int],
    replicated: bool,  # noqa: FBT001
) -> NDArray[np.float64]:
    """The mean of what each sample stands for: its own pixels, or those around it with half the weight."""
    for axis, (factor, phase) in enumerate(zip(factors, phases, strict=True)):
        if factor == 1:
            continue
        plane = np.moveaxis(plane, axis, 0)
        count = max(-(-(len(plane) - phase) // factor), 1)
        at = phase + factor * np.arange(count)
        before, here, after = (plane[np.clip(at + k, 0, len(plane) - 1)] for k in (-1, 0, 1))
        plane = np.moveaxis((here + after) / 2 if replicated else (before + 2 * here + after) / 4, 0, axis)
    return plane
