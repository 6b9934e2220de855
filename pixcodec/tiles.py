"""Tiles by the wavefront: images of one size to a stream of words for each of their tiles, and back.

Encoder and decoder run the same steps (`_code_tile`) and differ in one object, the tile's `_Coder`: one writes the
symbols that it knows, the other reads them; by the network's frequencies alone, or with experts that learn.  Where a
processor's core would have no tile, a second thread works behind the first (`_Rooms`): it writes symbols while the
network goes on, or lets predictors and heads learn from what was read beside the trunk of the next step.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from pixcodec import models
from pixcodec.behind import Behind
from pixcodec.coding import Decoder, Encoder, check_room
from pixcodec.errors import DamagedTileError
from pixcodec.exact import matmul, range_coder
from pixcodec.exact.compiled import compiled
from pixcodec.exact.experts import Experts
from pixcodec.exact.frequencies import EXP2, class_intervals, code_length, code_lengths, counts_of_logits
from pixcodec.exact.learn import ComparedHeads, LearningHeads
from pixcodec.exact.network import SYMBOLS
from pixcodec.exact.predict import Predictors, predictions, rounded_centres
from pixcodec.exact.steps import active_lanes, number_of_steps
from pixcodec.exact.wavefront import Wavefront
from pixcodec.expert_names import ALL
from pixcodec.progress import Effort, cores, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    # Symbols of the lanes from `first` on, by (plane, step, first, counts, centres); what they are coded with stays
    # as it is until a thread behind is done.
    Code = Callable[[int, int, int, NDArray[np.float32], NDArray[np.int32]], NDArray[np.int32]]

    from pixcodec.exact.network import Network
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
        learned = sum(heads.learned for heads in self.compared)
        return sum(heads.fixed for heads in self.compared) / learned if learned else 1.0

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


class _Rooms:
    """Counts and centres of channels of steps, in turn: one is used again once the threads behind are done with it."""

    def __init__(self, height: int, width: int, channels: int, coder: Behind, learner: Behind) -> None:
        lanes, count = min(height, (width + 1) // 2), 2 * channels
        self._rooms = [(np.zeros((lanes, SYMBOLS), np.float32), np.zeros(lanes, np.int32)) for _ in range(count)]
        self._channels, self._coder, self._learner, self._next = channels, coder, learner, 0

    def of(self, channel: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Room for so many pixels of the channel that follows; its head has learned from the step before."""
        self._coder.catch_up(len(self._rooms) - 1)
        self._learner.catch_up(self._channels - 1 - channel)
        counts, centres = self._rooms[self._next]
        self._next = (self._next + 1) % len(self._rooms)
        return counts[:count], centres[:count]


def _code_tile(
    run: _Run, known_planes: NDArray[np.uint8], code: Code, coder: Behind = HERE, learner: Behind = HERE
) -> None:
    """Run the steps of a tile of which planes [H, W, known] are known; `code` gives the symbols of a step's pixels.

    It does so by way of `coder`, or not.
    """
    network, (height, width, ahead) = run.network, known_planes.shape
    predictors = Predictors(network.parameters, height, width, known_planes)
    wavefront = Wavefront(network, run.backend, height, width, run.heads(height, width), known_planes)
    starts, ends = class_intervals(network.class_of_residual())
    rooms = _Rooms(height, width, network.channels, coder, learner)
    known: list[tuple[Any, ...]] = []
    clock = _Clock()
    for step in range(number_of_steps(height, width)):
        first, last = active_lanes(step, height, width)
        wavefront.trunk(step, first, last)
        clock.stop("trunk")
        learner.catch_up(len(known))
        clock.stop("wait")
        predictors.begin(step)
        known = []
        for channel in range(network.channels if last >= first else 0):
            predictors.predict(channel)
            clock.stop("predict")
            frequencies, around = rooms.of(channel, last - first + 1)
            clock.stop("wait")
            logits, centres = wavefront.logits(channel, predictors)
            around[:] = centres
            clock.stop("heads")
            counts_of_logits(logits, around, starts, ends, EXP2, frequencies)
            clock.stop("frequencies")
            symbols = code(ahead + channel, step, first, frequencies, around)
            clock.stop("code")
            known.append((channel, frequencies, around, symbols))
            predictors.know(channel, symbols)
            wavefront.know(channel, predictors)
            clock.stop("heads")
        # Beside the trunk of the next step: it has no use for what is learned here.
        learner.do(predictors.learn)
        clock.stop("predict")
        for each in known:
            learner.do(wavefront.learn, *each)
        clock.stop("learn")
        if step % PROGRESS_STEPS == PROGRESS_STEPS - 1:
            run.step(PROGRESS_STEPS)
    _finish(run, clock, coder, learner)
    run.step(number_of_steps(height, width) % PROGRESS_STEPS)


