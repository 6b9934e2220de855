"""A frozen program of the paper's networks, pixel by pixel in int64 (the definition).

    convolve  clamp(rint(float32(bias + sum over taps of x W) * scale), low, high)
    rescale   clamp(rint(float32(x) * scale), low, high)
    add       clamp(a + b, -32767, 32767)
    gate      clamp((TANH[a] SIGMOID[b] + 2^16) >> 17, -127, 127)                      in 1/128
    recur     [o, f, i, g] = gates + clamp(rint(float32(sum over places of h W) * scale), -32767, 32767)
              c = clamp((2 SIGMOID[f] c_before + SIGMOID[i] TANH[g] + 2^12) >> 13, -32767, 32767)   in 1/2048
              h = clamp((SIGMOID[o] TANH_CELL[c] + 2^16) >> 17, -127, 127)             in 1/128
    join      a(y, x) + b(y - 1, x)

The tables' arguments are clamped to what they hold: 8 either way.  >> is a floor.  Outside of the image every map is 0,
but the states and cells of a recurrence, which are its initial ones there; in a join b is 0 above the first row.

Of several scales, pixels of the small image (even rows and columns) are coded by the program `small` on that image, and
the large one's program, which sees all of it in the map `known`, codes the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pixcodec.exact import operations as form
from pixcodec.exact.reference.network import rescale
from pixcodec.exact.tables import CELL_LIMIT, GATE_LIMIT, sigmoid_gate, tanh_cell, tanh_gate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pixcodec.exact.program import Program

SIGMOID, TANH = sigmoid_gate(), tanh_gate()
STREAM = 32767
SIGNED = 127


def _gate(table: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A table's values at gate inputs in 1/256."""
    return table[np.clip(x, -GATE_LIMIT, GATE_LIMIT) + GATE_LIMIT].astype(np.int64)


def _at(values: np.ndarray, y: int, x: int, outside: np.ndarray) -> np.ndarray:
    """int64[features] of a map at a pixel, or what lies outside."""
    height, width, _ = values.shape
    return values[y, x] if 0 <= y < height and 0 <= x < width else outside


def _sum(bias: np.ndarray, weight: np.ndarray, seen: Sequence[np.ndarray]) -> np.ndarray:
    total = bias.astype(np.int64)
    for matrix, x in zip(weight.astype(np.int64), seen, strict=True):
        total = total + x @ matrix
    return total


def _pixels(height: int, width: int, direction: str = "rows") -> Iterator[tuple[int, int]]:
    """All pixels in an order in which an LSTM of a direction may go."""
    for y in range(height):
        for x in range(width)[::-1] if direction == "right" else range(width):
            yield y, x


def _convolve(op: form.Convolve, source: np.ndarray, y: int, x: int) -> np.ndarray:
    zero = np.zeros(source.shape[2], np.int64)
    seen = [_at(source, y - dy, x + dx, zero) for dy, dx in op.taps]
    return rescale(_sum(op.product.bias, op.product.weight, seen), op.product.scale, op.low, op.high)


def _recur(op: form.Recur, gates: np.ndarray) -> np.ndarray:
    height, width, count = gates.shape
    states = np.zeros((height, width, count // 4), np.int64)
    cells = states.copy()
    first_state, first_cell = op.initial.astype(np.int64)
    for y, x in _pixels(height, width, op.direction):
        seen = [_at(states, y - dy, x + dx, first_state) for dy, dx in op.taps]
        before = _sum(op.product.bias, op.product.weight, seen)
        o, f, i, g = np.split(gates[y, x] + rescale(before, op.product.scale, -STREAM, STREAM), 4)
        dy, dx = op.carry
        cell = 2 * _gate(SIGMOID, f) * _at(cells, y - dy, x + dx, first_cell)
        cell = np.clip((cell + _gate(SIGMOID, i) * _gate(TANH, g) + (1 << 12)) >> 13, -STREAM, STREAM)
        bent = tanh_cell()[np.clip(cell, -CELL_LIMIT, CELL_LIMIT) + CELL_LIMIT]
        cells[y, x] = cell
        states[y, x] = np.clip((_gate(SIGMOID, o) * bent + (1 << 16)) >> 17, -SIGNED, SIGNED)
    return states


def codes(planes: np.ndarray, levels: int) -> np.ndarray:
    """The image's map int64[H, W, C]: v - 128, or -32 and 32 of bilevel images."""
    values = planes.astype(np.int64)
    return 64 * values - 32 if levels == 2 else values - 128


def known(planes: np.ndarray, levels: int) -> np.ndarray:
    """The map int64[H, W, C + 1] of what a small image tells: at its pixels their codes and 32, elsewhere 0."""
    height, width, channels = planes.shape
    result = np.zeros((height, width, channels + 1), np.int64)
    for y in range(0, height, 2):
        for x in range(0, width, 2):
            result[y, x] = [*codes(planes[y, x], levels), 32]
    return result


def outputs(program: Program, planes: np.ndarray) -> np.ndarray:
    """Outputs int64[H, W, outputs] of every pixel of a known image uint8[H, W, C]."""
    height, width, _ = planes.shape
    maps = {form.IMAGE: codes(planes, program.levels)}
    if program.small is not None:
        maps[form.KNOWN] = known(planes, program.levels)
    for op in program.operations:
        sources = [maps[name] for name in op.sources]
        if isinstance(op, form.Recur):
            maps[op.target] = _recur(op, sources[0])
            continue
        result = np.zeros((height, width, program.widths[op.target]), np.int64)
        for y, x in _pixels(height, width):
            if isinstance(op, form.Convolve):
                result[y, x] = _convolve(op, sources[0], y, x)
            elif isinstance(op, form.Rescale):
                result[y, x] = rescale(sources[0][y, x], op.scale, op.low, op.high)
            elif isinstance(op, form.Add):
                result[y, x] = np.clip(sources[0][y, x] + sources[1][y, x], -STREAM, STREAM)
            elif isinstance(op, form.Gate):
                a, b = np.split(sources[0][y, x], 2)
                result[y, x] = np.clip((_gate(TANH, a) * _gate(SIGMOID, b) + (1 << 16)) >> 17, -SIGNED, SIGNED)
            else:
                zero = np.zeros(result.shape[2], np.int64)
                result[y, x] = sources[0][y, x] + _at(sources[1], y - 1, x, zero)
        maps[op.target] = result
    return maps[program.last]
