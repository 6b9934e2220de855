"""Tiles by the wavefront: images of one size to a stream of words for each of their tiles, and back.

Encoder and decoder run the same steps (`_code_tile`) and differ in one function: one writes the symbols it knows, the
other reads them.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pixcodec import models
from pixcodec.coding import Decoder, Encoder, check_room
from pixcodec.errors import DamagedTileError
from pixcodec.exact import matmul
from pixcodec.exact.frequencies import EXP2, class_intervals, code_length, counts_of_logits
from pixcodec.exact.network import SYMBOLS
from pixcodec.exact.predict import Predictors, predictions, rounded_centres
from pixcodec.exact.steps import active_lanes, number_of_steps
from pixcodec.exact.wavefront import Wavefront
from pixcodec.progress import Effort, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from pixcodec.exact.network import Network
    from pixcodec.progress import Progress

    Code = Callable[[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]], NDArray[np.int32]]

PROGRESS_STEPS = 16


@dataclass
class _Run:
    """What tiles that are coded side by side share: the model, its products, the clock, the count of steps."""

    network: Network
    backend: matmul.Backend
    note: str
    progress: Progress | None
    total: int = 0
    done: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self, count: int) -> None:
        """`count` more steps are done."""
        with self.lock:
            self.done += count
            if self.progress is not None:
                self.progress(self.done, self.total)

    def effort(self) -> Effort:
        """How it went."""
        return Effort(self.seconds, self.total, self.note)

    def spend(self, seconds: dict[str, float]) -> None:
        """Add a tile's seconds by stage."""
        with self.lock:
            for stage, spent in seconds.items():
                self.seconds[stage] = self.seconds.get(stage, 0.0) + spent


