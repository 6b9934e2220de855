"""Pictures that are a JPEG's in part: screenshots with photographs, captions, collages; what is none is as it was."""

from __future__ import annotations

import numpy as np
import pytest
import reference_origins
from test_jpeg import no_cost, saved, texture

from pixcodec import origins
from pixcodec.errors import ContainerError, DamagedTileError
from pixcodec.origins import jpeg_tables, numbers, search
from pixcodec.origins.jpeg import Jpeg, JpegPart
from pixcodec.origins.tree import Node, leaves, nodes
from pixcodec.varint import Reader, varint


def drawn(height: int, width: int, seed: int = 5) -> np.ndarray:
    """Dark letters, or what looks like them, in rows on a light ground."""
    random = np.random.default_rng(seed)
    planes = np.full((height, width, 3), (246, 248, 250), np.uint8)
    for top in range(3, height - 9, 14):
        for left in range(4, width - 8, 9):
            ink = random.random((9, 7)) < 0.4
            planes[top : top + 9, left : left + 7][ink] = (31, 34, 41)
    return planes


def parts(planes: np.ndarray) -> list[JpegPart | Jpeg]:
    """The JPEGs that are found, proved to come back through the bytes of a record."""
    tree = search.find(planes, 256, b"", "auto", lambda pixels, _: 8 * pixels.size)
    coded = [leaf.planes for leaf in leaves(tree)]
    record = origins.write(tree, "RGB", (b"", b""), iter([b""] * len(coded)))
    _, again = search.read(record, "RGB", planes.shape, 256)
    np.testing.assert_array_equal(origins.render(again, reference_origins.in_turn(coded), planes.shape), planes)
    assert origins.words(again) == origins.words(tree)
    return [each for each in nodes(tree) if isinstance(each, (JpegPart, Jpeg))]


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_a_photograph_in_a_screenshot_is_found_to_the_pixel(sampling: str) -> None:
    _, photo = saved(texture(133, 141, 3), 80, sampling)
    planes = drawn(200, 240)
    planes[37:170, 61:202] = photo
    (found,) = parts(planes)
    top, left, height, width = found.box
    # A line too few is coded as pixels, one too many as exceptions: neither is wrong.
    assert abs(top - 37) + abs(left - 61) + abs(top + height - 170) + abs(left + width - 202) <= 3
    assert "quality 80" in found.words()
    assert sampling in found.words()


def test_the_reference_renders_a_jpeg_in_part() -> None:
    _, photo = saved(texture(45, 51, 3), 60, "4:2:0")
    planes = drawn(60, 80)
    planes[9:54, 17:68] = photo
    tree = search.find(planes, 256, b"", "jpeg", no_cost)
    assert any(isinstance(each, JpegPart) for each in nodes(tree))
    coded = [leaf.planes for leaf in leaves(tree)]
    _, _, own = reference_origins.read(origins.write(tree, "RGB", (b"", b""), iter([b""])), 1, planes.shape)
    assert [leaf.shape for leaf in own.leaves()] == [each.shape for each in coded]
    np.testing.assert_array_equal(reference_origins.render(own, reference_origins.in_turn(coded)), planes)


