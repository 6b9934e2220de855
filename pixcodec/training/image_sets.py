"""Sets of small images of one size, in the files in which they are published.

| name              | files                                                                | validation          |
|-------------------|----------------------------------------------------------------------|---------------------|
| binarized_mnist   | binarized_mnist.npz (train, valid, test: packed bits), or the three  | its own             |
|                   | binarized_mnist_{train,valid,test}.amat                              |                     |
| mnist             | train-images-idx3-ubyte, t10k-images-idx3-ubyte, perhaps .gz         | last 10,000         |
| cifar10           | data_batch_1.. and test_batch (python), data_batch_1.bin.. and       | last 5,000          |
|                   | test_batch.bin, or strips train_000.webp.., test_000.webp..          |                     |
| imagenet32, 64    | train_data_batch_1.npz.. and val_data.npz: "data", uint8[N, 3 S S]   | last 5,000          |
| images            | any folder of pictures of one size and mode                          | last twentieth      |

Every choice is made on the validation part, which is not trained on (and is never more than half of what there is to
train on); figures are of the test part.
"""

from __future__ import annotations

import gzip
import pickle
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pixcodec.errors import TrainingError
from pixcodec.training.sources import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

_CIFAR_SIDE, _CIFAR_BATCHES = 32, 5
_IDX_IMAGES = 2051  # the magic number of a file of images


