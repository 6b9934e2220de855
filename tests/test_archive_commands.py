"""Archives on the command line, around zlib networks: folders in and out, errors of one line, no partial output."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pixcodec import archive, archive_codec, archive_commands, cli, container, errors, files, image, names

if TYPE_CHECKING:
    from types import ModuleType

    from click.testing import Result

pytestmark = pytest.mark.usefixtures("stacks")

RANDOM = np.random.default_rng(13)


def run(*arguments: object, data: bytes | None = None) -> Result:
    result = CliRunner().invoke(cli.main, [str(argument) for argument in arguments], input=data)
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def save(path: Path, height: int, width: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    planes = RANDOM.integers(0, container.LEVELS[mode], (height, width, container.CHANNELS[mode]), np.uint8)
    image.to_pil(planes, mode).save(path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images of three modes and four sizes, in a folder with another in it."""
    for number in range(12):
        save(tmp_path / f"set/test_{number}.png", 32, 32)
    for number in range(4):
        save(tmp_path / f"set/digits/{number}.bmp", 28, 28, "1")
    save(tmp_path / "set/digits/gray.tif", 40, 33, "L")
    save(tmp_path / "set/photo.jpg", 20, 30)
    (tmp_path / "set/.DS_Store").write_bytes(b"junk")
    (tmp_path / "set/.git").mkdir()
    (tmp_path / "set/.git/config").write_bytes(b"junk")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "set"


@pytest.fixture
def packed(folder: Path) -> Path:
    path = folder.with_name("packed.pxc")
    assert run("encode", folder, "--archive", "-q", "-o", path).exit_code == 0
    return path


