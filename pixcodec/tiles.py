"""Tiles by the wavefront: images of one size to a stream of words for each of their tiles, and back.

Encoder and decoder take the same steps of a `Tile`: one writes the symbols that it knows (`_write_tile`), the other
reads them (`_read_tile`); by the network's frequencies alone, or with experts that learn.  Where a processor's core
would have no tile, a second thread works behind the first.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from pixcodec.behind import Behind
from pixcodec.errors import DamagedTileError
from pixcodec.exact import matmul, range_coder, schedule
from pixcodec.exact.experts import WORDS, Experts
from pixcodec.exact.learn import ComparedHeads, LearningHeads
from pixcodec.exact.predict import predictions, rounded_centres
from pixcodec.exact.ring import Repeated
from pixcodec.exact.steps import active_lanes, number_of_steps
from pixcodec.exact.tables import SYMBOLS
from pixcodec.exact.tile import Tile
from pixcodec.expert_names import ALL
from pixcodec.progress import Effort, cores, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    # Given (plane, step, first, rows, centres) of pixels of a step: codes them at once.
    CodeNow = Callable[[int, int, int, NDArray[Any], NDArray[np.int32]], None]

    from pixcodec.exact.network import Network
    from pixcodec.exact.tile import Coding
    from pixcodec.progress import Progress


PROGRESS_STEPS = 16
HERE = Behind(thread=False)  # for what is done at once
Sample = TypeVar("Sample", bound=np.generic)


@dataclass
class _Run:
    """What tiles that are coded side by side share: the model, its products, the clock, the count of steps.

    `spare` is the number of threads that each tile may have beside its own; `learning` are the heads that learn, if
    any do, and `compared` those of all tiles that were asked to compare themselves.
    """

    network: Network
    backend: matmul.Backend
    note: str
    progress: Progress | None
    learning: type[LearningHeads] | None = None
    spare: int = 0
    total: int = 0
    done: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    compared: list[ComparedHeads] = field(default_factory=list)

    def heads(self, height: int, width: int) -> LearningHeads | None:
        """Heads that learn a tile of this size, or None: those of the model."""
        if self.learning is None:
            return None
        heads = self.learning(self.network, min(height, (width + 1) // 2))
        if isinstance(heads, ComparedHeads):
            self.compared.append(heads)
        return heads

    def fixed(self) -> float:
        """Bits by heads that do not learn, of those by heads that do; 1 where none did."""
        learned, fixed = sum((heads.bits for heads in self.compared), np.zeros(2))
        return float(fixed / learned) if learned else 1.0

    def tile(self, planes: NDArray[np.uint8]) -> Tile:
        """A tile at its start."""
        height, width, _ = planes.shape
        return Tile(self.network, self.backend, np.ascontiguousarray(planes), self.heads(height, width))

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


def by_steps(code: CodeNow) -> Coding:
    """The calls of a function that needs no compiling."""

    def calls(plane: int, rows: NDArray[Any], centres: NDArray[np.int32]) -> list[Repeated]:
        def each(step: int, first: int, at: int, number: int) -> None:
            code(plane, step, first, rows[at : at + number], centres[at : at + number])

        return [Repeated(each, 4)]

    return calls


def _run_tile(
    run: _Run,
    planes: NDArray[np.uint8],
    kind: tuple[Any, Any],
    coding: Coding,
    behind: Behind,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Make the calls of a tile in the order of a `kind` of `schedule`, some steps at a time, `check` after them."""
    calls, shape = run.tile(planes).calls(coding)
    if not behind.threaded:
        shape = shape._replace(parts=1)
    order, steps = schedule.Schedule(kind, behind, calls, shape), number_of_steps(shape.height, shape.width)
    for start in range(0, steps, PROGRESS_STEPS):
        stop = min(start + PROGRESS_STEPS, steps)
        order.run(start, stop)
        check()
        run.step(stop - start)
    run.spend(order.seconds)
    _finish(run, _Clock(), behind)