@dataclass(frozen=True)
class ImageSet:
    """Images uint8[N, H, W, C], and how many values a channel has.

    Attributes:
        train, validation, test: the parts, in their published order.
        levels: 256, or 2 for bilevel images (values 0 and 1).
        about: what must be said beside a figure, such as images that are missing.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    levels: int = 256
    about: str = ""


def _set(train: np.ndarray, held_out: int, test: np.ndarray, about: str = "") -> ImageSet:
    """A set whose last images to train on validate."""
    held_out = min(held_out, len(train) // 2)
    edge = len(train) - held_out
    return ImageSet(train[:edge], train[edge:], test, about=about)


def _binarized_mnist(folder: Path) -> ImageSet:
    packed = folder / "binarized_mnist.npz"
    if packed.is_file():
        with np.load(packed) as arrays:
            parts = [np.unpackbits(arrays[name], axis=1) for name in ("train", "valid", "test")]
    else:
        names = [folder / f"binarized_mnist_{name}.amat" for name in ("train", "valid", "test")]
        parts = [np.loadtxt(name, dtype=np.uint8, ndmin=2) for name in names]
    if any(part.shape[1:] != (28 * 28,) or part.max(initial=0) > 1 for part in parts):
        raise ValueError("expected 784 bits an image")
    train, validation, test = (part.reshape(-1, 28, 28, 1) for part in parts)
    return ImageSet(train, validation, test, 2)


def _idx(folder: Path, name: str) -> np.ndarray:
    """uint8[N, H, W, 1] of an IDX file, packed by gzip or not."""
    path = folder / name
    data = path.read_bytes() if path.is_file() else gzip.decompress((folder / f"{name}.gz").read_bytes())
    magic, count, height, width = struct.unpack_from(">IIII", data)
    if magic != _IDX_IMAGES:
        raise ValueError(f"{name} is no IDX file of images")
    if len(data) != 16 + count * height * width:
        raise ValueError(f"{name} has {len(data)} bytes, which are not {count} images of {width}x{height}")
    return np.frombuffer(bytearray(data), np.uint8, offset=16).reshape(count, height, width, 1)


def _mnist(folder: Path) -> ImageSet:
    train, test = _idx(folder, "train-images-idx3-ubyte"), _idx(folder, "t10k-images-idx3-ubyte")
    return _set(train, 10_000, test)


class _ArraysOnly(pickle.Unpickler):
    """Reads the published pickles and nothing that could run code."""

    _ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - pickle's signature
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} does not belong into an image set")
        return super().find_class(module, name)


def _pickled(path: Path) -> np.ndarray:
    with path.open("rb") as stream:
        entry = _ArraysOnly(stream, encoding="latin1").load()
    return _planes(entry["data"], _CIFAR_SIDE)


def _planes(flat: np.ndarray, side: int) -> np.ndarray:
    """uint8[N, 3 side side], channel after channel, to uint8[N, side, side, 3]; `ValueError` if it is none."""
    if flat.dtype != np.uint8 or flat.shape[1:] != (3 * side**2,):
        raise ValueError(f"expected rows of {3 * side**2} bytes, found {flat.dtype}{list(flat.shape)}")
    return np.ascontiguousarray(flat.reshape(-1, 3, side, side).transpose(0, 2, 3, 1))


def _records(path: Path) -> np.ndarray:
    data = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 1 + 3 * _CIFAR_SIDE**2)
    if not len(data):
        raise ValueError(f"{path.name} is empty")
    return _planes(data[:, 1:], _CIFAR_SIDE)


def _strips(folder: Path, name: str) -> tuple[np.ndarray, int]:
    """Images of strips one image wide, and how many of them are black: those are missing and left out."""
    found = []
    for path in sorted(folder.glob(f"{name}_*.webp")):
        with Image.open(path) as opened:
            if opened.width != _CIFAR_SIDE:
                raise ValueError(f"{path.name} must be {_CIFAR_SIDE} pixels wide, found {opened.width}")
            found.append(np.asarray(opened.convert("RGB")).reshape(-1, _CIFAR_SIDE, _CIFAR_SIDE, 3))
    images = np.concatenate(found)
    there = images.any(axis=(1, 2, 3))
    return images[there], int((~there).sum())


def _cifar10(folder: Path) -> ImageSet:
    about = ""
    numbers = range(1, _CIFAR_BATCHES + 1)
    if (folder / "test_batch").is_file():
        train = np.concatenate([_pickled(folder / f"data_batch_{n}") for n in numbers])
        test = _pickled(folder / "test_batch")
    elif (folder / "test_batch.bin").is_file():
        train = np.concatenate([_records(folder / f"data_batch_{n}.bin") for n in numbers])
        test = _records(folder / "test_batch.bin")
    else:
        (train, missing), (test, missing_test) = _strips(folder, "train"), _strips(folder, "test")
        about = f"{len(test)} of {len(test) + missing_test} test images, {missing} of the training images missing"
    return _set(train, 5000, test, about)


def _imagenet(folder: Path, side: int) -> ImageSet:
    def data(path: Path) -> np.ndarray:
        with np.load(path) as arrays:
            return _planes(arrays["data"], side)

    numbered = sorted(folder.glob("train_data_batch_*.npz"), key=lambda p: int(p.stem.rsplit("_", 1)[1]))
    train = np.concatenate([data(path) for path in numbered])
    return _set(train, 5000, data(folder / "val_data.npz"))


def _images(folder: Path) -> ImageSet:
    """A folder of pictures; the last twentieth validates and is the test too, since nothing else is held out."""
    pictures = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        with Image.open(path) as opened:
            image = opened if opened.mode in {"1", "L", "RGB"} else opened.convert("RGB")
            planes = np.asarray(image).astype(np.uint8)
        pictures.append(planes[:, :, None] if planes.ndim == 2 else planes)
    if not pictures or len({planes.shape for planes in pictures}) != 1:
        shapes = sorted({planes.shape for planes in pictures})
        raise ValueError(f"expected pictures of one size and mode, found {shapes[:3] or 'none'}")
    every = np.stack(pictures)
    held_out = max(1, len(every) // 20)
    return ImageSet(every[:-held_out], every[-held_out:], every[-held_out:], 2 if every.max() <= 1 else 256)


SETS: dict[str, Callable[[Path], ImageSet]] = {
    "binarized_mnist": _binarized_mnist,
    "mnist": _mnist,
    "cifar10": _cifar10,
    "imagenet32": lambda folder: _imagenet(folder, 32),
    "imagenet64": lambda folder: _imagenet(folder, 64),
    "images": _images,
}


def load(name: str, folder: str | Path) -> ImageSet:
    """The set called `name` from the folder with its published files.

    Raises:
        TrainingError: no such set, or its files are missing or not what they should be.
    """
    if name not in SETS:
        raise TrainingError(f"there is no image set {name!r}; choose one of {', '.join(SETS)}")
    try:
        found = SETS[name](Path(folder))
    except Exception as problem:  # noqa: BLE001 - what readers of pickles, archives and pictures raise has no end
        raise TrainingError(f"{folder} must hold the files of {name}, found {problem!r}; give another folder") from None
    if not (len(found.train) and len(found.validation) and len(found.test)):
        raise TrainingError(f"{folder} must hold the files of {name}, found an empty part; give another folder")
    return found


def spread(images: np.ndarray, count: int | None) -> np.ndarray:
    """`count` of the images, evenly spread over them (sets may be sorted); all by default."""
    if count is None or count >= len(images):
        return images
    return images[np.linspace(0, len(images) - 1, count).round().astype(np.int64)]


class Batches:
    """An endless, numbered series of batches: each epoch is a permutation of its own, given by the seed."""

    def __init__(self, images: np.ndarray, data: Mapping[str, Any], rank: int = 0, world: int = 1) -> None:
        """`data`: "batch", "seed", "flip" (half of the images mirrored); this process has part `rank` of `world`."""
        self.images, self.count = images, int(data.get("batch", 32))
        self.seed, self.flip = int(data.get("seed", 0)), bool(data.get("flip", False))
        self.rank, self.world = rank, world
        self._epoch, self._order = -1, np.empty(0, np.int64)
        if len(images) < self.count:
            raise TrainingError(f"a batch of {self.count} needs as many images, found {len(images)}; make it smaller")

    @property
    def pixels(self) -> int:
        """Pixels in a batch."""
        return self.count * self.images.shape[1] * self.images.shape[2]

    def make(self, number: int) -> np.ndarray:
        """Batch `number`, uint8[N, C, H, W], always the same one."""
        number = number * self.world + self.rank
        epoch, place = divmod(number, len(self.images) // self.count)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
        chosen = self.images[self._order[place * self.count : (place + 1) * self.count]]
        if self.flip:
            # The 1: a seed that ends with zeros would be the order's own.
            mirrored = np.random.default_rng([self.seed, epoch, place, 1]).random(self.count) < 0.5
            chosen = np.where(mirrored[:, None, None, None], chosen[:, :, ::-1], chosen)
        return np.ascontiguousarray(chosen.transpose(0, 3, 1, 2))

    def run(self, first: int) -> Generator[np.ndarray]:
        """Batches from number `first` on."""
        number = first
        while True:
            yield self.make(number)
            number += 1
