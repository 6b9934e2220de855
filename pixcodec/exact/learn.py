"""Heads that learn the picture while it is coded: after each step, one step of Adam on all their weights.

A channel's head begins as the model's.  Once the channel of a step is coded, the errors of its outputs (of logits, the
probability of each class less 1 for the one that came) are carried back through the head in integers of 13 bits; the
gradients are exact integer products of activations and errors over the step's pixels; the moments and weights of Adam
(Kingma and Ba, 2015) are binary32, each operation rounded once in the order of `reference/learn.py`, the definition.
Products see the weights rounded to 1/128: 15 bits, so that rates far below one step of int8 still count.

All products are of 16 bits with sums in int32, exact in any order under the bounds that `check` proves.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pixcodec.errors import ModelError
from pixcodec.exact.adam import update_kernel
from pixcodec.exact.compiled import compiled, specialise
from pixcodec.exact.emit import I16, I32, INTP, INTS, LANES, Value, aligned, emitted, loop
from pixcodec.exact.grouping import grouped
from pixcodec.exact.heads import head_kernel, in_panels
from pixcodec.exact.logistics import logistic_errors
from pixcodec.exact.matmul import padded
from pixcodec.exact.network import Learning
from pixcodec.exact.products import (
    ERROR,
    FINE,
    FORMS,
    NARROW,
    columns,
    fitting,
    layer_kernel,
    pack,
    wide_product_kind,
)
from pixcodec.exact.ring import Repeated
from pixcodec.exact.tables import SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixcodec.exact.network import Network, Product
    from pixcodec.exact.products import ProductForm
    from pixcodec.exact.rows import Form

_compiled = compiled()
TEACHERS = 1024  # pixels of a step that are learned from, the first ones: sums of more could leave int32
WIDEST = 256  # inputs of a product: likewise
LARGEST_BIAS = 1 << 22
RELATIVE = 3  # largest scale of an output among those that carry errors back: at 8 errors of surprises were cut
COMPARED = 8  # `ComparedHeads` look at one step in so many


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


def _emit_errors(row: Value, centre: Value, low: Value, high: Value, classes: Value, out: Value) -> None:
    """4096 times the probability of each class, rounded, from the address of a row of counts."""
    least = (centre * -1).to(I32).splat(INTS)
    with loop(0, classes, LANES) as j:
        number = (high + j * 4).load(INTS).least(least + (SYMBOLS - 1)) - (low + j * 4).load(INTS).most(least) + 1
        error = (number.most(0) * (row + j * 4).load(INTS) + (1 << 11)) >> 12  # of the possible symbols
        (out + j * 2).store(error.to(I16))


def _errors(outputs, counts, centres, symbols, classes, errors):  # type: ignore[no-untyped-def]
    """errors[n, classes]: 4096 times the probability of each class, rounded, less 4096 for the one that came."""
    for i in range(symbols.size):
        q = np.int64(centres[i])
        row_errors(  # type: ignore[name-defined] # noqa: F821
            counts.ctypes.data + i * counts.strides[0], q, classes.low.ctypes.data, classes.high.ctypes.data,
            classes.number, errors.ctypes.data + i * errors.strides[0],
        )  # fmt: skip
        errors[i, classes.of[np.int64(symbols[i]) - q + SYMBOLS - 1]] -= ERROR


class_errors = specialise(_errors, "class_errors", row_errors=emitted([INTP] * 6, _emit_errors))


@_compiled
def _pack_back(coarse, back):  # type: ignore[no-untyped-def]
    """The weights that carry errors back, from outputs to inputs, as the kernels take weights; in whole groups."""
    panels, _, groups, width = back.shape
    for p in range(panels):
        for w in range(min(width, coarse.shape[0] - p * width)):
            for g in range(groups):
                back[p, 0, g, w] = coarse[p * width + w, g]


def _learn(  # type: ignore[no-untyped-def]
    number, outputs, counts, centres, all_symbols, classes, source, a, b, errors, groups, layers, bias, scale, betas,
    powers, rates, epsilon,
):  # fmt: skip
    """Errors of a step's first pixels, `number`, carried back, and a step of all layers; `powers` are of `betas`."""
    symbols = all_symbols[:number]
    zero, rows, one = np.zeros(1, np.int64), symbols.size, np.float32(1)
    powers[0] *= betas[0]
    powers[1] *= betas[1]
    step, inverse = np.sqrt(one - powers[1]) / (one - powers[0]), one / np.float32(rows)
    b1, b2 = one - betas[0], one - betas[1]
    of_b, of_a, of_outputs = errors[1], errors[0], errors[2]
    output_errors(outputs, counts, centres, symbols, classes, of_outputs[0])  # type: ignore[name-defined] # noqa: F821
    errors_layer(of_outputs, zero, zero, rows, layers[2][6], bias, of_b[0], 0, scale, b[0], scale)  # type: ignore[name-defined] # noqa: F821
    errors_layer(of_b, zero, zero, rows, layers[1][6], bias, of_a[0], 0, scale, a[0], scale)  # type: ignore[name-defined] # noqa: F821
    for n, seen in enumerate((source, a, b)):
        weights, first, second, relative, fine, coarse, _, coarse_groups, back_groups, inputs, signed = layers[n]
        group_seen(seen[0], rows, inputs, groups[0])  # type: ignore[name-defined] # noqa: F821
        group_errors(errors[n][0], rows, weights.shape[1], groups[1])  # type: ignore[name-defined] # noqa: F821
        if n < 2:
            update(  # type: ignore[name-defined] # noqa: F821
                groups[0], groups[1], rows, inverse, b1, b2, rates[n] * step, epsilon, weights, first, second, relative,
                fine, coarse, signed,
            )  # fmt: skip
        else:
            update_last(  # type: ignore[name-defined] # noqa: F821
                groups[0], groups[1], rows, inverse, b1, b2, rates[n] * step, epsilon, weights, first, second, relative,
                fine, coarse, signed,
            )  # fmt: skip
        if n > 0:
            _pack_back(coarse_groups, back_groups)


