"""The stages in order: planes to a .pxc file and back.

Encoder and decoder run the same steps (`_code_tile`) and differ in one function: one writes the symbols it knows, the
other reads them.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pixcodec import container, models
from pixcodec.coding import WORD_BYTES, Decoder, Encoder
from pixcodec.errors import ContainerError, DamagedTileError, DigestError, UnsupportedImageError
from pixcodec.exact import matmul
from pixcodec.exact.frequencies import EXP2, class_intervals, code_length, counts_of_logits
from pixcodec.exact.network import SYMBOLS
from pixcodec.exact.predict import Predictors, predictions, rounded_centres
from pixcodec.exact.steps import active_lanes, number_of_steps
from pixcodec.exact.wavefront import Wavefront

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pixcodec.exact.network import Network

    Progress = Callable[[int, int], None]
    Code = Callable[[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]], NDArray[np.int32]]

T = TypeVar("T")
TILE_SIDE = 2048  # tiles of about 4 megapixels at most: what is learned starts anew in each (docs/decisions)
PROGRESS_STEPS = 16
# A symbol's frequency is at most 2^24 - 255 of 2^24: 2.19e-5 bits, so that a byte holds at most 365,000 of them.
MAX_SAMPLES_PER_BYTE = 365_000


@dataclass(frozen=True)
class Encoded:
    """A file and how it came about: seconds by stage (summed over threads), steps of the wavefront, ideal code length.

    `note` says, where the fastest products had to be given up, why.
    """

    data: bytes
    seconds: dict[str, float]
    steps: int
    ideal_bits: float
    note: str = ""


@dataclass(frozen=True)
class Decoded:
    """Planes uint8[H, W, C] with their mode, seconds by stage (summed over threads), steps of the wavefront, a note."""

    planes: NDArray[np.uint8]
    mode: str
    seconds: dict[str, float]
    steps: int
    note: str = ""


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


def _tile_side(length: int, longest: int) -> int:
    """Length of equal tiles, a multiple of the container's unit, at most `longest`."""
    unit = container.TILE_UNIT
    parts = -(-length // (longest // unit * unit))
    return -(-length // (parts * unit)) * unit


def _check_lengths(tiles: Sequence[tuple[slice, slice]], channels: int, payloads: Sequence[bytes]) -> None:
    """Raise `DamagedTileError` where a tile has more samples than its words can hold, before memory is reserved."""
    for index, ((rows, columns), payload) in enumerate(zip(tiles, payloads, strict=True)):
        samples = (rows.stop - rows.start) * (columns.stop - columns.start) * channels
        if samples > MAX_SAMPLES_PER_BYTE * (len(payload) + WORD_BYTES):
            raise DamagedTileError(
                f"tile {index} of {len(tiles)}: {len(payload)} bytes cannot hold {samples} samples; fetch it anew",
                index,
            )


def _prepare(
    network: Network,
    backend: str | None,
    device: str | None,
    sizes: Sequence[tuple[slice, slice]],
    progress: Progress | None,
) -> _Run:
    if device is not None:
        backend = f"{backend or 'torch-float32'}:{device}"
    chosen, note = matmul.choose(backend, models.shapes(network))
    total = sum(number_of_steps(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in sizes)
    return _Run(network, chosen, note, progress, total)


def _all_tiles(work: Callable[[int], T], count: int, threads: int | None) -> list[T]:
    """Run `work(tile)` for each tile, side by side on so many threads; what is compiled releases the lock."""
    with ThreadPoolExecutor(min(threads or os.cpu_count() or 1, count)) as pool:
        return list(pool.map(work, range(count)))


def encode(
    planes: NDArray[np.uint8],
    mode: str,
    *,
    model: str | None = None,
    threads: int | None = None,
    backend: str | None = None,
    device: str | None = None,
    tile: int | None = None,
    progress: Progress | None = None,
) -> Encoded:
    """Planes to a .pxc file.

    Args:
        planes: uint8[H, W, C] with C = 3 for mode "RGB", 1 for "L".
        mode: "RGB" or "L".
        model: name or folder; by default the shipped model for the mode.
        threads: how many tiles may be coded side by side; by default one a core.
        backend: for products, see `exact.matmul`; by default the fastest that is exact here.
        device: of torch ("cpu", "cuda", ...), which then evaluates the network over whole tiles at once; by default
            it is evaluated step by step by compiled kernels, without torch.
        tile: longest side of a tile.
        progress: called with (steps done, steps in all), from any thread.

    Raises:
        UnsupportedImageError: the planes do not fit the mode.
        ModelError: no such model, or one for another number of channels.
        BackendError: the back end asked for is not exact here.
    """
    channels = container.CHANNELS.get(mode)
    if (
        channels is None
        or planes.dtype != np.uint8
        or planes.ndim != 3
        or planes.shape[2] != channels
        or not planes.size
    ):
        raise UnsupportedImageError(
            f"expected uint8 planes [H, W, C] of mode RGB or L, found {planes.dtype}{planes.shape} {mode}"
        )
    network = models.load(model or models.DEFAULTS[mode])
    if network.channels != channels:
        raise UnsupportedImageError(
            f"the model codes {network.channels} channels, the image has {channels}; choose another model"
        )
    height, width = planes.shape[:2]
    longest = max(container.TILE_UNIT, tile or TILE_SIDE)
    tile_height, tile_width = _tile_side(height, longest), _tile_side(width, longest)
    tiles = _tiles(height, width, tile_height, tile_width)
    run = _prepare(network, backend, device, tiles, progress)

    def work(index: int) -> tuple[bytes, float]:
        part = planes[tiles[index]]
        encoder, bits = Encoder(), 0.0

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

    results = _all_tiles(work, len(tiles), threads if device is None else 1)
    header = container.Header(
        width=width,
        height=height,
        mode=mode,
        model_id=network.identity[: container.MODEL_ID_BYTES],
        settings=0,
        tile_width=tile_width,
        tile_height=tile_height,
        digest=container.digest(planes, mode),
    )
    data = container.pack(header, [payload for payload, _ in results])
    return Encoded(data, run.seconds, run.total, sum(bits for _, bits in results), run.note)


def decode(
    data: bytes,
    *,
    threads: int | None = None,
    backend: str | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> Decoded:
    """A .pxc file to its planes, proved by the digest of the pixels that were encoded.

    Args: see `encode`; with a `device` only the products of each step are computed there.

    Raises:
        ContainerError: the bytes are not a .pxc file that this version knows, or are cut or damaged.
        DamagedTileError: a tile's bytes are damaged.
        ModelError: the file's model is not here.
        DigestError: the pixels are not those that were encoded.
    """
    header, payloads = container.unpack(data)
    if header.settings != 0:
        raise ContainerError(
            f"the file uses settings {header.settings}, this version knows 0; install a newer pixcodec"
        )
    network = models.load_by_id(header.model_id)
    channels = container.CHANNELS[header.mode]
    if network.channels != channels:
        raise ContainerError(
            f"the file's mode has {channels} channels, its model {network.channels}; fetch the file anew"
        )
    tiles = _tiles(header.height, header.width, header.tile_height, header.tile_width)
    _check_lengths(tiles, channels, payloads)
    planes = np.zeros((header.height, header.width, channels), np.uint8)
    run = _prepare(network, backend, device, tiles, progress)

    def work(index: int) -> None:
        part = planes[tiles[index]]
        try:
            decoder = Decoder(payloads[index])

            def code(
                channel: int, rows: NDArray[np.int64], columns: NDArray[np.int64], counts: NDArray[np.float32]
            ) -> NDArray[np.int32]:
                symbols = decoder.decode(counts)
                part[rows, columns, channel] = symbols
                return symbols

            _code_tile(run, part.shape[0], part.shape[1], code)
            decoder.finish()
        except DamagedTileError as problem:
            raise DamagedTileError(f"tile {index} of {len(tiles)}: {problem}", index) from None

    _all_tiles(work, len(tiles), threads)
    if container.digest(planes, header.mode) != header.digest:
        raise DigestError("the decoded pixels are not those that were encoded; fetch the file and the model anew")
    return Decoded(planes, header.mode, run.seconds, run.total, run.note)
