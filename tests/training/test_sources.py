"""Which pictures a folder gives, how they are split, and how they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from pixcodec.errors import TrainingError
from pixcodec.training.sources import Picture, find, read, size

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "deb\tpackage\ta.png\tlights/a.png\t10\t8\ttrain\t2"


def save(path: Path, size: tuple[int, int] = (10, 8), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(path.name))
    planes = random.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(planes).convert(mode).save(path)
    return path


def test_a_list_says_kind_source_split_and_scale(tmp_path: Path) -> None:
    for name in ("lights/a.png", "lights/b.png", "trees/c.png"):
        save(tmp_path / name)
    lines = [
        "# a comment",
        "",
        GOOD,
        "npm\tother\tb.png\tlights/b.png\t10\t8\tval\t1\tmore\tfields",
        "npm\tother\td.png\tgone/d.png\t10\t8\ttrain\t1",
        "extra\tother\tc.png\ttrees/c.png\t10\t8\ttrain\t4",
    ]
    (tmp_path / "photos.txt").write_text("\n".join(lines), encoding="utf-8")
    assert find([tmp_path]) == [
        Picture(tmp_path / "lights/a.png", "lights/a.png", "lights", "deb", False, 2),
        Picture(tmp_path / "lights/b.png", "lights/b.png", "lights", "npm", True, 1),
        Picture(tmp_path / "trees/c.png", "trees/c.png", "trees", "extra", False, 4),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "deb\tpackage\ta.png\tlights/a.png\t10\t8\ttrain",
        "deb package a.png lights/a.png 10 8 train 1",
        GOOD.replace("train", "test"),
        GOOD[:-1] + "5",
        GOOD[:-1] + "0",
        GOOD[:-1] + "1.5",
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    save(tmp_path / "lights/a.png")
    (tmp_path / "photos.txt").write_text(f"{GOOD}\n{line}\n", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"photos\.txt line 2 must hold") as caught:
        find([tmp_path])
    assert "\n" not in str(caught.value)


def test_a_list_that_is_no_text_is_explained(tmp_path: Path) -> None:
    (tmp_path / "photos.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TrainingError):
        find([tmp_path])


def test_a_plain_folder_gives_all_its_pictures_by_name(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "deep/er/c.webp"):
        save(tmp_path / "mine" / name)
    (tmp_path / "mine" / "notes.md").write_text("no picture")
    found = find([tmp_path / "mine"])
    assert [p.name for p in found] == ["mine/a.JPG", "mine/b.png", "mine/deep/er/c.webp"]
    assert {(p.source, p.kind, p.scale) for p in found} == {("mine", "folder", 1)}


def test_a_plain_folders_split_depends_on_names_alone_and_takes_about_a_twentieth(tmp_path: Path) -> None:
    splits = []
    for root in ("here/mine", "there/mine"):
        (tmp_path / root).mkdir(parents=True)
        for n in range(400):
            (tmp_path / root / f"{n}.png").touch()
        splits.append([(p.name, p.validates) for p in find([tmp_path / root])])
    assert splits[0] == splits[1]
    assert 8 <= sum(validates for _, validates in splits[0]) <= 36


def test_folders_are_taken_in_the_order_given(tmp_path: Path) -> None:
    for name in ("b/1.png", "a/1.png"):
        save(tmp_path / name)
    assert [p.name for p in find([str(tmp_path / "b"), tmp_path / "a"])] == ["b/1.png", "a/1.png"]


def test_a_missing_or_empty_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="found none at"):
        find([tmp_path / "nothing"])
    with pytest.raises(TrainingError, match="must hold pictures"):
        find([tmp_path])


def picture(path: Path, scale: int = 1) -> Picture:
    return Picture(path, path.name, "source", "folder", validates=False, scale=scale)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK"])
def test_pictures_of_any_mode_become_planes(tmp_path: Path, mode: str) -> None:
    path = save(tmp_path / "a.tif", mode=mode)
    for channels in (1, 3):
        planes = read(picture(path), channels)
        assert (planes.shape, planes.dtype) == ((8, 10, channels), np.uint8)


def test_planes_are_the_pictures_samples(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    with Image.open(path) as image:
        np.testing.assert_array_equal(read(picture(path), 3), np.asarray(image))
        np.testing.assert_array_equal(read(picture(path), 1)[:, :, 0], np.asarray(image.convert("L")))


@pytest.mark.parametrize(("scale", "shape"), [(2, (4, 5)), (3, (2, 3)), (4, (2, 2))])
def test_a_scale_reduces_the_picture(tmp_path: Path, scale: int, shape: tuple[int, int]) -> None:
    assert read(picture(save(tmp_path / "a.png"), scale), 3).shape == (*shape, 3)


def test_a_scale_leaves_at_least_a_pixel(tmp_path: Path) -> None:
    assert read(picture(save(tmp_path / "a.png", (9, 1)), 4), 3).shape == (1, 2, 3)


@pytest.mark.parametrize("damage", ["gone", "empty", "text", "cut"])
def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path, damage: str) -> None:
    path = save(tmp_path / "a.png", (60, 60))
    data = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes({"empty": b"", "text": b"no picture", "cut": data[: len(data) // 2]}[damage])
    with pytest.raises(TrainingError, match=r"a\.png must be a picture") as caught:
        read(picture(path), 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 9])
def test_a_size_is_that_of_what_is_read(tmp_path: Path, scale: int) -> None:
    picture = Picture(save(tmp_path / "a.png", (11, 8)), "a", "lights", "deb", validates=False, scale=scale)
    assert size(picture) == read(picture, 3).shape[:2]


def test_a_size_of_no_picture_is_explained(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(TrainingError, match=r"a\.png must be a picture"):
        size(Picture(tmp_path / "a.png", "a", "lights", "deb", validates=False, scale=1))
