"""What the training loop does not know: the network of a recipe, its data, its loss, its validation, its card.

A recipe whose network has a "kind" is one of the paper's on a set of small images (`ImageSetTask`); the others are of
the photo codec (`PhotoTask`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import nn

from pixcodec.errors import TrainingError
from pixcodec.exact.predict import Parameters
from pixcodec.nets import networks, photo
from pixcodec.nets.heads import BITS
from pixcodec.training import data, image_sets, sources
from pixcodec.training.evaluate import Bits, tensors, validate

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path

    Say = Callable[[str], None]
    Loaded = Any  # what a task's `load` gives is its own business
    Made = Any  # and so is a batch of it

_REPORT_SECONDS = 10.0
VALIDATE_IMAGES = 2000  # of an image set, while training goes on
VALIDATE_BATCH = 100


class Series(Protocol):
    """Numbered batches: of how many pixels, and from a number on."""

    @property
    def pixels(self) -> int:
        """Pixels in a batch."""

    def run(self, first: int) -> Generator[Made]:
        """Batches from number `first` on."""


class Task(Protocol):
    """See this module's text."""

    network: nn.Module

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds a pixel, forward."""

    @property
    def training_multiply_adds(self) -> int:
        """Multiply-adds a pixel, forward and backward."""

    def load(self, folders: Sequence[str | Path], cache: Path, processes: int, say: Say) -> Loaded:
        """The data, in a form that `batches` and `validate` know."""

    def batches(self, loaded: Loaded, rank: int = 0, world: int = 1) -> Series:
        """What to train on: part `rank` of `world`."""

    def about(self, loaded: Loaded) -> str:
        """The data in one line."""

    def nats(self, batch: Made, device: torch.device) -> torch.Tensor:
        """Code lengths of a batch's samples."""

    def validate(self, loaded: Loaded, device: torch.device) -> Bits:
        """Bits of what is held out."""

    def card(self) -> dict[str, Any]:
        """What the float weights belong to."""


def parts(recipe: Mapping[str, Any]) -> tuple[Parameters, photo.Configuration]:
    """Predictors and network of a photo recipe or card; `ValueError` and `KeyError` where they are not there."""
    parameters = Parameters.load(recipe["predictors"])
    form = recipe["network"]
    return parameters, photo.Configuration.load(form, parameters.channels, parameters.count, parameters.known)


def is_of_the_paper(recipe: Mapping[str, Any]) -> bool:
    """Whether a recipe or card is of one of the paper's networks."""
    return "kind" in recipe["network"]


def make(recipe: Mapping[str, Any]) -> Task:
    """The task of a recipe; `ValueError`, `KeyError` or `TypeError` where it describes none."""
    return ImageSetTask(recipe) if is_of_the_paper(recipe) else PhotoTask(recipe)


class PhotoTask:
    """Crops of photographs for a photo network."""

    def __init__(self, recipe: Mapping[str, Any]) -> None:
        self.recipe = recipe
        self.parameters, self.configuration = parts(recipe)
        self.network = photo.PhotoNet(self.configuration)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds a pixel, forward."""
        return self.configuration.multiply_adds

    @property
    def training_multiply_adds(self) -> int:
        """Multiply-adds a pixel, forward and backward: thrice the forward ones, but codes want no gradient."""
        c = self.configuration
        return 3 * c.multiply_adds - len(c.first_taps) * c.trunk_codes * c.features - sum(c.head_codes) * c.head

    def load(self, folders: Sequence[str | Path], cache: Path, processes: int, say: Say) -> list[data.Item]:
        """Planes and predictions of all pictures."""
        wanted = data.versions(sources.find(folders), self.recipe["data"])
        began = last = time.monotonic()

        def progress(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last > _REPORT_SECONDS or (done == total and last > began):
                last = now
                left = int((now - began) * (total - done) / done)
                say(f"predictor planes: {done} of {total} pictures, {left} seconds left")

        return data.prepare(wanted, self.parameters, cache, processes=processes, progress=progress)

    def batches(self, loaded: Sequence[data.Item], rank: int = 0, world: int = 1) -> data.Batches:
        """Crops of the pictures to train on."""
        training = [item for item in loaded if not item.version.picture.validates]
        return data.Batches(training, self.parameters, self.recipe["data"], self.configuration, rank, world)

    def about(self, loaded: Sequence[data.Item]) -> str:
        """How many pictures of how many pixels."""
        training = [item for item in loaded if not item.version.picture.validates]
        pixels = sum(item.planes[:, :, 0].size for item in training)
        validation = len(loaded) - len(training)
        return f"{len(training)} pictures, {pixels / 1e6:.1f} megapixels; {validation} for validation"

    def nats(self, batch: data.Batch, device: torch.device) -> torch.Tensor:
        """Code lengths of a batch's samples."""
        return self.network.nats(*tensors(batch, device))

    def validate(self, loaded: Sequence[data.Item], device: torch.device) -> Bits:
        """Bits of the validation pictures."""
        held_out = [item for item in loaded if item.version.picture.validates]
        return validate(self.network, held_out, self.parameters, device)

    def card(self) -> dict[str, Any]:
        """Predictors and network."""
        return {
            "channels": self.parameters.channels,
            "predictors": self.parameters.save(),
            "network": self.configuration.save(),
        }


