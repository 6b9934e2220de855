"""Images by stacked networks, around zlib: tiles of every size come back, in a file of one stream and in archives."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import pixcodec
from pixcodec import archive, archive_codec, codec, container, regions
from pixcodec.archive_codec import NamedImage
from pixcodec.errors import (
    ContainerError,
    DamagedTileError,
    DigestError,
    ModelError,
    PixcodecError,
    UnsupportedImageError,
)
from pixcodec.progress import Tally

if TYPE_CHECKING:
    from random import Random
    from types import ModuleType

pytestmark = pytest.mark.usefixtures("stacks")

RANDOM = np.random.default_rng(12)


def images(count: int, height: int, width: int, mode: str = "RGB") -> np.ndarray:
    """Samples that zlib finds something in."""
    shape = count, height, width, container.CHANNELS[mode]
    return RANDOM.integers(0, min(container.LEVELS[mode], 40), shape, np.uint8)


def named(planes: np.ndarray, mode: str = "RGB", name: str = "") -> list[NamedImage]:
    return [NamedImage(f"{name}{number}.png", each, mode) for number, each in enumerate(planes)]


def shapes_of_streams(count: int, height: int, width: int, tiles: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Tiles, height and width of each stream."""
    stacks = regions._stacks((count, height, width, 1), tiles)
    return [(stack.last - stack.first, stack.height, stack.width) for stack in stacks]


def test_tiles_go_by_region_inner_right_bottom_corner() -> None:
    assert shapes_of_streams(1, 70, 100, (32, 48)) == [(4, 32, 48), (2, 32, 4), (2, 6, 48), (1, 6, 4)]
    assert shapes_of_streams(5, 28, 28, (32, 32)) == [(5, 28, 28)]
    assert shapes_of_streams(5, 32, 40, (32, 32)) == [(5, 32, 32), (5, 32, 8)]
    assert shapes_of_streams(600, 64, 32, (32, 32)) == [(512, 32, 32), (512, 32, 32), (176, 32, 32)]


def test_the_tiles_of_a_stream_are_by_image_and_in_raster_order(
    stacks: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    planes, seen = images(2, 33, 48, "L"), []
    encode = stacks.encode
    monkeypatch.setattr(
        stacks, "encode", lambda part, *rest, **more: (seen.append(part), encode(part, *rest, **more))[1]
    )
    regions.encode(planes, stacks.NETWORKS["photo_gray"], (16, 32), threads=1)
    inner, right, bottom, corner = seen
    np.testing.assert_array_equal(inner[3], planes[1, 16:32, :32])
    np.testing.assert_array_equal(right[1], planes[0, 16:32, 32:])
    np.testing.assert_array_equal(bottom[1], planes[1, 32:, :32])
    np.testing.assert_array_equal(corner[0], planes[0, 32:, 32:])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 4), st.integers(1, 70), st.integers(1, 70), st.integers(1, 3), st.integers(1, 3), st.randoms())
def test_images_of_any_size_come_back_in_tiles_of_any(
    stacks: ModuleType, count: int, height: int, width: int, rows: int, columns: int, random: Random
) -> None:
    planes = np.frombuffer(random.randbytes(count * height * width), np.uint8).reshape(count, height, width, 1)
    network, tiles = stacks.NETWORKS["photo_gray"], (16 * rows, 16 * columns)
    streams, bits, _ = regions.encode(planes, network, tiles)
    assert bits == 8 * sum(map(len, streams))
    assert len(streams) <= 4
    back, effort = regions.decode(streams, planes.shape, network, tiles)
    np.testing.assert_array_equal(back, planes)
    assert effort.steps > 0
    for wrong in (streams[:-1], [*streams, b""]):
        with pytest.raises(DamagedTileError, match=r"streams, found|cannot hold"):
            regions.decode(wrong, planes.shape, network, tiles)


