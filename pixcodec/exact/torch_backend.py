"""The exact network by torch: products step by step for `matmul`, and whole pictures at once, on a CPU or a GPU.

Products are int8 (`torch._int_mm`) or binary32 with every shortened form (TF32, bfloat16, autocast) switched off; both
are proved by known answers on the device before they are used.  All else is one operation a tensor, not compiled and
so not fused: sums become binary32 exactly, are multiplied by a binary32 scale, clamped, rounded half to even.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pixcodec.errors import BackendError, MissingDependencyError
from pixcodec.exact import matmul
from pixcodec.exact.network import STREAM_LIMIT, known_codes, phase_codes
from pixcodec.exact.predict import COMPAND, LIMIT, UNIT
from pixcodec.exact.products import columns

try:
    import torch
    from torch.nn import functional
except ImportError:
    raise MissingDependencyError("this needs torch, which is not here; pip install 'pixcodec[train]'") from None

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pixcodec.exact.network import Network, Product

BYTE = 255
CODE_OFFSET = 128  # of codes that are kept as bytes
CHUNK_PIXELS = 1 << 16  # pixels computed at a time, about 4 KiB each
HALO_SHARE = 4  # strips have at least so many times the rows that are computed again above them
GPU_ROWS, GPU_TERMS = 32, 16  # `torch._int_mm` on CUDA wants more than 16 rows and a multiple of 8 terms
PROVED_ROWS = 4096  # of a product with many rows: libraries choose other kernels for them


class _Precision:
    """Switches binary32 products to all 24 bits while anyone uses them, and back after the last one."""

    def __init__(self) -> None:
        self._lock, self._users = threading.Lock(), 0
        self._before: tuple[str, ...] = ()

    @staticmethod
    def _switches() -> list[Any]:
        """What torch 2.9 and later set by back end; older ones have one function for all."""
        found = [torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None)]
        return [switch for switch in found if hasattr(switch, "fp32_precision")]

    def _set(self, values: tuple[str, ...]) -> tuple[str, ...]:
        switches = self._switches()
        if not switches:
            before = (torch.get_float32_matmul_precision(),)
            torch.set_float32_matmul_precision(values[0])
            return before
        before = tuple(switch.fp32_precision for switch in switches)
        for switch, value in zip(switches, values, strict=False):
            switch.fp32_precision = value
        return before

    @contextmanager
    def full(self) -> Iterator[None]:
        """Products in this block are exact, in any thread."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._before = self._set(("ieee", "ieee") if self._switches() else ("highest",))
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._set(self._before)


_PRECISION = _Precision()


