"""What the commands do with images and files of one, alone or many side by side, and what is said about them."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from pixcodec import container, files, image
from pixcodec.errors import DigestError, PixcodecError
from pixcodec.progress import Passes, Tally, cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pixcodec.codec import Decoded
    from pixcodec.progress import Progress, Talk

    # Given a job, whom to tell what was done and how far it is, and `computing`: does it.
    Work = Callable[..., None]

BASE, PIXEL = (
    64 << 20,
    24,
)  # bytes that an image is taken to need, and each of its pixels: `benchmarks/speed.py --growth`


@dataclass(frozen=True)
class Job:
    """A file that is made of another.

    Args:
        source: its name, or - for standard input.
        target: likewise.
        pixels: how many the image has; 0 where its file does not say.
    """

    source: str
    target: str
    pixels: int = 0


class Memory:
    """What jobs that run side by side share: each begins when what it needs is there, or nobody else is at work.

    Args:
        most: bytes of all; None where there is no bound.
    """

    def __init__(self, most: int | None) -> None:
        self._most, self._used, self._changed = most, 0, threading.Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        """Have what an image of so many pixels needs."""
        need = BASE + PIXEL * pixels
        with self._changed:
            self._changed.wait_for(lambda: not self._used or self._most is None or self._used + need <= self._most)
            self._used += need
        try:
            yield
        finally:
            with self._changed:
                self._used -= need
                self._changed.notify_all()


def is_many(sources: Sequence[str], output: str | None) -> bool:
    """Whether several files are named, or may be: a folder, or one file that goes into a folder (`-o NAME/`)."""
    return len(sources) > 1 or Path(sources[0]).is_dir() or bool(output and output.endswith(("/", os.sep)))


def jobs(sources: Sequence[str], output: str | None, suffix: str, pixels: Callable[[str], int]) -> list[Job]:
    """A job for each of the files, those of folders and below among them; targets go beside them or to a folder.

    Raises:
        click.UsageError: two have one target, or one is standard input.
        PixcodecError: a folder cannot be read or made.
    """
    if files.STREAM in sources:
        message = "expected names of files, found - for standard input among several; encode or decode it alone"
        raise click.UsageError(message)
    found, _ = files.images_in(sources)
    made: dict[str, str] = {}
    for name, path in found:
        target = Path(path if output is None else Path(output, name)).with_suffix(suffix)
        if made.setdefault(str(target), path) != path:
            message = f"{made[str(target)]} and {path} would both become {target}; do them one by one, with -o"
            raise click.UsageError(message)
    for folder in set() if output is None else {str(Path(target).parent) for target in made}:
        files.make_folder(folder)
    return [Job(path, target, pixels(path)) for target, path in made.items()]


def each(
    todo: Sequence[Job], work: Work, label: str, talk: Talk, *, memory: int | None, computing: Mapping[str, Any]
) -> int:
    """Do all jobs, side by side on the cores, whatever becomes of the others; the exit code of the first to fail.

    Args:
        todo: the jobs.
        work: does one.
        label: what is done to them.
        talk: whom to tell.
        memory: megabytes that they may need together, as far as that is known beforehand.
        computing: of `codec.encode` and `codec.decode`; its threads are those of all, and a device does one at a time.
    """
    threads = 1 if computing.get("device") else computing.get("threads") or cores()
    beside = max(min(len(todo), threads), 1)
    own = dict(computing) if computing.get("device") else {**computing, "threads": threads // beside}
    bounds, failed = Memory(None if memory is None else memory << 20), {}
    with talk.bar(f"{label} {len(todo)} files") as bar:
        tally = Tally(bar, sum(job.pixels or 1 for job in todo))
        told = replace(talk, above=bar)

        def do(number: int) -> None:
            job = todo[number]
            with bounds.of(job.pixels):
                try:
                    work(job, told, Passes(tally.part(job.pixels or 1)), computing=own)
                except PixcodecError as error:
                    failed[number] = error.exit_code
                    told.show(files.complaint(error))

        with ThreadPoolExecutor(beside) as pool:
            try:
                for done in [pool.submit(do, number) for number in range(len(todo))]:
                    done.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    return failed[min(failed)] if failed else 0


def pixels_of(source: str) -> int:
    """How many pixels the image of a .pxc file has; 0 of an archive, and where the file does not say."""
    try:
        header = container.read_header(files.read_container(source))
    except PixcodecError:
        return 0
    return header.width * header.height


def encode(
    job: Job,
    talk: Talk,
    progress: Passes,
    *,
    force: bool,
    verify: bool,
    options: Mapping[str, Any],
    computing: Mapping[str, Any],
    explain: str | None = None,
) -> None:
    """Encode an image, compare what was written, and say so.

    Args:
        job: which.
        talk: whom to tell.
        progress: told of all passes.
        force: whether the target may be there already.
        verify: whether what was written is decoded.
        options: of `codec.encode`.
        computing: of `codec.encode` and `codec.decode`.
        explain: the file for a page that says where the bits are.
    """
    from pixcodec import codec

    source, target = job.source, job.target
    if not force:
        with files.named(target):
            files.refuse_existing(target)
    with files.named(source):
        picture = image.read(sys.stdin.buffer if source == files.STREAM else source)
        began = time.perf_counter()
        encoded = codec.encode(
            picture.planes,
            picture.mode,
            colours=picture.colours,
            jpeg=picture.jpeg,
            then=int(verify),
            progress=progress,
            **options,
            **computing,
        )
        seconds = time.perf_counter() - began
        if explain:
            from pixcodec import explain as explaining

            explaining.network_of(container.read_header(encoded.data))
    check = partial(_compare, picture, name=source, progress=progress.rest(), **computing) if verify else None
    with files.named(target):
        files.write(target, encoded.data, check)
    talk.note(encoded.note)
    shown = files.display(source)
    if picture.dropped:
        talk.say(f"{shown}: not kept in this version: {', '.join(picture.dropped)}")
    size = len(encoded.data)
    talk.say(
        f"{shown} -> {target}: {size} bytes, {8 * size / picture.planes.size:.3f} bits per sub-pixel"
        + (", verified" if verify else "")
        + (f"; {encoded.origin}" if encoded.origin else "")
    )
    talk.stages(encoded.seconds, encoded.steps, picture.planes.shape, seconds)
    if explain:
        name = Path(shown).name
        with files.named(source), talk.bar(f"explaining {name}") as bar:
            page = explaining.page(picture.planes, encoded.data, name, encoded.seconds, progress=bar, **computing)
        with files.named(explain):
            files.write(explain, page.encode())
        talk.say(f"{shown} -> {explain}: where its bits are")


def decode(job: Job, talk: Talk, progress: Progress, *, force: bool, computing: Mapping[str, Any]) -> None:
    """Decode a file, an archive too, and say so; see `encode`.

    Of an archive the target is a folder, the name without its suffix.
    """
    source, target = job.source, job.target
    with files.named(source):
        data = files.read_container(source)
        if container.is_archive(data):
            from pixcodec import archive_commands

            folder = str(Path(target).with_suffix(""))
            archive_commands.decode(data, source, folder, force=force, talk=talk, computing=dict(computing))
            return
    decode_one(data, job, talk, progress, force=force, computing=computing)


def decode_one(
    data: bytes, job: Job, talk: Talk, progress: Progress, *, force: bool, computing: Mapping[str, Any]
) -> None:
    """Decode the bytes of a file of one image."""
    from pixcodec import codec

    source, target = job.source, job.target
    suffix = ".png" if target == files.STREAM or not files.is_regular(target) else Path(target).suffix.lower()
    if suffix not in image.WRITE_FORMATS:
        message = f"{suffix or 'a name without suffix'} is no format that keeps every pixel; expected one of "
        raise click.UsageError(message + ", ".join(image.WRITE_FORMATS))
    with files.named(source):
        header = container.read_header(data)
    there = None if force or not files.exists(target) else _there(target, header)
    with files.named(source):
        began = time.perf_counter()
        decoded = codec.decode(data, progress=progress, **computing)
        seconds = time.perf_counter() - began
    talk.note(decoded.note)
    if there is not None and _same(there, decoded):
        talk.say(f"{target} holds exactly these pixels already: left as it is")
    else:
        with files.named(target):
            if there is not None:
                files.refuse_existing(target)
            stream = io.BytesIO()
            image.write(decoded.planes, decoded.mode, stream, image.WRITE_FORMATS[suffix][0], decoded.colours)
            files.write(target, stream.getvalue())
        talk.say(f"{files.display(source)} -> {target}: {header.width}x{header.height} {header.mode}")
    talk.stages(decoded.seconds, decoded.steps, decoded.planes.shape, seconds)


def _there(target: str, header: container.Header) -> image.Picture:
    """What the target holds; refused at once, before anything is decoded, where it cannot be these pixels."""
    with files.named(target):
        try:
            there = image.read(target)
        except PixcodecError:
            files.refuse_existing(target)
            raise
        if there.mode != header.mode or there.planes.shape[:2] != (header.height, header.width):
            files.refuse_existing(target)
    return there


def _same(picture: image.Picture, decoded: Decoded) -> bool:
    return (
        picture.mode == decoded.mode
        and picture.colours == decoded.colours
        and np.array_equal(picture.planes, decoded.planes)
    )


def _compare(picture: image.Picture, data: bytes, *, name: str, **options: Any) -> None:  # noqa: ANN401
    """Decode what was written and compare every sample; the file is not kept when one differs."""
    from pixcodec import codec

    with files.named(name):
        decoded = codec.decode(data, **options)
        if not _same(picture, decoded):
            message = "decoding gives other pixels than were encoded, so nothing was written; please report it"
            raise DigestError(message)