@pytest.mark.parametrize(
    ("mode", "size"), [("RGB", (20, 30)), ("L", (100, 33)), ("1", (28, 28)), ("1", (1, 1)), ("1", (100, 65))]
)
def test_a_picture_by_a_stacked_network_is_a_file_of_one_stream(mode: str, size: tuple[int, int]) -> None:
    (planes,) = images(1, *size, mode)
    seen: list[tuple[int, int]] = []
    encoded = codec.encode(planes, mode, progress=lambda done, total: seen.append((done, total)))
    header, payloads = container.unpack(encoded.data)
    assert (header.mode, header.settings, len(payloads)) == (mode, container.ONE_STREAM, 1)
    assert header.tile_count == -(-size[0] // 32) * -(-size[1] // 32)
    assert seen[-1] == (planes.size, planes.size)
    decoded = codec.decode(encoded.data)
    np.testing.assert_array_equal(decoded.planes, planes)
    assert (decoded.mode, decoded.steps) == (mode, encoded.steps)
    assert "stacks" in decoded.seconds


@pytest.mark.parametrize("effort", [1, 5, 8])
def test_stacked_networks_have_no_experts_at_any_effort(effort: int) -> None:
    (planes,) = images(1, 20, 30)
    assert codec.encode(planes, "RGB", model="photo", effort=effort).data == codec.encode(planes, "RGB").data
    data = archive_codec.encode(named(planes[None]), effort=effort).data
    assert [block.settings for block in archive.read_header(data).blocks] == [container.ONE_STREAM]
    assert data == archive_codec.encode(named(planes[None])).data


def test_a_bilevel_pillow_image_comes_back_bilevel() -> None:
    picture = Image.fromarray(images(1, 28, 28, "1")[0, :, :, 0] > 0)
    back = pixcodec.decode(pixcodec.encode(picture))
    assert (back.mode, back.size, back.tobytes()) == ("1", picture.size, picture.tobytes())


def test_a_stacked_network_codes_only_its_own_mode() -> None:
    (planes,) = images(1, 8, 8, "1")
    with pytest.raises(UnsupportedImageError, match="256 levels, the image has 1 of 2"):
        codec.encode(planes, "1", model="photo_gray")
    with pytest.raises(UnsupportedImageError, match="expected uint8 planes"):
        codec.encode(planes + 1, "1")


def test_a_file_whose_streams_are_damaged_or_of_other_images_is_refused() -> None:
    (planes,) = images(1, 40, 40, "L")
    header, (payload,) = container.unpack(codec.encode(planes, "L").data)
    streams = container.split(payload)
    for bad in (streams[:-1], [*streams[:-1], b"?"], [streams[0][:-1], *streams[1:]], [b""] * 4):
        with pytest.raises(DamagedTileError):
            codec.decode(container.pack(header, [container.join(bad)]))
    with pytest.raises(DamagedTileError, match="payload is cut"):
        codec.decode(container.pack(header, [payload[:-1]]))
    for number in (0, container.EXPERTS):
        wrong = container.Header(**{**vars(header), "settings": number, "tile_width": 48, "tile_height": 48})
        with pytest.raises(ContainerError, match=f"settings {number} do not fit"):
            codec.decode(container.pack(wrong, [payload]))
    wrong = container.Header(**{**vars(header), "width": 2**15, "height": 2**15})
    with pytest.raises(DamagedTileError, match="cannot hold"):
        codec.decode(container.pack(wrong, [payload]))


def test_a_tile_that_is_no_multiple_of_16_is_rounded_up(stacks: ModuleType) -> None:
    network = stacks.Network("odd", 1, tile=28)
    assert codec.tile_sides(network, 28, 28) == (32, 32)
    assert codec.tile_sides(network, 33, 64) == (32, 32)
    assert codec.tile_sides(network, 5, 100, 16) == (16, 16)


def test_images_of_many_sizes_and_modes_come_back_by_name() -> None:
    those = [
        *named(images(5, 32, 32), "RGB", "a/"),
        *named(images(3, 28, 28, "1"), "1", "b/"),
        *named(images(2, 40, 33, "L"), "L", "c/"),
        *named(images(4, 32, 32), "RGB", "d/"),
    ]
    encoded = archive_codec.encode(those, threads=2)
    header = archive.read_header(encoded.data)
    assert [(block.mode, block.count) for block in header.blocks] == [("RGB", 9), ("1", 3), ("L", 2)]
    back = list(archive_codec.decode(encoded.data))
    assert [each.name for each in back] == list(header.names)
    by_name = {each.name: each for each in back}
    for each in those:
        np.testing.assert_array_equal(by_name[each.name].planes, each.planes)
        assert by_name[each.name].mode == each.mode
    assert archive_codec.encode(those, threads=1).data == encoded.data


def test_blocks_are_bounded_and_equal() -> None:
    for count, expected in ((1, [1]), (512, [512]), (513, [256, 257]), (9979, [498] + [499] * 19)):
        group = [NamedImage("", np.zeros((4, 4, 3), np.uint8), "RGB")] * count
        assert sorted(map(len, archive_codec._blocks(group))) == expected
    large = [NamedImage("", np.zeros((1000, 1500, 1), np.uint8), "L")] * 5
    assert [len(block) for block in archive_codec._blocks(large)] == [1, 2, 2]
    huge = [NamedImage("", np.zeros((3000, 1500, 1), np.uint8), "L")] * 2
    assert [len(block) for block in archive_codec._blocks(huge)] == [1, 1]


def model_of(data: bytes, stacks: ModuleType) -> str:
    return stacks.load_by_id(archive.read_header(data).blocks[0].model_id).name


def test_each_group_gets_the_model_that_makes_it_smallest(stacks: ModuleType) -> None:
    planes = np.zeros((40, 32, 32, 3), np.uint8)
    assert model_of(archive_codec.encode(named(planes)).data, stacks) == "small_rgb"
    assert model_of(archive_codec.encode(named(planes), model="photo").data, stacks) == "photo"
    noise = RANDOM.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    sizes = {}
    for name in ("photo", "small_rgb"):
        sizes[name] = len(archive_codec.encode(named(noise), model=name).data)
    assert model_of(archive_codec.encode(named(noise)).data, stacks) == min(sizes, key=sizes.get)


def test_the_trial_takes_few_images_and_none_where_one_model_is_here(
    stacks: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    encode = stacks.encode
    monkeypatch.setattr(
        stacks, "encode", lambda part, *rest, **more: (seen.append(len(part)), encode(part, *rest, **more))[1]
    )
    archive_codec.encode(named(images(50, 8, 8)))
    assert seen == [16, 16, 50]
    seen.clear()
    archive_codec.encode(named(images(50, 8, 8, "1"), "1"))
    assert seen == [50]


def test_models_for_small_images_are_no_candidates_for_large_ones(
    stacks: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stacks.NETWORKS, "photo", stacks.Network("photo", 3, tile=512, level=0))
    planes = np.zeros((2, 100, 20, 3), np.uint8)
    assert model_of(archive_codec.encode(named(planes)).data, stacks) == "photo"
    assert model_of(archive_codec.encode(named(planes), model="small_rgb").data, stacks) == "small_rgb"
    assert [each.planes.shape for each in archive_codec.decode(archive_codec.encode(named(planes)).data)] == [
        (100, 20, 3)
    ] * 2


def test_a_missing_model_is_named(stacks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(stacks.NETWORKS, "mnist")
    with pytest.raises(ModelError, match="'mnist'"):
        archive_codec.encode(named(images(2, 8, 8, "1"), "1"))
    with pytest.raises(ModelError, match="'mnist'"):
        codec.encode(images(1, 8, 8, "1")[0], "1")
    data = archive_codec.encode(named(images(2, 8, 8, "L"), "L")).data
    monkeypatch.delitem(stacks.NETWORKS, "photo_gray")
    with pytest.raises(ModelError, match="needs model"):
        list(archive_codec.decode(data))


def test_what_does_not_fit_an_archive_is_refused() -> None:
    with pytest.raises(UnsupportedImageError, match="safe relative paths"):
        archive_codec.encode(named(images(1, 4, 4), name="../"))
    with pytest.raises(UnsupportedImageError, match="found 0"):
        archive_codec.encode([])
    with pytest.raises(UnsupportedImageError, match="expected uint8 planes"):
        archive_codec.encode(named(images(1, 4, 4, "L"), "RGB"))
    with pytest.raises(UnsupportedImageError, match="the model codes 3"):
        archive_codec.encode(named(images(1, 4, 4, "L"), "L"), model="photo")
    for effort in (0, 10, -1):
        with pytest.raises(ValueError, match=f"1 to 9, found {effort}"):
            archive_codec.encode(named(images(1, 4, 4)), effort=effort)


def forged(data: bytes, block: int, **changes: object) -> bytes:
    """The archive with another block or payload and right checksums."""
    header, payloads = archive.unpack(data)
    payloads[block] = changes.pop("payload", payloads[block])
    blocks = [archive.Block(**(vars(each) | changes)) if n == block else each for n, each in enumerate(header.blocks)]
    return archive.pack(blocks, payloads, header.names)


def test_words_that_no_checksum_betrays_are_caught_and_the_block_is_named(stacks: ModuleType) -> None:
    those = [*named(images(3, 8, 8), name="a"), *named(images(3, 8, 8, "L"), "L", "b")]
    data = archive_codec.encode(those).data
    assert len(list(archive_codec.decode(forged(data, 1)))) == 6
    other = stacks.encode(images(3, 8, 8, "L"), stacks.NETWORKS["photo_gray"]).payload
    for changes, error in (
        ({"payload": b"nothing"}, DamagedTileError),
        ({"payload": b""}, DamagedTileError),
        ({"payload": container.join([other])}, DigestError),
        ({"digest": bytes(16)}, DigestError),
        ({"mode": "1"}, ContainerError),
        ({"width": 4}, DamagedTileError),
        ({"settings": 0}, ContainerError),
        ({"settings": container.EXPERTS}, ContainerError),
    ):
        with pytest.raises(error, match=r"block 1 of 2|levels|do not fit") as caught:
            list(archive_codec.decode(forged(data, 1, **changes)))
        assert "\n" not in str(caught.value)


def test_pillow_images_go_into_an_archive_and_come_out() -> None:
    pictures = {f"{number}": Image.fromarray(each) for number, each in enumerate(images(3, 5, 6))}
    pictures["b"] = Image.fromarray(images(1, 5, 6, "1")[0, :, :, 0] > 0)
    for each in (pictures, pictures.items()):
        back = pixcodec.decode_archive(pixcodec.encode_archive(each))
        assert [name for name, _ in back] == list(pictures)
        assert all(picture.tobytes() == pictures[name].tobytes() for name, picture in back)
        assert back[-1][1].mode == "1"
    with pytest.raises(PixcodecError):
        pixcodec.encode_archive([("a", pictures["b"]), ("a", pictures["b"])])
    with pytest.raises(ContainerError, match="expected a file of one image"):
        pixcodec.decode(pixcodec.encode_archive(pictures))


def test_a_tally_adds_parts_up() -> None:
    seen: list[tuple[int, int]] = []
    tally = Tally(lambda done, total: seen.append((done, total)), 100)
    first, second = tally.part(60), tally.part(40)
    first(1, 2)
    second(5, 10)
    first(2, 2)
    second(10, 10)
    assert seen == [(30, 100), (50, 100), (80, 100), (100, 100)]


def test_progress_goes_to_the_end_over_all_blocks() -> None:
    those, seen = [*named(images(30, 8, 8)), *named(images(2, 9, 8), name="b")], []
    data = archive_codec.encode(those, progress=lambda *now: seen.append(now)).data
    total = sum(each.planes.size for each in those)
    assert seen[-1] == (total, total)
    archive_codec.encode(those, then=1, progress=lambda *now: seen.append(now))
    assert seen[-1] == (total, 2 * total)
    seen.clear()
    list(archive_codec.decode(data, progress=lambda *now: seen.append(now)))
    assert seen[-1] == (total, total)
    assert json.dumps(sorted(seen)) == json.dumps(seen)
