"""An archive's bytes: names come back and stay in their folder, damage and bombs are found before they are believed."""

from __future__ import annotations

import dataclasses
import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixcodec import archive, container, names
from pixcodec.archive import Block
from pixcodec.errors import ContainerError, DamagedTileError, PixcodecError, UnsupportedImageError
from pixcodec.varint import Reader, varint

ONE = Block(b"modelid8", "1", 1, 28, 28, 32, 32, 3, bytes(range(16)))
TWO = Block(b"anothrid", "RGB", 2, 300, 2, 16, 16, 2, bytes(16))
NAMES = ["7.png", "8.png", "9.png", "a/b.png", "a/c.png"]
PAYLOADS = [b"payload!", b"2"]

# The bytes of ONE with the names 7.png, 8.png, 9.png and the payload "payload!", as docs/format.md draws them.
GOLDEN = bytes.fromhex(
    "89505843 0d0a1a0a 00 ff 33"
    "01 6d6f64656c696438"
    "01 02 01 00 1c 1c 02 02 03 08 5237f4f3 000102030405060708090a0b0c0d0e0f"
    "00 0a 03 00 00 04 2e706e67 07 01"
    "f0b3c91c 7061796c6f616421"
)

UNSAFE = [
    "",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/..",
    "./a",
    "a\\b",
    "..\\a",
    "C:a",
    "C:/a",
    "a.png:b",
    "a\0b",
    "a\nb",
    "a\x1b[2Jb",
    "a\x85b",
    "a.",
    "a ",
    "b./a",
    ".. /a",
    "NUL",
    "nul.png",
    "a/COM1 .png",
    "x" * 256,
    "x/" * 600 + "x",
    "\ud800",
]


def sealed(directory: bytes, payloads: bytes = b"") -> bytes:
    """An archive of any directory, with its checksum made right."""
    head = container.SIGNATURE + b"\0\xff" + varint(len(directory)) + directory
    return head + zlib.crc32(head).to_bytes(4, "little") + payloads


def directory(packed: bytes, count: int = 1, **changes: int) -> bytes:
    """A directory of one block of 1x1 gray images with these packed names."""
    fields = {"model": 0, "width": 1, "height": 1, "units_x": 1, "units_y": 1, "count": count, "length": 0} | changes
    kind = bytes([fields.pop("mode", 0), fields.pop("settings", 0)])
    return b"\1modelid8\1" + kind + b"".join(map(varint, fields.values())) + bytes(20) + packed


def test_the_bytes_of_an_archive_never_change() -> None:
    data = archive.pack([ONE], [b"payload!"], NAMES[:3])
    assert data == GOLDEN
    header, payloads = archive.unpack(GOLDEN)
    assert (header.blocks, header.names, payloads) == ((ONE,), tuple(NAMES[:3]), [b"payload!"])


