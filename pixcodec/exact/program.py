"""A frozen network of the paper: integer operations on maps, in order.

A map holds some integers a pixel: codes of 8 bits, or streams of 16.  An operation makes one map from others.  The
network's first map is the image, its last one the outputs.  What each operation computes is drawn in `docs/format.md`
and defined by `reference/program.py`; the form here says nothing of PixelCNN or LSTMs, and the codec need not know.

Colours: with `groups` = 3 the features of every map are in three groups (`columns`), and a pixel is evaluated in three
passes: pass g computes group g of every map from what is known then, which is the image's channels before g and the
groups up to g of all other maps at the pixel, and everything at earlier pixels.

Scales: a program may have another one for a small image, every second pixel of every second row, which is coded first.
Maps made of what it tells (`ahead`) are known everywhere before the first pixel of the large image.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pixcodec.errors import ModelError
from pixcodec.exact.network import STREAM_LIMIT, Product
from pixcodec.exact.operations import (
    GATES,
    HALVES,
    IMAGE,
    KNOWN,
    SIGNED,
    Add,
    Convolve,
    Gate,
    Join,
    Operation,
    Recur,
    Rescale,
)
from pixcodec.exact.program_check import problems

if TYPE_CHECKING:
    from collections.abc import Mapping

SMALL = "small"  # the key of a card that holds the small image's program, and what its tensors' names begin with
FACTOR = 2  # rows and columns of the large image a row and column of the small one


@dataclass(frozen=True)
class Program:
    """A frozen network.

    Attributes:
        card: the JSON card; "channels", "levels", "groups", "output", "tile" and "program" belong to the identity.
        operations: in an order in which every map is made before it is read.
        widths: features of each map.
        parts: how many times a map's features come, one after the other, each in colour groups.
        identity: SHA-256 of all that decides a coded bit.
        small: of the small image, where there is one.
    """

    card: dict[str, Any]
    operations: tuple[Operation, ...]
    widths: dict[str, int]
    parts: dict[str, int]
    identity: bytes
    small: Program | None = None
    stacked: ClassVar[bool] = True
    known: ClassVar[int] = 0  # planes of other groups

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
        found = {IMAGE: (-128, 127), KNOWN: (-128, 127)}
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
    def ahead(self) -> frozenset[str]:
        """Maps made of what the small image tells, and of nothing else."""
        found = {KNOWN} if self.small is not None else set()
        for op in self.operations:
            if not isinstance(op, Recur | Join) and all(source in found for source in op.sources):
                found.add(op.target)
        return frozenset(found)

    @cached_property
    def causal_taps(self) -> tuple[tuple[int, int], ...]:
        """Every tap that looks at what becomes known pixel by pixel."""
        return tuple(
            tap
            for op in self.operations
            if isinstance(op, Recur) or (isinstance(op, Convolve) and op.source not in self.ahead)
            for tap in op.taps
        )

    @cached_property
    def above(self) -> frozenset[str]:
        """Maps that hold nothing of their own row (the vertical stack of gated networks)."""
        found: set[str] = set()
        for op in self.operations:
            if isinstance(op, Convolve):
                held = all(dy > 0 or op.source in found for dy, _ in op.taps)
            else:
                held = not isinstance(op, Recur) and all(source in found for source in op.sources)
            if held and op.target not in self.ahead:
                found.add(op.target)
        return frozenset(found)

    @cached_property
    def by_rows(self) -> bool:
        """Whether pixels must go in raster order: something needs all of the row above, or looks right in its own."""
        from_right = any(isinstance(op, Recur) and op.direction == "right" for op in self.operations)
        return from_right or any(dy == 0 and dx > 0 for dy, dx in self.causal_taps)

    @cached_property
    def slope(self) -> int:
        """The least s with s dy - dx >= 1 at every tap: pixels of one x + s y go in one step (0: raster order)."""
        if self.by_rows:
            return 0
        return max([1, *(-(-(1 + dx) // dy) for dy, dx in self.causal_taps if dy > 0)])

    @classmethod
    def build(cls, card: dict[str, Any], tensors: Mapping[str, np.ndarray]) -> Program:
        """A program from its card and tensors; `ModelError` unless all is in place, causal, and the bound holds."""
        try:
            program = _assemble(card, tensors)
            problem = next(problems(program), None)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            problem = f"the model's card and tensors do not fit together ({error!r})"
            raise ModelError(f"{problem}; fetch the model anew") from None
        if problem:
            raise ModelError(f"{problem}; freeze the model anew")
        return program

    @cached_property
    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(1, inputs of all taps, outputs of a pass) of every product, each once: what back ends must prove."""
        found = set() if self.small is None else set(self.small.shapes)
        for op in self.operations:
            if isinstance(op, Convolve | Recur):
                taps, inputs, _ = op.product.weight.shape
                made = op.target if isinstance(op, Convolve) else op.source
                found |= {(1, taps * inputs, len(self.columns(made, group))) for group in range(self.groups)}
        return tuple(sorted(found))

    def products(self) -> dict[str, Product]:
        """All products by their target's name."""
        smaller = {} if self.small is None else self.small.products()
        own = {op.target: op.product for op in self.operations if isinstance(op, Convolve | Recur)}
        return {f"{SMALL}.{name}": product for name, product in smaller.items()} | own


DECIDING = ("channels", "levels", "groups", "output", "tile", "program")


def identity(card: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> bytes:
    """SHA-256 of the card's deciding parts and of all tensors, in little-endian order by name."""
    digest = hashlib.sha256()
    deciding = {key: card[key] for key in (*DECIDING, SMALL) if key in DECIDING or key in card}
    digest.update(json.dumps(deciding, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype.name} {list(array.shape)}".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.digest()


def _assemble(card: dict[str, Any], tensors: Mapping[str, np.ndarray]) -> Program:
    widths, parts = {IMAGE: int(card["channels"])}, {IMAGE: 1}
    small = None
    if SMALL in card:
        own = {name.removeprefix(f"{SMALL}."): t for name, t in tensors.items() if name.startswith(f"{SMALL}.")}
        small = _assemble({"tile": -(-int(card["tile"]) // FACTOR), **card[SMALL]}, own)
        widths[KNOWN], parts[KNOWN] = widths[IMAGE] + 1, 1
    operations = []
    for step in card["program"]:
        op = _operation(step, tensors, widths)
        if op.target in widths or any(source not in widths for source in op.sources):
            raise ValueError(f"{op.target} is made twice, or from what is not there")
        widths[op.target], parts[op.target] = _form(op, widths, parts)
        operations.append(op)
    return Program(card, tuple(operations), widths, parts, identity(card, tensors), small)


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
