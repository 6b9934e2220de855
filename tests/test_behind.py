"""A thread behind another: calls in order, waiting for them, and those that fail."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from pixcodec.behind import Behind
from pixcodec.exact import ring, store
from pixcodec.exact.compiled import compiled

has_entries = pytest.mark.skipif(not store.USABLE, reason="without entries there are no threads behind")


@compiled()
def _append(numbers: np.ndarray, number: int) -> None:
    numbers[0] += 1
    numbers[numbers[0]] = number


@compiled()
def _wait_for(gate: np.ndarray, number: int, done: np.ndarray) -> None:
    while gate[0] < number:
        ring.rest(1 << 20)  # long enough to sleep
    done[0] += 1


@compiled()
def _fail(size: int) -> None:
    if size:
        raise MemoryError


@pytest.mark.parametrize("thread", [False, True])
def test_calls_are_done_in_order_compiled_or_not(thread: bool) -> None:  # noqa: FBT001
    done = np.zeros(2 * ring.SIZE + 2, np.int64)
    with Behind(thread=thread) as behind:
        for number in range(2 * ring.SIZE):
            behind.do("all", _append.function if number % 7 == 3 else _append, done, number)
        behind.catch_up()
        assert done[1 : done[0] + 1].tolist() == list(range(2 * ring.SIZE))


@compiled()
def _append_later(number: int, gate: np.ndarray, numbers: np.ndarray) -> None:
    while gate[0] == 0:
        ring.rest(1 << 20)
    numbers[0] += 1
    numbers[numbers[0]] = number


@pytest.mark.parametrize("thread", [False, True])
@pytest.mark.parametrize("kernel", [False, True])
def test_repeated_calls_keep_their_numbers_while_they_wait(thread: bool, kernel: bool) -> None:  # noqa: FBT001
    size = 2 * ring.SIZE
    gate, done = np.ones(1, np.int64), np.zeros(2 * size, np.int64)
    function = _append_later if kernel else _append_later.function
    call = ring.Repeated(function, 1, gate, done)
    assert call.bound == (kernel and store.USABLE)
    with Behind(thread=thread) as behind:
        gate[0] = not (thread and call.bound)  # as many as have blocks wait, then it is opened
        for number in range(size):
            behind.do("all", call, number)
            gate[0] |= number == ring.BLOCKS - 2
            if number % 5 == 4:
                behind.catch_up()
                call(-number)
        behind.catch_up()
    expected = [each for n in range(size) for each in ([n, -n] if n % 5 == 4 else [n])]
    assert done[1 : done[0] + 1].tolist() == expected


@has_entries
def test_catching_up_waits_for_the_first_calls_alone() -> None:
    gate, done = np.zeros(1, np.int64), np.zeros(1, np.int64)
    with Behind(thread=True) as behind:
        numbers = [behind.do("all", _wait_for, gate, number, done) for number in range(1, 6)]
        assert numbers == [1, 2, 3, 4, 5]
        gate[0] = 3
        behind.catch_up(3)
        assert done[0] == 3
        gate[0] = 5
        behind.catch_up()
        assert done[0] == 5


@has_entries
def test_a_call_that_fails_is_found_when_it_is_waited_for() -> None:
    with Behind(thread=True) as behind:
        behind.do("all", _fail, 1)
        with pytest.raises(RuntimeError, match="failed in a thread"):
            behind.catch_up()
    with Behind(thread=False) as behind, pytest.raises(MemoryError):
        behind.do("all", _fail, 1)


@has_entries
def test_the_thread_ends_with_its_context_after_all_calls_and_counts_their_seconds() -> None:
    before, done = threading.active_count(), np.zeros(1, np.int64)
    with Behind(thread=True) as behind:
        assert threading.active_count() == before + 1
        for stage in ("one", "two", "one"):
            behind.do(stage, _wait_for, done, 0, done)
    assert threading.active_count() == before
    assert done[0] == 3
    assert set(behind.seconds) == {"one", "two"}
    assert all(0 < seconds < 10 for seconds in behind.seconds.values())


def test_without_entries_there_is_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "USABLE", False)
    done = np.zeros(4, np.int64)
    with Behind(thread=True) as behind:
        assert not behind.threaded
        behind.do("all", _append, done, 7)
        assert done[:2].tolist() == [1, 7]
