"""The frozen network, pixel by pixel in int64 (the definition).

Every product is a sum of integers, exact, of magnitude below 2^24, and then

    rescale(sum) = clamp(rint(float32(sum) * scale))

one binary32 multiplication, rounded half to even; float32(sum) is exact.  Codes are integers: -127..127 at the inputs
(an input is a value minus 128, or a companded difference of a value and its prediction), 0..255 after a ReLU, and the
residual stream is -32767..32767.  A position outside the picture has code 0 in every layer.

    x = rescale(bias + sum over first_taps of codes W)
    for each block:  u = clamp(rint(x alpha), 0, 255)
                     v = rescale(bias + sum over taps of u W), 0..255
                     x = clamp(x + rescale(bias + v W))
    f = clamp(rint(x alpha), 0, 255)
    head of a channel:  a = rescale(bias + (f, codes) W), b = rescale(bias + a W), logits = rescale(bias + b W)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pixcodec.exact.predict import COMPAND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pixcodec.exact.network import Network, Product

UNIT = 16  # predictions count sixteenths of a level
STREAM = 32767
BYTE = 255


def compand(difference: int) -> int:
    """Code -127..127 of a difference in sixteenths, -4080..4080 (the pinned table)."""
    return int(COMPAND[difference + 255 * UNIT])


def level(value: int) -> int:
    """Code of a value 0..255."""
    return max(value - 128, -127)


def rounded_centre(prediction: int) -> int:
    """The centre q of a prediction in sixteenths: rounded half up."""
    return (prediction + UNIT // 2) // UNIT


def phase_codes(y: int, x: int, phases: int) -> list[int]:
    """The place of a pixel: 32 for each of the lowest bits of y, then of x, that is 1, else -32."""
    return [32 if place >> k & 1 else -32 for place in (y, x) for k in range(phases)]


def known_codes(planes: np.ndarray, taps: Sequence[tuple[int, int]], y: int, x: int) -> list[int]:
    """What is known beforehand at a pixel of planes uint8[H, W, K]: plane by plane its level, and differences to it.

    A tap (dy, dx) is the pixel (y - dy, x + dx), on any side, or the nearest inside.
    """
    codes = []
    for plane in np.moveaxis(planes.astype(np.int64), 2, 0):
        here, (bottom, right) = int(plane[y, x]), (size - 1 for size in plane.shape)
        seen = [int(plane[min(max(y - dy, 0), bottom), min(max(x + dx, 0), right)]) for dy, dx in taps]
        codes += [level(here), *(compand(UNIT * (other - here)) for other in seen)]
    return codes


def past_codes(values: Sequence[int], predictions: Sequence[Sequence[int]], place: Sequence[int] = ()) -> list[int]:
    """The trunk's inputs from a coded pixel: of each channel its level and its predictions' errors; its place.

    `place` is all that is known beforehand: `phase_codes`, then `known_codes`.
    """
    codes = []
    for value, row in zip(values, predictions, strict=True):
        codes += [level(value), *(compand(UNIT * value - p) for p in row)]
    return [*codes, *place]


def head_codes(
    values: Sequence[int],
    predictions: Sequence[Sequence[int]],
    channel: int,
    centre: int,
    place: Sequence[int] = (),
) -> list[int]:
    """What a channel's head sees at a pixel besides the features.

    The other predictions minus the central one (its number is `centre`), its fraction and its level, the errors of the
    predictions of the channels before, and the pixel's place (see `past_codes`).
    """
    own = predictions[channel]
    p = own[centre]
    q = rounded_centre(p)
    codes = [compand(other - p) for k, other in enumerate(own) if k != centre]
    codes += [8 * (p - UNIT * q), level(q)]
    for value, row in zip(values[:channel], predictions[:channel], strict=True):
        codes += [compand(UNIT * value - other) for other in row]
    return [*codes, *place]


def rescale(sums: np.ndarray, scale: np.ndarray | np.float32, low: int, high: int) -> np.ndarray:
    """clamp(rint(float32(sums) * scale)), int64."""
    with np.errstate(over="ignore"):
        scaled = sums.astype(np.float32) * scale
    return np.rint(np.clip(scaled, np.float32(low), np.float32(high))).astype(np.int64)


def product(form: Product, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """Bias + sum over taps of x W: int64[outputs], one input int64[inputs] for each tap."""
    total = form.bias.astype(np.int64)
    for weight, x in zip(form.weight.astype(np.int64), inputs, strict=True):
        total = total + x @ weight
    return total


def tapped(codes: np.ndarray, taps: Sequence[tuple[int, int]], y: int, x: int) -> list[np.ndarray]:
    """What taps (dy, dx) see of int64[H, W, n]: the pixel at (y - dy, x + dx), zeros outside."""
    height, width, n = codes.shape
    places = [(y - dy, x + dx) for dy, dx in taps]
    return [codes[i, j] if 0 <= i < height and 0 <= j < width else np.zeros(n, np.int64) for i, j in places]


def trunk(network: Network, codes: np.ndarray) -> np.ndarray:
    """Features int64[H, W, features] from the inputs int64[H, W, inputs] of all pixels, layer by layer."""
    height, width, _ = codes.shape
    pixels = [(y, x) for y in range(height) for x in range(width)]
    stream = np.zeros((height, width, network.first.bias.size), np.int64)
    for y, x in pixels:
        sums = product(network.first, tapped(codes, network.first_taps, y, x))
        stream[y, x] = rescale(sums, network.first.scale, -STREAM, STREAM)
    for block in network.blocks:
        u = rescale(stream, block.alpha, 0, BYTE)
        for y, x in pixels:
            v = rescale(product(block.conv, tapped(u, network.taps, y, x)), block.conv.scale, 0, BYTE)
            change = rescale(product(block.pointwise, [v]), block.pointwise.scale, -STREAM, STREAM)
            stream[y, x] = np.clip(stream[y, x] + change, -STREAM, STREAM)
    return rescale(stream, network.alpha, 0, BYTE)


def head(network: Network, channel: int, features: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Logits int64[classes] of a channel at a pixel, in 1/256 of a bit."""
    form = network.heads[channel]
    seen = np.concatenate([features, codes])
    a = rescale(product(form.input, [seen]), form.input.scale, 0, BYTE)
    b = rescale(product(form.hidden, [a]), form.hidden.scale, 0, BYTE)
    return rescale(product(form.output, [b]), form.output.scale, -STREAM, STREAM)


