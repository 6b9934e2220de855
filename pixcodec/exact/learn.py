"""Heads that learn the picture while it is coded: after each step, one step of Adam on all their weights.

A channel's head begins as the model's.  Once the channel of a step is coded, the error of its logits, the probability
of each class less 1 for the one that came, is carried back through the head in integers of 13 bits; the gradients are
exact integer products of activations and errors over the step's pixels; the moments and weights of Adam (Kingma and Ba,
2015) are binary32, each operation rounded once in the order of `reference/learn.py`, the definition.  Products see the
weights rounded to 1/128: 15 bits, so that rates far below one step of int8 still count.

All products are of int16 with sums in int32, exact in any order under the bounds that `check` proves.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from pixcodec.errors import ModelError
from pixcodec.exact import kernels
from pixcodec.exact.frequencies import class_intervals
from pixcodec.exact.heads import to_bytes, to_stream
from pixcodec.exact.matmul import OUTPUTS, padded
from pixcodec.exact.network import Learning
from pixcodec.exact.rounding import ROUND

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixcodec.exact.network import Network, Product

_compiled = njit(nogil=True, cache=True, error_model="numpy")
FINE = 128  # parts of a weight
LARGEST = 127  # weight
ERROR = 4096  # the error of a class that has all probability and did not come
SHIFT = 8  # of an error carried back
TEACHERS = 1024  # pixels of a step that are learned from, the first ones: sums of more could leave int32
WIDEST = 256  # inputs of a product: likewise
LARGEST_BIAS = 1 << 22
RELATIVE = 8  # largest scale of an output among those that carry errors back
FLUSH = 1e-20


def check(network: Network) -> Learning:
    """How a network's heads learn; `ModelError` unless it says so and its sums stay within int32."""
    form = network.card["network"].get("learning")
    if form is None:
        raise ModelError("the model has no heads that learn; choose another model")
    for head in network.heads:
        for product in (head.input, head.hidden, head.output):
            if product.weight.shape[1] > WIDEST or np.abs(product.bias.astype(np.int64)).max() > LARGEST_BIAS:
                raise ModelError(f"heads that learn have at most {WIDEST} inputs, and biases up to {LARGEST_BIAS}")
    return Learning.load(form)


@_compiled
def _errors(counts, centres, symbols, starts, ends, classes, errors):  # type: ignore[no-untyped-def]
    """errors[n, classes]: 4096 times the probability of each class, rounded, less 4096 for the one that came."""
    last = np.int64(counts.shape[1] - 1)
    for i in range(errors.shape[0]):
        q = np.int64(centres[i])
        for j in range(starts.size):
            top = min(ends[j], last - q)
            number = top - max(starts[j], -q) + 1  # possible symbols of the class
            if number > 0:
                errors[i, j] = (number * np.int64(counts[i, top + q]) + (1 << 11)) >> 12
            else:
                errors[i, j] = 0
        errors[i, classes[np.int64(symbols[i]) - q + 255]] -= ERROR


@_compiled
def _carry_back(sums, activations, errors):  # type: ignore[no-untyped-def]
    """The errors of activations, where the ReLU let them pass."""
    for i in range(errors.shape[0]):
        for j in range(errors.shape[1]):
            error = min(max((sums[i, j] + (1 << SHIFT - 1)) >> SHIFT, 1 - ERROR), ERROR - 1)
            errors[i, j] = error if activations[i, j] > 0 else 0


@_compiled
def _pair(matrix, row, column, rows):  # type: ignore[no-untyped-def]
    """Two numbers of a column, in rows one after the other, in one of 32 bits; beyond the last row come zeros."""
    below = np.int32(matrix[row + 1, column]) if row + 1 < rows else np.int32(0)
    return np.int32(below << 16) | np.int32(np.int32(matrix[row, column]) & 0xFFFF)