def test_a_caption_is_pixels_and_the_rest_a_jpeg() -> None:
    _, photo = saved(texture(176, 192, 3), 85, "4:4:4")
    planes = photo.copy()
    planes[130:160, 20:150] = drawn(30, 130)[:, :, ::-1] // 3
    (found,) = parts(planes)
    assert found.box == (0, 0, 176, 192)
    under = np.zeros((22, 24), bool)
    under[130 // 8 : 160 // 8, 20 // 8 : -(-150 // 8)] = True
    assert found.pixels[under].mean() > 0.9
    assert not found.pixels[~under].any()
    assert len(found.jpeg.payload) < len(parts(photo)[0].payload)


def test_two_jpegs_side_by_side_are_both_found() -> None:
    (_, one), (_, two) = saved(texture(120, 128, 3), 75, "4:2:0"), saved(texture(120, 131, 3, seed=8), 90, "4:4:4")
    gap = np.full((120, 5, 3), 250, np.uint8)
    found = parts(np.concatenate([one, gap, two], axis=1))
    words = sorted(each.words().split(", in ")[0] for each in found)
    assert [each.split(", grid")[0] for each in words] == ["JPEG, quality 75, 4:2:0", "JPEG, quality 90, 4:4:4"]


def test_the_shape_of_what_is_left_is_of_pythons_integers() -> None:  # NumPy's have no bit_length
    (_, one), (_, two) = saved(texture(96, 96, 3), 60), saved(texture(96, 104, 3, seed=8), 90)
    first, _ = parts(np.concatenate([one, np.full((96, 8, 3), (9, 9, 200), np.uint8), two], axis=1))
    assert isinstance(first, JpegPart)
    assert {type(each) for shape in first.shapes((96, 208, 3)) for each in shape} == {int}


def test_drawings_are_refused_at_the_first_look() -> None:
    assert jpeg_tables.look(drawn(200, 240)) is None
    planes = drawn(200, 240)
    planes[40:160, 60:200] = texture(120, 140, 3)
    assert jpeg_tables.look(planes) is None


def test_part_of_a_part_ends_where_a_reader_would_not_go() -> None:
    tiles = []
    for n in range(7):  # more JPEGs than are taken apart
        _, photo = saved(texture(40, 40, 3, seed=n), 60 + 5 * n, "4:4:4")
        tiles += [photo, drawn(40, 13, n)]
    assert len(parts(np.concatenate(tiles, axis=1))) <= 5


def part() -> tuple[bytes, tuple[int, int, int]]:
    """The parameters of a JPEG in part, of a picture of this shape."""
    _, photo = saved(texture(64, 64, 3), 80)
    tree = search.find(np.concatenate([photo, drawn(30, 64)]), 256, b"", "jpeg", no_cost)
    own = [each for each in nodes(tree) if isinstance(each, JpegPart)]
    return own[0].pack(), (94, 64, 3)


@pytest.mark.parametrize(
    ("box", "runs", "message"),
    [
        ((0, 0, 0, 64), [0], "0 rows"),
        ((31, 0, 64, 64), [64], r"at \(31, 0\)"),
        ((0, 1, 64, 64), [64], r"at \(0, 1\)"),
        ((0, 0, 64, 64), [63], "runs of cells"),
        ((0, 0, 64, 64), [60, 0, 4], "runs of cells"),
        ((0, 0, 64, 64), [-1, 65], "runs of cells"),
        ((0, 0, 64, 64), [], "0 runs"),
        ((0, 0, 94, 64), [96], "that is whole"),
    ],
)
def test_a_record_that_no_writer_writes_is_refused(box: tuple[int, ...], runs: list[int], message: str) -> None:
    record, shape = part()
    reader = Reader(record, ContainerError, "it")
    own = JpegPart.read(reader, shape)
    rows = numbers.pack(np.array(runs, np.int64).reshape(-1, 1))
    other = b"".join(map(varint, box)) + own.jpeg.pack() + varint(len(runs)) + rows
    with pytest.raises(ContainerError, match=message):
        JpegPart.read(Reader(other, ContainerError, "it"), shape)


def test_damage_is_an_error_or_another_picture() -> None:
    record, shape = part()
    random = np.random.default_rng(6)
    for _ in range(150):
        damaged = bytearray(record)
        damaged[random.integers(len(record))] ^= 1 << random.integers(8)
        try:
            own = JpegPart.read(Reader(bytes(damaged[: random.integers(len(record) + 1)]), ContainerError, "it"), shape)
            groups = [np.zeros(each, np.uint8) for each in own.shapes(shape)]
            assert own.render(groups, shape).shape == shape
        except (ContainerError, DamagedTileError):
            pass


def test_a_few_bytes_cannot_ask_for_the_memory_of_a_huge_picture() -> None:
    record, _ = part()
    with pytest.raises(ContainerError, match="a JPEG in 32768 rows of 32768"):
        JpegPart.read(Reader(record, ContainerError, "it"), (1 << 15, 1 << 15, 3))


def test_groups_of_other_sizes_than_the_picture_are_compared_by_their_own_middle() -> None:
    asked = []

    def cost(planes: np.ndarray, _known: np.ndarray) -> int:
        asked.append(planes.shape)
        return planes.size

    _, photo = saved(texture(64, 64, 3), 100)
    planes = np.concatenate([photo, drawn(30, 64)])
    tree = search.find(planes, 256, b"", "auto", cost)
    assert asked[:2] == [(30, 64, 3), planes.shape] or asked[:2] == [planes.shape, (30, 64, 3)]
    assert isinstance(tree, Node)
