"""Exact integer products: compiled vector kernels, NumPy and torch, each behind a known-answer test.

A back end multiplies rows of stored activations by packed int8 weights, tap by tap, into sums that are exact: int32, or
integers in binary32 below 2^24.  Activations are codes 0..255 after a ReLU, or -128..127 at inputs; a back end says by
which offsets it stores them, and the offsets are folded into the bias.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pixcodec.errors import BackendError
from pixcodec.exact import products, store
from pixcodec.exact.products import columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixcodec.exact.network import Product

TERMS = 4  # inputs are padded to a multiple of it


def padded(number: int, unit: int) -> int:
    """`number` rounded up to a multiple of `unit`."""
    return (number + unit - 1) // unit * unit


@dataclass(frozen=True)
class Packed:
    """A product's weights in a back end's own order, and its bias with the offsets folded in, one row."""

    weight: Any
    bias: np.ndarray


class Backend(Protocol):
    """What computes products.

    Attributes:
        name: as given to `--backend`.
        stored: type of stored activations.
        sums: type of sums, exact integers.
        unsigned_offset, signed_offset: added to codes 0..255 and to codes -128..127 when they are stored.
    """

    name: str
    stored: type
    sums: type
    unsigned_offset: int
    signed_offset: int

    def pack_weight(self, weight: np.ndarray) -> Any:
        """Weights int8[taps, inputs, outputs], padded, in the back end's order."""

    def convolve(
        self, source: np.ndarray, slots: np.ndarray, starts: np.ndarray, rows: int, packed: Packed, out: np.ndarray
    ) -> None:
        """out[:rows] = bias + sum over taps i of source[slots[i], starts[i] : starts[i] + rows] W[i].

        source: [depth, lanes, inputs or more]; out: [lanes, outputs], of type `sums`.
        """


def pack(backend: Backend, product: Product, signed_inputs: np.ndarray) -> Packed:
    """A product packed for `backend`; `signed_inputs` bool[inputs] tells which of its inputs are signed codes."""
    taps, inputs, outputs = product.weight.shape
    weight = np.zeros((taps, padded(inputs, TERMS), columns(outputs)), np.int8)
    weight[:, :inputs, :outputs] = product.weight
    offsets = np.where(signed_inputs, backend.signed_offset, backend.unsigned_offset).astype(np.int64)
    bias = np.zeros(weight.shape[2], np.int64)
    bias[:outputs] = product.bias - (offsets[None, :, None] * product.weight.astype(np.int64)).sum(axis=(0, 1))
    return Packed(backend.pack_weight(weight), bias.astype(backend.sums))


class VectorBackend:
    """Compiled kernels of `products.py` by the best instruction that the processor has.

    Attributes:
        kind: the instruction.
    """

    name = "vector"
    sums = np.int32
    unsigned_offset, signed_offset = 0, 128

    def __init__(self) -> None:
        """Choose the instruction; `BackendError` where there is none."""
        kind = products.product_kind()
        if kind is None:
            raise BackendError("no vector instruction for products was found on this processor; use --backend numpy")
        self.kind = kind
        self.stored = products.PRODUCTS[kind].stored
        kinds = (kind, *(f"{kind}{panels}" for panels in (products.FIVE, products.SLIM)))
        self._sums = {products.FORMS[each].width: products.layer_kernel(each, "sums") for each in kinds}
        self._none = np.zeros(1, np.float32)

    def pack_weight(self, weight: np.ndarray) -> np.ndarray:
        """Panels of outputs, each with its inputs in groups as the instruction takes them."""
        return products.pack(products.FORMS[products.fitting(self.kind, weight.shape[2])], weight)

    def convolve(
        self, source: np.ndarray, slots: np.ndarray, starts: np.ndarray, rows: int, packed: Packed, out: np.ndarray
    ) -> None:
        """See `Backend`."""
        sums = self._sums[packed.weight.shape[3]]
        sums(source, slots, starts, rows, packed.weight, packed.bias, out, 0, self._none, out, self._none)


class NumpyBackend:
    """binary32 products by NumPy: exact under the bound in any order."""

    name = "numpy"
    stored = sums = np.float32
    unsigned_offset = signed_offset = 0

    def pack_weight(self, weight: np.ndarray) -> np.ndarray:
        """The weights as binary32."""
        return weight.astype(np.float32)

    def convolve(
        self, source: np.ndarray, slots: np.ndarray, starts: np.ndarray, rows: int, packed: Packed, out: np.ndarray
    ) -> None:
        """See `Backend`."""
        target = out[:rows]
        target[:] = packed.bias
        for slot, start, weight in zip(slots, starts, packed.weight, strict=True):
            target += source[slot, start : start + rows, : weight.shape[0]] @ weight


def _torch(name: str, device: str = "cpu") -> Backend:
    from pixcodec.exact import torch_backend

    return torch_backend.products(name, device)


_BACKENDS: dict[str, Callable[..., Any]] = {
    "vector": VectorBackend,
    "numpy": NumpyBackend,
    "torch-int8": partial(_torch, "torch-int8"),
    "torch-float32": partial(_torch, "torch-float32"),
}
NAMES = tuple(_BACKENDS)
ENVIRONMENT = "PIXCODEC_BACKEND"
ANSWERS = "exact.matmul"  # begins the names under which the store keeps that products were right