def contents(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Mode and samples of every image below a folder, by its name without suffix."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and "/." not in path.as_posix():
            with Image.open(path) as picture:
                found[path.relative_to(folder).with_suffix("").as_posix()] = picture.mode, picture.tobytes()
    return found


def everything(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_the_two_headline_commands_bring_back_every_image(folder: Path) -> None:
    encoded = run("encode", "set", "-o", "new.pxc", "--archive")
    assert (encoded.exit_code, encoded.stdout) == (0, "")
    assert "18 images -> new.pxc" in encoded.stderr
    assert "bits per sub-pixel, verified" in encoded.stderr
    assert f"hidden, so left out: 2 ({Path('set/.DS_Store')}, {Path('set/.git')})" in encoded.stderr
    decoded = run("decode", "new.pxc")
    assert decoded.exit_code == 0
    assert "new.pxc -> new: 18 images" in decoded.stderr
    assert contents(Path("new")) == contents(folder)
    assert {path.suffix for path in Path("new").rglob("*.*")} == {".png", ".bmp", ".tif"}
    assert [path.name for path in Path().iterdir() if path.name.startswith(".")] == []


def test_an_archive_of_one_folder_gets_its_name(folder: Path) -> None:
    assert run("encode", folder, "--archive", "-q").exit_code == 0
    assert Path("set.pxc").is_file()
    result = run("decode", "set.pxc")
    assert result.exit_code == errors.OutputExistsError.exit_code
    assert "set: is there already and not empty" in result.stderr


def test_names_are_sorted_naturally_and_listed(packed: Path) -> None:
    listed = run("info", packed, "--names").stdout.splitlines()
    assert listed[:4] == [f"digits/{number}.bmp" for number in range(4)]
    assert listed[-12:] == [f"test_{number}.png" for number in range(12)]
    assert json.loads(run("info", packed, "--names", "--json").stdout)["names"] == listed


def test_files_and_folders_go_into_one_archive_by_their_own_names(folder: Path) -> None:
    arguments = [folder / "test_3.png", folder / "digits", folder / "test_11.png"]
    assert run("encode", *arguments, "--archive", "-o", "few.pxc").exit_code == 0
    listed = run("info", "few.pxc", "--names").stdout.split()
    assert sorted(listed) == ["0.bmp", "1.bmp", "2.bmp", "3.bmp", "gray.tif", "test_11.png", "test_3.png"]


def test_info_says_what_is_in_an_archive_without_decoding_it(packed: Path, stacks: ModuleType) -> None:
    data = packed.read_bytes()
    facts = json.loads(run("info", packed, "--json").stdout)
    assert (facts["images"], facts["bytes"], facts["damaged_blocks"]) == (18, len(data), [])
    assert "names" not in facts
    sizes = {(each["mode"], each["width"], each["height"]): each["images"] for each in facts["blocks"]}
    assert sizes == {("RGB", 32, 32): 12, ("1", 28, 28): 4, ("L", 33, 40): 1, ("RGB", 30, 20): 1}
    assert facts["header_bytes"] + sum(each["payload_bytes"] for each in facts["blocks"]) == len(data)
    samples = 12 * 32 * 32 * 3 + 4 * 28 * 28 + 40 * 33 + 20 * 30 * 3
    assert facts["bits_per_dim"] == pytest.approx(8 * len(data) / samples)
    models = {each["model_id"] for each in facts["blocks"]}
    assert models <= {each.identity[:8].hex() for each in stacks.NETWORKS.values()}
    text = run("info", packed).stdout
    assert "blocks         4" in text
    assert len(text.splitlines()) == 8 + 2 + 4
    packed.write_bytes(data[:-1])
    assert json.loads(run("info", packed, "--json").stdout)["damaged_blocks"] == [3]


def test_verify_decodes_an_archive_beside_other_files(packed: Path, folder: Path) -> None:
    assert run("encode", folder / "test_1.png").exit_code == 0
    bad = packed.with_name("bad.pxc")
    bad.write_bytes(packed.read_bytes()[:-1] + b"?")
    result = run("verify", packed, bad, folder / "test_1.pxc")
    assert result.exit_code == errors.DamagedTileError.exit_code
    assert result.stdout == f"{packed}: sound, 18 images\n{folder / 'test_1.pxc'}: sound, 32x32 RGB\n"
    assert "bad.pxc: block 3 of 4 is damaged" in result.stderr


def test_standard_streams(folder: Path) -> None:
    encoded = run("encode", folder, "--archive", "-o", "-", "-q")
    assert (encoded.exit_code, encoded.stderr) == (0, "")
    data = encoded.stdout_bytes
    assert run("decode", "-", "-o", "new", data=data).exit_code == 0
    assert contents(Path("new")) == contents(folder)
    assert json.loads(run("info", "-", "--json", data=data).stdout)["file"] == "standard input"
    assert run("verify", "-", data=data).stdout == "standard input: sound, 18 images\n"
    assert run("decode", "-", data=data).exit_code == 2
    assert run("decode", "-", "-o", "-", data=data).exit_code == 2


def test_a_single_image_of_mode_1_comes_back_in_mode_1(folder: Path) -> None:
    assert run("encode", folder / "digits/1.bmp", "-o", "one.pxc").exit_code == 0
    facts = json.loads(run("info", "one.pxc", "--json").stdout)
    assert (facts["mode"], facts["settings"], facts["tiles"]) == ("1", container.ONE_STREAM, 1)
    for suffix in (".png", ".bmp", ".tif", ".pbm"):
        assert run("decode", "one.pxc", "-o", f"one{suffix}").exit_code == 0
        with Image.open(f"one{suffix}") as picture:
            assert (picture.mode, picture.tobytes()) == contents(folder)["digits/1"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["encode", "set/test_1.png", "set/test_2.png", "--archive"], 2, "needs -o FILE"),
        (["encode", ".", "--archive"], 2, "needs -o FILE"),
        (["encode", "-", "--archive", "-o", "a.pxc"], 2, "standard input"),
        (["encode", "none", "--archive", "-o", "a.pxc"], 4, "none: cannot be read (No such file"),
        (["encode", "text", "--archive"], 4, "text/read.me: expected an image"),
        (["encode", "empty", "--archive"], 3, "empty: expected images, found none"),
        (["encode", "linked", "--archive"], 4, "linked/set: is a link to a folder"),
        (["encode", "alpha", "--archive"], 3, "alpha/a.png: mode RGBA is not kept"),
        (["encode", "unsafe", "--archive"], 3, "unsafe: expected names that are safe relative paths, found 'a:b.png'"),
        (["encode", "twice", "--archive"], 3, "twice: 'a.jpg' and 'a.png' would both be decoded to 'a.png'"),
        (["encode", "set/test_1.png", "set/../set/test_1.png", "--archive", "-o", "a.pxc"], 3, "twice"),
        (["encode", "set", "--archive", "--model", "none"], 8, "set: no model is called 'none'"),
        (["encode", "set", "--archive", "--backend", "none"], 9, "set: there is no back end 'none'"),
        (["encode", "set", "--archive", "-o", "packed.pxc"], 11, "packed.pxc: is there already"),
        (["encode", "set", "--archive", "-o", "empty"], 12, "empty: is a folder"),
        (["encode", "set", "--archive", "-o", "none/a.pxc"], 12, "none/a.pxc: cannot be written (No such"),
        (["decode", "packed.pxc", "-o", "text"], 11, "text: is there already and not empty"),
        (["decode", "packed.pxc", "-o", "text/read.me"], 12, "text/read.me: is a file"),
        (["decode", "packed.pxc", "-o", "none/a"], 12, "none/a: cannot be written (No such"),
        (["decode", "damaged.pxc"], 6, "damaged.pxc: block 3 of 4 is damaged"),
        (["decode", "liar.pxc"], 7, "liar.pxc: block 3 of 4: the decoded pixels are not"),
        (["decode", "cut.pxc"], 5, "cut.pxc: the header is cut"),
        (["decode", "unknown.pxc"], 8, "unknown.pxc: the file needs model 756e6b6e6f776e21"),
        (["decode", "same.pxc"], 5, "same.pxc: 'a.gif' and 'a.png' would both be decoded to 'a.png'"),
        (["verify", "liar.pxc"], 7, "liar.pxc: block 3 of 4"),
        (["info", "cut.pxc"], 5, "cut.pxc: the header is cut"),
        (["info", "image.pxc", "--names"], 5, "image.pxc: expected an archive"),
    ],
)
def test_each_failure_is_one_line_with_its_exit_code_and_nothing_is_written(
    folder: Path, packed: Path, arguments: list[str], code: int, message: str
) -> None:
    data = packed.read_bytes()
    Path("damaged.pxc").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    Path("cut.pxc").write_bytes(data[:40])
    header, payloads = archive.unpack(data)
    for name, change in (("liar", {"digest": bytes(16)}), ("unknown", {"model_id": b"unknown!"})):
        blocks = [*header.blocks[:-1], archive.Block(**(vars(header.blocks[-1]) | change))]
        Path(f"{name}.pxc").write_bytes(archive.pack(blocks, payloads, header.names))
    gray = np.zeros((4, 4, 1), np.uint8)
    same = [archive_codec.NamedImage(name, gray, "L") for name in ("a.gif", "a.png")]
    Path("same.pxc").write_bytes(archive_codec.encode(same).data)
    assert run("encode", folder / "test_0.png", "-o", "image.pxc", "-q").exit_code == 0
    for name in ("text", "empty", "linked", "alpha", "unsafe"):
        Path(name).mkdir()
    Path("text/read.me").write_text("hello")
    Path("linked/set").symlink_to(folder)
    Image.new("RGBA", (2, 2)).save("alpha/a.png")
    save(Path("unsafe/a:b.png"), 2, 2)
    save(Path("twice/a.png"), 2, 2)
    save(Path("twice/a.jpg"), 2, 2)
    before = everything(Path())
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.startswith("hidden, so left out")]
    assert code == 2 or (len(lines) == 1 and lines[0].startswith("pixcodec: "))
    assert everything(Path()) == before


