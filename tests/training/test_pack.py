"""A pack is small, lossless, balanced, in parts without a crop in common, and trains like the pictures it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import random_networks as nets
import tiny_training as tiny
from PIL import Image

from pixcodec.errors import TrainingError
from pixcodec.training import data, pack, sources

if TYPE_CHECKING:
    from pathlib import Path

SHAPES = {"wide": (60, 300), "high": (250, 80), "small": (50, 40), "many/a": (130, 150), "many/b": (130, 150)}


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Noisy pictures of several sources, one to be reduced, two to validate with, the last one WebP already."""
    monkeypatch.setattr(pack, "SIDE", 100)
    folder, lines = tmp_path / "photographs", []
    for n, (name, (height, width)) in enumerate(SHAPES.items()):
        scale, split = (2, "train") if name == "high" else (1, "val" if name == "small" else "train")
        add(
            folder,
            lines,
            f"source{n}/{name.replace('/', '_')}.png",
            nets.picture("smooth", height, width, 3),
            (split, scale),
        )
    add(folder, lines, "source9/ready.webp", nets.picture("smooth", 90, 100, 3), ("train", 1))
    add(folder, lines, "source9/large.webp", nets.picture("clipped", 400, 500, 3), ("val", 1))
    (folder / sources.LIST).write_text("\n".join(lines))
    return folder


def add(folder: Path, lines: list[str], name: str, planes: np.ndarray, how: tuple[str, int]) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(planes).save(folder / name, **({"lossless": True, "exact": True} if "webp" in name else {}))
    height, width = planes.shape[:2]
    lines.append("\t".join(map(str, ("extra", "package", name, name, width, height, *how))))


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def packed(photographs: Path, folder: Path, **options: float) -> list[sources.Picture]:
    written = pack.run([photographs], folder, **options)  # type: ignore[arg-type]
    assert written == size(folder)
    return sources.find([folder])


def place(picture: sources.Picture) -> tuple[int, int]:
    """Top and left, from the name."""
    _, *numbers = picture.path.stem.split("-")
    return tuple(map(int, numbers)) if numbers else (0, 0)  # type: ignore[return-value]


def test_crops_cover_each_picture_once_and_are_its_pixels(photographs: Path, tmp_path: Path) -> None:
    originals = {(p.source, p.path.stem): sources.read(p, 3) for p in sources.find([photographs]) if not p.validates}
    covered = {key: np.zeros(planes.shape[:2], int) for key, planes in originals.items()}
    for picture in packed(photographs, tmp_path / "out"):
        if picture.validates:
            continue
        key, crop, (top, left) = (
            (picture.source, picture.path.stem.split("-")[0]),
            sources.read(picture, 3),
            place(picture),
        )
        part = slice(top, top + crop.shape[0]), slice(left, left + crop.shape[1])
        assert max(crop.shape[:2]) <= 100
        np.testing.assert_array_equal(crop, originals[key][part])
        covered[key][part] += 1
        assert (picture.kind, picture.scale) == ("extra", 1)
    assert covered
    assert all((count == 1).all() for count in covered.values())


def test_what_is_webp_and_whole_is_taken_as_it_is(photographs: Path, tmp_path: Path) -> None:
    packed(photographs, tmp_path / "out")
    ready = photographs / "source9" / "ready.webp"
    assert (tmp_path / "out" / "source9" / "ready.webp").read_bytes() == ready.read_bytes()


def test_validation_measures_the_same_pixels(photographs: Path, tmp_path: Path) -> None:
    parts = []
    for folder, found in ((photographs, sources.find([photographs])), (None, packed(photographs, tmp_path / "out"))):
        del folder
        parts.append({p.path.stem: data.validation_part(sources.read(p, 3)) for p in found if p.validates})
    assert sorted(parts[0]) == sorted(parts[1]) == ["large", "small"]
    for name, planes in parts[0].items():
        np.testing.assert_array_equal(parts[1][name], planes)
    assert size(tmp_path / "out" / "source9") < size(photographs / "source9"), "only that part is carried"


