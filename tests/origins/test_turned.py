"""Pictures that are coded turned: all turns come back, and the estimate finds the ones that take fewer bytes."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import reference_origins
from PIL import Image
from test_origins import found, noise, smooth, streaks

from pixcodec import codec, container, explain, models, origins
from pixcodec.errors import ContainerError
from pixcodec.origins import Leaf, Node, search
from pixcodec.origins.turned import ALL, BLOCK, LEAST_BITS, TRANSPOSED, Turned, estimates, likeliest, residual
from pixcodec.origins.ycbcr import YCbCr

GOLDEN = Path(__file__).parent.parent / "golden"
SHAPE = (3, 5, 3)


@pytest.mark.parametrize("turn", [turn for turn in ALL if turn])
def test_every_turn_comes_back_as_the_format_has_it(turn: int) -> None:
    planes = noise(SHAPE)
    origin, (group,) = Turned(turn).of(planes)
    assert [group.shape] == origin.shapes(SHAPE)
    np.testing.assert_array_equal(origin.render([group], SHAPE), planes)
    record = origins.write(Node(origin, (Leaf(group.shape, 256, group),)), "RGB", (b"", b""), iter([b""]))
    _, _, own = reference_origins.read(record, container.MODES["RGB"], SHAPE)
    np.testing.assert_array_equal(reference_origins.render(own, reference_origins.in_turn([group])), planes)
    assert origins.words(search.read(record, "RGB", SHAPE, 256)[1]).startswith("turned: ")
    np.testing.assert_array_equal(origin.back(group[..., 0].astype(np.float32)), planes[..., 0])


def test_the_turns_are_the_eight_of_a_square() -> None:
    groups = [Turned(turn).of(noise((4, 4, 1)))[1][0].tobytes() for turn in ALL]
    assert len({*groups}) == len(ALL)


@pytest.mark.parametrize("turn", [0, 8, 255])
def test_other_turns_are_refused(turn: int) -> None:
    with pytest.raises(ContainerError, match=f"turn {turn} cannot be"):
        search.read(bytes([0, Turned.number, turn, 0]), "RGB", SHAPE, 256)


@pytest.mark.parametrize("turn", ALL)
def test_the_estimate_is_that_of_the_turned_picture(turn: int) -> None:
    inside = 4 * BLOCK + 4  # with the margins, so that blocks are the same from either side
    plane = np.ascontiguousarray(smooth((inside, inside + BLOCK, 1)) // 2 + noise((inside, inside + BLOCK, 1)) % 32)
    _, (group,) = Turned(turn).of(plane)
    assert residual(plane[..., 0], turn) == pytest.approx(residual(group[..., 0], 0), abs=1e-4)


def test_of_streaks_the_turn_is_found_that_foretells_them() -> None:
    planes = streaks(90, 120)
    bits = estimates(planes, ALL)
    assert min(bits) < bits[0] - 1
    assert likeliest(planes)[0] == int(np.argmin(bits))
    recovered = Turned.recover(planes)
    assert recovered is not None
    assert recovered[0] == Turned(TRANSPOSED)
    assert Turned.recover(np.ascontiguousarray(planes.swapaxes(0, 1))) is None


def test_small_pictures_and_drawings_stay_as_they_are() -> None:
    assert estimates(streaks(30, 60), ALL) == []
    drawn = streaks(90, 60).repeat(3, axis=1)
    assert estimates(drawn, ALL) == []
    assert likeliest(drawn) == [*ALL]
    assert Turned.recover(drawn) is None
    alike = noise((100, 100, 1))
    assert abs(np.subtract(*estimates(np.maximum(alike, alike.swapaxes(0, 1)), (0, TRANSPOSED)))) < LEAST_BITS


def test_large_pictures_are_looked_at_in_part() -> None:
    planes = streaks(2200, 1100)
    bits = estimates(planes, (0, TRANSPOSED))
    assert bits[1] < bits[0] - 1


@pytest.mark.parametrize(("factors", "replicated"), [((2, 2), True), ((2, 2), False), ((1, 1), True), ((1, 2), True)])
def test_luma_and_chroma_are_turned_together(factors: tuple[int, int], replicated: bool) -> None:  # noqa: FBT001
    origin = YCbCr(1, factors, (factors[0] - 1, 0), replicated)
    *chroma, luma = origin.shapes((128, 140, 3))
    groups = [*(noise(each, n) // 8 + 110 for n, each in enumerate(chroma)), streaks(*luma[:2])[..., :1] // 4 + 90]
    planes = origin.render(groups, (128, 140, 3))
    tree = found(planes)
    assert isinstance(tree, Node)
    if factors == (1, 2):  # chroma that is coarse along columns alone has no layout
        assert origin.transposed() is None
        assert tree.origin == origin
        return
    turned = [Turned(TRANSPOSED).of(group)[1][0] for group in groups]
    assert tree.origin == Turned(TRANSPOSED)
    (inner,) = tree.groups
    assert isinstance(inner, Node)
    assert inner.origin == YCbCr(1, factors, (0, factors[0] - 1), replicated)
    assert all(isinstance(group, Leaf) for group in inner.groups)
    np.testing.assert_array_equal(inner.origin.render(turned, (140, 128, 3)), planes.swapaxes(0, 1))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(models.ENVIRONMENT, str(GOLDEN))


@pytest.mark.usefixtures("tiny")
def test_the_highest_effort_keeps_the_smallest_of_the_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "DEFAULTS", models.DEFAULTS | {"RGB": "model_tiny_rgb"})
    monkeypatch.setattr(codec, "candidates", lambda *_: [])
    planes = streaks(64, 80)
    told: list[tuple[int, int]] = []
    most = codec.encode(planes, "RGB", effort=9, origin="auto", progress=lambda *now: told.append(now))
    others = [codec.encode(planes, "RGB", effort=9, origin=origin) for origin in ("none", "turned")]
    assert len(most.data) <= min(len(each.data) for each in others)
    assert told[-1][0] == told[-1][1]
    np.testing.assert_array_equal(codec.decode(most.data).planes, planes)
    assert [type(each) for each in search.turns(Leaf(planes.shape, 256, planes), planes)] == [Leaf, Node, Node]


@pytest.mark.usefixtures("tiny")
def test_a_turned_file_is_explained_as_the_picture_stands() -> None:
    planes = streaks(64, 80)
    planes[:, 40:] = 7
    turned = codec.encode(planes, "RGB", model="model_tiny_rgb", origin="turned")
    assert explain.turn_of(container.read_header(turned.data)) == Turned(TRANSPOSED)
    page = explain.page(planes, turned.data, "a", turned.seconds)
    assert "80x64 RGB" in page
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", page)
    picture, heat = (np.asarray(Image.open(io.BytesIO(base64.b64decode(each)))) for each in pictures[:2])
    np.testing.assert_array_equal(picture, planes)
    assert heat.shape == planes.shape
    assert heat[:, :40].mean() > 10 * heat[:, 50:].mean()
