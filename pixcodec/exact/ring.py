"""Calls that another thread makes in order, without Python's lock: a ring of them in memory that both threads see.

A ring is int64 numbers: how many calls were `POSTED` by its one writer and how many are `DONE` by its one reader, each
in a line of the cache of its own, whether to `STOP`, how many have `FAILED`, nanoseconds by `STAGE`, and two numbers a
call, the block that holds it (`compiled.Kernel.bind`) and its stage.  Who waits spins for some microseconds, then lets
others run, then sleeps: nobody is woken, which takes longer than most calls.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir

from pixcodec.exact.compiled import Kernel, specialise
from pixcodec.exact.emit import I32, I64, INTP, Value, aligned, emitted, vector_function
from pixcodec.exact.store import process, processor

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 64  # calls that can wait
POSTED, DONE, STOP, FAILED, STAGES = 0, 8, 16, 24, 32
MOST_STAGES = 16
CALLS = STAGES + MOST_STAGES
PAUSES, YIELDS = 1 << 10, 1 << 12  # turns of waiting after which others may run, and after which there is sleep
NAP = 50  # microseconds
MONOTONIC = 1  # clock
BLOCKS = 4  # of a call that is repeated; the first one never goes to a ring
KEPT, FIRST_NUMBER = 8, 16  # bytes from the start of a block, see `entry._Entry.emit_bound`


def ring() -> np.ndarray:
    """An empty one."""
    return aligned((CALLS + 2 * SIZE,), np.int64)


def _emit_acquire(address: Value) -> Value:
    return address.acquire()


def _emit_release(address: Value, value: Value) -> None:
    address.release(value)


def _emit_pause() -> Callable[[Value], None]:
    def emit(turn: Value) -> None:
        if processor()[0].startswith(("x86", "i")):
            vector_function(turn.builder, "llvm.x86.sse2.pause", ir.VoidType(), [])
            turn.builder.call(turn.builder.module.globals["llvm.x86.sse2.pause"], [])

    return emit


def _emit_yield(turn: Value) -> None:
    turn.builder.call(vector_function(turn.builder, "sched_yield", I32, []), [])


def _emit_sleep(microseconds: Value) -> None:
    b = microseconds.builder
    b.call(vector_function(b, "usleep", I32, [I32]), [microseconds.to(I32).value])


def _emit_now(clock: Value) -> Value:
    """Nanoseconds."""
    b = clock.builder
    place = b.alloca(ir.ArrayType(I64, 2))
    address = Value(b, b.ptrtoint(place, I64))
    b.call(vector_function(b, "clock_gettime", I32, [I32, I64]), [clock.to(I32).value, address.value])
    return address.load(I64) * 1_000_000_000 + (address + 8).load(I64)


def _emit_call(block: Value) -> Value:
    """What the function at the start of a block returns."""
    b = block.builder
    function = block.load(I64)
    kind = ir.FunctionType(I64, [I64]).as_pointer()
    return Value(b, b.call(b.inttoptr(function.value, kind), [block.value]))


INSTRUCTIONS = {
    "acquire": emitted([INTP], _emit_acquire, INTP),
    "release": emitted([INTP, INTP], _emit_release),
    "pause": emitted([INTP], _emit_pause()),
    "give_way": emitted([INTP], _emit_yield),
    "sleep": emitted([INTP], _emit_sleep),
    "now": emitted([INTP], _emit_now, INTP),
    "call": emitted([INTP], _emit_call, INTP),
}


def _rest(turn):  # type: ignore[no-untyped-def]
    """Let time pass, for the `turn`-th time in a row."""
    if turn < PAUSES:
        pause(turn)  # type: ignore[name-defined] # noqa: F821
    elif turn < YIELDS:
        give_way(turn)  # type: ignore[name-defined] # noqa: F821
    else:
        sleep(NAP)  # type: ignore[name-defined] # noqa: F821


rest = specialise(_rest, "rest", **INSTRUCTIONS)


def _serve(ring):  # type: ignore[no-untyped-def]
    """Make all calls of a ring, until it is to stop."""
    at, done = ring.ctypes.data, 0
    while True:
        turn = 0
        while acquire(at + 8 * POSTED) == done:  # type: ignore[name-defined] # noqa: F821
            if acquire(at + 8 * STOP) and acquire(at + 8 * POSTED) == done:  # type: ignore[name-defined] # noqa: F821
                return
            rest(turn)
            turn += 1
        place, began = CALLS + 2 * (done % SIZE), now(MONOTONIC)  # type: ignore[name-defined] # noqa: F821
        ring[FAILED] += call(ring[place])  # type: ignore[name-defined] # noqa: F821
        ring[STAGES + ring[place + 1]] += now(MONOTONIC) - began  # type: ignore[name-defined] # noqa: F821
        done += 1
        release(at + 8 * DONE, done)  # type: ignore[name-defined] # noqa: F821


def _post(ring, block, stage):  # type: ignore[no-untyped-def]
    """Append a call; there must be room."""
    at, posted = ring.ctypes.data, ring[POSTED]
    place = CALLS + 2 * (posted % SIZE)
    ring[place], ring[place + 1] = block, stage
    release(at + 8 * POSTED, posted + 1)  # type: ignore[name-defined] # noqa: F821


def _wait(ring, count):  # type: ignore[no-untyped-def]
    """Wait until so many calls were done since the beginning; how many have failed."""
    at, turn = ring.ctypes.data, 0
    while acquire(at + 8 * DONE) < count:  # type: ignore[name-defined] # noqa: F821
        rest(turn)
        turn += 1
    return ring[FAILED]


def _run(block):  # type: ignore[no-untyped-def]
    """Make the call that a block holds; 1 where it has failed, else 0."""
    return call(block)  # type: ignore[name-defined] # noqa: F821


def _stop(ring):  # type: ignore[no-untyped-def]
    """No more calls will follow."""
    release(ring.ctypes.data + 8 * STOP, 1)  # type: ignore[name-defined] # noqa: F821


serve = specialise(_serve, "serve", rest=rest, **INSTRUCTIONS)
post = specialise(_post, "post", **INSTRUCTIONS)
wait = specialise(_wait, "wait", rest=rest, **INSTRUCTIONS)
run = specialise(_run, "run", **INSTRUCTIONS)
stop = specialise(_stop, "stop", **INSTRUCTIONS)


class Repeated:
    """A call that is made many times: its first arguments are numbers that differ, all others stay.

    Compiled functions are bound once, in a few blocks: one to be called at once, and some for a ring, which take turns,
    so that calls may wait there with numbers of their own.

    Args:
        function: compiled or not.
        count: of the numbers.
        arguments: that follow them; they are kept.

    Attributes:
        count: of the numbers.
        blocks: their addresses; none where the function has no entry.
        bound: whether there are any.
    """

    def __init__(self, function: Callable[..., object], count: int, *arguments: Any) -> None:
        self._function, self.count, self._arguments = function, count, arguments
        self.blocks: list[int] = []
        self._numbers: list[Any] = []
        self._turn, self._posted = 1, [0] * BLOCKS
        for _ in range(BLOCKS):
            block = function.bind(*[0] * count, *arguments) if isinstance(function, Kernel) else None
            if block is None:
                break
            ctypes.c_int64.from_address(block + KEPT).value = 1
            self.blocks.append(block)
            self._numbers.append((ctypes.c_int64 * count).from_address(block + FIRST_NUMBER))
        self.bound = bool(self.blocks)

    def __call__(self, *numbers: int) -> None:
        """Make it now."""
        if not self.bound:
            self._function(*numbers, *self._arguments)
            return
        self._numbers[0][:] = numbers
        if run(self.blocks[0]):
            raise RuntimeError("a compiled function has failed; there may be no memory left")

    @property
    def awaited(self) -> int:
        """How many calls a ring must have done before this one can be posted again."""
        return self._posted[self._turn]

    def block(self, numbers: tuple[int, ...], posted: int) -> int:
        """The block of a call with these numbers, which is to be the `posted`-th of its ring, always the same one."""
        turn = self._turn
        self._turn = turn % (BLOCKS - 1) + 1
        self._numbers[turn][:] = numbers
        self._posted[turn] = posted
        return self.blocks[turn]

    def __del__(self) -> None:
        """Give the blocks back."""
        for block in self.blocks:
            process().free(ctypes.c_void_p(block))
