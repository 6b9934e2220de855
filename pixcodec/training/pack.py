"""A small folder of training pictures to carry elsewhere: `python -m pixcodec.training.pack --data DIR... --out DIR`.

Pictures are reduced as their list says and cut into crops, which WebP keeps losslessly.  Each source gets bytes by the
root of its pixels, as training draws it, lossless sources four times as many; validation pictures are cut to what is
measured of them.  Several parts of one set share no crop, so that each can be trained on in its turn.
"""

from __future__ import annotations

import argparse
import io
import sys
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pixcodec.errors import TrainingError
from pixcodec.training import sources
from pixcodec.training.data import validation_part
from pixcodec.training.terminal import ended, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pixcodec.training.sources import Picture

MEGABYTE = 1_000_000
SIDE = 576  # of a crop, at most
LOSSLESS = 4  # a source that no lossy format has seen gets so many times the bytes
_LOSSY = frozenset({".jpg", ".jpeg"})
_KEPT = 48  # decoded pictures that are kept, since crops come in a random order


@dataclass(frozen=True)
class Crop:
    """Rows and columns of a picture, which is `whole` if they are all there are."""

    picture: Picture
    rows: slice
    columns: slice
    whole: bool

    @property
    def pixels(self) -> int:
        """How many."""
        return (self.rows.stop - self.rows.start) * (self.columns.stop - self.columns.start)


