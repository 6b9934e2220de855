"""Vectors in compiled functions: each operation is NumPy's, on every element."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pixcodec.exact import vectors
from pixcodec.exact.compiled import compiled

if TYPE_CHECKING:
    from collections.abc import Callable

OPERATORS = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "and": operator.and_, "or": operator.or_,
    "xor": operator.xor,
}  # fmt: skip
RANDOM = np.random.default_rng(5)


def numbers(kind: type, count: int) -> np.ndarray:
    """Random integers of a kind, small and large ones."""
    info = np.iinfo(kind)
    large = RANDOM.integers(info.min, info.max, count, kind, endpoint=True)
    return np.where(RANDOM.random(count) < 0.3, large % kind(9), large).astype(kind)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("kind", [np.int32, np.uint64])
def test_operators_work_on_every_element(name: str, kind: type) -> None:
    function = OPERATORS[name]
    load = vectors.load_int32x16 if kind is np.int32 else vectors.load_uint64x8

    @compiled()
    def run(a: np.ndarray, b: np.ndarray, both: np.ndarray, one: np.ndarray, number: int) -> None:
        first = load(a.ctypes.data)
        vectors.store(both.ctypes.data, function(first, load(b.ctypes.data)))
        vectors.store(one.ctypes.data, function(number, first))

    count = 16 if kind is np.int32 else 8
    for number in (0, 3, 1 << 30):
        a, b = numbers(kind, count), numbers(kind, count)
        both, one = np.zeros_like(a), np.zeros_like(a)
        run(a, b, both, one, number)
        np.testing.assert_array_equal(both, function(a, b))
        np.testing.assert_array_equal(one, function(kind(number), a))


def _compiled(kind: type, work: Callable[[Any, int], Any]) -> Callable[[np.ndarray, int], np.ndarray]:
    load = vectors.load_int32x16 if kind is np.int32 else vectors.load_uint64x8
    inner = compiled()(work)

    @compiled()
    def run(a: np.ndarray, number: int, result: np.ndarray) -> None:
        vectors.store(result.ctypes.data, inner(load(a.ctypes.data), number))

    def call(a: np.ndarray, number: int) -> np.ndarray:
        result = np.zeros_like(a)
        run(a, number, result)
        return result

    return call


def test_shifts_to_the_right_keep_the_sign_of_signed_ones_only() -> None:
    for kind in (np.int32, np.uint64):
        run, a = _compiled(kind, lambda vector, number: vector >> number), numbers(kind, 16 if kind is np.int32 else 8)
        for number in (0, 7, 31):
            np.testing.assert_array_equal(run(a, number), a >> kind(number))


def test_where_chooses_by_comparisons() -> None:
    signed = _compiled(np.int32, lambda vector, number: vectors.where(vector > number, vector, number))
    unsigned = _compiled(np.uint64, lambda vector, number: vectors.where(vector < number, vector, 0 * vector))
    for number in (0, 5, 77):
        a, b = numbers(np.int32, 16), numbers(np.uint64, 8)
        np.testing.assert_array_equal(signed(a, number), np.maximum(a, number))
        np.testing.assert_array_equal(unsigned(b, number), np.where(b < np.uint64(number), b, np.uint64(0)))


def test_reciprocals_are_exact() -> None:
    run = _compiled(np.int32, lambda vector, _number: vectors.reciprocals(vector))
    for start in range(0, 1024, 16):
        n = np.arange(start, start + 16, dtype=np.int32)
        np.testing.assert_array_equal(run(n, 0), 131072 // (2 * n + 3))


def test_octaves_are_whole_bits_of_quotients() -> None:
    @compiled()
    def run(larger: np.ndarray, smaller: np.ndarray, result: np.ndarray) -> None:
        at = vectors.load_int32x16(larger.ctypes.data), vectors.load_int32x16(smaller.ctypes.data)
        vectors.store(result.ctypes.data, vectors.octaves(at[0], at[1]))

    odd = np.arange(1025, 2049, 2, dtype=np.int32)
    result = np.zeros(16, np.int32)
    for larger in odd.reshape(-1, 16):
        run(larger, 2048 - larger, result)
        np.testing.assert_array_equal(result, np.log2(larger // (2048 - larger)).astype(int))


def test_products_have_64_bits() -> None:
    run = _compiled(np.int32, lambda vector, shift: vectors.product(vector, vector + 5, shift))
    a = RANDOM.integers(-(1 << 24), 1 << 24, 16).astype(np.int32)
    np.testing.assert_array_equal(run(a, 20), (a.astype(np.int64) * (a + 5) >> 20).astype(np.int32))


@pytest.fixture(params=["own", "few"])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instructions of this processor, and those of one that has no gathers, scatters and the like."""
    if request.param == "few":
        monkeypatch.setattr("pixcodec.exact.vector_instructions._has", lambda _instructions: False)


