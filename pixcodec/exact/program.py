"""A frozen network of the paper: integer operations on maps, in order; their form, their bound, their causality.

A map holds some integers a pixel: codes of 8 bits, or streams of 16.  An operation makes one map from others.  The
network's first map is the image, its last one the outputs.  What each operation computes is drawn in `docs/format.md`
and defined by `reference/program.py`; the form here says nothing of PixelCNN or LSTMs, and the codec need not know.

Colours: with `groups` = 3 the features of every map are in three groups (`columns`), and a pixel is evaluated in three
passes: pass g computes group g of every map from what is known then, which is the image's channels before g and the
groups up to g of all other maps at the pixel, and everything at earlier pixels.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pixcodec.errors import ModelError
from pixcodec.exact.network import BOUND, STREAM_LIMIT, Product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

BYTE = 255
SIGNED = 127
GATES = 4  # of an LSTM: o, f, i, g
HALVES = 2  # of a gated unit
REACH = 4  # rows or columns that a tap may look away
IMAGE = "image"
Taps = tuple[tuple[int, int], ...]
Offsets = tuple[int, ...]


@dataclass(frozen=True)
class Convolve:
    """target = clamp(rint((bias + sum over taps of source W) * scale), low, high)."""

    source: str
    target: str
    taps: Taps
    product: Product
    low: int
    high: int
    parts: int

    @property
    def sources(self) -> tuple[str, ...]:
        """Maps that are read."""
        return (self.source,)


@dataclass(frozen=True)
class Rescale:
    """target = clamp(rint(source * scale), low, high), a scale for each feature."""

    source: str
    target: str
    scale: np.ndarray
    low: int
    high: int

    @property
    def sources(self) -> tuple[str, ...]:
        """Maps that are read."""
        return (self.source,)


@dataclass(frozen=True)
class Add:
    """target = clamp(first + second)."""

    sources: tuple[str, str]
    target: str


@dataclass(frozen=True)
class Gate:
    """target = tanh(first half of source) sigmoid(second half), by tables, in 1/128."""

    source: str
    target: str

    @property
    def sources(self) -> tuple[str, ...]:
        """Maps that are read."""
        return (self.source,)


@dataclass(frozen=True)
class Recur:
    """The states of an LSTM from its gates, line after line (paper, equation 3).

    Attributes:
        source: gates, input to state, in 1/256.
        target: states, in 1/128; the cells are beside it, in 1/2048.
        direction: "rows": from the row above; "left": from the left and from above; "right": from the right and above.
        product: state to state, one weight a place (`SEES`), biases 0.
        initial: int32[2, h], state and cell outside the image.
    """

    source: str
    target: str
    direction: str
    product: Product
    initial: np.ndarray

    SEES: ClassVar[dict[str, Callable[[int], Taps]]] = {
        "rows": lambda taps: tuple((1, dx) for dx in range(-(taps // 2), taps // 2 + 1)),
        "left": lambda _: ((1, 0), (0, -1)),
        "right": lambda _: ((1, 0), (0, 1)),
    }

    @property
    def sources(self) -> tuple[str, ...]:
        """Maps that are read."""
        return (self.source,)

    @property
    def taps(self) -> Taps:
        """Where the states lie that a state is made from, in the order of the weights; the cell comes from `carry`."""
        return self.SEES[self.direction](len(self.product.weight))

    @property
    def carry(self) -> tuple[int, int]:
        """Where the cell lies that a cell goes on from."""
        return {"rows": (1, 0), "left": (0, -1), "right": (0, 1)}[self.direction]


@dataclass(frozen=True)
class Join:
    """target = first(y, x) + second(y - 1, x): both directions of a Diagonal BiLSTM, the right one a row down."""

    sources: tuple[str, str]
    target: str


Operation = Convolve | Rescale | Add | Gate | Recur | Join


@dataclass(frozen=True)
class Program:
    """A frozen network.

    Attributes:
        card: the JSON card; "channels", "levels", "groups", "output", "tile" and "program" belong to the identity.
        operations: in an order in which every map is made before it is read.
        widths: features of each map.
        parts: how many times a map's features come, one after the other, each in colour groups.
        identity: SHA-256 of all that decides a coded bit.
    """

    card: dict[str, Any]
    operations: tuple[Operation, ...]
    widths: dict[str, int]
    parts: dict[str, int]
    identity: bytes
    stacked: ClassVar[bool] = True

    @property
    def channels(self) -> int:
        """Channels of the planes that it codes."""
        return int(self.card["channels"])

    @property
    def levels(self) -> int:
        """Values of a channel: 256, or 2."""
        return int(self.card["levels"])

    @property
    def groups(self) -> int:
        """Passes a pixel."""
        return int(self.card["groups"])

    @property
    def tile(self) -> int:
        """Longest side that it codes in one piece."""
        return int(self.card["tile"])

    @property
    def last(self) -> str:
        """The map of outputs."""
        return self.operations[-1].target

    def columns(self, name: str, group: int) -> np.ndarray:
        """Which features of a map are of a colour group, ascending."""
        width = self.widths[name] // self.parts[name]
        own = np.arange(width) * self.groups // width == group
        return np.flatnonzero(np.tile(own, self.parts[name]))

    @cached_property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """The least and the largest integer that each map may hold."""
        found = {IMAGE: (-128, 127)}
        for op in self.operations:
            if isinstance(op, Convolve | Rescale):
                found[op.target] = op.low, op.high
            elif isinstance(op, Add):
                found[op.target] = -STREAM_LIMIT, STREAM_LIMIT
            else:
                twice = 2 if isinstance(op, Join) else 1
                found[op.target] = -SIGNED * twice, SIGNED * twice
        return found

    @cached_property
    def above(self) -> frozenset[str]:
        """Maps that hold nothing of their own row (the vertical stack of gated networks)."""
        found: set[str] = set()
        for op in self.operations:
            if isinstance(op, Convolve):
                held = all(dy > 0 or op.source in found for dy, _ in op.taps)
            else:
                held = not isinstance(op, Recur) and all(source in found for source in op.sources)
            if held:
                found.add(op.target)
        return frozenset(found)

    @cached_property
    def by_rows(self) -> bool:
        """Whether pixels must go in raster order: something needs all of the row above, or looks right in its own."""
        return any(
            (isinstance(op, Recur) and op.direction == "right")
            or (isinstance(op, Convolve) and any(dy == 0 and dx > 0 for dy, dx in op.taps))
            for op in self.operations
        )

    @cached_property
    def slope(self) -> int:
        """The least s with s dy - dx >= 1 at every tap: pixels of one x + s y go in one step (0: raster order)."""
        if self.by_rows:
            return 0
        taps = [tap for op in self.operations if isinstance(op, Convolve | Recur) for tap in op.taps]
        return max([1, *(-(-(1 + dx) // dy) for dy, dx in taps if dy > 0)])

    @classmethod
    def build(cls, card: dict[str, Any], tensors: Mapping[str, np.ndarray]) -> Program:
        """A program from its card and tensors; `ModelError` unless all is in place, causal, and the bound holds."""
        try:
            program = _assemble(card, tensors)
            problem = next(_problems(program), None)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            problem = f"the model's card and tensors do not fit together ({error!r})"
            raise ModelError(f"{problem}; fetch the model anew") from None
        if problem:
            raise ModelError(f"{problem}; freeze the model anew")
        return program

    @cached_property
    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(1, inputs of all taps, outputs of a pass) of every product, each once: what back ends must prove."""
        found = set()
        for op in self.operations:
            if isinstance(op, Convolve | Recur):
                taps, inputs, _ = op.product.weight.shape
                made = op.target if isinstance(op, Convolve) else op.source
                found |= {(1, taps * inputs, len(self.columns(made, group))) for group in range(self.groups)}
        return tuple(sorted(found))

    def products(self) -> dict[str, Product]:
        """All products by their target's name."""
        return {op.target: op.product for op in self.operations if isinstance(op, Convolve | Recur)}