def _expected(source: np.ndarray, slots: np.ndarray, starts: np.ndarray, rows: int, product: Product) -> np.ndarray:
    """The sums in int64."""
    total = np.zeros((rows, product.bias.size), np.int64) + product.bias
    for slot, start, weight in zip(slots, starts, product.weight, strict=True):
        total += source[slot, start : start + rows].astype(np.int64) @ weight.astype(np.int64)
    return total


def known_answer(backend: Backend, taps: int, inputs: int, outputs: int) -> bool:
    """Whether `backend` multiplies exactly: largest codes against weights of one sign, and random ones, M = 1 included.

    `torch._int_mm` on x86 without VNNI saturates at 16 bits in silence; only large products of one sign show it: where
    the bound does not let all weights be large, runs of neighbours are.
    """
    from pixcodec.exact.network import BOUND, Product

    random = np.random.default_rng(taps * 1_000_003 + inputs * 1009 + outputs)
    terms, run = taps * inputs, (BOUND - 1) // (256 * 127)
    largest = min(127, (BOUND - 1) // (256 * terms))
    weights = [np.full((taps, inputs, outputs), sign * largest, np.int8) for sign in (1, -1)]
    weights.append(random.integers(-largest, largest + 1, (taps, inputs, outputs)).astype(np.int8))
    for start in range(0, terms if terms > run else 0, run):
        weights.append(np.zeros((taps, inputs, outputs), np.int8))
        weights[-1].reshape(terms, outputs)[start : start + run] = 127
    slots, starts = np.arange(taps), random.integers(0, 3, taps)
    for rows in (1, 6, 37):
        for weight in weights:
            for signed in (False, True):
                low, high = (-128, 127) if signed else (0, 255)
                codes = random.integers(low, high + 1, (taps, rows + 3, inputs))
                codes[:, ::2] = high
                product = Product(
                    weight, random.integers(-99, 100, outputs).astype(np.int32), np.ones(outputs, np.float32)
                )
                stored: np.ndarray = np.zeros((taps, rows + 3, padded(inputs, TERMS)), backend.stored)
                stored[:, :, :inputs] = codes + (backend.signed_offset if signed else backend.unsigned_offset)
                out: np.ndarray = np.empty((rows, columns(outputs)), backend.sums)
                packed = pack(backend, product, np.full(inputs, signed))
                backend.convolve(stored, slots, starts, rows, packed, out)
                if not np.array_equal(
                    out[:, :outputs].astype(np.int64), _expected(codes, slots, starts, rows, product)
                ):
                    return False
    return True


@cache
def backend(name: str) -> Backend:
    """The back end called `name`, or `name:device` for torch's; `BackendError` for one that is not here."""
    kind, _, device = name.partition(":")
    if kind not in _BACKENDS:
        raise BackendError(f"there is no back end {kind!r}; choose one of {', '.join(NAMES)}")
    if device and not kind.startswith("torch-"):
        raise BackendError(
            f"back end {kind} knows no device {device!r}; choose torch-int8 or torch-float32, or no device"
        )
    return _BACKENDS[kind](device) if device else _BACKENDS[kind]()


def on_device(name: str | None, device: str) -> str:
    """The name of a back end of torch on a device; by default that of binary32, which every device has."""
    return f"{name or 'torch-float32'}:{device}"


@lru_cache(maxsize=256)
def _passes(name: str, shape: tuple[int, int, int]) -> bool:
    """Whether a back end knows the answers; compiled kernels are asked once, for as long as `store` keeps them."""
    asked = backend(name)
    if not isinstance(asked, VectorBackend):
        return known_answer(asked, *shape)
    key = store.Key(f"{ANSWERS}.{asked.kind}", store.sources(__name__), "x".join(map(str, shape)))
    if store.USABLE and store.read(key) is not None:
        return True
    passed = known_answer(asked, *shape)
    if store.USABLE and passed:
        store.write(key, store.NO_CODE)
    return passed


def choose(name: str | None, shapes: tuple[tuple[int, int, int], ...]) -> tuple[Backend, str]:
    """The back end for products of these shapes (taps, inputs, outputs), proved on each, and a note ("" normally).

    Args:
        name: as asked for; without it the environment variable `PIXCODEC_BACKEND`, then "vector".
        shapes: the shapes in use.

    Returns:
        The back end and, where the first choice had to be given up, one sentence that says so.

    Raises:
        BackendError: the back end asked for does not exist or does not multiply exactly here, or none does.
    """
    asked = name or os.environ.get(ENVIRONMENT)
    note = ""
    for candidate in (asked,) if asked else ("vector", "numpy"):
        try:
            chosen = backend(candidate)
        except BackendError as problem:
            if asked:
                raise
            note = str(problem)
            continue
        if all(_passes(candidate, shape) for shape in shapes):
            return chosen, note
        note = f"the {candidate} products are not exact on this processor"
        if asked:
            raise BackendError(f"{note}; leave out --backend, or choose another")
    raise BackendError(note or "no exact products on this processor")
