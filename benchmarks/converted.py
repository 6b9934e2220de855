"""Photographs that a video converter has made YCbCr and RGB again: ffmpeg's, which knows nothing of pixcodec."""

from __future__ import annotations

import subprocess
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Planes = NDArray[np.uint8]

FORMATS = {"4:2:0": "yuv420p", "4:2:2": "yuv422p", "4:4:4": "yuv444p"}
# How it converts back: as it does by default, where a CPU has no vectors, and when asked to be accurate.
WAYS: dict[str, tuple[list[str], str]] = {
    "default": ([], ""),
    "no vectors": (["-cpuflags", "0"], ""),
    "accurate": ([], ":flags=bicubic+accurate_rnd+full_chroma_int"),
}
MATRICES = ("bt601", "bt709")
RANGES = ("limited", "full")


def _run(converter: Path, picture: bytes, size: str, kinds: tuple[str, str], way: tuple[list[str], str]) -> bytes:
    """Raw frames of one pixel format to another, by a scaler's options."""
    before, after = kinds
    options, scale = way
    frame = ["-f", "rawvideo", "-pix_fmt"]
    command = [str(converter), "-v", "error", *options, *frame, before, "-s", size, "-i", "-", "-vf", scale]
    done = subprocess.run([*command, *frame, after, "-"], input=picture, capture_output=True, check=True)  # noqa: S603
    return done.stdout


def pasts(converter: Path, photo: Planes) -> Iterator[tuple[str, Planes]]:
    """Words and planes for each format, way back, matrix and range, of equal planes the first.

    Photo: uint8[H, W, 3] of even sides.

    Raises:
        subprocess.CalledProcessError: the converter refuses.
    """
    height, width = photo.shape[:2]
    size, seen = f"{width}x{height}", set[bytes]()
    for (words, kind), (name, (options, flags)) in product(FORMATS.items(), WAYS.items()):
        for matrix, span in product(MATRICES, RANGES):
            there = f"scale=out_color_matrix={matrix}:out_range={span}:flags=bicubic+accurate_rnd+full_chroma_inp"
            back = f"scale=in_color_matrix={matrix}:in_range={span}:out_range=full{flags}"
            frame = _run(converter, photo.tobytes(), size, ("rgb24", kind), ([], there))
            made = _run(converter, frame, size, (kind, "rgb24"), (options, back))
            if made not in seen:
                planes = np.frombuffer(made, np.uint8).reshape(photo.shape)
                yield f"{words} of {matrix.upper().replace('BT', 'BT.')}, {span} range, {name}", planes
            seen.add(made)
