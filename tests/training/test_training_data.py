"""Pictures become versions, versions cached planes, and those numbered batches of the codes that the codec sees."""

from __future__ import annotations

import dataclasses
import shutil
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import random_networks as nets
import tiny_training as tiny

from pixcodec.errors import TrainingError
from pixcodec.exact.predict import predictions
from pixcodec.exact.reference import network as reference
from pixcodec.nets.photo import Configuration
from pixcodec.origins.ycbcr import YCbCr
from pixcodec.training import data, luma_chroma
from pixcodec.training.pasts import PASTS, with_past
from pixcodec.training.sources import Picture, find, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "ProcessPoolExecutor", tiny.InThisProcess)


def training(items: Sequence[data.Item]) -> list[data.Item]:
    return [item for item in items if not item.version.picture.validates]


@pytest.mark.parametrize("parameters", [nets.SMALL, nets.SMALL_GRAY, nets.FAR_COLOUR], ids=["RGB", "gray", "far"])
@pytest.mark.parametrize("kind", ["random", "smooth", "white", "black", "checkers"])
def test_codes_are_those_of_the_reference(parameters: Any, kind: str) -> None:
    planes = nets.picture(kind, 5, 6, parameters.channels)
    predicted = predictions(planes, parameters)
    batch = data.codes(planes, predicted, parameters)
    assert batch.trunk.dtype == batch.heads.dtype == np.int8
    assert batch.centre.dtype == batch.values.dtype == np.uint8
    np.testing.assert_array_equal(batch.values[0], planes)
    for y in range(5):
        for x in range(6):
            trunk, heads, centres = tiny.codes_by_hand(planes, predicted, parameters, y, x)
            assert batch.trunk[0, y, x].tolist() == trunk
            assert batch.heads[0, y, x].tolist() == heads
            assert batch.centre[0, y, x].tolist() == centres


def test_codes_of_a_crop_know_its_place_in_the_picture() -> None:
    planes = nets.picture("random", 5, 12, 3)
    predicted = predictions(planes, nets.SMALL)
    batch = data.codes(planes, predicted, nets.SMALL, Configuration(3, nets.SMALL.count, phases=3), (9, 6))
    for y in range(5):
        for x in range(12):
            place = reference.phase_codes(y + 9, x + 6, 3)
            trunk, heads, _ = tiny.codes_by_hand(planes, predicted, nets.SMALL, y, x, place)
            assert batch.trunk[0, y, x].tolist() == trunk
            assert batch.heads[0, y, x].tolist() == heads
    assert reference.phase_codes(5, 6, 3) == [32, -32, 32, -32, 32, 32]


def test_codes_of_a_crop_are_those_of_known_planes_in_the_whole_picture() -> None:
    parameters = nets.SMALL_LUMA
    form = Configuration(1, parameters.count, phases=1, known=2, known_taps=nets.KNOWN_TAPS)
    planes = nets.picture("random", 23, 26, 3)
    predicted = predictions(planes, parameters)
    version = data.Version(Picture(Path(), "", "", "", validates=False, scale=1), 0, 0, planes=luma_chroma.LUMA)
    batches = data.Batches([data.Item(version, planes, predicted)], parameters, {"crop": 9, "batch": 40}, form)
    batch = batches.make(0)
    known, luma = planes[:, :, :2], planes[:, :, 2:]
    for crop in range(40):
        ((top, left),) = np.argwhere(
            (np.lib.stride_tricks.sliding_window_view(luma[:, :, 0], (9, 9)) == batch.values[crop, :, :, 0]).all((2, 3))
        )
        for y, x in ((0, 0), (8, 8), (3, 0), (0, 5)):
            beforehand = reference.known_codes(known, nets.KNOWN_TAPS, top + y, left + x)
            assert batch.trunk[crop, y, x, -10:].tolist() == beforehand
            assert batch.heads[crop, y, x, -10:].tolist() == beforehand
            rest, heads, centres = tiny.codes_by_hand(luma, predicted, parameters, top + y, left + x)
            assert batch.trunk[crop, y, x, :-12].tolist() == rest
            assert batch.heads[crop, y, x, :-12].tolist() == heads
            assert batch.centre[crop, y, x].tolist() == centres


