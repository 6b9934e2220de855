"""The .pxc file: every byte is accounted for, damage is found, nothing is believed before it is checked."""

from __future__ import annotations

import dataclasses
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixcodec import container
from pixcodec.container import Header
from pixcodec.errors import ContainerError, DamagedTileError, PixcodecError, UnsupportedImageError
from pixcodec.expert_names import ALL

ONE = Header(3, 2, "RGB", b"modelid8", 0, 16, 32, bytes(range(16)))
STREAM = Header(40, 17, "1", b"modelid8", container.ONE_STREAM, 32, 16, bytes(16))  # four tiles in one payload
FOUR = Header(40, 17, "L", b"modelid8", 0, 32, 16, bytes(16))
LEARNED = Header(40, 17, "L", b"modelid8", container.EXPERTS, 32, 16, bytes(16))
TILES = [b"first", b"", b"the third tile", b"4"]

# The bytes of ONE with the payload "payload!", as docs/format.md draws them.
GOLDEN = bytes.fromhex(
    "89505843 0d0a1a0a 00 01 00 03000000 02000000 0100 0200"
    "6d6f64656c696438 000102030405060708090a0b0c0d0e0f"
    "5237f4f3 c32cd90b 7061796c6f616421"
)


def test_the_bytes_of_a_file_never_change() -> None:
    assert container.pack(ONE, [b"payload!"]) == GOLDEN
    assert container.unpack(GOLDEN) == (ONE, [b"payload!"])


def test_a_file_of_one_stream_has_one_payload_whatever_its_tiles() -> None:
    data = container.pack(STREAM, [b"payload!"])
    assert len(data) == 55 + len(b"payload!")
    assert (data[9], data[10]) == (2, 1)
    assert (STREAM.tile_count, STREAM.payload_count, STREAM.one_stream, FOUR.one_stream) == (4, 1, True, False)
    with pytest.raises(ValueError, match="expected 1 payloads, found 4"):
        container.pack(STREAM, TILES)


def test_a_file_with_experts_says_so_and_has_a_payload_for_each_tile() -> None:
    data = container.pack(LEARNED, TILES)
    assert data[10] == 2
    assert data[11:47] == container.pack(FOUR, TILES)[11:47]
    assert [each.experts for each in (LEARNED, FOUR, STREAM)] == [ALL, 0, 0]
    assert (LEARNED.payload_count, LEARNED.one_stream) == (4, False)


def test_one_tile_costs_at_most_56_bytes() -> None:
    assert len(container.pack(ONE, [b""])) == 55


@pytest.mark.parametrize(
    ("header", "tiles"), [(ONE, [b"x"]), (FOUR, TILES), (LEARNED, TILES), (STREAM, [b"all of them"])]
)
def test_what_is_packed_is_unpacked(header: Header, tiles: list[bytes]) -> None:
    data = container.pack(header, tiles)
    assert container.unpack(data) == (header, tiles)
    assert container.read_header(data) == header
    assert all(tile.sound for tile in container.inspect(data)[1])


@given(
    width=st.integers(1, 2**16),
    height=st.integers(1, 2**15),
    mode=st.sampled_from(["L", "RGB", "1"]),
    tile=st.tuples(st.integers(1, 2**16 - 1), st.integers(1, 2**16 - 1)),
    identity=st.binary(min_size=24, max_size=24),
)
def test_any_header_comes_back(width: int, height: int, mode: str, tile: tuple[int, int], identity: bytes) -> None:
    header = Header(width, height, mode, identity[:8], 0, tile[0] * 16, tile[1] * 16, identity[8:])
    if header.tile_count > 200:
        header = dataclasses.replace(header, tile_width=2**15, tile_height=2**15)
    tiles = [bytes([index % 256]) * (index % 3) for index in range(header.tile_count)]
    assert container.unpack(container.pack(header, tiles)) == (header, tiles)


@pytest.mark.parametrize("header", [ONE, FOUR])
def test_tiles_cover_every_pixel_once(header: Header) -> None:
    covered = np.zeros((header.height, header.width), int)
    for index in range(header.tile_count):
        left, top, right, bottom = header.tile_box(index)
        assert left < right
        assert top < bottom
        covered[top:bottom, left:right] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize(("header", "tiles"), [(ONE, [b"payload!"]), (FOUR, TILES), (STREAM, [b"payload!"])])
def test_a_flipped_bit_never_gives_another_file(header: Header, tiles: list[bytes]) -> None:
    data = container.pack(header, tiles)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises((ContainerError, DamagedTileError)):
            container.unpack(bytes(damaged))


@pytest.mark.parametrize(("header", "tiles"), [(ONE, [b"payload!"]), (FOUR, TILES), (STREAM, [b"payload!"])])
def test_a_cut_or_a_trailing_byte_is_an_error(header: Header, tiles: list[bytes]) -> None:
    data = container.pack(header, tiles)
    for length in range(len(data)):
        with pytest.raises((ContainerError, DamagedTileError)):
            container.unpack(data[:length])
    with pytest.raises(DamagedTileError):
        container.unpack(data + b"\0")


@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes_give_our_errors(junk: bytes, signed: bool) -> None:  # noqa: FBT001
    with pytest.raises(PixcodecError):
        container.unpack(container.SIGNATURE + junk if signed else junk)


@given(st.integers(0, 10**6), st.binary(max_size=8), st.integers(0, 3))
def test_damage_anywhere_gives_our_errors(position: int, new: bytes, cut: int) -> None:
    data = container.pack(FOUR, TILES)
    position %= len(data)
    damaged = data[:position] + new + data[position + cut :]
    if damaged == data:
        return
    with pytest.raises((ContainerError, DamagedTileError)):
        container.unpack(damaged)


