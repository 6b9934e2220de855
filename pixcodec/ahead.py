"""Kernels compiled when the package is built: `python -m pixcodec.ahead FOLDER [LEVEL...]`.

A process for each level of processors (`exact.levels`) codes pictures of all kinds, with numba told to compile for that
level, and what the store then holds goes to FOLDER/LEVEL.  By default that is the best level that this processor has;
`all` stands for every level that it has, since code is run when it is compiled.  Answers to known products are not
taken along: they are asked where the code runs.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pixcodec import cli, decode, decode_archive, encode, encode_archive
from pixcodec.exact import levels, matmul, store
from pixcodec.origins.photo_cd import PhotoCD
from pixcodec.origins.ycbcr import YCbCr

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

USE, ALL = "--use", "all"
SIZES = ((96, 144), (40, 9), (1, 30), (3, 1))  # of photographs: steps of many lanes, of few, of one


def _photograph(height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """Something smooth with noise on it, uint8[height, width, channels]."""
    random = np.random.default_rng(height)
    coarse = Image.fromarray(random.integers(40, 215, (4, 5, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    noise = random.normal(0, 2, (height, width, channels))
    return np.clip(np.asarray(coarse, float)[..., :channels] + noise, 0, 255).astype(np.uint8)


def _image(planes: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(planes[..., 0] if planes.shape[2] == 1 else planes)


def _from_jpeg(image: Image.Image, **options: Any) -> Image.Image:  # noqa: ANN401  Pillow's
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return Image.open(stream).copy()


def _luma_chroma(kind: type[PhotoCD | YCbCr]) -> NDArray[np.uint8]:
    """What a picture of luma and chroma at a quarter of its pixels is in red, green and blue."""
    shape, origin = (96, 144, 3), kind(0, (2, 2), (0, 0), replicated=kind is YCbCr)
    *chroma, luma = (_photograph(height, width, 1) for height, width, _ in origin.shapes(shape))
    return origin.render([*(plane // 4 + 100 for plane in chroma), luma], shape)


def _pictures() -> Iterator[tuple[Image.Image, dict[str, Any]]]:
    """Pictures of all kinds, each with options of `encode`."""
    for height, width in SIZES:
        for effort in (1, 3, 7):
            yield _image(_photograph(height, width, 3)), {"effort": effort, "origin": "none"}
            yield _image(_photograph(height, width, 1)), {"effort": effort, "origin": "none"}
    photograph = _photograph(*SIZES[0], 3)
    yield _image(photograph), {"effort": 9}
    for threads in (1, 2):
        yield _image(photograph), {"threads": threads}
    yield _image(photograph[..., :1]), {"effort": 9}
    yield _image(photograph).resize((288, 192), Image.Resampling.NEAREST), {}
    yield _image(photograph).resize((288, 192), Image.Resampling.BILINEAR), {}
    yield _image(photograph).transpose(Image.Transpose.TRANSPOSE), {}
    yield _image(photograph).convert("L").convert("RGB"), {}
    yield _image(photograph).quantize(24), {}
    yield _image(photograph).quantize(24).convert("RGB"), {}
    yield _image(photograph).convert("1"), {}
    yield _image(photograph // 40 * 40), {}
    yield _image(photograph[..., :1] // 5 * 5), {}
    yield _image(np.dstack([photograph, photograph[..., :1] // 64 * 85])), {}
    yield _image(photograph).convert("LA"), {}
    yield _image(np.full((20, 30, 3), 77, np.uint8)), {}
    for kind in (PhotoCD, YCbCr):
        yield _image(_luma_chroma(kind)), {}
        yield _image(_luma_chroma(kind)), {"effort": 9}
    loud = np.clip((photograph.astype(int) - 128) * 6 + 128, 0, 255).astype(np.uint8)
    for planes, subsampling in product((photograph, loud), (0, 1, 2)):
        decoded = _from_jpeg(_image(planes), quality=92, subsampling=subsampling)
        yield decoded, {}
        yield decoded.crop((3, 5, 140, 93)), {}
    yield _from_jpeg(_image(photograph[..., :1]), quality=80), {}


def use() -> None:
    """Code pictures of all kinds, so that whatever is needed for them is compiled."""
    for image, options in _pictures():
        decode(encode(image, **options))
    for mode, size in (("RGB", 32), ("L", 28), ("1", 28)):
        images = {f"{k}": _image(_photograph(size, size, 3)).convert(mode) for k in range(20)}
        decode_archive(encode_archive(images))
    with tempfile.TemporaryDirectory() as folder:
        _encode_files(Path(folder))


def _encode_files(folder: Path) -> None:
    """JPEG files, and a report, by the command line."""
    image = _image(_photograph(*SIZES[0], 3))
    fine, progressive = {"quality": 95, "subsampling": 0}, {"quality": 85, "progressive": True}
    forms: list[dict[str, Any]] = [{"quality": 85}, progressive, fine]
    for k, options in enumerate(forms):
        image.save(folder / f"{k}.jpg", **options)
        _command("encode", str(folder / f"{k}.jpg"), "-q")
    image.save(folder / "report.png")
    _command("encode", str(folder / "report.png"), "-q", "--explain", str(folder / "report.html"))


def _command(*arguments: str) -> None:
    try:
        cli.main(arguments)
    except SystemExit as ended:
        if ended.code:
            raise RuntimeError(f"{' '.join(arguments)} has failed") from None


def compile_for(name: str, folder: Path) -> int:
    """Compile for a level of processors, into a folder of its name; how many kernels there are."""
    level = levels.LEVELS[name]
    with tempfile.TemporaryDirectory() as temporary:
        environment = {
            **os.environ,
            store.ENVIRONMENT: temporary,
            "NUMBA_CPU_NAME": level.processor,
            "NUMBA_CPU_FEATURES": level.features,
        }
        subprocess.run([sys.executable, "-m", "pixcodec.ahead", USE], check=True, env=environment)  # noqa: S603  ourselves
        found = [path for path in Path(temporary).rglob("*.bin") if not path.name.startswith(f"{matmul.ANSWERS}.")]
        target = folder / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for path in found:
            shutil.copyfile(path, target / path.name)
    return len(found)


def main(arguments: Sequence[str]) -> int:
    """The command line of this module; an exit code."""
    if list(arguments) == [USE]:
        use()
        return 0
    triple, _, features = store.host()
    here = levels.possible(triple, {each[1:] for each in features.split(",") if each.startswith("+")})
    folder, *wanted = arguments
    names = here if wanted == [ALL] else wanted or here[:1]
    if not store.USABLE or not set(names) <= set(here):
        sys.stderr.write(f"nothing is compiled ahead: this machine has {', '.join(here) or 'no level of processors'}\n")
        return 1
    for name in names:
        sys.stderr.write(f"{name}: {compile_for(name, Path(folder))} kernels\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