@pytest.mark.parametrize("name", luma_chroma.NAMES)
def test_converted_photographs_are_what_an_origin_renders(name: str) -> None:
    planes, shapes = nets.picture("smooth", 14, 17, 3), set()
    for number in range(60):
        group = luma_chroma.converted(planes, name, number)
        np.testing.assert_array_equal(luma_chroma.converted(planes, name, number), group)
        shapes.add(group.shape)
        assert group.dtype == np.uint8
    if name == luma_chroma.LUMA:
        assert shapes == {(14, 17, 3)}
    else:
        assert shapes == {(7, 9, 2), (7, 8, 2), (14, 9, 2), (14, 8, 2), (14, 17, 2)}
        assert any(not luma_chroma.converted(planes, name, number)[:, :, 0].any() for number in range(9))


@pytest.mark.parametrize("replicated", [True, False])
def test_separated_planes_render_to_nearly_the_picture(replicated: bool) -> None:  # noqa: FBT001
    y, x, c = np.ogrid[:40, :48, :3]
    planes = np.clip(90 + y + x + 9 * c, 0, 255).astype(np.uint8)
    origin = YCbCr(1, (2, 2), (1, 0), replicated)
    luma, *chroma = luma_chroma.separated(planes, origin)
    assert [each.shape for each in (*chroma, luma)] == origin.shapes(planes.shape)
    assert np.abs(origin.render([*chroma, luma], planes.shape).astype(int) - planes)[2:-2, 2:-2].max() <= 3


def test_a_share_of_the_pictures_has_one_more_version_with_a_past(tmp_path: Path) -> None:
    found = find([tiny.make_pictures(tmp_path)])
    plain = data.versions(found, {"seed": 3})
    every = data.versions(found, {"seed": 3, "pasts": {"share": 1, "max_pixels": 900}})
    pasts = [version for version in every if version.past is not None]
    assert [version for version in every if version.past is None] == plain
    assert {v.picture.name for v in pasts} == {p.name for p in found if not p.validates}
    assert {v.pixels for v in pasts} == {900}
    assert not any(v.past for v in data.versions(found, {"seed": 3, "pasts": {"share": 0, "max_pixels": 900}}))


@pytest.mark.parametrize("channels", [1, 3])
def test_pasts_change_pictures_and_are_the_same_ones_again(channels: int) -> None:
    planes = np.ascontiguousarray(nets.picture("smooth", 37, 51, channels))
    made = [with_past(planes, number) for number in range(24)]
    assert {each.shape for each in made} == {planes.shape}
    assert {each.dtype for each in made} == {np.dtype(np.uint8)}
    assert len({each.tobytes() for each in made}) > len(PASTS)
    for number in (0, 7):
        np.testing.assert_array_equal(with_past(planes, number), made[number])


def test_the_eight_turns_are_the_squares_symmetries() -> None:
    planes = nets.picture("random", 3, 5, 3)
    every = [data.turned(planes, turn) for turn in range(8)]
    np.testing.assert_array_equal(every[0], planes)
    assert len({each.tobytes() for each in every}) == 8
    for turn, each in enumerate(every):
        assert each.shape[:2] == ((3, 5) if turn % 2 == 0 else (5, 3))
        assert each.flags.c_contiguous
        assert sorted(map(tuple, each.reshape(-1, 3))) == sorted(map(tuple, planes.reshape(-1, 3)))


@pytest.mark.parametrize(
    ("height", "width", "pixels"),
    [
        (30, 60, 500),
        (60, 30, 500),
        (9, 9, 1),
    ],
)
def test_a_cut_is_the_middle_in_the_pictures_proportions(height: int, width: int, pixels: int) -> None:
    y, x = np.mgrid[:height, :width]
    part = data.cut(np.stack([y, x], 2).astype(np.uint8), pixels)
    rows, columns = part.shape[:2]
    factor = (pixels / (height * width)) ** 0.5
    assert rows * columns <= pixels
    assert abs(rows - height * factor) < 1
    assert abs(columns - width * factor) < 1
    (top, left), (bottom, right) = part[0, 0], part[-1, -1]
    assert abs(int(top) - (height - 1 - int(bottom))) <= 1
    assert abs(int(left) - (width - 1 - int(right))) <= 1


