"""The order of a tile's calls: compiled and by Python the same, each lane once, and nothing before what it needs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pixcodec.behind import Behind
from pixcodec.exact import schedule, store
from pixcodec.exact.compiled import compiled
from pixcodec.exact.emit import LANES
from pixcodec.exact.ring import Repeated
from pixcodec.exact.steps import ALL_LANES, active_lanes, number_of_steps

SHAPES = {
    "wide": schedule.Shape(90, 170, 3, 2, 40, watched=True, coders=1),
    "high": schedule.Shape(170, 60, 3, 2, 1024, watched=False, coders=2),
    "gray": schedule.Shape(80, 140, 1, 2, 1024, watched=False, coders=1),
    "whole": schedule.Shape(90, 170, 2, 1, 0, watched=False, coders=1),
    "row": schedule.Shape(1, 5, 3, 2, 9, watched=True, coders=1),
}
KINDS = {"read": schedule.read, "write": schedule.write}


@compiled()
def _note1(a: int, call: int, log: np.ndarray) -> None:
    log[0, 0] += 1
    row = log[log[0, 0]]
    row[0], row[1] = call, a


@compiled()
def _note2(a: int, b: int, call: int, log: np.ndarray) -> None:
    _note1(a, call, log)
    log[log[0, 0], 2] = b


@compiled()
def _note3(a: int, b: int, c: int, call: int, log: np.ndarray) -> None:
    _note2(a, b, call, log)
    log[log[0, 0], 3] = c


@compiled()
def _note4(a: int, b: int, c: int, d: int, call: int, log: np.ndarray) -> None:
    _note3(a, b, c, call, log)
    log[log[0, 0], 4] = d


@compiled()
def _note5(a: int, b: int, c: int, d: int, e: int, call: int, log: np.ndarray) -> None:
    _note4(a, b, c, d, call, log)
    log[log[0, 0], 5] = e


NOTES = _note1, _note2, _note3, _note4, _note5


class _Apart(Behind):
    """One whose calls are not put into its ring by compiled functions."""

    @property
    def compiled(self) -> bool:
        return False


@compiled()
def _fail(step: int, _first: int, _last: int, size: int) -> None:
    if step >= size:
        raise MemoryError


def made(shape: schedule.Shape) -> tuple[list[Repeated], schedule.Shape, np.ndarray]:
    """Calls that note in the last one, whose first number is how many there were, their number and their numbers."""
    rooms = schedule.ROOMS * shape.channels
    counts = [3, 3, 4, *[4] * schedule.ROOMS, *[4] * 2 * rooms, *[1] * rooms, *[2] * rooms, *[4] * rooms * shape.coders]
    steps = number_of_steps(shape.height, shape.width)
    log = np.zeros((steps * (20 + 9 * shape.channels * shape.coders), 1 + schedule.NUMBERS), np.int64)
    return [Repeated(NOTES[count - 1], count, call, log) for call, count in enumerate(counts)], shape, log


def calls_of(kind: str, shape: schedule.Shape, behind: Behind) -> tuple[list[list[int]], schedule.Schedule]:
    """Number and numbers of all calls in their order, and the schedule after them."""
    every, _, log = made(shape)
    steps = number_of_steps(shape.height, shape.width)
    order = schedule.Schedule(KINDS[kind], behind, every, shape)
    for start in range(0, steps, 7):
        order.run(start, min(start + 7, steps))
    behind.catch_up()
    return log[1 : log[0, 0] + 1].tolist(), order


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SHAPES)
def test_python_and_compiled_code_make_the_same_calls(kind: str, name: str) -> None:
    shape = SHAPES[name]
    found, compiled_order = calls_of(kind, shape, Behind(thread=False))
    again, order = calls_of(kind, shape, _Apart(thread=False))
    assert again == found
    assert isinstance(compiled_order._play, schedule.Bound) == store.USABLE
    assert not isinstance(order._play, schedule.Bound)
    assert compiled_order.seconds.keys() == order.seconds.keys() == set(schedule.STAGES)
    assert order.seconds["code"] > 0


class Followed:
    """What calls have done so far, each of which must find what it needs."""

    def __init__(self, kind: str, shape: schedule.Shape) -> None:
        self.kind, self.shape, self.rooms = kind, shape, schedule.ROOMS * shape.channels
        self.prepared = set[int]()
        self.featured, self.learned = set[tuple[int, int]](), set[tuple[int, int]]()
        self.predicted, self.seen = set[tuple[int, int, int]](), set[tuple[int, int, int]]()
        self.coded, self.taught = Counter[tuple[int, int, int]](), Counter[int]()

    def active(self, step: int) -> tuple[int, int]:
        return active_lanes(step, self.shape.height, self.shape.width)

    def follow(self, call: int, *numbers: int) -> None:
        kind, place = divmod(call - schedule.LOOK, self.rooms)
        room, channel = divmod(place, self.shape.channels)
        if kind == 0:
            self.look(room, channel, *numbers)
        elif kind == 1:
            self.see(room, channel, *numbers)
        elif kind == 2:
            self.taught[channel] += 1
            assert 0 < numbers[0] <= self.shape.teachers
        elif kind == 3:
            assert self.shape.watched
        elif kind >= 4:
            self.code(
                *divmod((call - schedule.LOOK - 4 * self.rooms) // self.shape.coders, self.shape.channels), *numbers
            )
        elif call == schedule.PREPARE:
            self.prepared.add(numbers[0])
            assert numbers[1:3] == self.active(numbers[0])
        elif call == schedule.LEARN:
            self.learn(*numbers)
        elif call == schedule.TRUNK:
            self.trunk(*numbers)

    def trunk(self, step: int, first: int, rows: int, at: int, _: int) -> None:
        lanes = {(step, y) for y in range(first, first + rows)}
        assert step in self.prepared
        assert at == first - self.active(step)[0]
        assert not self.featured & lanes
        self.featured |= lanes
        start, stop = self.active(step - 1)  # of which these lanes and those above are known
        assert all(
            (step - 1, y, self.shape.channels - 1) in self.coded for y in range(start, min(stop + 1, first + rows))
        )

    def learn(self, step: int, begin: int, end: int, *_: int) -> None:
        lanes = {(step, y) for y in range(begin, min(end, self.shape.height))}
        assert not self.learned & lanes
        assert all((step, y) in self.learned for y in range(begin))
        assert begin % LANES == 0
        assert end == ALL_LANES or end % LANES == 0
        self.learned |= lanes
        start, stop = self.active(step)
        known = self.coded if self.kind == "read" else self.predicted
        assert all((step, y, self.shape.channels - 1) in known for y in range(max(start, begin), min(stop + 1, end)))

    def look(self, room: int, channel: int, step: int, first: int, start: int, stop: int, _: int) -> None:
        assert room == step % schedule.ROOMS
        assert first == self.active(step)[0]
        assert step == 0 or all((step - 1, y) in self.learned for y in range(stop + 1))
        for y in range(start, stop + 1):
            assert (step, y, channel) not in self.predicted
            assert self.kind == "write" or channel == 0 or (step, y, channel - 1) in self.coded
            self.predicted.add((step, y, channel))

    def see(self, room: int, channel: int, step: int, first: int, start: int, stop: int, _: int) -> None:
        assert room == step % schedule.ROOMS
        assert first == self.active(step)[0]
        before = [step for step in range(step) if self.active(step)[0] <= self.active(step)[1]]
        assert self.taught[channel] == len(before) * bool(self.shape.teachers)
        for y in range(start, stop + 1):
            assert (step, y) in self.featured
            assert (step, y, channel) in self.predicted
            assert (step, y, channel) not in self.seen
            self.seen.add((step, y, channel))

    def code(self, room: int, channel: int, step: int, first: int, at: int, number: int, _: int) -> None:
        assert room == step % schedule.ROOMS
        assert at == first - self.active(step)[0]
        for y in range(first, first + number):
            assert (step, y, channel) in self.seen
            self.coded[step, y, channel] += 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SHAPES)
def test_each_lane_is_seen_when_its_features_are_there_and_coded_when_it_is_seen(kind: str, name: str) -> None:
    shape = SHAPES[name]
    followed, channels = Followed(kind, shape), range(shape.channels)
    for call in calls_of(kind, shape, Behind(thread=False))[0]:
        followed.follow(*call)
    steps = range(number_of_steps(shape.height, shape.width))
    lanes = [range(first, last + 1) for first, last in map(followed.active, steps)]
    pixels = {(step, y) for step in steps for y in lanes[step]}
    assert followed.featured == pixels
    assert followed.learned == {(step, y) for step in steps for y in range(shape.height)}
    assert followed.seen == followed.coded.keys() == {(*pixel, channel) for pixel in pixels for channel in channels}
    assert set(followed.coded.values()) == {shape.coders}
    taught = [sum(map(bool, lanes)) if shape.teachers else 0] * shape.channels
    if shape.teachers and kind == "read":
        taught[-1] -= 1  # the last head's, which learns in the step behind: there is none
    assert [followed.taught[channel] for channel in channels] == taught


def test_a_call_that_fails_is_reported() -> None:
    every, shape, _ = made(SHAPES["row"])
    every[schedule.PREPARE] = Repeated(_fail, 3, 2)
    order = schedule.Schedule(schedule.write, Behind(thread=False), every, shape)
    order.run(0, 2)
    with pytest.raises(RuntimeError if store.USABLE else MemoryError):
        order.run(2, 5)
