"""The interface of `pixcodec.stacks` with zlib behind it, and networks without weights, for tests of what is around."""

from __future__ import annotations

import hashlib
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pixcodec import models
from pixcodec.errors import DamagedTileError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Network:
    name: str
    channels: int
    levels: int = 256
    tile: int = 32
    level: int = 9  # of zlib
    stacked: bool = True
    known: int = 0
    shapes: tuple[tuple[int, int, int], ...] = ()

    @property
    def identity(self) -> bytes:
        return hashlib.sha256(self.name.encode()).digest()


class Coded(NamedTuple):
    payload: bytes
    ideal_bits: float


NETWORKS = {
    network.name: network
    for network in (
        Network("photo", 3, level=0),
        Network("small_rgb", 3),
        Network("photo_gray", 1),
        Network("mnist", 1, levels=2),
    )
}


def encode(
    images: np.ndarray,
    network: Network,
    *,
    arrays: object = None,  # noqa: ARG001
    progress: Callable[[int, int], None] | None = None,
) -> Coded:
    payload = zlib.compress(images.tobytes(), network.level)
    if progress is not None:
        progress(1, 1)
    return Coded(payload, 8.0 * len(payload))


def decode(
    payload: bytes,
    shape: tuple[int, ...],
    network: Network,
    *,
    arrays: object = None,  # noqa: ARG001
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    del network
    stream = zlib.decompressobj()
    try:
        samples = stream.decompress(payload, math.prod(shape) + 1)
    except zlib.error:
        raise DamagedTileError("the words fit no symbols") from None
    if not stream.eof or len(samples) != math.prod(shape):
        raise DamagedTileError("the words are of other images")
    if progress is not None:
        progress(1, 1)
    return np.frombuffer(samples, np.uint8).reshape(shape)


def available() -> list[models.Listed]:
    return [
        models.Listed(each.name, each.identity.hex(), each.channels, Path(each.name), each.levels)
        for each in NETWORKS.values()
    ]


def load(name: str) -> Network:
    if name not in NETWORKS:
        raise ModelError(f"no model is called {name!r}")
    return NETWORKS[name]


def load_by_id(prefix: bytes) -> Network:
    for network in NETWORKS.values():
        if network.identity.startswith(prefix):
            return network
    raise ModelError(f"the file needs model {prefix.hex()}")