def test_what_is_small_enough_is_not_cut() -> None:
    planes = nets.picture("random", 6, 7, 3)
    assert data.cut(planes, 42) is planes


def some(kind: str = "deb", *, validates: bool = False, count: int = 12) -> list[Picture]:
    from pathlib import Path

    return [Picture(Path(f"{n}.png"), f"s/{n}.png", "s", kind, validates, 1) for n in range(count)]


def test_each_kind_has_as_many_versions_as_its_recipe_says() -> None:
    form = {"versions": {"extra": 3, "deb": 8, "npm": 99, "default": 2}, "max_pixels": 77, "seed": 1}
    for kind, number in (("extra", 3), ("deb", 8), ("npm", 8), ("folder", 2)):
        for p in some(kind):
            turns = [v.turn for v in data.versions([p], form)]
            assert len(turns) == len(set(turns)) == number
            assert set(turns) <= set(range(8))
    assert {v.pixels for v in data.versions(some(), form)} == {77}
    assert len(data.versions(some(), {})) == len(some())


def test_versions_depend_on_seed_and_name_alone() -> None:
    form = {"versions": {"default": 2}, "seed": 1}
    forward, backward = data.versions(some(), form), data.versions(some()[::-1], form)
    assert sorted(forward, key=repr) == sorted(backward, key=repr)
    turns = [v.turn for v in forward]
    assert len(set(turns)) == 8
    assert turns != [v.turn for v in data.versions(some(), {**form, "seed": 2})]


def test_a_validation_picture_has_one_version_as_it_is() -> None:
    assert data.versions(some(validates=True), {"versions": {"default": 5}}) == [
        data.Version(p, 0, 0) for p in some(validates=True)
    ]


@pytest.mark.parametrize("size", [(100, 120), (192, 192), (300, 700), (900, 250), (1000, 1000)])
def test_validation_measures_the_middle_with_what_is_before_and_around_it(size: tuple[int, int]) -> None:
    height, width = size
    planes = np.stack(np.mgrid[:height, :width], 2).astype(np.int16)
    part = data.validation_part(planes)
    rows, columns = data.window(part)
    measured = part[rows, columns]
    assert measured.shape[:2] == (min(height, 192), min(width, 192))
    assert part.shape[0] <= 192 + 96
    assert part.shape[1] <= 192 + 2 * 96
    for axis in (0, 1):
        first, last = int(measured[0, 0, axis]), int(measured[-1, -1, axis])
        assert abs(first - (size[axis] - 1 - last)) <= (192 if axis == 0 and height < 2 * 288 else 1)
    assert rows.stop == part.shape[0]


def test_items_are_the_versions_with_their_predictions(items: Sequence[data.Item], pictures: Path) -> None:
    assert len(items) == 2 * 3 + 1
    for item in items:
        planes = read(item.version.picture, 3)
        if not item.version.picture.validates:
            planes = data.turned(data.cut(planes, item.version.pixels), item.version.turn)
            assert planes[:, :, 0].size <= tiny.RECIPE["data"]["max_pixels"]
        np.testing.assert_array_equal(item.planes, planes)
        np.testing.assert_array_equal(item.predictions, predictions(planes, tiny.PARAMETERS))
    assert [item.version for item in items] == data.versions(find([pictures]), tiny.RECIPE["data"])