class ImageSetTask:
    """A set of small images for one of the paper's networks."""

    def __init__(self, recipe: Mapping[str, Any]) -> None:
        self.recipe = recipe
        self.configuration = c = networks.load_shape(recipe["network"])
        self.network = networks.make(c)
        self.multiply_adds = networks.multiply_adds(self.network)
        self.training_multiply_adds = 3 * self.multiply_adds
        if recipe["data"]["set"] not in image_sets.SETS:
            raise ValueError(f"the image set must be one of {', '.join(image_sets.SETS)}")

    def load(self, folders: Sequence[str | Path], cache: Path, processes: int, say: Say) -> image_sets.ImageSet:
        """The set, from the one folder that holds it; `TrainingError` where the network is not for such images."""
        del cache, processes, say
        if len(folders) != 1:
            raise TrainingError(f"--data needs the one folder with the image set, found {len(folders)}")
        found = image_sets.load(self.recipe["data"]["set"], folders[0])
        c = self.configuration
        if found.train.shape[3] != c.channels or found.levels != c.levels:
            raise TrainingError(
                f"the network is for {c.channels} channels of {c.levels} levels, the images have "
                f"{found.train.shape[3]} of {found.levels}; change the recipe"
            )
        return found

    def batches(self, loaded: image_sets.ImageSet, rank: int = 0, world: int = 1) -> image_sets.Batches:
        """Images to train on."""
        return image_sets.Batches(loaded.train, self.recipe["data"], rank, world)

    def about(self, loaded: image_sets.ImageSet) -> str:
        """How many images of which size, and what is missing."""
        height, width, channels = loaded.train.shape[1:]
        parts = f"{len(loaded.train)} images of {width}x{height}x{channels}; {len(loaded.validation)} for validation"
        return f"{parts}; {loaded.about}" if loaded.about else parts

    def nats(self, batch: np.ndarray, device: torch.device) -> torch.Tensor:
        """Code lengths [N, C, H, W] of a batch's samples."""
        return self.network.nats(torch.from_numpy(batch).to(device, non_blocking=True))

    def validate(self, loaded: image_sets.ImageSet, device: torch.device) -> Bits:
        """Bits of a part of the validation images, and nats an image."""
        images = loaded.validation[: int(self.recipe["data"].get("validate", VALIDATE_IMAGES))]
        total = 0.0
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
            for first in range(0, len(images), VALIDATE_BATCH):
                batch = np.ascontiguousarray(images[first : first + VALIDATE_BATCH].transpose(0, 3, 1, 2))
                total += float(self.nats(batch, device).double().sum())
        return Bits(total * BITS / images.size, {"nats": total / len(images)})

    def card(self) -> dict[str, Any]:
        """Network and set."""
        return {
            "channels": self.configuration.channels,
            "network": self.configuration.save(),
            "set": self.recipe["data"]["set"],
        }