def _finish(run: _Run, clock: _Clock, coder: Behind, learner: Behind) -> None:
    """Wait for the threads behind, and note the time of all."""
    for stage, behind in (("code", coder), ("learn", learner)):
        behind.catch_up()
        clock.stop("wait")
        clock.seconds[stage] = clock.seconds.get(stage, 0.0) + behind.seconds
    run.spend(clock.seconds)


def _code_known_tile(
    run: _Run, planes: NDArray[np.uint8], device: str, code: Code, coder: Behind = HERE, learner: Behind = HERE
) -> None:
    """Code a known tile with the same counts as `_code_tile`: the network by torch over all pixels at once.

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
    starts, ends = class_intervals(network.class_of_residual())
    rooms = _Rooms(height, width, network.channels, coder, learner)
    for step in range(number_of_steps(height, width)):
        first, last = active_lanes(step, height, width)
        rows = np.arange(first, last + 1)
        columns = step - 2 * rows
        for channel in range(network.channels if rows.size else 0):
            frequencies, around = rooms.of(channel, rows.size)
            clock.stop("wait")
            around[:] = centres[rows, columns, channel]
            logits = known.logits(channel, rows, columns)
            clock.stop("heads")
            counts_of_logits(logits, around, starts, ends, EXP2, frequencies)
            clock.stop("frequencies")
            symbols = code(network.known + channel, step, first, frequencies, around)
            clock.stop("code")
            if heads is not None:
                learner.do(heads.learn, channel, frequencies, around, symbols)
                clock.stop("learn")
        run.step(1)
    _finish(run, clock, coder, learner)


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
        target, width = self._heads.inputs[channel][0, : rows.size], features.shape[1]
        target[:, :width] = features
        target[:, width : width + codes.shape[1]] = codes.astype(np.int16) - self._offset
        return self._heads.logits(channel, rows.size)


@compiled()
def _samples_of_step(planes, channel, step, first, found):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for lane in range(found.size):
        y = first + lane
        found[lane] = planes[y, step - 2 * y, channel]


class _Coder:
    """Symbols of a tile and its words.

    Attributes:
        planes: uint8[H, W, known + C] of the tile, of its own: what is known, then what is coded.
        experts: what learns from the tile; None: the network's frequencies alone.
    """

    def __init__(self, planes: NDArray[np.uint8], experts: Experts | None) -> None:
        self.planes = np.require(planes, np.uint8, ["C", "W"])  # compiled loops write into what they read
        self.experts = experts

    def symbols(self, channel: int, step: int, first: int, count: int) -> NDArray[np.int32]:
        """Of a step's pixels, the lanes from `first` on, as `planes` has them."""
        found = np.empty(count, np.int32)
        _samples_of_step(self.planes, channel, step, first, found)
        return found


class _Writer(_Coder):
    """Writes the symbols of planes; the ideal bits of each go to `costs`, float32 of their shape, if there are any."""

    def __init__(
        self, planes: NDArray[np.uint8], experts: Experts | None, costs: NDArray[np.float32] | None = None
    ) -> None:
        super().__init__(planes, experts)
        self.ideal_bits, self.network_bits, self._costs = 0.0, 0.0, costs
        self._words, self._rows = range_coder.Encoder(), Encoder()

    def code(
        self, channel: int, step: int, first: int, counts: NDArray[np.float32], centres: NDArray[np.int32]
    ) -> NDArray[np.int32]:
        """See `Code`."""
        symbols = self.symbols(channel, step, first, len(counts))
        self.write(channel, step, first, counts, centres, symbols)
        return symbols

    def write(
        self,
        channel: int,
        step: int,
        first: int,
        counts: NDArray[np.float32],
        centres: NDArray[np.int32],
        symbols: NDArray[np.int32],
    ) -> None:
        """Append those symbols to the words."""
        by_network = code_length(counts, symbols)
        self.network_bits += by_network
        if self.experts is None:
            self._rows.encode(symbols, counts)
            self.ideal_bits += by_network
        else:
            self.ideal_bits += self.experts.encode(channel, step, first, counts, centres, self.planes, self._words)
        if self._costs is not None:
            rows = np.arange(first, first + len(counts))
            columns = step - 2 * rows
            each = code_lengths(counts, symbols) if self.experts is None else self.experts.costs[: len(counts)]
            self._costs[rows, columns, channel] = each

    def payload(self) -> bytes:
        """All words."""
        return self._rows.payload() if self.experts is None else self._words.payload()


