"""What `exact.evaluation` needs of an array library: NumPy alone, or with compiled products and loops.

All numbers are integers held in binary32.  `torch_arrays` has the same for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pixcodec.exact import matmul
from pixcodec.exact.compiled import compiled
from pixcodec.exact.network import Product
from pixcodec.exact.products import columns
from pixcodec.exact.rounding import rescaled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pixcodec.exact.program import Program

FEW = 8  # features of a map whose taps NumPy multiplies at once
_compiled = compiled()


def are_codes(low: int, high: int) -> bool:
    """Whether integers from `low` to `high` are codes that all back ends multiply: 0..255, or -128..127."""
    return (low >= 0 and high <= 255) or (low >= -128 and high <= 127)


def of_one_tap(product: Product) -> Product:
    """A product with the inputs of all its taps side by side."""
    taps, width, outputs = product.weight.shape
    return Product(product.weight.reshape(1, taps * width, outputs), product.bias, product.scale)


class NumpyArrays:
    """NumPy alone."""

    def array(self, values: np.ndarray) -> Any:
        """A constant."""
        return np.ascontiguousarray(values)

    def full(self, shape: tuple[int, ...], value: np.ndarray | float) -> Any:
        """binary32 of a shape, filled with a value or a row of them."""
        result = np.empty(shape, np.float32)
        result[...] = value
        return result

    def integers(self, x: Any) -> Any:
        """int32 of integers in binary32."""
        return x.astype(np.int32)

    def floats(self, x: Any) -> Any:
        """binary32 of small integers."""
        return x.astype(np.float32)

    def numbers(self, x: Any) -> np.ndarray:
        """int32 of NumPy, of integers in binary32."""
        return x.astype(np.int32)

    def clamped(self, x: Any, limit: int) -> Any:
        """Clamp to -limit..limit."""
        return np.clip(x, -limit, limit)

    def added(self, x: Any, y: Any, limit: int) -> Any:
        """Sums, clamped to -limit..limit."""
        return np.clip(x + y, -limit, limit)

    def rescaled(self, x: Any, scale: Any, low: int, high: int) -> Any:
        """clamp(rint(x * scale))."""
        x = np.multiply(x, scale)
        np.clip(x, low, high, out=x)
        return np.rint(x, out=x)

    def prepare(self, product: Product, inputs: tuple[int, int]) -> Any:
        """A product in this library's form; `inputs`: the least and the largest code that it sees."""
        del inputs
        weight = product.weight.astype(np.float32)
        if weight.shape[1] <= FEW:
            weight = weight.reshape(1, -1, weight.shape[2])
        return [self.array(w) for w in weight], self.array(product.bias.astype(np.float32)), self.array(product.scale)

    def product(self, pieces: Sequence[Any], form: Any, low: int, high: int) -> Any:
        """clamp(rint((bias + sum over taps of x W) * scale)) from a piece [places, images, inputs] for each tap."""
        weights, bias, scale = form
        if len(weights) < len(pieces):
            pieces = [np.concatenate(pieces, axis=-1)]
        total = bias
        for piece, weight in zip(pieces, weights, strict=True):
            total = piece.reshape(-1, piece.shape[-1]) @ weight + total
        return self.rescaled(total, scale, low, high).reshape(*pieces[0].shape[:2], -1)


@_compiled
def _store(piece, offset, column, target):  # type: ignore[no-untyped-def]
    """Codes to a product's rows of 8 or 16 bits, from a column on."""
    images = piece.shape[1]
    for a in range(piece.shape[0]):
        for n in range(images):
            row = target[a * images + n]
            for k in range(piece.shape[2]):
                row[column + k] = np.int32(piece[a, n, k]) + offset


@_compiled
def _rescale(x, scale, low, high, target):  # type: ignore[no-untyped-def]
    """Fill `target` with clamp(rint(x * scale)); rows of x may be longer."""
    for m in range(target.shape[0]):
        for j in range(scale.size):
            target[m, j] = rescaled(x[m, j], scale[j], low, high)


@_compiled
def _add(x, y, limit, target):  # type: ignore[no-untyped-def]
    """Fill `target` with clamp(x + y)."""
    for m in range(target.size):
        target[m] = min(max(x[m] + y[m], -limit), limit)


class KernelArrays(NumpyArrays):
    """NumPy with products by a back end of `matmul` and compiled loops."""

    def __init__(self, backend: matmul.Backend) -> None:
        self.backend = backend

    def added(self, x: Any, y: Any, limit: int) -> Any:
        """See `NumpyArrays`."""
        result = np.empty(x.shape, np.float32)
        flat = (np.ascontiguousarray(a).reshape(-1) for a in (x, y))
        _add(*flat, np.float32(limit), result.reshape(-1))
        return result

    def rescaled(self, x: Any, scale: Any, low: int, high: int) -> Any:
        """See `NumpyArrays`."""
        result = np.empty(x.shape, np.float32)
        width = x.shape[-1]
        _rescale(x.reshape(-1, width), scale, np.float32(low), np.float32(high), result.reshape(-1, width))
        return result

    def prepare(self, product: Product, inputs: tuple[int, int]) -> Any:
        """See `NumpyArrays`; what does not fit into 8 bits goes to NumPy."""
        if not are_codes(*inputs):
            return super().prepare(product, inputs)
        signed, flat = inputs[0] < 0, of_one_tap(product)
        packed = matmul.pack(self.backend, flat, np.full(flat.weight.shape[1], signed))
        return packed, self.backend.signed_offset if signed else self.backend.unsigned_offset, product.scale

    def product(self, pieces: Sequence[Any], form: Any, low: int, high: int) -> Any:
        """See `NumpyArrays`."""
        packed, offset, scale = form
        if not isinstance(packed, matmul.Packed):
            return super().product(pieces, form, low, high)
        places, images, width = pieces[0].shape
        rows = places * images
        terms = matmul.padded(len(pieces) * width, matmul.TERMS)
        stored = np.zeros((1, rows, terms), self.backend.stored)
        for k, piece in enumerate(pieces):
            _store(piece, offset, k * width, stored[0])
        sums = np.empty((rows, columns(scale.size)), self.backend.sums)
        first = np.zeros(1, np.int64)
        self.backend.convolve(stored, first, first, rows, packed, sums)
        result = np.empty((places, images, scale.size), np.float32)
        _rescale(sums, scale, np.float32(low), np.float32(high), result.reshape(rows, -1))
        return result


def choose(program: Program, backend: str | None = None, device: str | None = None) -> tuple[NumpyArrays, str]:
    """The fastest arrays that are exact here, and a note where something had to be given up; see `matmul.choose`.

    Args:
        program: what is to be evaluated.
        backend: for products.
        device: of torch, which then has all arrays; by default there is no torch but in `backend`.

    Raises:
        BackendError: there is no such back end or device, or its products are not exact.
    """
    if device is not None:
        products: Any = matmul.backend(matmul.on_device(backend, device))  # first: it says where torch is not here
        from pixcodec.exact.torch_arrays import TorchArrays

        return TorchArrays(products, program.shapes), ""
    chosen, note = matmul.choose(backend, program.shapes)
    return KernelArrays(chosen), note
