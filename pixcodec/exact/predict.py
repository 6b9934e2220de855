"""Predictors: local least squares of several memories and orders, their stack, and MED.

For each memory (a, b, ridge) the statistics of features f and values v run along the wavefront,

    P = a S(y, x-1) + b S(y-1, x+1);   S(y, x) = P + g g^T,   g = (f, v)

with S zero before a row's first pixel and kept after its last.  f holds, for each neighbour and each channel, the
neighbour minus the mean of the left and the upper pixel (the reference); v the channels of the pixel minus theirs.
Before these, f holds the pixels of planes that were coded earlier and are known, minus such a mean of their own.
The factorisation P + ridge I = L D L^T and u = L^-1 f give the least-squares prediction of v by the first m features
as the first m terms of one sum, so that one factorisation serves all orders and all channels: green uses red's and blue
red's and green's errors under the same predictor.  The stack is a local least squares of the value on all of these
predictions and MED, as differences to one of them; MED works on R, G - R, B - G.

All of it is binary32, one rounding an operation, in the order written here and in `kernels.py`; the definition is
`reference/predict.py`.  Predictions are int16 in 1/16 of a level, clamped to 0..255 (NaN to 0) before they are rounded
half to even.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from inspect import signature
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from llvmlite import ir

from pixcodec.exact.compiled import compiled, specialise
from pixcodec.exact.emit import ALIGNMENT, F32, FLOATS, I16, I32, INTP, LANES, Value, emitted, loop
from pixcodec.exact.kernels import accumulation, regression, statistics, working
from pixcodec.exact.ring import Repeated
from pixcodec.exact.steps import ALL_LANES, active_lanes, number_of_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

UNIT = 16  # predictions count sixteenths of a level
LIMIT = 255 * UNIT
OUTSIDE = 128  # the value of what lies left of the first row
TOP = 4  # lanes kept above lane 0, more than any neighbour reaches
REACH = 4  # lanes outside the image that neighbours can reach, on either side
MOST_PLANES = 3  # that are coded or known

SHORTS = ir.VectorType(I16, LANES)
_compiled = compiled()


def _compand_table() -> np.ndarray:
    """int8[2 * LIMIT + 1]: differences in sixteenths to codes, logarithmic as in ITU-T G.711: sixteen codes an octave.

    With m = |d| + 16 and s = floor(log2 m) - 4 the code is 16 s + (m >> s) - 16, with the sign of d, at most 127.
    """
    m = np.arange(LIMIT + 1) + 16
    s = np.frexp(m)[1] - 5  # an exponent is floor(log2 m) + 1
    codes = np.minimum(16 * s + (m >> s) - 16, 127)
    return np.concatenate([-codes[:0:-1], codes]).astype(np.int8)


COMPAND = _compand_table()


@dataclass(frozen=True)
class Memory:
    """How fast statistics fade: the weight of the left state, of the upper right state, and the ridge."""

    a: float
    b: float
    ridge: float


@dataclass(frozen=True)
class Parameters:
    """The predictors of a model: a part of the model file.

    Attributes:
        channels: that are predicted: 3 or 1.
        neighbours: (dy, dx) for the pixel at (y - dy, x + dx), without (1, 0), which the reference implies.
        orders: how many leading neighbours the predictions of each memory use, ascending.
        memories: the memories of the first level.
        stack: the memory of the stack.
        base: the prediction that the stack's differences are taken to.
        centre: for each channel the prediction that the classes of the softmax are centred on.
        known: planes that are known beforehand.
    """

    channels: int
    neighbours: tuple[tuple[int, int], ...]
    orders: tuple[int, ...]
    memories: tuple[Memory, ...]
    stack: Memory
    base: int
    centre: tuple[int, ...]
    known: int = 0

    @classmethod
    def load(cls, card: Mapping[str, Any]) -> Parameters:
        """Parameters from their JSON form; `ValueError` where they are out of bounds."""
        parameters = cls(
            int(card["channels"]),
            tuple((int(dy), int(dx)) for dy, dx in card["neighbours"]),
            tuple(int(order) for order in card["orders"]),
            tuple(Memory(*map(float, memory)) for memory in card["memories"]),
            Memory(*map(float, card["stack"])),
            int(card["base"]),
            tuple(int(centre) for centre in card["centre"]),
            int(card.get("known", 0)),
        )
        parameters.check()
        return parameters

    def save(self) -> dict[str, Any]:
        """The JSON form."""
        form = {
            "channels": self.channels,
            "neighbours": [list(neighbour) for neighbour in self.neighbours],
            "orders": list(self.orders),
            "memories": [[m.a, m.b, m.ridge] for m in self.memories],
            "stack": [self.stack.a, self.stack.b, self.stack.ridge],
            "base": self.base,
            "centre": list(self.centre),
        }
        return form | ({"known": self.known} if self.known else {})  # models from before there were any keep their id

    def check(self) -> None:
        """Raise `ValueError` unless the wavefront can compute these predictors."""
        if self.channels not in (1, 3) or len(self.centre) != self.channels:
            raise ValueError(f"1 or 3 channels, a centre each: found {self.channels} and {len(self.centre)}")
        for dy, dx in self.neighbours:
            if not (0 <= dy < TOP and abs(dx) < REACH and 2 * dy - dx >= 1):
                raise ValueError(f"neighbour ({dy}, {dx}) is out of reach or not yet known in the wavefront's order")
        if not 0 <= self.known <= MOST_PLANES - self.channels:
            raise ValueError(f"at most {MOST_PLANES} planes are coded or known, found {self.planes}")
        orders = self.orders
        if not orders or list(orders) != sorted(set(orders)) or orders[0] < 1 or orders[-1] > len(self.neighbours):
            raise ValueError(f"orders must ascend within 1..{len(self.neighbours)}, found {orders}")
        for memory in (*self.memories, self.stack):
            a, b, ridge = (np.float32(value) for value in (memory.a, memory.b, memory.ridge))
            if not (0 <= a < 1 and 0 <= b < 1 and a + b < 1 and np.float32(1e-9) <= ridge < np.float32(1e9)):
                raise ValueError(f"weights must be 0 or more, their sum below 1, the ridge 1e-9 to 1e9: found {memory}")
        if not self.memories or not all(0 <= number < self.count for number in (self.base, *self.centre)):
            raise ValueError("base and centre must be numbers of predictions")
        if self.base == self.stacked:
            raise ValueError("the stack cannot be its own base")

    @property
    def planes(self) -> int:
        """Planes of a picture: those that are known, then those that are predicted."""
        return self.channels + self.known

    @property
    def unknowns(self) -> int:
        """Features of the first level."""
        return self.known + len(self.neighbours) * self.channels

    @property
    def stacked(self) -> int:
        """Number of the stack among the predictions; those before it are the memories' orders."""
        return len(self.memories) * len(self.orders)

    @property
    def count(self) -> int:
        """Predictions a channel: each memory's orders, the stack, MED."""
        return self.stacked + 2

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each prediction."""
        own = [f"{m.a:g} {m.b:g} {m.ridge:g} order {order}" for m in self.memories for order in self.orders]
        return (*own, "stack", "med")

    @cached_property
    def coefficients(self) -> np.ndarray:
        """float32[memories, 3]: a, b, ridge."""
        return np.array([[m.a, m.b, m.ridge] for m in self.memories], np.float32)

    @cached_property
    def stack_coefficients(self) -> np.ndarray:
        """float32[1, 3]: a, b, ridge of the stack."""
        return np.array([[self.stack.a, self.stack.b, self.stack.ridge]], np.float32)


def _emit_mean(left: Value, upper: Value, out: Value) -> None:
    out.store((left.load(FLOATS) + upper.load(FLOATS)) * 0.5)


def _emit_difference(value: Value, other: Value, out: Value) -> None:
    out.store(value.load(FLOATS) - other.load(FLOATS))


def _stored(prediction: Value) -> Value:
    """A prediction in sixteenths, int16: clamped (NaN to 0), then rounded half to even."""
    return (prediction.most(0.0).least(255.0) * float(UNIT)).rounded().to(I16)


def _level(fixed: Value) -> Value:
    """The prediction, or the difference of two, that sixteenths in int16 are."""
    return fixed.to(F32) * (1 / UNIT)


def _emit_first(out: Value, fixed: Value, count: Value, stride: Value, rows: Value, reference: Value, _: Value) -> None:
    """Predictions of the first channel by every memory and order; addresses are those of a block's first lane."""
    with loop(0, count) as k:
        r0 = (out + k * rows * stride * 4).load(FLOATS)
        (fixed + k * stride * 2).store(_stored(reference.load(FLOATS) + r0))