@pytest.mark.usefixtures("processor")
def test_elements_are_gathered_and_scattered_and_of_equal_places_the_last_counts() -> None:
    @compiled()
    def run(table: np.ndarray, places: np.ndarray, found: np.ndarray, values: np.ndarray, mask: int) -> None:
        at = vectors.load_int32x16(places.ctypes.data)
        vectors.store(found.ctypes.data, vectors.gathered(table.ctypes.data, at))
        vectors.scatter(table.ctypes.data, at, vectors.load_int32x16(values.ctypes.data), vectors.mask16(mask))

    for room in (1, 3, 16, 100_000):
        for mask in (0, 1, 0x8000, 0xFFFF, *RANDOM.integers(0, 1 << 16, 40).tolist()):
            table, places = numbers(np.int32, room), RANDOM.integers(0, room, 16).astype(np.int32)
            expected, values, found = table.copy(), numbers(np.int32, 16), np.zeros(16, np.int32)
            run(table, places, found, values, mask)
            np.testing.assert_array_equal(found, expected[places])
            for i in range(16):
                if mask >> i & 1:
                    expected[places[i]] = values[i]
            np.testing.assert_array_equal(table, expected)


@pytest.mark.usefixtures("processor")
def test_elements_of_sixteen_are_chosen() -> None:
    @compiled()
    def run(table: np.ndarray, places: np.ndarray, found: np.ndarray) -> None:
        vectors.store(found.ctypes.data, vectors.chosen(table.ctypes.data, vectors.load_int32x16(places.ctypes.data)))

    for _ in range(20):
        table, places, found = (
            numbers(np.int32, 16),
            RANDOM.integers(0, 16, 16).astype(np.int32),
            np.zeros(16, np.int32),
        )
        run(table, places, found)
        np.testing.assert_array_equal(found, table[places])


@pytest.mark.usefixtures("processor")
def test_bytes_are_taken_out_of_words() -> None:
    @compiled()
    def run(table: np.ndarray, places: np.ndarray, found: np.ndarray) -> None:
        at = vectors.load_int32x16(places.ctypes.data)
        vectors.store(found.ctypes.data, vectors.bytes_at(table.ctypes.data, at))

    table, found = RANDOM.integers(0, 256, 1000).astype(np.uint8), np.zeros(16, np.int32)
    for places in (np.arange(16), np.arange(984, 1000), *RANDOM.integers(0, 1000, (20, 16))):
        run(table, places.astype(np.int32), found)
        np.testing.assert_array_equal(found, table[places])


@pytest.mark.usefixtures("processor")
def test_bytes_of_words_are_added() -> None:
    run = _compiled(np.uint64, lambda vector, _number: vectors.byte_sums(vectors.as_bytes(vector)))
    for most in (1, 3, 31):
        table = RANDOM.integers(0, most + 1, (8, 8)).astype(np.uint8)
        np.testing.assert_array_equal(run(table.view(np.uint64)[:, 0], 0), table.sum(axis=1))
    last = np.zeros((8, 8), np.uint8)
    last[np.arange(8), np.arange(8)] = 255
    np.testing.assert_array_equal(run(last.view(np.uint64)[:, 0], 0), np.full(8, 255))


def test_masks_are_integers_and_back() -> None:
    @compiled()
    def run(a: np.ndarray, number: int) -> int:
        mask = vectors.mask16(number) & (vectors.load_int32x16(a.ctypes.data) > 0)
        return vectors.bits_of(mask)

    for _ in range(30):
        a, mask = numbers(np.int32, 16), int(RANDOM.integers(0, 1 << 16))
        assert run(a, mask) == mask & sum(1 << i for i in range(16) if a[i] > 0)


