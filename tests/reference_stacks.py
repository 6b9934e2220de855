"""A second coder of what the paper's networks code, from docs/format.md (section 9) and the slow reference alone.

It takes the operations from `Program.build` and shares nothing else with the codec: it finds the order of the pixels,
the regions of tiles and the lengths of streams anew.  The decoder evaluates all pictures of a stack, as far as they are
known, again for each step and channel, so it is for pictures of a few pixels.
"""

from __future__ import annotations

import struct
from itertools import count, groupby, product
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pixcodec.exact.operations import Add, Convolve, Gate, Recur, Rescale
from pixcodec.exact.reference import frequencies, mixture, range_coder
from pixcodec.exact.reference import program as reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pixcodec.exact.program import Program

    Box = tuple[slice, slice]

STACK = 512


class Code(Protocol):
    """Codes a symbol by its counts."""

    def __call__(self, counts: list[int], symbol: int) -> int:
        """`symbol` is what is to be encoded; a decoder does not look at it.  Returns the symbol."""


def steps(program: Program, height: int, width: int) -> Iterator[list[tuple[int, int]]]:
    """The pixels (y, x) of each step by ascending row."""
    ahead = {"known"}
    for op in program.operations:
        if isinstance(op, Convolve | Rescale | Add | Gate) and set(op.sources) <= ahead:
            ahead.add(op.target)
    recurs = [op for op in program.operations if isinstance(op, Recur)]
    convolves = [op for op in program.operations if isinstance(op, Convolve) and op.source not in ahead]
    taps = [tap for op in (*recurs, *convolves) for tap in op.taps]
    pixels = list(product(range(height), range(width)))
    if any(op.direction == "right" for op in recurs) or any(dy == 0 and dx > 0 for dy, dx in taps):
        yield from ([pixel] for pixel in pixels)
        return
    slope = next(s for s in count(1) if all(s * dy - dx >= 1 for dy, dx in taps if (dy, dx) != (0, 0)))

    def time(pixel: tuple[int, int]) -> int:
        return pixel[1] + slope * pixel[0]

    yield from (list(step) for _, step in groupby(sorted(pixels, key=time), time))


def median_edge(image: np.ndarray, y: int, x: int, channel: int) -> int:
    """MED of the pixels before (y, x); 128 is outside."""

    def at(row: int, column: int) -> int:
        return int(image[row, column, channel]) if row >= 0 and column >= 0 else 128

    left, upper, corner = at(y, x - 1), at(y - 1, x), at(y - 1, x - 1)
    return sorted((left, upper, left + upper - corner))[1]


def counts(program: Program, outputs: np.ndarray, image: np.ndarray, place: tuple[int, int, int]) -> list[int]:
    """Counts at (y, x, channel), from the pixel's outputs and those pixels and channels of `image` that are before."""
    y, x, channel = place
    if program.card["output"]["kind"] == "softmax":
        levels = program.levels
        own = outputs[channel * levels : (channel + 1) * levels] if levels > 2 else [0, outputs[channel]]
        return frequencies.counts(own, range(levels)).tolist()
    predictions = [median_edge(image, y, x, c) for c in range(program.channels)]
    errors = [int(value) - p for value, p in zip(image[y, x], predictions, strict=True)]
    components = program.card["output"]["components"]
    pixel = mixture.Pixel(outputs.tolist(), components, program.channels, predictions, errors)
    weights = mixture.weights(pixel)
    for before in range(channel):
        weights = mixture.learned(pixel, before, weights)
    return mixture.counts(pixel, channel, weights).tolist()


def run(program: Program, images: np.ndarray, code: Code) -> None:
    """Code the symbols of images uint8[N, H, W, C] one after the other; `images` holds what `code` returned."""
    if program.small is not None:
        run(program.small, images[:, ::2, ::2], code)
    seen, outputs = b"", list[np.ndarray]()
    for step, channel in product(steps(program, *images.shape[1:3]), range(program.channels)):
        asked = [(y, x) for y, x in step if program.small is None or y % 2 or x % 2]
        if asked and images.tobytes() != seen:  # one evaluation serves a channel of a step
            seen, outputs = images.tobytes(), [reference.outputs(program, image) for image in images]
        for y, x in asked:
            for image, own in zip(images, outputs, strict=True):
                symbol = int(image[y, x, channel])
                image[y, x, channel] = code(counts(program, own[y, x], image, (y, x, channel)), symbol)


def _encode_stack(images: np.ndarray, program: Program) -> bytes:
    encoder = range_coder.Encoder()

    def code(own: list[int], symbol: int) -> int:
        encoder.put(own, symbol)
        return symbol

    run(program, images.copy(), code)
    words = encoder.words()
    return struct.pack(f"<{len(words)}I", *words)


def _decode_stack(stream: bytes, shape: tuple[int, ...], program: Program) -> np.ndarray:
    images, decoder = np.zeros(shape, np.uint8), range_coder.Decoder(struct.unpack(f"<{len(stream) // 4}I", stream))
    run(program, images, lambda own, _: decoder.get(own))
    decoder.finish()
    return images


def _stacks(number: int, height: int, width: int, tile: tuple[int, int]) -> Iterator[list[tuple[int, Box]]]:
    """The tiles of each stream: inner ones, those of the right edge, of the bottom edge, the corner."""
    corners = list(product(range(0, height, tile[0]), range(0, width, tile[1])))
    for lower, narrower in ((False, False), (False, True), (True, False), (True, True)):
        region = [
            (slice(y, min(y + tile[0], height)), slice(x, min(x + tile[1], width)))
            for y, x in corners
            if (y + tile[0] > height, x + tile[1] > width) == (lower, narrower)
        ]
        tiles = list(product(range(number), region))
        yield from (tiles[first : first + STACK] for first in range(0, len(tiles), STACK))


def leb128(number: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + leb128(number // 128)


def encode(images: np.ndarray, program: Program, tile: tuple[int, int]) -> bytes:
    """The payload of images uint8[N, H, W, C] in tiles of (height, width)."""
    streams = [
        _encode_stack(np.stack([images[n][box] for n, box in stack]), program)
        for stack in _stacks(*images.shape[:3], tile)
    ]
    return b"".join(leb128(len(stream)) + stream for stream in streams)


def decode(payload: bytes, shape: tuple[int, int, int, int], program: Program, tile: tuple[int, int]) -> np.ndarray:
    """The images of a sound payload; an assertion fails where docs/format.md is not kept."""
    images = np.zeros(shape, np.uint8)
    for stack in _stacks(*shape[:3], tile):
        size = next(n for n in count() if payload.startswith(leb128(n)))
        payload = payload[len(leb128(size)) :]
        stream, payload = payload[:size], payload[size:]
        assert len(stream) == size
        own = images[0][stack[0][1]].shape
        for (n, box), pixels in zip(stack, _decode_stack(stream, (len(stack), *own), program), strict=True):
            images[n][box] = pixels
    assert not payload
    return images
