"""Whether a frozen network of the paper may be run: its bounds, its causality, its recurrences, its outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pixcodec.exact.network import BOUND, STREAM_LIMIT
from pixcodec.exact.operations import BYTE, IMAGE, REACH, SIGNED, Convolve, Join, Recur, Rescale

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pixcodec.exact.operations import Operation
    from pixcodec.exact.program import Program


def problems(program: Program) -> Iterator[str]:
    """What is wrong with a program whose parts fit together, one sentence each."""
    if program.small is not None:
        yield from (f"small image: {problem}" for problem in problems(program.small))
        if (program.small.channels, program.small.levels) != (program.channels, program.levels):
            yield "the small image must have the channels and levels of the large one"
    if program.levels not in {2, 256} or program.channels not in {1, 3} or program.groups not in {1, program.channels}:
        yield f"{program.channels} channels of {program.levels} levels in {program.groups} groups cannot be coded"
    if program.tile < 1:
        yield "the longest side must be positive"
    yield from _output_problems(program)
    for op in program.operations:
        yield from _number_problems(program, op)
        yield from _recurrence_problems(program, op)
        yield from _look_ahead(program, op)


def _number_problems(program: Program, op: Operation) -> Iterator[str]:
    """Whether an operation's integers stay within their bits."""
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
    for dy, dx in op.taps:
        later = dy < 0 or (dy == 0 and dx > 0 and op.source not in program.above)
        if max(abs(dy), abs(dx)) > REACH or (later and op.source not in program.ahead):
            yield f"{op.target} sees ({dy}, {dx}) of {op.source}, which is not known in time"
    if (0, 0) in op.taps and op.source not in program.above | program.ahead:
        yield from _colours_ahead(program, op)


def _colours_ahead(program: Program, op: Convolve) -> Iterator[str]:
    """Whether an operation sees colours of the pixel itself that are not known yet."""
    weight = op.product.weight[[k for k, tap in enumerate(op.taps) if tap == (0, 0)]]
    for group in range(program.groups):
        known = group - 1 if op.source == IMAGE else group
        later = [program.columns(op.source, g) for g in range(known + 1, program.groups)]
        if program.groups == 1 and op.source == IMAGE:
            later = [np.arange(program.channels)]
        hidden = np.concatenate([np.empty(0, np.int64), *later])
        if weight[:, hidden][:, :, program.columns(op.target, group)].any():
            yield f"{op.target} sees colours of {op.source} that are not known in time"
