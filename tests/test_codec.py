"""The codec with small random networks: any picture comes back, by any path; damage never gives other pixels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import random_networks as nets
import reference_coder
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file

import pixcodec
from pixcodec import archive, archive_codec, codec, container, models
from pixcodec.errors import (
    BackendError,
    ContainerError,
    DamagedTileError,
    DigestError,
    ModelError,
    PixcodecError,
    UnsupportedImageError,
)

if TYPE_CHECKING:
    from pathlib import Path

EFFORTS = [1, 7]  # without experts and with them
SHAPES = ((1, 1), (1, 2), (2, 1), (1, 40), (40, 1), (16, 16), (17, 33), (50, 19))


def write_model(folder: Path, parameters: nets.Parameters, **options: object) -> None:
    """Put a random network where `models` finds it."""
    card, tensors = nets.random_card(parameters, **options)
    network = nets.Network.build(card, tensors)
    folder.mkdir(parents=True)
    save_file(tensors, folder / models.WEIGHTS)
    (folder / models.CARD).write_text(json.dumps({**card, "id": network.identity.hex()}))


@pytest.fixture(scope="module", autouse=True)
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random models under the names of the shipped ones, and one whose logits are of raw values."""
    root = tmp_path_factory.mktemp("models")
    write_model(root / "photo", nets.SMALL, features=8, blocks=1, head=8)
    write_model(root / "photo_gray", nets.SMALL_GRAY, features=8, blocks=1, head=8)
    write_model(root / "photo_fast", nets.SMALL, features=8, blocks=0, head=8, seed=5)
    write_model(root / "raw", nets.SMALL, features=8, blocks=1, head=8, output="raw", seed=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(models.ENVIRONMENT, str(root))
        yield root


def whole(planes: np.ndarray, **options: object) -> bytes:
    """A file, proved to come back."""
    data = codec.encode(planes, "RGB" if planes.shape[2] == 3 else "L", **options).data
    np.testing.assert_array_equal(codec.decode(data).planes, planes)
    return data


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_shape_and_kind_of_picture_comes_back(channels: int, effort: int) -> None:
    for kind in nets.KINDS:
        for height, width in SHAPES:
            whole(nets.picture(kind, height, width, channels), effort=effort)


def test_efforts_are_of_a_small_model_and_then_with_experts_and_those_of_a_kind_give_one_file() -> None:
    planes = nets.picture("smooth", 12, 17, 3)
    made = {effort: whole(planes, effort=effort) for effort in range(1, 10)}
    most = made.pop(9)
    assert [data[10] for data in made.values()] == [0] * 2 + [container.EXPERTS] * 6
    fast, usual = (models.load(name).identity[:8] for name in ("photo_fast", "photo"))
    assert [data[23:31] for data in made.values()] == [fast] * 3 + [usual] * 5
    assert len({*made.values()}) == 3
    assert len(most) <= min(map(len, made.values()))
    assert whole(planes) == made[7]
    image = Image.fromarray(planes)
    for effort in (1, 7):
        assert pixcodec.encode(image, effort=effort, origin="none") == made[effort]
        packed = pixcodec.encode_archive({"a": image}, model="photo", effort=effort)
        assert [block.settings for block in archive.read_header(packed).blocks] == [made[effort][10]]
        assert pixcodec.decode_archive(packed)[0][1].tobytes() == planes.tobytes()


@pytest.mark.parametrize("effort", [0, 10, -1])
def test_an_effort_out_of_range_is_refused(effort: int) -> None:
    image = Image.fromarray(nets.picture("smooth", 2, 3, 3))
    with pytest.raises(ValueError, match=f"1 to 9, found {effort}"):
        pixcodec.encode(image, effort=effort)
    with pytest.raises(ValueError, match=f"1 to 9, found {effort}"):
        pixcodec.encode_archive({"a": image}, model="photo", effort=effort)


def test_experts_learn_what_the_network_does_not_know() -> None:
    random = np.random.default_rng(9)
    planes = np.where(random.random((60, 80, 1)) < 0.2, 20, 240).astype(np.uint8).repeat(3, axis=2)
    assert len(whole(planes)) < 0.5 * len(whole(planes, effort=1))


@pytest.mark.slow
@settings(max_examples=40)
@given(st.data())
def test_any_samples_come_back(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    channels = data.draw(st.sampled_from([1, 3]))
    samples = data.draw(st.binary(min_size=height * width * channels, max_size=height * width * channels))
    whole(
        np.frombuffer(samples, np.uint8).reshape(height, width, channels),
        tile=data.draw(st.sampled_from([16, 2048])),
        effort=data.draw(st.sampled_from(EFFORTS)),
    )


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_threads_back_ends_and_devices_give_the_same_bytes(channels: int, effort: int) -> None:
    planes = nets.picture("smooth", 45, 70, channels)
    for tile in (16, 32, 2048):
        options = {"tile": tile, "effort": effort}
        expected = whole(planes, threads=1, **options)
        for threads in (2, 3):
            assert whole(planes, threads=threads, **options) == expected
            assert codec.decode(expected, threads=threads).planes.tobytes() == planes.tobytes()
        assert whole(planes, backend="numpy", **options) == expected
        pytest.importorskip("torch")
        for products in ("torch-float32", "torch-int8"):
            assert whole(planes, device="cpu", backend=products, **options) == expected
            assert codec.decode(expected, device="cpu", backend=products).planes.tobytes() == planes.tobytes()


@pytest.mark.parametrize("effort", EFFORTS)
def test_the_papers_output_form_is_coded_by_every_path(effort: int) -> None:
    planes = nets.picture("smooth", 9, 14, 3)
    data = whole(planes, model="raw", effort=effort)
    assert data != whole(planes, effort=effort)
    assert reference_coder.encode(planes, models.load("raw"), 1, 1, data[10]) == data
    pytest.importorskip("torch")
    assert whole(planes, model="raw", effort=effort, device="cpu") == data


@pytest.mark.parametrize("effort", EFFORTS)
def test_a_picture_of_one_tile_costs_at_most_56_bytes_and_two_words_over_its_ideal_length(effort: int) -> None:
    for channels in (1, 3):
        planes = nets.picture("smooth", 60, 80, channels)
        encoded = codec.encode(planes, "RGB" if channels == 3 else "L", effort=effort)
        payload = container.unpack(encoded.data)[1][0]
        assert len(encoded.data) - len(payload) <= 56
        assert 8 * len(payload) <= encoded.ideal_bits * 1.001 + 32


def test_pillow_images_go_in_and_out() -> None:
    image = Image.fromarray(nets.picture("smooth", 21, 34, 3))
    back = pixcodec.decode(pixcodec.encode(image))
    assert (back.mode, back.size, back.tobytes()) == ("RGB", image.size, image.tobytes())


def test_a_changed_bit_anywhere_is_an_error() -> None:
    planes = nets.picture("smooth", 20, 33, 3)
    data = bytearray(codec.encode(planes, "RGB", tile=16).data)
    random = np.random.default_rng(5)
    header = 8 * (47 + 8 * 6)
    places = {*range(header), *random.integers(header, 8 * len(data), 300).tolist()}
    for place in places:
        data[place // 8] ^= 1 << place % 8
        with pytest.raises((ContainerError, DamagedTileError)):
            codec.decode(bytes(data))
        data[place // 8] ^= 1 << place % 8
    codec.decode(bytes(data))


def test_a_cut_at_any_byte_is_an_error() -> None:
    data = codec.encode(nets.picture("smooth", 12, 17, 3), "RGB").data
    for length in range(len(data)):
        with pytest.raises((ContainerError, DamagedTileError)):
            codec.decode(data[:length])


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_words_that_no_checksum_betrays_are_caught_by_the_coder_or_the_digest(channels: int, effort: int) -> None:
    """A forger can make checksums right, not the pixels."""
    planes = nets.picture("smooth", 12, 17, channels)
    encoded = codec.encode(planes, "RGB" if channels == 3 else "L", effort=effort)
    header, (payload,) = container.unpack(encoded.data)
    random = np.random.default_rng(6)
    forged = [bytearray(payload) for _ in range(60)]
    for each in forged:
        each[random.integers(len(each))] ^= 1 << random.integers(8)
    caught = 0
    for each in (*forged, payload[:-4], payload + bytes(4)):
        try:
            decoded = codec.decode(container.pack(header, [bytes(each)])).planes
        except (DamagedTileError, DigestError):
            caught += 1
            continue
        np.testing.assert_array_equal(decoded, planes)  # the last word has bits to spare, and one more is not read
    assert caught >= 55
    random_words = [random.bytes(len(payload)) for _ in range(20)]
    for each in (
        *random_words,
        bytes(len(payload)),
        b"\xff" * len(payload),
        b"",
        payload[:-1],
        payload[:-8],
        payload + bytes(8),
    ):
        with pytest.raises((DamagedTileError, DigestError)):
            codec.decode(container.pack(header, [each]))


@pytest.mark.parametrize("kind", [0, container.EXPERTS])
def test_a_header_that_promises_more_pixels_than_its_words_can_hold_reserves_nothing(kind: int) -> None:
    header = container.Header(40000, 50000, "RGB", models.load("photo").identity[:8], kind, 65520, 65520, bytes(16))
    with pytest.raises(DamagedTileError, match="cannot hold 6000000000 samples"):
        codec.decode(container.pack(header, [bytes(4)]))


def test_tiles_are_at_most_as_long_as_asked_for() -> None:
    for length in (1, 15, 16, 40, 100, 3000):
        for longest in (16, 20, 47, 2048):
            side = codec._tile_side(length, longest)
            assert side % 16 == 0
            assert side <= longest
            assert -(-length // side) == -(-length // (longest // 16 * 16))


def test_an_archive_by_the_wavefront_has_a_stream_for_each_tile() -> None:
    images = [
        archive_codec.NamedImage(f"{kind}/{number}", nets.picture(kind, 18, 21 + number % 2, 3), "RGB")
        for kind in nets.KINDS
        for number in range(3)
    ]
    encoded = archive_codec.encode(images, model="photo", threads=2)
    decoded = {each.name: each.planes for each in archive_codec.decode(encoded.data)}
    for each in images:
        np.testing.assert_array_equal(decoded[each.name], each.planes)
    alone = sum(len(codec.encode(each.planes, "RGB").data) - 55 for each in images)
    assert len(encoded.data) < alone + 3 * len(images) + 200
    assert archive_codec.encode(images, model="photo", threads=1, backend="numpy").data == encoded.data
    assert {block.settings for block in archive.read_header(encoded.data).blocks} == {container.EXPERTS}
    plain = archive_codec.encode(images, model="photo", threads=2, effort=1).data
    assert {block.settings for block in archive.read_header(plain).blocks} == {0}
    for back in archive_codec.decode(plain):
        np.testing.assert_array_equal(back.planes, decoded[back.name])
    pytest.importorskip("torch")
    assert archive_codec.encode(images, model="photo", device="cpu").data == encoded.data
    assert [each.name for each in archive_codec.decode(encoded.data, device="cpu")] == [*decoded]


def test_settings_of_an_archive_that_do_not_fit_its_model_are_refused() -> None:
    images = [archive_codec.NamedImage("a", nets.picture("smooth", 8, 9, 3), "RGB")]
    header, payloads = archive.unpack(archive_codec.encode(images, model="photo").data)
    for number, error in ((container.ONE_STREAM, ContainerError), (0, (DamagedTileError, DigestError))):
        wrong = archive.Block(**(vars(header.blocks[0]) | {"settings": number}))
        with pytest.raises(error):
            list(archive_codec.decode(archive.pack([wrong], payloads, header.names)))


def test_damage_in_a_tile_names_the_tile() -> None:
    header, payloads = container.unpack(codec.encode(nets.picture("smooth", 40, 16, 3), "RGB", tile=16).data)
    for bad in (payloads[1][:-1], payloads[1] + bytes(8)):
        with pytest.raises(DamagedTileError, match="tile 1 of 3") as caught:
            codec.decode(container.pack(header, [payloads[0], bad, payloads[2]]))
        assert caught.value.tile == 1
    data = bytearray(codec.encode(nets.picture("smooth", 40, 16, 3), "RGB", tile=16).data)
    data[-1] ^= 1
    with pytest.raises(DamagedTileError, match="tile 2") as caught:
        codec.decode(bytes(data))
    assert caught.value.tile == 2


@given(st.binary(max_size=200))
def test_any_bytes_give_a_plain_error(data: bytes) -> None:
    for start in (b"", container.SIGNATURE, container.SIGNATURE + b"\0\1\0"):
        with pytest.raises(PixcodecError):
            codec.decode(start + data)


def test_what_does_not_fit_is_refused() -> None:
    planes = nets.picture("smooth", 5, 6, 3)
    for wrong, mode in ((planes, "L"), (planes, "RGBA"), (planes[:0], "RGB"), (planes.astype(np.uint16), "RGB")):
        with pytest.raises(UnsupportedImageError):
            codec.encode(wrong, mode)
    with pytest.raises(UnsupportedImageError, match="the model codes 1"):
        codec.encode(planes, "RGB", model="photo_gray")
    with pytest.raises(ModelError, match="no model is called 'none'"):
        codec.encode(planes, "RGB", model="none")
    for options in ({"backend": "none"}, {"backend": "numpy", "device": "cpu"}):
        with pytest.raises(BackendError):
            codec.encode(planes, "RGB", **options)


def test_a_device_that_is_not_here_is_named() -> None:
    pytest.importorskip("torch")
    for device in ("cuda:77", "nonsense"):
        with pytest.raises(BackendError, match=device):
            codec.encode(nets.picture("smooth", 5, 6, 3), "RGB", device=device)


def test_products_that_are_not_exact_are_given_up_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from pixcodec.exact import matmul

    planes = nets.picture("smooth", 9, 8, 3)
    expected = codec.encode(planes, "RGB")
    monkeypatch.setattr(matmul, "_passes", lambda name, _: name != "vector")
    encoded = codec.encode(planes, "RGB")
    assert (expected.note, encoded.data) == ("", expected.data)
    assert "vector products are not exact" in encoded.note
    with pytest.raises(BackendError, match="not exact"):
        codec.decode(expected.data, backend="vector")


def test_a_file_says_which_model_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = codec.encode(nets.picture("smooth", 5, 6, 3), "RGB", model="raw").data
    monkeypatch.setenv(models.ENVIRONMENT, str(tmp_path))
    with pytest.raises(ModelError, match=container.read_header(data).model_id.hex()):
        codec.decode(data)


def test_progress_counts_every_sub_pixel() -> None:
    seen: list[tuple[int, int]] = []
    planes = nets.picture("smooth", 20, 30, 3)
    encoded = codec.encode(planes, "RGB", progress=lambda done, total: seen.append((done, total)))
    assert encoded.steps == 30 + 2 * 19
    assert seen[-1] == (planes.size, planes.size)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
