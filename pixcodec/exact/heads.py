"""The heads of a network at one step: what turns features and codes into logits, channel by channel.

`FixedHeads` are as the model has them; those of `learn` learn from the picture and have the same form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numba import njit

from pixcodec.exact.matmul import OUTPUTS, TERMS, pack, padded
from pixcodec.exact.network import STREAM_LIMIT
from pixcodec.exact.rounding import rescaled

if TYPE_CHECKING:
    from pixcodec.exact.matmul import Backend
    from pixcodec.exact.network import Network, Product

_compiled = njit(nogil=True, cache=True, error_model="numpy")
_ZERO, _BYTE = np.float32(0), np.float32(255)
_LIMIT = np.float32(STREAM_LIMIT)


class Heads(Protocol):
    """What `wavefront.Wavefront` asks of heads.

    Attributes:
        inputs: for each channel [1, lanes, inputs or more], whose first rows get the step's features and, behind them,
            codes; the same one for all where nobody looks back.
        unsigned_offset, signed_offset: added to features 0..255 and to codes -128..127 there.
    """

    inputs: list[np.ndarray]
    unsigned_offset: int
    signed_offset: int

    def logits(self, channel: int, rows: int) -> np.ndarray:
        """int16[rows, classes] of a channel from the first rows of `input`."""

    def learn(self, channel: int, counts: np.ndarray, centres: np.ndarray, symbols: np.ndarray) -> None:
        """The symbols int[rows] that came where the logits gave counts float32[rows, 256].

        May run beside everything but this channel's `logits` and other calls of itself.
        """


@_compiled
def to_bytes(sums, scale, rows, target, start, offset):  # type: ignore[no-untyped-def]
    """target[start + m] = clamp(rint(sums * scale), 0, 255) + offset."""
    for m in range(rows):
        for j in range(scale.size):
            target[start + m, j] = np.int32(rescaled(sums[m, j], scale[j], _ZERO, _BYTE)) + offset


@_compiled
def to_stream(sums, scale, rows, stream):  # type: ignore[no-untyped-def]
    """stream[m] = clamp(rint(sums * scale))."""
    for m in range(rows):
        for j in range(scale.size):
            stream[m, j] = np.int32(rescaled(sums[m, j], scale[j], -_LIMIT, _LIMIT))


class FixedHeads:
    """The model's heads by a back end's products."""

    def __init__(self, network: Network, backend: Backend, lanes: int) -> None:
        """For steps of at most `lanes` pixels."""
        self.network, self.backend = network, backend
        self.unsigned_offset, self.signed_offset = backend.unsigned_offset, backend.signed_offset
        head = network.heads[-1]

        def zeros(inputs: int) -> np.ndarray:
            return np.zeros((1, lanes, padded(inputs, TERMS)), backend.stored)

        self.inputs = [zeros(head.input.weight.shape[1])] * len(network.heads)
        self._hidden = [zeros(head.hidden.bias.size) for _ in range(2)]
        sizes = {padded(p.bias.size, OUTPUTS) for p in (head.input, head.hidden, head.output)}
        self._sums: dict[int, np.ndarray] = {size: np.zeros((lanes, size), backend.sums) for size in sizes}
        self._logits = np.zeros((lanes, head.output.bias.size), np.int16)
        self._zero = np.zeros(1, np.int64)
        self._packed: list[tuple[Any, Any, Any]] = []
        for head in network.heads:
            kinds = np.arange(head.input.weight.shape[1]) >= network.features
            plain = np.zeros(head.hidden.weight.shape[1], bool)
            own = pack(backend, head.input, kinds), pack(backend, head.hidden, plain), pack(backend, head.output, plain)
            self._packed.append(own)

    def logits(self, channel: int, rows: int) -> np.ndarray:
        """See `Heads`."""
        head, packed, (a, b) = self.network.heads[channel], self._packed[channel], self._hidden
        to_bytes(self._product(self.inputs[channel], rows, head.input, packed[0]), head.input.scale, rows, a[0], 0,
                 self.unsigned_offset)  # fmt: skip
        to_bytes(self._product(a, rows, head.hidden, packed[1]), head.hidden.scale, rows, b[0], 0, self.unsigned_offset)
        to_stream(self._product(b, rows, head.output, packed[2]), head.output.scale, rows, self._logits)
        return self._logits[:rows]

    def learn(self, channel: int, counts: np.ndarray, centres: np.ndarray, symbols: np.ndarray) -> None:
        """Nothing."""

    def _product(self, source: np.ndarray, rows: int, product: Product, packed: Any) -> np.ndarray:
        sums = self._sums[padded(product.bias.size, OUTPUTS)]
        self.backend.convolve(source, self._zero, self._zero, rows, packed, sums)
        return sums