def test_encode_writes_nothing_when_decoding_gives_other_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = archive_codec.decode

    def others(data: bytes, **options: object) -> list[archive_codec.NamedImage]:
        first, *rest = real(data, **options)
        return [archive_codec.NamedImage(first.name, first.planes ^ 1, first.mode), *rest]

    for wrong in (others, lambda data, **options: list(real(data, **options))[1:]):
        monkeypatch.setattr(archive_codec, "decode", wrong)
        result = run("encode", folder, "--archive")
        assert result.exit_code == errors.DigestError.exit_code
        assert "so nothing was written" in result.stderr
        assert not Path("set.pxc").exists()
    assert run("encode", folder, "--archive", "--no-verify").exit_code == 0


def test_decode_leaves_nothing_where_a_block_fails_halfway(
    packed: Path, stacks: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = stacks.decode

    def fail_late(payload: bytes, shape: tuple[int, ...], *rest: object, **more: object) -> np.ndarray:
        if shape == (12, 32, 32, 3):  # the last block
            raise KeyboardInterrupt
        return real(payload, shape, *rest, **more)

    monkeypatch.setattr(stacks, "decode", fail_late)
    before = everything(Path())
    assert run("decode", packed, "-o", "new", "--threads", "1").exit_code == cli.INTERRUPTED
    assert everything(Path()) == before


def test_force_overwrites_files_of_the_same_names_only(packed: Path, folder: Path) -> None:
    Path("new/digits").mkdir(parents=True)
    Path("new/test_0.png").write_text("old")
    Path("new/mine.txt").write_text("mine")
    assert run("decode", packed, "-o", "new", "-f").exit_code == 0
    assert Path("new/mine.txt").read_text() == "mine"
    Path("new/mine.txt").unlink()
    assert contents(Path("new")) == contents(folder)


def test_an_empty_folder_is_filled(packed: Path, folder: Path) -> None:
    Path("new").mkdir()
    assert run("decode", packed, "-o", "new").exit_code == 0
    assert contents(Path("new")) == contents(folder)


@pytest.mark.skipif(os.name != "posix", reason="symbolic links as POSIX has them")
def test_nothing_is_written_through_a_link_out_of_the_folder(packed: Path) -> None:
    Path("elsewhere").mkdir()
    Path("new").mkdir()
    Path("new/digits").symlink_to(Path("elsewhere").resolve())
    before = everything(Path())
    result = run("decode", packed, "-o", "new", "-f")
    assert result.exit_code == errors.OutputError.exit_code
    assert "a link puts elsewhere" in result.stderr
    assert everything(Path()) == before


@pytest.mark.skipif(os.name != "posix", reason="symbolic links as POSIX has them")
def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(packed: Path) -> None:
    Path("precious").write_text("precious")
    Path("new").mkdir()
    Path("new/test_0.png").symlink_to(Path("precious").resolve())
    assert run("decode", packed, "-o", "new", "-f").exit_code == 0
    assert Path("precious").read_text() == "precious"
    assert not Path("new/test_0.png").is_symlink()


def test_an_archive_with_unsafe_names_writes_nothing_anywhere(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header, payloads = archive.unpack(packed.read_bytes())
    evil = Path("evil.pxc")
    with monkeypatch.context() as careless:
        careless.setattr(names, "check", lambda *_: None)
        evil.write_bytes(archive.pack(header.blocks, payloads, ["../outside.png", *header.names[1:]]))
    before = everything(evil.absolute().parent)
    for command in (["decode", evil.absolute(), "-o", packed.with_name("new"), "-f"], ["info", evil.absolute()]):
        result = run(*command)
        assert result.exit_code == errors.ContainerError.exit_code
        assert "found '../outside.png', with the part '..'" in result.stderr
    assert everything(packed.parent) == before


def test_metadata_left_out_is_summed_up_in_one_line(folder: Path) -> None:
    for number in range(2):
        Image.new("RGB", (4, 4)).save(folder / f"icc{number}.png", icc_profile=b"profile")
    assert "ICC profile (of 2)" in run("encode", folder, "--archive").stderr


def test_verbose_says_where_the_time_went(folder: Path) -> None:
    shown = run("encode", folder, "--archive", "-v").stderr
    assert "stacks" in shown
    assert "pixels a second" in shown


def test_names_of_files_keep_suffixes_that_keep_pixels() -> None:
    assert archive_commands.restored(["a.PNG", "b.jpg", "c", "d/e.tar.gif", "f.webp"], errors.ContainerError) == {
        "a.PNG": "a.PNG",
        "b.jpg": "b.png",
        "c": "c.png",
        "d/e.tar.gif": "d/e.tar.png",
        "f.webp": "f.webp",
    }
    with pytest.raises(errors.ContainerError, match="as both"):
        archive_commands.restored(["a.jpg", "a.png/b.png"], errors.ContainerError)


def test_folders_are_walked_in_natural_order(tmp_path: Path) -> None:
    for name in ("b10.png", "b9.png", "a/2.png", "a/10.png", ".hidden/x.png", "a/.x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found, hidden = files.images_in([str(tmp_path)])
    assert [name for name, _ in found] == ["a/2.png", "a/10.png", "b9.png", "b10.png"]
    assert [Path(path).name for path in hidden] == [".hidden", ".x"]
    assert all(io.FileIO(path).close() is None for _, path in found)
