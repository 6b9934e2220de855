"""The commands for the paper's networks, on tiny ones that these tests freeze."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

torch = pytest.importorskip("torch")

from safetensors.numpy import save_file  # noqa: E402 - after the skip

from pixcodec import cli, errors, models, network_commands, stacks  # noqa: E402
from pixcodec.exact.program import identity  # noqa: E402
from pixcodec.nets import networks  # noqa: E402
from pixcodec.nets.autoregressive import Configuration  # noqa: E402
from pixcodec.training.compile import compile_network  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 6
SHAPES = {
    "digits": Configuration("diagonal_bilstm", channels=1, levels=2, features=4, layers=1, hidden=4),
    "colours": Configuration("pixelcnn", features=4, layers=1, hidden=6, output="mixture", components=2),
}


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with a tiny model of each shape, where models are looked for first."""
    root = tmp_path_factory.mktemp("models")
    for name, shape in SHAPES.items():
        torch.manual_seed(3)
        network = networks.make(shape)
        values = torch.randint(0, shape.levels, (8, shape.channels, SIDE, SIDE), dtype=torch.uint8)
        deciding, tensors = compile_network(network, values)
        card = {**deciding, "tile": 64, "size": [SIDE, SIDE], "set": "images", "name": name}
        card["id"] = identity(card, tensors).hex()
        (root / name).mkdir()
        (root / name / models.CARD).write_text(json.dumps(card))
        save_file(tensors, root / name / models.WEIGHTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(models.ENVIRONMENT, str(root))
        yield root


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli.main, list(map(str, arguments)))


def refused(result: Any, code: int) -> str:
    assert result.exit_code == code, result.output
    line, *rest = result.stderr.splitlines()
    assert rest == []
    return line


