"""What a picture was made from, and that from what: a tree of origins, whose leaves are the planes that models code.

In a file it is the header's record: palette and transparency, then the nodes, each before its groups (docs/format.md,
section 12).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pixcodec.errors import ContainerError
from pixcodec.exact.predict import no_planes
from pixcodec.origins import base
from pixcodec.varint import Reader, varint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pixcodec.origins.base import Origin, Planes, Shape

    Code = Callable[["Leaf", Planes], Planes]  # the planes of a leaf, by it and what is known

SAME_MODEL, OTHER_MODEL = 0, 255  # nodes that are leaves; every other number is an origin's
MODEL_ID_BYTES = 8
MAX_DEPTH = 16


@dataclass(frozen=True)
class Leaf:
    """Planes that a model codes.

    Args:
        shape: of the planes.
        levels: of a sample: 256, or 2 of bilevel planes.
        planes: where they are known.
        model_id: of the file's header unless there is one here.
    """

    shape: Shape
    levels: int
    planes: Planes | None = None
    model_id: bytes = b""

    @property
    def samples(self) -> int:
        """How many sub-pixels."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    def found(self) -> Planes:
        """The planes of a leaf that was found, not read."""
        if self.planes is None:
            message = "a leaf that was read has no planes before they are decoded"
            raise ValueError(message)
        return self.planes


@dataclass(frozen=True)
class Node:
    """An origin and its groups."""

    origin: Origin
    groups: tuple[Node | Leaf, ...]


def leaves(tree: Node | Leaf) -> Iterator[Leaf]:
    """All leaves, in the order in which they are coded."""
    if isinstance(tree, Leaf):
        yield tree
        return
    for group in tree.groups:
        yield from leaves(group)


def nodes(tree: Node | Leaf) -> Iterator[Origin]:
    """All origins, each before those of its groups."""
    if isinstance(tree, Node):
        yield tree.origin
        for group in tree.groups:
            yield from nodes(group)


def render(tree: Node | Leaf, code: Code, shape: Shape, known: Planes | None = None) -> Planes:
    """The picture of `shape`.

    Args:
        tree: what it was made from.
        code: gives the planes of each leaf, one after the other, by it and planes [h, w, K] that are known of it.
        shape: of the picture.
        known: planes of its size that are known.
    """
    if isinstance(tree, Leaf):
        return code(tree, no_planes(*shape[:2]) if known is None else known)
    groups: list[Planes] = []
    for group, own in zip(tree.groups, tree.origin.shapes(shape), strict=True):
        groups.append(render(group, code, own, tree.origin.known(groups, shape)))
    return tree.origin.render(groups, shape)


def known_leaves(tree: Node | Leaf, shape: Shape, known: Planes | None = None) -> list[tuple[Leaf, Planes]]:
    """All leaves of a picture of `shape` that was found, with what is known of each; see `render`.

    Groups are rendered only where another one follows, which may know them: a JPEG, for one, is not decoded.
    """
    if isinstance(tree, Leaf):
        return [(tree, no_planes(*shape[:2]) if known is None else known)]
    pairs: list[tuple[Leaf, Planes]] = []
    groups: list[Planes] = []
    for group, own in zip(tree.groups, tree.origin.shapes(shape), strict=True):
        pairs += known_leaves(group, own, tree.origin.known(groups, shape))
        if len(groups) < len(tree.groups) - 1:
            groups.append(render(group, lambda leaf, _: leaf.found(), own))
    return pairs


def words(tree: Node | Leaf) -> str:
    """What was found, from the picture down; nothing where there is nothing but leaves."""
    return ", ".join(origin.words() for origin in nodes(tree))


def write(tree: Node | Leaf, mode: str, colours: tuple[bytes, bytes], ids: Iterator[bytes]) -> bytes:
    """The record.

    Args:
        tree: of the picture.
        mode: of the picture; of "P" there is a palette.
        colours: palette and transparency, as `container.Colours` has them.
        ids: for each leaf the first bytes of its model's id, or nothing if it is that of the header.
    """
    listed, transparency = colours
    parts = []
    if mode == "P":
        from pixcodec.origins import palette

        table = np.frombuffer(listed, np.uint8).reshape(-1, 3)
        parts = [varint(len(table)), palette.pack_colours(table)]
    return b"".join([*parts, varint(len(transparency)), transparency, _write(tree, ids)])


def _write(tree: Node | Leaf, ids: Iterator[bytes]) -> bytes:
    if isinstance(tree, Leaf):
        identity = next(ids)
        return bytes([OTHER_MODEL]) + identity if identity else bytes([SAME_MODEL])
    own = bytes([tree.origin.number]) + tree.origin.pack()
    return own + b"".join(_write(group, ids) for group in tree.groups)


def read(
    record: bytes, mode: str, shape: Shape, levels: int, origins: Mapping[int, type[Origin]]
) -> tuple[tuple[bytes, bytes], Node | Leaf]:
    """Palette and transparency, and the tree, of a picture of `shape` and mode; see `write`.

    Raises:
        ContainerError: the record is not one that `write` makes.
    """
    reader = Reader(record, ContainerError, "the record of the picture's origin")
    listed = b""
    if mode == "P":
        from pixcodec.origins import palette

        count = reader.number()
        base.require(count <= palette.MOST, reader, f"a palette of {count} colours")
        listed = palette.read_colours(reader, count).tobytes()
    transparency = reader.take(reader.number())
    tree = _read(reader, shape, levels, origins, MAX_DEPTH)
    reader.finish()
    return (listed, transparency), tree


def _read(reader: Reader, shape: Shape, levels: int, origins: Mapping[int, type[Origin]], depth: int) -> Node | Leaf:
    (number,) = reader.take(1)
    if number in {SAME_MODEL, OTHER_MODEL}:
        return Leaf(shape, levels, model_id=reader.take(MODEL_ID_BYTES if number == OTHER_MODEL else 0))
    if number not in origins:
        message = f"origin {number} is unknown to this pixcodec; update pixcodec"
        raise ContainerError(message)
    base.require(depth > 0, reader, f"more than {MAX_DEPTH} origins of origins")
    origin = origins[number].read(reader, shape)
    own = levels if origin.bilevel else 256
    groups: Sequence[Shape] = origin.shapes(shape)
    return Node(origin, tuple(_read(reader, group, own, origins, depth - 1) for group in groups))
