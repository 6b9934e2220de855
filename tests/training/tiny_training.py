"""A recipe that trains in a moment, and pictures for it."""

from __future__ import annotations

import copy
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import random_networks as nets
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pixcodec.exact.predict import Parameters

PARAMETERS = nets.SMALL
CROP, BATCH = 24, 2
PIXELS = BATCH * CROP**2  # of a batch
STEPS = 12
RECIPE: dict[str, Any] = {
    "name": "tiny",
    "predictors": PARAMETERS.save(),
    "network": {"features": 8, "blocks": 1, "head": 8, "output": "residual"},
    "data": {"crop": CROP, "batch": BATCH, "seed": 5, "max_pixels": 1500, "versions": {"default": 2}},
    "optimiser": {"name": "adamw", "rate": 0.02, "weight_decay": 0.01, "warm_up": 3, "decay": 0.5},
    "pixels": STEPS * PIXELS,
}
SET_RECIPE: dict[str, Any] = {
    "name": "tiny_set",
    "network": {"kind": "pixelcnn", "features": 6, "layers": 1, "hidden": 6},
    "data": {"set": "images", "batch": 2, "seed": 5},
    "optimiser": {"name": "rmsprop", "rate": 0.003},
    "pixels": STEPS * 2 * 8 * 8,
}
SPLITS = ("train", "train", "train", "val")


def recipe(**changes: Any) -> dict[str, Any]:
    """The recipe with some of its parts changed; what is None is left out."""
    result = copy.deepcopy(RECIPE)
    for part, change in changes.items():
        if change is None:
            del result[part]
        elif isinstance(change, dict):
            result[part] |= change
        else:
            result[part] = change
    return result


def written(path: Path, content: Any) -> Path:
    """A JSON file."""
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def make_pictures(folder: Path) -> Path:
    """Pictures of smooth shapes with a little noise, and a list of them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["# kind package path name width height split scale"]
    for n, split in enumerate(SPLITS):
        height, width = 40 + n, 44 - n
        name = f"source{n % 2}/picture{n}.png"
        (folder / name).parent.mkdir(exist_ok=True)
        planes = np.roll(nets.picture("smooth", height, width, 3), 5 * n, axis=1)
        Image.fromarray(planes).save(folder / name)
        lines.append("\t".join(["deb", "package", name, name, str(width), str(height), split, "1"]))
    (folder / "photos.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def make_set(folder: Path, count: int = 24, side: int = 8) -> Path:
    """Small colour pictures of one size, for `SET_RECIPE`."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        planes = np.roll(nets.picture("smooth", side, side, 3), n, axis=1)
        Image.fromarray(planes).save(folder / f"{n:02}.png")
    return folder


def codes_by_hand(
    planes: np.ndarray, predicted: np.ndarray, parameters: Parameters, y: int, x: int, place: Sequence[int] = ()
) -> Any:
    """(trunk codes, head codes of all channels, centres) of a pixel, by the reference."""
    from pixcodec.exact.reference import network as reference

    values, guesses = planes[y, x].tolist(), predicted[y, x].tolist()
    heads, centres = [], []
    for c, number in enumerate(parameters.centre):
        heads += reference.head_codes(values, guesses, c, number, place)
        centres.append(reference.rounded_centre(guesses[c][number]))
    return reference.past_codes(values, guesses, place), heads, centres


class InThisProcess(ThreadPoolExecutor):
    """Stands in for `ProcessPoolExecutor`, whose processes take seconds to start."""

    def __init__(self, processes: int, context: object) -> None:
        del processes, context
        super().__init__(1)
