"""All kinds of origins: what a picture was made from is looked for here, and read.

Recovery may be clever and cannot be wrong: whatever is found is rendered at once and compared, what differs in a few
pixels becomes exceptions, and what differs in more is not used.  A new origin is a file beside this one, and a name in
`ORIGINS`; nothing else knows any of them, but for `Alpha`, which the modes LA and RGBA always have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pixcodec.origins import AUTO, NONE
from pixcodec.origins import tree as trees
from pixcodec.origins.alpha import Alpha
from pixcodec.origins.constant import Constant
from pixcodec.origins.enlarged import Enlarged
from pixcodec.origins.exceptions import Exceptions
from pixcodec.origins.gray import Gray
from pixcodec.origins.jpeg import Jpeg, JpegPart
from pixcodec.origins.palette import Palette, by_luminance
from pixcodec.origins.photo_cd import PhotoCD
from pixcodec.origins.ranks import Ranks
from pixcodec.origins.tree import Leaf, Node
from pixcodec.origins.turned import Turned, likeliest
from pixcodec.origins.ycbcr import YCbCr

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pixcodec.origins.base import Origin, Planes, Shape

    # Bytes that planes take when they are coded, by them and planes [h, w, K] that are known.
    Cost = Callable[[Planes, Planes], int]

# In the order in which they are looked for: the first that is found is taken, unless it is unsure.
ORIGINS: tuple[type[Origin], ...] = (Constant, Gray, Enlarged, Jpeg, Palette, PhotoCD, YCbCr, Ranks, Turned)
_KNOWN: tuple[type[Origin], ...] = (Exceptions, Alpha, JpegPart, *ORIGINS)
NUMBERS = {each.number: each for each in _KNOWN}
NAMES = (AUTO, NONE, *(each.name for each in ORIGINS))
WORTH_BYTES = 8  # that an unsure origin must save besides: about what its record takes
TRIAL_SIDE = 192  # of the part of a picture that is coded to compare
TURNS = 2  # that `turns` gives


def find(planes: Planes, levels: int, palette: bytes, choice: str, cost: Cost, jpeg: bytes = b"") -> Node | Leaf:
    """What a picture was made from; a leaf where nothing is found.

    Args:
        planes: uint8[H, W, C].
        levels: of a sample, 256 or 2.
        palette: of mode "P", three bytes a colour.
        choice: of `NAMES`: all origins are tried, none but alpha, or one.
        cost: bytes of planes, for origins that are not smaller by their nature.
        jpeg: the JPEG file that they were decoded from, if it was one.

    Raises:
        ValueError: no such choice.
    """
    if choice not in NAMES:
        message = f"expected an origin of {', '.join(NAMES)}, found {choice}"
        raise ValueError(message)
    cost, kinds = _remembering(cost), [each for each in ORIGINS if choice in {AUTO, each.name}]
    if palette and choice in {AUTO, Ranks.name} and not Constant.recover(planes):
        ordered = _by_palette(planes, palette)
        if ordered is not None and _is_worth(planes, *ordered, cost):
            ranks, (indices,) = ordered
            return Node(ranks, (Leaf(indices.shape, levels, indices),))
    read = Jpeg.of_file(jpeg, planes.shape) if jpeg and Jpeg in kinds else None
    if read:
        if node := _node(*read, planes, levels, [], cost, forced=choice != AUTO):
            return node
        kinds.remove(Jpeg)  # the pixels say nothing that the file did not
    return _find(planes, levels, kinds, cost, forced=choice != AUTO)


def _remembering(cost: Cost) -> Cost:
    """The same costs, of the same planes only once: several origins are compared with the picture as it is."""
    found: dict[tuple[Shape, bytes, bytes], int] = {}

    def remembered(planes: Planes, known: Planes) -> int:
        key = planes.shape, planes.tobytes(), known.tobytes()
        if key not in found:
            found[key] = cost(planes, known)
        return found[key]

    return remembered


def _find(
    planes: Planes,
    levels: int,
    kinds: Sequence[type[Origin]],
    cost: Cost,
    *,
    forced: bool,
    depth: int = trees.MAX_DEPTH // 4,
) -> Node | Leaf:
    if (split := Alpha.recover(planes)) is not None:
        alpha, groups = split
        return Node(alpha, tuple(_find(group, levels, kinds, cost, forced=forced) for group in groups))
    gray = False
    for kind in kinds:
        if (levels == 2 and not kind.bilevel) or (gray and kind.coloured):
            continue
        found = kind.recover(planes)
        if found is None:
            continue
        gray = gray or kind is Gray
        # What has been undone is not looked for again, but where a part of the picture was.
        again = kinds if found[0].again and depth else [each for each in kinds if each is not kind]
        if node := _node(*found, planes, levels, again, cost, forced=forced, depth=depth - 1):
            return node
    return Leaf(planes.shape, levels, planes)


def _node(
    origin: Origin,
    groups: list[Planes],
    planes: Planes,
    levels: int,
    kinds: Sequence[type[Origin]],
    cost: Cost,
    *,
    forced: bool,
    depth: int = 0,
) -> Node | None:
    """The node of what was found, with exceptions where it is not quite right.

    None where it is quite wrong or, unless it is forced, unsure and not worth it.
    """
    if origin.unsure and not forced and not _is_worth(planes, origin, groups, cost):
        return None
    own = levels if origin.bilevel else 256
    rendered, exceptions = origin.render(groups, planes.shape), None
    if not np.array_equal(rendered, planes):
        exceptions = Exceptions.between(planes, rendered, origin.missed)
        if exceptions is None or not np.array_equal(exceptions.render([rendered], planes.shape), planes):
            return None
    turned, shape = None, planes.shape
    if Turned in kinds and (other := origin.transposed()) and (turned := Turned.recover(groups[-1])):
        # As a whole: groups that know others know them as they are.
        origin, groups, shape = other, [turned[0].of(group)[1][0] for group in groups], turned[0].shapes(shape)[0]
    found = []
    for number, group in enumerate(groups):
        # The model of a group that knows others wants them as the group is.
        knows = origin.known(groups[:number], shape).shape[2]
        own_kinds = [kind for kind in kinds if not (knows and kind is Turned)]
        found.append(_find(group, own, own_kinds, cost, forced=False, depth=depth))
    node = Node(origin, tuple(found))
    node = node if turned is None else Node(turned[0], (node,))
    return node if exceptions is None else Node(exceptions, (node,))


def turns(tree: Node | Leaf, planes: Planes) -> list[Node | Leaf]:
    """The tree of a picture, and where it is but that picture, perhaps turned, that and the likeliest of its turns."""
    picture = tree if isinstance(tree, Leaf) else tree.groups[0] if isinstance(tree.origin, Turned) else None
    if not isinstance(picture, Leaf):
        return [tree]
    found: list[Node | Leaf] = [Leaf(planes.shape, picture.levels, planes)]
    for turn in [turn for turn in likeliest(planes) if turn][:TURNS]:
        turned, (group,) = Turned(turn).of(planes)
        found.append(Node(turned, (Leaf(group.shape, picture.levels, group),)))
    return found


def _is_worth(planes: Planes, origin: Origin, groups: Sequence[Planes], cost: Cost) -> bool:
    """Whether the groups need fewer bytes than the picture, or not many more, by coding the middle of each."""

    def estimate(part: Planes, known: Planes) -> float:
        middle = _middle(part.shape)
        return part.size / part[middle].size * cost(part[middle], known[middle])

    knows = [origin.known(groups[:number], planes.shape) for number in range(len(groups))]
    needed = len(origin.pack()) + sum(map(estimate, groups, knows))
    return needed < origin.needs * estimate(planes, planes[:, :, :0]) - WORTH_BYTES


def _middle(shape: tuple[int, ...]) -> tuple[slice, slice]:
    height, width = (
        slice((side - min(side, TRIAL_SIDE)) // 2, (side + min(side, TRIAL_SIDE)) // 2) for side in shape[:2]
    )
    return height, width


def _by_palette(planes: Planes, palette: bytes) -> tuple[Ranks, list[Planes]] | None:
    """The indices in use, ordered by their colours; None where an index has no colour or they are so already."""
    colours = np.frombuffer(palette, np.uint8).reshape(-1, 3)
    used = np.unique(planes).astype(np.uint8)
    if used[-1] >= len(colours):
        return None
    ordered = used[by_luminance(colours[used])]
    return None if (ordered == np.arange(len(used))).all() else Ranks.of(planes, [ordered])


def read(record: bytes, mode: str, shape: Shape, levels: int) -> tuple[tuple[bytes, bytes], Node | Leaf]:
    """Palette and transparency, and the tree, of a record; see `tree.read`."""
    return trees.read(record, mode, shape, levels, NUMBERS)