def _multiply_float32(a: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Integers in binary32: float32[M, K] float32[K, N]."""
    return torch.matmul(a, w)


def _multiply_int8(a: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """int32[M, N] from int8[M, K] int8[K, N], padded to what a GPU wants."""
    if not a.is_cuda:
        return torch._int_mm(a, w)  # noqa: SLF001 - torch has no other name for it
    rows, terms = a.shape
    more = matmul.padded(terms, GPU_TERMS) - terms
    a = functional.pad(a, (0, more, 0, max(0, GPU_ROWS - rows)))
    return torch._int_mm(a, functional.pad(w, (0, 0, 0, more)))[:rows]  # noqa: SLF001


class _Form(NamedTuple):
    """A kind of products: the types of a back end (see `matmul.Backend`) and torch's, and the function."""

    stored: type
    sums: type
    unsigned_offset: int
    stored_tensor: torch.dtype
    multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


_FORMS = {
    "int8": _Form(np.int8, np.int32, -128, torch.int8, _multiply_int8),
    "float32": _Form(np.float32, np.float32, 0, torch.float32, _multiply_float32),
}


class Layer(NamedTuple):
    """A product on a device: weight [taps * padded inputs, padded outputs]; bias and scale [outputs]."""

    weight: torch.Tensor
    bias: torch.Tensor
    scale: torch.Tensor
    inputs: int  # of a tap, padded


class TorchBackend:
    """A `matmul.Backend` on a device; a product is one matrix product over all taps."""

    signed_offset = 0

    def __init__(self, kind: str, device: str = "cpu") -> None:
        """`kind`: "int8" or "float32"."""
        self.name, self.kind = f"torch-{kind}", kind
        self.form = _FORMS[kind]
        self.device = torch.device(device)
        self.stored, self.sums, self.unsigned_offset = self.form.stored, self.form.sums, self.form.unsigned_offset

    def pack_weight(self, weight: np.ndarray) -> torch.Tensor:
        """[taps * inputs, outputs] on the device."""
        flat = weight.reshape(-1, weight.shape[2])
        return torch.from_numpy(flat.astype(self.stored)).to(self.device)

    def multiply(self, a: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """Exact sums of [M, K] stored activations and [K, N] packed weights."""
        with _PRECISION.full(), torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            return self.form.multiply(a, w)

    def layer(self, product: Product, signed: np.ndarray) -> Layer:
        """A product on the device; `signed` bool[inputs] tells which of its inputs are signed codes."""
        inputs, outputs = product.weight.shape[1:]
        packed = matmul.pack(self, product, signed)
        bias, scale = (torch.tensor(values, device=self.device) for values in (packed.bias[:outputs], product.scale))
        return Layer(packed.weight, bias, scale, matmul.padded(inputs, matmul.TERMS))

    def operand(self, codes: torch.Tensor, inputs: int, offset: int) -> torch.Tensor:
        """Codes [..., n] as products want them: with the offset, padded to `inputs`, in the stored type."""
        return functional.pad((codes + offset).to(self.form.stored_tensor), (0, inputs - codes.shape[-1]))

    def rescaled(self, x: torch.Tensor, layer: Layer, low: int, high: int) -> torch.Tensor:
        """clamp(rint(sums * scale)) as binary32 [M, outputs], from an operand [M, taps * padded inputs]."""
        sums = self.multiply(x, layer.weight)[:, : layer.bias.numel()] + layer.bias
        return sums.to(torch.float32).mul_(layer.scale).clamp_(low, high).round_()

    def convolve(
        self,
        source: np.ndarray,
        slots: np.ndarray,
        starts: np.ndarray,
        rows: int,
        packed: matmul.Packed,
        out: np.ndarray,
    ) -> None:
        """See `matmul.Backend`."""
        inputs = packed.weight.shape[0] // len(slots)
        places = zip(slots, starts, strict=True)
        seen = np.concatenate([source[slot, start : start + rows, :inputs] for slot, start in places], axis=1)
        sums = self.multiply(torch.from_numpy(seen).to(self.device), packed.weight)
        np.add(sums.cpu().numpy(), packed.bias, out=out[:rows])


def unavailable(device: str) -> str:
    """Why torch has no such device here, in one line; empty where it has."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as problem:  # an AssertionError where torch was built without the device
        return str(problem).split("\n", 1)[0]
    return ""


def products(name: str, device: str = "cpu") -> TorchBackend:
    """The back end "torch-int8" or "torch-float32" on a device; `matmul.choose` asks for its known answers."""
    if reason := unavailable(device):
        raise BackendError(f"torch has no device {device!r} here ({reason}); choose another, or no device")
    return TorchBackend(name.removeprefix("torch-"), device)


@lru_cache(maxsize=256)
def _proved(kind: str, device: str, shape: tuple[int, int, int]) -> bool:
    """Whether products of (taps, inputs, outputs) are exact on the device, with few rows and with many."""
    backend = TorchBackend(kind, device)
    if not matmul.known_answer(backend, *shape):
        return False
    terms, outputs = shape[0] * matmul.padded(shape[1], matmul.TERMS), columns(shape[2])
    random = np.random.default_rng(terms)
    largest = min(127, ((1 << 24) - 1) // (256 * terms))
    a: np.ndarray = random.integers(-128, 128, (PROVED_ROWS, terms)).astype(backend.stored)
    w = random.integers(-largest, largest + 1, (1, terms, outputs))
    sums = backend.multiply(torch.from_numpy(a).to(backend.device), backend.pack_weight(w))
    return np.array_equal(sums.cpu().numpy(), a.astype(np.float64) @ w[0].astype(np.float64))


def prove(kind: str, device: str, shapes: Iterable[tuple[int, int, int]]) -> None:
    """Raise `BackendError` unless products of these shapes (taps, inputs, outputs) are exact on the device."""
    if not all(_proved(kind, device, shape) for shape in sorted(shapes)):
        raise BackendError(f"products {kind} of torch are not exact on {device}; choose others or another device")


class _Pictures:
    """A network on a device."""

    def __init__(self, network: Network, backend: TorchBackend) -> None:
        self.network, self.backend = network, backend
        self._compand = torch.from_numpy(COMPAND).to(backend.device)
        self._phases = torch.from_numpy(phase_codes(network.phases)).to(backend.device)
        features = network.features
        self._first = self._layer(network.first, signed_from=0)
        self._blocks = [(self._layer(block.conv), self._layer(block.pointwise)) for block in network.blocks]
        self._heads = [
            (self._layer(head.input, signed_from=features), self._layer(head.hidden), self._layer(head.output))
            for head in network.heads
        ]
        self.halo = max(dy for dy, _ in network.first_taps)
        self.halo += len(network.blocks) * max(dy for dy, _ in network.taps)

    def _layer(self, product: Product, signed_from: int | None = None) -> Layer:
        """`signed_from`: the first input that is a signed code; by default all are codes 0..255."""
        inputs = product.weight.shape[1]
        return self.backend.layer(product, np.arange(inputs) >= (inputs if signed_from is None else signed_from))

    def _rescaled(self, x: torch.Tensor, layer: Layer, low: int) -> torch.Tensor:
        """Codes 0..255 where `low` is 0, else a stream."""
        return self.backend.rescaled(x, layer, low, BYTE if low == 0 else STREAM_LIMIT)

    @staticmethod
    def _seen(x: torch.Tensor, taps: tuple[tuple[int, int], ...], outside: int) -> torch.Tensor:
        """[N H W, taps * inputs]: what each tap (dy, dx) of each pixel sees of [N, H, W, inputs]."""
        _, height, width, inputs = x.shape
        top = max(0, *(dy for dy, _ in taps))
        left, right = max(0, *(-dx for _, dx in taps)), max(0, *(dx for _, dx in taps))
        x = functional.pad(x, (0, 0, left, right, top, 0), value=outside)
        parts = [x[:, top - dy : top - dy + height, left + dx : left + dx + width] for dy, dx in taps]
        return torch.cat(parts, dim=-1).reshape(-1, len(taps) * inputs)

    def _trunk(self, codes: torch.Tensor) -> torch.Tensor:
        """Features 0..255, float32[N, H, W, features], from the inputs int8[N, H, W, inputs]."""
        network, offset, place = self.network, self.backend.unsigned_offset, codes.shape[:3]
        seen = self._seen(self.backend.operand(codes, self._first.inputs, 0), network.first_taps, 0)
        x = self._rescaled(seen, self._first, -STREAM_LIMIT)
        for block, (conv, pointwise) in zip(network.blocks, self._blocks, strict=True):
            u = self.backend.operand(_to_bytes(x, block.alpha), conv.inputs, offset)
            v = self._rescaled(self._seen(u.reshape(*place, -1), network.taps, offset), conv, 0)
            x += self._rescaled(self.backend.operand(v, pointwise.inputs, offset), pointwise, -STREAM_LIMIT)
            x.clamp_(-STREAM_LIMIT, STREAM_LIMIT)
        return _to_bytes(x, network.alpha).reshape(*place, -1)

    def _companded(self, differences: torch.Tensor) -> torch.Tensor:
        """int8 codes of differences in sixteenths."""
        return self._compand[(differences + LIMIT).long()]

    def _places(self, top: int, height: int, width: int) -> torch.Tensor:
        """int8[height, width, 2 * phases]: bits of y, from `top` on, and of x."""
        rows = torch.arange(top, top + height, device=self._phases.device) & 7
        columns = torch.arange(width, device=self._phases.device) & 7
        parts = self._phases[rows][:, None].expand(-1, width, -1), self._phases[columns][None].expand(height, -1, -1)
        return torch.cat(parts, dim=2)

    def _codes(self, channel: int, errors: torch.Tensor, p: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """A head's codes int8[M, n], from errors int8[M, C, P], predictions int32[M, P] and the pixels' places."""
        number = self.network.parameters.centre[channel]
        centre = p[:, number, None]
        q = (centre + UNIT // 2) // UNIT
        others = [k for k in range(p.shape[1]) if k != number]
        codes = [self._companded(p[:, others] - centre), 8 * (centre - UNIT * q), (q - 128).clamp(min=-127)]
        codes += [errors[:, :channel].flatten(1), places]
        return torch.cat([part.to(torch.int8) for part in codes], dim=1)

    def _head(self, channel: int, features: torch.Tensor, signed: torch.Tensor) -> torch.Tensor:
        """Logits int16[M, classes] from features [M, features] and codes int8[M, n]."""
        (first, hidden, output), offset = self._heads[channel], self.backend.unsigned_offset
        x = torch.cat(
            [
                self.backend.operand(features, features.shape[1], offset),
                self.backend.operand(signed, first.inputs - features.shape[1], 0),
            ],
            dim=1,
        )
        a = self._rescaled(x, first, 0)
        b = self._rescaled(self.backend.operand(a, hidden.inputs, offset), hidden, 0)
        return self._rescaled(self.backend.operand(b, output.inputs, offset), output, -STREAM_LIMIT).to(torch.int16)

    def inputs(
        self, planes: torch.Tensor, predictions: torch.Tensor, known: torch.Tensor, above: int, top: int
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """What the heads see of M = N (H - above) W pixels: features [M, features] and each one's codes int8[M, n].

        The first `above` rows, from row `top` of the picture on, are only seen by the others; `known` are codes int8
        [N, H, W, ..] of known planes.
        """
        images, rows, width, channels = planes.shape
        values, p = planes.to(torch.int32), predictions.to(torch.int32)
        errors = self._companded(UNIT * values[..., None] - p)
        levels = (values - 128).clamp(min=-127).to(torch.int8)
        places = self._places(top, rows, width).expand(images, -1, -1, -1)
        places = torch.cat([places, known], dim=3)
        codes = torch.cat([torch.cat([levels[..., None], errors], dim=-1).flatten(3), places], dim=-1)
        features = self._trunk(codes)[:, above:].flatten(0, 2)
        errors, p, places = (each[:, above:].flatten(0, 2) for each in (errors, p, places))
        return features, [self._codes(c, errors, p[:, c], places) for c in range(channels)]

    def logits(
        self, planes: torch.Tensor, predictions: torch.Tensor, known: torch.Tensor, above: int, top: int
    ) -> torch.Tensor:
        """int16[N, H - above, W, C, classes]; arguments as of `inputs`."""
        images, rows, width, channels = planes.shape
        features, codes = self.inputs(planes, predictions, known, above, top)
        logits = [self._head(c, features, own) for c, own in enumerate(codes)]
        return torch.stack(logits, dim=1).reshape(images, rows - above, width, channels, -1)

    def head_inputs(
        self, planes: torch.Tensor, predictions: torch.Tensor, known: torch.Tensor, above: int, top: int
    ) -> torch.Tensor:
        """uint8[N, H - above, W, ..]: features, then every head's codes plus 128; arguments as of `inputs`."""
        images, rows, width, _ = planes.shape
        features, codes = self.inputs(planes, predictions, known, above, top)
        shifted = (torch.cat(codes, dim=1).to(torch.int16) + CODE_OFFSET).to(torch.uint8)
        return torch.cat([features.to(torch.uint8), shifted], dim=1).reshape(images, rows - above, width, -1)


def _to_bytes(stream: torch.Tensor, alpha: np.float32) -> torch.Tensor:
    """clamp(rint(stream * alpha), 0, 255)."""
    return (stream * torch.tensor(alpha, device=stream.device)).clamp_(0, BYTE).round_()


def strips(
    network: Network,
    planes: np.ndarray | torch.Tensor,
    predictions: np.ndarray | torch.Tensor,
    device: str = "cpu",
    products: str = "float32",
    *,
    inputs: bool = False,
) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """Logits of known pictures, some images and rows at a time, so that memory does not grow with them.

    Args:
        network: for C channels.
        planes: uint8[B, H, W, known + C].
        predictions: int16[B, H, W, C, P], see `predict`.
        device: of the computation; what is there already is not copied.
        products: "float32" or "int8".
        inputs: give what the heads see (`_Pictures.head_inputs`) instead.

    Yields:
        Images, rows and int16[images, rows, W, C, classes] on the device.

    Raises:
        BackendError: the products are not exact on this device.
    """
    if products not in _FORMS:
        raise BackendError(f"torch has products {' and '.join(_FORMS)}, found {products!r}; choose one of them")
    prove(products, device, {product.weight.shape for product in network.products().values()})
    pictures = _Pictures(network, TorchBackend(products, device))
    compute = pictures.head_inputs if inputs else pictures.logits
    whole, guesses = (torch.as_tensor(array) for array in (planes, predictions))
    (images, height, width), count = whole.shape[:3], network.known
    beforehand = np.zeros((images, height, width, 0), np.int8)
    if count:
        beforehand = np.stack([known_codes(each, network.known_taps) for each in whole[..., :count].cpu().numpy()])
    coded, ahead = whole[..., count:], torch.from_numpy(beforehand)
    together = max(1, min(images, CHUNK_PIXELS // (height * width)))
    rows = min(height, max(CHUNK_PIXELS // (together * width), HALO_SHARE * pictures.halo, 1))
    for first in range(0, images, together):
        batch = slice(first, min(first + together, images))
        for y in range(0, height, rows):
            above = min(y, pictures.halo)
            seen = slice(y - above, y + rows)
            values, predicted, codes = (each[batch, seen].to(device) for each in (coded, guesses, ahead))
            part = compute(values, predicted, codes, above, y - above)
            yield batch, slice(y, y + part.shape[1]), part


def logits(
    network: Network,
    planes: np.ndarray | torch.Tensor,
    predictions: np.ndarray | torch.Tensor,
    device: str = "cpu",
    products: str = "float32",
) -> torch.Tensor:
    """Logits int16[B, H, W, C, classes] of known pictures, on the device; see `strips` for the arguments."""
    classes = network.heads[0].output.bias.size
    result = torch.empty((*planes.shape[:3], network.channels, classes), dtype=torch.int16, device=device)
    for images, rows, part in strips(network, planes, predictions, device, products):
        result[images, rows] = part
    return result


def head_inputs(
    network: Network, planes: np.ndarray, predictions: np.ndarray, device: str = "cpu", products: str = "float32"
) -> tuple[np.ndarray, list[np.ndarray]]:
    """What the heads see of a known picture, for `learn`; arguments as of `strips`, but of one picture.

    Returns:
        Features uint8[H, W, features] and each head's codes plus 128, uint8[H, W, n].
    """
    parts = strips(network, planes[None], predictions[None], device, products, inputs=True)
    whole = np.concatenate([part[0].cpu().numpy() for _, _, part in parts])
    ends = np.cumsum([network.features, *(h.input.weight.shape[1] - network.features for h in network.heads)])
    features, *codes = np.split(whole, ends[:-1], axis=2)
    return features, codes
