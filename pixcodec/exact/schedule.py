"""The order of a tile's calls, step by step: one text, which Python runs or which is compiled, so that Python rests.

`_read` and `_write` say what is called when, here or by the thread behind, and what must be done before; `now`, `post`,
`wait` and `pending` do it, in machine code with `Bound`, else with `_ByPython`.  The calls have numbers: for C
channels, rooms for rows of ROOMS steps, and W calls that code a channel

    PREPARE, LEARN, TRUNK, KNOW + room,
    and from LOOK on, ROOMS C of each: predictions, what the network says, what its head learns, what watches it;
    then (room C + c) W + w.
"""

from __future__ import annotations

import time
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from pixcodec.exact import ring
from pixcodec.exact.compiled import compiled, specialise
from pixcodec.exact.emit import INTP, emitted
from pixcodec.exact.expert_memory import TOGETHER
from pixcodec.exact.ring import BLOCKS, DONE, FIRST_NUMBER, MONOTONIC, POSTED, SIZE
from pixcodec.exact.steps import ALL_LANES, active_lanes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pixcodec.exact.emit import Value

ROOMS = 2  # steps whose counts are kept
PREPARE, LEARN, TRUNK, KNOW = range(4)
LOOK = KNOW + ROOMS
STAGES = ("trunk", "heads", "learn", "predict", "code", "wait")
_TRUNK, _HEADS, _LEARN, _PREDICT, _CODE, _WAIT = range(len(STAGES))
NUMBERS = 5  # of a call, at most
_DONE, _LATE, _EARLY, _SEEN, _LEARNED, _WRITTEN = range(6)  # of `state`, between steps
FAILURES = len(STAGES)  # behind the seconds


class Behind(Protocol):
    """What a schedule asks of the thread behind.

    Attributes:
        ring: its calls.
        threaded: whether there is a thread.
        compiled: whether calls may go to the ring by themselves.
        pending: how many calls are not done yet.
    """

    ring: np.ndarray

    @property
    def threaded(self) -> bool:
        """See above."""

    @property
    def compiled(self) -> bool:
        """See above."""

    @property
    def pending(self) -> int:
        """See above."""

    def stage(self, name: str) -> int:
        """The number of a stage in the ring."""

    def do(self, stage: str, function: Callable[..., object], *arguments: Any) -> int:
        """Have a call made."""

    def catch_up(self, number: int | None = None) -> None:
        """Wait for calls."""

    def posted_by(self, kept: object) -> None:
        """Something has put calls into the ring, which need what is `kept`."""


class Shape(NamedTuple):
    """What a schedule knows of a tile.

    Attributes:
        height, width, channels: of the tile.
        parts: of a step that is read while a thread makes frequencies.
        teachers: pixels of a step that a head learns from, at most; 0: none learns.
        watched: whether something looks on.
        coders: calls that code a channel.
    """

    height: int
    width: int
    channels: int
    parts: int
    teachers: int
    watched: bool
    coders: int


