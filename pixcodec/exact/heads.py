"""The heads of a network at one step: what turns features and codes into logits, channel by channel.

`FixedHeads` are as the model has them; those of `learn` learn from the picture and have the same form.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from pixcodec.exact.compiled import compiled, specialise
from pixcodec.exact.emit import aligned
from pixcodec.exact.matmul import TERMS, VectorBackend, pack, padded
from pixcodec.exact.network import STREAM_LIMIT
from pixcodec.exact.products import columns, fitting, layer_kernel
from pixcodec.exact.rounding import rescaled

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixcodec.exact.matmul import Backend
    from pixcodec.exact.network import Network, Product
    from pixcodec.exact.ring import Repeated

_compiled = compiled()
_ZERO, _BYTE = np.float32(0), np.float32(255)
_LIMIT = np.float32(STREAM_LIMIT)


class Heads(Protocol):
    """What `wavefront.Wavefront` asks of heads.

    Attributes:
        inputs: for each channel [1, lanes, inputs or more], whose first rows get the step's features and, behind them,
            codes, from `column` on; the same one for all where nobody looks back.
        unsigned_offset, signed_offset: added to features 0..255 and to codes -128..127 there.
        kernel: a compiled function (`head_kernel`) that gives the outputs, if there is one.
    """

    inputs: list[np.ndarray]
    column: int
    unsigned_offset: int
    signed_offset: int
    kernel: Callable[..., None] | None

    def logits(self, channel: int, rows: int) -> np.ndarray:
        """int16[rows, outputs] of a channel from the first rows of its input."""

    def parts(self, channel: int) -> tuple[Any, ...]:
        """What `kernel` works on: inputs, three products' weights, room for activations and outputs, their number."""

    def learning(self, channel: int, counts: np.ndarray, centres: np.ndarray, symbols: np.ndarray) -> Repeated | None:
        """A call, with a number up to TEACHERS, that learns the first symbols int32[rows] where `logits` gave counts.

        It may run beside everything but this channel's `logits` and others like it.  None: nothing is learned.
        """

    def watching(self, channel: int, centres: np.ndarray, symbols: np.ndarray) -> Repeated | None:
        """A call, with a step and its number of pixels, before that one; None: nothing looks on."""


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
        head, self.column = network.heads[-1], network.features
        width, self._number = head.hidden.bias.size, head.output.bias.size
        inputs = aligned((1, lanes, padded(head.input.weight.shape[1], TERMS)), backend.stored)
        self.inputs = [inputs] * len(network.heads)
        self._hidden = [aligned((1, lanes, columns(width)), backend.stored) for _ in range(2)]
        sizes = {columns(p.bias.size) for p in (head.input, head.hidden, head.output)}
        self._sums: dict[int, np.ndarray] = {size: np.zeros((lanes, size), backend.sums) for size in sizes}
        self._logits = aligned((lanes, columns(self._number)), np.int16)
        self._zero = np.zeros(1, np.int64)
        self.kernel: Callable[..., None] | None = None
        self._packed: list[tuple[Any, Any, Any]] = []
        for head in network.heads:
            kinds = np.arange(head.input.weight.shape[1]) >= network.features
            plain = np.zeros(head.hidden.weight.shape[1], bool)
            own = pack(backend, head.input, kinds), pack(backend, head.hidden, plain), pack(backend, head.output, plain)
            self._packed.append(own)
        self._start()

    def _start(self) -> None:
        """What a subclass needs besides."""

    def logits(self, channel: int, rows: int) -> np.ndarray:
        """See `Heads`."""
        head, (first, second, last) = self.network.heads[channel], self._packed[channel]
        a, b = (hidden[0, :, : head.hidden.bias.size] for hidden in self._hidden)
        logits, offset = self._logits[:rows, : self._number], self.unsigned_offset
        to_bytes(self._product(self.inputs[channel], rows, head.input, first), head.input.scale, rows, a, 0, offset)
        to_bytes(self._product(self._hidden[0], rows, head.hidden, second), head.hidden.scale, rows, b, 0, offset)
        to_stream(self._product(self._hidden[1], rows, head.output, last), head.output.scale, rows, logits)
        return logits

    def parts(self, channel: int) -> tuple[Any, ...]:
        """Nothing without a kernel."""
        raise NotImplementedError

    def learning(self, channel: int, counts: np.ndarray, centres: np.ndarray, symbols: np.ndarray) -> Repeated | None:
        """Nothing."""

    def watching(self, channel: int, centres: np.ndarray, symbols: np.ndarray) -> Repeated | None:
        """Nothing."""

    def _product(self, source: np.ndarray, rows: int, product: Product, packed: Any) -> np.ndarray:
        sums = self._sums[columns(product.bias.size)]
        self.backend.convolve(source, self._zero, self._zero, rows, packed, sums)
        return sums


