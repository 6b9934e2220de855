"""Origins: what was made is found again and rendered exactly, whatever a picture is, and damage is an error."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
import reference_origins
from hypothesis import given
from hypothesis import strategies as st

from pixcodec import container, origins
from pixcodec.errors import ContainerError, DamagedTileError
from pixcodec.origins import Leaf, Node, numbers, search
from pixcodec.origins.constant import Constant
from pixcodec.origins.enlarged import Enlarged
from pixcodec.origins.exceptions import Exceptions
from pixcodec.origins.gray import Gray
from pixcodec.origins.jpeg import LAYOUTS as SAMPLINGS
from pixcodec.origins.jpeg import Jpeg
from pixcodec.origins.jpeg_decoder import Source, shapes, size, standard
from pixcodec.origins.palette import Palette
from pixcodec.origins.photo_cd import PhotoCD
from pixcodec.origins.ranks import Ranks
from pixcodec.origins.search import NUMBERS, ORIGINS
from pixcodec.origins.tree import MAX_DEPTH, leaves, nodes
from pixcodec.origins.turned import Turned
from pixcodec.origins.ycbcr import YCbCr
from pixcodec.varint import Reader, varint

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixcodec.origins.base import Origin
    from pixcodec.origins.luma_chroma import LumaChroma

IDENTITY = b"another8"


def cost(planes: np.ndarray, _known: np.ndarray) -> int:
    """Bytes by something that is no network: a few bits for each difference to the left."""
    return int(np.log2(1 + np.abs(np.diff(planes.astype(int), axis=1, prepend=0))).sum() / 4)


def noise(shape: tuple[int, int, int], seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(shape: tuple[int, int, int], seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    y, x, c = np.ogrid[: shape[0], : shape[1], : shape[2]]
    wave = 90 * np.sin(x / 17 + y / 23 + c) + 60 * np.cos(y / 11 - x / 29)
    return np.clip(128 + wave + random.normal(0, 2, shape), 0, 255).astype(np.uint8)


def enlarged(planes: np.ndarray, factors: tuple[int, int], crop: tuple[slice, slice]) -> np.ndarray:
    return planes.repeat(factors[0], axis=0).repeat(factors[1], axis=1)[crop]


def few_colours(seed: int, count: int, shape: tuple[int, int]) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, 3), dtype=np.uint8)[random.integers(0, count, shape)]


def streaks(height: int, width: int) -> np.ndarray:
    """uint8[H, W, 3]: noise that goes on one row down and two columns to the left, where no neighbour says so."""
    along = np.add.outer(2 * np.arange(height), np.arange(width))
    return np.random.default_rng(5).integers(0, 256, (int(along.max()) + 1, 3), dtype=np.uint8)[along]


def made(kind: type[LumaChroma], number: int, layout: tuple, planes: np.ndarray) -> tuple[LumaChroma, list[np.ndarray]]:
    """An origin of luma and chroma with the groups that are nearest to a picture."""
    origin = kind(number, *layout)
    inverse, offsets = kind.CONVERSIONS[number].inverse()
    values = np.clip(np.rint((planes + 0.5 - offsets) @ inverse.T), 0, 255).astype(np.uint8)
    (down, across), (py, px), _ = layout
    return origin, [*(values[py::down, px::across, k : k + 1].copy() for k in (1, 2)), values[:, :, :1]]


def rendered(kind: type[LumaChroma], number: int, layout: tuple, planes: np.ndarray) -> np.ndarray:
    origin, groups = made(kind, number, layout, planes)
    return origin.render(groups, planes.shape)


def decoded(layout: int, quality: int, shape: tuple[int, int, int], cut: tuple[int, int, int, int]) -> np.ndarray:
    """A picture cut out of a JPEG of a smooth one."""
    factors, random = SAMPLINGS[layout], np.random.default_rng(9)
    components = []
    for n, (rows, columns) in enumerate(shapes(factors, *size(shape, cut))):
        wanted = random.laplace(0, 1, (rows, columns, 64)) * (100 if n == 0 else 30) / (1 + np.arange(64)) ** 0.7
        wanted[:, :, 0] = 200 * np.sin(np.arange(rows)[:, None] / 3 + np.arange(columns) / 2 + n)
        components.append(np.rint(wanted / standard(quality, n)).astype(np.int16))
    return Source(factors, cut, [standard(quality, n) for n in range(len(factors))], components).render(shape)


COLOURS = np.clip(smooth((60, 70, 3)) * 0.5 + 60, 0, 255).astype(np.uint8)
# A picture with each past, and the words that say so.
MADE = {
    "constant": (np.full((9, 7, 3), 5, np.uint8), "one value everywhere (5, 5, 5)"),
    "gray": (smooth((30, 40, 1)).repeat(3, axis=2), "gray stored as RGB"),
    "enlarged": (enlarged(noise((9, 8, 3)), (3, 5), np.s_[1:25, 2:38]), "enlarged 5x3 by replication"),
    "palette": (few_colours(3, 9, (40, 30)), "9 colours"),
    "photo_cd": (rendered(PhotoCD, 0, ((2, 2), (0, 1), False), COLOURS), "Photo CD, chroma at half resolution"),
    "ycbcr": (
        rendered(YCbCr, 1, ((2, 2), (1, 0), True), COLOURS),
        "YCbCr of BT.601, chroma at half resolution",
    ),
    "jpeg": (decoded(2, 80, (48, 64, 3), (0, 0, 0, 0)), "JPEG, quality 80, 4:2:0"),
    "ranks": (smooth((50, 60, 1)) // 5 * 5, " values by rank"),
    "turned": (streaks(70, 90), "turned: transposed"),
}


def found(planes: np.ndarray, choice: str = "auto", levels: int = 256, palette: bytes = b"") -> Node | Leaf:
    """What is found, proved to come back, also through the bytes of a record."""
    tree = search.find(planes, levels, palette, choice, cost)
    coded = [leaf.found() for leaf in leaves(tree)]
    assert all(leaf.found().shape == leaf.shape for leaf in leaves(tree))
    np.testing.assert_array_equal(origins.render(tree, reference_origins.in_turn(coded), planes.shape), planes)
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[planes.shape[2]]
    ids = [IDENTITY if number % 2 else b"" for number in range(len(coded))]
    record = origins.write(tree, mode, (b"", b""), iter(ids))
    colours, again = search.read(record, mode, planes.shape, levels)
    assert colours == (b"", b"")
    assert [leaf.model_id for leaf in leaves(again)] == ids
    assert [(leaf.shape, leaf.levels) for leaf in leaves(again)] == [(leaf.shape, leaf.levels) for leaf in leaves(tree)]
    np.testing.assert_array_equal(origins.render(again, reference_origins.in_turn(coded), planes.shape), planes)
    assert origins.words(again) == origins.words(tree)
    if not {type(each) for each in nodes(tree)} <= {*NUMBERS.values()}:
        return tree  # an origin of a test
    _, _, own = reference_origins.read(record, container.MODES[mode], planes.shape)
    if levels == 256:
        assert [(leaf.parameters, leaf.shape, leaf.levels) for leaf in own.leaves()] == [
            (identity, leaf.shape, leaf.levels) for identity, leaf in zip(ids, leaves(tree), strict=True)
        ]
    np.testing.assert_array_equal(reference_origins.render(own, reference_origins.in_turn(coded)), planes)
    return tree


@pytest.mark.parametrize("name", MADE)
def test_a_past_is_found_and_said(name: str) -> None:
    planes, words = MADE[name]
    for choice in ("auto", name):
        assert words in origins.words(found(planes, choice))
    assert isinstance(found(planes, "none"), Leaf)


def test_there_is_a_picture_for_every_origin_and_their_numbers_differ() -> None:
    assert {each.name for each in ORIGINS} == {*MADE}
    assert len(NUMBERS) == len(ORIGINS) + 3  # exceptions, alpha, and a JPEG in part, which is found as one
    assert not {0, 255} & {*NUMBERS}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [noise, smooth])
def test_nothing_is_found_where_there_is_nothing(kind: object, channels: int) -> None:
    assert isinstance(found(kind((50, 60, channels))), Leaf)


def by_channels(*bytes_of: int) -> Callable[[np.ndarray, np.ndarray], int]:
    """Bytes of planes of one channel and of three."""
    return lambda planes, _: bytes_of[planes.shape[2] // 2]


def stripes(height: int, width: int) -> np.ndarray:
    """Flat and gray, of neighbouring levels."""
    return (np.arange(height)[:, None, None] % 5 + np.zeros((1, width, 3))).astype(np.uint8)


@pytest.mark.parametrize(("bytes_of", "gray"), [((120, 100), False), ((102, 100), False), ((100, 110), True)])
def test_a_flat_page_in_gray_is_coded_as_what_needs_fewer_bytes(bytes_of: tuple[int, int], gray: bool) -> None:  # noqa: FBT001
    page = stripes(80, 90)
    page[3, 4] = 77
    tree = search.find(page, 256, b"", "auto", by_channels(*bytes_of))
    assert isinstance(tree, Node) == gray
    assert isinstance(search.find(page, 256, b"", "gray", by_channels(120, 100)), Node)  # where it is asked for


def test_large_or_busy_pictures_in_gray_are_taken_as_such_without_a_trial() -> None:
    def never(planes: np.ndarray, known: np.ndarray) -> int:
        raise AssertionError((planes.shape, known.shape))

    large = stripes(600, 500)
    large[3, 4] = 77
    for planes in (large, smooth((80, 90, 1)).repeat(3, axis=2)):
        assert isinstance(search.find(planes, 256, b"", "gray", never), Node)
        assert Gray.recover(planes)[0].unsure is False  # type: ignore[index]
    assert Gray.recover(smooth((8, 9, 1)).repeat(3, axis=2))[0].unsure  # type: ignore[index]


def test_what_was_coded_to_compare_is_not_coded_again() -> None:
    asked: list[bytes] = []

    def counting(planes: np.ndarray, _known: np.ndarray) -> int:
        asked.append(planes.tobytes())
        return 100

    page = (stripes(80, 90) * 40)[:, :, :3].copy()
    page[:, :, 0] ^= 1
    search.find(page, 256, b"", "auto", counting)  # a palette and ranks, each beside the picture as it is
    assert len(asked) == len({*asked}) == 3


def test_an_unknown_choice_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="found photoshop"):
        search.find(noise((2, 2, 3)), 256, b"", "photoshop", cost)


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 16),
    st.integers(1, 16),
    st.data(),
    st.sampled_from([1, 2, 3, 4]),
)
def test_an_enlargement_is_no_larger_than_its_source(
    height: int, width: int, fy: int, fx: int, data: st.DataObject, channels: int
) -> None:
    source = noise((height, width, channels), data.draw(st.integers(0, 99)))
    top, left = data.draw(st.integers(0, fy - 1)), data.draw(st.integers(0, fx - 1))
    planes = enlarged(source, (fy, fx), np.s_[top:, left:])
    tree = found(planes)
    assert sum(leaf.samples for leaf in leaves(tree)) <= source.size


@given(st.data())
def test_random_pictures_come_back(data: st.DataObject) -> None:
    shape = (data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7)), data.draw(st.integers(1, 4)))
    most = data.draw(st.sampled_from([1, 2, 7, 255]))
    samples = data.draw(st.lists(st.integers(0, most), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    planes = np.array(samples, np.uint8).reshape(shape)
    for choice in search.NAMES:
        found(planes, choice)
    if most == 1 and shape[2] == 1:
        assert all(leaf.levels == 2 for leaf in leaves(found(planes, levels=2)))


@given(st.integers(0, 99), st.integers(1, 256), st.integers(1, 12), st.integers(1, 12))
def test_colours_and_values_come_back(seed: int, count: int, height: int, width: int) -> None:
    planes = few_colours(seed, count, (height, width))
    for kind in (Palette, Ranks):
        made = kind.recover(planes)
        if made is not None:
            np.testing.assert_array_equal(made[0].render(made[1], planes.shape), planes)


def test_257_colours_are_no_palette() -> None:
    planes = np.zeros((257, 40, 3), np.uint8)
    planes[:, :, 0], planes[:, :, 1] = np.arange(257)[:, None] % 256, np.arange(257)[:, None] // 256
    assert Palette.recover(planes) is None
    assert Palette.recover(planes[:256]) is not None


def test_neighbours_in_a_palette_are_alike() -> None:
    ramp = np.linspace(0, 255, 40).astype(np.uint8)
    shuffled = np.random.default_rng(4).permutation(40)
    palette, (indices,) = Palette.recover(ramp[shuffled][None, :, None].repeat(3, axis=2))
    assert (palette.colours[:, 0] == ramp).all()
    assert (indices[0, :, 0] == shuffled).all()


def test_indices_of_a_palette_are_ordered_by_its_colours() -> None:
    shade = smooth((40, 50, 1)) >> 3
    palette = np.random.default_rng(5).permutation(32).astype(np.uint8)
    colours = np.zeros((32, 3), np.uint8)
    colours[palette] = 8 * np.arange(32)[:, None]
    tree = found(palette[shade], palette=colours.tobytes())
    assert "values by rank" in origins.words(tree)
    (leaf,) = leaves(tree)
    assert np.abs(np.diff(leaf.found().astype(int), axis=1)).max() < 16


def test_an_opaque_alpha_is_a_value_and_colour_under_alpha_0_is_kept() -> None:
    opaque = np.concatenate([smooth((20, 30, 1)).repeat(3, axis=2), np.full((20, 30, 1), 255, np.uint8)], axis=2)
    assert [type(origin).name for origin in nodes(found(opaque))] == ["alpha", "constant", "gray"]
    found(noise((20, 30, 4)) * np.array([1, 1, 1, 0], np.uint8))


def test_origins_of_origins_are_found() -> None:
    source = few_colours(6, 5, (12, 14))
    tree = found(enlarged(source, (4, 4), np.s_[:, 3:]))
    assert origins.words(tree) == "enlarged 4x4 by replication, 5 colours"
    huge = enlarged(noise((2, 1, 1)), (1024, 1), np.s_[:])
    assert sum(leaf.samples for leaf in leaves(found(huge))) == 2


LAYOUTS = [
    (kind, number, layout)
    for kind in (PhotoCD, YCbCr)
    for number in range(len(kind.CONVERSIONS))
    for layout in kind(0, (2, 2), (0, 0), False)._kinds()
]


@pytest.mark.parametrize(("kind", "number", "layout"), LAYOUTS)
def test_luma_and_chroma_come_back_where_nothing_is_clipped(kind: type[LumaChroma], number: int, layout: tuple) -> None:
    origin, groups = made(kind, number, layout, COLOURS)
    planes = origin.render(groups, COLOURS.shape)
    assert 0 < planes.min() < planes.max() < 255
    again, found_groups = kind.recover(planes)
    # Of conversions that render these planes alike, the first.
    assert again == dataclasses.replace(origin, conversion=again.conversion)
    np.testing.assert_array_equal(again.render(groups, planes.shape), planes)
    np.testing.assert_array_equal(found_groups[2], groups[2])
    np.testing.assert_array_equal(again.render(found_groups, planes.shape), planes)
    clipped = rendered(kind, number, layout, np.clip(COLOURS * 1.7 - 30, 0, 255).astype(np.uint8))
    assert clipped.max() == 255
    found(clipped, kind.name)  # recovered or not: what hides much is refused


@pytest.mark.parametrize(("kind", "number", "layout"), LAYOUTS)
def test_the_compiled_rendering_is_the_formula(kind: type[LumaChroma], number: int, layout: tuple) -> None:
    origin = kind(number, *layout)
    shape = (7, 9, 3)
    groups = [noise(each, seed) for seed, each in enumerate(origin.shapes(shape))]
    own = reference_origins.luma_chroma(kind.number, number, layout, groups)
    np.testing.assert_array_equal(origin.render(groups, shape), own)


def test_groups_of_other_shapes_are_refused() -> None:
    origin = PhotoCD(0, (2, 2), (0, 0), replicated=False)
    groups = [noise(shape) for shape in origin.shapes((8, 8, 3))]
    with pytest.raises(ValueError, match="groups must be"):
        origin.render(groups[::-1], (8, 8, 3))


@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 9), st.data())
def test_any_luma_and_chroma_render_and_any_rendering_codes(
    seed: int, height: int, width: int, data: st.DataObject
) -> None:
    kind, number, layout = data.draw(st.sampled_from(LAYOUTS))
    origin, random = kind(number, *layout), np.random.default_rng(seed)
    low, high = sorted(data.draw(st.tuples(st.integers(0, 254), st.integers(0, 254))))
    groups = [random.integers(low, high + 1, each, dtype=np.uint8) for each in origin.shapes((height, width, 3))]
    found(origin.render(groups, (height, width, 3)), kind.name)


# Of a JPEG, and of a turn, both of which take more pixels, test_jpeg.py and test_turned.py have them.
SOURCES = [each for each in ORIGINS if each not in {Jpeg, Turned}]


def sources(data: st.DataObject, kind: type[Origin]) -> tuple[Origin, list[np.ndarray], tuple[int, int, int]]:
    """An origin of a kind with random parameters and groups that nothing hides, and the shape of its picture."""
    random = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    shape = data.draw(st.integers(4, 12)), data.draw(st.integers(4, 12)), 3
    low, high, origin = 0, 255, kind.__new__(kind)
    if kind is Constant:
        origin = Constant(random.bytes(3))
    elif kind is Enlarged:
        factors = data.draw(st.tuples(st.integers(1, 16), st.integers(1, 16)).filter(lambda pair: pair != (1, 1)))
        origin = Enlarged(factors, tuple(data.draw(st.integers(0, factor - 1)) for factor in factors))
    elif kind is Palette:
        colours = np.unique(random.integers(0, 256, (data.draw(st.integers(1, 16)), 3), dtype=np.uint8), axis=0)
        origin, high = Palette(random.permutation(colours)), len(colours) - 1
    elif kind is Ranks:
        high = data.draw(st.integers(1, 15))
        origin = Ranks(tuple(np.sort(random.permutation(128)[: high + 1]).astype(np.uint8) * 2 for _ in range(3)))
    elif kind in {PhotoCD, YCbCr}:
        _, number, layout = data.draw(st.sampled_from([each for each in LAYOUTS if each[0] is kind]))
        origin, low, high = kind(number, *layout), 110, 150
    groups = [random.integers(low, high + 1, own, dtype=np.uint8) for own in origin.shapes(shape)]
    if kind in {Palette, Ranks}:  # every colour and value is in use
        groups[0].reshape(-1, groups[0].shape[2])[: high + 1] = np.arange(high + 1)[:, None]
    return origin, groups, shape


def needs(planes: np.ndarray) -> int:
    """Bits, of the length of the greatest sample each."""
    return planes.size * int(planes.max()).bit_length()


TABLE = 8  # bytes by which a table in another order may be longer


@pytest.mark.parametrize("kind", SOURCES, ids=lambda kind: kind.name)
@given(st.data())
def test_what_is_recovered_needs_no_more_than_the_source(kind: type[Origin], data: st.DataObject) -> None:
    origin, groups, shape = sources(data, kind)
    planes = origin.render(groups, shape)
    tree = found(planes, kind.name)
    assert {type(each) for each in nodes(tree)} == {kind}
    assert sum(needs(leaf.found()) for leaf in leaves(tree)) <= sum(map(needs, groups))
    source = Node(origin, tuple(Leaf(group.shape, 256, group) for group in groups))
    records = [origins.write(each, "RGB", (b"", b""), iter(3 * [b""])) for each in (tree, source)]
    assert len(records[0]) <= len(records[1]) + TABLE


@pytest.mark.parametrize("kind", SOURCES, ids=lambda kind: kind.name)
@given(st.data())
def test_a_damaged_picture_comes_back(kind: type[Origin], data: st.DataObject) -> None:
    origin, groups, shape = sources(data, kind)
    planes = origin.render(groups, shape)
    random = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    wrong = random.integers(0, planes.size, data.draw(st.integers(1, 9)))
    planes.reshape(-1)[wrong] ^= random.integers(1, 256, len(wrong), dtype=np.uint8)
    for choice in ("auto", kind.name):
        found(planes, choice)


class Nearly(Gray):
    """An origin that is not quite right."""

    number, name = 99, "nearly"

    @classmethod
    def recover(cls, planes: np.ndarray) -> tuple[Origin, list[np.ndarray]] | None:
        return cls(), [planes[:, :, :1].copy()] if planes.shape[2] == 3 else None


@pytest.mark.parametrize("wrong", [0, 1, 7, 37, 38, 1200])
def test_what_a_rendering_misses_is_kept_as_exceptions_unless_it_is_much(
    wrong: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "ORIGINS", (Nearly,))
    monkeypatch.setattr(search, "NUMBERS", NUMBERS | {99: Nearly})
    planes = smooth((30, 40, 1)).repeat(3, axis=2)
    places = np.random.default_rng(7).permutation(1200)[:wrong]
    planes.reshape(-1, 3)[places, 1:] ^= noise((wrong, 2, 1), 8)[:, :, 0] | 1
    tree = found(planes)
    assert [type(origin) for origin in nodes(tree)] == (
        [] if wrong > 37 else [Exceptions, Nearly] if wrong else [Nearly]
    )
    if wrong == 1:
        assert len(tree.origin.pack()) <= 9


@pytest.mark.parametrize("planes", [MADE[name][0] for name in MADE], ids=[*MADE])
def test_a_damaged_record_is_an_error_or_another_record(planes: np.ndarray) -> None:
    tree = found(planes)
    record = origins.write(tree, "RGB" if planes.shape[2] == 3 else "L", (b"", b""), iter(3 * [b""]))
    mode, random = "RGB" if planes.shape[2] == 3 else "L", np.random.default_rng(11)
    for bit in range(8 * len(record)):
        damaged = bytearray(record)
        damaged[bit // 8] ^= 1 << bit % 8
        checked(bytes(damaged), mode, planes.shape)
    for length in range(len(record)):
        with pytest.raises(ContainerError):
            search.read(record[:length], mode, planes.shape, 256)
    with pytest.raises(ContainerError, match="too many"):
        search.read(record + b"\0", mode, planes.shape, 256)
    for _ in range(200):
        checked(
            b"\0" + bytes(random.choice([*NUMBERS], 1)) + random.bytes(int(random.integers(0, 30))), mode, planes.shape
        )


def checked(record: bytes, mode: str, shape: tuple[int, int, int]) -> None:
    """A record is refused, or renders something of the right shape, unless its coefficients are damaged."""
    try:
        _, tree = search.read(record, mode, shape, 256)
    except ContainerError:
        return
    coded = [noise(leaf.shape) for leaf in leaves(tree)]
    try:
        assert origins.render(tree, reference_origins.in_turn(coded), shape).shape == shape
    except DamagedTileError:
        assert "jpeg" in {type(origin).name for origin in nodes(tree)}


@pytest.mark.parametrize(
    ("record", "mode", "message"),
    [
        (b"", "L", "cut or damaged"),
        (b"\0\x63", "L", "origin 99 is unknown"),
        (b"\0\2", "L", "alpha of 1 channels"),
        (b"\0\3", "L", "gray of 1 channels"),
        (b"\0\3", "RGBA", "gray of 4 channels"),
        (b"\0\5\0\0\0", "L", "an enlargement by 1x1"),
        (b"\0\5\x12\0\0", "L", "an enlargement by 1x2"),
        (b"\0\7\0\0\0", "L", "0 colours"),
        (b"\0\7" + varint(257), "RGB", "257 colours"),
        (b"\0\7\2\0\0", "RGB", "a colour that is listed twice"),
        (b"\0\6\0", "L", "a list of 0 values"),
        (b"\0\1\0", "L", "0 exceptions"),
        (b"\0\1" + varint(36), "L", "36 exceptions of 35 pixels"),
        (b"\0\xff1234567", "L", "cut or damaged"),
        (b"\5abc", "L", "cut or damaged"),
        (b"\0\x08\0\0", "L", "of layout 0 and 1 channels"),
        (b"\0\x08\1\0", "RGB", "conversion 1"),
        (b"\0\x09\0\xee", "RGB", "layout 238"),
        (varint(257), "P", "a palette of 257 colours"),
        (b"\0" + b"\5\x10\0" * (MAX_DEPTH + 1) + b"\0", "L", "origins of origins"),
    ],
)
def test_a_record_that_no_writer_writes_is_refused(record: bytes, mode: str, message: str) -> None:
    channels = {"L": 1, "P": 1, "RGB": 3, "RGBA": 4}[mode]
    with pytest.raises(ContainerError, match=message):
        search.read(record, mode, (5, 7, channels), 256)


def test_a_few_bytes_cannot_ask_for_the_memory_of_a_huge_picture() -> None:
    for record in (b"\0\4\1", b"\0\5\xf0\xf0\0"):
        with pytest.raises(ContainerError, match="32768x32768"):
            search.read(record, "L", (1 << 15, 1 << 15, 1), 256)
    with pytest.raises(ContainerError, match="cannot hold"):
        search.read(b"\0\1" + varint(1 << 29) + b"\0\0", "L", (1 << 15, 1 << 15, 1), 256)


@given(st.integers(0, 6), st.integers(1, 5), st.sampled_from([1, 3, 300, 2**29]), st.randoms(use_true_random=False))
def test_tables_of_numbers_come_back(count: int, columns: int, most: int, random) -> None:  # noqa: ANN001
    table = np.array([[random.randint(-most, most) for _ in range(columns)] for _ in range(count)], np.int64)
    table = table.reshape(count, columns)
    data = numbers.pack(table)
    reader = Reader(data + b"behind", ContainerError, "it")
    np.testing.assert_array_equal(numbers.read(reader, count, columns), table)
    assert reader.left == len(b"behind")


@given(st.binary(max_size=20), st.integers(0, 9), st.integers(1, 4))
def test_other_bytes_than_a_tables_are_refused(data: bytes, count: int, columns: int) -> None:
    reader = Reader(varint(len(data)) + data, ContainerError, "it")
    try:
        table = numbers.read(reader, count, columns)
    except ContainerError:
        return
    assert numbers.pack(table) == varint(len(data)) + data


def test_tables_are_small() -> None:
    assert numbers.pack(np.zeros((0, 3), np.int64)) == b"\0"
    assert len(numbers.pack(np.zeros((50_000, 4), np.int64))) < 50
    assert len(numbers.pack(np.array([[3, 0, -1]]))) <= 4
    table = np.random.default_rng(2).integers(-300, 300, (4000, 3))
    assert 8 * len(numbers.pack(table)) < 1.03 * table.size * np.log2(600)
    with pytest.raises(ContainerError, match="its numbers"):  # one form only
        numbers.read(Reader(b"\2\0\0", ContainerError, "it"), 1, 1)


def test_constants_and_enlargements_stop_where_memory_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("constant", "enlarged"):
        monkeypatch.setattr(f"pixcodec.origins.{module}.MAX_SAMPLES", 100)
    assert Constant.recover(np.zeros((9, 12, 1), np.uint8)) is None
    assert Enlarged.recover(np.zeros((9, 12, 1), np.uint8)) is None
    assert isinstance(found(np.zeros((9, 12, 1), np.uint8)), Leaf)
