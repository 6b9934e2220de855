"""The trunk of a network evaluated step by step: rings of past steps for each layer, all lanes of a step at once.

Lane y is row y + TOP of a ring, so that a tap (dy, dx) is rows shifted up by dy of the slot 2 dy - dx steps ago.  Rows
around the active lanes hold the layer's pad value, the code of zero.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, cast

import numpy as np

from pixcodec.exact.compiled import compiled, specialise
from pixcodec.exact.emit import aligned
from pixcodec.exact.heads import to_bytes, to_stream
from pixcodec.exact.matmul import TERMS, VectorBackend, pack, padded
from pixcodec.exact.network import STREAM_LIMIT, known_codes, phase_codes
from pixcodec.exact.predict import REACH, TOP, no_planes
from pixcodec.exact.products import columns, fitting, layer_kernel
from pixcodec.exact.ring import Repeated
from pixcodec.exact.rounding import rescaled

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixcodec.exact.matmul import Backend
    from pixcodec.exact.network import Network, Product

_compiled = compiled()
_ZERO, _BYTE = np.float32(0), np.float32(255)
_LIMIT = np.float32(STREAM_LIMIT)


@_compiled
def _add_to_stream(sums, scale, rows, stream):  # type: ignore[no-untyped-def]
    """stream[m] = clamp(stream[m] + clamp(rint(sums * scale)))."""
    for m in range(rows):
        for j in range(scale.size):
            total = np.int32(rescaled(sums[m, j], scale[j], -_LIMIT, _LIMIT)) + np.int32(stream[m, j])
            stream[m, j] = min(max(total, -STREAM_LIMIT), STREAM_LIMIT)


@_compiled
def _stream_to_bytes(stream, alpha, rows, target, start, offset):  # type: ignore[no-untyped-def]
    """target[start + m] = clamp(rint(stream * alpha), 0, 255) + offset."""
    for m in range(rows):
        for j in range(stream.shape[1]):
            target[start + m, j] = np.int32(rescaled(stream[m, j], alpha, _ZERO, _BYTE)) + offset


@_compiled
def _prepare(step, first, last, inputs, signed, rings, unsigned, phases, known, column):  # type: ignore[no-untyped-def]
    """Pad values around the active lanes of all rings; as the trunk's last inputs bits of y and x, and known codes."""
    slot, own_slot = step % inputs.shape[0], step % rings.shape[1]
    for side in range(2):
        start, stop = (max(first - REACH, -TOP), first) if side == 0 else (last + 1, last + 1 + REACH)
        for y in range(start + TOP, stop + TOP):
            for k in range(inputs.shape[2]):
                inputs[slot, y, k] = signed
            for i in range(rings.shape[0]):
                for k in range(rings.shape[3]):
                    rings[i, own_slot, y, k] = unsigned
    count = phases.shape[1]
    for y in range(first, last + 1):
        row, x = inputs[slot, y + TOP], step - 2 * y
        for k in range(count):
            row[column + k] = phases[y & 7, k] + signed
            row[column + count + k] = phases[x & 7, k] + signed
        for k in range(known.shape[2]):
            row[column + 2 * count + k] = known[y, x, k] + signed


class _Taps:
    """Where a masked convolution finds its taps: slots of a ring and shifts of lanes."""

    def __init__(self, taps: tuple[tuple[int, int], ...]) -> None:
        self.delays = np.array([2 * dy - dx for dy, dx in taps])
        self.shifts = np.array([TOP - dy for dy, _ in taps])
        self.depth = int(self.delays.max()) + 1
        self.table = (np.arange(self.depth)[:, None] - self.delays) % self.depth

    def slots(self, step: int) -> np.ndarray:
        slots: np.ndarray = self.table[step % self.depth]
        return slots


