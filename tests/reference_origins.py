"""A second reader of files with a record, from docs/format.md (section 12) and the slow reference alone.

It reads the record with Python's integers and renders with NumPy, and shares nothing with `pixcodec.origins` but the
tables of ITU-T T.81.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections import defaultdict
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import reference_coder
import reference_stacks

from pixcodec.exact.program import Program
from pixcodec.exact.reference import coefficients, range_coder
from pixcodec.origins.jpeg_decoder import standard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Code = Callable[["Tree", np.ndarray], np.ndarray]

    from pixcodec.exact.network import Network

    Model = Network | Program
    Shape = tuple[int, int, int]

ORIGIN = 8
CHANNELS = [1, 3, 1, 1, 2, 4]  # of modes by number
PALETTE_MODE, BILEVEL_MODE = 3, 2
LEAF, OTHER_LEAF, EXCEPTIONS, ALPHA, GRAY, CONSTANT, ENLARGED, RANKS, PALETTE, PHOTO_CD, YCBCR, JPEG, PART, TURNED = (
    0, 255, *range(1, 13)
)  # fmt: skip
ONE = 1 << 24
LAYOUTS = {
    PHOTO_CD: [((2, 2), False)],
    YCBCR: [((2, 2), True), ((2, 2), False), ((1, 2), True), ((1, 2), False), ((1, 1), True)],
}
FACTORS = [[(1, 1)], *([first, (1, 1), (1, 1)] for first in ((1, 1), (2, 2), (2, 1), (1, 2)))]  # (h, v) of a JPEG's
# k, l, r, p, q, s.
SUMS = [
    (0, 65536, 91881, 22554, 46802, 116130),
    (16, 76288, 104704, 25600, 53248, 132096),
    (16, 76288, 117504, 14080, 34816, 138496),
    (0, 65536, 103206, 12276, 30679, 121609),
]
WORDS = [
    (16, 76312, 104600, 25672, 53280, 132200),
    (16, 76312, 117488, 13976, 34928, 138440),
    (0, 65536, 91880, 22552, 46800, 116128),
    (0, 65536, 103208, 12272, 30680, 121608),
]
STEPS = [
    (-1304898, 76309, 89830, 22049, 45756, 113537),
    (-1304898, 76309, 100902, 12001, 29993, 118894),
    (32768, 65536, 91881, 22552, 46800, 116129),
    (32768, 65536, 103206, 12275, 30678, 121608),
]


class Tree(NamedTuple):
    """A node: its byte, parameters, the shape of its planes, their levels, and its groups."""

    number: int
    parameters: Any
    shape: Shape
    levels: int
    groups: list[Tree]

    def leaves(self) -> Iterator[Tree]:
        """Those of the file's groups, in their order."""
        if self.number in {LEAF, OTHER_LEAF}:
            yield self
        for group in self.groups:
            yield from group.leaves()


class Bytes:
    """Bytes that are taken from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        """The next ones."""
        assert len(self.data) >= count
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def number(self) -> int:
        """LEB128."""
        number = shift = 0
        while True:
            (byte,) = self.take(1)
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                assert byte or shift == 7
                return number

    def table(self, rows: int, columns: int) -> np.ndarray:
        """int64[rows, columns]."""
        data = self.take(self.number())
        assert not data.endswith(b"\0")
        padded = data + bytes(-len(data) % 4)
        decoder = range_coder.Decoder(struct.unpack(f">{len(padded) // 4}I", padded))
        cells: dict[tuple[int, ...], list[int]] = defaultdict(lambda: [1 << 15, 0])
        table = np.zeros((rows, columns), np.int64)
        for row, column in product(range(rows), range(columns)):
            above = int(row > 0 and table[row - 1, column] == 0)
            length = 1
            while length < 32 and _bit(decoder, cells[column, above, length, 0]):
                length += 1
            u = node = 1
            for _ in range(length - 1):
                bit = _bit(decoder, cells[column, above, length, node] if node < 4 else [1 << 15, 0])
                u, node = 2 * u + bit, 2 * node + bit
            table[row, column] = u // 2 if u % 2 else -u // 2
        return table

    def colours(self, count: int) -> np.ndarray:
        """uint8[count, 3]."""
        g, rg, bg = np.cumsum(self.table(count, 3), axis=0).T
        return np.stack([rg + g, g, bg + g], axis=1).astype(np.uint8)


def _bit(decoder: range_coder.Decoder, cell: list[int]) -> int:
    p, n = cell
    zero = ONE - 256 * p
    bit = int(decoder.point() >= zero)
    decoder.take(*((zero, 256 * p) if bit else (0, zero)))
    cell[:] = min(max(p + (65536 * bit - p) // (n + 2), 32), 65504), min(n + 1, 254)
    return bit


def read(record: bytes, mode: int, shape: Shape) -> tuple[bytes, bytes, Tree]:
    """Palette, transparency and the picture's node."""
    data = Bytes(record)
    palette = data.colours(data.number()).tobytes() if mode == PALETTE_MODE else b""
    transparency = data.take(data.number())
    tree = _node(data, shape, 2 if mode == BILEVEL_MODE else 256)
    assert not data.data
    return palette, transparency, tree


