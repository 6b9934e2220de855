"""Photographs with every past that pixcodec looks for, made by its own formulas; the same ones on every run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import made_pictures
import numpy as np
from PIL import Image

from pixcodec.origins.photo_cd import PhotoCD
from pixcodec.origins.ycbcr import YCbCr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pixcodec.origins.luma_chroma import LumaChroma

    Planes = NDArray[np.uint8]
    Past = Callable[[Planes], Planes]

HALF, ACROSS = (2, 2), (1, 2)  # 4:2:0 and 4:2:2


def gray(photo: Planes) -> Planes:
    """Gray stored as RGB."""
    return np.asarray(Image.fromarray(photo).convert("L").convert("RGB"))


def palette(photo: Planes, count: int, dither: Image.Dither = Image.Dither.NONE) -> Planes:
    """At most so many colours."""
    picture = Image.fromarray(photo)
    colours = picture.quantize(count, dither=Image.Dither.NONE)  # Pillow dithers only where it is given the palette
    return np.asarray(picture.quantize(palette=colours, dither=dither).convert("RGB"))


def few_values(photo: Planes) -> Planes:
    """Every fifth value of each channel."""
    return photo // 5 * 5


def enlarged(photo: Planes, factors: tuple[int, int], first: tuple[int, int]) -> Planes:
    """Of a photograph's size: its middle, each pixel repeated down and across, from a row and column on."""
    (down, across), (top, left), (height, width) = factors, first, photo.shape[:2]
    rows, columns = (np.arange(height) + top) // down, (np.arange(width) + left) // across
    y, x = (height - rows[-1]) // 2, (width - columns[-1]) // 2
    return photo[y + rows[:, None], x + columns]


def with_alpha(planes: Planes) -> Planes:
    """An opaque alpha beside it."""
    return np.dstack([planes, np.full(planes.shape[:2], 255, np.uint8)])


def luma_chroma(photo: Planes, kind: type[LumaChroma], conversion: int, layout: tuple[int, ...]) -> Planes:
    """Rendered from the nearest luma and the mean of the nearest chroma; layout: factors, phases, replicated."""
    down, across, top, left, replicated = layout
    origin = kind(conversion, (down, across), (top, left), bool(replicated))
    inverse, offsets = kind.CONVERSIONS[conversion].inverse()
    values = (photo + 0.5 - offsets) @ inverse.T
    mean = np.mean([np.roll(values, (-y, -x), (0, 1)) for y in range(down) for x in range(across)], axis=0)
    planes = [np.clip(np.rint(each), 0, 255).astype(np.uint8) for each in (values, mean)]
    chroma = [planes[1][top::down, left::across, k : k + 1].copy() for k in (1, 2)]
    return origin.render([*chroma, planes[0][:, :, :1].copy()], photo.shape)


def _luma_chroma_pasts() -> Iterator[tuple[str, Past]]:
    for top, left in ((0, 0), (0, 1)):
        yield (
            f"Photo CD, from {(top, left)}",
            partial(luma_chroma, kind=PhotoCD, conversion=0, layout=(*HALF, top, left, 0)),
        )
    for number, name in enumerate(("JPEG", "BT.601", "BT.709")):
        for factors, title, replicated in ((HALF, "4:2:0", 1), (ACROSS, "4:2:2", 0)):
            past = partial(luma_chroma, kind=YCbCr, conversion=number, layout=(*factors, 0, 0, replicated))
            yield f"{title} of {name}, {'replicated' if replicated else 'interpolated'}", past


PASTS: dict[str, Past] = {
    "constant": lambda photo: np.full_like(photo, photo[0, 0]),
    "gray as RGB": gray,
    "opaque alpha": with_alpha,
    "16 colours": lambda photo: palette(photo, 16),
    "64 colours, dithered": lambda photo: palette(photo, 64, Image.Dither.FLOYDSTEINBERG),
    "256 colours": lambda photo: palette(photo, 256),
    "tone curve": made_pictures.tone,
    "every fifth value": few_values,
    "enlarged 2x2": lambda photo: enlarged(photo, (2, 2), (0, 0)),
    "enlarged 3x4, cropped": lambda photo: enlarged(photo, (4, 3), (3, 1)),
    "enlarged 16x5, cropped": lambda photo: enlarged(photo, (5, 16), (1, 11)),
    "enlarged 1x2": lambda photo: enlarged(photo, (2, 1), (0, 0)),
    "enlarged 3x3 of 16 colours": lambda photo: enlarged(palette(photo, 16), (3, 3), (2, 2)),
    "enlarged 2x2 of gray, opaque alpha": lambda photo: with_alpha(enlarged(gray(photo), (2, 2), (1, 0))),
    "enlarged 2x2 of Photo CD": lambda photo: enlarged(
        luma_chroma(photo, PhotoCD, 0, (*HALF, 0, 0, 0)), (2, 2), (0, 1)
    ),
    **dict(_luma_chroma_pasts()),
}