def _write_tile(run: _Run, planes: NDArray[np.uint8], write: Coding, behind: Behind = HERE) -> None:
    """Run the steps of a known tile, uint8[H, W, known + C], and the calls of `write` for each channel of each."""
    _run_tile(run, planes, schedule.write, write, behind)


def _read_tile(
    run: _Run,
    planes: NDArray[np.uint8],
    read: Coding,
    behind: Behind = HERE,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Run the steps of a tile, uint8[H, W, known + C] with its known planes; calls of `read` fill in the others."""
    _run_tile(run, planes, schedule.read, read, behind, check)


def _finish(run: _Run, clock: _Clock, behind: Behind) -> None:
    """Wait for the thread behind, and note the time of both."""
    behind.catch_up()
    clock.stop("wait")
    for seconds in (clock.seconds, behind.seconds):
        run.spend(seconds)


def _write_known_tile(run: _Run, planes: NDArray[np.uint8], device: str, write: Coding, behind: Behind = HERE) -> None:
    """Write a tile with the same rows as `_write_tile`: the network by torch over all pixels at once.

    The logits of the whole tile are kept, 2 bytes a class and sub-pixel: 342 bytes a pixel with 57 classes; or, where
    heads learn step by step, what they see: some 240.
    """
    network, clock = run.network, _Clock()
    height, width = planes.shape[:2]
    predicted = predictions(planes, network.parameters)
    clock.stop("predict")
    products = run.backend.name.removeprefix("torch-")
    heads = run.heads(height, width)
    known = (_KnownLogits if heads is None else partial(_KnownInputs, heads))(
        network, planes, predicted, device, products
    )
    centres = rounded_centres(predicted, network.parameters)
    if network.raw:
        centres[:] = 0
    clock.stop("network")
    for step in range(number_of_steps(height, width)):
        first, last = active_lanes(step, height, width)
        rows = np.arange(first, last + 1)
        columns = step - 2 * rows
        for channel in range(network.channels if rows.size else 0):
            around, symbols = centres[rows, columns, channel], planes[rows, columns, network.known + channel]
            logits = known.logits(channel, rows, columns)
            clock.stop("heads")
            said = network.rows.room(around.shape, network.classes)
            network.rows.make(logits, around, network.classes, SYMBOLS, said)
            clock.stop("frequencies")
            for call in write(network.known + channel, said, around):
                behind.do("code", call, step, first, 0, rows.size)
            clock.stop("code")
            if heads is not None:
                heads.learn(channel, said, around, symbols.astype(np.int32))
                clock.stop("learn")
        run.step(1)
    _finish(run, clock, behind)


class _KnownLogits:
    """The logits of a known tile."""

    def __init__(
        self, network: Network, planes: NDArray[np.uint8], predicted: NDArray[np.int16], device: str, products: str
    ) -> None:
        from pixcodec.exact import torch_backend

        found = torch_backend.logits(network, planes[None], predicted[None], device, products)
        self._logits: NDArray[np.int16] = found[0].cpu().numpy()

    def logits(self, channel: int, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int16]:
        """Of these pixels, int16[pixels, classes]."""
        return self._logits[rows, columns, channel]


class _KnownInputs:
    """What heads that learn see of a known tile."""

    def __init__(
        self,
        heads: LearningHeads,
        network: Network,
        planes: NDArray[np.uint8],
        predicted: NDArray[np.int16],
        device: str,
        products: str,
    ) -> None:
        from pixcodec.exact import torch_backend

        self._heads, self._offset = heads, torch_backend.CODE_OFFSET
        self._features, self._codes = torch_backend.head_inputs(network, planes, predicted, device, products)

    def logits(self, channel: int, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int16]:
        """Of these pixels, int16[pixels, classes]."""
        features, codes = self._features[rows, columns], self._codes[channel][rows, columns]
        target, column = self._heads.inputs[channel][0, : rows.size], self._heads.column
        target[:, : features.shape[1]] = features
        target[:, column : column + codes.shape[1]] = codes.astype(np.int16) - self._offset
        return self._heads.logits(channel, rows.size)


class _Coder:
    """A tile and its words.

    Attributes:
        planes: uint8[H, W, known + C] of the tile, of its own: what is known, then what is coded.
        network: the model.
        experts: what learns from the tile; None: the network's frequencies alone.
    """

    def __init__(self, planes: NDArray[np.uint8], network: Network, experts: Experts | None) -> None:
        planes = np.require(planes, np.uint8, ["C", "W"])  # compiled loops write into what they read
        self.planes = planes.copy() if planes.ctypes.data % 4 else planes  # and read whole words of it
        self.network, self.experts = network, experts


class _Writer(_Coder):
    """Writes the symbols of planes; the ideal bits of each go to `costs`, float32 of their shape, if there are any."""

    def __init__(
        self,
        planes: NDArray[np.uint8],
        network: Network,
        experts: Experts | None,
        costs: NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__(planes, network, experts)
        self._costs, self._spent = costs, np.zeros(len(planes) + 1)
        self._words = range_coder.Encoder()
        self._words.room(WORDS * planes.size)

    @property
    def ideal_bits(self) -> float:
        """So far."""
        return float((self._spent if self.experts is None else self.experts.costs)[-1])

    @property
    def network_bits(self) -> float:
        """So far, by the network's frequencies alone."""
        return self.ideal_bits if self.experts is None else float(self.experts.by_network[0])

    def coding(self, channel: int, rows: NDArray[Any], centres: NDArray[np.int32]) -> list[Repeated]:
        """See `Coding`: append the symbols of some pixels to the words."""
        words = self._words
        if self.experts is None:
            own = rows, centres, self.network.classes, self.planes, channel
            calls = [Repeated(self.network.rows.put, 4, *own, words.state, words.words, self._spent)]
        else:
            calls = [self.experts.coding(channel, rows, centres, self.planes, words)]
        if self._costs is not None:
            spent = self._spent if self.experts is None else self.experts.costs
            calls.append(Repeated(partial(_note, self._costs[..., channel], spent), 4))
        return calls

    def payload(self) -> bytes:
        """All words."""
        return self._words.payload()


def _note(costs: NDArray[np.float32], spent: NDArray[np.float64], step: int, first: int, _at: int, number: int) -> None:
    """The costs of the pixels that were written last."""
    rows = np.arange(first, first + number)
    costs[rows, step - 2 * rows] = spent[:number]


class _Reader(_Coder):
    """Reads symbols into planes."""

    def __init__(self, payload: bytes, planes: NDArray[np.uint8], network: Network, experts: Experts | None) -> None:
        super().__init__(planes, network, experts)
        self._words = range_coder.Decoder(payload)

    def coding(self, channel: int, rows: NDArray[Any], centres: NDArray[np.int32]) -> list[Repeated]:
        """See `Coding`: fill in the symbols of some pixels."""
        words = self._words
        if self.experts is not None:
            return [self.experts.coding(channel, rows, centres, self.planes, words)]
        own = rows, centres, self.network.classes, self.planes, channel
        return [Repeated(self.network.rows.take, 4, *own, words.state, words.words)]

    def check(self) -> None:
        """`DamagedTileError` where the words fitted no symbol."""
        self._words.check()

    def finish(self) -> None:
        """`DamagedTileError` if words are left over."""
        self._words.finish()


def _experts(planes: NDArray[np.uint8], network: Network, mask: int) -> Experts | None:
    """What learns from a tile, as the model has it begin; nothing where the mask has no expert."""
    if not mask:
        return None
    return Experts(
        *planes.shape,
        *network.experts,
        mask=mask,
        known=network.known,
        classes=network.classes,
        smooth=network.logistics,
    )


def _tiles(height: int, width: int, tile_height: int, tile_width: int) -> list[tuple[slice, slice]]:
    """Rows and columns of each tile in raster order."""
    return [
        (slice(y, min(y + tile_height, height)), slice(x, min(x + tile_width, width)))
        for y in range(0, height, tile_height)
        for x in range(0, width, tile_width)
    ]


def _parts(images: NDArray[Sample], tiles: tuple[int, int]) -> list[NDArray[Sample]]:
    """Views of all tiles of images [N, H, W, C], by image and in raster order."""
    height, width = images.shape[1:3]
    boxes = _tiles(height, width, *tiles)
    return [image[box] for image in images for box in boxes]


def _prepare(
    network: Network,
    backend: str | None,
    device: str | None,
    parts: Sequence[NDArray[np.uint8]],
    progress: Progress | None,
    *,
    learning: type[LearningHeads] | None = None,
    threads: int | None = None,
) -> _Run:
    if device is not None:
        backend = matmul.on_device(backend, device)
    chosen, note = matmul.choose(backend, network.shapes)
    steps = sum(number_of_steps(*part.shape[:2]) for part in parts)
    spare = (threads or cores()) // max(len(parts), 1) - 1
    return _Run(network, chosen, note, progress, learning, spare, steps)


class Trial(NamedTuple):
    """Images coded with some experts.

    Attributes:
        experts: their mask.
        streams: the words of each tile.
        ideal_bits: of an ideal coder.
        network_bits: the same by the network's frequencies alone, without experts.
        fixed_bits: the same by heads that do not learn, from a part of the steps.
    """

    experts: int
    streams: list[bytes]
    ideal_bits: float
    network_bits: float
    fixed_bits: float


def encode(
    images: NDArray[np.uint8],
    network: Network,
    tiles: tuple[int, int],
    *,
    experts: int = ALL,
    learning: bool = False,
    threads: int | None = None,
    backend: str | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> tuple[list[bytes], float, Effort]:
    """Code images of one size.

    Args:
        images: uint8[N, H, W, known + C]: planes that the decoder knows, as many as the network does, then those of it.
        network: of `models`.
        tiles: (height, width) of a tile.
        experts: the mask of those that learn from each tile while it is coded (`expert_names`), 0 for none.
        learning: whether the network's heads learn from it too (`exact.learn`).
        threads: how many may work, on tiles side by side or, where there are few, behind each; by default one a core.
        backend: for products, see `exact.matmul`.
        device: of torch, which then evaluates the network over whole tiles at once.
        progress: called with (steps done, steps in all), from any thread.

    Returns:
        The words of each tile, by image and in raster order; ideal bits; how it went.
    """
    options: dict[str, Any] = {"threads": threads, "backend": backend, "device": device}
    (trial,), effort = encode_each(images, network, tiles, [experts], learning=learning, progress=progress, **options)
    return trial.streams, trial.ideal_bits, effort


def encode_each(
    images: NDArray[np.uint8],
    network: Network,
    tiles: tuple[int, int],
    masks: Sequence[int],
    *,
    learning: bool = False,
    costs: Sequence[NDArray[np.float32]] = (),
    threads: int | None = None,
    backend: str | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> tuple[list[Trial], Effort]:
    """Code images once with each of several masks of experts; the network is evaluated, and learns, once for all.

    Args:
        images: see `encode`, as of all that follow but two.
        network: of `models`.
        tiles: (height, width) of a tile.
        masks: of experts.
        learning: see `encode`.
        costs: float32 of the images' shape for the first masks, each of which gets the ideal bits of each sample.
        threads: see `encode`.
        backend: see `encode`.
        device: see `encode`.
        progress: see `encode`.

    Returns:
        What each mask gives; how it went.
    """
    parts, parts_of_costs = _parts(images, tiles), [_parts(each, tiles) for each in costs]
    heads = ComparedHeads if learning else None
    run = _prepare(network, backend, device, parts, progress, learning=heads, threads=threads)

    def work(index: int) -> list[_Writer]:
        part, own = parts[index], [each[index] for each in parts_of_costs]
        writers = [
            _Writer(part, network, _experts(part, network, mask), cost)
            for mask, cost in zip(masks, [*own, *[None] * (len(masks) - len(own))], strict=True)
        ]

        with Behind(thread=run.spare > 0) as behind:

            def write(*what: Any) -> list[Repeated]:  # noqa: ANN401
                return [call for writer in writers for call in writer.coding(*what)]

            if device is None:
                _write_tile(run, part, write, behind)
            else:
                _write_known_tile(run, np.require(part, np.uint8, ["C"]), device, write, behind)
        return writers

    results = side_by_side(work, range(len(parts)), threads if device is None else 1)
    trials = []
    for mask, writers in zip(masks, zip(*results, strict=True), strict=True):
        bits, by_network = (sum(getattr(w, name) for w in writers) for name in ("ideal_bits", "network_bits"))
        trials.append(Trial(mask, [w.payload() for w in writers], bits, by_network, by_network * run.fixed()))
    return trials, run.effort()


def decode(
    streams: Sequence[bytes],
    shape: tuple[int, int, int, int],
    network: Network,
    tiles: tuple[int, int],
    *,
    experts: int = ALL,
    learning: bool = False,
    threads: int | None = None,
    backend: str | None = None,
    device: str | None = None,
    known: NDArray[np.uint8] | None = None,
    progress: Progress | None = None,
) -> tuple[NDArray[np.uint8], Effort]:
    """Images uint8[N, H, W, C] of this shape from the words of their tiles, and how it went; see `encode`.

    `known`: planes uint8[N, H, W, known] that they were coded with.

    Raises:
        DamagedTileError: a tile's words fit no symbols, or cannot hold so many; found before memory is reserved.
    """
    count, height, width, channels = shape
    boxes = count * _tiles(height, width, *tiles)
    if len(streams) != len(boxes):
        raise DamagedTileError(f"expected streams of {len(boxes)} tiles, found {len(streams)}; fetch the file anew")
    for index, ((rows, columns), stream) in enumerate(zip(boxes, streams, strict=True)):
        with _naming_tile(index, len(boxes)):
            samples = (rows.stop - rows.start) * (columns.stop - columns.start) * channels
            range_coder.check_room([stream], samples, SYMBOLS)
    images = np.zeros((*shape[:3], network.known + channels), np.uint8)
    if known is not None:
        images[..., : network.known] = known
    parts = _parts(images, tiles)
    heads = LearningHeads if learning else None
    run = _prepare(network, backend, device, parts, progress, learning=heads, threads=threads)

    def work(index: int) -> None:
        part = parts[index]
        with _naming_tile(index, len(parts)), Behind(thread=run.spare > 0) as behind:
            reader = _Reader(streams[index], part, network, _experts(part, network, experts))
            _read_tile(run, reader.planes, reader.coding, behind, reader.check)
            reader.finish()
            part[:] = reader.planes

    side_by_side(work, range(len(parts)), threads)
    return images[..., network.known :], run.effort()


def learn(planes: NDArray[np.uint8], network: Network, experts: Experts) -> float:
    """Let experts learn from a picture uint8[H, W, known + C] as if it were one tile and coded; ideal bits."""
    heads = LearningHeads if network.learns else None
    run = _prepare(network, None, None, [planes], None, learning=heads)
    writer = _Writer(planes, network, experts)
    _write_tile(run, planes, writer.coding)
    return writer.ideal_bits


def sample(network: Network, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draw a picture uint8[H, W, C] by the network's own frequencies: one in which there is nothing to be learned.

    The network has no known planes, and its heads stay as they are; the same seed gives the same picture.
    """
    dice, planes = np.random.default_rng(seed), np.zeros((height, width, network.channels), np.uint8)
    run = _prepare(network, None, None, [planes], None)

    def draw(channel: int, step: int, first: int, said: NDArray[Any], centres: NDArray[np.int32]) -> None:
        each = np.empty((len(said), SYMBOLS), np.float32)
        network.rows.symbol_counts(said, centres, network.classes, each)
        ends = np.cumsum(each.astype(np.int64) + 1, axis=1)
        rows = np.arange(first, first + len(said))
        planes[rows, step - 2 * rows, channel] = (dice.integers(0, ends[:, -1:]) >= ends).sum(axis=1)

    _read_tile(run, planes, by_steps(draw))
    return planes


@contextmanager
def _naming_tile(index: int, count: int) -> Iterator[None]:
    try:
        yield
    except DamagedTileError as problem:
        raise DamagedTileError(f"tile {index} of {count}: {problem}", index) from None
