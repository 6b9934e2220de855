"""Many images of one size coded together by one of the paper's networks: their symbols in one stream.

The order of the symbols: steps (`exact.evaluation.steps`), in a step channel by channel, in a channel the pixels by
ascending row, at a pixel the images; with a network of several scales all small images first, and then what they did
not tell.  Encoder, decoder, sampling and completion run the same loop (`run`) and differ in the function that says the
symbols of a step.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from pixcodec.coding import Decoder, Encoder
from pixcodec.errors import DamagedTileError, UnsupportedImageError
from pixcodec.exact import arrays as array_libraries
from pixcodec.exact import mixture
from pixcodec.exact.evaluation import Evaluation, steps
from pixcodec.exact.frequencies import EXP2, class_table, counts_of_logits
from pixcodec.exact.program import FACTOR
from pixcodec.exact.tables import SYMBOLS, tanh_gate

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixcodec.exact.program import Program

    Progress = Callable[[int, int], None]

TEMPERATURE_UNIT = 256  # logits are scaled by rint(256 / temperature) / 256
MOST_COLD = TEMPERATURE_UNIT << 8  # beyond it only the likeliest value is drawn anyway


class Coded(NamedTuple):
    """A stream, and what an ideal coder would have spent."""

    payload: bytes
    ideal_bits: float


class Say(Protocol):
    """Gives the symbols int32[places * images] of a channel at some pixels; it may use the counts of each."""

    def __call__(self, channel: int, rows: np.ndarray, columns: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """counts: float32[places * images, levels]."""


class Counts:
    """A network's outputs at some pixels to counts, channel after channel.

    Args:
        program: whose outputs they are.
        temperature: sharpens (below 1) or flattens distributions, for sampling.
    """

    def __init__(self, program: Program, temperature: float = 1.0) -> None:
        self.program = program
        self.kind = program.card["output"]["kind"]
        self._classes = class_table(np.maximum(np.arange(1 - SYMBOLS, SYMBOLS), 0), program.levels)
        self._colder = max(1, min(round(TEMPERATURE_UNIT / temperature), MOST_COLD))
        self._rows = np.empty((0, 0), np.int32)

    def take(self, outputs: np.ndarray, centres: np.ndarray | None) -> None:
        """Outputs int32[n, outputs] of some pixels, of a colour group or of all channels; for a mixture, MED there."""
        self._rows = outputs
        if self.kind != "mixture":
            if self._colder != TEMPERATURE_UNIT:
                self._rows = np.clip(outputs.astype(np.int64) * self._colder >> 8, -32767, 32767).astype(np.int32)
            return
        k = int(self.program.card["output"]["components"])
        channels = self.program.channels
        if self._colder != TEMPERATURE_UNIT:
            self._rows = outputs.copy()
            self._rows[:, :k] = self._rows[:, :k].astype(np.int64) * self._colder >> 8
            shift = round(np.log2(self._colder / TEMPERATURE_UNIT) * mixture.SCALE_UNIT)
            self._rows[:, (1 + channels) * k : (1 + 2 * channels) * k] -= shift
        self._weights: np.ndarray = np.empty((len(outputs), k), np.int64)
        self._centres: Any = centres
        self._errors = np.zeros((len(outputs), channels), np.int64)
        mixture.begin(self._rows, k, EXP2, self._weights)

    def counts(self, channel: int) -> np.ndarray:
        """float32[n, levels] of a channel."""
        rows, levels = self._rows, self.program.levels
        counts = np.empty((len(rows), levels), np.float32)
        if self.kind == "mixture":
            mixture.counts_of_mixture(*self._mixture(channel), EXP2, tanh_gate(), mixture.table(), counts)
            return counts
        if levels == 2:
            logits = np.zeros((len(rows), 2), np.int16)
            logits[:, 1] = rows[:, channel if self.program.groups == 1 else 0]
        else:
            own = rows if self.program.groups > 1 else rows[:, channel * levels : (channel + 1) * levels]
            logits = np.ascontiguousarray(own, np.int16)
        counts_of_logits(logits, np.zeros(len(rows), np.int32), self._classes, counts)
        return counts

    def know(self, channel: int, symbols: np.ndarray) -> None:
        """The symbols of a channel."""
        if self.kind == "mixture":
            self._errors[:, channel] = symbols - self._centres[:, channel]
            mixture.learn(*self._mixture(channel), EXP2, tanh_gate(), mixture.table())

    def _mixture(self, channel: int) -> tuple[Any, ...]:
        form = self._rows, self._weights.shape[1], self.program.channels, channel
        return *form, self._centres, self._errors, self._weights


def run(
    program: Program,
    shape: tuple[int, int, int],
    say: Say,
    *,
    temperature: float = 1.0,
    arrays: Any = None,  # noqa: ANN401 - see Evaluation
    progress: Progress | None = None,
) -> None:
    """Go through all pixels of some images, step by step.

    Args:
        program: the network.
        shape: images, height, width.
        say: gives each step's symbols.
        temperature: of the distributions, for sampling.
        arrays: of the evaluation; by default the fastest that are exact here.
        progress: called with (pixels done, pixels in all).
    """
    images, height, width = shape
    arrays = arrays or array_libraries.choose(program)[0]
    evaluation, counts = Evaluation(program, images, height, width, arrays), Counts(program, temperature)
    small = _Small(program, shape, say)
    small.run(temperature, arrays, progress)
    if small.values is not None:
        flat = small.values[::FACTOR, ::FACTOR].reshape(-1, images, program.channels)
        evaluation.know_small(arrays.array(flat.astype(np.float32)))
    done = small.pixels
    for rows, columns in steps(program, height, width):
        at, asked = evaluation.begin(rows, columns), small.unknown(rows, columns)
        some = np.repeat(asked, images)
        for channel in range(program.channels):
            if channel < program.groups:
                outputs = evaluation.arrays.numbers(evaluation.step(at, channel)).reshape(len(rows) * images, -1)
                centres = evaluation.median_edge(at)[some] if counts.kind == "mixture" else None
                counts.take(outputs[some], centres)
            symbols = small.told(rows, columns, channel)
            if asked.any():
                symbols[asked] = _ask(say, counts, channel, rows[asked], columns[asked])
            evaluation.know(at, channel, evaluation.arrays.array(symbols.astype(np.float32)))
        evaluation.end(rows, columns)
        done += int(asked.sum())
        if progress is not None:
            progress(done, height * width)


def _code_lengths(counts: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    """Bits that an ideal coder spends on each symbol, float64[n], by counts float32[n, levels]."""
    chosen: np.ndarray = counts[np.arange(len(symbols)), symbols].astype(np.float64)
    return 24 - np.log2(chosen + 1)


def _ask(say: Say, counts: Counts, channel: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """A step's symbols int32[places, images] of a channel."""
    symbols = say(channel, rows, columns, counts.counts(channel))
    if channel + 1 < counts.program.channels:
        counts.know(channel, symbols)
    return symbols.reshape(len(rows), -1)