def crops(picture: Picture) -> list[Crop]:
    """A picture, reduced by its scale, in the fewest parts of nearly equal size with sides of at most `SIDE`.

    Raises:
        TrainingError: the file is no picture that can be read.
    """
    rows, columns = (np.linspace(0, side, -(-side // SIDE) + 1).astype(int).tolist() for side in sources.size(picture))
    return [
        Crop(picture, slice(top, bottom), slice(left, right), len(rows) == len(columns) == 2)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]


@lru_cache(_KEPT)
def _read(picture: Picture) -> np.ndarray:
    return sources.read(picture, 3)


def _webp(planes: np.ndarray) -> bytes:
    stream = io.BytesIO()
    # Higher methods take thirty times as long for 2 to 4 %.
    Image.fromarray(planes).save(stream, "WEBP", lossless=True, exact=True, method=4, quality=75)
    return stream.getvalue()


def _packed(crop: Crop) -> bytes:
    """A crop as WebP: a picture that is one already, and neither cut nor reduced, as it is."""
    if crop.whole and crop.picture.scale == 1 and crop.picture.path.suffix.lower() == ".webp":
        return crop.picture.path.read_bytes()
    return _webp(_read(crop.picture)[crop.rows, crop.columns])


def _shares(found: Sequence[Crop]) -> dict[str, float]:
    """The weight of each source."""
    pixels: dict[str, float] = {}
    for crop in found:
        picture = crop.picture
        lossless = picture.scale == 1 and picture.path.suffix.lower() not in _LOSSY
        pixels[picture.source] = pixels.get(picture.source, 0.0) + crop.pixels * (LOSSLESS**2 if lossless else 1)
    return {source: count**0.5 for source, count in pixels.items()}


class _Folder:
    """A folder of pictures and their list, which never takes more bytes than it may."""

    def __init__(self, path: Path, most: int) -> None:
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise TrainingError(f"--out needs a new or empty folder, found files in {path}; give another")
        except OSError as problem:
            raise TrainingError(f"--out needs a folder that can be written, found {problem}; give another") from None
        self.path, self.most, self.bytes = path, most, 0
        self.pixels = {"train": 0, "val": 0}
        self._write(sources.LIST, b"# kind package path name width height split scale\n")

    def _write(self, name: str, content: bytes) -> None:
        target = self.path / name
        try:
            target.parent.mkdir(exist_ok=True)
            with target.open("ab") as stream:
                stream.write(content)
        except OSError as problem:
            raise TrainingError(f"--out needs a folder with room, found {problem}; give another") from None
        self.bytes += len(content)

    def add(self, crop: Crop, content: bytes, shape: tuple[int, ...]) -> bool:
        """Write a picture of `shape` (rows, columns, ..) and its line, if there is room."""
        picture, (height, width) = crop.picture, shape[:2]
        stem = Path(picture.name).stem
        place = "" if crop.whole else f"-{crop.rows.start}-{crop.columns.start}"
        name = f"{picture.source}/{stem}{place}.webp"
        if (self.path / name).exists():  # another folder's source, or another suffix
            name = f"{picture.source}/{stem}{place}-{self.bytes}.webp"
        split = "val" if picture.validates else "train"
        fields = (picture.kind, picture.source, picture.name, name, str(width), str(height), split, "1")
        line = ("\t".join(fields) + "\n").encode()
        if self.bytes + len(content) + len(line) > self.most:
            return False
        self._write(name, content)
        self._write(sources.LIST, line)
        self.pixels[split] += height * width
        return True


def run(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    megabytes: float = 44,
    part: int = 1,
    parts: int = 1,
    say: Callable[[str], None] | None = None,
) -> int:
    """Pack pictures; see this module's text.

    Args:
        folders: pictures (`sources.find`).
        out: a new or empty folder, which `sources.find` takes afterwards.
        megabytes: how large it may become, 10^6 bytes each.
        part: which part of the crops, from 1.
        parts: how many parts there are; each has all validation pictures.
        say: takes lines about progress.

    Returns:
        Bytes written.

    Raises:
        TrainingError: no pictures, one that cannot be read, no room even for those that validate, or no such part.
    """
    say = say or (lambda _: None)
    if not 1 <= part <= parts:
        raise TrainingError(f"--part must be 1 to {parts}, found {part}")
    pictures = sources.find(folders)
    folder = _Folder(Path(out), int(megabytes * MEGABYTE))
    for picture in pictures:
        if picture.validates:
            planes = validation_part(_read(picture))
            whole = Crop(picture, slice(0, 0), slice(0, 0), whole=True)
            if not folder.add(whole, _webp(planes), planes.shape):
                raise TrainingError(f"--megabytes must leave room for the validation pictures, found {megabytes}")
    say(f"validation: {folder.pixels['val'] / 1e6:.1f} megapixels, {folder.bytes / MEGABYTE:.1f} MB")
    found = [crop for picture in pictures if not picture.validates for crop in crops(picture)]
    shares = _shares(found)
    waiting: dict[str, list[Crop]] = {}
    for place in np.random.default_rng(0).permutation(len(found))[part - 1 :: parts]:
        waiting.setdefault(found[place].picture.source, []).append(found[place])
    taken, written = dict.fromkeys(waiting, 0), dict.fromkeys(waiting, 0)
    while waiting:
        source = min(waiting, key=lambda name: taken[name] / shares[name])
        crop = waiting[source].pop()
        if not waiting[source]:
            del waiting[source]
        content = _packed(crop)
        if not folder.add(crop, content, (crop.rows.stop - crop.rows.start, crop.columns.stop - crop.columns.start)):
            break
        taken[source] += len(content)
        written[source] += crop.pixels
    for source, count in sorted(written.items()):
        say(f"{source}: {count / 1e6:.1f} megapixels, {taken[source] / MEGABYTE:.1f} MB")
    say(f"training: {folder.pixels['train'] / 1e6:.1f} megapixels; {folder.bytes / MEGABYTE:.1f} MB in {folder.path}")
    return folder.bytes


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module; an exit code."""
    parser = argparse.ArgumentParser(prog="python -m pixcodec.training.pack", description="Pack training pictures.")
    parser.add_argument("--data", dest="folders", nargs="+", required=True, help="folders of pictures")
    parser.add_argument("--out", required=True, type=Path, help="a new folder")
    parser.add_argument("--megabytes", type=float, default=44, help="how large it may become (default 44)")
    parser.add_argument("--part", type=int, default=1, help="which part of the crops (default 1)")
    parser.add_argument("--parts", type=int, default=1, help="how many parts there are (default 1)")

    return ended(lambda: run(**vars(parser.parse_args(arguments)), say=say))


if __name__ == "__main__":
    sys.exit(main())