@lru_cache
def _kernels(
    kind: str, last: str, errors: Any, unsigned: int | None
) -> tuple[Callable[..., None], Callable[..., None]]:
    """A head's outputs, and what it learns by their errors, by two of `products.FORMS`: all products but the last, it.

    Both are of an instruction for 16 bits; `unsigned` is as for `products.layer_kernel`.
    """
    seen, errors_of, carried = *grouped(FORMS[kind]), "errors_of_bytes" if FORMS[kind].halves else "errors"
    learn = specialise(
        _learn,
        f"learn_{kind}_{last}_{errors.name}",
        output_errors=errors,
        group_seen=seen,
        group_errors=errors_of,
        errors_layer=layer_kernel(_back(kind), carried),
        update=update_kernel(kind),
        update_last=update_kernel(last),
    )
    return head_kernel(kind, last, unsigned), learn


def _back(kind: str) -> str:
    """By which of `products.FORMS` errors are carried back, which have 16 bits as well as weights."""
    return "dot512" if FORMS[kind].halves else kind


class _Layer:
    """One product of a head: weights that learn, their moments, and their packed forms."""

    def __init__(self, product: Product, form: ProductForm, back: ProductForm, column: int | None = None) -> None:
        """Sums are made by `form`, errors carried back by `back`; inputs from `column` on are signed codes."""
        weight, scale = product.weight[0], product.scale
        inputs, outputs = (padded(size, unit) for size, unit in zip(weight.shape, (2, form.width), strict=True))
        self.inputs, self.signed, places = weight.shape[0], inputs, np.arange(weight.shape[0])
        if form.halves:
            unsigned = weight.shape[0] if column is None else column
            self.signed = padded(unsigned, NARROW)
            places[unsigned:] += self.signed - unsigned
            self.inputs = inputs = padded(int(places[-1]) + 1, LANES)
        self.weights, self.first, self.second = (aligned((inputs, outputs), np.float32) for _ in range(3))
        self.weights[places, : weight.shape[1]] = weight
        self.relative = in_panels((scale * np.float32(RELATIVE)) / scale.max(), outputs)
        self.coarse = aligned((inputs, outputs), np.int16)
        self.coarse[:] = np.rint(self.weights * self.relative)
        lanes = padded(inputs, NARROW)
        fine = np.zeros((lanes if form.halves else inputs, outputs), np.int16)
        fine[:inputs] = np.rint(self.weights * np.float32(FINE))
        self.forward = pack(form, fine[None])
        self.back = aligned(
            (lanes // back.width, 1, -(-weight.shape[1] // back.terms), back.width, back.terms), np.int16
        )
        group = np.int32 if back.terms == 2 else np.int16
        self._groups = self.coarse.view(group), self.back.view(group)[..., 0]
        _pack_back(*self._groups)
        bias, scale = product.bias * np.int32(FINE), scale * np.float32(1 / FINE)
        self.product = self.forward, in_panels(bias, outputs), in_panels(scale, outputs)

    def learned(self) -> tuple[Any, ...]:
        """What `_learn` takes of it."""
        return (
            self.weights, self.first, self.second, self.relative, self.forward, self.coarse, self.back, *self._groups,
            self.inputs, self.signed,
        )  # fmt: skip


class LearningHeads:
    """Heads (`heads.Heads`) that start as a network's and learn from one tile."""

    unsigned_offset = signed_offset = 0
    kernel: Callable[..., None] | None

    def __init__(self, network: Network, lanes: int) -> None:
        """For steps of at most `lanes` pixels; `ModelError` where the network's heads cannot learn."""
        learning = check(network)
        kind = wide_product_kind()
        self._number = network.heads[-1].output.bias.size
        last = fitting(kind, self._number)
        errors = logistic_errors if network.logistics else class_errors
        form, form_of_last, back = FORMS[kind], FORMS[last], FORMS[_back(kind)]
        self._classes, self._form = network.classes, network.rows
        self._layers = [
            [
                _Layer(head.input, form, back, network.features),
                _Layer(head.hidden, form, back),
                _Layer(head.output, form_of_last, back),
            ]
            for head in network.heads
        ]
        self.column = self._layers[0][0].signed if form.halves else network.features
        unsigned = self.column // NARROW if form.halves else None
        self.kernel, self._learn = self._run, _ = _kernels(kind, last, errors, unsigned)
        self._products = [[layer.product for layer in layers] for layers in self._layers]
        self._learned = [tuple(layer.learned() for layer in layers) for layers in self._layers]
        head, teachers = network.heads[-1], padded(min(lanes, TEACHERS), NARROW)
        inputs = padded(self._layers[-1][0].inputs, NARROW if form.halves else LANES)
        width = padded(head.hidden.bias.size, NARROW)
        outputs, rows = columns(self._number), padded(lanes, NARROW)
        stored = form.stored
        self.inputs = [aligned((1, rows, inputs), stored) for _ in network.heads]
        self._hidden = [tuple(aligned((1, rows, width), stored) for _ in range(2)) for _ in network.heads]
        self._outputs = [aligned((lanes, outputs), np.int16) for _ in network.heads]
        self._errors = tuple(aligned((1, teachers, size), np.int16) for size in (width, width, outputs))
        sizes = max(inputs, width), max(width, outputs)
        shapes: tuple[tuple[int, ...], ...] = ((sizes[0], teachers), (teachers // 4, 8 * sizes[1]))
        if not form.halves:
            shapes = tuple((-(-teachers // form.terms), size, form.terms) for size in sizes)
        self._groups = tuple(aligned(shape, np.uint8 if form.halves else np.int16) for shape in shapes)
        widest = max(padded(inputs, NARROW), width, outputs)
        self._no_bias, self._no_scale = np.zeros(widest, np.int32), np.zeros(widest, np.float32)
        self._powers = np.ones((len(network.heads), 2), np.float32)
        self._betas, self._rates = (np.array(each, np.float32) for each in (learning.betas, learning.rates))
        self._epsilon = np.float32(learning.epsilon)

    def logits(self, channel: int, rows: int) -> np.ndarray:
        """See `heads.Heads`."""
        self._run(self.inputs[channel], rows, *self._products[channel], *self._hidden[channel], self._outputs[channel])
        return self._outputs[channel][:rows, : self._number]

    def parts(self, channel: int) -> tuple[Any, ...]:
        """See `heads.Heads`."""
        products = tuple(self._products[channel])
        return self.inputs[channel], products, *self._hidden[channel], self._outputs[channel], self._number

    def learning(self, channel: int, counts: np.ndarray, centres: np.ndarray, symbols: np.ndarray) -> Repeated:
        """See `heads.Heads`."""
        return Repeated(
            self._learn, 1, self._outputs[channel], counts, centres, symbols, self._classes, self.inputs[channel],
            *self._hidden[channel], self._errors, self._groups, self._learned[channel], self._no_bias, self._no_scale,
            self._betas, self._powers[channel], self._rates, self._epsilon,
        )  # fmt: skip

    def learn(self, channel: int, counts: np.ndarray, centres: np.ndarray, symbols: np.ndarray) -> None:
        """Make the call of `learning` with all that is given."""
        self.learning(channel, counts, centres, symbols)(min(len(symbols), TEACHERS))

    def watching(self, channel: int, centres: np.ndarray, symbols: np.ndarray) -> Repeated | None:
        """Nothing."""


def _compare(  # type: ignore[no-untyped-def]
    step, number, every, head, own_head, width, centres, symbols, classes, rows, bits
):
    """Add what the pixels of one step in `every` cost by heads that learn and by others to `bits`, float64[2]."""
    if step % every:
        return
    source, products, learned = head
    a, b, fixed = own_head
    run_head(source, number, products[0], products[1], products[2], a, b, fixed)  # type: ignore[name-defined] # noqa: F821
    for n, outputs in enumerate((learned, fixed)):
        make_rows(outputs[:number, :width], centres[:number], classes, SYMBOLS, rows[:number])  # type: ignore[name-defined] # noqa: F821
        bits[n] += code_length(rows[:number], centres[:number], classes, symbols[:number])  # type: ignore[name-defined] # noqa: F821


@lru_cache
def _comparison(head: Any, form: Form) -> Any:
    own: Any = form
    name = f"compare_{head.name}_{own.make.name}"
    return specialise(_compare, name, run_head=head, make_rows=own.make, code_length=own.code_length)


class ComparedHeads(LearningHeads):
    """Heads that learn, and how the model's own, which do not, would have done: a report, nothing is coded by it.

    Attributes:
        bits: float64[2] by either, those that learn first, of the samples of every `COMPARED`th step, by the network's
            frequencies alone.
    """

    def __init__(self, network: Network, lanes: int) -> None:
        """See `LearningHeads`."""
        super().__init__(network, lanes)
        self.bits = np.zeros(2)
        self._begin = [tuple((weight.copy(), *others) for weight, *others in products) for products in self._products]
        self._own = (
            *(aligned(hidden.shape, hidden.dtype) for hidden in self._hidden[0]),
            np.zeros_like(self._outputs[0]),
        )
        self._rows = self._form.room((lanes,), self._classes)
        self._steps = [0] * len(network.heads)

    def watching(self, channel: int, centres: np.ndarray, symbols: np.ndarray) -> Repeated:
        """See `heads.Heads`; the inputs must be the step's."""
        return Repeated(
            _comparison(self.kernel, self._form), 2, COMPARED,
            (self.inputs[channel], self._begin[channel], self._outputs[channel]), self._own, self._number, centres,
            symbols, self._classes, self._rows, self.bits,
        )  # fmt: skip

    def learn(self, channel: int, counts: np.ndarray, centres: np.ndarray, symbols: np.ndarray) -> None:
        """Compare, too."""
        self.watching(channel, centres, symbols)(self._steps[channel], len(symbols))
        self._steps[channel] += 1
        super().learn(channel, counts, centres, symbols)
