"""Heads that learn, step by step (the definition).

A head's products have weights w in binary32, at first those of the model.  The network sees W = rint(128 w) and sums
128 bias + sum of x W, which are rescaled by scale / 128 in the place of scale; these fit 32 bits, and become binary32
with one rounding.

After a channel of a step is coded, its first 1024 pixels teach its head.  With e_j = the error of output j, of three
logistics by `reference/logistics.py`, of a class's logit the sum of the counts of class j's possible symbols, by the
count of its last one times their number, in 1/4096, less 4096 for the class that came,

    d_b = carried(e, output, b),  d_a = carried(d_b, hidden, a)
    carried(d, product, u)_i = clamp((sum over j of d_j rint(w_ij r_j) + 128) >> 8, -4095, 4095) where u_i > 0, else 0
    r_j = (3 scale_j) / (largest scale)

and the gradients of the input, the hidden and the output product are the sums over the pixels of x d_a, a d_b and b e.
Each weight then takes a step of Adam, with g its gradient times 1 / pixels (`step`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pixcodec.exact.reference import logistics
from pixcodec.exact.reference.frequencies import symbol_classes
from pixcodec.exact.reference.network import BYTE, STREAM, rescale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pixcodec.exact.network import Network, Product

TEACHERS = 1024
ONE, FLUSH, LARGEST = np.float32(1), np.float32(1e-20), np.float32(127)


class LearningProduct:
    """One product with its weights and their moments, binary32[inputs, outputs]."""

    def __init__(self, form: Product, rate: float) -> None:
        self.form, self.rate = form, np.float32(rate)
        self.weights = form.weight[0].astype(np.float32)
        self.first, self.second = np.zeros_like(self.weights), np.zeros_like(self.weights)

    def rescaled(self, x: np.ndarray, low: int, high: int) -> np.ndarray:
        """int64[outputs] of an input int64[inputs]."""
        fine = np.rint(self.weights * np.float32(128)).astype(np.int64)
        return rescale(
            128 * self.form.bias.astype(np.int64) + x @ fine, self.form.scale * np.float32(1 / 128), low, high
        )

    def carried(self, errors: np.ndarray, activations: np.ndarray) -> np.ndarray:
        """Errors of the inputs, int64[inputs], from those of the outputs."""
        relative = (self.form.scale * np.float32(3)) / self.form.scale.max()
        coarse = np.rint(self.weights * relative).astype(np.int64)
        back = np.clip((coarse @ errors + 128) >> 8, -4095, 4095)
        return np.where(activations > 0, back, 0)

    def step(
        self, gradient: np.ndarray, pixels: int, betas: Sequence[np.float32], r: np.float32, epsilon: float
    ) -> None:
        """A step of Adam by the gradient int64[inputs, outputs] of so many pixels; one rounding an operation."""
        g = gradient.astype(np.float32) * (ONE / np.float32(pixels))
        m = self.first + (g - self.first) * (ONE - betas[0])
        v = self.second + (g * g - self.second) * (ONE - betas[1])
        self.first = np.where(np.abs(m) > FLUSH, m, np.float32(0))
        self.second = np.where(v > FLUSH, v, np.float32(0))
        change = ((self.rate * r) * self.first) / (np.sqrt(self.second) + np.float32(epsilon))
        self.weights = np.clip(self.weights - change, -LARGEST, LARGEST)


class LearningHead:
    """One channel's head."""

    def __init__(self, network: Network, channel: int) -> None:
        form, head = network.card["network"]["learning"], network.heads[channel]
        self.network = network
        forms = head.input, head.hidden, head.output
        self.products = [LearningProduct(each, rate) for each, rate in zip(forms, form["rates"], strict=True)]
        self.betas = [np.float32(beta) for beta in form["betas"]]
        self.powers = [ONE, ONE]
        self.epsilon = form["epsilon"]
        self._step: list[list[np.ndarray]] = []  # x, a, b and outputs of each pixel of this step

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """int64[outputs] of a pixel of this step, from features and codes int64[inputs]."""
        first, second, last = self.products
        a = first.rescaled(x, 0, BYTE)
        b = second.rescaled(a, 0, BYTE)
        self._step.append([x, a, b, last.rescaled(b, -STREAM, STREAM)])
        return self._step[-1][-1]

    def _errors(self, outputs: np.ndarray, counts: np.ndarray, q: int, symbol: int) -> np.ndarray:
        if self.network.logistics:
            return logistics.errors(outputs.tolist(), symbol, q)
        classes = symbol_classes(self.network.card["network"], q)
        e = np.zeros(outputs.size, np.int64)
        for each, v in {each: v for v, each in enumerate(classes)}.items():  # v: the last symbol of the class
            e[each] = (classes.count(each) * int(counts[v]) + 2048) >> 12
        e[classes[symbol]] -= 4096
        return e

    def learn(self, counts: Sequence[np.ndarray], centres: Sequence[int], symbols: Sequence[int]) -> None:
        """From the step's pixels: counts of the 256 symbols, the centre, and the symbol that came."""
        taught = self._step[:TEACHERS]
        gradients = [np.zeros(product.weights.shape, np.int64) for product in self.products]
        for (x, a, b, outputs), row, q, symbol in zip(taught, counts, centres, symbols, strict=False):
            e = self._errors(outputs, row, q, symbol)
            d_b = self.products[2].carried(e, b)
            d_a = self.products[1].carried(d_b, a)
            own_part = np.outer(x, d_a), np.outer(a, d_b), np.outer(b, e)
            gradients = [gradient + part for gradient, part in zip(gradients, own_part, strict=True)]
        self.powers = [power * beta for power, beta in zip(self.powers, self.betas, strict=True)]
        r = np.sqrt(ONE - self.powers[1]) / (ONE - self.powers[0])
        for product, gradient in zip(self.products, gradients, strict=True):
            product.step(gradient, len(taught), self.betas, r, self.epsilon)
        self._step = []
