"""Files as the command line sees them: names, ``-`` for the standard streams, writes that are whole or not at all."""

from __future__ import annotations

import os
import sys
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pixcodec.errors import ContainerError, OutputError, OutputExistsError, PixcodecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STREAM = "-"


@contextmanager
def named(name: str) -> Iterator[None]:
    """Put a file's name to any `PixcodecError` that passes and has none yet."""
    try:
        yield
    except PixcodecError as error:
        if error.file is None:
            error.file = display(name)
        raise


def display(name: str) -> str:
    """Return how messages call a file."""
    return "standard input" if name == STREAM else name


def read_container(name: str) -> bytes:
    """Read a whole ``.pxc`` file, or standard input.

    Raises:
        ContainerError: it cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if name == STREAM else Path(name).read_bytes()
    except OSError as error:
        message = f"cannot be read ({error.strerror or error})"
        raise ContainerError(message) from error


def output_name(source: str, output: str | None, suffix: str) -> str:
    """Return the output's name: the one given, or the input's with another suffix; ``-`` goes to ``-``."""
    if output is not None:
        return output
    return STREAM if source == STREAM else str(Path(source).with_suffix(suffix))


def is_same(source: str, target: str) -> bool:
    """Tell whether two names are one file."""
    try:
        return STREAM not in {source, target} and Path(source).samefile(target)
    except OSError:
        return False


def exists(target: str) -> bool:
    """Tell whether there is a regular file to be lost; streams, pipes and devices are written to as they are."""
    return target != STREAM and Path(target).is_file()


def is_regular(target: str) -> bool:
    """Tell whether a write would make or replace a regular file, and not go into a device or a pipe."""
    path = Path(target)
    return not path.exists() or path.is_file()


def refuse_existing(target: str) -> None:
    """Stop before anything is computed when the target is there.

    Raises:
        OutputExistsError: it is; the caller has not been told to overwrite.
    """
    if exists(target):
        message = "is there already; give -f to overwrite it, or -o for another name"
        raise OutputExistsError(message)


def write(target: str, data: bytes, check: Callable[[bytes], None] | None = None) -> None:
    """Write a file whole or not at all: to a temporary file beside it, then renamed.

    Args:
        target: the file's name, or ``-`` for standard output.
        data: all of it.
        check: is given the bytes as read back from the disk, and raises when they are not right; the target is then
            untouched.

    Raises:
        OutputError: it cannot be written.
    """
    if target == STREAM:
        if check is not None:
            check(data)
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    path = Path(os.path.realpath(target))  # a symbolic link stays one, its target is replaced
    if not is_regular(target):
        if check is not None:
            check(data)
        with _told():
            path.write_bytes(data)  # a device or a pipe: renaming would replace it
        return
    temporary = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        # "x": no one else's file; opened plainly, so that the user's umask sets the permissions.
        with _told(), temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if check is not None:
            with _told():
                written = temporary.read_bytes()
            check(written)
        with _told():
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"cannot be written ({error.strerror or error})"
        raise OutputError(message) from error
