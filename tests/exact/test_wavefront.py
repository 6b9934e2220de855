"""The network along the wavefront gives the reference's bits, by every back end, and so do the counts of the codec."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import random_networks as nets

from pixcodec import tiles
from pixcodec.behind import Behind
from pixcodec.exact.network import STREAM_LIMIT
from pixcodec.exact.reference import codec as reference_codec
from pixcodec.exact.reference import network as reference
from pixcodec.exact.steps import number_of_steps

if TYPE_CHECKING:
    from pixcodec.exact.network import Network

BACKENDS = ("vector", "numpy")
SHAPES = ((1, 1), (1, 2), (2, 1), (1, 9), (9, 1), (2, 3), (3, 2), (17, 5), (6, 11))
FREE_TAPS = ((0, 0), (1, 2), (0, -3), (2, 4), (3, -1))  # two of them in the same step
FAR_FIRST_TAPS = ((4, 7), (4, -4), (0, -1), (1, 1), (0, -5), (3, 5))
NETWORKS = {
    "small": nets.random_network(nets.SMALL),
    "gray": nets.random_network(nets.SMALL_GRAY, features=20, blocks=1, head=8, seed=1),
    "at the bound": nets.random_network(nets.SMALL, features=104, blocks=1, head=64, extreme=True, seed=2),
    "at the bound, deep": nets.random_network(nets.FAR, features=16, blocks=5, head=20, extreme=True, seed=3),
    "no blocks": nets.random_network(nets.SMALL, blocks=0, seed=4),
    "far taps": nets.random_network(nets.SMALL_GRAY, first_taps=FAR_FIRST_TAPS, taps=FREE_TAPS, seed=5),
    "odd sizes": nets.random_network(nets.SMALL, features=10, head=7, edges=(2, 9), seed=6),
    "wide": nets.random_network(nets.SMALL_GRAY, features=70, blocks=1, head=130, edges=tuple(range(80, 90)), seed=7),
    "five vectors": nets.random_network(nets.SMALL, features=80, blocks=2, head=80, seed=13),
    "phases": nets.random_network(nets.SMALL, phases=3, seed=9),
    "gray phases": nets.random_network(nets.SMALL_GRAY, phases=1, seed=10),
    "known planes": nets.random_network(nets.SMALL_LUMA, phases=1, known_taps=nets.KNOWN_TAPS, seed=11),
    "a known plane": nets.random_network(nets.SMALL_CHROMA, seed=12),
    "raw": nets.random_network(nets.SMALL_GRAY, output="raw", seed=8),
    "logistics": nets.random_network(nets.SMALL, output="logistics", seed=9),
}


def agree(network: Network, planes: np.ndarray, backend: str) -> None:
    predictions, logits = nets.wavefront_logits(network, planes, nets.back_end(backend, network))
    np.testing.assert_array_equal(logits, reference.logits(network, planes, predictions)[0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_agree_with_the_reference_on_every_shape(name: str, backend: str) -> None:
    network = NETWORKS[name]
    for height, width in SHAPES:
        agree(network, nets.picture("random", height, width, network.parameters.planes), backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["smooth", "checkers", "white"])
def test_logits_agree_with_the_reference_on_a_larger_picture(kind: str, backend: str) -> None:
    agree(NETWORKS["small"], nets.picture(kind, 20, 33, 3), backend)


def test_a_network_of_the_shipped_size_agrees_with_the_reference() -> None:
    network = nets.random_network(nets.recipe("photo"), features=64, blocks=6, head=64)
    agree(network, nets.picture("smooth", 9, 12, 3), "vector")


@pytest.mark.parametrize(("height", "width"), [(1030, 2), (1100, 1)])
def test_a_thousand_lanes_agree_with_the_reference(height: int, width: int) -> None:
    agree(NETWORKS["gray"], nets.picture("random", height, width, 1), "vector")


def test_random_networks_are_lively_and_reach_their_bounds() -> None:
    """The tests above would show little if logits did not vary, or sums stayed far from 2^24."""
    for name, network in NETWORKS.items():
        planes = nets.picture("random", 17, 5, network.parameters.planes)
        _, logits = nets.wavefront_logits(network, planes, nets.back_end("vector", network))
        varying = (np.ptp(logits.reshape(-1, *logits.shape[2:]), axis=0) > 0).mean()
        assert varying > (0.25 if "bound" in name else 0.9), name
        assert ("bound" in name) == bool(nets.products_at_bound(network)), name
        assert (np.abs(logits) == STREAM_LIMIT).any() or "bound" not in name, name


@pytest.mark.parametrize("name", ["small", "at the bound", "far taps", "known planes", "raw", "logistics"])
def test_the_codec_codes_with_the_counts_of_the_reference_in_its_order(name: str) -> None:
    network = NETWORKS[name]
    planes, known = nets.picture("smooth", 7, 10, network.parameters.planes), network.known
    expected, centres = reference_codec.counts_and_centres(network, planes)
    order: list[tuple[int, int, int]] = []
    found = np.zeros_like(planes)
    found[:, :, :known] = planes[:, :, :known]

    def code(channel: int, step: int, first: int, counts: np.ndarray, around: np.ndarray) -> None:
        rows = np.arange(first, first + len(counts))
        columns = step - 2 * rows
        each = nets.symbol_counts(network, counts, around)
        np.testing.assert_array_equal(each, expected[rows, columns, channel - known])
        np.testing.assert_array_equal(around, centres[rows, columns, channel - known])
        order.extend((y, x, channel - known) for y, x in zip(rows.tolist(), columns.tolist(), strict=True))
        found[rows, columns, channel] = planes[rows, columns, channel]

    for backend in ("vector", "numpy"):
        run = tiles._Run(network, nets.back_end(backend, network), "", None)
        tiles._write_tile(run, planes, tiles.by_steps(code))
        assert order == list(reference_codec.order(*expected.shape[:3]))
        found[:, :, known:], order = 0, []
        tiles._read_tile(run, found, tiles.by_steps(code))
        assert order == list(reference_codec.order(*expected.shape[:3]))
        order = []


@pytest.mark.parametrize("name", ["small", "known planes"])
def test_steps_in_parts_made_by_another_thread_give_the_same_counts(name: str) -> None:
    network = NETWORKS[name]
    planes, known = nets.picture("smooth", 150, 40, network.parameters.planes), network.known
    run = tiles._Run(network, nets.back_end("vector", network), "", None)
    expected = np.zeros((*planes.shape, 256), np.float32)
    found, read = np.zeros_like(planes), np.zeros_like(expected)
    found[:, :, :known] = planes[:, :, :known]
    widths = set()

    def write(channel: int, step: int, first: int, counts: np.ndarray, around: np.ndarray) -> None:
        rows = np.arange(first, first + len(counts))
        expected[rows, step - 2 * rows, channel] = nets.symbol_counts(network, counts, around)

    def fill_in(channel: int, step: int, first: int, counts: np.ndarray, around: np.ndarray) -> None:
        rows = np.arange(first, first + len(counts))
        read[rows, step - 2 * rows, channel] = nets.symbol_counts(network, counts, around)
        found[rows, step - 2 * rows, channel] = planes[rows, step - 2 * rows, channel]
        widths.add(len(counts))

    tiles._write_tile(run, planes, tiles.by_steps(write))
    with Behind(thread=True) as behind:
        tiles._read_tile(run, found, tiles.by_steps(fill_in), behind)
    np.testing.assert_array_equal(read, expected)
    assert max(widths) < 40  # of the 75 that a step has


def test_counts_depend_on_what_is_known_and_nothing_else() -> None:
    network, planes = NETWORKS["small"], nets.picture("random", 6, 9, 3)
    before = reference_codec.counts(network, planes)
    y, x, c = 3, 4, 1
    planes[y, x, c] ^= 255
    changed = (reference_codec.counts(network, planes) != before).any(axis=-1)
    rows, columns, channels = np.indices(planes.shape)
    later = columns + 2 * rows > x + 2 * y
    own = (rows == y) & (columns == x) & (channels > c)
    assert not changed[~later & ~own].any()
    assert changed[own].all()
    assert changed[later].mean() > 0.5


def test_the_order_takes_every_symbol_once_in_as_few_steps_as_there_are() -> None:
    for height, width in SHAPES:
        order = list(reference_codec.order(height, width, 2))
        assert sorted(order) == list(np.ndindex(height, width, 2))
        times = [x + 2 * y for y, x, _ in order]
        assert times == sorted(times)
        assert times[-1] + 1 == number_of_steps(height, width)


@pytest.mark.parametrize(
    ("sums", "scale", "low", "expected"),
    [
        ([1, 3, 5, -1, -3], 0.5, -STREAM_LIMIT, [0, 2, 2, 0, -2]),  # half to even
        ([2**24 - 1, 1 - 2**24], 2.0, -STREAM_LIMIT, [STREAM_LIMIT, -STREAM_LIMIT]),
        ([511, 509, -7], 0.5, 0, [255, 254, 0]),
        ([2**24 - 1], 3e38, 0, [255]),
        ([16777215], 0.001, -STREAM_LIMIT, [16777]),
    ],
)
def test_sums_are_rescaled_with_one_rounding_half_to_even(
    sums: list[int], scale: float, low: int, expected: list[int]
) -> None:
    result = reference.rescale(np.array(sums), np.float32(scale), low, 255 if low == 0 else STREAM_LIMIT)
    assert result.tolist() == expected


def test_head_codes_are_as_drawn() -> None:
    """differences 16 * 20 and -8 to the centre 1608 = 16 * 100 + 8, which rounds up to 101."""
    predictions = [[1600, 1632, 1584], [1608, 1928, 1600]]
    codes = reference.head_codes([101, 0], predictions, 1, 0)
    first_channel = [reference.compand(d) for d in (16, -16, 32)]
    assert codes == [reference.compand(320), -8, 8 * (1608 - 16 * 101), 101 - 128, *first_channel]
    assert reference.past_codes([0], [[16, 0, 4080]]) == [-127, -16, 0, -127]
