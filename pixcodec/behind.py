"""Work that a second thread does behind the first, in order: what is coded while the network goes on, and the like."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self


class Behind:
    """Calls, done one after the other: by a thread of their own, or at once where there is none.

    What it calls must release Python's lock for most of its time.  As a context manager it ends the thread.

    Args:
        thread: whether there is one.

    Attributes:
        seconds: that the thread's calls took.
    """

    def __init__(self, *, thread: bool) -> None:
        self.seconds = 0.0
        self._waiting = 0
        self._calls: SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]] | None] = SimpleQueue()
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True) if thread else None
        if self._thread is not None:
            self._thread.start()

    def do(self, function: Callable[..., object], *arguments: Any) -> None:  # noqa: ANN401
        """Call a function, now or soon; `arguments` must stay as they are until it is done."""
        if self._thread is None:
            function(*arguments)
        else:
            self._calls.put((function, arguments))
            self._waiting += 1

    def catch_up(self, most: int = 0) -> None:
        """Wait until at most so many calls are not done; raise what one of the others raised."""
        while self._waiting > most:
            self._waiting -= 1
            problem = self._done.get()
            if problem is not None:
                raise problem

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the thread, after all calls."""
        if self._thread is not None:
            self._calls.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            began, problem = time.perf_counter(), None
            try:
                function, arguments = call
                function(*arguments)
            except BaseException as raised:  # noqa: BLE001  the other thread raises it again
                problem = raised
            self.seconds += time.perf_counter() - began
            self._done.put(problem)
