"""Which pictures there are, which of them train, and by how much each is reduced first.

A folder with a `photos.txt` (tab-separated: kind, package, path, name, width, height, split, scale, ...) says all of
it; of any other folder all pictures are taken as they are, each twentieth by its name's digest for validation.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pixcodec.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterable

LIST = "photos.txt"
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm"})
VALIDATION_SHARE = 20  # one picture of so many, where no list says which
_FIELDS = 8


@dataclass(frozen=True)
class Picture:
    """One picture of a source.

    Attributes:
        path: the file.
        name: source and file name, for messages.
        source: what is balanced and reported as one.
        kind: group of sources that a recipe can treat alike: "deb", "npm", "extra", or "folder".
        validates: belongs to the validation split.
        scale: reduced by this before use.
    """

    path: Path
    name: str
    source: str
    kind: str
    validates: bool
    scale: int


def find(folders: Iterable[str | Path]) -> list[Picture]:
    """All pictures of the folders, in an order that depends on nothing but their names.

    Raises:
        TrainingError: a folder is missing or holds no picture, or a list has a line that cannot be used.
    """
    found: list[Picture] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise TrainingError(f"--data needs folders of pictures, found none at {folder}; give another one")
        pictures = _listed(folder) if (folder / LIST).is_file() else _plain(folder)
        if not pictures:
            raise TrainingError(f"{folder} must hold pictures to train on, found none; give another folder")
        found += pictures
    return found


def _listed(folder: Path) -> list[Picture]:
    pictures = []
    try:
        lines = (folder / LIST).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise TrainingError(f"{folder / LIST} must be a list in UTF-8, found {problem}; replace it") from None
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) < _FIELDS or fields[6] not in {"train", "val"} or fields[7] not in {"1", "2", "3", "4"}:
            raise TrainingError(
                f"{folder / LIST} line {number} must hold kind, package, path, name, width, height, "
                f"train or val, and a scale of 1 to 4, found {line[:60]!r}; correct the line"
            )
        path = folder / fields[3]
        if path.is_file():  # a package that is gone from its registry leaves holes, which are no reason to stop
            source = fields[3].split("/")[0]
            pictures.append(Picture(path, fields[3], source, fields[0], fields[6] == "val", int(fields[7])))
    return pictures


def _plain(folder: Path) -> list[Picture]:
    pictures = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        name = path.relative_to(folder).as_posix()
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        validates = int.from_bytes(digest, "little") % VALIDATION_SHARE == 0
        pictures.append(Picture(path, f"{folder.name}/{name}", folder.name, "folder", validates, 1))
    return pictures


def size(picture: Picture) -> tuple[int, int]:
    """Height and width of a picture after it is reduced, from its file's header; errors as of `read`."""
    try:
        with Image.open(picture.path) as opened:
            width, height = (max(side // picture.scale, 1) for side in opened.size)
    except (OSError, ValueError, Image.DecompressionBombError) as problem:
        raise TrainingError(f"{picture.path} must be a picture, found {problem}; remove or replace it") from None
    return height, width


def read(picture: Picture, channels: int) -> np.ndarray:
    """Planes uint8[H, W, channels], reduced by the picture's scale.

    Raises:
        TrainingError: the file is no picture that can be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes and metadata; what is listed is trusted
            with Image.open(picture.path) as opened:
                image = opened.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as problem:
        raise TrainingError(f"{picture.path} must be a picture, found {problem}; remove or replace it") from None
    if picture.scale > 1:
        size = max(image.width // picture.scale, 1), max(image.height // picture.scale, 1)
        image = image.resize(size, Image.Resampling.LANCZOS)
    if channels == 1:
        return np.asarray(image.convert("L"))[:, :, None]
    return np.asarray(image)
