"""What the command line says while it works, on standard error: lines, and a bar with the time left."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    Progress = Callable[[int, int], None]  # (steps done, steps in all), from any thread

Item = TypeVar("Item")
Result = TypeVar("Result")
SHOW_ABOVE_SECONDS = 2.0
_DECIDE_AFTER_SECONDS = 0.3
_REDRAW_SECONDS = 0.1
_BAR_CELLS = 24
_SHOWN = 1e-9  # when a bar was drawn that is to be drawn anew: long ago
_LOG = logging.getLogger("pixcodec")


class _Listener(logging.Handler):
    """Hands on what is logged."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record.getMessage())


class ProgressBar:
    """A bar that appears when the whole will take over two seconds and standard error is a terminal.

    Calls come from any thread: ``bar(done, total)``, of one task; several passes are one `Tally`. Used as a context
    manager it says until then what is logged for users (that kernels are compiled), and wipes itself at the end.
    """

    def __init__(self, label: str, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._enabled = not quiet and self._stream.isatty()
        self._label = label
        self._lock = threading.Lock()
        self._began: float | None = None
        self._drawn = 0.0
        self._listener = _Listener(self._tell)

    def __call__(self, done: int, total: int) -> None:
        """Take note that ``done`` of ``total`` steps are finished."""
        if not self._enabled or total <= 0:
            return
        with self._lock:
            now = time.monotonic()
            if self._began is None:
                self._began = now
            elapsed = now - self._began
            if done <= 0 or elapsed < _DECIDE_AFTER_SECONDS or now - self._drawn < _REDRAW_SECONDS:
                return
            left = elapsed * (total - done) / done
            if self._drawn or elapsed + left > SHOW_ABOVE_SECONDS:
                self._drawn = now
                self._draw(done / total, left)

    def line(self, text: str) -> None:
        """Say a line above the bar, if there is one."""
        with self._lock:
            if self._drawn and self._enabled:
                self._write("\r\x1b[K")
                self._drawn = _SHOWN
            self._write(f"{text}\n")

    def __enter__(self) -> Self:
        """Return the bar itself, to be called."""
        if self._enabled:
            _LOG.addHandler(self._listener)
            _LOG.setLevel(logging.INFO)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wipe the bar, so that the next line starts on a clean one."""
        _LOG.removeHandler(self._listener)
        with self._lock:
            if self._drawn:
                self._write("\r\x1b[K")
            self._enabled = False

    def _tell(self, text: str) -> None:
        with self._lock:
            self._drawn = time.monotonic()
            self._write(f"\r{self._label}: {text}\x1b[K")

    def _draw(self, share: float, left: float) -> None:
        filled = round(share * _BAR_CELLS)
        tail = (
            f"  [{'#' * filled}{'.' * (_BAR_CELLS - filled)}] {share:4.0%}  {int(left) // 60}:{int(left) % 60:02} left"
        )
        room = shutil.get_terminal_size().columns - len(tail) - 1
        label = self._label if len(self._label) <= room else ".." + self._label[-max(room - 2, 1) :]
        self._write(f"\r{label}{tail}\x1b[K")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._enabled = False  # the terminal is gone; the work is not


@dataclass(frozen=True)
class Effort:
    """How coding went: seconds by stage (summed over threads), steps, and a note where something had to be given up."""

    seconds: dict[str, float]
    steps: int
    note: str = ""


class Passes:
    """A task's progress that knows how far it is, so that another task may take up what it leaves."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._last = progress, (0, 1)

    def __call__(self, done: int, total: int) -> None:
        """See `Progress`."""
        self._last = done, total
        self._progress(done, total)

    def rest(self) -> Progress:
        """The progress of one more task, to which all that is not done yet belongs."""
        before, whole = self._last

        def told(done: int, total: int) -> None:
            self(before + (whole - before) * done // max(total, 1), whole)

        return told


class Tally:
    """One progress made of many: parts, side by side or one after the other, each with steps of its own.

    Args:
        progress: told what is done of `total`; None for nobody.
        total: the weights of all parts together that are known to come.
    """

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total = progress, float(total)
        self._done = 0.0
        self._lock = threading.Lock()

    def more(self, weight: int) -> None:
        """Parts of so much weight come besides."""
        with self._lock:
            self._total += weight

    def part(self, weight: int) -> Progress:
        """Return the progress of a part that is `weight` of the total, and more once its own total grows."""
        before, unit, whole = 0.0, 0.0, 0.0

        def told(done: int, total: int) -> None:
            nonlocal before, unit, whole
            with self._lock:
                if not unit:
                    unit, whole = weight / max(total, 1), float(weight)
                now, then = unit * done, unit * total
                self._done, before = self._done + now - before, now
                self._total, whole = self._total + then - whole, then
                if self._progress is not None:
                    self._progress(round(self._done), round(self._total))

        return told


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], threads: int | None = None) -> list[Result]:
    """`work(item)` for each item, on so many threads, by default one a core; what is compiled releases the lock."""
    with ThreadPoolExecutor(min(threads or cores(), max(len(items), 1))) as pool:
        return list(pool.map(work, items))


@dataclass(frozen=True)
class Talk:
    """How much a command says; all of it goes to standard error, since standard output may be the file itself.

    Args:
        quiet: nothing but errors.
        verbose: where the time goes, too.
        above: the progress bar of all that is going on, above which lines are said; no other is drawn then.
    """

    quiet: bool
    verbose: bool
    above: ProgressBar | None = None

    def show(self, *lines: str) -> None:
        """Say lines, quiet or not."""
        if self.above is not None:
            self.above.line("\n".join(lines))
        else:
            print(*lines, sep="\n", file=sys.stderr)  # noqa: T201

    def say(self, line: str) -> None:
        """Say a line unless told to be quiet."""
        if not self.quiet:
            self.show(line)

    def note(self, text: str) -> None:
        """Say what the user should know though all went well; nothing where `text` is empty."""
        if text:
            self.say(f"pixcodec: {text}")

    def bar(self, label: str) -> ProgressBar:
        """Return a progress bar for one task."""
        return ProgressBar(label, quiet=self.quiet or self.above is not None)

    def stages(
        self, seconds: Mapping[str, float], steps: int, shape: tuple[int, ...], total: float | None = None
    ) -> None:
        """With -v, say where the time went: by stage, in pixels a second, steps of the wavefront, peak memory."""
        if not self.verbose:
            return
        lines = [f"  {stage:12} {spent:8.3f} s" for stage, spent in seconds.items()]
        pixels = shape[0] * shape[1]
        spent = sum(seconds.values()) if total is None else total
        rate = f"{pixels / spent:.0f} pixels a second" if spent > 0 else "too fast to time"
        self.show(*lines, f"  {pixels} pixels in {steps} steps, {spent:.3f} s, {rate}" + _peak_memory())


def _peak_memory() -> str:
    try:
        import resource
    except ImportError:  # Windows
        return ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in kilobytes, macOS in bytes.
    return f", peak memory {peak / (2**20 if sys.platform == 'darwin' else 2**10):.0f} MB"
