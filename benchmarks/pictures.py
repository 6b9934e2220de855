"""The pictures that benchmarks run on, and what they run on: a machine, versions, a command."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixcodec import image
from pixcodec.errors import PixcodecError
from pixcodec.training import sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

# scikit-image's photographs that are stored without loss and lie in its wheel. Those that were JPEG before show it: the
# DCT of their blocks is periodic on one of the 64 grids (`ihc` on (3, 5), the others on (0, 0)).
SCIKIT_IMAGE = {
    "astronaut.png": False,
    "chelsea.png": True,
    "coffee.png": False,
    "ihc.png": True,
    "motorcycle_left.png": False,
    "motorcycle_right.png": False,
    "brick.png": False,
    "camera.png": False,
    "cell.png": False,
    "clock_motion.png": False,
    "coins.png": True,
    "grass.png": True,
    "gravel.png": False,
    "moon.png": False,
}
NO_PICTURE = "no picture: pip install 'pixcodec[bench]' brings matplotlib"
RESULTS = Path(__file__).parent / "results"
SUFFIXES = {".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jpg", ".jpeg"}
PACKAGES = ("pixcodec", "numpy", "numba", "constriction", "pillow", "imagecodecs", "scikit-image", "torch")


@dataclass(frozen=True)
class Sample:
    """A picture to run on.

    Args:
        name: what tables call it.
        source: the collection it is from.
        path: its file.
        reduction: by how much a listed photograph is made smaller first (Lanczos), 1 = not; None = not from a list.
        was_jpeg: that its pixels are decoded JPEG, where known.
    """

    name: str
    source: str
    path: Path
    reduction: int | None = None
    was_jpeg: bool = False

    def load(self) -> tuple[NDArray[np.uint8], str]:
        """Return planes uint8[H, W, C] and mode.

        Raises:
            PixcodecError: the picture cannot be read, or is of a kind that pixcodec does not keep.
        """
        if self.reduction is None:
            picture = image.read(self.path)
            return picture.plain(), picture.mode
        # As training reads them, so that what is validated there is what is measured here.
        listed = sources.Picture(self.path, self.name, self.source, "", validates=True, scale=self.reduction)
        return np.ascontiguousarray(sources.read(listed, 3)), "RGB"


def loaded(samples: Iterable[Sample], skipped: list[str]) -> Iterator[tuple[Sample, NDArray[np.uint8], str]]:
    """Return each picture with its planes and mode; of what cannot be read a line goes to `skipped`."""
    for sample in samples:
        try:
            planes, mode = sample.load()
        except PixcodecError as error:
            skipped.append(f"{sample.name}: {error}")
            continue
        yield sample, planes, mode


def scikit_image() -> list[Sample]:
    """Return scikit-image's photographs, or none where it is not installed."""
    found = find_spec("skimage")
    if found is None or found.origin is None:
        return []
    folder = Path(found.origin).parent / "data"
    return [
        Sample(Path(name).stem, "scikit-image", folder / name, was_jpeg=was_jpeg)
        for name, was_jpeg in SCIKIT_IMAGE.items()
        if (folder / name).is_file()
    ]


def from_paths(paths: Sequence[Path]) -> Iterator[Sample]:
    """Return files as they are named, and the images of folders in order of their names."""
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.iterdir() if each.suffix.lower() in SUFFIXES)
            yield from (Sample(each.stem, path.resolve().name, each) for each in inside)
        else:
            yield Sample(path.stem, path.resolve().parent.name, path)


def from_list(list_path: Path, split: str, root: Path) -> Iterator[Sample]:
    """Return the photographs of a photos.txt.

    Fields are separated by tabs: kind, package, path, name, width, height, split, scale, ...; # starts a comment.
    """
    for line in list_path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            _, _, _, name, _, _, of, scale, *_ = line.split("\t")
            if of == split:
                yield Sample(Path(name).stem, name.split("/")[0], root / name, reduction=int(scale))


def save(record: dict[str, Any], folder: Path, name: str) -> Path:
    """Write a benchmark's results as JSON into a folder, made if it is missing; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.json"
    target.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return target


def circumstances(script: str, arguments: Sequence[str]) -> dict[str, object]:
    """Return what a result depends on: machine, versions, command (of its paths only the last part)."""
    installed = {each.name.lower(): each.version for each in metadata.distributions()}
    versions = {"python": platform.python_version()}
    versions |= {name: installed[name] for name in PACKAGES if name in installed}
    shown = [Path(word).name if "/" in word else word for word in arguments]
    return {
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": f"{sys.platform} {platform.machine()}",
        },
        "versions": versions,
        "command": " ".join(["python", f"benchmarks/{script}", *shown]),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def pyplot() -> Any:  # noqa: ANN401  a module
    """Return matplotlib's pyplot, which draws into files; None where it is not installed (`NO_PICTURE`)."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError:
        return None
    return plt


def drawn(figure: Any, target: Path) -> str:  # noqa: ANN401  matplotlib's
    """Write a figure of `pyplot` and forget it; return a line that says where it is."""
    figure.savefig(target, dpi=110)
    pyplot().close(figure)
    return f"picture: {target}"


def cropped(planes: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return the middle of a picture [H, W, C], at most so large."""
    top, left = max(planes.shape[0] - height, 0) // 2, max(planes.shape[1] - width, 0) // 2
    return np.ascontiguousarray(planes[top : top + height, left : left + width])