def test_parts_have_no_crop_in_common_and_all_crops_together(photographs: Path, tmp_path: Path) -> None:
    whole = {p.name for p in packed(photographs, tmp_path / "whole") if not p.validates}
    thirds = [packed(photographs, tmp_path / str(k), part=k, parts=3) for k in (1, 2, 3)]
    names = [[p.name for p in third if not p.validates] for third in thirds]
    assert all(len(third) >= 3 for third in names)
    assert sorted(name for third in names for name in third) == sorted(whole)
    assert all(sum(p.validates for p in third) == 2 for third in thirds)


def test_a_pack_is_never_larger_than_it_may_be_and_no_source_takes_all(photographs: Path, tmp_path: Path) -> None:
    everything = size(photographs)
    packed(photographs, tmp_path / "whole")
    whole = size(tmp_path / "whole")
    for n, share in enumerate((0.6, 0.75, 0.9)):
        found = packed(photographs, tmp_path / str(n), megabytes=share * whole / 1e6)
        assert 0.5 * share * whole < size(tmp_path / str(n)) <= share * whole < everything
        assert len({p.source for p in found if not p.validates}) >= 4


def test_lossless_sources_get_more(tmp_path: Path) -> None:
    folder, lines = tmp_path / "photographs", []
    planes = nets.picture("random", 200, 200, 3)
    for name in ("a/lossless.png", "b/lossy.jpg"):
        add(folder, lines, name, planes, ("train", 1))
    (folder / sources.LIST).write_text("\n".join(lines))
    shares = pack._shares([crop for p in sources.find([folder]) for crop in pack.crops(p)])
    assert shares["a"] == pytest.approx(pack.LOSSLESS * shares["b"])


def test_sources_that_share_a_name_are_both_kept(tmp_path: Path) -> None:
    folders = [tmp_path / "one" / "photos", tmp_path / "two" / "photos"]
    for n, folder in enumerate(folders):
        folder.mkdir(parents=True)
        for k in range(3):
            Image.fromarray(nets.picture("random", 30 + n, 40, 3)).save(folder / f"{k}.png")
    pack.run(folders, tmp_path / "out")
    found = sources.find([tmp_path / "out"])
    assert sorted(Image.open(p.path).size for p in found) == [(40, 30)] * 3 + [(40, 31)] * 3


def test_a_pack_is_prepared_as_any_folder_is(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "ProcessPoolExecutor", tiny.InThisProcess)
    found = packed(pictures, tmp_path / "out")
    items = data.prepare(data.versions(found, tiny.RECIPE["data"]), tiny.PARAMETERS, tmp_path / "cache")
    assert sum(item.version.picture.validates for item in items) == tiny.SPLITS.count("val")
    assert len(items) == 2 * tiny.SPLITS.count("train") + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part": 3, "parts": 2}, "--part must be 1 to 2, found 3"),
        ({"part": 0}, "--part must be 1 to 1, found 0"),
        ({"megabytes": 0.001}, "--megabytes must leave room for the validation pictures, found 0.001"),
    ],
)
def test_what_cannot_be_packed_is_explained(
    photographs: Path, tmp_path: Path, options: dict[str, float], message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        pack.run([photographs], tmp_path / "out", **options)  # type: ignore[arg-type]


def test_other_files_are_never_mixed_with_a_pack(photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(TrainingError, match="--out needs a new or empty folder"):
        pack.run([photographs], tmp_path)
    with pytest.raises(TrainingError, match="--out needs a folder that can be written"):
        pack.run([photographs], tmp_path / "notes.txt")


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.png").write_bytes(b"no picture")
    with pytest.raises(TrainingError, match=r"a\.png must be a picture"):
        pack.run([tmp_path / "data"], tmp_path / "out")


def test_the_command_line_packs_and_explains(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(photographs), "--out", str(tmp_path / "out")]
    assert pack.main([*arguments, "--megabytes", "1"]) == 0
    assert "training: 0.1 megapixels" in capsys.readouterr().err
    assert pack.main(arguments) == TrainingError.exit_code
    assert capsys.readouterr().err.startswith("error: --out needs a new or empty folder")
