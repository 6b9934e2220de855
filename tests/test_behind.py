"""A thread behind another: calls in order, waiting for them, and what they raise."""

from __future__ import annotations

import threading
import time

import pytest

from pixcodec.behind import Behind


@pytest.mark.parametrize("thread", [False, True])
def test_calls_are_done_in_order(thread: bool) -> None:  # noqa: FBT001
    done: list[int] = []
    with Behind(thread=thread) as behind:
        for number in range(100):
            behind.do(done.append, number)
        behind.catch_up()
        assert done == list(range(100))


def test_catching_up_leaves_at_most_so_many_calls() -> None:
    gate, done = threading.Semaphore(0), []

    def call(number: int) -> None:
        gate.acquire()
        done.append(number)

    with Behind(thread=True) as behind:
        for number in range(5):
            behind.do(call, number)
        gate.release(3)
        behind.catch_up(2)
        assert done[:3] == [0, 1, 2]
        gate.release(2)
        behind.catch_up()
        assert done == [0, 1, 2, 3, 4]


def test_what_a_call_raises_is_raised_when_it_is_waited_for() -> None:
    def fail() -> None:
        raise KeyError("lost")

    with Behind(thread=True) as behind:
        behind.do(fail)
        with pytest.raises(KeyError, match="lost"):
            behind.catch_up()
    with Behind(thread=False) as behind, pytest.raises(KeyError, match="lost"):
        behind.do(fail)


def test_the_thread_ends_with_its_context_and_counts_its_seconds() -> None:
    before = threading.active_count()
    with Behind(thread=True) as behind:
        assert threading.active_count() == before + 1
        behind.do(time.sleep, 0.02)
    assert threading.active_count() == before
    assert behind.seconds >= 0.02