def _all_layers(source, rows, first, second, last, a, b, logits):  # type: ignore[no-untyped-def]
    """A head's layers one after the other; `first`, `second` and `last` are weights, biases and scales."""
    zero = np.zeros(1, np.int64)
    weight, bias, scale = first
    first_layer(source, zero, zero, rows, weight, bias, a[0], 0, scale, logits, scale)  # type: ignore[name-defined] # noqa: F821
    weight, bias, scale = second
    to_bytes_layer(a, zero, zero, rows, weight, bias, b[0], 0, scale, logits, scale)  # type: ignore[name-defined] # noqa: F821
    weight, bias, scale = last
    to_logits_layer(b, zero, zero, rows, weight, bias, logits, 0, scale, logits, scale)  # type: ignore[name-defined] # noqa: F821


@lru_cache
def head_kernel(kind: str, last: str, unsigned: int | None = None) -> Callable[..., None]:
    """`head(source, rows, first, second, last, a, b, logits)` by two of `products.FORMS`: all but the last, and it.

    Of the first one `unsigned` is as for `products.layer_kernel`.

    Returns:
        A compiled function.  source, a and b are [1, lanes, inputs or more] of the instruction's type, logits int16
        [lanes, classes or more]; of each product (weight, bias, scale) as of `products.layer_kernel`.
    """
    name = f"head_{kind}_{last}" if unsigned is None else f"head_{kind}_{last}_{unsigned}"
    layers = {"to_bytes_layer": layer_kernel(kind, "bytes"), "to_logits_layer": layer_kernel(last, "logits")}
    return specialise(_all_layers, name, first_layer=layer_kernel(kind, "bytes", unsigned), **layers)


def in_panels(numbers: np.ndarray, size: int) -> np.ndarray:
    """Numbers of outputs, with zeros up to so many."""
    result = np.zeros(size, numbers.dtype)
    result[: numbers.size] = numbers
    return result


class VectorHeads(FixedHeads):
    """The model's heads by compiled kernels, a channel in one call."""

    def _start(self) -> None:
        kind, head = cast("VectorBackend", self.backend).kind, self.network.heads[-1]
        self.kernel = self._run = head_kernel(*(fitting(kind, p.bias.size) for p in (head.hidden, head.output)))
        self._layers = [
            [
                (each.weight, each.bias, in_panels(product.scale, each.bias.size))
                for each, product in zip(packed, (head.input, head.hidden, head.output), strict=True)
            ]
            for packed, head in zip(self._packed, self.network.heads, strict=True)
        ]

    def logits(self, channel: int, rows: int) -> np.ndarray:
        """See `Heads`."""
        self._run(self.inputs[channel], rows, *self._layers[channel], *self._hidden, self._logits)
        return self._logits[:rows, : self._number]

    def parts(self, channel: int) -> tuple[Any, ...]:
        """See `Heads`."""
        return self.inputs[channel], tuple(self._layers[channel]), *self._hidden, self._logits, self._number


def fixed_heads(network: Network, backend: Backend, lanes: int) -> FixedHeads:
    """The model's heads for steps of at most `lanes` pixels, by the fastest way that the back end has."""
    return (VectorHeads if isinstance(backend, VectorBackend) else FixedHeads)(network, backend, lanes)
