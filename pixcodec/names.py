"""The names in an archive: proved safe, and packed so that numbered ones cost almost nothing (docs/format.md).

A name is a relative path with `/`.  What unpacks here stays inside the folder that it is joined to, on any system.

>>> len(pack([f"test_{number:05}.png" for number in range(9979)]))
18
"""

from __future__ import annotations

import re
import zlib
from itertools import takewhile
from typing import TYPE_CHECKING

from pixcodec.errors import ContainerError
from pixcodec.varint import Reader, varint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pixcodec.errors import PixcodecError

MAX_NAME_BYTES = 1024
MAX_PART_BYTES = 255  # what file systems allow between two slashes
MAX_TOTAL_BYTES = 2**26  # of all names together, unpacked
SHORTEST_RUN = 3
PLAIN, ZLIB = 0, 1

_NUMBER = re.compile(r"[0-9]+")
_MAX_DIGITS = 18  # so that a number fits 63 bits
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9]) *(\..*)?", re.IGNORECASE | re.DOTALL)


def natural_order(name: str) -> tuple[list[tuple[int, str]], str]:
    """Key of a sort in which a2 comes before a10."""
    parts = re.split(r"([0-9]+)", name)
    numbers = [part.lstrip("0") if index % 2 else "" for index, part in enumerate(parts)]
    texts = ["" if index % 2 else part for index, part in enumerate(parts)]
    return [(len(number), number + text) for number, text in zip(numbers, texts, strict=True)], name


def check(names: Sequence[str], error: type[PixcodecError]) -> None:
    """Raise `error` unless each name is safe to be written below a folder, and all of them together.

    A name is UTF-8 without control characters; between its slashes it has neither nothing, nor `.` or `..`, nor what
    Windows reads otherwise: a backslash or colon, a dot or blank at the end, a device such as `NUL`.  No name is given
    twice, and none is the folder of another.
    """
    total = 0
    for name in names:
        if problem := next(_problems(name), ""):
            message = f"expected names that are safe relative paths, found {name[:80]!r}, {problem}; rename it"
            raise error(message)
        total += len(name.encode())
    if total > MAX_TOTAL_BYTES:
        message = f"expected names of {MAX_TOTAL_BYTES} bytes in all at most, found {total}; make several archives"
        raise error(message)
    known = set(names)
    if len(known) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        message = f"expected every name once, found {twice[:80]!r} twice; rename one"
        raise error(message)
    for name in names:
        for slash in re.finditer("/", name):
            if name[: slash.start()] in known:
                message = f"expected images or folders, found {name[: slash.start()][:80]!r} as both; rename one"
                raise error(message)


def _problems(name: str) -> Iterator[str]:
    """Say what is wrong with a name."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        yield "which is no valid Unicode"
        return
    if size > MAX_NAME_BYTES:
        yield f"of {size} bytes, more than {MAX_NAME_BYTES}"
    if _CONTROL.search(name):
        yield "with a control character"
    if "\\" in name or ":" in name:
        yield "with a backslash or a colon"
    for part in name.split("/"):
        if part in {"", ".", ".."}:
            yield f"with the part {part!r}"
        elif len(part.encode()) > MAX_PART_BYTES:
            yield f"with a part of more than {MAX_PART_BYTES} bytes"
        elif part[-1] in ". " or _DEVICE.fullmatch(part):
            yield f"whose part {part!r} means something else on Windows"


def pack(names: Sequence[str]) -> bytes:
    """Return safe names as bytes, in their order; runs are found where the numbers follow each other."""
    body, last = bytearray(), b""
    for name, count, place in _runs(names):
        before = name[: place.start()] if place else name
        raw = before.encode()
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(raw, last, strict=False)))
        body += varint(count) + varint(shared) + varint(len(raw) - shared) + raw[shared:]
        last = name.encode()
        if place:
            after = name[place.end() :].encode()
            body += varint(len(after)) + after + varint(int(place[0])) + varint(len(place[0]))
            last = raw + _number(int(place[0]) + count - 1, len(place[0])) + after
    size = varint(len(body))
    compressed = zlib.compress(bytes(body), 9)
    return bytes([PLAIN]) + size + body if len(compressed) >= len(body) else bytes([ZLIB]) + size + compressed


def unpack(data: bytes, count: int) -> list[str]:
    """Return the `count` names that `pack` made `data` of, proved safe.

    Raises:
        ContainerError: damaged, unsafe, or more than the limits allow; memory is not reserved by numbers in the data.
    """
    reader = Reader(data, ContainerError, "the list of names")
    (packing,), size = reader.take(1), reader.number()
    if packing not in {PLAIN, ZLIB} or size > MAX_TOTAL_BYTES:
        message = f"the list of names has packing {packing} and {size} bytes, which is unknown to this pixcodec; update"
        raise ContainerError(message)
    body = reader.take(reader.left)
    body = body if packing == PLAIN else _inflate(body, size)
    if len(body) != size:
        message = f"the list of names is damaged: {size} bytes were packed, {len(body)} unpack; fetch the file anew"
        raise ContainerError(message)
    try:
        names = [name.decode() for name in _entries(body, count)]
    except UnicodeDecodeError:
        message = "expected names in UTF-8, found other bytes; do not trust the file"
        raise ContainerError(message) from None
    check(names, ContainerError)
    return names


def _entries(body: bytes, count: int) -> Iterator[bytes]:
    reader, total, last = Reader(body, ContainerError, "the list of names"), 0, b""
    while count:
        length, shared = reader.number(), reader.number()
        before = last[:shared] + reader.take(reader.number())
        after, first, digits = b"", 0, 0
        if length > 1:
            after, first, digits = reader.take(reader.number()), reader.number(), reader.number()
        longest = len(before) + len(after) + max(len(str(first + length)) if length > 1 else 0, digits)
        total += length * longest
        if (
            not 1 <= length <= count
            or shared > len(last)
            or longest > MAX_NAME_BYTES + 1
            or total > 2 * MAX_TOTAL_BYTES
        ):
            message = "the list of names is damaged: it holds others or more than the archive; fetch the file anew"
            raise ContainerError(message)
        for number in range(first, first + length):
            last = before + _number(number, digits) + after if length > 1 else before
            yield last
        count -= length
    reader.finish()


def _number(number: int, digits: int) -> bytes:
    return b"%0*d" % (digits, number)


def _inflate(data: bytes, size: int) -> bytes:
    """The zlib stream's content if it is `size` bytes, else other than `size` bytes, but never many more."""
    stream = zlib.decompressobj()
    try:
        body = stream.decompress(data, size + 1)
    except zlib.error:
        return b""
    return body if stream.eof and not stream.unused_data else b""


def _runs(names: Sequence[str]) -> Iterator[tuple[str, int, re.Match[str] | None]]:
    """Cut the names into runs: the first name, how many follow it with their numbers, where the number stands."""
    index = 0
    while index < len(names):
        place = next((each for each in _NUMBER.finditer(names[index]) if _follows(names, index, each)), None)
        count = 1
        while place and _follows(names, index, place, count):
            count += 1
        if count < SHORTEST_RUN:
            count, place = 1, None
        yield names[index], count, place
        index += count


def _follows(names: Sequence[str], index: int, place: re.Match[str], count: int = 1) -> bool:
    """Tell whether the name `count` after `index` is that name with the number at `place` grown by `count`."""
    if len(place[0]) > _MAX_DIGITS or index + count >= len(names):
        return False
    name, digits = names[index], len(place[0])
    return names[index + count] == f"{name[: place.start()]}{int(place[0]) + count:0{digits}}{name[place.end() :]}"
