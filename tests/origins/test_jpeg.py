"""JPEGs are found in their pixels: the coefficients of the file come back, and what was none is refused at once."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixcodec import jpeg_file, origins
from pixcodec.errors import ContainerError, DamagedTileError
from pixcodec.exact import coefficients
from pixcodec.origins import jpeg_decoder, jpeg_kernels, jpeg_recovery, jpeg_tables, search
from pixcodec.origins.jpeg import Jpeg
from pixcodec.origins.jpeg_decoder import LAYOUTS, Source, shapes, size, standard
from pixcodec.varint import Reader, varint

SUBSAMPLING = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}


def texture(height: int, width: int, channels: int, seed: int = 1) -> np.ndarray:
    """Waves and noise of several scales: something for every frequency, of values that seldom clip."""
    random = np.random.default_rng(seed)
    y, x, c = np.ogrid[:height, :width, :channels]
    planes = 128 + 30 * np.sin(x / 9 + y / 13 + c) + 30 * np.cos(y / 5 - x / 21 - c)
    for scale in (1, 2, 4, 8):
        coarse = random.normal(0, 3 * scale, (-(-height // scale), -(-width // scale), channels))
        planes += coarse.repeat(scale, axis=0).repeat(scale, axis=1)[:height, :width]
    return np.clip(planes, 0, 255).astype(np.uint8)


def saved(planes: np.ndarray, quality: int, sampling: str = "4:4:4", **options: object) -> tuple[bytes, np.ndarray]:
    """A JPEG by Pillow, and its pixels."""
    stream = io.BytesIO()
    image = Image.fromarray(planes if planes.shape[2] == 3 else planes[:, :, 0])
    if planes.shape[2] == 3:
        options["subsampling"] = SUBSAMPLING[sampling]
    image.save(stream, "JPEG", quality=quality, **options)
    with Image.open(stream) as opened:
        pixels = np.asarray(opened)
    return stream.getvalue(), np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1))


def no_cost(_planes: np.ndarray, _known: np.ndarray) -> int:
    raise AssertionError


def no_groups(_leaf: object, _known: np.ndarray) -> np.ndarray:
    raise AssertionError


def misses(found: Source, pixels: np.ndarray) -> float:
    return float((found.render(pixels.shape) != pixels).any(axis=2).mean())


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", SUBSAMPLING)
@pytest.mark.parametrize("quality", [60, 85])
def test_the_coefficients_of_the_file_come_back(quality: int, sampling: str, progressive: bool) -> None:  # noqa: FBT001
    data, pixels = saved(texture(112, 144, 3), quality, sampling, progressive=progressive)
    file, found = jpeg_file.read(data), jpeg_recovery.recover(pixels).source
    assert found.cut == (0, 0, 0, 0)
    assert found.factors == tuple(file.factors)
    for own, table, right, steps in zip(found.components, found.tables, file.components, file.tables, strict=True):
        assert (table == steps).all()
        assert (own == right).all(axis=2).mean() > 0.97
    assert misses(found, pixels) < 0.005


def test_a_gray_jpeg_comes_back() -> None:
    data, pixels = saved(texture(96, 80, 1), 75)
    found = jpeg_recovery.recover(pixels).source
    assert (found.components[0] == jpeg_file.read(data).components[0]).all()
    assert misses(found, pixels) == 0


@pytest.mark.parametrize("layout", range(1, 5))
@pytest.mark.parametrize("cut", [(0, 0, 0, 0), (3, 5, 0, 0), (2, 0, 6, 4)])
def test_what_is_found_costs_what_the_jpeg_cost(layout: int, cut: tuple[int, int, int, int]) -> None:
    shape = (128, 144, 3)
    source = made(layout, 80, shape, cut, 7)
    pixels = source.render(shape)
    tree = search.find(pixels, 256, b"", "jpeg", no_cost)
    record = origins.write(tree, "RGB", (b"", b""), iter(()))
    bytes_of_source = len(coefficients.encode(source.components, source.tables))
    # Where a crop cuts blocks the levels are others, and there are exceptions: much of so small a picture.
    assert len(record) < bytes_of_source * (1.02 if cut == (0, 0, 0, 0) else 1.4) + 20
    _, again = search.read(record, "RGB", shape, 256)
    np.testing.assert_array_equal(origins.render(again, no_groups, shape), pixels)
    assert "JPEG, quality 80" in origins.words(again)


def made(layout: int, quality: int, shape: tuple[int, int, int], cut: tuple[int, int, int, int], seed: int) -> Source:
    """A JPEG of random coefficients, many of them 0."""
    factors, random = LAYOUTS[layout], np.random.default_rng(seed)
    components, tables = [], [standard(quality, n) for n in range(len(factors))]
    for n, (rows, columns) in enumerate(shapes(factors, *size(shape, cut))):
        wanted = random.laplace(0, 60 if n == 0 else 30, (rows, columns, 64)) / (
            1 + np.arange(64) // 8 + np.arange(64) % 8
        )
        wanted[:, :, 0] = 150 * np.sin(np.arange(rows)[:, None] / 3 + np.arange(columns) / 4 + n)
        components.append(np.rint(wanted / tables[n]).astype(np.int16))
    return Source(factors, cut, tables, components)


def test_tables_that_are_no_qualitys_are_found() -> None:
    steps = [3, 3, 4, 5, 7, 9, 12, 16, *range(4, 60)]
    stream = io.BytesIO()
    Image.fromarray(texture(160, 176, 3)).save(stream, "JPEG", qtables=[steps, steps], subsampling=0)
    with Image.open(stream) as opened:
        pixels = np.asarray(opened).copy()
    tree = search.find(pixels, 256, b"", "jpeg", no_cost)
    assert "JPEG, tables of its own, 4:4:4" in origins.words(tree)
    record = origins.write(tree, "RGB", (b"", b""), iter(()))
    assert len(record) < stream.getbuffer().nbytes
    again = search.read(record, "RGB", pixels.shape, 256)[1]
    np.testing.assert_array_equal(origins.render(again, no_groups, pixels.shape), pixels)


# Those of many editors' highest quality: near IJG's 99, which gives samples as well but wrong levels.
LOW_STEPS = np.array([[min(max((x + y) // 3, 1), 3) for x in range(8)] for y in range(8)]).ravel()


@pytest.mark.parametrize(
    ("quality", "sampling", "missed"), [(97, "4:2:2", 0.02), (99, "4:4:4", 0.01), (99, "4:2:0", 0.2)]
)
def test_levels_as_fine_as_the_noise_are_found(quality: int, sampling: str, missed: float) -> None:
    data, pixels = saved(texture(96, 112, 3), quality, sampling)
    found = jpeg_recovery.recover(pixels).source
    assert all((own == right).all() for own, right in zip(found.tables, jpeg_file.read(data).tables, strict=True))
    assert misses(found, pixels) < missed


def test_steps_of_1_to_3_are_told_by_levels_near_0() -> None:
    table = LOW_STEPS.tolist()
    smooth = np.asarray(Image.fromarray(texture(192, 208, 3)).resize((260, 240), Image.Resampling.BICUBIC))
    _, pixels = saved(smooth, 50, qtables=[table, table])
    found = jpeg_recovery.recover(pixels).source
    assert (found.tables[0] == LOW_STEPS).all()
    assert misses(found, pixels) < 0.02


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_the_evidence_is_for_the_step_that_levels_have(step: int) -> None:
    random = np.random.default_rng(step)
    levels = random.choice([-1, 0, 0, 0, 0, 1], 1000)
    coefficients = (levels * step + random.normal(0, 12**-0.5, 1000)).astype(np.float32)
    out = np.empty((1, 21), np.float32)
    jpeg_kernels.evidence(coefficients[None], 20, np.array([12**-0.5], np.float32), out)
    assert int(out[0, 1:].argmax()) + 1 == step


def test_a_step_that_few_blocks_use_is_found_from_these() -> None:
    random = np.random.default_rng(0)
    levels = np.rint(random.normal(0, 3, (2000, 64)))
    levels[:, 60] = 0
    levels[[100, 700, 1900], 60] = 2, -1, 3
    levels[:, 63] = 0
    step = np.full(64, 5)
    step[[60, 63]] = 9, 7
    samples = np.rint((step * levels).astype(np.float32) @ jpeg_tables.BASIS + 128)
    steps, quality, _ = jpeg_tables.tables(samples, 1, 1, 0)
    assert quality is None
    assert (np.delete(steps, [60, 63]) == 5).all()
    assert (steps[60], steps[63]) == (9, 9)  # any will do for the last one: the largest of the others


@pytest.mark.parametrize("channels", [1, 3])
def test_what_was_no_jpeg_is_refused_at_the_first_look(channels: int) -> None:
    for seed in range(5):
        pixels = texture(150, 170, channels, seed)
        assert jpeg_tables.look(pixels) is None
        _, decoded = saved(pixels, 80, "4:2:0")
        scaled = Image.fromarray(decoded.squeeze()).resize((140, 120), Image.Resampling.BICUBIC)
        assert jpeg_tables.look(np.asarray(scaled).reshape(120, 140, channels)) is None
    assert jpeg_tables.look(np.full((60, 70, channels), 9, np.uint8)) is None


@pytest.mark.parametrize("shape", [(1, 1, 3), (29, 300, 3), (300, 29, 1), (30, 30, 3)])
def test_small_pictures_are_refused_or_found_without_an_error(shape: tuple[int, int, int]) -> None:
    _, pixels = saved(texture(*shape), 70)
    found = jpeg_recovery.recover(pixels)
    assert found is None or found.source.render(found.box[2:]).shape[:2] == found.box[2:]


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([(1, 2), (2, 1), (2, 2)]), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_least_squares_undoes_the_triangle_filter(height: int, width: int, factors: tuple[int, int], seed: int) -> None:
    down, across = factors
    smooth = np.random.default_rng(seed).normal(0, 6, (height, width)).cumsum(axis=1)
    plane = np.clip(128 + smooth, 0, 255).round().astype(np.uint8)
    if across == 2 and width < 3:
        return
    known = jpeg_decoder.upsample(plane, down, across).astype(np.int16)
    samples, far = jpeg_tables.deconvolved(known, down, across)
    assert far == 0
    assert np.abs(samples - plane).max() < 2.5
    exact = plane.astype(np.int64)
    moving = np.ones((-(-height // 8), -(-width // 8)), np.uint8)
    jpeg_kernels.descend(known, down, across, 5, moving, exact)
    assert (exact == plane).all()  # what fits already stays


def test_a_damaged_payload_is_an_error() -> None:
    shape = (48, 64, 3)
    source = made(2, 80, shape, (0, 0, 0, 0), 3)
    payload = coefficients.encode(source.components, source.tables)
    for damaged in (payload[:-4], payload[:40], payload[4:], payload[:5]):
        with pytest.raises(DamagedTileError):
            Jpeg(source.factors, source.cut, source.tables, damaged, 0).render([], shape)


@pytest.mark.parametrize(
    ("record", "channels", "message"),
    [
        (bytes([5, 0, 0, 0, 0]), 3, "layout 5"),
        (bytes([1, 0, 0, 0, 0, 90]), 1, "a JPEG"),
        (bytes([0, 0, 0, 0, 0, 90]), 3, "a JPEG"),
        (bytes([1, 8, 0, 0, 0, 90]), 3, "a JPEG"),
        (bytes([2, 0, 0, 0, 16, 90]), 3, "a JPEG"),
        (bytes([0, 0, 0, 0, 0, 101]), 1, "quality of 101"),
        (bytes([0, 0, 0, 0, 0, 90]) + varint(9) + bytes(8), 1, "cut or damaged"),
    ],
)
def test_a_record_that_no_writer_writes_is_refused(record: bytes, channels: int, message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        Jpeg.read(Reader(record, ContainerError, "it"), (40, 40, channels))


def test_a_few_bytes_cannot_ask_for_the_memory_of_a_huge_picture() -> None:
    record = bytes([0, 0, 0, 0, 0, 90]) + varint(4) + bytes(4)
    with pytest.raises(ContainerError, match="32768 wide"):
        Jpeg.read(Reader(record, ContainerError, "it"), (1 << 15, 1 << 15, 1))
    origin = Jpeg.read(Reader(record, ContainerError, "it"), (1 << 14, 1 << 14, 1))
    with pytest.raises(DamagedTileError, match="cannot hold"):
        origin.render([], (1 << 14, 1 << 14, 1))


def test_a_file_that_is_not_worth_it_is_not_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def recover(_: np.ndarray) -> None:
        raise AssertionError

    data, pixels = saved(texture(64, 80, 3), 100)
    monkeypatch.setattr(Jpeg, "recover", recover)
    found = search.find(pixels, 256, b"", "auto", lambda planes, _: planes.size, jpeg=data)
    assert isinstance(found.origin, Jpeg)
    found = search.find(pixels, 256, b"", "auto", lambda *_: 0, jpeg=data)
    assert not isinstance(getattr(found, "origin", None), Jpeg)