def test_many_images_cost_a_few_hundred_bytes_and_33_a_block() -> None:
    listed = [f"test_{number:05}.png" for number in range(9979)]
    blocks = [dataclasses.replace(ONE, count=9979 // 20 + (number < 9979 % 20)) for number in range(20)]
    data = archive.pack(blocks, [bytes(10)] * 20, listed)
    assert len(data) - 20 * 10 < 20 * 34 + 50
    assert archive.unpack(data)[0].names == tuple(listed)


def test_what_is_packed_is_unpacked_and_the_header_needs_no_payload() -> None:
    data = archive.pack([ONE, TWO], PAYLOADS, NAMES)
    header, payloads = archive.unpack(data)
    assert (header.blocks, list(header.names), payloads) == ((ONE, TWO), NAMES, PAYLOADS)
    assert archive.read_header(data[: header.stored[0].start]) == header
    assert header.samples == 28 * 28 * 3 + 300 * 2 * 3 * 2


@given(st.data())
def test_any_blocks_come_back(data: st.DataObject) -> None:
    side = st.integers(1, 200)
    block = st.builds(
        Block,
        st.binary(min_size=8, max_size=8),
        st.sampled_from(["L", "RGB", "1"]),
        st.sampled_from((0, 1, 2, 4, 6)),
        side,
        side,
        st.integers(1, 65535).map(lambda units: 16 * units),
        st.integers(1, 65535).map(lambda units: 16 * units),
        st.integers(1, 5),
        st.binary(min_size=16, max_size=16),
    )
    some = st.builds(dataclasses.replace, block, settings=st.sampled_from((18, 22)), mask=st.integers(1, 8190))
    blocks = data.draw(st.lists(block | some, min_size=1, max_size=6))
    payloads = [data.draw(st.binary(max_size=9)) for _ in blocks]
    listed = [f"{number}" for number in range(sum(each.count for each in blocks))]
    header, back = archive.unpack(archive.pack(blocks, payloads, listed))
    assert (list(header.blocks), list(header.names), back) == (blocks, listed, payloads)


def test_a_flipped_bit_never_gives_another_archive() -> None:
    data = archive.pack([ONE, TWO], PAYLOADS, NAMES)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises((ContainerError, DamagedTileError)):
            archive.unpack(bytes(damaged))


def test_a_cut_or_a_trailing_byte_is_an_error() -> None:
    data = archive.pack([ONE, TWO], PAYLOADS, NAMES)
    for length in range(len(data)):
        with pytest.raises(ContainerError):
            archive.unpack(data[:length])
    with pytest.raises(ContainerError, match="bytes too many"):
        archive.unpack(data + b"\0")


def test_a_damaged_block_is_named() -> None:
    data = archive.pack([ONE, TWO], PAYLOADS, NAMES)
    with pytest.raises(DamagedTileError, match="block 1 of 2") as caught:
        archive.unpack(data[:-1] + b"?")
    assert caught.value.tile == 1


@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes_give_our_errors(junk: bytes, signed: bool) -> None:  # noqa: FBT001
    with pytest.raises(PixcodecError):
        archive.unpack(container.SIGNATURE + b"\0\xff" + junk if signed else junk)


@given(st.binary(max_size=200))
def test_an_arbitrary_directory_with_a_right_checksum_gives_our_errors(junk: bytes) -> None:
    for each in (junk, b"\1modelid8\1" + junk, directory(junk, 3)):
        with suppress(ContainerError):
            archive.read_header(sealed(each))


def test_images_and_archives_are_not_taken_for_each_other() -> None:
    with pytest.raises(ContainerError, match="found an archive of many"):
        container.unpack(archive.pack([ONE], [b""], NAMES[:3]))
    image = container.pack(container.Header(3, 2, "L", b"modelid8", 0, 16, 16, bytes(16)), [b""])
    with pytest.raises(ContainerError, match="found a file of one"):
        archive.read_header(image)
    for data in (b"", b"\x89PNG\r\n\x1a\n", container.SIGNATURE + b"\1\xff", container.SIGNATURE):
        with pytest.raises(ContainerError, match=r"no bytes|expected a \.pxc|version 1|cut"):
            archive.read_header(data)


RUN = names.pack(["a1", "a2", "a3"])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (directory(RUN, 3, mode=3), "mode 3"),
        (directory(RUN, 3, settings=3), "mode 0 with settings 3"),
        (directory(RUN, 3, settings=5), "mode 0 with settings 5"),
        (directory(RUN, 3, settings=8), "mode 0 with settings 8"),
        (directory(RUN, 3, model=1), "model 1 of 1"),
        (directory(RUN, 3, width=0), "0x1"),
        (directory(RUN, 3, width=2**31, height=2), "2147483648x2"),
        (directory(RUN, 3, width=2**15, height=2**15), "at most 268435456 sub-pixels"),
        (directory(RUN, 3, units_x=0), "0x16"),
        (directory(RUN, 0), "found 0 in 1"),
        (directory(RUN, 2**22), "found 4194304 in 1"),
        (directory(RUN, 2), "others or more than the archive"),
        (directory(RUN, 4), "cut or damaged"),
        (directory(RUN + b"\0", 3), "names is damaged"),
        (b"\1modelid8" + varint(2**40) + bytes(50), "1099511627776 entries"),
        (varint(2**50), "entries"),
        (b"\0\0" + RUN, "found 0 in 0"),
        (b"\xff" * 20, "no writer writes"),
        (b"\x80\0", "no writer writes"),
    ],
)
def test_each_directory_that_cannot_be_is_refused_in_one_line(bad: bytes, message: str) -> None:
    with pytest.raises(ContainerError, match=message) as caught:
        archive.read_header(sealed(bad))
    assert "\n" not in str(caught.value)


