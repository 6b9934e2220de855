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
from typing import TYPE_CHECKING

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

    from pixcodec.exact.network import Network

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
def _transpose(source, target):  # type: ignore[no-untyped-def]
    for i in range(source.shape[0]):
        for j in range(target.shape[0]):
            target[j, i] = source[i, j]


@_compiled
def _pack(matrix, packed):  # type: ignore[no-untyped-def]
    """int16[inputs, outputs] as the kernels of products take weights; inputs that are missing are zeros."""
    panels, _, steps, width, terms = packed.shape
    for p in range(panels):
        columns = min(width, matrix.shape[1] - p * width)
        for s in range(steps):
            for t in range(terms):
                i = s * terms + t
                if i < matrix.shape[0]:
                    for w in range(columns):
                        packed[p, 0, s, w, t] = matrix[i, p * width + w]
                else:
                    packed[p, 0, s, :, t] = 0


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


@lru_cache
def _products() -> tuple[kernels.ProductForm, Callable[..., None]]:
    """The best products of int16 here and their form."""
    kind = kernels.wide_product_kind()
    return kernels.PRODUCTS[kind], kernels.convolution_kernel(kind)


_ZERO = np.zeros(1, np.int64)


class _Packed:
    """Room for a matrix int16[inputs, outputs] as the kernels take it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        form, self._convolve = _products()
        width = form.lanes * form.vectors
        columns = padded(outputs, OUTPUTS)
        self.weight = np.zeros((columns // width, 1, -(-inputs // form.terms), width, form.terms), np.int16)
        self.terms = form.terms

    def product(self, source: np.ndarray, rows: int, bias: np.ndarray, out: np.ndarray, inputs: int = 0) -> None:
        """out[:rows] = bias + source[0, :rows] W, by the first `inputs` inputs or all."""
        weight = self.weight[:, :, : -(-inputs // self.terms)] if inputs else self.weight
        self._convolve(source, _ZERO, _ZERO, rows, weight, bias, out)


class _Layer:
    """One product of a head: weights that learn, their moments, and their packed forms."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray, scale: np.ndarray, rate: float, *, carries: bool) -> None:
        inputs, outputs = weight.shape
        self.weights = weight.astype(np.float32)
        self.first, self.second = np.zeros_like(self.weights), np.zeros_like(self.weights)
        self.rate = np.float32(rate)
        self.scale = scale * np.float32(1 / FINE)
        self.relative = (scale * np.float32(RELATIVE)) / scale.max()
        self.bias = np.zeros(padded(outputs, OUTPUTS), np.int32)
        self.bias[:outputs] = bias * FINE
        self._rounded = np.zeros((inputs, outputs), np.int16), np.zeros((outputs, inputs), np.int16)
        self.forward = _Packed(inputs, outputs)
        self.back = _Packed(outputs, inputs) if carries else None
        self.round()

    def round(self) -> None:
        """Pack what the products see."""
        fine, coarse = self._rounded
        _round(self.weights, fine)
        _pack(fine, self.forward.weight)
        if self.back is not None:
            _round_back(self.weights, self.relative, coarse)
            _pack(coarse, self.back.weight)


class LearningHeads:
    """Heads (`heads.Heads`) that start as a network's and learn from one tile."""

    unsigned_offset = signed_offset = 0

    def __init__(self, network: Network, lanes: int) -> None:
        """For steps of at most `lanes` pixels; `ModelError` where the network's heads cannot learn."""
        self.learning = check(network)
        head = network.heads[-1]
        self._classes = network.class_of_residual()
        self._starts, self._ends = class_intervals(self._classes)
        self._layers = [
            [
                _Layer(product.weight[0], product.bias, product.scale, rate, carries=number > 0)
                for number, (product, rate) in enumerate(
                    zip((head.input, head.hidden, head.output), self.learning.rates, strict=True)
                )
            ]
            for head in network.heads
        ]
        inputs, width, classes = head.input.weight.shape[1], head.hidden.bias.size, head.output.bias.size
        teachers = padded(min(lanes, TEACHERS), 2)

        def rows(columns: int, count: int = lanes) -> np.ndarray:
            return np.zeros((count, padded(columns, 2)), np.int16)

        self.inputs = [rows(inputs)[None] for _ in network.heads]
        self._hidden = [(rows(width), rows(width)) for _ in network.heads]
        self._logits = np.zeros((lanes, classes), np.int16)
        self._errors = [rows(width, teachers), rows(width, teachers), rows(classes, teachers)]
        self._transposed = np.zeros((max(inputs, width), teachers), np.int16)
        self._packed_errors = [_Packed(teachers, each.shape[1]) for each in self._errors]
        columns = padded(max(inputs, width, classes), OUTPUTS)
        sizes = range(OUTPUTS, columns + 1, OUTPUTS)
        self._sums = {size: np.zeros((lanes, size), np.int32) for size in sizes}
        self._gradients = {size: np.zeros((max(teachers, inputs, width), size), np.int32) for size in sizes}
        self._no_bias = np.zeros(columns, np.int32)
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
        sums = self._sums[layer.bias.size]
        layer.forward.product(source, rows, layer.bias, sums)
        return sums

    def learn(self, channel: int, counts: np.ndarray, centres: np.ndarray, symbols: np.ndarray) -> None:
        """See `heads.Heads`."""
        rows = min(len(symbols), TEACHERS)
        layers, errors = self._layers[channel], [each[:rows] for each in self._errors]
        _errors(counts, centres, symbols, self._starts, self._ends, self._classes, errors[2])
        for number in (2, 1):
            back = layers[number].back
            assert back is not None  # noqa: S101 - all but the first carry errors back
            width = errors[number - 1].shape[1]
            sums = self._gradients[padded(width, OUTPUTS)]
            back.product(errors[number][None], rows, self._no_bias, sums)
            _carry_back(sums, self._hidden[channel][number - 1], errors[number - 1])
        one = np.float32(1)
        b1, b2 = (np.float32(beta) for beta in self.learning.betas)
        powers = self._powers[channel]
        powers *= (b1, b2)
        step = np.sqrt(one - powers[1]) / (one - powers[0])
        epsilon = np.float32(self.learning.epsilon)
        activations = (self.inputs[channel][0], *self._hidden[channel])
        for layer, seen, error, packed in zip(layers, activations, errors, self._packed_errors, strict=True):
            inputs, outputs = layer.weights.shape
            _transpose(seen[:rows], self._transposed[:inputs])
            room = packed.weight[:, :, : -(-rows // packed.terms)]
            _pack(error, room)
            sums = self._gradients[padded(outputs, OUTPUTS)]
            packed.product(self._transposed[None], inputs, self._no_bias, sums, rows)
            _adam(
                layer.weights, layer.first, layer.second, sums, one / np.float32(rows), one - b1, one - b2,
                layer.rate * step, epsilon,
            )  # fmt: skip
            layer.round()
