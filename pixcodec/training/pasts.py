"""Pictures with a past: what pictures have gone through before anyone compresses them, made on purpose to train on."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Planes = NDArray[np.uint8]
    Past = Callable[[Planes, np.random.Generator], Planes]

_LINES = "the quick brown fox jumps over the lazy dog, 0123456789"


def quarter_chroma(planes: Planes, random: np.random.Generator) -> Planes:
    """Chroma at every second pixel and row, in one of four phases, replicated or interpolated."""
    height, width = planes.shape[:2]
    top, left = random.integers(2), random.integers(2)
    luma, *chroma = Image.fromarray(planes).convert("YCbCr").split()
    way = Image.Resampling.NEAREST if random.random() < 0.5 else Image.Resampling.BILINEAR
    small = [plane.resize((-(-width // 2), -(-height // 2)), Image.Resampling.BOX) for plane in chroma]
    large = [np.roll(np.asarray(plane.resize((width, height), way)), (top, left), (0, 1)) for plane in small]
    return np.asarray(Image.merge("YCbCr", [luma, *map(Image.fromarray, large)]).convert("RGB"))


def jpeg(planes: Planes, random: np.random.Generator) -> Planes:
    """Compressed and decoded."""
    stream = io.BytesIO()
    quality, chroma = int(random.integers(70, 97)), int(random.choice([0, 2]))
    Image.fromarray(planes).save(stream, "JPEG", quality=quality, subsampling=chroma)
    return np.asarray(Image.open(stream).convert("RGB"))


def tone(planes: Planes, random: np.random.Generator) -> Planes:
    """Stretched, so that values are missing."""
    low, high = random.integers(5, 30), random.integers(200, 245)
    curve = np.clip((np.arange(256) - low) / (high - low), 0, 1) ** random.uniform(0.8, 1.2)
    return np.rint(255 * curve).astype(np.uint8)[planes]


def palette(planes: Planes, random: np.random.Generator) -> Planes:
    """A few colours, with or without dithering."""
    dither = Image.Dither.FLOYDSTEINBERG if random.random() < 0.5 else Image.Dither.NONE
    few = Image.fromarray(planes).quantize(int(random.integers(16, 200)), dither=dither)
    return np.asarray(few.convert("RGB"))


def noise(planes: Planes, random: np.random.Generator) -> Planes:
    """A sensor's noise."""
    grain = random.normal(0, random.uniform(1, 6), planes.shape)
    return np.clip(np.rint(planes + grain), 0, 255).astype(np.uint8)


def text(planes: Planes, random: np.random.Generator) -> Planes:
    """Lines of text, of the picture only its colours."""
    paper, ink = (tuple(map(int, np.sort(planes[:, :, c].ravel())[[-1, 0]])) for c in (0, 1))
    page = Image.new("RGB", planes.shape[1::-1], (paper[0], paper[0], ink[0]))
    draw = ImageDraw.Draw(page)
    for line in range(planes.shape[0] // 14):
        first = int(random.integers(len(_LINES) // 2))
        draw.text((4, 14 * line), _LINES[first:] + _LINES[:first], fill=(ink[1], paper[1] // 3, ink[1]))
    return np.asarray(page)


PASTS: tuple[Past, ...] = (quarter_chroma, jpeg, tone, noise, palette, jpeg, quarter_chroma, text)


def with_past(planes: Planes, number: int) -> Planes:
    """A past of `PASTS` for planes uint8[H, W, 3] or [H, W, 1], the same one for the same number."""
    random = np.random.default_rng(number)
    past = PASTS[random.integers(len(PASTS))]
    colours = past(np.repeat(planes, 3, axis=2) if planes.shape[2] == 1 else planes, random)
    return colours if planes.shape[2] == 3 else np.asarray(Image.fromarray(colours).convert("L"))[:, :, None]
