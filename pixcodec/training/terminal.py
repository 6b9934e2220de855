"""What the command lines of this package share: lines on standard error, and how they end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pixcodec.errors import PixcodecError

if TYPE_CHECKING:
    from collections.abc import Callable


def say(line: str) -> None:
    """Say a line, at once."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress belongs on the terminal


def ended(work: Callable[[], object]) -> int:
    """Do the work of a command line; its exit code, after a line where it failed."""
    try:
        work()
    except PixcodecError as error:
        say(f"error: {error}")
        return error.exit_code
    return 0
