"""What one of the paper's networks costs on a set of images, frozen and in float."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pixcodec import stacks
from pixcodec.progress import Tally, side_by_side

if TYPE_CHECKING:
    from pathlib import Path

    from pixcodec.exact.program import Program
    from pixcodec.progress import Progress

_ENLARGED = 8  # pixels of the picture a position
_PARTS = {1: ("all",), 3: ("R", "G", "B")}


@dataclass(frozen=True)
class Cost:
    """Mean bits by place, float64[H, W, C], of so many images, and the bytes of their streams."""

    bits: np.ndarray
    images: int
    stream_bytes: int

    def facts(self) -> dict[str, Any]:
        """Figures by name; bits per dimension unless they say nats."""
        per_channel = self.bits.mean(axis=(0, 1))
        names = _PARTS[len(per_channel)]
        return {
            "bits_per_dim": round(8 * self.stream_bytes / (self.images * self.bits.size), 5),
            "nats_an_image": round(8 * self.stream_bytes / self.images * math.log(2), 4),
            "ideal_bits_per_dim": round(float(self.bits.mean()), 5),
            "channels": {name: round(float(value), 5) for name, value in zip(names, per_channel, strict=True)},
            "stream_bytes": self.stream_bytes,
        }


def frozen(program: Program, images: np.ndarray, block: int, progress: Progress | None = None) -> Cost:
    """Code images uint8[N, H, W, C], `block` of them in a stream."""
    tally = Tally(progress, len(images))
    parts = [images[first : first + block] for first in range(0, len(images), block)]

    def work(part: np.ndarray) -> stacks.Lengths:
        return stacks.lengths(part, program, progress=tally.part(len(part)))

    made = side_by_side(work, parts)
    shares = [len(part) / len(images) for part in parts]
    bits = np.sum([share * each.bits for share, each in zip(shares, made, strict=True)], axis=0)
    return Cost(bits, len(images), sum(len(each.payload) for each in made))


def floating(folder: Path, images: np.ndarray) -> float:
    """Bits per dimension of the float network whose weights lie in a model's folder, in binary32."""
    from pixcodec.training import checkpoint, freeze_program

    network, _ = checkpoint.load_network(folder)
    return round(freeze_program.measure(network.eval(), images) / images.size, 5)  # type: ignore[arg-type]


def picture(bits: np.ndarray) -> Image.Image:
    """Bits by place, a panel a channel, black for none and white for the most."""
    panels = np.concatenate(list(bits.transpose(2, 0, 1)), axis=1)
    levels = np.rint(255 * panels / max(float(panels.max()), 1e-9)).astype(np.uint8)
    return Image.fromarray(levels.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1))
