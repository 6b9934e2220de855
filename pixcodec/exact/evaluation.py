"""A frozen program evaluated: many images at once, all pixels of them or those of one step.

Every operation has one form, `_apply`, for a list of places and some of its features.  `outputs` runs each operation
over all places before the next one (only recurrences go line by line); `step` runs all operations over the places of
a step, pass by pass.  Both give the same integers.

All numbers are integers held in binary32, exact below 2^24; a place is y W' + x in maps with a margin, which holds what
lies outside of the image: zero, or an LSTM's initial state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pixcodec.exact.arrays import NumpyArrays
from pixcodec.exact.network import STREAM_LIMIT, Product
from pixcodec.exact.operations import GATES, HALVES, IMAGE, KNOWN, SIGNED, Add, Convolve, Gate, Recur, Rescale
from pixcodec.exact.program import FACTOR, Program
from pixcodec.exact.tables import CELL_LIMIT, GATE_LIMIT, sigmoid_gate, tanh_cell, tanh_gate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pixcodec.exact.operations import Operation

CELLS = ".cells"  # after the name of the states that they belong to
BILEVEL_CODE = 32  # codes of bilevel images are -32 and 32
KNOWN_CODE = 32  # in the last feature of `KNOWN` where the small image has a pixel


@dataclass(frozen=True)
class Places:
    """Some pixels: their places in maps with a margin, and which of the pixels in hand they are (None: all)."""

    flat: Any
    number: Any = None


class Evaluation:
    """Maps of some images and the operations on them.

    Maps of which other pixels are seen are kept whole, int[places, images, features]; of the others there is only what
    belongs to the pixels in hand (`_now`).

    Args:
        program: what to evaluate.
        images, height, width: how many images of which size.
        arrays: `arrays.KernelArrays`, or `arrays.NumpyArrays` (default).
    """

    def __init__(self, program: Program, images: int, height: int, width: int, arrays: Any = None) -> None:
        self.program, self.images, self.height, self.width = program, images, height, width
        self.arrays = arrays or NumpyArrays()
        taps = [tap for op in program.operations if isinstance(op, Convolve | Recur) for tap in op.taps]
        self._top = max([1, *(dy for dy, _ in taps)])
        self._below = max([0, *(-dy for dy, _ in taps)])
        self._side = max([1, *(abs(dx) for _, dx in taps)])
        self._stride = width + 2 * self._side
        self._groups = [None, *range(program.groups)] if program.groups > 1 else [None]
        self._columns = {
            (name, group): self.arrays.array(program.columns(name, group))
            for name in program.widths
            for group in self._groups
            if group is not None
        }
        self._products = {
            (op.target, group): self._prepared(op, group)
            for op in program.operations
            if isinstance(op, Convolve | Recur)
            for group in self._groups
        }
        self._scales = {op.target: self.arrays.array(op.scale) for op in program.operations if isinstance(op, Rescale)}
        self._tables = [self.arrays.array(table) for table in (sigmoid_gate(), tanh_gate(), tanh_cell())]
        self._kept = {name: self._map(program.widths[name], 0) for name in self._names_to_keep()}
        for op in program.operations:
            if isinstance(op, Recur):
                state, cell = op.initial.astype(np.float32)
                self._kept[op.target] = self._map(program.widths[op.target], state)
                self._kept[op.target + CELLS] = self._map(program.widths[op.target], cell)
        self._now: dict[str, Any] = {}
        by_rows = program.by_rows
        right = [op for op in program.operations if isinstance(op, Recur) and op.direction == "right"]
        self._before_row = [op for op in program.operations if by_rows and op.target in program.above]
        self._after_row = [op for op in right if by_rows]
        self._in_advance = self._needed_in_advance()
        made = {op.target for op in self._in_advance}
        read = {name for op in program.operations if op.target not in made for name in op.sources}
        own = (program.ahead & (read | {program.last})) - self._kept.keys()
        self._once_a_pixel = [op for op in program.operations if op.target in own]
        apart = program.ahead | {op.target for op in self._before_row + self._after_row}
        self._at_pixels = [op for op in program.operations if op.target not in apart]

    def _map(self, width: int, value: np.ndarray | float) -> Any:
        places = self._stride * (self._top + self.height + self._below)
        return self.arrays.full((places, self.images, width), value)

    def _names_to_keep(self) -> set[str]:
        """Maps of which other pixels are seen, or that are made before a row and read at its pixels."""
        program, keep = self.program, {IMAGE}
        if program.small is not None:
            keep.add(KNOWN)
        if program.by_rows and program.last in program.above:
            keep.add(program.last)
        for op in program.operations:
            if isinstance(op, Convolve) and any(tap != (0, 0) for tap in op.taps):
                keep.add(op.source)
            if isinstance(op, Recur) and op.direction == "right":
                keep.add(op.source)
            if program.by_rows and op.target not in program.above:
                keep.update(source for source in op.sources if source in program.above)
        return keep

    def _needed_in_advance(self) -> list[Operation]:
        """What makes the maps of the small image that are seen at other pixels too, in order."""
        program, wanted = self.program, set(self._kept)
        chosen: list[Operation] = []
        for op in reversed(program.operations):
            if op.target in program.ahead and op.target in wanted:
                chosen.append(op)
                wanted.update(op.sources)
        return chosen[::-1]

    def _prepared(self, op: Convolve | Recur, group: int | None) -> Any:
        """A product's features of a colour group, as the arrays want it."""
        form = op.product
        if group is not None:
            columns = self.program.columns(op.target if isinstance(op, Convolve) else op.source, group)
            weight = np.ascontiguousarray(form.weight[:, :, columns])
            form = Product(weight, form.bias[columns], form.scale[columns])
        source = op.source if isinstance(op, Convolve) else op.target
        return self.arrays.prepare(form, self.program.ranges[source])

    def places(self, rows: np.ndarray, columns: np.ndarray, number: np.ndarray | None = None) -> Places:
        """Pixels by row and column; `number`: which of the pixels in hand they are."""
        flat = (rows + self._top) * self._stride + columns + self._side
        chosen = None if number is None else self.arrays.array(number.astype(np.int64))
        return Places(self.arrays.array(flat.astype(np.int64)), chosen)

    def know(self, at: Places, channel: int, values: Any) -> None:
        """The image's values [places, images] of a channel."""
        self._kept[IMAGE][at.flat, :, channel] = self._codes(values)

    def _codes(self, values: Any) -> Any:
        return values * (2 * BILEVEL_CODE) - BILEVEL_CODE if self.program.levels == 2 else values - 128

    def know_small(self, values: Any) -> None:
        """Small images: binary32 integers [h w, images, C]; all that is made of them alone is made."""
        rows, columns = np.divmod(np.arange(values.shape[0]), -(-self.width // FACTOR))
        at, last = self.places(FACTOR * rows, FACTOR * columns), self.program.channels
        known = self._kept[KNOWN]
        known[at.flat, :, :last] = self._codes(values)
        known[at.flat, :, last] = KNOWN_CODE
        self._now = {}
        for op in self._in_advance:
            self._apply(op, self._everywhere(), None)

    def _everywhere(self) -> Places:
        return self.places(*np.divmod(np.arange(self.height * self.width), self.width))

    def median_edge(self, at: Places) -> np.ndarray:
        """MED predictions 0..255 of some pixels, int64[places * images, C], by NumPy; 128 lies outside."""
        left, upper, corner = (self.arrays.numbers(self._seen(IMAGE, at, *tap)) for tap in ((0, -1), (1, 0), (1, -1)))
        low, high = np.minimum(left, upper), np.maximum(left, upper)
        middle = np.maximum(low, np.minimum(high, left + upper - corner))
        return (middle + 128).reshape(-1, self.program.channels).astype(np.int64)

    def _seen(self, name: str, at: Places, dy: int = 0, dx: int = 0, group: int | None = None) -> Any:
        """[places, images, features] of what lies dy rows above and dx columns to the right."""
        if dy == 0 and dx == 0 and name in self._now:
            x = self._now[name] if at.number is None else self._now[name][at.number]
        else:
            x = self._kept[name][at.flat - (dy * self._stride - dx)]
        return x if group is None else x[..., self._columns[name.removesuffix(CELLS), group]]

    def _write(self, name: str, at: Places, group: int | None, value: Any) -> None:
        if group is not None:
            if name not in self._now:
                width = self.program.widths[name.removesuffix(CELLS)]
                self._now[name] = self.arrays.full((*value.shape[:2], width), 0)
            self._now[name][..., self._columns[name.removesuffix(CELLS), group]] = value
            value = self._now[name]
        elif at.number is None:
            self._now[name] = value
        if name in self._kept:
            self._kept[name][at.flat] = value

    def _product(self, op: Convolve | Recur, at: Places, group: int | None, low: int, high: int) -> Any:
        source = op.source if isinstance(op, Convolve) else op.target
        pieces = [self._seen(source, at, dy, dx) for dy, dx in op.taps]
        return self.arrays.product(pieces, self._products[op.target, group], low, high)

    def _apply(self, op: Operation, at: Places, group: int | None) -> None:
        """One operation at some places; all features, or those of a colour group."""
        arrays = self.arrays
        if isinstance(op, Convolve):
            value = self._product(op, at, group, op.low, op.high)
        elif isinstance(op, Rescale):
            scale = self._scales[op.target]
            if group is not None:
                scale = scale[self._columns[op.target, group]]
            value = arrays.rescaled(self._seen(op.source, at, group=group), scale, op.low, op.high)
        elif isinstance(op, Add):
            first, second = (self._seen(source, at, group=group) for source in op.sources)
            value = arrays.added(first, second, STREAM_LIMIT)
        elif isinstance(op, Gate):
            value = self._gate(self._seen(op.source, at, group=group))
        elif isinstance(op, Recur):
            value = self._recur(op, at, group)
        else:
            below_the_first = (at.flat >= (self._top + 1) * self._stride)[:, None, None]
            later = self._seen(op.sources[1], at, 1, 0, group) * below_the_first
            value = self._seen(op.sources[0], at, group=group) + later
        self._write(op.target, at, group, value)

    def _gate(self, gates: Any) -> Any:
        """tanh(a) sigmoid(b) in 1/128."""
        sigmoid, tanh, _ = self._tables
        index = self.arrays.integers(self.arrays.clamped(gates, GATE_LIMIT)) + GATE_LIMIT
        h = index.shape[-1] // HALVES
        product = tanh[index[..., :h]] * sigmoid[index[..., h:]]
        return self.arrays.floats(self.arrays.clamped((product + (1 << 16)) >> 17, SIGNED))

    def _recur(self, op: Recur, at: Places, group: int | None) -> Any:
        """States in 1/128; the cells are written."""
        sigmoid, tanh, tanh_cell = self._tables
        arrays = self.arrays
        gates = self._seen(op.source, at, group=group)
        gates = gates + self._product(op, at, group, -STREAM_LIMIT, STREAM_LIMIT)
        index = arrays.integers(arrays.clamped(gates, GATE_LIMIT)) + GATE_LIMIT
        h = index.shape[-1] // GATES
        o, f, i = (sigmoid[index[..., k * h : (k + 1) * h]] for k in range(3))
        before = arrays.integers(self._seen(op.target + CELLS, at, *op.carry, group))
        cell = (2 * f * before + i * tanh[index[..., 3 * h :]] + (1 << 12)) >> 13
        cell = arrays.clamped(cell, STREAM_LIMIT)
        self._write(op.target + CELLS, at, group, arrays.floats(cell))
        state = (o * tanh_cell[arrays.clamped(cell, CELL_LIMIT) + CELL_LIMIT] + (1 << 16)) >> 17
        return arrays.floats(arrays.clamped(state, SIGNED))

    def _lines(self, direction: str) -> Iterator[Places]:
        """Pixels of an LSTM's lines, which must go one after the other: rows, or diagonals from one corner."""
        rows, columns = np.divmod(np.arange(self.height * self.width), self.width)
        across = {"rows": 0 * columns, "left": columns, "right": self.width - 1 - columns}[direction]
        line = rows + across
        order = np.argsort(line, kind="stable")
        for number in np.split(order, np.flatnonzero(np.diff(line[order])) + 1):
            yield self.places(rows[number], columns[number], number)

    def outputs(self, values: Any) -> Any:
        """Outputs of known images, operation by operation.

        Args:
            values: binary32 integers [H W, images, C] of this evaluation's arrays.

        Returns:
            [H W, images, outputs], integers in binary32.
        """
        everywhere = self._everywhere()
        if self.program.small is not None:
            rows, columns = np.divmod(np.arange(self.height * self.width), self.width)
            small = (rows % FACTOR == 0) & (columns % FACTOR == 0)
            self.know_small(values[self.arrays.array(np.flatnonzero(small))])
        self._now = {}
        for channel in range(self.program.channels):
            self.know(everywhere, channel, values[..., channel])
        last_use = {source: n for n, op in enumerate(self.program.operations) for source in op.sources}
        for n, op in enumerate(self.program.operations):
            if isinstance(op, Recur):
                for line in self._lines(op.direction):
                    self._apply(op, line, None)
            else:
                self._apply(op, everywhere, None)
            for name in op.sources:
                if last_use[name] == n:
                    self._now.pop(name, None)
        return self._now.pop(self.program.last)

    def begin(self, rows: np.ndarray, columns: np.ndarray) -> Places:
        """A step's pixels; in raster order the first one of a row needs what the rows above give."""
        self._now = {}
        if self._before_row and columns[0] == 0:
            row = self.places(np.full(self.width, rows[0]), np.arange(self.width))
            for op in self._before_row:
                self._apply(op, row, None)
            self._now = {}
        at = self.places(rows, columns)
        for op in self._once_a_pixel:
            self._apply(op, at, None)
        return at

    def step(self, at: Places, group: int) -> Any:
        """Outputs [places, images, outputs of the group] of a step; its channels before `group` are known."""
        several = self.program.groups > 1
        for op in self._at_pixels:
            self._apply(op, at, group if several else None)
        return self._seen(self.program.last, at, group=group if several else None)

    def end(self, rows: np.ndarray, columns: np.ndarray) -> None:
        """A step's pixels are known; in raster order the last one of a row begins the way back from the right."""
        if self._after_row and columns[-1] == self.width - 1:
            self._now = {}
            for op in self._after_row:
                for x in range(self.width - 1, -1, -1):
                    at = self.places(rows[-1:], np.array([x]))
                    self._now = {}
                    self._apply(op, at, None)


def steps(program: Program, height: int, width: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and columns of each step's pixels, by ascending row: those of one x + slope y, or one in raster order."""
    slope = program.slope or width
    for t in range(width + slope * (height - 1)):
        first, last = max(0, (t - width + slope) // slope), min(height - 1, t // slope)
        if last >= first:
            rows = np.arange(first, last + 1)
            yield rows, t - slope * rows
