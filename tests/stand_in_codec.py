"""The interface of `pixcodec.codec` with zlib behind it, for tests of what stands around a codec."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pixcodec import container
from pixcodec.errors import BackendError, DamagedTileError, DigestError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    Progress = Callable[[int, int], None]

MODEL_ID = b"stand-in"


@dataclass(frozen=True)
class Encoded:
    data: bytes
    steps: int = 7
    ideal_bits: float = 1e12
    seconds: dict[str, float] = field(default_factory=lambda: {"zlib": 0.25})
    note: str = ""
    origin: str = ""


@dataclass(frozen=True)
class Decoded:
    planes: np.ndarray
    mode: str
    steps: int = 7
    seconds: dict[str, float] = field(default_factory=lambda: {"zlib": 0.25})
    note: str = ""
    colours: container.Colours = container.NO_COLOURS


def encode(
    planes: np.ndarray,
    mode: str,
    *,
    model: str | None = None,
    threads: int | None = None,  # noqa: ARG001
    backend: str | None = None,
    device: str | None = None,  # noqa: ARG001
    tile: int | None = None,
    effort: int = 7,
    experts: int | None = None,  # noqa: ARG001
    origin: str = "none",  # noqa: ARG001
    colours: container.Colours = container.NO_COLOURS,
    jpeg: bytes = b"",  # noqa: ARG001
    then: int = 0,
    progress: Progress | None = None,
) -> Encoded:
    if model not in {None, "photo"}:
        raise ModelError(f"no model is called {model!r}")
    _refuse(backend)
    side = tile or 2048
    height, width, _ = planes.shape
    settings = container.EXPERTS if effort >= 3 else 0
    own = container.digest(planes, mode, colours)
    header = container.Header(width, height, mode, MODEL_ID, settings, side, side, own)
    tiles = []
    for index in range(header.tile_count):
        left, top, right, bottom = header.tile_box(index)
        tiles.append(zlib.compress(planes[top:bottom, left:right].tobytes()))
        if progress is not None:
            progress(index + 1, (1 + then) * header.tile_count)
    return Encoded(container.pack(header, tiles))


def decode(
    data: bytes,
    *,
    threads: int | None = None,  # noqa: ARG001
    backend: str | None = None,
    device: str | None = None,  # noqa: ARG001
    progress: Progress | None = None,
) -> Decoded:
    _refuse(backend)
    header, tiles = container.unpack(data)
    planes = np.zeros((header.height, header.width, header.channels), np.uint8)
    for index, tile in enumerate(tiles):
        left, top, right, bottom = header.tile_box(index)
        part = planes[top:bottom, left:right]
        try:
            part[...] = np.frombuffer(zlib.decompress(tile), np.uint8).reshape(part.shape)
        except (zlib.error, ValueError) as error:
            raise DamagedTileError(f"tile {index} does not decode", index) from error
        if progress is not None:
            progress(index + 1, header.tile_count)
    if container.digest(planes, header.mode) != header.digest:
        raise DigestError("the decoded pixels do not match the digest")
    return Decoded(planes, header.mode)


def _refuse(backend: str | None) -> None:
    if backend == "broken":
        raise BackendError("back end broken fails its known-answer test")