def _emit_second(
    out: Value, fixed: Value, count: Value, stride: Value, rows: Value, reference: Value, f: Value
) -> None:
    """Predictions of the second channel, which know the first one's value f (minus its reference)."""
    with loop(0, count) as k:
        r0, l10, r1 = ((out + (k * rows + i) * stride * 4).load(FLOATS) for i in range(3))
        second = r1 + l10 * (f.load(FLOATS) - r0)
        (fixed + k * stride * 2).store(_stored(reference.load(FLOATS) + second))


def _emit_third(out: Value, fixed: Value, count: Value, stride: Value, rows: Value, reference: Value, f: Value) -> None:
    """Predictions of the third channel, which know the values of the first two (minus their references)."""
    with loop(0, count) as k:
        r0, l10, r1, l20, l21, r2 = ((out + (k * rows + i) * stride * 4).load(FLOATS) for i in range(6))
        u0 = f.load(FLOATS) - r0
        u1 = (f + stride * 4).load(FLOATS) - (r1 + l10 * u0)
        third = (r2 + l20 * u0) + l21 * u1
        (fixed + k * stride * 2).store(_stored(reference.load(FLOATS) + third))


def _emit_median_edge(
    west: Value, north: Value, north_west: Value, west_before: Value, north_before: Value, north_west_before: Value,
    known: Value, fixed: Value,
) -> None:  # fmt: skip
    """MED (LOCO-I) of a channel's difference to the one before it (zeros if there is none), whose values are known."""
    w, n, nw = west.load(FLOATS), north.load(FLOATS), north_west.load(FLOATS)
    w, n = w - west_before.load(FLOATS), n - north_before.load(FLOATS)
    nw = nw - north_west_before.load(FLOATS)
    low, high = w.least(n), w.most(n)
    guess = low.where(nw >= high, high.where(nw <= low, w + n - nw))
    fixed.store(_stored(known.load(FLOATS) + guess))


