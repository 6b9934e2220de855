"""What `exact.evaluation` needs of an array library, by torch on a CPU or a GPU.

Every operation is one elementwise rounding or exact in integers, so that results are NumPy's bit for bit; products are
those of `torch_backend`, proved by known answers before they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from pixcodec.exact.arrays import NumpyArrays, are_codes, of_one_tap
from pixcodec.exact.torch_backend import Layer, TorchBackend, prove

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pixcodec.exact.network import Product


class _Form(NamedTuple):
    """A product, the back end that computes it, and what is added to its inputs when they are stored."""

    backend: TorchBackend
    layer: Layer
    offset: int


class TorchArrays(NumpyArrays):
    """Tensors on the device of a back end.

    Args:
        backend: for products.
        shapes: (taps, inputs, outputs) of products to prove at once; others are when they are prepared.

    Raises:
        BackendError: the products are not exact on the device.
    """

    def __init__(self, backend: TorchBackend, shapes: Iterable[tuple[int, int, int]] = ()) -> None:
        self.backend = backend
        prove(backend.kind, str(backend.device), shapes)

    def array(self, values: np.ndarray) -> torch.Tensor:
        """See `NumpyArrays`; always a copy."""
        return torch.tensor(np.ascontiguousarray(values), device=self.backend.device)

    def full(self, shape: tuple[int, ...], value: np.ndarray | float) -> torch.Tensor:
        """See `NumpyArrays`."""
        row = torch.tensor(value, dtype=torch.float32, device=self.backend.device)
        return row.expand(shape).contiguous()

    def integers(self, x: torch.Tensor) -> torch.Tensor:
        """int64, since torch takes no other integers as indices everywhere."""
        return x.to(torch.int64)

    def floats(self, x: torch.Tensor) -> torch.Tensor:
        """See `NumpyArrays`."""
        return x.to(torch.float32)

    def numbers(self, x: torch.Tensor) -> np.ndarray:
        """See `NumpyArrays`."""
        return x.to(torch.int32).cpu().numpy()

    def clamped(self, x: torch.Tensor, limit: int) -> torch.Tensor:
        """See `NumpyArrays`."""
        return x.clamp(-limit, limit)

    def added(self, x: torch.Tensor, y: torch.Tensor, limit: int) -> torch.Tensor:
        """See `NumpyArrays`."""
        return (x + y).clamp_(-limit, limit)

    def rescaled(self, x: torch.Tensor, scale: torch.Tensor, low: int, high: int) -> torch.Tensor:
        """See `NumpyArrays`; torch rounds half to even, too."""
        return (x * scale).clamp_(low, high).round_()

    def prepare(self, product: Product, inputs: tuple[int, int]) -> _Form:
        """See `NumpyArrays`; what does not fit into 8 bits is multiplied in binary32.

        Raises:
            BackendError: products of this shape are not exact on the device.
        """
        device = str(self.backend.device)
        backend = self.backend if are_codes(*inputs) else TorchBackend("float32", device)
        signed, flat = inputs[0] < 0, of_one_tap(product)
        prove(backend.kind, device, [flat.weight.shape])
        layer = backend.layer(flat, np.full(flat.weight.shape[1], signed))
        return _Form(backend, layer, backend.signed_offset if signed else backend.unsigned_offset)

    def product(self, pieces: Sequence[torch.Tensor], form: _Form, low: int, high: int) -> torch.Tensor:
        """See `NumpyArrays`."""
        backend, layer, offset = form
        codes = torch.cat(list(pieces), dim=-1).flatten(0, 1)
        result = backend.rescaled(backend.operand(codes, layer.inputs, offset), layer, low, high)
        return result.reshape(*pieces[0].shape[:2], -1)