def _parts_of(first, last, most):  # type: ignore[no-untyped-def]
    """In how many parts a step is read, 1 or `most`, 0 without lanes; the second one's first lane, in whole groups."""
    blocks = last // TOGETHER + 1 - first // TOGETHER
    if last < first:
        return 0, last + 1
    if most == 1 or blocks == 1:
        return 1, last + 1
    return 2, TOGETHER * (first // TOGETHER + blocks // 2)


def _see(play, look, step, first, start, stop, rooms):  # type: ignore[no-untyped-def]
    """Have a channel predicted and what the network says of it made, of some lanes; the number of the last call."""
    post(play, _PREDICT, look, step, first, start, stop, 0)  # type: ignore[name-defined] # noqa: F821
    return post(play, _HEADS, look + rooms, step, first, start, stop, 0)  # type: ignore[name-defined] # noqa: F821


def _read(play, start, stop, shape, state):  # type: ignore[no-untyped-def]
    """Read a tile's steps from `start` to before `stop`.

    Behind what is read, what the network says of one part of a step is made while the other part is read, and heads and
    predictors learn.  When all channels of the first part are read, the next step is begun with what it leads to, while
    the second part is read: of the next step, lanes below `state[_DONE]` have their features, and where `state[_EARLY]`
    is set, what is said of its first part and channel is there when call `state[_SEEN]` is done.
    """
    channels, rooms = shape.channels, ROOMS * shape.channels
    teach, code = LOOK + 2 * rooms, LOOK + 4 * rooms
    for step in range(start, stop):
        (first, last), (next_first, next_last) = (
            active_lanes(step, shape.height, shape.width),
            active_lanes(step + 1, shape.height, shape.width),
        )
        room, number = step % ROOMS, last - first + 1
        own, others = room * channels, (1 - room) * channels
        parts, second = parts_of(first, last, shape.parts)  # type: ignore[name-defined] # noqa: F821
        seen0, seen1, early = state[_SEEN], 0, state[_EARLY]
        state[_EARLY] = 0
        if step == 0:
            now(play, _TRUNK, PREPARE, step, first, last, 0, 0)  # type: ignore[name-defined] # noqa: F821
        begin = max(first, state[_DONE])
        if begin <= last:
            now(play, _TRUNK, TRUNK, step, begin, last - begin + 1, begin - first, 0)  # type: ignore[name-defined] # noqa: F821
        now(play, _TRUNK, PREPARE, step + 1, next_first, next_last, 0, 0)  # type: ignore[name-defined] # noqa: F821
        if state[_LATE] and channels == 1:
            post(play, _LEARN, teach + others, state[_LATE], 0, 0, 0, 0)  # type: ignore[name-defined] # noqa: F821
        if parts > 0 and not early:
            seen0 = see(play, LOOK + own, step, first, first, second - 1, rooms)  # type: ignore[name-defined] # noqa: F821
        if parts > 1:
            seen1 = see(play, LOOK + own, step, first, second, last, rooms)  # type: ignore[name-defined] # noqa: F821
        if state[_LATE] and channels > 1:
            post(play, _LEARN, teach + others + channels - 1, state[_LATE], 0, 0, 0, 0)  # type: ignore[name-defined] # noqa: F821
        state[_DONE] = 0
        for c in range(channels if parts else 0):
            for k in range(parts):
                low, high = (first, second - 1) if k == 0 else (second, last)
                wait(play, seen0 if k == 0 else seen1)  # type: ignore[name-defined] # noqa: F821
                for w in range(shape.coders):
                    each = code + (own + c) * shape.coders + w
                    now(play, _CODE, each, step, low, low - first, high - low + 1, 0)  # type: ignore[name-defined] # noqa: F821
                if c + 1 < channels:
                    count = see(play, LOOK + own + c + 1, step, first, low, high, rooms)  # type: ignore[name-defined] # noqa: F821
                    seen0, seen1 = (count, seen1) if k == 0 else (seen0, count)
                else:
                    now(play, _HEADS, KNOW + room, step, first, low, high, 0)  # type: ignore[name-defined] # noqa: F821
                    if k + 1 < parts:
                        post(play, _PREDICT, LEARN, step, 0, second, 0, 0)  # type: ignore[name-defined] # noqa: F821
                        end = min(next_last, high)
                        if end >= next_first:
                            now(play, _TRUNK, TRUNK, step + 1, next_first, end - next_first + 1, 0, 0)  # type: ignore[name-defined] # noqa: F821
                        state[_DONE] = high + 1
                        next_parts, next_second = parts_of(next_first, next_last, shape.parts)  # type: ignore[name-defined] # noqa: F821
                        # A head that is first and last at once learns before it is seen again.
                        if next_parts > 0 and next_second <= second and channels > 1:
                            count = see(play, LOOK + others, step + 1, next_first, next_first, next_second - 1, rooms)  # type: ignore[name-defined] # noqa: F821
                            state[_EARLY], state[_SEEN] = 1, count
            if c + 1 < channels and shape.teachers:
                post(play, _LEARN, teach + own + c, min(number, shape.teachers), 0, 0, 0, 0)  # type: ignore[name-defined] # noqa: F821
        post(play, _PREDICT, LEARN, step, second if parts > 1 else 0, ALL_LANES, 0, 0)  # type: ignore[name-defined] # noqa: F821
        state[_LATE] = min(number, shape.teachers) if parts else 0


def _write(play, start, stop, shape, state):  # type: ignore[no-untyped-def]
    """Write a tile's steps from `start` to before `stop`.

    Predictions of a step need its symbols, which are known, and no network.  So predictors learn behind, while the
    network says what it does of the step, and symbols are written there, too.  Where one channel of the step before is
    not written yet, predictors learn from the first half of the lanes here, and from all where there are more.
    """
    channels, rooms = shape.channels, ROOMS * shape.channels
    for step in range(start, stop):
        first, last = active_lanes(step, shape.height, shape.width)
        room, number = step % ROOMS, last - first + 1
        own = room * channels
        look, say, teach, watch = LOOK + own, LOOK + rooms + own, LOOK + 2 * rooms + own, LOOK + 3 * rooms + own
        now(play, _TRUNK, PREPARE, step, first, last, 0, 0)  # type: ignore[name-defined] # noqa: F821
        if number > 0:
            now(play, _TRUNK, TRUNK, step, first, number, 0, 0)  # type: ignore[name-defined] # noqa: F821
        wait(play, max(state[_LEARNED], state[_WRITTEN + room]))  # type: ignore[name-defined] # noqa: F821
        for c in range(channels if number > 0 else 0):
            now(play, _PREDICT, look + c, step, first, first, last, 0)  # type: ignore[name-defined] # noqa: F821
        if number > 0:
            now(play, _HEADS, KNOW + room, step, first, first, last, 0)  # type: ignore[name-defined] # noqa: F821
        parts, second = parts_of(first, last, 2)  # type: ignore[name-defined] # noqa: F821
        waiting = pending(play)  # type: ignore[name-defined] # noqa: F821
        begin = 0 if waiting == 0 else second if waiting == 1 and parts > 1 else ALL_LANES
        if begin > 0:
            now(play, _PREDICT, LEARN, step, 0, begin, 0, 0)  # type: ignore[name-defined] # noqa: F821
        if begin < ALL_LANES:
            state[_LEARNED] = post(play, _PREDICT, LEARN, step, begin, ALL_LANES, 0, 0)  # type: ignore[name-defined] # noqa: F821
        for c in range(channels if number > 0 else 0):
            now(play, _HEADS, say + c, step, first, first, last, 0)  # type: ignore[name-defined] # noqa: F821
            for w in range(shape.coders):
                code = LOOK + 4 * rooms + (own + c) * shape.coders + w
                state[_WRITTEN + room] = post(play, _CODE, code, step, first, 0, number, 0)  # type: ignore[name-defined] # noqa: F821
            if shape.watched:
                now(play, _LEARN, watch + c, step, number, 0, 0, 0)  # type: ignore[name-defined] # noqa: F821
            if shape.teachers:
                now(play, _LEARN, teach + c, min(number, shape.teachers), 0, 0, 0, 0)  # type: ignore[name-defined] # noqa: F821


class Bound(NamedTuple):
    """All calls of a schedule, bound (`ring.Repeated`).

    Attributes:
        ring: of the thread behind.
        threaded: whether there is one.
        stages: int64[], of STAGES in the ring.
        blocks: int64[calls, BLOCKS], addresses. counts: int64[calls], numbers of each.
        turns: int64[calls], the next block of each. posted: int64[calls, BLOCKS], see `Repeated`.
        seconds: int64[stages + 1], nanoseconds by stage, and how many calls have failed.
    """

    ring: np.ndarray
    threaded: bool
    stages: np.ndarray
    blocks: np.ndarray
    counts: np.ndarray
    turns: np.ndarray
    posted: np.ndarray
    seconds: np.ndarray


def _set(block, count, a, b, c, d, e):  # type: ignore[no-untyped-def]
    """Write the numbers of a call."""
    at = block + FIRST_NUMBER
    for k in range(count):
        put(at + 8 * k, a if k == 0 else b if k == 1 else c if k == 2 else d if k == 3 else e)  # type: ignore[name-defined] # noqa: F821


def _now(play, stage, i, a, b, c, d, e):  # type: ignore[no-untyped-def]
    """Make a call at once."""
    began, block = clock(MONOTONIC), play.blocks[i, 0]  # type: ignore[name-defined] # noqa: F821
    set_numbers(block, play.counts[i], a, b, c, d, e)  # type: ignore[name-defined] # noqa: F821
    play.seconds[FAILURES] += call(block)  # type: ignore[name-defined] # noqa: F821
    play.seconds[stage] += clock(MONOTONIC) - began  # type: ignore[name-defined] # noqa: F821


def _wait(play, count):  # type: ignore[no-untyped-def]
    """Wait until so many calls were made behind."""
    if play.threaded and acquire(play.ring.ctypes.data + 8 * DONE) < count:  # type: ignore[name-defined] # noqa: F821
        began = clock(MONOTONIC)  # type: ignore[name-defined] # noqa: F821
        wait_for_ring(play.ring, count)  # type: ignore[name-defined] # noqa: F821
        play.seconds[_WAIT] += clock(MONOTONIC) - began  # type: ignore[name-defined] # noqa: F821


def _post(play, stage, i, a, b, c, d, e):  # type: ignore[no-untyped-def]
    """Have a call made behind; how many were posted with it."""
    if not play.threaded:
        now(play, stage, i, a, b, c, d, e)  # type: ignore[name-defined] # noqa: F821
        return 0
    turn, posted = play.turns[i], play.ring[POSTED] + 1
    wait(play, max(play.posted[i, turn], posted - SIZE))  # type: ignore[name-defined] # noqa: F821
    block = play.blocks[i, turn]
    set_numbers(block, play.counts[i], a, b, c, d, e)  # type: ignore[name-defined] # noqa: F821
    play.turns[i], play.posted[i, turn] = turn % (BLOCKS - 1) + 1, posted
    post_to_ring(play.ring, block, play.stages[stage])  # type: ignore[name-defined] # noqa: F821
    return posted


def _pending(play):  # type: ignore[no-untyped-def]
    """How many calls behind are not done yet."""
    if not play.threaded:
        return 0
    return play.ring[POSTED] - acquire(play.ring.ctypes.data + 8 * DONE)  # type: ignore[name-defined] # noqa: F821


def _emit_put(address: Value, number: Value) -> None:
    address.store(number, 8)


def _kernels() -> dict[str, Any]:
    """What schedules are made of."""
    own = {**ring.INSTRUCTIONS, "put": emitted([INTP, INTP], _emit_put)}
    own["clock"] = own.pop("now")
    own |= {"wait_for_ring": ring.wait, "post_to_ring": ring.post}
    own |= {"active_lanes": compiled()(active_lanes), "parts_of": compiled()(_parts_of)}
    functions: dict[str, Any] = {
        "set_numbers": _set,
        "now": _now,
        "wait": _wait,
        "post": _post,
        "pending": _pending,
        "see": _see,
    }
    for name, function in functions.items():
        own[name] = specialise(function, name, **own)
    return own


_COMPILED = _kernels()
_BY_PYTHON: dict[str, Any] = {
    "now": lambda play, *call: play.do(None, *call),
    "post": lambda play, *call: play.do(play.behind, *call),
    "wait": lambda play, count: play.wait(count),
    "pending": lambda play: play.behind.pending,
    "active_lanes": active_lanes,
    "parts_of": _parts_of,
}
_BY_PYTHON["see"] = FunctionType(_see.__code__, {**globals(), **_BY_PYTHON}, "see")


def _both(function: Callable[..., None], name: str) -> tuple[Callable[..., None], Callable[..., None]]:
    """A schedule for `Bound`, and the same for `_ByPython`."""
    by_python = FunctionType(function.__code__, {**globals(), **_BY_PYTHON}, name)
    return specialise(function, name, **_COMPILED), by_python


read, write = _both(_read, "read"), _both(_write, "write")


class _ByPython:
    """The same where a call is not compiled, or calls behind are not those of a ring."""

    def __init__(self, behind: Behind, calls: Sequence[ring.Repeated]) -> None:
        self.behind, self.calls = behind, calls
        self.seconds = [0.0] * len(STAGES)

    def do(self, behind: Behind | None, stage: int, i: int, *numbers: int) -> int:
        """Make a call now, or have it made."""
        began, call = time.perf_counter(), self.calls[i]
        own = tuple(int(number) for number in numbers[: call.count])
        posted = 0
        if behind is None:
            call(*own)
        else:
            posted = behind.do(STAGES[stage], call, *own)
        self.seconds[stage] += time.perf_counter() - began
        return posted

    def wait(self, count: int) -> None:
        """Wait for calls behind."""
        began = time.perf_counter()
        self.behind.catch_up(int(count))
        self.seconds[_WAIT] += time.perf_counter() - began


class Schedule:
    """The calls of a tile, which lie in the order that this module says.

    Args:
        kind: `read` or `write`.
        behind: the thread behind.
        calls: see above.
        shape: of the tile.
    """

    def __init__(self, kind: tuple[Any, Any], behind: Behind, calls: Sequence[ring.Repeated], shape: Shape) -> None:
        self._behind, self._calls, self._shape = behind, calls, shape
        self._state = np.zeros(_WRITTEN + ROOMS, np.int64)
        self._play: Bound | _ByPython
        if behind.compiled and all(call.bound for call in calls):
            size = len(calls)
            self._play = Bound(
                behind.ring, behind.threaded, np.array([behind.stage(name) for name in STAGES]),
                np.array([call.blocks for call in calls], np.int64), np.array([call.count for call in calls], np.int64),
                np.ones(size, np.int64), np.zeros((size, BLOCKS), np.int64), np.zeros(FAILURES + 1, np.int64),
            )  # fmt: skip
        else:
            self._play = _ByPython(behind, calls)
        self._run = kind[isinstance(self._play, _ByPython)]

    def run(self, start: int, stop: int) -> None:
        """Steps from `start` to before `stop`; `RuntimeError` where a compiled function has failed."""
        self._run(self._play, start, stop, self._shape, self._state)
        if isinstance(self._play, Bound):
            self._behind.posted_by(self._calls)
            if self._play.seconds[FAILURES]:
                raise RuntimeError("a compiled function has failed; there may be no memory left")

    @property
    def seconds(self) -> dict[str, float]:
        """What was done here, by stage."""
        unit = 1e-9 if isinstance(self._play, Bound) else 1
        return {name: float(spent) * unit for name, spent in zip(STAGES, self._play.seconds, strict=False)}
