"""Images of one size by a stacked network: their tiles, many side by side, in a few streams (docs/format.md).

A stacked network codes a whole stack of equal tiles in one stream.  An image has tiles of at most four sizes: inner
ones, those of the right edge, of the bottom edge, and the corner; each is a region here, cut into stacks.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pixcodec import stacks
from pixcodec.errors import DamagedTileError
from pixcodec.exact import arrays as array_libraries
from pixcodec.exact.range_coder import check_room
from pixcodec.progress import Effort, Tally, side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pixcodec.exact.program import Program
    from pixcodec.progress import Progress

    Images = NDArray[np.uint8]

STACK = 512  # tiles of one stream at most, so that memory is bounded and streams can go side by side


@dataclass(frozen=True)
class _Stack:
    """Tiles first..last - 1 of a region, which is `rows` x `columns` of each image in tiles of `height` x `width`."""

    rows: slice
    columns: slice
    height: int
    width: int
    first: int
    last: int


def _parts(length: int, tile: int) -> list[tuple[slice, int]]:
    """The stretch of whole tiles and the rest, each with the length of its tiles; none that is empty."""
    inner = length // tile * tile
    both = [(slice(0, inner), tile), (slice(inner, length), length - inner)]
    return [(part, side) for part, side in both if part.start < part.stop]


def _stacks(shape: Sequence[int], tiles_of: tuple[int, int]) -> Iterator[_Stack]:
    """All stacks of images [N, H, W, C] in tiles of (height, width), in the order of their streams."""
    count, height, width, _ = shape
    for rows, h in _parts(height, tiles_of[0]):
        for columns, w in _parts(width, tiles_of[1]):
            tiles = count * ((rows.stop - rows.start) // h) * ((columns.stop - columns.start) // w)
            for first in range(0, tiles, STACK):
                yield _Stack(rows, columns, h, w, first, min(first + STACK, tiles))


def stream_count(shape: Sequence[int], tiles: tuple[int, int]) -> int:
    """Streams of images [N, H, W, C] in tiles of (height, width)."""
    return sum(1 for _ in _stacks(shape, tiles))


def _tiles(images: Images, stack: _Stack) -> tuple[Images, tuple[NDArray[np.intp], ...]]:
    """The tiles of a stack's region, [N, rows, columns, h, w, C], as a view of `images`, and which of them it has.

    Tiles are counted by image, and in each in raster order.
    """
    region = images[:, stack.rows, stack.columns]
    n, height, width, channels = region.shape
    tiles = region.reshape(n, height // stack.height, stack.height, width // stack.width, stack.width, channels)
    tiles = tiles.transpose(0, 1, 3, 2, 4, 5)
    return tiles, np.unravel_index(np.arange(stack.first, stack.last), tiles.shape[:3])


def encode(
    images: Images,
    network: Program,
    tiles: tuple[int, int],
    *,
    threads: int | None = None,
    backend: str | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> tuple[list[bytes], float, Effort]:
    """Code images of one size.

    Args:
        images: uint8[N, H, W, C].
        network: of `models`.
        tiles: (height, width) of a tile.
        threads: how many stacks may be coded side by side; by default one a core, on a device always one.
        backend: for products, see `exact.matmul`.
        device: of torch, which then evaluates the network there.
        progress: called with (sub-pixels done, sub-pixels in all), from any thread.

    Returns:
        The streams of all stacks; ideal bits; how it went.

    Raises:
        BackendError: there is no such back end or device, or its products are not exact.
    """
    arrays, note = array_libraries.choose(network, backend, device)
    todo, tally, began = list(_stacks(images.shape, tiles)), Tally(progress, images.size), time.perf_counter()

    def work(stack: _Stack) -> stacks.Coded:
        cut, which = _tiles(images, stack)
        part = np.ascontiguousarray(cut[which])
        return stacks.encode(part, network, arrays=arrays, progress=tally.part(part.size))

    coded = side_by_side(work, todo, threads if device is None else 1)
    return [each.payload for each in coded], sum(each.ideal_bits for each in coded), _effort(todo, began, note)


def decode(
    streams: Sequence[bytes],
    shape: tuple[int, int, int, int],
    network: Program,
    tiles: tuple[int, int],
    *,
    threads: int | None = None,
    backend: str | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> tuple[Images, Effort]:
    """Images uint8[N, H, W, C] of this shape from the streams of their stacks, and how it went; see `encode`.

    Raises:
        DamagedTileError: a stream is of other images, or cannot hold so many; found before memory is reserved.
    """
    samples, channels = math.prod(shape), shape[3]
    check_room(streams, samples, network.levels)
    todo, tally, began = list(_stacks(shape, tiles)), Tally(progress, samples), time.perf_counter()
    if len(streams) != len(todo):
        message = f"expected {len(todo)} streams, found {len(streams)}; fetch the file anew"
        raise DamagedTileError(message)
    arrays, note = array_libraries.choose(network, backend, device)
    images = np.zeros(shape, np.uint8)

    def work(index: int) -> None:
        stack = todo[index]
        size = (stack.last - stack.first, stack.height, stack.width, channels)
        try:
            told = tally.part(math.prod(size))
            part = stacks.decode(streams[index], size, network, arrays=arrays, progress=told)
        except DamagedTileError as problem:
            message = f"stream {index} of {len(todo)}: {problem}"
            raise DamagedTileError(message) from None
        cut, which = _tiles(images, stack)
        cut[which] = part

    side_by_side(work, range(len(todo)), threads if device is None else 1)
    return images, _effort(todo, began, note)


def _effort(todo: Sequence[_Stack], began: float, note: str) -> Effort:
    return Effort({"stacks": time.perf_counter() - began}, sum(stack.height * stack.width for stack in todo), note)