class _Small:
    """The small images of a stack, coded before the large ones; of a network of one scale there are none.

    Attributes:
        values: int32[H, W, images, C], the pixels that small images told; None where there are none.
        pixels: of a small image.
    """

    def __init__(self, program: Program, shape: tuple[int, int, int], say: Say) -> None:
        self.program, self.shape, self._say_large = program, shape, say
        self.values: np.ndarray | None = None
        self.pixels = 0

    def run(self, temperature: float, arrays: Any, progress: Progress | None) -> None:  # noqa: ANN401 - see `run`
        """Code them."""
        if self.program.small is None:
            return
        images, height, width = self.shape
        small = images, -(-height // FACTOR), -(-width // FACTOR)
        self.values = np.zeros((height, width, images, self.program.channels), np.int32)
        self.pixels = small[1] * small[2]

        def of_all(done: int, total: int) -> None:
            del total
            if progress is not None:
                progress(done, height * width)

        run(self.program.small, small, self._say, temperature=temperature, arrays=arrays, progress=of_all)

    def _say(self, channel: int, rows: np.ndarray, columns: np.ndarray, counts: np.ndarray) -> np.ndarray:
        rows, columns = FACTOR * rows, FACTOR * columns
        symbols = self._say_large(channel, rows, columns, counts)
        if self.values is not None:
            self.values[rows, columns, :, channel] = symbols.reshape(len(rows), -1)
        return symbols

    def unknown(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """bool[places]: pixels that no small image told."""
        if self.values is None:
            return np.ones(len(rows), bool)
        return (rows % FACTOR != 0) | (columns % FACTOR != 0)

    def told(self, rows: np.ndarray, columns: np.ndarray, channel: int) -> np.ndarray:
        """int32[places, images]: values of a channel that small images told, elsewhere 0."""
        if self.values is None:
            return np.zeros((len(rows), self.shape[0]), np.int32)
        return self.values[rows, columns, :, channel]


def _check(images: np.ndarray, program: Program) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or not images.size or images.shape[3] != program.channels:
        raise UnsupportedImageError(
            f"the model codes uint8 images of {program.channels} channels, found {images.dtype}{images.shape}; "
            "choose another model"
        )
    if images.max() >= program.levels:
        raise UnsupportedImageError(
            f"the model codes values below {program.levels}, found {images.max()}; choose another model"
        )


def encode(
    images: np.ndarray,
    network: Program,
    *,
    arrays: Any = None,  # noqa: ANN401 - see Evaluation
    progress: Progress | None = None,
) -> Coded:
    """Images uint8[N, H, W, C] to one stream.

    Raises:
        UnsupportedImageError: the network is for other images.
    """
    _check(images, network)
    encoder, bits = Encoder(), 0.0

    def say(channel: int, rows: np.ndarray, columns: np.ndarray, counts: np.ndarray) -> np.ndarray:
        nonlocal bits
        symbols = images[:, rows, columns, channel].T.astype(np.int32).ravel()
        encoder.encode(symbols, counts)
        bits += float(_code_lengths(counts, symbols).sum())
        return symbols

    run(network, images.shape[:3], say, arrays=arrays, progress=progress)
    return Coded(encoder.payload(), bits)


def decode(
    payload: bytes,
    shape: tuple[int, int, int, int],
    network: Program,
    *,
    arrays: Any = None,  # noqa: ANN401 - see Evaluation
    progress: Progress | None = None,
) -> np.ndarray:
    """A stream to its images uint8[N, H, W, C].

    Raises:
        DamagedTileError: the stream is not one of such images.
    """
    images = np.zeros(shape, np.uint8)
    if shape[3] != network.channels:
        raise DamagedTileError(f"the model codes {network.channels} channels, not {shape[3]}; fetch the file anew")
    decoder = Decoder(payload)

    def say(channel: int, rows: np.ndarray, columns: np.ndarray, counts: np.ndarray) -> np.ndarray:
        symbols = decoder.decode(counts)
        images[:, rows, columns, channel] = symbols.reshape(len(rows), -1).T
        return symbols

    run(network, shape[:3], say, arrays=arrays, progress=progress)
    decoder.finish()
    return images


class Lengths(NamedTuple):
    """Mean code lengths in bits by place, float64[H, W, C], and the stream that they are of."""

    bits: np.ndarray
    payload: bytes


def lengths(images: np.ndarray, network: Program, *, progress: Progress | None = None) -> Lengths:
    """What each sample of images uint8[N, H, W, C] costs on average, and their real stream.

    Raises:
        UnsupportedImageError: the network is for other images.
    """
    _check(images, network)
    encoder, bits = Encoder(), np.zeros(images.shape[1:])

    def say(channel: int, rows: np.ndarray, columns: np.ndarray, counts: np.ndarray) -> np.ndarray:
        symbols = images[:, rows, columns, channel].T.astype(np.int32).ravel()
        encoder.encode(symbols, counts)
        bits[rows, columns, channel] = _code_lengths(counts, symbols).reshape(len(rows), -1).mean(axis=1)
        return symbols

    run(network, images.shape[:3], say, progress=progress)
    return Lengths(bits, encoder.payload())


class _Dice:
    """Numbers below 2^24 from a seed, the same everywhere: SHAKE-128 of the seed and a counter."""

    def __init__(self, seed: int) -> None:
        self._seed, self._number = seed, 0

    def roll(self, count: int) -> np.ndarray:
        """int64[count]."""
        self._number += 1
        data = hashlib.shake_128(f"pixcodec {self._seed} {self._number}".encode()).digest(4 * count)
        return np.frombuffer(data, "<u4").astype(np.int64) >> 8


def sample(
    program: Program,
    shape: tuple[int, int, int],
    *,
    seed: int = 0,
    temperature: float = 1.0,
    known: np.ndarray | None = None,
    rows: int = 0,
    arrays: Any = None,  # noqa: ANN401 - see Evaluation
    progress: Progress | None = None,
) -> np.ndarray:
    """Draw images from a network; the same ones from the same seed on every machine.

    Args:
        program: the network.
        shape: images, height, width.
        seed: of the draw.
        temperature: below 1 for likelier images.
        known: uint8[N, H, W, C], images whose first `rows` rows are given and completed.
        rows: how many rows are given.
        arrays: of the evaluation.
        progress: called with (pixels done, pixels in all).

    Returns:
        uint8[N, H, W, C].
    """
    images = np.zeros((*shape, program.channels), np.uint8)
    dice, given_rows = _Dice(seed), rows

    def say(channel: int, rows: np.ndarray, columns: np.ndarray, counts: np.ndarray) -> np.ndarray:
        ends = np.cumsum(counts.astype(np.int64) + 1, axis=1)
        symbols = (dice.roll(len(counts))[:, None] >= ends).sum(axis=1).astype(np.int32).reshape(len(rows), -1)
        if known is not None:
            given = known[:, rows, columns, channel].T
            symbols = np.where((rows < given_rows)[:, None], given, symbols).astype(np.int32)
        images[:, rows, columns, channel] = symbols.T
        return symbols.ravel()

    run(program, shape, say, temperature=temperature, arrays=arrays, progress=progress)
    return images
