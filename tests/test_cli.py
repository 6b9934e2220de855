"""The command line, around a stand-in codec: names, exit codes, one-line errors, nothing half written."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pixcodec import cli, container, errors, files, network_commands
from pixcodec.progress import Passes, ProgressBar, Talk, Tally

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from click.testing import Result

PIXELS = np.random.default_rng(8).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def run(*arguments: object, data: bytes | None = None) -> Result:
    result = CliRunner().invoke(cli.main, [str(argument) for argument in arguments], input=data)
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


@pytest.fixture
def photo(tmp_path: Path, stand_in: ModuleType) -> Path:  # noqa: ARG001
    path = tmp_path / "photo.png"
    Image.fromarray(PIXELS).save(path)
    return path


@pytest.fixture
def packed(photo: Path) -> Path:
    assert run("encode", photo, "-q").exit_code == 0
    return photo.with_suffix(".pxc")


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


def test_the_two_headline_commands_work_one_after_the_other(photo: Path) -> None:
    before = photo.read_bytes()
    encoded = run("encode", photo)
    assert (encoded.exit_code, encoded.stdout) == (0, "")
    assert "bits per sub-pixel, verified" in encoded.stderr
    decoded = run("decode", photo.with_suffix(".pxc"))
    assert decoded.exit_code == 0
    assert "holds exactly these pixels already" in decoded.stderr
    assert photo.read_bytes() == before
    assert sorted(path.name for path in photo.parent.iterdir()) == ["photo.png", "photo.pxc"]


@pytest.mark.parametrize("suffix", [".png", ".webp", ".bmp", ".tif", ".ppm"])
def test_decode_writes_every_pixel_in_the_format_of_the_suffix(packed: Path, suffix: str) -> None:
    target = packed.with_name("again" + suffix)
    assert run("decode", packed, "-o", target).exit_code == 0
    assert np.array_equal(pixels(target), PIXELS)


def test_decode_refuses_a_suffix_that_loses_pixels(packed: Path) -> None:
    result = run("decode", packed, "-o", packed.with_name("again.jpg"))
    assert result.exit_code == 2
    assert ".jpg is no format that keeps every pixel" in result.stderr
    assert not packed.with_name("again.jpg").exists()


@pytest.mark.parametrize("effort", range(1, 10))
def test_an_effort_from_3_on_is_with_experts(photo: Path, effort: int) -> None:
    assert run("encode", photo, "--effort", effort).exit_code == 0
    header = container.read_header(photo.with_suffix(".pxc").read_bytes())
    assert header.settings == (container.EXPERTS if effort >= 3 else 0)
    assert json.loads(run("info", photo.with_suffix(".pxc"), "--json").stdout)["settings"] == header.settings


def test_the_effort_is_7_where_none_is_given(
    photo: Path, stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, encode = [], stand_in.encode
    monkeypatch.setattr(
        stand_in, "encode", lambda *planes, **options: (given.append(options["effort"]), encode(*planes, **options))[1]
    )
    for options in ((), ("--effort", 2), ("--effort", 9)):
        assert run("encode", photo, "-f", *options).exit_code == 0
    assert given == [7, 2, 9]


@pytest.mark.parametrize("effort", ["0", "10", "-1", "2.5", "best", ""])
def test_an_effort_out_of_range_is_wrong_usage(photo: Path, effort: str) -> None:
    for options in ((), ("--archive",)):
        result = run("encode", photo, "--effort", effort, "-o", photo.with_name("a.pxc"), *options)
        assert result.exit_code == 2
        assert "Invalid value for '--effort'" in result.stderr
        assert not photo.with_name("a.pxc").exists()


def test_nothing_is_overwritten_without_force(packed: Path, photo: Path) -> None:
    before = packed.read_bytes()
    Image.fromarray(PIXELS + 1).save(photo)
    for command, target in [("encode", photo), ("decode", packed)]:
        result = run(command, target)
        assert result.exit_code == errors.OutputExistsError.exit_code
        assert "is there already; give -f" in result.stderr
    assert packed.read_bytes() == before
    assert np.array_equal(pixels(photo), PIXELS + 1)
    assert run("decode", packed, "-f").exit_code == 0
    assert np.array_equal(pixels(photo), PIXELS)
    assert run("encode", photo, "-f").exit_code == 0


def test_a_target_that_cannot_be_these_pixels_is_refused_before_decoding(
    packed: Path, photo: Path, stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: object, **__: object) -> None:
        pytest.fail("decoded in vain")

    monkeypatch.setattr(stand_in, "decode", decode)
    for content in (b"my notes", b""):
        photo.write_bytes(content)
        assert run("decode", packed).exit_code == errors.OutputExistsError.exit_code
        assert photo.read_bytes() == content
    Image.new("RGB", (30, 19)).save(photo)
    assert run("decode", packed).exit_code == errors.OutputExistsError.exit_code


def test_standard_streams(photo: Path) -> None:
    encoded = run("encode", "-", data=photo.read_bytes())
    assert encoded.exit_code == 0
    assert container.read_header(encoded.stdout_bytes).width == 30
    decoded = run("decode", "-", data=encoded.stdout_bytes)
    assert decoded.exit_code == 0
    assert np.array_equal(np.array(Image.open(io.BytesIO(decoded.stdout_bytes))), PIXELS)
    assert json.loads(run("info", "-", "--json", data=encoded.stdout_bytes).stdout)["file"] == "standard input"
    assert run("encode", photo, "-o", "-", "-q").stdout_bytes == encoded.stdout_bytes
    assert run("encode", photo, "-o", "-", "-q").stderr == ""


def test_encode_writes_nothing_when_decoding_gives_other_pixels(
    photo: Path, stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand_in, "decode", lambda *_, **__: stand_in.Decoded(PIXELS + 1, "RGB"))
    result = run("encode", photo)
    assert result.exit_code == errors.DigestError.exit_code
    assert result.stderr.startswith(f"pixcodec: {photo}: decoding gives other pixels")
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]
    assert run("encode", photo, "-o", "-").stdout_bytes == b""
    assert run("encode", photo, "--no-verify").exit_code == 0
    assert photo.with_suffix(".pxc").exists()


def test_verification_sees_what_is_on_the_disk(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.os, "fsync", lambda number: os.ftruncate(number, 60))
    result = run("encode", photo)
    assert result.exit_code == errors.DamagedTileError.exit_code
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["encode", "none.png"], errors.ImageReadError, "none.png: cannot be read (No such file"),
        (["encode", "text.png"], errors.ImageReadError, "text.png: expected an image"),
        (["encode", "print.tif"], errors.UnsupportedImageError, "print.tif: mode CMYK is not kept"),
        (["encode", "photo.png", "--model", "none"], errors.ModelError, "photo.png: no model"),
        (["encode", "photo.png", "--backend", "broken"], errors.BackendError, "photo.png: back end broken"),
        (["encode", "photo.png", "-o", "none/a.pxc"], errors.OutputError, "none/a.pxc: cannot be written (No such"),
        (["encode", "photo.png", "-o", "folder"], errors.OutputError, "folder: is a folder"),
        (["decode", "none.pxc"], errors.ContainerError, "none.pxc: cannot be read"),
        (["decode", "photo.png", "-o", "a.png"], errors.ContainerError, "photo.png: expected a .pxc file"),
        (["decode", "damaged.pxc"], errors.DamagedTileError, "damaged.pxc: tile 0 of 1 is damaged"),
        (["decode", "liar.pxc"], errors.DigestError, "liar.pxc: the decoded pixels"),
        (["verify", "cut.pxc"], errors.ContainerError, "cut.pxc: the file is cut"),
        (["info", "cut.pxc"], errors.ContainerError, "cut.pxc: the file is cut"),
    ],
)
def test_each_failure_is_one_line_with_its_exit_code(
    photo: Path,
    packed: Path,
    arguments: list[str],
    error: type[errors.PixcodecError],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(photo.parent)
    data = packed.read_bytes()
    packed.unlink()
    (photo.parent / "folder").mkdir()
    (photo.parent / "text.png").write_text("hello")
    (photo.parent / "cut.pxc").write_bytes(data[:30])
    (photo.parent / "damaged.pxc").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    header, tiles = container.unpack(data)
    header = container.Header(**(vars(header) | {"digest": bytes(16)}))
    (photo.parent / "liar.pxc").write_bytes(container.pack(header, tiles))
    Image.new("CMYK", (2, 2)).save("print.tif")
    before = sorted(photo.parent.iterdir())
    result = run(*arguments)
    assert result.stderr.startswith(f"pixcodec: {message}")
    assert result.stderr.count("\n") == 1
    assert result.exit_code == error.exit_code
    assert sorted(photo.parent.iterdir()) == before


def test_exit_codes_are_all_different_and_documented() -> None:
    kinds = errors.PixcodecError.__subclasses__()
    codes = {kind.exit_code for kind in kinds}
    assert len(codes) == len(kinds)
    assert codes.isdisjoint({0, 1, 2, cli.INTERRUPTED, cli.BROKEN_PIPE, cli.INTERNAL_ERROR})
    documented = (files.Path(__file__).parent.parent / "docs" / "errors.md").read_text(encoding="utf-8")
    for kind in kinds:
        assert f"| {kind.exit_code} | `{kind.__name__}` |" in documented
    for code in (cli.INTERRUPTED, cli.BROKEN_PIPE, cli.INTERNAL_ERROR):
        assert f"| {code} |" in documented


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), cli.INTERRUPTED, "pixcodec: interrupted"),
        (MemoryError(), cli.INTERNAL_ERROR, "not enough memory"),
        (BrokenPipeError(), cli.BROKEN_PIPE, ""),
        (ZeroDivisionError("a\nb"), cli.INTERNAL_ERROR, "internal error (ZeroDivisionError: a)"),
    ],
)
def test_other_endings_are_clean_too(
    photo: Path, stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int, said: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(stand_in, "decode", fail)  # that is, while the temporary file is there
    result = run("encode", photo)
    assert result.exit_code == code
    assert said in result.stderr
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]


def test_a_file_is_never_written_over_itself(photo: Path) -> None:
    before = photo.read_bytes()
    assert run("encode", photo, "-o", photo, "-f").exit_code == 2
    assert photo.read_bytes() == before


def test_a_symbolic_link_stays_one_and_a_device_too(photo: Path) -> None:
    link, real = photo.with_name("link.pxc"), photo.with_name("real.pxc")
    link.symlink_to(real)
    assert run("encode", photo, "-o", link).exit_code == 0
    assert link.is_symlink()
    assert real.is_file()
    assert run("encode", photo, "-o", os.devnull).exit_code == 0
    assert not files.Path(os.devnull).is_file()


def test_permissions_follow_the_umask(photo: Path) -> None:
    before = os.umask(0o027)
    try:
        run("encode", photo)
    finally:
        os.umask(before)
    assert photo.with_suffix(".pxc").stat().st_mode & 0o777 == 0o640


def test_metadata_left_out_is_said_in_one_line(photo: Path) -> None:
    Image.fromarray(PIXELS).save(photo, icc_profile=b"profile")
    assert f"{photo}: not kept in this version: ICC profile\n" in run("encode", photo).stderr
    assert run("encode", photo, "-f", "-q").stderr == ""


def test_verify_goes_on_after_a_bad_file_and_remembers_it(packed: Path) -> None:
    bad = packed.with_name("bad.pxc")
    bad.write_bytes(packed.read_bytes()[:-1])
    result = run("verify", bad, packed, packed.with_name("none.pxc"))
    assert result.exit_code == errors.DamagedTileError.exit_code
    assert result.stdout == f"{packed}: sound, 30x20 RGB\n"
    assert result.stderr.count("\n") == 2
    assert run("verify", packed, "-q").output == ""


def test_info_works_on_a_file_whose_tiles_are_damaged(photo: Path, stand_in: ModuleType) -> None:
    data = bytearray(stand_in.encode(PIXELS, "RGB", tile=16).data)
    data[-1] ^= 1
    path = photo.with_name("a.pxc")
    path.write_bytes(data)
    facts = json.loads(run("info", path, "--json").stdout)
    assert (facts["tiles"], facts["damaged_tiles"]) == (4, [3])
    assert (facts["width"], facts["height"], facts["mode"], facts["bytes"]) == (30, 20, "RGB", len(data))
    assert facts["bits_per_dim"] == pytest.approx(8 * len(data) / PIXELS.size)
    assert facts["bytes"] - facts["payload_bytes"] == 55 + 3 * 8
    text = run("info", path).stdout
    assert "damaged tiles  [3]" in text
    assert len(text.splitlines()) == len(facts)


def test_verbose_says_where_the_time_went(photo: Path) -> None:
    shown = run("encode", photo, "-v").stderr
    assert "zlib            0.250 s" in shown
    assert "600 pixels in 7 steps" in shown
    assert "pixels a second" in shown


def test_training_without_torch_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda name: None)  # noqa: ARG005
    result = run("train", "photo", "--data", tmp_path, "--out", tmp_path)
    assert result.exit_code == errors.MissingDependencyError.exit_code
    assert "pip install 'pixcodec[train]'" in result.stderr


def test_image_sets_without_torch_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(network_commands, "find_spec", lambda name: None)  # noqa: ARG005
    result = run("evaluate", "mnist", tmp_path)
    assert result.exit_code == errors.MissingDependencyError.exit_code
    words = "pixcodec: image sets are read by what training needs: pip install 'pixcodec[train]'"
    assert result.stderr.splitlines() == [words]


@pytest.mark.parametrize("minutes", ["0", "-1", "nan"])
def test_minutes_that_no_training_can_take_are_wrong_usage(tmp_path: Path, minutes: str) -> None:
    result = run("train", "photo", "--data", tmp_path, "--out", tmp_path, "--minutes", minutes)
    assert result.exit_code == 2
    assert "Invalid value for '--minutes'" in result.stderr


@pytest.mark.parametrize(
    "command", ["encode", "decode", "verify", "info", "models", "train", "evaluate", "sample", "complete"]
)
def test_every_command_has_help(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_usage_errors_end_with_2() -> None:
    assert run("encode").exit_code == 2
    assert run("nothing").exit_code == 2
    assert run("encode", "a.png", "--threads", "0").exit_code == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown_by(bar_seconds: float, monkeypatch: pytest.MonkeyPatch, **options: bool) -> str:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    stream = Terminal()
    with ProgressBar("encoding a.png", stream=stream, **options) as bar:
        for done in range(101):
            bar(done, 100)
            clock[0] += bar_seconds / 100
    return stream.getvalue()


def test_a_bar_with_the_time_left_appears_above_two_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = shown_by(10, monkeypatch)
    assert "encoding a.png  [" in shown
    assert "%  0:05 left" in shown
    assert shown.endswith("\r\x1b[K")
    assert shown_by(1.9, monkeypatch) == ""
    assert shown_by(10, monkeypatch, quiet=True) == ""


def test_one_bar_goes_on_through_all_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    stream, left = Terminal(), []
    with ProgressBar("encoding a.png", stream=stream) as bar:

        def spend(progress: Callable[[int, int], None]) -> None:
            for done in range(1, 41):
                progress(done, 40)
                clock[0] += 1 / 4
                left.append(stream.getvalue().rsplit("  ", 1)[-1][:4])

        passes = Passes(bar)
        whole = Tally(passes, 80)
        tally = Tally(whole.part(40), 40)
        spend(tally.part(40))
        tally.more(40)
        spend(tally.part(40))
        spend(passes.rest())
    assert "#" * 24 in stream.getvalue()
    # Seconds left after 1/4, 3/4 and 5/4 of passes of 10 s: of two, until there are three.
    assert [left[9], left[29], left[49]] == ["0:15", "0:12", "0:17"]
    assert "0:00" not in left[:100]


def test_lines_are_said_above_the_bar_which_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    stream = Terminal()
    with ProgressBar("encoding 3 files", stream=stream) as bar:
        talk = Talk(quiet=False, verbose=False, above=bar)
        talk.say("the first")
        for done in range(1, 4):
            bar(done, 10)
            clock[0] += 1
        assert stream.getvalue().startswith("the first\n\rencoding 3 files  [")
        talk.say("the second")
        bar(4, 10)
        with talk.bar("another") as inner:
            inner(1, 100)
    shown = stream.getvalue()
    assert "\r\x1b[Kthe second\n\rencoding 3 files  [" in shown
    assert shown.endswith("\r\x1b[K")
    assert "another" not in shown


def test_verification_is_a_part_of_the_bar(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(ProgressBar, "__call__", lambda _, *now: seen.append(now))
    for options, parts in (([], 2), (["--no-verify"], 1)):
        assert run("encode", photo, "-f", *options).exit_code == 0
        assert {total for _, total in seen} == {parts}
        assert [done for done, _ in seen] == list(range(1, parts + 1))
        seen.clear()


def test_what_takes_long_before_the_first_step_is_said() -> None:
    log, stream = logging.getLogger("pixcodec"), Terminal()
    with ProgressBar("encoding a.png", stream=stream):
        log.info("compiling")
        log.debug("nothing for users")
    log.info("too late")
    assert stream.getvalue() == "\rencoding a.png: compiling\x1b[K\r\x1b[K"
    with ProgressBar("encoding a.png", stream=stream, quiet=True):
        log.info("compiling")
    assert stream.getvalue().count("compiling") == 1


def test_no_bar_goes_into_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with Talk(quiet=False, verbose=False).bar("encoding") as bar:
        for done in range(4):
            bar(done, 4)
            time.sleep(0.2)
    assert capsys.readouterr().err == ""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pixcodec", *arguments]


def test_the_module_runs_as_a_command() -> None:
    done = subprocess.run(command("--version"), check=True, capture_output=True, text=True)
    assert done.stdout.startswith("pixcodec, version ")


@pytest.mark.skipif(os.name != "posix", reason="signals and pipes as POSIX has them")
def test_an_interrupt_ends_with_one_line() -> None:
    def heed() -> None:  # what a shell runs in the background ignores interrupts
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command("info", "-"), **pipes, text=True, preexec_fn=heed) as process:  # noqa: PLW1509
        time.sleep(1.0)  # it now waits for its input
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said.lstrip()) == (cli.INTERRUPTED, "pixcodec: interrupted\n")


@pytest.mark.skipif(os.name != "posix", reason="signals and pipes as POSIX has them")
def test_a_reader_that_leaves_early_is_no_error_message(packed: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command("info", str(packed)), stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (cli.BROKEN_PIPE, b"")
