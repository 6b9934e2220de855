"""Stacked networks by any back end and on devices of torch: the same bytes, the same pixels, or one plain error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import random_programs as programs
from click.testing import CliRunner
from safetensors.numpy import save_file

from pixcodec import archive_codec, cli, codec, image, models, regions
from pixcodec.archive_codec import NamedImage
from pixcodec.errors import BackendError
from pixcodec.exact import arrays, matmul

torch = pytest.importorskip("torch")

from pixcodec.exact import torch_arrays, torch_backend  # noqa: E402 - after the skip

if TYPE_CHECKING:
    from pathlib import Path

MODELS = {
    "photo": ("gated_pixelcnn", "mixture", "RGB"),
    "colour": ("pixelcnn", "colour", "RGB"),
    "photo_gray": ("diagonal_bilstm", "gray", "L"),
    "mnist": ("row_lstm", "bilevel", "1"),
}


@pytest.fixture(scope="module", autouse=True)
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random programs, three of them under the names of the shipped models."""
    root = tmp_path_factory.mktemp("models")
    for name, (kind, form, _) in MODELS.items():
        m = programs.maker(kind, form)
        (root / name).mkdir()
        save_file(m.tensors, root / name / models.WEIGHTS)
        (root / name / models.CARD).write_text(json.dumps({**m.card, "id": m.build().identity.hex()}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(models.ENVIRONMENT, str(root))
        patch.setattr(models, "_SHIPPED", ())
        yield root


def picture(name: str, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Random samples that a model codes."""
    return programs.images(models.load(name), 1, height, width, seed)[0]


@pytest.mark.parametrize("name", MODELS)
def test_a_file_has_the_same_bytes_and_pixels_by_every_back_end_and_on_a_device(name: str) -> None:
    mode, planes = MODELS[name][2], picture(name, 35, 18)
    expected = codec.encode(planes, mode, model=name)
    for products in ({"backend": "numpy"}, {"backend": "torch-int8"}, {"device": "cpu"}):
        encoded = codec.encode(planes, mode, model=name, **products)
        assert (encoded.data, encoded.note) == (expected.data, "")
        assert encoded.ideal_bits == expected.ideal_bits
        np.testing.assert_array_equal(codec.decode(encoded.data, **products).planes, planes)
    assert codec.encode(planes, mode, model=name, device="cpu", backend="torch-int8").data == expected.data


def test_an_archive_has_the_same_bytes_and_comes_back_on_a_device() -> None:
    images = [
        NamedImage(f"{name}/{seed}.png", picture(name, 5 + seed % 2, 7, seed), mode)
        for name, (_, _, mode) in MODELS.items()
        for seed in range(4)
    ]
    data = archive_codec.encode(images).data
    assert archive_codec.encode(images, device="cpu", threads=3).data == data
    by_name = {each.name: each for each in images}
    for back in archive_codec.decode(data, device="cpu"):
        np.testing.assert_array_equal(back.planes, by_name.pop(back.name).planes)
    assert not by_name


def test_the_command_line_takes_a_device_for_a_bilevel_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    planes = picture("mnist", 12, 11)
    image.to_pil(planes, "1").save("a.png")
    for arguments in (
        ["encode", "a.png"],
        ["encode", "a.png", "-o", "b.pxc", "--device", "cpu"],
        ["encode", "a.png", "--archive", "-o", "c.pxc", "--device", "cpu"],
        ["decode", "b.pxc", "--device", "cpu"],
        ["verify", "c.pxc", "--device", "cpu"],
    ):
        result = CliRunner().invoke(cli.main, arguments)
        assert result.exit_code == 0, result.output
    assert (tmp_path / "a.pxc").read_bytes() == (tmp_path / "b.pxc").read_bytes()
    np.testing.assert_array_equal(image.read("b.png").planes, planes)


def test_a_device_or_back_end_that_is_not_here_is_named() -> None:
    planes = picture("mnist", 3, 4)
    data, images = codec.encode(planes, "1").data, [NamedImage("a", planes, "1")]
    packed = archive_codec.encode(images).data
    for options, named in (
        ({"device": "cuda:77"}, "cuda:77"),
        ({"device": "nonsense"}, "nonsense"),
        ({"device": "cpu", "backend": "numpy"}, "numpy"),
        ({"backend": "none"}, "none"),
    ):
        for attempt in (
            lambda options=options: codec.encode(planes, "1", **options),
            lambda options=options: codec.decode(data, **options),
            lambda options=options: archive_codec.encode(images, **options),
            lambda options=options: list(archive_codec.decode(packed, **options)),
        ):
            with pytest.raises(BackendError, match=named) as caught:
                attempt()
            assert "\n" not in str(caught.value)


def test_a_device_is_given_one_stack_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int | None] = []
    together = regions.side_by_side
    monkeypatch.setattr(
        regions, "side_by_side", lambda work, items, threads: (seen.append(threads), together(work, items, threads))[1]
    )
    codec.encode(picture("mnist", 40, 40), "1", threads=3)
    codec.encode(picture("mnist", 40, 40), "1", threads=3, device="cpu")
    assert seen == [3, 1]
    assert archive_codec._threads(8, 3, None) == (3, 2)
    assert archive_codec._threads(2, 3, None) == (2, 1)
    assert archive_codec._threads(8, 3, "cuda") == (1, 8)


def test_every_product_is_proved_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    proved: list[tuple[str, str, tuple[int, int, int]]] = []
    monkeypatch.setattr(torch_backend, "_proved", lambda *what: (proved.append(what), True)[1])
    program = programs.program("row_lstm", "colour")
    library = arrays.choose(program, device="cpu")[0]
    assert {what[2] for what in proved} == set(program.shapes)
    assert {what[:2] for what in proved} == {("float32", "cpu")}
    product = program.products()["gates"]
    terms, outputs = product.weight.shape[0] * product.weight.shape[1], product.weight.shape[2]
    library.prepare(product, (0, 255))
    assert proved[-1] == ("float32", "cpu", (1, terms, outputs))
    library = arrays.choose(program, "torch-int8", "cpu")[0]
    library.prepare(product, (-128, 127))
    assert proved[-1] == ("int8", "cpu", (1, terms, outputs))
    library.prepare(product, (-129, 127))
    assert proved[-1] == ("float32", "cpu", (1, terms, outputs))


def test_products_that_are_not_exact_on_the_device_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `torch._int_mm` does on x86 without VNNI."""

    def saturating(a: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return (a.to(torch.int32) @ w.to(torch.int32)).clamp(-32768, 32767)

    form = torch_backend._FORMS["int8"]._replace(multiply=saturating)
    monkeypatch.setitem(torch_backend._FORMS, "int8", form)
    matmul.backend.cache_clear()
    torch_backend._proved.cache_clear()
    try:
        with pytest.raises(BackendError, match="not exact on cpu"):
            codec.encode(picture("mnist", 3, 4), "1", backend="torch-int8", device="cpu")
        planes = picture("mnist", 3, 4)
        assert codec.encode(planes, "1", device="cpu").data == codec.encode(planes, "1").data
    finally:
        matmul.backend.cache_clear()
        torch_backend._proved.cache_clear()


def test_halves_are_rounded_to_even_and_what_is_too_large_is_clamped() -> None:
    library, plain = torch_arrays.TorchArrays(torch_backend.TorchBackend("float32")), arrays.NumpyArrays()
    x = np.array([[-5, -3, -1, 1, 3, 5, 2**24 - 1, 1 - 2**24]], np.float32)
    for scale in (0.5, 1.5, 1e-45, 3e38):
        row = np.full(8, scale, np.float32)
        with np.errstate(over="ignore"):
            expected = plain.rescaled(x, row, -32767, 32767)
        found = library.rescaled(library.array(x), library.array(row), -32767, 32767)
        np.testing.assert_array_equal(library.numbers(found), expected)


def test_a_caller_s_modes_of_torch_change_no_byte() -> None:
    planes = picture("colour", 6, 7)
    expected = codec.encode(planes, "RGB", model="colour").data
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert codec.encode(planes, "RGB", model="colour", device="cpu").data == expected
    finally:
        torch.set_float32_matmul_precision(before)
