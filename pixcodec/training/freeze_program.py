"""One of the paper's float networks to a model's folder: `training.freeze` does it for whatever a folder holds.

Units are calibrated on training images.  What freezing costs is measured on validation images: the float network in
binary32 against the real stream of the frozen one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pixcodec import stacks
from pixcodec.exact.program import Program, identity
from pixcodec.nets.heads import BITS
from pixcodec.training.compile import compile_network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pixcodec.nets.networks import Network
    from pixcodec.training.image_sets import ImageSet

CALIBRATION_IMAGES, MEASURED_IMAGES = 256, 512
CARD_FORMAT = 0  # of every model's card
_TILE = 64  # longest side in one piece: networks of small images know no larger ones


@dataclass(frozen=True)
class FrozenProgram:
    """The exact program, and bits per dimension of the measured validation images before and after."""

    network: Program
    before: float
    after: float


def measure(network: Network, images: np.ndarray, batch: int = 64) -> float:
    """Bits of images uint8[N, H, W, C] by the float network in binary32."""
    total = 0.0
    with torch.inference_mode():
        for first in range(0, len(images), batch):
            values = np.ascontiguousarray(images[first : first + batch].transpose(0, 3, 1, 2))
            total += float(network.nats(torch.from_numpy(values)).double().sum())
    return total * BITS


def freeze(
    network: Network, card: Mapping[str, Any], found: ImageSet, say: Callable[[str], None] | None = None
) -> tuple[FrozenProgram, dict[str, np.ndarray]]:
    """Calibrate and round.

    Args:
        network: the float network.
        card: of its weights.
        found: its image set.
        say: takes lines about progress.

    Returns:
        The frozen network with its cost, and its tensors.
    """
    say = say or (lambda _: None)
    chosen = np.random.default_rng(0).permutation(len(found.train))[:CALIBRATION_IMAGES]
    values = torch.from_numpy(np.ascontiguousarray(found.train[chosen].transpose(0, 3, 1, 2)))
    deciding, tensors = compile_network(network, values)
    whole: dict[str, Any] = {
        "format": CARD_FORMAT,
        "name": card["name"],
        **deciding,
        "tile": _TILE,
        "size": list(found.train.shape[1:3]),
        "network": card["network"],
        "set": card["set"],
        "training": dict(card["training"]),
    }
    whole["id"] = identity(whole, tensors).hex()
    program = Program.build(whole, tensors)
    images = found.validation[:MEASURED_IMAGES]
    before = measure(network, images) / images.size
    after = 8 * len(stacks.encode(images, program).payload) / images.size
    say(f"float {before:.4f}, frozen {after:.4f} bits per dimension on {len(images)} images, {after / before - 1:+.3%}")
    whole["training"]["freezing"] = {
        "images": len(images),
        "float": round(before, 5),
        "frozen": round(after, 5),
    }
    return FrozenProgram(program, before, after), tensors