def _emit_stack_feature(prediction: Value, base: Value, out: Value) -> None:
    """A prediction's difference to the base."""
    out.store(_level(prediction.load(SHORTS).to(I32) - base.load(SHORTS).to(I32)))


def _emit_stack(base: Value, out: Value, fixed: Value) -> None:
    """The stack's prediction: the base plus what the least squares adds."""
    fixed.store(_stored(_level(base.load(SHORTS)) + out.load(FLOATS)))


def _emit_stack_error(value: Value, base: Value, out: Value) -> None:
    out.store(value.load(FLOATS) - _level(base.load(SHORTS)))


@_compiled
def _aligned(room):  # type: ignore[no-untyped-def]
    """Address of the first line of the cache that begins in an array, which is given back after its last use."""
    return (room.ctypes.data + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def _gather(ring, slots, lags, features, reference, first, last):  # type: ignore[no-untyped-def]
    """Reference of each channel (mean of left, slot 0, and upper, slot 1) and the neighbours' differences to it."""
    channels, stride = ring.shape[1], features.strides[0]
    for y in range(first // LANES * LANES, last + 1, LANES):
        for c in range(channels):
            lane = ring.ctypes.data + c * ring.strides[1] + 4 * (y + TOP)
            here = reference.ctypes.data + c * stride + 4 * (y + 1)
            mean(lane + slots[0] * ring.strides[0], lane + slots[1] * ring.strides[0] - 4, here)  # type: ignore[name-defined] # noqa: F821
            for k in range(len(slots) - 3):
                value = lane + slots[k + 3] * ring.strides[0] - 4 * lags[k]
                difference(value, here, features.ctypes.data + (k * channels + c) * stride + 4 * (y + 1))  # type: ignore[name-defined] # noqa: F821


@_compiled
def _gather_known(known, step, features, first, last):  # type: ignore[no-untyped-def]
    """A step's pixels of known planes minus the mean of the left and the upper one, inside the plane the nearest."""
    for k in range(known.shape[2]):
        for y in range(first, last + 1):
            x = step - 2 * y
            left, upper = known[y, max(x - 1, 0), k], known[max(y - 1, 0), x, k]
            reference = (np.float32(left) + np.float32(upper)) * np.float32(0.5)
            features[k, y + 1] = np.float32(known[y, x, k]) - reference


def _predict(  # type: ignore[no-untyped-def]
    ring, slots, values, zeros, reference, known, out, rows, channel, fixed, base, features, state, stack_out,
    coefficients, first, last,
):  # fmt: skip
    """All predictions of a channel, whole vectors of sixteen lanes at a time."""
    columns, count, depth = fixed.shape[1], fixed.shape[0], ring.strides[0]
    ridge = coefficients[0, 2]
    work = np.empty((WORK + 1) * LANES, np.float32)  # type: ignore[name-defined] # noqa: F821
    for y in range(first // LANES * LANES, last + 1, LANES):
        room = _aligned(work)
        at, row = 4 * (y + 1), fixed.ctypes.data + 2 * (y + 1)
        own = reference.ctypes.data + channel * reference.strides[0] + at
        if channel == 0:
            predict_first(out.ctypes.data + at, row, count - 2, columns, rows, own, known.ctypes.data + at)  # type: ignore[name-defined] # noqa: F821
        elif channel == 1:
            predict_second(out.ctypes.data + at, row, count - 2, columns, rows, own, known.ctypes.data + at)  # type: ignore[name-defined] # noqa: F821
        else:
            predict_third(out.ctypes.data + at, row, count - 2, columns, rows, own, known.ctypes.data + at)  # type: ignore[name-defined] # noqa: F821
        lane = ring.ctypes.data + channel * ring.strides[1] + 4 * (y + TOP)
        west, north, north_west = lane + slots[0] * depth, lane + slots[1] * depth - 4, lane + slots[2] * depth - 4
        before = values.ctypes.data + (channel - 1) * values.strides[0] + at
        med, to = row + 2 * columns * (count - 1), ring.strides[1]
        if channel == 0:
            zero = zeros.ctypes.data
            median_edge(west, north, north_west, zero, zero, zero, zero, med)  # type: ignore[name-defined] # noqa: F821
        else:
            median_edge(west, north, north_west, west - to, north - to, north_west - to, before, med)  # type: ignore[name-defined] # noqa: F821
        feature, centre = features.ctypes.data + at, row + 2 * columns * base
        for p in range(count):
            if p not in (base, count - 2):
                stack_feature(row + 2 * columns * p, centre, feature)  # type: ignore[name-defined] # noqa: F821
                feature += features.strides[0]
        prior = state[0, y // LANES + 1].ctypes.data
        regress(prior, features.ctypes.data, stack_out.ctypes.data, room, columns, y, ridge)  # type: ignore[name-defined] # noqa: F821
        stack(centre, stack_out.ctypes.data + at, row + 2 * columns * (count - 2))  # type: ignore[name-defined] # noqa: F821


@_compiled
def _blocks(lanes, next_lanes, begin, end):  # type: ignore[no-untyped-def]
    """First lanes of the blocks of two steps' lanes from `begin` to before `end`, ascending: a range."""
    (first, last), (next_first, next_last) = lanes, next_lanes
    start = max(min(first, next_first) // LANES * LANES, begin)
    return range(start, min(max(last, next_last) + 1, end), LANES)


def _learn_stack(states, kepts, features, values, fixed, base, coefficients, lanes, next_lanes, begin, end):  # type: ignore[no-untyped-def]
    """The stacks' statistics take in a step: the errors of the base, and what the predictions made of them.

    What the last block was goes to `kepts`, for the one below it.
    """
    a, b, _ = coefficients[0]
    (first, last), (next_first, next_last) = lanes, next_lanes
    stride, inputs, blocks = features.strides[1], features.shape[1] - 1, _blocks(lanes, next_lanes, begin, end)
    for c in range(features.shape[0]):
        f, kept = features[c].ctypes.data, kepts[c].ctypes.data
        above = kept if begin == blocks.start and begin > 0 else states[c, 0, blocks.start // LANES].ctypes.data
        for y in blocks:
            value = values.ctypes.data + c * values.strides[0] + 4 * (y + 1)
            centre = fixed.ctypes.data + c * fixed.strides[0] + base * fixed.strides[1] + 2 * (y + 1)
            stack_error(value, centre, f + inputs * stride + 4 * (y + 1))  # type: ignore[name-defined] # noqa: F821
            accumulate(  # type: ignore[name-defined] # noqa: F821
                states[c, 0, y // LANES + 1].ctypes.data, above, kept, f, features.shape[2], y, a, b, first, last,
                next_first, next_last,
            )  # fmt: skip
            above = kept


def _learn_and_solve(states, kepts, f, lanes, next_lanes, features, out, coefficients, begin, end):  # type: ignore[no-untyped-def]
    """Statistics of a step's lanes take in f; then the regressions of the next step's lanes are solved.

    Each block of lanes is solved as soon as it has learned, while its statistics are near; `kepts` see `_learn_stack`.
    """
    (first, last), (next_first, next_last), blocks = lanes, next_lanes, _blocks(lanes, next_lanes, begin, end)
    room = np.empty((WORK + 1) * LANES, np.float32)  # type: ignore[name-defined] # noqa: F821
    for m in range(states.shape[0]):
        a, b, ridge = coefficients[m]
        kept, work = kepts[m].ctypes.data, _aligned(room)
        above = kept if begin == blocks.start and begin > 0 else states[m, blocks.start // LANES].ctypes.data
        for y in blocks:
            here = states[m, y // LANES + 1].ctypes.data
            accumulate(  # type: ignore[name-defined] # noqa: F821
                here, above, kept, f.ctypes.data, f.shape[1], y, a, b, first, last, next_first, next_last
            )
            if next_first // LANES * LANES <= y:
                regress(here, features.ctypes.data, out[m].ctypes.data, work, f.shape[1], y, ridge)  # type: ignore[name-defined] # noqa: F821
            above = kept


@_compiled
def _push(ring, slot, before, values, height, first, last, begin, end):  # type: ignore[no-untyped-def]
    """This step's values from lane `begin` to before `end` into the ring, and those that positions outside take.

    Right of the image a row's last value is kept; left of it lane y takes what lane y - 1 has in this step (128 in lane
    0); lanes above the image take what lane 0 has.
    """
    for c in range(ring.shape[1]):
        lane = ring[slot, c]
        for y in range(max(first - REACH, begin), min(first, end)):
            lane[y + TOP] = ring[before, c, y + TOP]
        for y in range(max(first, begin), min(last + 1, end)):
            lane[y + TOP] = values[c, y + 1]
        for y in range(max(last + 1, begin), min(height, last + 1 + REACH, end)):
            lane[y + TOP] = lane[y + TOP - 1] if y > 0 else np.float32(OUTSIDE)
        if begin == 0:
            lane[:TOP] = lane[TOP]


def _learn_step(  # type: ignore[no-untyped-def]
    step, begin, end, ring, slots, lags, planes, values, features, reference, fixed, base, stacks, solver
):
    """All that follows once a step's pixels from lane `begin` to before `end` are known; see `Predictors`."""
    lanes = active_lanes(step, planes.shape[0], planes.shape[1])
    next_lanes = active_lanes(step + 1, planes.shape[0], planes.shape[1])
    stack_states, stack_kepts, stack_features, stack_coefficients = stacks
    state, kepts, out, coefficients = solver
    learn_stack(  # type: ignore[name-defined] # noqa: F821
        stack_states,
        stack_kepts,
        stack_features,
        values,
        fixed,
        base,
        stack_coefficients,
        lanes,
        next_lanes,
        begin,
        end,
    )
    depth, known = ring.shape[0], planes.shape[2]
    _push(ring, step % depth, (step - 1) % depth, values, planes.shape[0], lanes[0], lanes[1], begin, end)
    following, first, last = features[(step + 1) & 1], max(next_lanes[0], begin), min(next_lanes[1], end - 1)
    if known:
        _gather_known(planes, step + 1, following, first, last)
    gather(ring, slots[(step + 1) % depth], lags, following[known:], reference, first, last)  # type: ignore[name-defined] # noqa: F821
    learn_and_solve(  # type: ignore[name-defined] # noqa: F821
        state, kepts, features[step & 1], lanes, next_lanes, following, out, coefficients, begin, end
    )


class _Kernels(NamedTuple):
    """The compiled functions of some predictors."""

    predict: Callable[..., None]
    learn: Callable[..., None]


@lru_cache
def _kernels(unknowns: int, channels: int, orders: tuple[int, ...], inputs: int) -> _Kernels:
    """For regressions of so many unknowns, values and orders, and a stack of so many inputs."""

    def lanes(emit: Callable[..., None]) -> Any:
        return emitted([INTP] * len(signature(emit).parameters), emit)

    name = f"{unknowns}_{channels}_{'_'.join(map(str, orders))}"
    learn_stack = specialise(
        _learn_stack,
        f"learn_stack_{inputs}",
        stack_error=lanes(_emit_stack_error),
        accumulate=accumulation(inputs + 1),
    )
    size = unknowns + channels
    learn_and_solve = specialise(
        _learn_and_solve,
        f"learn_and_solve_{name}",
        WORK=working(unknowns, channels),
        regress=regression(unknowns, channels, orders),
        accumulate=accumulation(size),
    )
    return _Kernels(
        specialise(
            _predict,
            f"predict_{inputs}",
            WORK=working(inputs, 1),
            predict_first=lanes(_emit_first),
            predict_second=lanes(_emit_second),
            predict_third=lanes(_emit_third),
            median_edge=lanes(_emit_median_edge),
            stack_feature=lanes(_emit_stack_feature),
            stack=lanes(_emit_stack),
            regress=regression(inputs, 1, (inputs,)),
        ),
        specialise(
            _learn_step,
            f"learn_step_{name}_{inputs}",
            active_lanes=compiled()(active_lanes),
            gather=specialise(_gather, "gather", mean=lanes(_emit_mean), difference=lanes(_emit_difference)),
            learn_stack=learn_stack,
            learn_and_solve=learn_and_solve,
        ),
    )


def no_planes(height: int, width: int) -> np.ndarray:
    """uint8[H, W, 0]: what is known where nothing is."""
    return np.zeros((height, width, 0), np.uint8)


class Predictors:
    """The predictors of one tile, step by step.

    In each step: `begin`, then for each channel `predict` and, once the channel is known, `know`; then `learn`.

    Attributes:
        fixed: int16[channels, count, 1 + lanes], predictions of this step; lane y is column y + 1.
        values: float32[channels, 1 + lanes], this step's values.
        reference: float32[channels, 1 + lanes], what they are taken to.
        features: float32[2, unknowns + channels, 1 + lanes], of even and of odd steps; the last ones are values minus
            references.
        kernels: compiled functions.
        arrays: what they work on.
        statistics: of the memories, see `kernels.statistics`.
        learning: `learn` as a call with a step and the lanes that are learned from, from one to before another, both of
            whole blocks; those before are done.
    """

    def __init__(self, parameters: Parameters, height: int, width: int, known: np.ndarray | None = None) -> None:
        """Start a tile of `height` rows and `width` columns, of which planes uint8[H, W, known] are known."""
        self.parameters, self.height, self.width = parameters, height, width
        channels, neighbours = parameters.channels, parameters.neighbours
        self._known = np.ascontiguousarray(no_planes(height, width) if known is None else known)
        if self._known.shape != (height, width, parameters.known) or self._known.dtype != np.uint8:
            raise ValueError(f"{parameters.known} planes must be known, found {self._known.dtype}{self._known.shape}")
        self._unknowns = unknowns = parameters.unknowns
        self._rows = 6 if channels == 3 else 1
        columns = 1 + (height + LANES - 1) // LANES * LANES
        memories, orders, inputs = len(parameters.memories), len(parameters.orders), parameters.stacked
        leading = tuple(parameters.known + order * channels for order in parameters.orders)
        self.kernels = _kernels(unknowns, channels, leading, inputs)

        def zeros(*shape: int) -> np.ndarray:
            return np.zeros((*shape, columns), np.float32)

        self.statistics = state = statistics(memories, unknowns + channels, height)
        stack_state = np.stack([statistics(1, inputs + 1, height) for _ in range(channels)])
        kept, stack_kept = (np.empty_like(each[..., 0, :, :]) for each in (state, stack_state[:, 0]))
        stack_features = zeros(channels, inputs + 1)
        self.features, self.reference, self.values = zeros(2, unknowns + channels), zeros(channels), zeros(channels)
        out = zeros(memories, self._rows * orders)
        self.fixed = np.zeros((channels, parameters.count, columns), np.int16)
        taps = [(0, -1), (1, 0), (1, -1), *neighbours]
        delays = np.array([2 * dy - dx for dy, dx in taps])
        depth = int(delays.max()) + 1
        slots = (np.arange(depth)[:, None] - delays) % depth
        ring = np.full((depth, channels, TOP + columns + LANES), OUTSIDE, np.float32)
        lags = np.array([dy for dy, _ in neighbours])
        self.arrays = (
            ring, slots, self.values, np.zeros(LANES, np.float32), self.reference, self.features, out, self._rows,
            self.fixed, parameters.base, stack_features, stack_state, zeros(1, 1), parameters.stack_coefficients,
        )  # fmt: skip
        self.learning = Repeated(
            self.kernels.learn, 3, ring, slots, lags, self._known, self.values, self.features, self.reference,
            self.fixed, parameters.base, (stack_state, stack_kept, stack_features, parameters.stack_coefficients),
            (state, kept, out, parameters.coefficients),
        )  # fmt: skip
        self._step, self._lanes = -1, (0, -1)
        self.learn()

    def begin(self, step: int) -> tuple[int, int]:
        """Begin a step; return its first and last active lane (last < first: none)."""
        self._step, self._lanes = step, active_lanes(step, self.height, self.width)
        return self._lanes

    def predict(self, channel: int) -> None:
        """Fill `fixed[channel]`; the channels before it are known."""
        (
            ring, slots, values, zeros, reference, features, out, rows, fixed, base, stack_features, stack_state,
            stack_out, coefficients,
        ) = self.arrays  # fmt: skip
        step = self._step
        self.kernels.predict(
            ring, slots[step % len(slots)], values, zeros, reference, features[step & 1, self._unknowns :], out, rows,
            channel, fixed[channel], base, stack_features[channel], stack_state[channel], stack_out, coefficients,
            *self._lanes,
        )  # fmt: skip

    def know(self, channel: int, values: np.ndarray) -> None:
        """The channel's values, any number type [active lanes], are known."""
        first, last = self._lanes
        lanes = slice(first + 1, last + 2)
        self.values[channel, lanes] = values
        known = self.features[self._step & 1, self._unknowns + channel, lanes]
        np.subtract(self.values[channel, lanes], self.reference[channel, lanes], known)

    def learn(self) -> None:
        """Take this step's pixels into the statistics and the ring, and solve the next step's regressions."""
        self.learning(self._step, 0, ALL_LANES)


def predictions(planes: np.ndarray, parameters: Parameters) -> np.ndarray:
    """All predictions of a known picture.

    Args:
        planes: uint8[H, W, known + C]: those that are known, then those that are predicted.
        parameters: for C channels.

    Returns:
        int16[H, W, C, count] in sixteenths of a level.
    """
    height, width = planes.shape[:2]
    channels, known = parameters.channels, parameters.known
    predictors = Predictors(parameters, height, width, planes[:, :, :known])
    result = np.empty((height, width, channels, parameters.count), np.int16)
    for step in range(number_of_steps(height, width)):
        first, last = predictors.begin(step)
        rows = np.arange(first, last + 1)
        columns = step - 2 * rows
        for c in range(channels if last >= first else 0):
            predictors.predict(c)
            predictors.know(c, planes[rows, columns, known + c])
            result[rows, columns, c] = predictors.fixed[c, :, first + 1 : last + 2].T
        predictors.learn()
    return result


def rounded_centres(predicted: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Each channel's centre as a level, rounded half up: int32[H, W, C] from `predictions`."""
    channels = range(parameters.channels)
    own = np.stack([predicted[:, :, c, parameters.centre[c]] for c in channels], axis=2).astype(np.int32)
    return (own + UNIT // 2) // UNIT