DECIDING = ("channels", "levels", "groups", "output", "tile", "program")


def identity(card: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> bytes:
    """SHA-256 of the card's deciding parts and of all tensors, in little-endian order by name."""
    digest = hashlib.sha256()
    deciding = {key: card[key] for key in DECIDING}
    digest.update(json.dumps(deciding, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype.name} {list(array.shape)}".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.digest()


def _assemble(card: dict[str, Any], tensors: Mapping[str, np.ndarray]) -> Program:
    widths, parts = {IMAGE: int(card["channels"])}, {IMAGE: 1}
    operations = []
    for step in card["program"]:
        op = _operation(step, tensors, widths)
        if op.target in widths or any(source not in widths for source in op.sources):
            raise ValueError(f"{op.target} is made twice, or from what is not there")
        widths[op.target], parts[op.target] = _form(op, widths, parts)
        operations.append(op)
    return Program(card, tuple(operations), widths, parts, identity(card, tensors))


def _operation(step: Mapping[str, Any], tensors: Mapping[str, np.ndarray], widths: Mapping[str, int]) -> Operation:
    kind, target = step["op"], str(step["target"])

    def tensor(name: str, dtype: type, *shape: int) -> np.ndarray:
        array = tensors[f"{target}.{name}"]
        if array.dtype != dtype or array.shape != shape:
            raise ValueError(f"{target}.{name}: expected {np.dtype(dtype)}{shape}, found {array.dtype}{array.shape}")
        return array

    def product(taps: int, inputs: int, outputs: int) -> Product:
        return Product(
            tensor("weight", np.int8, taps, inputs, outputs),
            tensor("bias", np.int32, outputs),
            tensor("scale", np.float32, outputs),
        )

    if kind in {"add", "join"}:
        first, second = step["sources"]
        return (Add if kind == "add" else Join)((str(first), str(second)), target)
    source = str(step["source"])
    width = widths[source]
    if kind == "convolve":
        taps = tuple((int(dy), int(dx)) for dy, dx in step["taps"])
        outputs = int(step["outputs"])
        form = product(len(taps), width, outputs)
        return Convolve(source, target, taps, form, int(step["low"]), int(step["high"]), int(step["parts"]))
    if kind == "rescale":
        return Rescale(source, target, tensor("scale", np.float32, width), int(step["low"]), int(step["high"]))
    if kind == "gate":
        return Gate(source, target)
    if kind == "recur":
        h = width // GATES
        form = product(int(step["places"]), h, GATES * h)
        return Recur(source, target, str(step["direction"]), form, tensor("initial", np.int32, 2, h))
    raise ValueError(f"there is no operation {kind!r}")


def _form(op: Operation, widths: Mapping[str, int], parts: Mapping[str, int]) -> tuple[int, int]:
    """Features and parts of what an operation makes; `ValueError` where its sources do not fit."""
    if isinstance(op, Convolve):
        if op.parts < 1 or op.product.bias.size % op.parts:
            raise ValueError(f"{op.target} has {op.product.bias.size} features in {op.parts} parts")
        return op.product.bias.size, op.parts
    source = op.sources[0]
    if isinstance(op, Gate | Recur):
        number = HALVES if isinstance(op, Gate) else GATES
        if parts[source] != number:
            raise ValueError(f"{op.target} needs {number} parts, {source} has {parts[source]}")
        return widths[source] // number, 1
    if any((widths[name], parts[name]) != (widths[source], parts[source]) for name in op.sources):
        raise ValueError(f"{op.target} is made from maps of different form")
    return widths[source], parts[source]


def _problems(program: Program) -> Iterator[str]:
    """What is wrong with a program whose parts fit together, one sentence each."""
    if program.levels not in {2, 256} or program.channels not in {1, 3} or program.groups not in {1, program.channels}:
        yield f"{program.channels} channels of {program.levels} levels in {program.groups} groups cannot be coded"
    if program.tile < 1:
        yield "the longest side must be positive"
    yield from _output_problems(program)
    for op in program.operations:
        if program.widths[op.target] < program.parts[op.target] * program.groups:
            yield f"{op.target} has fewer features than colour groups"
        if isinstance(op, Convolve | Recur):
            yield from _product_problems(op)
        if isinstance(op, Convolve):
            low, high = program.ranges[op.source]
            if max(-low, high) > BYTE:
                yield f"{op.target} multiplies {op.source}, which is no map of 8 bits"
        if isinstance(op, Rescale) and not _positive(op.scale):
            yield f"scales of {op.target} must be finite and positive"
        if isinstance(op, Convolve | Rescale) and not -STREAM_LIMIT <= op.low <= 0 <= op.high <= STREAM_LIMIT:
            yield f"{op.target} must stay within 16 bits"
        yield from _recurrence_problems(program, op)
        yield from _look_ahead(program, op)


def _output_problems(program: Program) -> Iterator[str]:
    """Whether the last map is what the card's output wants."""
    output, found = program.card["output"], program.widths[program.last]
    kind = output["kind"]
    if kind == "softmax":
        expected = program.channels * (program.levels if program.levels > 2 else 1)
    elif kind == "mixture" and program.levels == 256 and program.groups == 1:
        components = int(output["components"])
        if components < 1:
            yield f"a mixture has at least one component, not {components}"
        expected = components * (1 + 2 * program.channels + (3 if program.channels == 3 else 0))
    else:
        yield f"there is no output {kind!r} of {program.levels} levels in {program.groups} groups"
        return
    if found != expected:
        yield f"the output {kind!r} needs {expected} features, {program.last} has {found}"


def _positive(scale: np.ndarray) -> bool:
    return bool((np.isfinite(scale) & (scale > 0)).all())


def _product_problems(op: Convolve | Recur) -> Iterator[str]:
    form = op.product
    if form.bound() >= BOUND or form.weight.min(initial=0) < -SIGNED:
        yield f"sums of {op.target} may reach {form.bound()}, above {BOUND}"
    if not _positive(form.scale):
        yield f"scales of {op.target} must be finite and positive"


def _recurrence_problems(program: Program, op: Operation) -> Iterator[str]:
    """Whether recurrences are of a known form; only joins see what comes from the right, a row later."""
    direction = {made.target: made.direction for made in program.operations if isinstance(made, Recur)}
    if isinstance(op, Recur):
        if op.direction not in op.SEES or len(op.taps) != len(op.product.weight) or len(op.taps) > 2 * REACH + 1:
            yield f"{op.target} goes in no direction that is known"
        state, cell = np.abs(op.initial.astype(np.int64))
        if state.max() > SIGNED or cell.max() > STREAM_LIMIT:
            yield f"the initial state of {op.target} must be of 8 bits, its cell of 16"
    if isinstance(op, Join):
        if [direction.get(source) for source in op.sources] != ["left", "right"]:
            yield f"{op.target} must join a recurrence from the left and one from the right"
    elif any(direction.get(source) == "right" for source in op.sources):
        yield f"{op.target} sees {op.sources[0]} of its own row, which is not known in time"
    if direction.get(program.last) == "right":
        yield f"{program.last} is not known in time"


def _look_ahead(program: Program, op: Operation) -> Iterator[str]:
    """Whether an operation sees what is not known yet."""
    if not isinstance(op, Convolve):
        if IMAGE in op.sources:
            yield f"{op.target} sees the pixel itself, which is not known in time"
        return
    if not op.taps:
        yield f"{op.target} sees nothing"
    for k, (dy, dx) in enumerate(op.taps):
        own_row = dy == 0 and op.source not in program.above
        if not (0 <= dy <= REACH and abs(dx) <= REACH) or (own_row and dx > 0):
            yield f"{op.target} sees ({dy}, {dx}) of {op.source}, which is not known in time"
        elif own_row and dx == 0:
            weight = op.product.weight[k]
            for group in range(program.groups):
                known = group - 1 if op.source == IMAGE else group
                later = [program.columns(op.source, g) for g in range(known + 1, program.groups)]
                if program.groups == 1 and op.source == IMAGE:
                    later = [np.arange(program.channels)]
                hidden = np.concatenate([np.empty(0, np.int64), *later])
                if weight[np.ix_(hidden, program.columns(op.target, group))].any():
                    yield f"{op.target} sees colours of {op.source} that are not known in time"