def inputs(
    network: Network, planes: np.ndarray, predictions: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """What the heads see of every pixel of a known picture, and the rounded centres.

    Args:
        network: for C channels.
        planes: uint8[H, W, known + C].
        predictions: int16[H, W, C, count], see `reference.predict`.

    Returns:
        Features int64[H, W, features], each channel's codes int64[H, W, codes], centres int64[H, W, C].
    """
    (height, width), channels = planes.shape[:2], network.channels
    known, coded = np.split(planes, [network.known], axis=2)
    values, guesses, taps = coded.tolist(), predictions.tolist(), network.known_taps
    pixels = [(y, x) for y in range(height) for x in range(width)]
    places = {(y, x): phase_codes(y, x, network.phases) + known_codes(known, taps, y, x) for y, x in pixels}
    past = np.array([past_codes(values[y][x], guesses[y][x], places[y, x]) for y, x in pixels], np.int64)
    features = trunk(network, past.reshape(height, width, -1))
    codes, centres = [], np.empty((height, width, channels), np.int64)
    for c, number in enumerate(network.parameters.centre):
        own = [head_codes(values[y][x], guesses[y][x], c, number, places[y, x]) for y, x in pixels]
        codes.append(np.array(own, np.int64).reshape(height, width, -1))
        for y, x in pixels:
            centres[y, x, c] = rounded_centre(guesses[y][x][c][number])
    return features, codes, centres


def logits(network: Network, planes: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every pixel and channel of a known picture; arguments as of `inputs`.

    Returns:
        Logits int16[H, W, C, classes] and rounded centres int64[H, W, C].
    """
    features, codes, centres = inputs(network, planes, predictions)
    result = np.empty((*centres.shape, network.heads[0].output.bias.size), np.int16)
    for y, x, c in np.ndindex(centres.shape):
        result[y, x, c] = head(network, c, features[y, x], codes[c][y, x])
    return result, centres