class _Clock:
    """Seconds by stage of one tile."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def stop(self, stage: str) -> None:
        """What passed since the last stop belongs to `stage`."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def _code_tile(run: _Run, height: int, width: int, code: Code) -> None:
    """Run a tile's steps; `code(channel, rows, columns, counts)` gives the symbols of a step's pixels."""
    network = run.network
    predictors = Predictors(network.parameters, height, width)
    wavefront = Wavefront(network, run.backend, height, width)
    starts, ends = class_intervals(network.class_of_residual())
    counts = np.zeros((min(height, (width + 1) // 2), SYMBOLS), np.float32)
    clock = _Clock()
    for step in range(number_of_steps(height, width)):
        first, last = predictors.begin(step)
        clock.stop("predict")
        wavefront.trunk(step, first, last)
        clock.stop("trunk")
        rows = np.arange(first, last + 1)
        columns = step - 2 * rows
        for channel in range(network.channels if rows.size else 0):
            predictors.predict(channel)
            clock.stop("predict")
            logits, centres = wavefront.logits(channel, predictors)
            clock.stop("heads")
            frequencies = counts[: rows.size]
            counts_of_logits(logits, centres, starts, ends, EXP2, frequencies)
            clock.stop("frequencies")
            symbols = code(channel, rows, columns, frequencies)
            clock.stop("code")
            predictors.know(channel, symbols)
            wavefront.know(channel, predictors)
            clock.stop("heads")
        predictors.learn()
        clock.stop("predict")
        if step % PROGRESS_STEPS == PROGRESS_STEPS - 1:
            run.step(PROGRESS_STEPS)
    run.step(number_of_steps(height, width) % PROGRESS_STEPS)
    run.spend(clock.seconds)


def _code_known_tile(run: _Run, planes: NDArray[np.uint8], device: str, code: Code) -> None:
    """Code a known tile with the same counts as `_code_tile`: the network by torch over all pixels at once.

    The logits of the whole tile are kept, 2 bytes a class and sub-pixel: 342 bytes a pixel with 57 classes.
    """
    from pixcodec.exact import torch_backend

    network, clock = run.network, _Clock()
    height, width = planes.shape[:2]
    predicted = predictions(planes, network.parameters)
    clock.stop("predict")
    products = run.backend.name.removeprefix("torch-")
    logits = torch_backend.logits(network, planes[None], predicted[None], device, products)[0].cpu().numpy()
    centres = rounded_centres(predicted, network.parameters)
    if network.raw:
        centres[:] = 0
    clock.stop("network")
    starts, ends = class_intervals(network.class_of_residual())
    counts = np.zeros((min(height, (width + 1) // 2), SYMBOLS), np.float32)
    for step in range(number_of_steps(height, width)):
        first, last = active_lanes(step, height, width)
        rows = np.arange(first, last + 1)
        columns = step - 2 * rows
        frequencies = counts[: rows.size]
        for channel in range(network.channels if rows.size else 0):
            own, around = logits[rows, columns, channel], centres[rows, columns, channel]
            counts_of_logits(own, around, starts, ends, EXP2, frequencies)
            clock.stop("frequencies")
            code(channel, rows, columns, frequencies)
            clock.stop("code")
        run.step(1)
    run.spend(clock.seconds)


def _tiles(height: int, width: int, tile_height: int, tile_width: int) -> list[tuple[slice, slice]]:
    """Rows and columns of each tile in raster order."""
    return [
        (slice(y, min(y + tile_height, height)), slice(x, min(x + tile_width, width)))
        for y in range(0, height, tile_height)
        for x in range(0, width, tile_width)
    ]


def _parts(images: NDArray[np.uint8], tiles: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Views of all tiles of images uint8[N, H, W, C], by image and in raster order."""
    height, width = images.shape[1:3]
    boxes = _tiles(height, width, *tiles)
    return [image[box] for image in images for box in boxes]


def _prepare(
    network: Network,
    backend: str | None,
    device: str | None,
    parts: Sequence[NDArray[np.uint8]],
    progress: Progress | None,
) -> _Run:
    if device is not None:
        backend = matmul.on_device(backend, device)
    chosen, note = matmul.choose(backend, models.shapes(network))
    return _Run(network, chosen, note, progress, sum(number_of_steps(*part.shape[:2]) for part in parts))


def encode(
    images: NDArray[np.uint8],
    network: Network,
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
        threads: how many tiles may be coded side by side; by default one a core.
        backend: for products, see `exact.matmul`.
        device: of torch, which then evaluates the network over whole tiles at once.
        progress: called with (steps done, steps in all), from any thread.

    Returns:
        The words of each tile, by image and in raster order; ideal bits; how it went.
    """
    parts = _parts(images, tiles)
    run = _prepare(network, backend, device, parts, progress)

    def work(index: int) -> tuple[bytes, float]:
        part, encoder, bits = parts[index], Encoder(), 0.0

        def code(
            channel: int, rows: NDArray[np.int64], columns: NDArray[np.int64], counts: NDArray[np.float32]
        ) -> NDArray[np.int32]:
            nonlocal bits
            symbols = part[rows, columns, channel].astype(np.int32)
            encoder.encode(symbols, counts)
            bits += code_length(counts, symbols)
            return symbols

        if device is None:
            _code_tile(run, part.shape[0], part.shape[1], code)
        else:
            _code_known_tile(run, np.ascontiguousarray(part), device, code)
        return encoder.payload(), bits

    results = side_by_side(work, range(len(parts)), threads if device is None else 1)
    return [payload for payload, _ in results], sum(bits for _, bits in results), run.effort()


def decode(
    streams: Sequence[bytes],
    shape: tuple[int, int, int, int],
    network: Network,
    tiles: tuple[int, int],
    *,
    threads: int | None = None,
    backend: str | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> tuple[NDArray[np.uint8], Effort]:
    """Images uint8[N, H, W, C] of this shape from the words of their tiles, and how it went; see `encode`.

    Raises:
        DamagedTileError: a tile's words fit no symbols, or cannot hold so many; found before memory is reserved.
    """
    count, height, width, channels = shape
    boxes = count * _tiles(height, width, *tiles)
    if len(streams) != len(boxes):
        raise DamagedTileError(f"expected streams of {len(boxes)} tiles, found {len(streams)}; fetch the file anew")
    for index, ((rows, columns), stream) in enumerate(zip(boxes, streams, strict=True)):
        with _naming_tile(index, len(boxes)):
            check_room([stream], (rows.stop - rows.start) * (columns.stop - columns.start) * channels, SYMBOLS)
    images = np.zeros(shape, np.uint8)
    parts = _parts(images, tiles)
    run = _prepare(network, backend, device, parts, progress)

    def work(index: int) -> None:
        part = parts[index]
        with _naming_tile(index, len(parts)):
            decoder = Decoder(streams[index])

            def code(
                channel: int, rows: NDArray[np.int64], columns: NDArray[np.int64], counts: NDArray[np.float32]
            ) -> NDArray[np.int32]:
                symbols = decoder.decode(counts)
                part[rows, columns, channel] = symbols
                return symbols

            _code_tile(run, part.shape[0], part.shape[1], code)
            decoder.finish()

    side_by_side(work, range(len(parts)), threads)
    return images, run.effort()


@contextmanager
def _naming_tile(index: int, count: int) -> Iterator[None]:
    try:
        yield
    except DamagedTileError as problem:
        raise DamagedTileError(f"tile {index} of {count}: {problem}", index) from None