def _node(data: Bytes, shape: Shape, levels: int) -> Tree:  # noqa: C901  a case each, as in the format
    (number,), (height, width, channels) = data.take(1), shape
    parameters: Any = None
    shapes: list[Shape] = [shape]
    if number in {LEAF, OTHER_LEAF}:
        parameters, shapes = data.take(8 if number == OTHER_LEAF else 0), []
    elif number == EXCEPTIONS:
        parameters = data.table(data.number(), 1 + channels)
    elif number == ALPHA:
        shapes = [(height, width, 1), (height, width, channels - 1)]
    elif number == GRAY:
        shapes = [(height, width, 1)]
    elif number == CONSTANT:
        parameters, shapes = data.take(channels), []
    elif number == ENLARGED:
        parameters = [(byte // 16 + 1, byte % 16) for byte in data.take(2)]
        (down, top), (across, left) = parameters
        shapes = [(-(-(height + top) // down), -(-(width + left) // across), channels)]
    elif number == RANKS:
        parameters = [np.cumsum(data.table(data.number(), 1)[:, 0] + 1) - 1 for _ in range(channels)]
    elif number == PALETTE:
        parameters, shapes = data.colours(data.number()), [(height, width, 1)]
    elif number == JPEG:
        parameters, shapes = _jpeg_parameters(data, channels), []
    elif number == PART:
        box = [data.number() for _ in range(4)]
        inner = _jpeg_parameters(data, channels)
        parameters = box, inner, rest(shape, box, inner[1][:2], data.table(data.number(), 1)[:, 0])
        rows, columns = (np.flatnonzero(parameters[2].any(axis=k)) for k in (1, 0))
        shapes = [(int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1, channels)]
    elif number == TURNED:
        (parameters,) = data.take(1)
        assert 0 < parameters < 8
        shapes = [(width, height, channels) if parameters % 2 else shape]
    else:
        conversion, place = data.take(2)
        factors, phases, replicated = layouts(number)[place]
        parameters = conversion, factors, phases, replicated
        down, across = (max(-(-(shape[k] - phases[k]) // factors[k]), 1) for k in (0, 1))
        shapes = [(down, across, 1), (down, across, 1), (height, width, 1)]
    below = levels if number in {EXCEPTIONS, CONSTANT, ENLARGED, TURNED} else 256
    return Tree(number, parameters, shape, levels, [_node(data, each, below) for each in shapes])


def _jpeg_parameters(data: Bytes, channels: int) -> tuple[Any, ...]:
    """Sampling factors, what is cut off, steps of quantisation, words."""
    layout, *cut = data.take(5)
    tables = []
    for component in range(channels):
        (quality,) = data.take(1)
        tables.append(standard(quality, component) if quality else data.table(64, 1)[:, 0].astype(np.uint16))
    return FACTORS[layout], cut, tables, data.take(data.number())


def rest(shape: Shape, box: list[int], cut: list[int], runs: np.ndarray) -> np.ndarray:
    """Which pixels bool[H, W] are not those of the JPEG in a box."""
    top, left, height, width = box
    across = -(-(cut[1] + width) // 8)
    cells = [bool(n % 2) for n, run in enumerate(runs) for _ in range(run)]
    assert len(cells) == across * -(-(cut[0] + height) // 8)
    return np.array(
        [
            [
                not (0 <= y - top < height and 0 <= x - left < width)
                or cells[(cut[0] + y - top) // 8 * across + (cut[1] + x - left) // 8]
                for x in range(shape[1])
            ]
            for y in range(shape[0])
        ]
    )


def layouts(number: int) -> list[tuple[tuple[int, int], tuple[int, int], bool]]:
    """Factors, phases, and whether replicated, by their number in files."""
    return [
        (factors, phases, replicated)
        for factors, replicated in LAYOUTS[number]
        for phases in product(range(factors[0]), range(factors[1]))
    ]


def render(  # noqa: C901, PLR0911, PLR0912  a case each
    tree: Tree, code: Code, known: np.ndarray | None = None
) -> np.ndarray:
    """The picture uint8[H, W, C] of a node; `code` gives the planes of a leaf, one after the other.

    It is told the leaf and the planes uint8[H, W, K] that are known of it.
    """
    height, width, channels = tree.shape
    if tree.number in {LEAF, OTHER_LEAF}:
        return code(tree, np.zeros((height, width, 0), np.uint8) if known is None else known)
    groups: list[np.ndarray] = []
    for group in tree.groups:
        groups.append(render(group, code, known_of(tree, groups)))
    if tree.number == EXCEPTIONS:
        planes = groups[0].astype(np.int64).reshape(-1, channels)
        planes[np.cumsum(tree.parameters[:, 0] + 1) - 1] += tree.parameters[:, 1:]
        return (planes % 256).astype(np.uint8).reshape(tree.shape)
    if tree.number == ALPHA:
        return np.dstack([groups[1], groups[0]])
    if tree.number == GRAY:
        return np.dstack([groups[0]] * 3)
    if tree.number == CONSTANT:
        return np.tile(np.frombuffer(tree.parameters, np.uint8), (height, width, 1))
    if tree.number == ENLARGED:
        (down, top), (across, left) = tree.parameters
        return groups[0].repeat(down, 0)[top : top + height].repeat(across, 1)[:, left : left + width]
    if tree.number == RANKS:
        lists = [np.pad(own, (0, 256 - len(own))).astype(np.uint8) for own in tree.parameters]
        return np.dstack([own[groups[0][:, :, c]] for c, own in enumerate(lists)])
    if tree.number == PALETTE:
        return np.pad(tree.parameters, ((0, 256 - len(tree.parameters)), (0, 0)))[groups[0][:, :, 0]]
    if tree.number == JPEG:
        return jpeg(tree.shape, *tree.parameters)
    if tree.number == PART:
        (top, left, *inside), parameters, others = tree.parameters
        planes = np.zeros(tree.shape, np.uint8)
        planes[top : top + inside[0], left : left + inside[1]] = jpeg((*inside, channels), *parameters)
        rows, columns = (np.flatnonzero(others.any(axis=k))[0] for k in (1, 0))
        for y, x in np.argwhere(others):
            planes[y, x] = groups[0][y - rows, x - columns]
        return planes
    if tree.number == TURNED:
        planes = np.zeros(tree.shape, np.uint8)
        for y, x in np.ndindex(height, width):
            down = height - 1 - y if tree.parameters & 2 else y
            right = width - 1 - x if tree.parameters & 4 else x
            planes[y, x] = groups[0][(right, down) if tree.parameters & 1 else (down, right)]
        return planes
    conversion, *layout = tree.parameters
    return luma_chroma(tree.number, conversion, layout, groups)


def in_turn(coded: Sequence[np.ndarray]) -> Callable[..., np.ndarray]:
    """What `render` asks of leaves: their planes, one after the other; what is known of them must be of their size."""
    left = iter(coded)

    def code(leaf: Any, known: np.ndarray) -> np.ndarray:
        planes = next(left)
        assert known.shape[:2] == planes.shape[:2] == leaf.shape[:2]
        return planes

    return code


def known_of(tree: Tree, groups: list[np.ndarray]) -> np.ndarray | None:
    """What is known of a node's next group after some: chroma knows chroma before it, or zeros, luma all of it."""
    if tree.number not in LAYOUTS:
        return None
    if len(groups) < 2:
        return groups[0] if groups else np.zeros(tree.groups[0].shape, np.uint8)
    return np.dstack(enlarged(groups, tree.shape, tree.parameters[1:])).astype(np.uint8)


def jpeg(
    shape: Shape, factors: list[tuple[int, int]], cut: list[int], tables: list[np.ndarray], words: bytes
) -> np.ndarray:
    """The part of a JPEG's picture that is left, from its coefficients."""
    top, left, bottom, right = cut
    height, width = top + shape[0] + bottom, left + shape[1] + right
    sizes = [(-(-height * v // factors[0][1]), -(-width * h // factors[0][0])) for h, v in factors]
    blocks = [(-(-rows // 8), -(-columns // 8)) for rows, columns in sizes]
    coded = coefficients.decode(struct.unpack(f"<{len(words) // 4}I", words), blocks, tables)
    planes = []
    for levels, table, (rows, columns) in zip(coded, tables, sizes, strict=True):
        c = (levels.astype(np.int64) * table).reshape(*levels.shape[:2], 8, 8)
        c = (_inverse(np.moveaxis(c, 2, 0)) + 1024) >> 11  # [place in a column, By, Bx, column frequency]
        c = np.clip(((_inverse(np.moveaxis(c, 3, 0)) + (1 << 17)) >> 18) + 128, 0, 255)
        samples = c.transpose(2, 1, 3, 0).reshape(8 * levels.shape[0], 8 * levels.shape[1])[:rows, :columns]
        planes.append(_full_size(samples, rows < height, columns < width)[:height, :width])
    picture = np.dstack(planes if len(planes) == 1 else colours(YCBCR, 0, *planes))
    return np.clip(picture, 0, 255).astype(np.uint8)[top : top + shape[0], left : left + shape[1]]


def _inverse(c: np.ndarray) -> np.ndarray:
    """Eight values from eight frequencies, along the first axis."""
    z = 4433 * (c[2] + c[6])
    a, d = 8192 * (c[0] + c[4]) + z + 6270 * c[2], 8192 * (c[0] + c[4]) - z - 6270 * c[2]
    b, e = 8192 * (c[0] - c[4]) + z - 15137 * c[6], 8192 * (c[0] - c[4]) - z + 15137 * c[6]
    z5 = 9633 * (c[7] + c[3] + c[5] + c[1])
    z1, z2 = -7373 * (c[7] + c[1]), -20995 * (c[5] + c[3])
    z3, z4 = z5 - 16069 * (c[7] + c[3]), z5 - 3196 * (c[5] + c[1])
    odd = 12299 * c[1] + z1 + z4, 25172 * c[3] + z2 + z3, 16819 * c[5] + z2 + z4, 2446 * c[7] + z1 + z3
    pairs = list(zip((a, b, e, d), odd, strict=True))
    return np.stack([n + m for n, m in pairs] + [n - m for n, m in pairs[::-1]])


def _full_size(plane: np.ndarray, rows: bool, columns: bool) -> np.ndarray:  # noqa: FBT001
    """A component whose rows, columns or both are half as many, at the picture's size or a bit more."""
    if columns and plane.shape[1] <= 2:
        return plane.repeat(2 if rows else 1, 0).repeat(2, 1)
    for axis in [axis for axis, halved in enumerate((rows, columns)) if halved]:
        padded = np.pad(plane, [(1, 1) if k == axis else (0, 0) for k in (0, 1)], "edge")
        last = plane.shape[axis]
        pair = [3 * plane + padded.take(range(start, start + last), axis) for start in (0, 2)]
        plane = np.stack(pair, axis + 1).reshape([2 * n if k == axis else n for k, n in enumerate(plane.shape)])
    if not rows and not columns:
        return plane
    parity = np.indices(plane.shape)[1 if columns else 0] % 2
    return (plane + np.where(parity, 7, 8) >> 4) if rows and columns else (plane + 1 + parity >> 2)


def luma_chroma(number: int, conversion: int, layout: Sequence[Any], groups: Sequence[np.ndarray]) -> np.ndarray:
    """The picture of two chroma planes and luma; layout: factors, phases, whether replicated."""
    luma = groups[2][:, :, 0].astype(np.int64)
    c1, c2 = enlarged(groups[:2], luma.shape, layout)
    return np.clip(np.dstack(colours(number, conversion, luma, c1, c2)), 0, 255).astype(np.uint8)


def enlarged(groups: Sequence[np.ndarray], shape: Sequence[int], layout: Sequence[Any]) -> list[np.ndarray]:
    """Chroma planes at every pixel of a picture."""
    chroma = [group[:, :, 0].astype(np.int64) for group in groups]
    factors, phases, replicated = layout
    places = []
    for axis in (0, 1):
        before, rest = np.divmod(np.arange(shape[axis]) - phases[axis], factors[axis])
        after = before + ((rest > 0) & (not replicated))
        places.append([np.clip(each, 0, chroma[0].shape[axis] - 1) for each in (before, after)])
    return [(sum(c[i[:, None], j] for i, j in product(*places)) + 2) >> 2 for c in chroma]


def colours(number: int, conversion: int, y: Any, c1: Any, c2: Any) -> list[Any]:
    """Red, green and blue before they are clamped."""
    if number == PHOTO_CD:
        first, second = 145352 * (c1 - 156), 119374 * (c2 - 137)
        green = 89024 * y - 12714 * (first >> 16) - 33358 * (second >> 16)
        return [(89024 * y + second) >> 16, green >> 16, (89024 * y + first) >> 16]
    k, l, r, p, q, s = (SUMS + WORDS + WORDS + STEPS)[conversion]
    d, e, light = c1 - 128, c2 - 128, l * (y - k)
    if 4 <= conversion < 8:
        return [
            (light >> 16) + (r * e >> 16),
            (light >> 16) + (-p * d >> 16) + (-q * e >> 16),
            (light >> 16) + (s * d >> 16),
        ]
    if conversion < 12:
        return [(light + more + 32768) >> 16 for more in (r * e, -p * d - q * e, s * d)]
    places = [y + _move(r, c2), y + _move(-p, c1) + _move(-q, c2), y + _move(s, c1)]
    return [(l * place + k) >> 16 for place in places]


def _move(number: int, chroma: Any) -> Any:
    return (number * chroma >> 16) - (number >> 9)


class File(NamedTuple):
    """A file with a record, without the codes of its groups."""

    mode: int
    settings: int
    sides: tuple[int, int]  # of tiles
    digest: bytes
    palette: bytes
    transparency: bytes
    tree: Tree
    models: list[bytes]  # first bytes of the id, of each leaf
    payload: bytes


def parse(data: bytes) -> File:
    """A sound file's parts; an assertion fails where docs/format.md is not kept."""
    head = reference_coder.FIXED.unpack_from(data)
    signature, version, mode, settings, width, height, units_x, units_y, model, digest = head
    assert (signature, version) == (reference_coder.SIGNATURE, 0)
    assert settings & ORIGIN
    assert not settings & reference_coder.MASKED
    rest = Bytes(data[reference_coder.FIXED.size :])
    record = rest.take(rest.number())
    palette, transparency, tree = read(record, mode, (height, width, CHANNELS[mode]))
    (checksum,) = struct.unpack("<I", rest.take(4))
    head_length = len(data) - len(rest.data)
    assert struct.unpack("<I", rest.take(4)) == (zlib.crc32(data[:head_length]),)
    assert zlib.crc32(rest.data) == checksum
    models = [leaf.parameters or model for leaf in tree.leaves()]
    assert (models[0] if models else bytes(8)) == model
    sides = 16 * units_y, 16 * units_x
    return File(mode, settings - ORIGIN, sides, digest, palette, transparency, tree, models, rest.data)


def is_of(file: File, planes: np.ndarray) -> bool:
    """Whether the digest is that of a picture and the file's palette and transparency."""
    head = struct.pack("<BII", file.mode, planes.shape[1], planes.shape[0])
    count = reference_stacks.leb128(len(file.palette) // 3) if file.mode == PALETTE_MODE else b""
    whole = head + planes.tobytes() + count + file.palette + file.transparency
    return hashlib.blake2b(whole, digest_size=16).digest() == file.digest


def payload(file: File, coded: Sequence[np.ndarray], load: Callable[[bytes], Model]) -> bytes:
    """What codes the planes of all leaves."""
    parts, left, models = [], iter(coded), map(load, file.models)

    def code(_leaf: Tree, known: np.ndarray) -> np.ndarray:
        planes, model, units = next(left), next(models), (file.sides[0] // 16, file.sides[1] // 16)
        images = np.dstack([known, planes]) if model.known else planes
        parts.append(reference_coder.block(images[None], model, *units, file.settings))
        return planes

    render(file.tree, code)
    return b"".join(parts)


def decode(data: bytes, load: Callable[[bytes], Model]) -> np.ndarray:
    """The picture of a file of one tile a group; groups must be small, see `reference_coder`."""
    file = parse(data)
    streams, models = Bytes(file.payload), map(load, file.models)

    def code(leaf: Tree, known: np.ndarray) -> np.ndarray:
        assert leaf.shape[0] <= file.sides[0]
        assert leaf.shape[1] <= file.sides[1]
        own, model = streams.take(streams.number()), next(models)
        if isinstance(model, Program):
            whole = reference_stacks.leb128(len(own)) + own
            return reference_stacks.decode(whole, (1, *leaf.shape), model, file.sides)[0]
        return reference_coder.tile(own, model, leaf.shape, file.settings, known=known if model.known else None)

    planes = render(file.tree, code)
    assert not streams.data
    assert is_of(file, planes)
    return planes
