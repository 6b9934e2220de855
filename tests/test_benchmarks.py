"""benchmarks/vs_png.py, with the stand-in codec: what it reports is what was measured, and what it lacks it says."""

from __future__ import annotations

import dataclasses
import importlib
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
PIXELS = np.random.default_rng(3).integers(0, 256, (24, 32, 3), dtype=np.uint8)


@pytest.fixture
def vs_png(stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:  # noqa: ARG001
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("vs_png", "other_codecs", "pictures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("vs_png")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "some"
    folder.mkdir()
    Image.fromarray(PIXELS).save(folder / "noise.png")
    Image.fromarray(PIXELS[:, :, 0]).save(folder / "gray.png")
    Image.new("RGBA", (2, 2)).save(folder / "unsupported.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def results(folder: Path, name: str) -> dict:
    return json.loads((folder / f"vs_png_{name}.json").read_text())


def test_a_folder_gives_a_table_and_json(
    vs_png: ModuleType, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vs_png.main([str(pictures), "--results", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    record = results(tmp_path, "some")
    assert [each["name"] for each in record["pictures"]] == ["gray", "noise"]
    assert any("unsupported: mode RGBA is not kept" in each for each in record["skipped"])
    assert "skipped: unsupported: mode RGBA" in shown
    noise = record["pictures"][1]
    png = (pictures / "noise.png").stat().st_size
    ours = noise["codecs"]["pixcodec"]
    assert ours["bits_per_dim"] == pytest.approx(8 * ours["bytes"] / PIXELS.size)
    assert noise["codecs"]["PNG"]["bytes"] == pytest.approx(png, rel=0.05)
    assert noise["payload_bytes"] == ours["bytes"] - 55
    total = record["total"]["pixcodec"]
    assert total["bytes"] == sum(each["codecs"]["pixcodec"]["bytes"] for each in record["pictures"])
    assert total["of_png"] == pytest.approx(total["bytes"] / record["total"]["PNG"]["bytes"])
    assert str(tmp_path) not in json.dumps(record)
    assert record["command"].startswith("python benchmarks/vs_png.py some")


def test_it_runs_with_the_core_packages_alone(
    vs_png: ModuleType,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("imagecodecs", "matplotlib", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
    assert vs_png.main([str(pictures / "noise.png"), "--results", str(tmp_path), "--name", "bare"]) == 0
    shown = capsys.readouterr().out
    assert "JPEG XL is left out" in shown
    assert "no picture: pip install" in shown
    record = results(tmp_path, "bare")
    assert set(record["total"]) <= {"PNG", "WebP", "pixcodec"}
    assert record["total"]["pixcodec"]["of_jxl_9"] is None


def test_a_payload_over_the_ideal_length_is_an_error(
    vs_png: ModuleType, stand_in: ModuleType, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stand_in.encode(PIXELS, "RGB")
    monkeypatch.setattr(
        vs_png.codec, "encode", lambda *_, **__: dataclasses.replace(whole, ideal_bits=8 * (len(whole.data) - 55) - 33)
    )
    monkeypatch.setattr(vs_png, "OVERHEAD", 1.0)
    assert vs_png.main([str(pictures / "noise.png"), "--results", str(tmp_path)]) == 1
    assert results(tmp_path, "noise")["pictures"][0]["payload_within_bound"] is False


def test_other_pixels_are_never_reported(
    vs_png: ModuleType, stand_in: ModuleType, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vs_png.codec, "decode", lambda *_, **__: stand_in.Decoded(PIXELS + 1, "RGB"))
    with pytest.raises(Exception, match="pixcodec gives other pixels back"):
        vs_png.main([str(pictures / "noise.png"), "--results", str(tmp_path)])


def test_a_list_of_photographs_is_reduced_and_summed_by_source(
    vs_png: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["# kind\tpackage\tpath\tname\twidth\theight\tsplit\tscale\tentropy"]
    for source, name, split, scale in [("a", "x", "val", 2), ("a", "y", "train", 1), ("b", "z", "val", 1)]:
        (tmp_path / source).mkdir(exist_ok=True)
        Image.fromarray(PIXELS).save(tmp_path / source / f"{name}.png")
        lines.append(f"deb\tpackage\tusr/{name}\t{source}/{name}.png\t32\t24\t{split}\t{scale}\t4.0")
    (tmp_path / "photos.txt").write_text("\n".join(lines) + "\n")
    arguments = ["--photos-list", str(tmp_path / "photos.txt"), "--split", "val", "--results", str(tmp_path)]
    assert vs_png.main(arguments) == 0
    record = results(tmp_path, "photos_val")
    assert [(each["name"], each["width"], each["height"]) for each in record["pictures"]] == [
        ("x", 16, 12),
        ("z", 32, 24),
    ]
    assert set(record["sources"]) == {"a", "b"}
    shown = capsys.readouterr().out
    assert "\na: 1 pictures" in shown
    assert "\ntotal: 2 pictures" in shown


def test_without_arguments_it_takes_scikit_images_lossless_photographs(vs_png: ModuleType) -> None:
    pytest.importorskip("skimage")
    samples, name = vs_png.chosen(vs_png.parse([]))
    assert name == "scikit-image"
    assert {"astronaut", "coffee", "camera"} <= {sample.name for sample in samples}
    assert {sample.name for sample in samples if sample.was_jpeg} == {"chelsea", "ihc", "coins", "grass"}
    planes, mode = samples[0].load()
    assert (planes.shape, mode) == ((512, 512, 3), "RGB")


@pytest.fixture
def benchmark(vs_png: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:  # noqa: ARG001
    for name in ("origins", "made_pasts", "made_pictures", "converted"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("origins")


def origin_results(folder: Path) -> dict:
    return json.loads((folder / "origins.json").read_text())


def test_origins_are_reported_with_what_was_found_and_what_is_left_out(
    benchmark: ModuleType,
    stand_in: ModuleType,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = stand_in.encode

    def encode(planes: np.ndarray, mode: str, *, origin: str = "none", **_: object) -> object:
        return dataclasses.replace(whole(planes, mode), origin="noise" if origin == "auto" else "")

    monkeypatch.setattr(benchmark.codec, "encode", encode)
    arguments = [str(pictures), "--groups", "real,converted", "--results", str(tmp_path), "--size", "16x16"]
    assert benchmark.main([*arguments, "--converter", str(tmp_path / "none")]) == 0
    shown = capsys.readouterr().out
    assert "pictures of a converter are left out" in shown
    record = origin_results(tmp_path)
    assert any("pictures of a converter" in each for each in record["left_out"])
    assert any("unsupported: mode RGBA" in each for each in record["skipped"])
    assert [(each["name"], each["found"], each["width"]) for each in record["pictures"]] == [
        ("gray", "noise", 16),
        ("noise", "noise", 16),
    ]
    assert benchmark.main([*arguments, "--only", "noi"]) == 0
    assert [each["name"] for each in origin_results(tmp_path)["pictures"]] == ["noise"]
    for each in record["groups"]["real"]:
        assert each["bytes"]["auto"] == each["bytes"]["none"] > 256
        assert {"PNG", "auto", "none"} <= each["bytes"].keys()
    assert str(tmp_path) not in json.dumps(record)


def test_every_past_that_is_made_is_one(benchmark: ModuleType) -> None:
    pytest.importorskip("skimage")
    made = list(benchmark.made((32, 24)))
    assert {picture.past for picture in made} == {*benchmark.made_pasts.PASTS}
    for picture in made:
        assert picture.planes.shape[:2] == (24, 32)
        if picture.past.startswith(("enlarged", "constant", "gray")):
            tree = benchmark.search.find(picture.planes, 256, b"", "auto", lambda planes, _: planes.size)
            assert benchmark.origins.words(tree), picture.past


def test_a_converter_is_asked_for_every_format_way_matrix_and_range(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def run(_: Path, picture: bytes, size: str, kinds: tuple[str, str], way: tuple) -> bytes:
        asked.append((size, kinds, way))
        return picture[:-1] + bytes([len(asked)])

    monkeypatch.setattr(benchmark.converted, "_run", run)
    named = [past for past, _ in benchmark.converted.pasts(Path("ffmpeg"), PIXELS)]
    assert len(named) == len(set(named)) == 36
    assert len(asked) == 72
    assert {size for size, _, _ in asked} == {"32x24"}
    monkeypatch.setattr(benchmark.converted, "_run", lambda _, picture, *__: picture)
    assert len(list(benchmark.converted.pasts(Path("ffmpeg"), PIXELS))) == 1


def test_the_readmes_tables_are_made_from_the_committed_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    tables = importlib.import_module("readme_tables")
    for path in tables.FILLED:
        text = path.read_text(encoding="utf-8")
        assert tables.filled(text) == text, f"{path.name}: run python benchmarks/readme_tables.py"
    assert tables.README.read_text(encoding="utf-8").count("<!-- end -->") == 7


def test_each_networks_worth_is_told_with_its_products(
    stand_in: ModuleType,  # noqa: ARG001
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("budgets", "vs_png", "other_codecs", "pictures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    budgets = importlib.import_module("budgets")
    monkeypatch.setattr(budgets, "MODELS", ("photo",))
    assert budgets.main([str(pictures), "--results", str(tmp_path), "--name", "some", "--origins"]) == 0
    record = json.loads((tmp_path / "budgets_some.json").read_text())
    assert record["pictures"] == 1  # of colour
    assert record["pixels"] == PIXELS[..., 0].size
    rows = {each["name"]: each for each in record["table"]}
    ours = rows["photo alone"]
    assert ours["mean_bits_per_dim"] == pytest.approx(8 * ours["bytes"] / PIXELS.size)
    assert rows["PNG"]["bytes"] == pytest.approx((pictures / "noise.png").stat().st_size, rel=0.05)
    assert "photo and all that learns" in capsys.readouterr().out
    # As training counts them; of 4:2:0, by hand.
    assert ours["multiply_adds"] == 282624
    assert rows["gray, chroma, luma alone"]["multiply_adds"] == 254528 + (165440 + 172352) // 4
    assert rows["PNG"]["multiply_adds"] is None


def test_what_a_saved_kilobyte_takes_is_of_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    speed = importlib.import_module("speed")
    record = {"bytes": 8000, "encode": {"warm_seconds": 2.0}, "decode": {"warm_seconds": 3.0}}
    other = {"bytes": 10000, "encode_seconds": 0.75, "decode_seconds": 0.25}
    assert speed.saved(record, other) == 2.0
    assert speed.saved(record, other | {"bytes": 8000}) is None
    assert speed.mosaic((50, 70)).shape == (50, 70, 3)


@pytest.mark.parametrize("refused", ["", "1"])
def test_processes_are_timed_with_bytecode(refused: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    speed = importlib.import_module("speed")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", refused)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "own")
    found = speed.environment()
    assert "PYTHONDONTWRITEBYTECODE" not in found
    assert (found["PYTHONPYCACHEPREFIX"] == "own") == (not refused)


def test_training_is_measured_against_a_product(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("training", "pictures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    training, threads = importlib.import_module("training"), torch.get_num_threads()
    monkeypatch.setattr(training.loop, "keep_memory", lambda: None)
    try:
        arguments = ["photo_fast", "--seconds", "0.1", "--batch", "1", "--results", str(tmp_path)]
        assert training.main(arguments) == 0
    finally:
        torch.set_num_threads(threads)
    assert "photo_fast" in capsys.readouterr().out
    (record,) = json.loads((tmp_path / "training.json").read_text())["networks"]
    assert record["pixels_a_step"] == 96**2
    work = record["pixels_a_second"] * record["multiply_adds_a_pixel"]
    assert 2 * work < record["multiply_adds_a_second"] < 3 * work
    assert record["share_of_product"] == pytest.approx(
        record["multiply_adds_a_second"] / record["product_multiply_adds_a_second"], abs=1e-3
    )
    assert 0.02 < record["share_of_product"] < 1.2
    assert 0.1 < record["planes_seconds_a_megapixel"] < 30


def test_architectures_are_compared_at_equal_cost_and_see_nothing_that_is_to_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever a variant's layers are, its features at a pixel do not change with that pixel or any later one."""
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "pictures", raising=False)
    architectures = importlib.import_module("architectures")
    checkpoint = importlib.import_module("pixcodec.training.checkpoint")
    base = checkpoint.load_recipe(architectures.RECIPE)
    budget = architectures.budget_of(base)
    generator = torch.Generator().manual_seed(0)
    for variant in architectures.VARIANTS.values():
        task = architectures.Task(architectures.recipe_of(base, variant), variant)
        assert abs(task.multiply_adds / budget - 1) < 0.05
        codes = torch.randint(-127, 128, (1, 12, 12, task.configuration.trunk_codes), generator=generator)
        later = codes.clone()
        later[0, 6, 6:], later[0, 7:] = 9, 9
        with torch.no_grad():
            seen, then = (task.network.trunk(each.to(torch.int8))[0] for each in (codes, later))
        torch.testing.assert_close(seen[:6], then[:6])
        torch.testing.assert_close(seen[6, :7], then[6, :7])
        assert not torch.equal(seen[6, 7:], then[6, 7:])
