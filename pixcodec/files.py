"""Files as the command line sees them: names, ``-`` for the standard streams, writes that are whole or not at all."""

from __future__ import annotations

import os
import sys
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from pixcodec.errors import ContainerError, ImageReadError, OutputError, OutputExistsError, PixcodecError
from pixcodec.names import natural_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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


def complaint(error: PixcodecError) -> str:
    """The line that says what is wrong with which file."""
    return f"pixcodec: {error.file}: {error}" if error.file else f"pixcodec: {error}"


def refuse_terminal_or_folder(target: str, *, force: bool) -> None:
    """Refuse what no file can be written to: a folder, or, without `force`, the terminal."""
    if target == STREAM and sys.stdout.isatty() and not force:
        message = "the output is binary and would go to the terminal; give -o FILE, or -f if you mean it"
        raise click.UsageError(message)
    with named(target):
        if target != STREAM and Path(target).is_dir():
            message = "is a folder; expected a file's name, or a / at its end"
            raise OutputError(message)


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
    temporary = _temporary(path)
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


def images_in(sources: Iterable[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Return (name, path) of the files in folders and below, naturally sorted, and the hidden ones that it left out.

    A file of a folder is named by its path in the folder, any other by its own name.

    Raises:
        ImageReadError: a folder cannot be read, or holds a link to another, which is not followed.
    """
    found, hidden = [], []
    for source in sources:
        if not Path(source).is_dir():
            found.append((Path(source).name, source))
            continue
        for root, folders, names in os.walk(source, onerror=_unreadable):
            for name in [*folders, *names]:
                path = Path(root, name)
                if name.startswith("."):
                    hidden.append(str(path))
                elif name in names:
                    found.append((path.relative_to(source).as_posix(), str(path)))
                elif path.is_symlink():
                    with named(str(path)):
                        message = "is a link to a folder, which is not followed; give the folder itself, or remove it"
                        raise ImageReadError(message)
            folders[:] = [name for name in folders if not name.startswith(".")]
    return sorted(found, key=lambda each: natural_order(each[0])), sorted(hidden)


def _unreadable(error: OSError) -> NoReturn:
    with named(str(error.filename)):
        message = f"cannot be read ({error.strerror or error})"
        raise ImageReadError(message) from error


def refuse_filled(target: str) -> None:
    """Stop before anything is computed when a folder of this name has something in it.

    Raises:
        OutputExistsError: it has; the caller has not been told to overwrite.
        OutputError: it cannot be looked into.
    """
    with _told():
        if Path(target).is_dir() and any(Path(target).iterdir()):
            message = "is there already and not empty; give -f to overwrite files in it, or -o for another name"
            raise OutputExistsError(message)


def refuse_file(target: str) -> None:
    """Raise `OutputError` where the name of a folder is that of a file."""
    if Path(target).exists() and not Path(target).is_dir():
        message = "is a file; expected a folder's name"
        raise OutputError(message)


def make_folder(target: str) -> None:
    """Make a folder, and those that it lies in, unless they are there; `OutputError` where that cannot be."""
    with named(target), _told():
        Path(target).mkdir(parents=True, exist_ok=True)


def write_folder(target: str, contents: Iterable[tuple[str, bytes]]) -> None:
    """Write a folder whole or not at all: to a temporary one beside it, then renamed or moved into the one there is.

    Args:
        target: the folder's name. What it holds stays, but for files of the same names.
        contents: names, which are safe relative paths with "/" (`names.check`), and bytes. What it raises goes through,
            and nothing is written then.

    Raises:
        OutputError: it cannot be written, or a link in the target leads out of it.
    """
    path = Path(os.path.realpath(target))
    temporary = _temporary(path)
    try:
        with _told():
            temporary.mkdir()
        written = []
        for name, data in contents:
            with _told():
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                with (temporary / name).open("xb") as stream:
                    stream.write(data)
            written.append(name)
        with _told():
            if path.exists():
                _move_into(temporary, path, written)
            else:
                temporary.rename(path)
    finally:
        from shutil import rmtree

        rmtree(temporary, ignore_errors=True)


def _move_into(temporary: Path, path: Path, names: Iterable[str]) -> None:
    places = [path / name for name in names]
    for place in places:
        if not Path(os.path.realpath(place.parent)).is_relative_to(path) or place.is_dir():
            message = f"cannot be written ({place} is a folder, or in one that a link puts elsewhere); remove that"
            raise OutputError(message)
        place.parent.mkdir(parents=True, exist_ok=True)
    for place in places:
        (temporary / place.relative_to(path)).replace(place)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex[:8]}.tmp")


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"cannot be written ({error.strerror or error})"
        raise OutputError(message) from error
