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


def test_look_ups_and_changes_of_single_elements() -> None:
    look_up, put = vectors.pairs_of(11), vectors.setter_of(11)

    @compiled()
    def run(table: np.ndarray, places: np.ndarray, found: np.ndarray, scratch: np.ndarray) -> None:
        at = vectors.load_int32x16(places.ctypes.data)
        own, following = look_up(table.ctypes.data, at, scratch.ctypes.data)
        vectors.store(found.ctypes.data, own)
        vectors.store(found.ctypes.data + 64, following)
        put(table.ctypes.data, at, own + 1, scratch.ctypes.data)

    table = numbers(np.int32, 400)
    before, places = table.copy(), RANDOM.permutation(399)[:16].astype(np.int32)
    found = np.zeros((2, 16), np.int32)
    run(table, places, found, np.zeros(32, np.int32))
    np.testing.assert_array_equal(found[0, :11], before[places[:11]])
    np.testing.assert_array_equal(found[1, :11], before[places[:11] + 1])
    assert not found[:, 11:].any()
    before[places[:11]] += 1
    np.testing.assert_array_equal(table, before)