def test_a_damaged_tile_is_named_and_the_others_stay_readable() -> None:
    data = bytearray(container.pack(FOUR, TILES))
    data[-3] ^= 1  # in the third tile
    with pytest.raises(DamagedTileError, match="tile 2 of 4") as raised:
        container.unpack(bytes(data))
    assert raised.value.tile == 2
    header, tiles = container.inspect(bytes(data))
    assert header == FOUR
    assert [tile.sound for tile in tiles] == [True, True, False, True]
    assert data[tiles[0].start : tiles[0].stop] == b"first"


def test_the_tiles_of_a_cut_file_can_be_looked_at() -> None:
    data = container.pack(FOUR, TILES)
    cut = data[: -len(b"third tile4")]
    header, tiles = container.inspect(cut)
    assert header == FOUR
    assert [tile.sound for tile in tiles] == [True, True, False, False]
    with pytest.raises(ContainerError, match="cut: tile 2"):
        container.unpack(cut)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:0], "no bytes at all"),
        (lambda data: data[:5], "cut"),
        (lambda data: b"\x89PNG\r\n\x1a\n" + data[8:], "expected a .pxc"),
        (lambda data: data.replace(b"\r\n", b"\n"), "text mode"),
        (lambda data: bytes([data[0] & 127]) + data[1:], "text mode"),
        (lambda data: data[:8] + b"\x01" + data[9:], "version 1 .* update"),
        (lambda data: data[:11] + bytes(4) + data[15:], "0x2"),
        (lambda data: data[:19] + bytes(2) + data[21:], "0x32"),
    ],
)
def test_each_kind_of_damage_is_called_by_its_name(change, message: str) -> None:  # noqa: ANN001
    with pytest.raises(ContainerError, match=message):
        container.unpack(change(GOLDEN))


@pytest.mark.parametrize(
    ("field", "value"), [(9, 6), (9, 77), (10, 3), (10, 5), (10, 7), (10, 32), (10, 70), (10, 130)]
)
def test_modes_and_settings_of_later_versions_are_refused_by_number(field: int, value: int) -> None:
    head = bytearray(GOLDEN[:51])
    head[field] = value
    data = bytes(head) + struct.pack("<I", zlib.crc32(head)) + GOLDEN[55:]
    with pytest.raises(ContainerError, match=f"{'mode' if field == 9 else 'settings'} {value}"):
        container.unpack(data)


@pytest.mark.parametrize("settings", range(32))
def test_settings_are_bits_and_a_mask_comes_before_a_record(settings: int) -> None:
    mask, record = 0x1234 if settings & 16 else 0, b"record" if settings & 8 else b""
    header = dataclasses.replace(ONE, settings=settings, mask=mask, record=record)
    alone, wants_experts = settings & 1 and settings & 22, settings & 16 and not settings & 2
    if alone or wants_experts:
        with pytest.raises(ValueError, match="settings that this version knows"):
            container.pack(header, [b"x"])
        return
    data = container.pack(header, [b"x"])
    optional = (b"\x34\x12" if mask else b"") + (b"\x06record" if record else b"")
    assert data[:47] == container.pack(ONE, [b"x"])[:10] + bytes([settings]) + container.pack(ONE, [b"x"])[11:47]
    assert data[47 : len(data) - 9] == optional
    assert container.unpack(data) == (header, [b"x"])
    assert header.experts == (mask or ALL if settings & 2 else 0)
    for end in range(len(data)):
        with pytest.raises((ContainerError, DamagedTileError)):
            container.unpack(data[:end])


def test_a_header_that_claims_millions_of_tiles_takes_no_memory() -> None:
    claim = bytearray(GOLDEN)
    claim[11:23] = struct.pack("<IIHH", 2**16 - 1, 2**15, 1, 1)  # 2**31 pixels, 8 million tiles
    tracemalloc.start()
    with pytest.raises(ContainerError, match="8388608 tiles"):
        container.unpack(bytes(claim))
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_images_beyond_the_limit_are_refused_when_written_and_when_read() -> None:
    large = dataclasses.replace(ONE, width=2**16, height=2**15 + 1)
    with pytest.raises(UnsupportedImageError, match="65536x32769"):
        container.pack(large, [b""])
    claim = bytearray(GOLDEN)
    claim[11:19] = struct.pack("<II", 2**16, 2**15 + 1)
    with pytest.raises(ContainerError, match="65536x32769"):
        container.unpack(bytes(claim))


@pytest.mark.parametrize(
    "wrong",
    [
        {"model_id": b"short"},
        {"digest": b"short"},
        {"tile_width": 17},
        {"width": 17, "height": 33},
        {"settings": 3},
        {"settings": 5},
        {"settings": 8},
        {"settings": 16, "mask": 1},
        {"settings": 18},
        {"settings": 2, "mask": 1},
        {"settings": 18, "mask": ALL},
        {"record": b"r"},
    ],
)
def test_a_header_that_contradicts_itself_is_not_written(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"expected|must"):
        container.pack(dataclasses.replace(ONE, **wrong), [b""])


def test_the_digest_sees_samples_shape_and_mode() -> None:
    planes = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert container.digest(planes, "RGB").hex() == "48e87c62c6d1fe55d5584562c649ff62"
    others = [planes.reshape(4, 2, 3), planes + 1, planes.reshape(8, 1, 3)]
    digests = {container.digest(each, "RGB") for each in (planes, *others)}
    digests.add(container.digest(planes.reshape(4, 6, 1), "L"))
    digests.add(container.digest(planes.reshape(6, 4, 1), "L"))
    assert len(digests) == 6


def test_the_digest_does_not_depend_on_the_memory_layout() -> None:
    planes = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    transposed = np.asfortranarray(planes)
    assert container.digest(transposed, "RGB") == container.digest(planes, "RGB")
