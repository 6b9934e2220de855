"""Pictures that the benchmark renders itself: photographs with a past, and drawings; the same ones on every run.

Photographs are scikit-image's; without it there are drawings only.  Drawings use Pillow's own font, the chart
matplotlib.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pictures
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Planes = NDArray[np.uint8]

WORDS = "the image teaches the coder while it is coded and all of it is integers so every machine agrees".split(" ")  # noqa: SIM905
COLOURS = ((204, 204, 204), (78, 201, 176), (220, 120, 90), (86, 156, 214), (230, 200, 110))


@dataclass(frozen=True)
class Made(pictures.Sample):
    """A picture without a file."""

    planes: Planes = field(default_factory=lambda: np.zeros((1, 1, 3), np.uint8))

    def load(self) -> tuple[Planes, str]:
        """Return planes uint8[H, W, 3] and mode."""
        return self.planes, "RGB"


def quarter_chroma(photo: Planes, phase: int) -> Planes:
    """Chroma at every second pixel and row (4:2:0), replicated from an even or odd place."""
    luma, *chroma = Image.fromarray(photo).convert("YCbCr").split()
    height, width = photo.shape[:2]
    way = Image.Resampling.NEAREST
    small = [plane.resize((width // 2, height // 2), Image.Resampling.BOX) for plane in chroma]
    large = [np.roll(np.asarray(plane.resize((width, height), way)), (phase, phase), (0, 1)) for plane in small]
    return np.asarray(Image.merge("YCbCr", [luma, *map(Image.fromarray, large)]).convert("RGB"))


def jpeg(photo: Planes, quality: int) -> Planes:
    """Compressed as 4:2:0 and decoded."""
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))


def tone(photo: Planes) -> Planes:
    """Stretched by a curve, so that values are missing."""
    curve = np.clip((np.arange(256) - 20) / 200, 0, 1) ** 0.9
    return np.rint(255 * curve).astype(np.uint8)[photo]


def palette(photo: Planes, dither: Image.Dither) -> Planes:
    """Sixty-four colours."""
    picture = Image.fromarray(photo)
    colours = picture.quantize(64, dither=Image.Dither.NONE)  # Pillow dithers only where it is given the palette
    return np.asarray(picture.quantize(palette=colours, dither=dither).convert("RGB"))


def camera_noise(photo: Planes) -> Planes:
    """A sensor's noise, more of it where there is more light."""
    grain = np.random.default_rng(1).normal(0, 1, photo.shape) * (1.5 + 3 * np.sqrt(photo / 255))
    return np.clip(np.rint(photo + grain), 0, 255).astype(np.uint8)


def _with_a_past(photo: Planes) -> Iterator[tuple[str, Planes]]:
    yield "chroma 4:2:0, even", quarter_chroma(photo, 0)
    yield "chroma 4:2:0, odd", quarter_chroma(photo, 1)
    for quality in (75, 92):
        yield f"JPEG {quality}", jpeg(photo, quality)
    yield "tone curve", tone(photo)
    yield "palette", palette(photo, Image.Dither.NONE)
    yield "palette, dithered", palette(photo, Image.Dither.FLOYDSTEINBERG)
    yield "camera noise", camera_noise(photo)


def _lines(width: int, height: int, paper: tuple[int, int, int], inks: tuple[tuple[int, int, int], ...]) -> Planes:
    """Lines of words, each in one of the inks."""
    page, random = Image.new("RGB", (width, height), paper), np.random.default_rng(2)
    draw = ImageDraw.Draw(page)
    for line in range(height // 14):
        words = " ".join(WORDS[k] for k in random.integers(0, len(WORDS), 3 + width // 40))
        draw.text((6, 4 + 14 * line), words, fill=inks[int(random.integers(len(inks)))])
    return np.asarray(page)


def _chart(width: int, height: int) -> Planes:
    """Curves, a legend, a grid."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(width / 80, height / 80), dpi=80, layout="constrained")
    x = np.linspace(0, 10, 200)
    for k in range(3):
        axes.plot(x, np.sin(x + k) * np.exp(-x / (4 + k)), label=f"{k} of 3")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    plt.close(figure)
    return np.asarray(Image.open(stream).convert("RGB"))


def _pixel_art(width: int, height: int) -> Planes:
    """A mirrored sprite of eight colours again and again on two grounds, each of its pixels 4x4."""
    random = np.random.default_rng(4)
    colours = random.integers(0, 256, (8, 3))
    half = random.integers(0, 8, (12, 6))
    sprite = np.concatenate([half, half[:, ::-1]], axis=1)
    rows, columns = -(-height // 64), -(-width // 64)
    grid = random.integers(0, 2, (16 * rows, 16 * columns)) * 2
    for y in range(rows):
        for x in range(columns):
            grid[16 * y + 2 : 16 * y + 14, 16 * x + 2 : 16 * x + 14] = sprite
    return colours[grid.repeat(4, 0).repeat(4, 1)][:height, :width].astype(np.uint8)


def drawings(width: int, height: int) -> Iterator[tuple[str, Planes]]:
    """A terminal, a page of text, pixel art, and with matplotlib a chart."""
    yield "terminal", _lines(width, height, (30, 30, 30), COLOURS)
    yield "page of text", _lines(width, height, (255, 255, 255), ((0, 0, 0),))
    yield "pixel art", _pixel_art(width, height)
    try:
        yield "chart", _chart(width, height)
    except ImportError:
        return


def made(width: int, height: int) -> list[pictures.Sample]:
    """All of them, of this size."""
    samples: list[pictures.Sample] = []
    for photo in pictures.scikit_image():
        if photo.name == "coffee":  # one that was never JPEG, with both texture and smooth places
            planes = pictures.cropped(photo.load()[0], width, height)
            samples += [Made(name, "past", photo.path, planes=each) for name, each in _with_a_past(planes)]
    nowhere = pictures.RESULTS
    return samples + [Made(name, "drawing", nowhere, planes=each) for name, each in drawings(width, height)]