def plain(*entries: bytes) -> bytes:
    body = b"".join(entries)
    return bytes([names.PLAIN]) + varint(len(body)) + body


def run(count: int, before: bytes, after: bytes, first: int, digits: int) -> bytes:
    numbers = varint(first) + varint(digits)
    return varint(count) + b"\0" + varint(len(before)) + before + varint(len(after)) + after + numbers


@pytest.mark.parametrize(
    ("packed", "count"),
    [
        (bytes([names.ZLIB]) + varint(2**26) + zlib.compress(bytes(2**28), 9), 10),
        (bytes([names.ZLIB]) + varint(5) + zlib.compress(bytes(2**28), 9), 10),
        (bytes([names.ZLIB]) + varint(2**27) + zlib.compress(bytes(2**27), 9), 10),
        (plain(run(2**21, b"x" * 200, b"", 0, 7)), 2**21),
        (plain(run(2**50, b"", b"", 0, 1)), 2**21),
        (plain(run(3, b"", b"", 0, 2**40)), 3),
        (plain(run(3, b"", b"", 2**62, 1200)), 3),
        (bytes([2]) + RUN[1:], 3),
    ],
)
def test_a_bomb_of_names_takes_no_memory(packed: bytes, count: int) -> None:
    data = sealed(directory(packed, count))
    tracemalloc.start()
    with pytest.raises(ContainerError, match="names"):
        archive.read_header(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * names.MAX_TOTAL_BYTES


def test_a_directory_longer_than_the_limit_is_refused_before_it_is_read() -> None:
    data = container.SIGNATURE + b"\0\xff" + varint(archive.MAX_DIRECTORY_BYTES + 1) + bytes(100)
    with pytest.raises(ContainerError, match="exceed 16777216"):
        archive.read_header(data)


@pytest.mark.parametrize("name", UNSAFE)
def test_an_unsafe_name_is_neither_written_nor_believed(name: str) -> None:
    with pytest.raises(UnsupportedImageError, match="safe relative paths") as caught:
        archive.pack([dataclasses.replace(ONE, count=1)], [b""], [name])
    assert "\n" not in str(caught.value)
    raw = name.encode(errors="surrogatepass")
    packed = plain(b"\1\0" + varint(len(raw)) + raw)
    with pytest.raises(ContainerError, match=r"safe relative paths|UTF-8|damaged"):
        archive.read_header(sealed(directory(packed)))


@pytest.mark.parametrize(
    ("listed", "message"),
    [(["a", "b", "a"], "'a' twice"), (["a/b", "a"], "'a' as both"), (["a/b/c", "x", "a/b"], "'a/b' as both")],
)
def test_names_that_cannot_be_together_are_refused(listed: list[str], message: str) -> None:
    with pytest.raises(UnsupportedImageError, match=message):
        archive.pack([dataclasses.replace(ONE, count=len(listed))], [b""], listed)
    with pytest.raises(ContainerError, match=message):
        archive.read_header(sealed(directory(names.pack(listed), len(listed))))


@pytest.mark.parametrize(
    "name", ["a", ".hidden", "a b.png", "ä/日本.png", "...x", "console.png", "x" * 255, "a/b/c/d", "a'\"*"]
)
def test_ordinary_names_are_kept(name: str) -> None:
    assert names.unpack(names.pack([name]), 1) == [name]


PART = st.text(st.sampled_from("ab0189._ä-"), min_size=1, max_size=6) | st.integers(0, 2000).map(str)
NAME = st.lists(PART, min_size=1, max_size=3).map("/".join)


def safe(listed: list[str]) -> bool:
    try:
        names.check(listed, ContainerError)
    except ContainerError:
        return False
    return True


@given(st.lists(NAME, min_size=1, max_size=40, unique=True).filter(safe), st.booleans())
def test_any_names_come_back_in_their_order(listed: list[str], in_order: bool) -> None:  # noqa: FBT001
    listed = sorted(listed, key=names.natural_order) if in_order else listed
    assert names.unpack(names.pack(listed), len(listed)) == listed


@given(
    st.text("ab09", max_size=3), st.text(".p0", max_size=3).map(lambda end: end + "x"), st.integers(0, 1200),
    st.integers(1, 5), st.integers(1, 300),
)  # fmt: skip
def test_numbers_that_follow_each_other_are_one_entry(
    before: str, after: str, first: int, digits: int, count: int
) -> None:
    listed = [f"{before}-{number:0{digits}}-{after}" for number in range(first, first + count)]
    packed = names.pack(listed)
    assert len(packed) < 30
    assert names.unpack(packed, count) == listed


def test_names_of_data_sets_cost_almost_nothing() -> None:
    folders = [f"{kind}/{number:04}.png" for kind in ("airplane", "bird", "cat") for number in range(1000)]
    assert len(names.pack(folders)) < 80
    assert len(names.pack([f"test_{number:05}.png" for number in range(9979)])) == 18  # as its docstring says
    hashes = [zlib.crc32(bytes([number])).to_bytes(4, "big").hex() + "_photo.png" for number in range(200)]
    assert len(names.pack(sorted(hashes))) < 8 * 200


def test_natural_order_counts() -> None:
    listed = ["a10", "a2", "a02", "b1", "a", "a1b", "10", "9", "a/2", "A1"]
    assert sorted(listed, key=names.natural_order) == ["9", "10", "A1", "a", "a1b", "a02", "a2", "a10", "a/2", "b1"]
    assert sorted(["1" * 5000, "2" * 4999], key=names.natural_order) == ["2" * 4999, "1" * 5000]


@pytest.mark.parametrize(
    "wrong",
    [
        ([ONE], [b""], ["a"]),
        ([ONE], [], NAMES[:3]),
        ([dataclasses.replace(ONE, model_id=b"")], [b""], NAMES[:3]),
        ([dataclasses.replace(ONE, tile_width=17)], [b""], NAMES[:3]),
        ([dataclasses.replace(ONE, settings=3)], [b""], NAMES[:3]),
        ([dataclasses.replace(ONE, settings=5)], [b""], NAMES[:3]),
        ([dataclasses.replace(ONE, settings=10)], [b""], NAMES[:3]),
        ([dataclasses.replace(ONE, settings=18)], [b""], NAMES[:3]),
    ],
)
def test_what_contradicts_itself_is_not_written(wrong: tuple) -> None:
    with pytest.raises(ValueError, match=r"do not fit|expected|must"):
        archive.pack(*wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"count": 0}, "found 0"), ({"count": 2**21 + 1}, "found 2097153"), ({"width": 2**20, "height": 2**9}, "alone")],
)
def test_what_is_beyond_a_limit_is_not_written(change: dict, message: str) -> None:
    block = dataclasses.replace(ONE, **change)
    with pytest.raises(UnsupportedImageError, match=message):
        archive.pack([block], [b""], ["x"] * block.count)


@given(st.integers(0, 2**63 - 1))
def test_numbers_come_back_in_as_few_bytes_as_can_be(number: int) -> None:
    reader = Reader(varint(number), ContainerError, "it")
    assert reader.number() == number
    reader.finish()
    assert len(varint(number)) == max(1, -(-number.bit_length() // 7))


def test_numbers_that_do_not_fit_are_refused() -> None:
    for number in (-1, 2**63):
        with pytest.raises(ValueError, match="expected a number"):
            varint(number)
    assert varint(300).hex() == "ac02"


def test_the_digest_of_many_images_is_that_of_all_samples_in_order() -> None:
    images = np.arange(48, dtype=np.uint8).reshape(2, 2, 4, 3)
    assert container.digest(images[:1], "RGB") == container.digest(images[0], "RGB")
    digests = {container.digest(each, "RGB") for each in (images, images[::-1], images[:1], images.reshape(2, 4, 2, 3))}
    assert len(digests) == 4


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_the_streams_of_a_payload_come_back(streams: list[bytes]) -> None:
    payload = container.join(streams)
    assert container.split(payload) == streams
    if streams and streams[-1]:
        with pytest.raises(DamagedTileError, match="cut or damaged"):
            container.split(payload[:-1])
