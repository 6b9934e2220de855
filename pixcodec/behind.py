"""Work that a second thread does behind the first, in order: what is coded while the network goes on, and the like."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from pixcodec.exact import ring, store
from pixcodec.exact.compiled import Kernel

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self


class Behind:
    """Calls, done one after the other: by a thread of their own, or at once where there is none.

    Compiled functions go to the thread, which needs no Python; others are called when it has caught up.  As a context
    manager it ends the thread.

    Args:
        thread: whether there is one; where compiled functions have no entries (`store.USABLE`), there never is.

    Attributes:
        ring: the calls (`exact.ring`).
        posted: how many the thread was given.
    """

    def __init__(self, *, thread: bool) -> None:
        self.ring = ring.ring()
        self.posted = self._done = 0
        self._waiting: deque[tuple[int, object]] = deque()  # what must not go before so many calls are done
        self._stages: dict[str, int] = {}
        self._thread: threading.Thread | None = None
        if thread and store.USABLE:
            self._thread = threading.Thread(target=ring.serve, args=(self.ring,), daemon=True)
            self._thread.start()

    @property
    def threaded(self) -> bool:
        """Whether there is a thread."""
        return self._thread is not None

    @property
    def compiled(self) -> bool:
        """Whether compiled functions may put calls into the ring by themselves."""
        return True

    @property
    def pending(self) -> int:
        """How many calls are not done yet."""
        return 0 if self._thread is None else self.posted - int(self.ring[ring.DONE])

    def stage(self, name: str) -> int:
        """The number of a stage in the ring."""
        return self._stages.setdefault(name, len(self._stages))

    def posted_by(self, kept: object) -> None:
        """A compiled function has put calls into the ring, if there is a thread, which need what is `kept`."""
        if self._thread is not None:
            self.posted = int(self.ring[ring.POSTED])
            self._waiting.append((self.posted, kept))

    @property
    def seconds(self) -> dict[str, float]:
        """What the thread's calls took by stage."""
        return {stage: float(self.ring[ring.STAGES + k]) / 1e9 for stage, k in self._stages.items()}

    def do(self, stage: str, function: Callable[..., object], *arguments: Any) -> int:  # noqa: ANN401
        """Call a function, now or soon; arrays among `arguments` must stay as they are until it is done.

        Returns:
            The number of calls so far, for `catch_up`.
        """
        block, kept = None, arguments
        if self._thread is None:
            pass
        elif isinstance(function, ring.Repeated):
            if function.bound:
                self.catch_up(function.awaited)
                block, kept = function.block(arguments, self.posted + 1), (function,)
        elif isinstance(function, Kernel):
            block = function.bind(*arguments)
        if block is None:
            self.catch_up()
            function(*arguments)
            return self.posted
        self.catch_up(self.posted - ring.SIZE + 1)
        ring.post(self.ring, block, self.stage(stage))
        self.posted += 1
        self._waiting.append((self.posted, kept))
        return self.posted

    def catch_up(self, number: int | None = None) -> None:
        """Wait until the first `number` calls, or all, are done; `RuntimeError` where one has failed."""
        wanted = self.posted if number is None else number
        if wanted > self._done:
            failed, self._done = ring.wait(self.ring, wanted), wanted
            while self._waiting and self._waiting[0][0] <= wanted:
                self._waiting.popleft()
            if failed:
                raise RuntimeError("a compiled function has failed in a thread; there may be no memory left")

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the thread, after all calls."""
        if self._thread is not None:
            ring.stop(self.ring)
            self._thread.join()