def written(path: Path, mode: str, seed: int = 0, side: int = SIDE) -> Path:
    shape = (side, side, 3) if mode == "RGB" else (side, side)
    noise = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    image = Image.fromarray(noise)
    (image.convert("1") if mode == "1" else image).save(path)
    return path


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_the_same_seed_draws_the_same_picture_and_another_seed_another_one(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run("sample", "colours", "-n", 3, "--seed", seed, "-o", tmp_path / f"{name}.png").exit_code == 0
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize(("model", "mode"), [("digits", "L"), ("colours", "RGB")])
def test_samples_lie_in_a_grid(tmp_path: Path, model: str, mode: str) -> None:
    target = tmp_path / "grid.png"
    assert run("sample", model, "-n", 5, "--size", 4, "-o", target).exit_code == 0
    with Image.open(target) as image:
        step = 4 + network_commands.GAP
        assert image.size == (3 * step + network_commands.GAP, 2 * step + network_commands.GAP)
        assert image.mode == mode


def test_a_lower_temperature_draws_likelier_pictures() -> None:
    program: Any = models.load("colours")
    bits = []
    for temperature in (0.2, 1.0):
        drawn = stacks.sample(program, (20, SIDE, SIDE), seed=5, temperature=temperature)
        bits.append(stacks.encode(drawn, program).ideal_bits)
    assert bits[0] < bits[1]


def test_completions_keep_the_rows_that_are_given(tmp_path: Path) -> None:
    source, target = written(tmp_path / "x.png", "1"), tmp_path / "out.png"
    assert run("complete", "digits", source, "--rows", 2, "-n", 3, "-o", target).exit_code == 0
    found, gap = pixels(target), network_commands.GAP
    original = pixels(source) * 255
    pictures = [found[gap : gap + SIDE, gap + k * (SIDE + gap) :][:, :SIDE] for k in range(5)]
    assert np.array_equal(pictures[0], original)
    for picture in pictures[1:]:
        assert np.array_equal(picture[:2], original[:2])
    assert not pictures[1][2:].any()
    assert any(not np.array_equal(picture, original) for picture in pictures[2:])


def test_an_existing_picture_is_kept_unless_forced(tmp_path: Path) -> None:
    target = tmp_path / "there.png"
    target.write_bytes(b"mine")
    line = refused(run("sample", "digits", "-n", 1, "-o", target), errors.OutputExistsError.exit_code)
    assert "there.png" in line
    assert target.read_bytes() == b"mine"
    assert run("sample", "digits", "-n", 1, "-o", target, "-f").exit_code == 0


def test_what_was_drawn_is_said_in_one_line_unless_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("sample", "digits", "-n", 1).stderr == "digits -> digits-samples.png: 1 image of 6x6\n"
    assert run("sample", "digits", "-n", 2, "--size", 4, "-f").stderr.endswith("samples.png: 2 images of 4x4\n")
    assert pixels(tmp_path / "digits-samples.png").shape == (4 + 2 * network_commands.GAP, 2 * 4 + 6)
    assert run("sample", "digits", "-n", 1, "-o", "-", "-q").stderr == ""
    line = refused(run("sample", "digits", "-n", 1), errors.OutputExistsError.exit_code)
    assert line.startswith("pixcodec: digits-samples.png: is there already")


def test_a_model_in_a_folder_gives_the_folders_name_to_its_samples(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("sample", f"{folder}/digits/", "-n", 1).exit_code == 0
    assert (tmp_path / "digits-samples.png").is_file()


def test_what_was_completed_is_said_in_one_line_unless_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    a, b = written(tmp_path / "there" / "a.png", "1"), written(tmp_path / "there" / "b.png", "1", 1)
    assert run("complete", "digits", a, "-n", 1).stderr == f"{a} -> a-completed.png: 1 completion\n"
    assert pixels(tmp_path / "a-completed.png").shape[1] == 3 * SIDE + 4 * network_commands.GAP
    said = run("complete", "digits", a, b, "-n", 3, "-f").stderr
    assert said == "2 images -> a-completed.png: 3 completions of each\n"
    assert run("complete", "digits", a, "-n", 1, "-f", "-q").stderr == ""
    line = refused(run("complete", "digits", a), errors.OutputExistsError.exit_code)
    assert line.startswith("pixcodec: a-completed.png: is there already")


def test_an_image_from_standard_input_is_completed_to_standard_output(tmp_path: Path) -> None:
    source = written(tmp_path / "x.png", "1")
    result = CliRunner().invoke(cli.main, ["complete", "digits", "-", "-n", "1"], input=source.read_bytes())
    assert result.stderr == "standard input -> -: 1 completion\n"
    with Image.open(io.BytesIO(result.stdout_bytes)) as image:
        assert image.format == "PNG"


def test_an_image_is_never_written_over_itself(tmp_path: Path) -> None:
    a, b = written(tmp_path / "a.png", "1"), written(tmp_path / "b.png", "1")
    before = b.read_bytes()
    result = run("complete", "digits", a, b, "-o", b, "-f")
    assert result.exit_code == 2
    assert "b.png would be written over itself" in result.stderr
    assert b.read_bytes() == before


@pytest.mark.parametrize("command", ["sample", "complete"])
def test_a_folder_as_the_output_is_refused_before_anything_is_drawn(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "sample", lambda *_, **__: pytest.fail("drawn in vain"))
    image = [written(tmp_path / "x.png", "1")] if command == "complete" else []
    line = refused(run(command, "digits", *image, "-o", tmp_path), errors.OutputError.exit_code)
    assert "is a folder" in line


def test_a_size_beyond_the_models_tile_is_refused(tmp_path: Path) -> None:
    result = run("sample", "digits", "-n", 1, "--size", 65, "-o", tmp_path / "x.png")
    line = refused(result, errors.UnsupportedImageError.exit_code)
    assert line == "pixcodec: digits draws images up to 64 pixels a side, found 65x65; give a smaller --size"
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("temperature", ["0", "0.04", "20.5", "-1", "inf", "nan"])
def test_a_temperature_out_of_range_is_wrong_usage(tmp_path: Path, temperature: str) -> None:
    result = run("sample", "digits", "-n", 1, "--temperature", temperature, "-o", tmp_path / "x.png")
    assert result.exit_code == 2
    assert "Invalid value for '--temperature'" in result.stderr


def test_a_photo_model_does_not_draw(tmp_path: Path) -> None:
    line = refused(run("sample", "photo", "-o", tmp_path / "x.png"), errors.ModelError.exit_code)
    assert "photo is a photo model" in line


@pytest.mark.parametrize(("mode", "side"), [("RGB", SIDE), ("L", SIDE), ("1", 65)])
def test_pictures_that_a_model_cannot_complete_are_refused(tmp_path: Path, mode: str, side: int) -> None:
    source = written(tmp_path / "x.png", mode, side=side)
    line = refused(
        run("complete", "digits", source, "-o", tmp_path / "out.png"), errors.UnsupportedImageError.exit_code
    )
    assert "x.png" in line
    assert not (tmp_path / "out.png").exists()


def test_figures_are_those_of_real_streams(tmp_path: Path) -> None:
    data = tmp_path / "set"
    data.mkdir()
    planes = np.stack([pixels(written(data / f"{n:02}.png", "RGB", n)) for n in range(40)])
    result = run("evaluate", "colours", data, "--json", "-o", tmp_path / "bits.png")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    program: Any = models.load("colours")
    held_out = planes[-2:]
    coded = stacks.encode(held_out, program)
    assert facts["images"] == 2
    assert facts["stream_bytes"] == len(coded.payload)
    assert facts["bits_per_dim"] == pytest.approx(8 * len(coded.payload) / held_out.size, abs=1e-5)
    assert facts["ideal_bits_per_dim"] == pytest.approx(coded.ideal_bits / held_out.size, abs=1e-5)
    assert np.mean(list(facts["channels"].values())) == pytest.approx(facts["ideal_bits_per_dim"], abs=1e-4)
    with Image.open(tmp_path / "bits.png") as image:
        assert image.width == 3 * image.height


def test_figures_are_shown_a_line_each_and_channels_by_name(tmp_path: Path) -> None:
    for n in range(20):
        written(tmp_path / f"{n:02}.png", "RGB", n)
    shown = run("evaluate", "colours", tmp_path).stdout
    facts = json.loads(run("evaluate", "colours", tmp_path, "--json").stdout)
    lines = dict(line.split(maxsplit=1) for line in shown.splitlines())
    red, green, blue = facts["channels"].values()
    assert lines["channels"] == f"R {red}, G {green}, B {blue}"
    assert lines["images"] == "1"
    assert "{" not in shown


def test_a_missing_set_is_refused_in_one_line(tmp_path: Path) -> None:
    line = refused(run("evaluate", "colours", tmp_path, "--set", "cifar10"), errors.TrainingError.exit_code)
    assert "must hold the files of cifar10" in line