def test_the_lowest_bit_is_found() -> None:
    @compiled()
    def run(bits: int) -> int:
        return vectors.lowest(bits)

    for place in range(63):
        for more in (0, 1, 1 << 62, int(RANDOM.integers(1 << 40))):
            bits = (1 << place | more << place) & (1 << 63) - 1
            assert run(bits) == place


def test_sums_of_products_are_modulo_a_word() -> None:
    @compiled()
    def run(rows: np.ndarray, x: np.ndarray, found: np.ndarray) -> int:
        at = rows.ctypes.data
        three = (vectors.load_int32x16(at), vectors.load_int32x16(at + 64), vectors.load_int32x16(at + 128))
        sums = vectors.three_dots(three[0], three[1], three[2], vectors.load_int32x16(x.ctypes.data))
        vectors.store(found.ctypes.data, sums)
        return vectors.total(sums) + (vectors.total(vectors.load_int32x16(at)) << 32)

    found = np.zeros(4, np.int32)
    for n in range(60):
        rows, x = numbers(np.int32, 48).reshape(3, 16), numbers(np.int16, 16).astype(np.int32)
        if n < 4:
            rows[:], x[:] = (-1 << 31, (1 << 31) - 1)[n % 2], (-1 << 15, (1 << 15) - 1)[n // 2]
        both = run(rows, x, found)
        expected = ((rows >> 16).astype(np.int64) * x).sum(axis=1)
        np.testing.assert_array_equal(found, [*expected.astype(np.int32), 0])
        assert both % (1 << 32) == expected.sum() % (1 << 32)
        total = int(rows[0].sum(dtype=np.int32))
        assert both == int(expected.sum().astype(np.int32)) + (total << 32)


def _pairs(function: Any) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    @compiled()
    def run(a: np.ndarray, b: np.ndarray, result: np.ndarray) -> None:
        both = vectors.load_int32x16(a.ctypes.data), vectors.load_int32x16(b.ctypes.data)
        vectors.store(result.ctypes.data, function(both[0], both[1]))

    def call(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        result = np.zeros(16, np.int32)
        run(a.astype(np.int32), b.astype(np.int32), result)
        return result

    return call


def test_shares_are_whole_numbers_rounded_down() -> None:
    run, full = _pairs(vectors.shares), 1 << 24
    ends = np.array([1, 2, 3, 127, 128, 255, 256, 257, full // 3, full // 2 - 1, full // 2, full - 257, full - 256])
    fixed = [(np.resize(ends, 16), np.resize(full - ends, 16)), (np.resize(ends, 16), np.ones(16, np.int64))]
    fixed[1][0][-1] = full - 1
    drawn = [np.exp2(RANDOM.uniform(0, 23, (2, 16))).astype(np.int64) for _ in range(400)]
    for ones, zeros in (*fixed, *drawn):
        np.testing.assert_array_equal(run(ones, zeros), (ones << 24) // (ones + zeros))
    for divisor in RANDOM.integers(2, full, 400):  # just at whole numbers, and just below
        whole = RANDOM.integers(1, full, 16)
        above = np.clip(-(-whole * divisor >> 24), 1, divisor - 1)
        for ones in (above, np.maximum(above - 1, 1)):
            np.testing.assert_array_equal(run(ones, divisor - ones), (ones << 24) // divisor)


def test_ratios_are_rounded_down() -> None:
    def ratio(vector: Any, divisor: int) -> Any:
        return vectors.ratios(vector, divisor)

    run, most = _compiled(np.int32, ratio), (1 << 31) - 1
    divisors = [1, 2, 3, 5, 7, 46340, 46341, 65535, 65536, (1 << 30) - 1, 1 << 30, most - 1, most]
    divisors += np.exp2(RANDOM.uniform(0, 31, 300)).astype(np.int64).clip(1, most).tolist()
    for divisor in divisors:
        largest = most // divisor * divisor
        edges = np.array([0, 1, divisor - 1, divisor, largest - 1, largest, most - 1, most])
        near = RANDOM.integers(0, most // divisor + 1, 4) * divisor
        n = np.concatenate([edges, near, np.maximum(near - 1, 0)])
        np.testing.assert_array_equal(run(n.astype(np.int32), divisor), n // divisor)