@pytest.mark.usefixtures("in_this_process")
def test_what_the_cache_has_is_not_computed_again(
    items: Sequence[data.Item], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        pytest.fail("computed again")

    monkeypatch.setattr(data, "predictions", never)
    monkeypatch.setattr(data, "read", never)
    told: list[tuple[int, int]] = []
    again = data.prepare(
        [item.version for item in items], tiny.PARAMETERS, cache, progress=lambda *numbers: told.append(numbers)
    )
    assert told == [(n + 1, len(items)) for n in range(len(items))]
    for one, other in zip(items, again, strict=True):
        np.testing.assert_array_equal(one.predictions, other.predictions)


def one_version(pictures: Path) -> data.Version:
    return data.versions(find([pictures]), tiny.RECIPE["data"])[0]


def test_the_cache_knows_everything_that_planes_depend_on(pictures: Path, tmp_path: Path) -> None:
    version = one_version(pictures)
    copied = tmp_path / "copy.png"
    shutil.copy(version.picture.path, copied)
    same = dataclasses.replace(version, picture=dataclasses.replace(version.picture, path=copied, name="other"))
    key = data._key(version, nets.SMALL)
    assert data._key(same, nets.SMALL) == key
    copied.write_bytes(copied.read_bytes() + b"\0")
    others = [
        (same, nets.SMALL),
        (version, dataclasses.replace(nets.SMALL, base=4)),
        (dataclasses.replace(version, turn=(version.turn + 1) % 8), nets.SMALL),
        (dataclasses.replace(version, pixels=version.pixels + 1), nets.SMALL),
        (dataclasses.replace(version, picture=dataclasses.replace(version.picture, scale=2)), nets.SMALL),
        (dataclasses.replace(version, picture=dataclasses.replace(version.picture, validates=True)), nets.SMALL),
    ]
    assert len({key, *(data._key(*other) for other in others)}) == len(others) + 1


@pytest.mark.usefixtures("in_this_process")
def test_a_cache_that_cannot_be_written_is_explained(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "cache"):
        with pytest.raises(TrainingError, match="must be a folder with room"):
            data.prepare([one_version(pictures)], tiny.PARAMETERS, place)


@pytest.mark.usefixtures("in_this_process")
def test_half_written_files_are_made_anew(pictures: Path, tmp_path: Path) -> None:
    version = one_version(pictures)
    first = data.prepare([version], tiny.PARAMETERS, tmp_path)[0]
    expected = np.array(first.predictions)
    next(iter(tmp_path.glob("*.predictions.npy"))).rename(tmp_path / "unfinished.tmp")
    again = data.prepare([version], tiny.PARAMETERS, tmp_path)[0]
    np.testing.assert_array_equal(again.predictions, expected)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize("damage", [shorten, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"abc")])
@pytest.mark.parametrize("name", ["planes", "predictions"])
@pytest.mark.usefixtures("in_this_process")
def test_a_damaged_cache_is_explained(
    pictures: Path, tmp_path: Path, damage: Callable[[Path], None], name: str
) -> None:
    version = one_version(pictures)
    data.prepare([version], tiny.PARAMETERS, tmp_path)
    damage(next(iter(tmp_path.glob(f"*.{name}.npy"))))
    with pytest.raises(TrainingError):
        data.prepare([version], tiny.PARAMETERS, tmp_path)


@pytest.mark.usefixtures("in_this_process")
def test_a_picture_that_cannot_be_read_stops_preparation(pictures: Path, tmp_path: Path) -> None:
    version = one_version(pictures)
    path = tmp_path / "text.png"
    path.write_text("no picture")
    wanted = dataclasses.replace(version, picture=dataclasses.replace(version.picture, path=path))
    with pytest.raises(TrainingError, match=r"text\.png must be a picture"):
        data.prepare([version, wanted], tiny.PARAMETERS, tmp_path / "cache")


@pytest.mark.usefixtures("in_this_process")
def test_a_picture_that_has_gone_is_named_and_not_the_cache(pictures: Path, tmp_path: Path) -> None:
    version = one_version(pictures)
    gone = dataclasses.replace(version.picture, path=tmp_path / "gone.png")
    with pytest.raises(TrainingError) as caught:
        data.prepare([dataclasses.replace(version, picture=gone)], tiny.PARAMETERS, tmp_path / "cache")
    assert not str(caught.value).startswith("the cache")


def same(one: data.Batch, other: data.Batch) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