class _Reader(_Coder):
    """Reads symbols into planes."""

    def __init__(self, payload: bytes, planes: NDArray[np.uint8], experts: Experts | None) -> None:
        super().__init__(planes, experts)
        if experts is None:
            self._rows = Decoder(payload)
        else:
            self._words = range_coder.Decoder(payload)

    def code(
        self, channel: int, step: int, first: int, counts: NDArray[np.float32], centres: NDArray[np.int32]
    ) -> NDArray[np.int32]:
        """See `Code`."""
        if self.experts is None:
            symbols, rows = self._rows.decode(counts), np.arange(first, first + len(counts))
            self.planes[rows, step - 2 * rows, channel] = symbols
            return symbols.astype(np.int32)
        self.experts.decode(channel, step, first, counts, centres, self.planes, self._words)
        return self.symbols(channel, step, first, len(counts))

    def finish(self) -> None:
        """`DamagedTileError` if words are left over."""
        if self.experts is None:
            self._rows.finish()
        else:
            self._words.finish()


def _experts(planes: NDArray[np.uint8], network: Network, mask: int) -> Experts | None:
    """What learns from a tile, as the model has it begin; nothing where the mask has no expert."""
    return Experts(*planes.shape, *network.experts, mask=mask, known=network.known) if mask else None


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
    chosen, note = matmul.choose(backend, models.shapes(network))
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
            _Writer(part, _experts(part, network, mask), cost)
            for mask, cost in zip(masks, [*own, *[None] * (len(masks) - len(own))], strict=True)
        ]

        with Behind(thread=run.spare > 0) as coder, Behind(thread=run.spare > 1) as learner:

            def code(
                channel: int, step: int, first: int, counts: NDArray[np.float32], centres: NDArray[np.int32]
            ) -> NDArray[np.int32]:
                symbols = writers[0].symbols(channel, step, first, len(counts))
                for writer in writers:
                    coder.do(writer.write, channel, step, first, counts, centres, symbols)
                return symbols

            if device is None:
                _code_tile(run, part[:, :, : network.known], code, coder, learner)
            else:
                _code_known_tile(run, np.require(part, np.uint8, ["C"]), device, code, coder, learner)
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
            check_room([stream], samples, SYMBOLS)
    images = np.zeros((*shape[:3], network.known + channels), np.uint8)
    if known is not None:
        images[..., : network.known] = known
    parts = _parts(images, tiles)
    heads = LearningHeads if learning else None
    run = _prepare(network, backend, device, parts, progress, learning=heads, threads=threads)

    def work(index: int) -> None:
        part = parts[index]
        with _naming_tile(index, len(parts)), Behind(thread=run.spare > 0) as learner:
            reader = _Reader(streams[index], part, _experts(part, network, experts))
            _code_tile(run, part[:, :, : network.known], reader.code, learner=learner)
            reader.finish()
            part[:] = reader.planes

    side_by_side(work, range(len(parts)), threads)
    return images[..., network.known :], run.effort()


def learn(planes: NDArray[np.uint8], network: Network, experts: Experts) -> float:
    """Let experts learn from a picture uint8[H, W, known + C] as if it were one tile and coded; ideal bits."""
    run = _prepare(network, None, None, [planes], None, learning=LearningHeads if network.learns else None)
    writer = _Writer(planes, experts)
    _code_tile(run, planes[:, :, : network.known], writer.code)
    return writer.ideal_bits


def sample(network: Network, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draw a picture uint8[H, W, C] by the network's own frequencies: one in which there is nothing to be learned.

    The network has no known planes, and its heads stay as they are; the same seed gives the same picture.
    """
    dice, planes = np.random.default_rng(seed), np.zeros((height, width, network.channels), np.uint8)

    def code(
        channel: int, step: int, first: int, counts: NDArray[np.float32], centres: NDArray[np.int32]
    ) -> NDArray[np.int32]:
        del centres
        ends = np.cumsum(counts.astype(np.int64) + 1, axis=1)
        symbols = (dice.integers(0, ends[:, -1:]) >= ends).sum(axis=1).astype(np.int32)
        rows = np.arange(first, first + len(counts))
        planes[rows, step - 2 * rows, channel] = symbols
        return symbols

    _code_tile(_prepare(network, None, None, [planes], None), planes[:, :, :0], code)
    return planes


@contextmanager
def _naming_tile(index: int, count: int) -> Iterator[None]:
    try:
        yield
    except DamagedTileError as problem:
        raise DamagedTileError(f"tile {index} of {count}: {problem}", index) from None
