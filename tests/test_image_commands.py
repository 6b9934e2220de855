"""Many files at once, around a stand-in codec: which become which, what fails, how many are worked on at a time."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pixcodec import archive_codec, cli, image_commands
from pixcodec.progress import Talk

if TYPE_CHECKING:
    from types import ModuleType

    from click.testing import Result

SHAPES = [(8, 12, 3), (9, 5, 3), (20, 20), (1, 1)]


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(cli.main, [str(argument) for argument in arguments])
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def everything() -> list[str]:
    return sorted(path.as_posix() for path in Path().rglob("*") if path.is_file())


@pytest.fixture
def images(tmp_path: Path, stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[Path]:  # noqa: ARG001
    """Pictures a0.png .. in the current folder, the last in one below."""
    monkeypatch.chdir(tmp_path)
    Path("in/below").mkdir(parents=True)
    paths = [Path("in", f"a{n}.png") for n in range(len(SHAPES) - 1)] + [Path("in/below/last.png")]
    for n, (path, shape) in enumerate(zip(paths, SHAPES, strict=True)):
        Image.fromarray(np.random.default_rng(n).integers(0, 256, shape, np.uint8)).save(path)
    return paths


def test_many_images_become_a_file_each_and_come_back(images: list[Path]) -> None:
    encoded = run("encode", *images)
    assert (encoded.exit_code, encoded.stdout) == (0, "")
    lines = encoded.stderr.splitlines()
    assert len(lines) == len(images)
    for path in images:
        assert sum(f"{path} -> {path.with_suffix('.pxc')}: " in line and "verified" in line for line in lines) == 1
    decoded = run("decode", *(path.with_suffix(".pxc") for path in images), "-o", "out")
    assert decoded.exit_code == 0
    for path in images:
        with Image.open(path) as one, Image.open(Path("out", path.name)) as other:
            np.testing.assert_array_equal(np.array(one), np.array(other))
    assert run("decode", *(path.with_suffix(".pxc") for path in images)).stderr.count("exactly these pixels") == 4


def test_a_folders_images_keep_their_places_in_another(images: list[Path]) -> None:
    assert run("encode", "in", "-o", "packed", "-q").exit_code == 0
    packed = [Path("packed", path.relative_to("in").with_suffix(".pxc")) for path in images]
    assert all(path.is_file() for path in packed)
    assert run("decode", "packed", "-o", "out").exit_code == 0
    assert [Path("out", path.relative_to("in")).is_file() for path in images] == [True] * 4


def test_one_image_goes_into_a_folder_whose_name_ends_with_a_slash(images: list[Path]) -> None:
    assert run("encode", images[0], "-o", "new/").exit_code == 0
    assert run("decode", "new/a0.pxc", "-o", "again/").exit_code == 0
    assert Path("again/a0.png").is_file()
    refused = run("encode", images[0], "-o", "new")
    assert refused.exit_code == 12
    assert "new: is a folder; expected a file's name, or a / at its end" in refused.stderr


def test_bad_ones_are_named_and_the_others_done_and_the_code_is_that_of_the_first(images: list[Path]) -> None:
    Path("in/a1.png").write_bytes(Path("in/a1.png").read_bytes()[:60])
    Path("in/a2.pxc").write_bytes(b"mine")
    result = run("encode", *images, "none.png")
    assert result.exit_code == 4
    complaints = sorted(line for line in result.stderr.splitlines() if line.startswith("pixcodec: "))
    assert len(complaints) == 3
    assert "in/a1.png: the PNG is cut" in complaints[0]
    assert "in/a2.pxc: is there already" in complaints[1]
    assert "none.png: cannot be read" in complaints[2]
    assert Path("in/a2.pxc").read_bytes() == b"mine"
    assert [path.with_suffix(".pxc").exists() for path in images] == [True, False, True, True]
    assert run("encode", images[0], images[2], "-q").exit_code == 11
    bad = run("decode", "in/a0.pxc", "in/a2.pxc", "-o", "out", "-q")
    assert bad.exit_code == 5
    assert len(bad.stderr.splitlines()) == 1
    assert [path for path in everything() if path.startswith("out")] == ["out/a0.png"]


def test_wrong_usage_is_said_before_anything_is_done(images: list[Path]) -> None:
    Image.new("L", (3, 3)).save("in/a0.bmp")
    before = everything()
    for arguments, message in (
        (["encode", images[0], "in/a0.bmp"], "in/a0.bmp and in/a0.png would both become in/a0.pxc"),
        (["encode", images[0], "in/a0.bmp", "-o", "out"], "would both become out/a0.pxc"),
        (["encode", images[0], "-", "-o", "out"], "found - for standard input"),
        (["encode", *images, "--explain", "page.html"], "leave out --explain"),
        (["encode", "in", "--memory", "0"], "--memory"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert message in result.stderr
        assert everything() == before
    Path("file").write_bytes(b"")
    assert run("encode", *images, "-o", "file").exit_code == 12
    assert not Path("out").exists()


def test_an_archive_among_files_becomes_a_folder(images: list[Path]) -> None:
    gray = np.arange(16, dtype=np.uint8).reshape(4, 4, 1)
    Path("set.pxc").write_bytes(archive_codec.encode([archive_codec.NamedImage("one.png", gray, "L")]).data)
    assert run("encode", images[0], "-q").exit_code == 0
    result = run("decode", "set.pxc", "in/a0.pxc", "-o", "out")
    assert result.exit_code == 0
    assert [path for path in everything() if path.startswith("out")] == ["out/a0.png", "out/set/one.png"]


def jobs(*pixels: int) -> list[image_commands.Job]:
    return [image_commands.Job(f"{n}.png", f"{n}.pxc", each) for n, each in enumerate(pixels)]


@pytest.mark.parametrize(
    ("computing", "memory", "most"),
    [
        ({"threads": 4}, None, 4),
        ({"threads": 3}, None, 3),
        ({"threads": 4}, 150, 2),
        ({"threads": 4}, 1, 1),
        ({"threads": 4, "device": "cpu"}, None, 1),
    ],
)
def test_as_many_are_worked_on_at_a_time_as_threads_and_memory_allow(
    computing: dict[str, Any], memory: int | None, most: int
) -> None:
    together, beside, threads = threading.Condition(), [0, 0], set()

    def work(job: image_commands.Job, talk: object, progress: object, *, computing: dict[str, Any]) -> None:
        del job, talk, progress
        threads.add(computing["threads"])
        with together:
            beside[0] += 1
            beside[1] = max(beside)
            together.notify_all()
            together.wait_for(lambda: beside[1] >= most, timeout=10)
        with together:
            beside[0] -= 1

    todo, talk = jobs(*[1000] * 12), Talk(quiet=True, verbose=False)
    assert image_commands.each(todo, work, "doing", talk, memory=memory, computing=computing) == 0
    assert beside == [0, most]
    assert threads == ({4} if "device" in computing else {4 // min(4, computing["threads"])})


def test_a_single_job_has_all_threads() -> None:
    found: list[int] = []

    def work(*_: object, computing: dict[str, Any]) -> None:
        found.append(computing["threads"])

    talk = Talk(quiet=True, verbose=False)
    image_commands.each(jobs(1), work, "doing", talk, memory=None, computing={"threads": 6})
    image_commands.each(jobs(1, 1), work, "doing", talk, memory=None, computing={"threads": 6})
    assert found == [6, 3, 3]
