"""benchmarks/jpeg.py and jpeg_files.py: what they report is what was measured, of real files of small pictures."""

from __future__ import annotations

import importlib
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from types import ModuleType

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType]:
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("jpeg", "jpeg_files", "other_codecs", "pictures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("jpeg"), importlib.import_module("jpeg_files")


def waves(height: int = 96, width: int = 112) -> np.ndarray:
    y, x, c = np.ogrid[:height, :width, :3]
    noise = np.random.default_rng(3).normal(0, 4, (height, width, 3))
    return np.clip(128 + 50 * np.sin(x / 9 + y / 13 + c) + 30 * np.cos(y / 5 - x / 21) + noise, 0, 255).astype(np.uint8)


def test_jpegs_are_made_found_and_put_beside_other_codecs(
    benchmarks: tuple[ModuleType, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jpeg, _ = benchmarks
    Image.fromarray(waves()).save(tmp_path / "waves.png")
    arguments = [str(tmp_path / "waves.png"), "--qualities", "75", "--others", "2", "--results", str(tmp_path)]
    assert jpeg.main(arguments) == 0
    shown = capsys.readouterr().out
    record = json.loads((tmp_path / "jpeg.json").read_text())
    assert record["minutes"] > 0
    assert str(tmp_path) not in json.dumps(record)
    assert [each["sampling"] for each in record["pictures"]] == ["4:4:4", "4:2:2", "4:2:0"]
    assert [each["cropped"] for each in record["pictures"]] == [False, True, False]
    for each in record["pictures"]:
        assert each["found"]
        assert 0 < each["exact_blocks"] <= 1
        assert ("others" in each) == (not each["cropped"])
    whole, cropped, _ = record["pictures"]
    assert whole["kept"] == 1
    assert cropped["kept"] == cropped["pixels"] / whole["pixels"] < 1
    assert {"PNG"} <= whole["others"].keys()
    assert whole["bytes"] < whole["jpeg_bytes"] < whole["others"]["PNG"]
    share = cropped["bytes"] / (cropped["jpeg_bytes"] * cropped["kept"])
    assert jpeg.of_the_jpeg([cropped]) == pytest.approx(share)
    assert [(name, sampling) for name, sampling, *_ in jpeg.goals(record["pictures"])] == [
        ("whole, up to quality 95", "4:4:4"),
        ("whole, up to quality 95", "4:2:0"),
        ("cropped", "4:2:2"),
    ]
    ((quality, count, sizes),) = jpeg.beside(record["pictures"])
    assert (quality, count, sizes["JPEG"]) == (75, 2, whole["jpeg_bytes"] + record["pictures"][2]["jpeg_bytes"])
    assert "asked for 0.88" in shown


def test_other_pixels_are_never_reported(
    benchmarks: tuple[ModuleType, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    jpeg, _ = benchmarks
    decode = jpeg.codec.decode

    def other(data: bytes) -> object:
        decoded = decode(data)
        decoded.planes[0, 0] ^= 1
        return decoded

    monkeypatch.setattr(jpeg.codec, "decode", other)
    with pytest.raises(SystemExit, match="other pixels"):
        jpeg.measure(jpeg.through_jpeg(waves(), 75, "4:4:4")[0])


def test_files_of_others_are_recovered_or_it_is_said_why_not(
    benchmarks: tuple[ModuleType, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jpeg, jpeg_files = benchmarks
    Image.fromarray(waves()).save(tmp_path / "good.jpg", quality=80)
    Image.fromarray((waves() // 128) * 255).save(tmp_path / "clipped.jpg", quality=80)
    Image.fromarray(jpeg.through_jpeg(waves(), 80, "4:2:0")[0]).save(tmp_path / "was.png")
    Image.new("I;16", (4, 4)).save(tmp_path / "deep.png")
    files = [str(tmp_path / name) for name in ("good.jpg", "clipped.jpg", "was.png", "deep.png")]
    assert jpeg_files.main([*files, "--results", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    record = json.loads((tmp_path / "jpeg_files.json").read_text())
    by_name = {(each["name"], each["part"]): each for each in record["files"]}
    assert by_name["good", "whole"]["found"]
    assert by_name["good", "whole"]["why"] == ""
    for each in record["files"]:
        assert (each["why"] == "") == each["found"]
        assert each["why"] in {"", "clipping: more than an eighth of the pixels"}
    (was,) = record["pictures"]
    assert was["bytes"] < was["none"]
    assert "JPEG, quality 80" in was["words"]
    assert ["deep" in each for each in record["skipped"]] == [True]
    assert "recovered" in shown


def test_what_may_be_why_is_read_from_the_file(benchmarks: tuple[ModuleType, ModuleType]) -> None:
    _, jpeg_files = benchmarks

    def of(**options: object) -> str:
        stream = io.BytesIO()
        Image.fromarray(waves()).save(stream, "JPEG", **options)
        with Image.open(stream) as opened:
            return jpeg_files.why(stream.getvalue(), np.asarray(opened))

    assert of(quality=75) == "neither"
    assert of(quality=99).startswith("steps")
    assert jpeg_files.why(b"\xff\xd8", waves()) == "a file of a kind that is not read"
