"""The stages put together: the counts by which every pixel and channel of a picture is coded (the definition).

The coder takes pixels by ascending x + 2 y, those of one step channel by channel, and in a channel by ascending y.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pixcodec.exact.reference import frequencies, learn, logistics, network, predict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pixcodec.exact.network import Network


def counts_and_centres(model: Network, planes: np.ndarray, *, learning: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Of a known picture uint8[H, W, known + C], by the model's heads or by heads that learn it.

    Returns:
        Counts int64[H, W, C, 256], each row of sum 2^24 - 256, and what experts take for the centres, int64[H, W, C]:
        0 of a network whose output is "raw".
    """
    return _each(model, planes, _counts, frequencies.SYMBOLS, learning=learning)


def sums_and_centres(model: Network, planes: np.ndarray, *, learning: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The same of what experts ask: frequencies below each value, int64[H, W, C, 257], and centres.

    They are those of the coder; of logistics those of the mixture as they are, which may fall a little.
    """
    return _each(model, planes, _sums, frequencies.SYMBOLS + 1, learning=learning)


def _each(
    model: Network,
    planes: np.ndarray,
    make: Callable[[Network, Sequence[int], int], np.ndarray],
    size: int,
    *,
    learning: bool,
) -> tuple[np.ndarray, np.ndarray]:
    predictions = predict.predictions(planes, model.parameters)
    outputs, centres = (_learning if learning else network.logits)(model, planes, predictions)
    result = np.empty((*centres.shape, size), np.int64)
    for place in np.ndindex(centres.shape):
        result[place] = make(model, outputs[place].tolist(), int(centres[place]))
    return result, np.zeros_like(centres) if model.raw else centres


def _counts(model: Network, outputs: Sequence[int], q: int) -> np.ndarray:
    """int64[256] from the outputs of a head."""
    if model.logistics:
        return logistics.counts(outputs, q)
    return frequencies.counts(outputs, frequencies.symbol_classes(model.card["network"], q))


def _sums(model: Network, outputs: Sequence[int], q: int) -> np.ndarray:
    """int64[257] from the outputs of a head."""
    if model.logistics:
        return logistics.sums(outputs, q)
    return np.concatenate([[0], np.cumsum(_counts(model, outputs, q) + 1)])


def _taught_by(model: Network, outputs: np.ndarray, q: int) -> np.ndarray:
    """The counts that a head is taught with; logistics learn from their outputs."""
    return np.empty(0, np.int64) if model.logistics else _counts(model, outputs.tolist(), q)


def _learning(model: Network, planes: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs int64[H, W, C, ..] of heads that learn, and centres, step by step."""
    height, width, channels = predictions.shape[:3]
    features, codes, centres = network.inputs(model, planes, predictions)
    heads = [learn.LearningHead(model, channel) for channel in range(channels)]
    result = np.empty((*centres.shape, model.heads[0].output.bias.size), np.int64)
    for step in range(width + 2 * (height - 1)):
        places = [(y, step - 2 * y) for y in range(height) if 0 <= step - 2 * y < width]
        for c in range(channels if places else 0):
            for y, x in places:
                result[y, x, c] = heads[c].outputs(np.concatenate([features[y, x], codes[c][y, x]]))
            heads[c].learn(
                [_taught_by(model, result[y, x, c], int(centres[y, x, c])) for y, x in places],
                [int(centres[y, x, c]) for y, x in places],
                [int(planes[y, x, model.known + c]) for y, x in places],
            )
    return result, centres


def counts(model: Network, planes: np.ndarray) -> np.ndarray:
    """int64[H, W, C, 256], see `counts_and_centres`."""
    return counts_and_centres(model, planes)[0]


def order(height: int, width: int, channels: int) -> Iterator[tuple[int, int, int]]:
    """(y, x, channel) of every symbol in the coder's order."""
    for step in range(width + 2 * (height - 1)):
        rows = [y for y in range(height) if 0 <= step - 2 * y < width]
        for channel in range(channels):
            for y in rows:
                yield y, step - 2 * y, channel