def test_a_batch_depends_on_seed_and_number_alone(items: Sequence[data.Item]) -> None:
    form = tiny.RECIPE["data"]
    batches = data.Batches(training(items), tiny.PARAMETERS, form)
    forward = [batches.make(n) for n in range(6)]
    other = data.Batches(training(items), tiny.PARAMETERS, dict(form))
    assert all(same(forward[n], other.make(n)) for n in (5, 0, 3, 3))
    assert not any(same(forward[n], forward[m]) for n in range(6) for m in range(n))
    assert not same(forward[0], data.Batches(training(items), tiny.PARAMETERS, {**form, "seed": 6}).make(0))


@pytest.mark.parametrize("ahead", [1, 6])
def test_batches_made_ahead_are_those_made_by_number(items: Sequence[data.Item], ahead: int) -> None:
    batches = data.Batches(training(items), tiny.PARAMETERS, tiny.RECIPE["data"])
    series = batches.run(4, ahead)
    assert all(same(batch, batches.make(4 + n)) for n, batch in enumerate(islice(series, 8)))
    series.close()


def test_what_goes_wrong_in_the_loader_is_raised_where_the_batch_is_wanted(
    items: Sequence[data.Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = data.Batches(training(items), tiny.PARAMETERS, tiny.RECIPE["data"])

    def fail(number: int) -> data.Batch:
        raise OSError(f"batch {number}")

    monkeypatch.setattr(batches, "make", fail)
    series = batches.run(7)
    with pytest.raises(OSError, match="batch 7"):
        next(series)


def test_crops_are_parts_of_the_pictures_with_their_codes(items: Sequence[data.Item]) -> None:
    batches = data.Batches(training(items), tiny.PARAMETERS, tiny.RECIPE["data"])
    assert batches.pixels == tiny.PIXELS
    side = tiny.CROP
    whole = [data.codes(item.planes, item.predictions, tiny.PARAMETERS) for item in training(items)]
    drawn = set()
    for number in range(8):
        batch = batches.make(number)
        assert batch.trunk.shape == (tiny.BATCH, side, side, 3 * (1 + tiny.PARAMETERS.count))
        for n in range(tiny.BATCH):
            place = next(
                (k, y, x)
                for k, w in enumerate(whole)
                for y in range(w.values.shape[1] - side + 1)
                for x in range(w.values.shape[2] - side + 1)
                if np.array_equal(w.values[0, y : y + side, x : x + side], batch.values[n])
            )
            drawn.add(place)
            k, y, x = place
            for part in ("trunk", "heads", "centre"):
                expected = getattr(whole[k], part)[0, y : y + side, x : x + side]
                np.testing.assert_array_equal(getattr(batch, part)[n], expected)
    assert len({k for k, _, _ in drawn}) > 3
    assert len(drawn) > 12


def made(source: str, kind: str, height: int, width: int) -> data.Item:
    from pathlib import Path

    picture = Picture(Path("a.png"), "a", source, kind, validates=False, scale=1)
    planes = np.zeros((height, width, 3), np.uint8)
    return data.Item(data.Version(picture, 0, 0), planes, np.zeros((height, width, 3, tiny.PARAMETERS.count), np.int16))


def test_sources_weigh_by_the_root_of_their_pixels_times_their_boost() -> None:
    items = [made("large", "deb", 30, 30), made("large", "deb", 30, 10), made("small", "extra", 10, 30)]
    weights = data.weights(items, {"extra": 2.0})
    assert weights.sum() == pytest.approx(1)
    assert weights[0] / weights[1] == pytest.approx(3)
    assert (weights[0] + weights[1]) / weights[2] == pytest.approx((1200 / 300) ** 0.5 / 2)


def test_pictures_smaller_than_a_crop_are_left_out_and_none_left_is_explained() -> None:
    small, large = made("a", "deb", 23, 99), made("b", "deb", 24, 24)
    form = {"crop": 24, "batch": 1}
    assert data.Batches([small, large], tiny.PARAMETERS, form).items == [large]
    with pytest.raises(TrainingError, match="crops of 24 pixels need pictures as large"):
        data.Batches([small], tiny.PARAMETERS, form)