class Trunk:
    """The trunk by any back end's products.

    Attributes:
        inputs: [depth, lanes, inputs or more], stored signed codes of the known pixels, channel by channel.
        depth: of `inputs`; step t lies in slot t % depth.
        output: stored codes [lanes, features or more], of the active lanes of the last step.
        preparing: `prepare` as a call.
    """

    def __init__(
        self, network: Network, backend: Backend, height: int, width: int, known: np.ndarray | None = None
    ) -> None:
        """Start a tile, of which planes uint8[H, W, known] are known."""
        self.network, self.backend = network, backend
        self._lanes = min(height, (width + 1) // 2)
        rows, features, lanes = height + TOP + REACH, columns(network.features), self._lanes
        self._signed, self._unsigned = backend.signed_offset, backend.unsigned_offset
        self._first_taps, self._taps = _Taps(network.first_taps), _Taps(network.taps)
        codes, self.depth = network.first.weight.shape[1], self._first_taps.depth
        self.inputs = aligned((self.depth, rows, padded(codes, TERMS)), backend.stored, self._signed)
        self._phases = phase_codes(network.phases)
        self._known = known_codes(no_planes(height, width) if known is None else known, network.known_taps)
        self._column = codes - network.places
        self._rings = aligned((len(network.blocks), self._taps.depth, rows, features), backend.stored, self._unsigned)
        self._hidden = aligned((1, lanes, features), backend.stored)
        self._stream = aligned((lanes, features), np.int16)
        self.output = aligned((lanes, features), backend.stored)
        self.preparing = Repeated(
            _prepare, 3, self.inputs, self._signed, self._rings, self._unsigned, self._phases, self._known, self._column
        )
        self._start(network)

    def _start(self, network: Network) -> None:
        """Pack the weights."""
        unsigned, signed = np.zeros(network.features, bool), np.ones(network.first.weight.shape[1], bool)
        self._sums: np.ndarray = np.zeros((self._lanes, columns(network.features)), self.backend.sums)
        self._zero = np.zeros(1, np.int64)
        self._first = pack(self.backend, network.first, signed)
        self._blocks = [
            (pack(self.backend, b.conv, unsigned), pack(self.backend, b.pointwise, unsigned)) for b in network.blocks
        ]

    def prepare(self, step: int, first: int, last: int) -> None:
        """Make ready for a step with the active lanes first..last; all earlier steps but the last one are over."""
        self.preparing(step, first, last)

    @property
    def layers(self) -> Repeated:
        """A call with (step, lane, rows, at) that fills so many rows of `output`, those from `at` on, of a step.

        The step is prepared; of the one before, these lanes, which begin at `lane`, and those above them are known.
        """
        return Repeated(self._layers, 4)

    def features(self, step: int, first: int, last: int) -> np.ndarray:
        """Stored codes [active lanes, features or more] of the lanes first..last from all earlier steps."""
        self.prepare(step, first, last)
        if last >= first:
            self.layers(step, first, last - first + 1, 0)
        return self.output[: max(last - first + 1, 0)]

    def _layers(self, step: int, first: int, rows: int, at: int) -> None:
        network, convolve, sums, width = self.network, self.backend.convolve, self._sums, self.network.features
        own = step % self._taps.depth
        stream, features, hidden = self._stream[:, :width], self.output[at:, :width], self._hidden
        convolve(self.inputs, self._first_taps.slots(step), self._first_taps.shifts + first, rows, self._first, sums)
        to_stream(sums, network.first.scale, rows, stream)
        slots, starts = self._taps.slots(step), self._taps.shifts + first
        for block, ring, (conv, pointwise) in zip(network.blocks, self._rings, self._blocks, strict=True):
            _stream_to_bytes(stream, block.alpha, rows, ring[own, :, :width], first + TOP, self._unsigned)
            convolve(ring, slots, starts, rows, conv, sums)
            to_bytes(sums, block.conv.scale, rows, hidden[0, :, :width], 0, self._unsigned)
            convolve(hidden, self._zero, self._zero, rows, pointwise, sums)
            _add_to_stream(sums, block.pointwise.scale, rows, stream)
        _stream_to_bytes(stream, network.alpha, rows, features, 0, self._unsigned)


def _all_layers(  # type: ignore[no-untyped-def]
    step, lane, rows, at, inputs, first_table, first_shifts, rings, table, shifts, first, conv, pointwise, alphas,
    all_hidden, all_stream, all_features,
):  # fmt: skip
    """A step's layers one after the other, for `rows` lanes from one on, the `at`-th of the step's.

    `first`, `conv` and `pointwise` are weights, biases and scales; the tables have the taps' slots of each step.
    """
    hidden, stream, features = all_hidden[:, at:], all_stream[at:], all_features[at:]
    first_slots, slots = first_table[step % first_table.shape[0]], table[step % table.shape[0]]
    first_starts, starts = np.empty(first_shifts.size, np.int64), np.empty(shifts.size, np.int64)
    for t in range(first_shifts.size):
        first_starts[t] = first_shifts[t] + lane
    for t in range(shifts.size):
        starts[t] = shifts[t] + lane
    own, place = step % rings.shape[1], lane + TOP
    zero = np.zeros(1, np.int64)
    blocks = rings.shape[0]
    weight, bias, scale = first
    conv_weight, conv_bias, conv_scale = conv
    back_weight, back_bias, back_scale = pointwise
    if blocks == 0:
        to_stream_layer(  # type: ignore[name-defined] # noqa: F821
            inputs, first_slots, first_starts, rows, weight, bias, features, 0, scale, stream, alphas
        )
        return
    to_stream_layer(  # type: ignore[name-defined] # noqa: F821
        inputs, first_slots, first_starts, rows, weight, bias, rings[0, own], place, scale, stream, alphas
    )
    for i in range(blocks):
        to_bytes_layer(  # type: ignore[name-defined] # noqa: F821
            rings[i], slots, starts, rows, conv_weight[i], conv_bias[i], hidden[0], 0, conv_scale[i], stream, alphas
        )
        target, start = (rings[i + 1, own], place) if i + 1 < blocks else (features, 0)
        add_layer(  # type: ignore[name-defined] # noqa: F821
            hidden,
            zero,
            zero,
            rows,
            back_weight[i],
            back_bias[i],
            target,
            start,
            back_scale[i],
            stream,
            alphas[i + 1 :],
        )


@lru_cache
def _trunk_kernel(kind: str) -> Callable[..., None]:
    layers = {
        "to_stream_layer": layer_kernel(kind, "stream"),
        "to_bytes_layer": layer_kernel(kind, "bytes"),
        "add_layer": layer_kernel(kind, "added"),
    }
    return specialise(_all_layers, f"trunk_{kind}", **layers)


class VectorTrunk(Trunk):
    """The trunk by compiled kernels, a step in one call."""

    def _start(self, network: Network) -> None:
        kernel = _trunk_kernel(fitting(cast("VectorBackend", self.backend).kind, network.features))
        taps, first_taps = self._taps, self._first_taps
        self._run = Repeated(
            kernel, 4, self.inputs, first_taps.table, first_taps.shifts, self._rings, taps.table, taps.shifts,
            tuple(part[0] for part in self._pack([network.first], signed=True)),
            self._pack([block.conv for block in network.blocks]),
            self._pack([block.pointwise for block in network.blocks]),
            np.array([*(block.alpha for block in network.blocks), network.alpha], np.float32),
            self._hidden, self._stream, self.output,
        )  # fmt: skip

    @property
    def layers(self) -> Repeated:
        """See `Trunk`."""
        return self._run

    def _pack(self, products: list[Product], *, signed: bool = False) -> tuple[np.ndarray, ...]:
        """Weights, biases and scales of products, each in one array."""
        if not products:  # types of what is not used
            return self._pack([self.network.first])
        packed = [pack(self.backend, p, np.full(p.weight.shape[1], signed)) for p in products]
        weight = aligned((len(products), *packed[0].weight.shape), packed[0].weight.dtype)
        scale = np.zeros((len(products), packed[0].bias.size), np.float32)
        for i, (product, each) in enumerate(zip(products, packed, strict=True)):
            weight[i], scale[i, : product.scale.size] = each.weight, product.scale
        return weight, np.array([each.bias for each in packed]), scale


def trunk(network: Network, backend: Backend, height: int, width: int, known: np.ndarray | None = None) -> Trunk:
    """A network's trunk for one tile, by the fastest way that the back end has; see `Trunk`."""
    return (VectorTrunk if isinstance(backend, VectorBackend) else Trunk)(network, backend, height, width, known)