@_compiled
def _transpose(source, rows, target):  # type: ignore[no-untyped-def]
    """target[j, i] = source[i, j], i < rows, two at a time and a few columns at a time, for the cache."""
    pairs = target.view(np.int32)
    for first in range(0, target.shape[0], 16):
        for i in range((rows + 1) // 2):
            for j in range(first, min(first + 16, target.shape[0])):
                pairs[j, i] = _pair(source, 2 * i, j, rows)


@_compiled
def _pack(matrix, rows, packed):  # type: ignore[no-untyped-def]
    """int16[rows, outputs] as the kernels of products take weights; rows that are missing are zeros."""
    panels, _, _, width, terms = packed.shape
    steps = (rows + terms - 1) // terms
    for p in range(panels):
        columns = min(width, matrix.shape[1] - p * width)
        for s in range(steps):
            if terms == 2:
                pairs = packed[p, 0, s].reshape(-1).view(np.int32)
                for w in range(columns):
                    pairs[w] = _pair(matrix, 2 * s, p * width + w, rows)
            else:
                for t in range(terms):
                    for w in range(columns):
                        packed[p, 0, s, w, t] = matrix[s * terms + t, p * width + w] if s * terms + t < rows else 0


@_compiled
def _round(weights, fine):  # type: ignore[no-untyped-def]
    """The weights in 1/128."""
    for i in range(weights.shape[0]):
        for j in range(weights.shape[1]):
            fine[i, j] = np.int16((weights[i, j] * np.float32(FINE) + ROUND) - ROUND)


@_compiled
def _round_back(weights, relative, coarse):  # type: ignore[no-untyped-def]
    """The weights that carry errors back, from outputs to inputs."""
    for i in range(weights.shape[0]):
        for j in range(weights.shape[1]):
            coarse[j, i] = np.int16((weights[i, j] * relative[j] + ROUND) - ROUND)


@_compiled
def _adam(weights, first, second, sums, inverse, b1, b2, step, epsilon):  # type: ignore[no-untyped-def]
    """One step; `sums` are the gradients of `1 / inverse` pixels, `b1` and `b2` what moments take of them."""
    limit, flush = np.float32(LARGEST), np.float32(FLUSH)
    for i in range(weights.shape[0]):
        for j in range(weights.shape[1]):
            g = np.float32(sums[i, j]) * inverse
            m = first[i, j] + (g - first[i, j]) * b1
            v = second[i, j] + (g * g - second[i, j]) * b2
            m = m if abs(m) > flush else np.float32(0)
            v = v if v > flush else np.float32(0)
            first[i, j], second[i, j] = m, v
            w = weights[i, j] - (step * m) / (np.sqrt(v) + epsilon)
            weights[i, j] = min(max(w, -limit), limit)


class _Layer(NamedTuple):
    """A product of a head: weights that learn, their moments, and what products see of them.

    Attributes:
        weights, first, second: float32[inputs, outputs], and their moments.
        rates: float32[1].
        relative: float32[outputs], the scales, the largest as RELATIVE.
        fine, coarse: int16[inputs, outputs] and [outputs, inputs], the weights rounded, and as they carry errors back.
        forward, back: those, packed; `back` has no panels where errors go no further.
        bias: int32[outputs, padded].
        scale: float32[outputs].
    """

    weights: np.ndarray
    first: np.ndarray
    second: np.ndarray
    rates: np.ndarray
    relative: np.ndarray
    fine: np.ndarray
    coarse: np.ndarray
    forward: np.ndarray
    back: np.ndarray
    bias: np.ndarray
    scale: np.ndarray


class _Scratch(NamedTuple):
    """Of a layer, for all heads.

    Attributes:
        errors: int16[pixels, outputs, padded].
        packed: the same as a product takes weights.
        gradients: int32[inputs, outputs, padded].
        sums: int32[pixels, inputs, padded], what is carried back.
        transposed: int16[inputs, pixels, padded], activations.
        no_bias: int32[outputs or inputs, padded], zeros.
    """

    errors: np.ndarray
    packed: np.ndarray
    gradients: np.ndarray
    sums: np.ndarray
    transposed: np.ndarray
    no_bias: np.ndarray


@_compiled
def _round_layer(layer):  # type: ignore[no-untyped-def]
    """Pack what the products see."""
    _round(layer.weights, layer.fine)
    _pack(layer.fine, layer.fine.shape[0], layer.forward)
    if layer.back.shape[0] > 0:
        _round_back(layer.weights, layer.relative, layer.coarse)
        _pack(layer.coarse, layer.coarse.shape[0], layer.back)


def _carry(rows, layer, scratch, activations, errors):  # type: ignore[no-untyped-def]
    """The errors of a layer's inputs from those of its outputs."""
    place = np.zeros(1, np.int64)
    source = scratch.errors.reshape((1, *scratch.errors.shape))
    convolve(source, place, place, rows, layer.back, scratch.no_bias[: scratch.sums.shape[1]], scratch.sums)  # type: ignore[name-defined] # noqa: F821
    _carry_back(scratch.sums, activations, errors[:rows])


def _learn_layer(rows, layer, scratch, activations, b1, b2, step, epsilon):  # type: ignore[no-untyped-def]
    """One step of Adam for a layer whose errors are known."""
    place, inputs = np.zeros(1, np.int64), layer.weights.shape[0]
    _transpose(activations, rows, scratch.transposed)
    _pack(scratch.errors, rows, scratch.packed)
    terms = scratch.packed.shape[4]
    packed = scratch.packed[:, :, : (rows + terms - 1) // terms]
    source = scratch.transposed.reshape((1, *scratch.transposed.shape))
    convolve(source, place, place, inputs, packed, scratch.no_bias[: scratch.gradients.shape[1]], scratch.gradients)  # type: ignore[name-defined] # noqa: F821
    one = np.float32(1)
    _adam(
        layer.weights, layer.first, layer.second, scratch.gradients, one / np.float32(rows), one - b1, one - b2,
        layer.rates[0] * step, epsilon,
    )  # fmt: skip
    _round_layer(layer)


def _learn(rows, layers, scratches, activations, counts, centres, symbols, classes, betas, powers, epsilon):  # type: ignore[no-untyped-def]
    """Carry the errors of a step's pixels back through a head, and let its three layers learn."""
    (first, second, last), (a, b, c) = layers, scratches
    starts, ends, class_of = classes
    _errors(counts, centres, symbols, starts, ends, class_of, c.errors[:rows])
    carry(rows, last, c, activations[2], b.errors)  # type: ignore[name-defined] # noqa: F821
    carry(rows, second, b, activations[1], a.errors)  # type: ignore[name-defined] # noqa: F821
    one, b1, b2 = np.float32(1), betas[0], betas[1]
    powers[0] *= b1
    powers[1] *= b2
    step = np.sqrt(one - powers[1]) / (one - powers[0])
    learn_layer(rows, first, a, activations[0], b1, b2, step, epsilon)  # type: ignore[name-defined] # noqa: F821
    learn_layer(rows, second, b, activations[1], b1, b2, step, epsilon)  # type: ignore[name-defined] # noqa: F821
    learn_layer(rows, last, c, activations[2], b1, b2, step, epsilon)  # type: ignore[name-defined] # noqa: F821


@lru_cache
def _products(kind: str = "") -> tuple[kernels.ProductForm, Callable[..., None], Callable[..., None]]:
    """The form of products of int16, by default the best here, the products, and how heads learn with them."""
    kind = kind or kernels.wide_product_kind()
    convolve = kernels.convolution_kernel(kind)
    parts = {
        "carry": kernels.specialise(_carry, f"carry_{kind}", convolve=convolve),
        "learn_layer": kernels.specialise(_learn_layer, f"learn_layer_{kind}", convolve=convolve),
    }
    return kernels.PRODUCTS[kind], convolve, kernels.specialise(_learn, f"learn_{kind}", **parts)


_ZERO = np.zeros(1, np.int64)


def _room(inputs: int, outputs: int) -> np.ndarray:
    """Zeros for a matrix int16[inputs, outputs] as the kernels take it."""
    form, _, _ = _products()
    width = form.lanes * form.vectors
    return np.zeros((padded(outputs, OUTPUTS) // width, 1, -(-inputs // form.terms), width, form.terms), np.int16)


def _layer(product: Product, rate: float, *, carries: bool) -> _Layer:
    """A layer as the model has it; whether it carries errors back."""
    weight, scale = product.weight[0], product.scale
    inputs, outputs = weight.shape
    bias = np.zeros(padded(outputs, OUTPUTS), np.int32)
    bias[:outputs] = product.bias * FINE
    weights, relative = weight.astype(np.float32), (scale * np.float32(RELATIVE)) / scale.max()
    layer = _Layer(
        weights, np.zeros_like(weights), np.zeros_like(weights), np.array([rate], np.float32), relative,
        np.zeros((inputs, outputs), np.int16), np.zeros((outputs, inputs), np.int16),
        _room(inputs, outputs), _room(outputs, inputs if carries else 0), bias, scale * np.float32(1 / FINE),
    )  # fmt: skip
    _round_layer(layer)
    return layer


class LearningHeads:
    """Heads (`heads.Heads`) that start as a network's and learn from one tile."""

    unsigned_offset = signed_offset = 0

    def __init__(self, network: Network, lanes: int) -> None:
        """For steps of at most `lanes` pixels; `ModelError` where the network's heads cannot learn."""
        self.learning = check(network)
        head = network.heads[-1]
        classes_of = network.class_of_residual()
        self._classes = *class_intervals(classes_of), classes_of
        self._layers = [
            tuple(
                _layer(product, rate, carries=number > 0)
                for number, (product, rate) in enumerate(
                    zip((head.input, head.hidden, head.output), self.learning.rates, strict=True)
                )
            )
            for head in network.heads
        ]
        inputs, width, classes = head.input.weight.shape[1], head.hidden.bias.size, head.output.bias.size
        teachers = padded(min(lanes, TEACHERS), 2)

        def rows(columns: int, count: int = lanes) -> np.ndarray:
            return np.zeros((count, padded(columns, 2)), np.int16)

        self.inputs = [rows(inputs)[None] for _ in network.heads]
        self._hidden = [(rows(width), rows(width)) for _ in network.heads]
        self._logits = np.zeros((lanes, classes), np.int16)
        sizes = ((inputs, width), (width, width), (width, classes))  # inputs and outputs of each layer
        zeros = np.zeros(padded(max(inputs, width, classes), OUTPUTS), np.int32)
        self._scratch = tuple(
            _Scratch(
                rows(last, teachers),
                _room(teachers, padded(last, 2)),
                np.zeros((first, padded(last, OUTPUTS)), np.int32),
                np.zeros((teachers, padded(first, OUTPUTS)), np.int32),
                np.zeros((first, teachers), np.int16),
                zeros,
            )
            for first, last in sizes
        )
        self._sums = {size: np.zeros((lanes, size), np.int32) for size in {padded(last, OUTPUTS) for _, last in sizes}}
        self._betas = np.array(self.learning.betas, np.float32)
        self._powers = np.ones((len(network.heads), 2), np.float32)

    def logits(self, channel: int, rows: int) -> np.ndarray:
        """See `heads.Heads`."""
        source = self.inputs[channel]
        first, second, last = self._layers[channel]
        for layer, target in zip((first, second), self._hidden[channel], strict=True):
            to_bytes(self._forward(layer, source, rows), layer.scale, rows, target, 0, 0)
            source = target[None]
        to_stream(self._forward(last, source, rows), last.scale, rows, self._logits)
        return self._logits[:rows]

    def _forward(self, layer: _Layer, source: np.ndarray, rows: int) -> np.ndarray:
        sums, (_, convolve, _) = self._sums[layer.bias.size], _products()
        convolve(source, _ZERO, _ZERO, rows, layer.forward, layer.bias, sums)
        return sums

    def learn(self, channel: int, counts: np.ndarray, centres: np.ndarray, symbols: np.ndarray) -> None:
        """See `heads.Heads`."""
        activations = (self.inputs[channel][0], *self._hidden[channel])
        _products()[2](
            min(len(symbols), TEACHERS), self._layers[channel], self._scratch, activations, counts, centres, symbols,
            self._classes, self._betas, self._powers[channel], np.float32(self.learning.epsilon),
        )  # fmt: skip
