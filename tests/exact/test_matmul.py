"""Products: every back end and every instruction at hand is exact, and one that is not is found out and not used."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np
import pytest
import random_networks as nets
from llvmlite.binding import llvm_version_info
from numba.core.registry import cpu_target

from pixcodec.errors import BackendError, PixcodecError
from pixcodec.exact import matmul, products, store
from pixcodec.exact.matmul import NumpyBackend, Packed, VectorBackend, known_answer
from pixcodec.exact.network import BOUND, Product

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NETWORK = nets.random_network(nets.recipe("photo"), features=64, blocks=1, head=64)
SHAPES = tuple(sorted({product.weight.shape for product in NETWORK.products().values()}))
ODD_SHAPES = ((1, 1, 1), (1, 5, 3), (3, 10, 70), (2, 64, 65), (3, 80, 80), (1, 640, 64), (5, 256, 128), (1, 516, 64))
KINDS = {
    "amx": "amx-int8",
    "amx16": "amx-int8",
    "vnni512": "avx512vnni",
    "vnni256": "avx512vnni" if "avx512vnni" in products.PRODUCTS["vnni256"].name else "avxvnni",
    "dot512": "avx512vnni",
    "dot256": "avxvnni",
    "madd512": "avx512bw",
    "madd256": "avx2",
    "plain": "",
}
BACKENDS = [kind for kind, form in products.PRODUCTS.items() if not form.halves]
FEATURES = {f[1:] for f in cpu_target.target_context.codegen().magic_tuple()[2].split(",") if f.startswith("+")}


def runs_here(kind: str) -> bool:
    """Whether numba compiles for a processor with the instruction (and its narrow form, for AVX-512)."""
    needed = {KINDS[kind]} | ({"avx512vl"} if kind == "vnni256" and KINDS[kind] == "avx512vnni" else set())
    known = not kind.startswith("vnni") or llvm_version_info >= (22,)
    return known and needed - {""} <= FEATURES


@pytest.fixture
def vector(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> VectorBackend:
    """The vector back end by the instruction that the test names."""
    if not runs_here(request.param):
        pytest.skip(f"the processor that numba compiles for has no {request.param}")
    monkeypatch.setattr(products, "product_kind", lambda: request.param)
    return VectorBackend()


@pytest.mark.parametrize("vector", BACKENDS, indirect=True)
def test_every_instruction_gives_the_known_answers(vector: VectorBackend) -> None:
    for shape in (*SHAPES, *ODD_SHAPES):
        assert known_answer(vector, *shape), shape


def test_outputs_are_padded_to_sixteen_or_to_panels_of_four_vectors_or_of_five_whichever_are_fewer() -> None:
    sizes = {1: 16, 9: 16, 16: 16, 17: 64, 57: 64, 64: 64, 65: 80, 80: 80, 81: 128, 128: 128, 130: 160, 161: 192}
    sizes |= {193: 240, 320: 320}
    assert {size: products.columns(size) for size in sizes} == sizes
    for kind in products.PRODUCTS:
        for size, columns in sizes.items():
            assert columns % products.FORMS[products.fitting(kind, size)].width == 0
            assert products.fitting(kind, size) == products.fitting(kind, columns)


@pytest.mark.parametrize("name", matmul.NAMES)
def test_every_back_end_gives_the_known_answers_or_says_that_it_cannot_run(name: str) -> None:
    if name.startswith("torch") and importlib.util.find_spec("torch") is None:
        with pytest.raises(PixcodecError, match="torch"):
            matmul.backend(name)
        return
    exact = [known_answer(matmul.backend(name), *shape) for shape in (*SHAPES, *ODD_SHAPES)]
    assert all(exact) or name == "torch-int8"  # which saturates on some processors; see the broken ones below


def test_the_best_instruction_is_one_that_runs_here() -> None:
    kind = products.product_kind()
    assert kind is not None
    assert runs_here(kind)
    better = list(products.PRODUCTS)[: list(products.PRODUCTS).index(kind)]
    assert not any(runs_here(other) for other in better if other != "vnni256")


@pytest.mark.parametrize("vector", BACKENDS, indirect=True)
@pytest.mark.parametrize("signed", [False, True])
def test_sums_at_the_bound_are_exact(vector: VectorBackend, signed: bool) -> None:  # noqa: FBT001 - a case
    inputs, outputs, rows = 516, 64, 7
    weight = np.full((1, inputs, outputs), 127, np.int8) * np.resize([1, -1], outputs).astype(np.int8)
    bias = np.resize([1, -1], outputs).astype(np.int32) * (BOUND - 1 - 256 * 127 * inputs)
    product = Product(weight, bias, np.ones(outputs, np.float32))
    assert product.bound() == BOUND - 1
    low, high = (-128, 127) if signed else (0, 255)
    codes = np.full((1, rows, inputs), high)
    codes[:, 3:] = low
    offset = vector.signed_offset if signed else vector.unsigned_offset
    out = np.empty((rows, outputs), np.int32)
    packed = matmul.pack(vector, product, np.full(inputs, signed))
    zero = np.zeros(1, np.int64)
    vector.convolve((codes + offset).astype(vector.stored), zero, zero, rows, packed, out)
    expected = codes[0] @ weight[0].astype(np.int64) + bias
    np.testing.assert_array_equal(out, expected)
    assert np.abs(expected).max() < BOUND


@pytest.mark.parametrize("name", ["vector", "numpy"])
def test_taps_rows_beyond_and_columns_beyond_do_not_matter(name: str) -> None:
    """Sources are rings with more lanes and columns than a product reads; only `rows` rows of `out` are written."""
    backend, random = matmul.backend(name), np.random.default_rng(0)
    weight = random.integers(-127, 128, (3, 6, 5)).astype(np.int8)
    product = Product(weight, random.integers(-9, 9, 5).astype(np.int32), np.ones(5, np.float32))
    codes = random.integers(0, 256, (4, 20, 12))
    slots, starts, rows = np.array([3, 0, 3]), np.array([0, 5, 9]), 11
    out = np.full((15, products.columns(5)), 77, backend.sums)
    packed = matmul.pack(backend, product, np.zeros(6, bool))
    backend.convolve(codes.astype(backend.stored), slots, starts, rows, packed, out)
    expected = sum(codes[s, t : t + rows, :6] @ w for s, t, w in zip(slots, starts, weight.astype(int), strict=True))
    np.testing.assert_array_equal(out[:rows, :5], expected + product.bias)
    assert (out[rows:] == 77).all()


class Saturating(NumpyBackend):
    """x86 without VNNI: two products of unsigned and signed bytes are added in 16 bits and saturate."""

    def convolve(
        self, source: np.ndarray, slots: np.ndarray, starts: np.ndarray, rows: int, packed: Packed, out: np.ndarray
    ) -> None:
        out[:rows] = packed.bias
        for slot, start, weight in zip(slots, starts, packed.weight, strict=True):
            terms = source[slot, start : start + rows, : weight.shape[0], None] * weight
            pairs = terms[:, ::2] + terms[:, 1::2]
            out[:rows] += np.clip(pairs, -32768, 32767).sum(axis=1)


class RowForgetting(NumpyBackend):
    """Wrong with a single row only."""

    def convolve(
        self, source: np.ndarray, slots: np.ndarray, starts: np.ndarray, rows: int, packed: Packed, out: np.ndarray
    ) -> None:
        super().convolve(source, slots, starts, rows, packed, out)
        if rows == 1:
            out[0, 0] += 1


class Coarse(NumpyBackend):
    """Sums with 16 bits, as bfloat16 and TF32 accumulators would have fewer than 24."""

    def convolve(
        self, source: np.ndarray, slots: np.ndarray, starts: np.ndarray, rows: int, packed: Packed, out: np.ndarray
    ) -> None:
        super().convolve(source, slots, starts, rows, packed, out)
        bits = out.view(np.uint32)
        bits &= np.uint32(0xFFFFFF00)


class TapForgetting(NumpyBackend):
    """Reads every tap from the first slot."""

    def convolve(
        self, source: np.ndarray, slots: np.ndarray, starts: np.ndarray, rows: int, packed: Packed, out: np.ndarray
    ) -> None:
        super().convolve(source, np.zeros_like(slots), starts, rows, packed, out)


@pytest.mark.parametrize("broken", [Saturating, RowForgetting, Coarse])
@pytest.mark.parametrize("shape", [*SHAPES, (1, 640, 64), (5, 256, 128), (25, 128, 64)])
def test_a_broken_back_end_is_found_out_by_every_shape(broken: type[NumpyBackend], shape: tuple[int, int, int]) -> None:
    assert not known_answer(broken(), *shape)
    assert known_answer(NumpyBackend(), *shape)


def test_a_back_end_that_mixes_up_taps_is_found_out() -> None:
    assert not known_answer(TapForgetting(), 5, 64, 64)


@pytest.fixture
def broken_vector(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The vector back end saturates."""
    monkeypatch.delenv(matmul.ENVIRONMENT, raising=False)
    monkeypatch.setitem(matmul._BACKENDS, "vector", Saturating)
    matmul.backend.cache_clear()
    matmul._passes.cache_clear()
    yield
    matmul.backend.cache_clear()
    matmul._passes.cache_clear()


@pytest.mark.usefixtures("broken_vector")
def test_numpy_stands_in_for_a_back_end_that_fails_its_test_and_says_so() -> None:
    chosen, note = matmul.choose(None, SHAPES)
    assert chosen.name == "numpy"
    assert "vector" in note


@pytest.mark.usefixtures("broken_vector")
def test_a_back_end_that_was_asked_for_and_fails_its_test_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendError, match="not exact"):
        matmul.choose("vector", SHAPES)
    monkeypatch.setenv(matmul.ENVIRONMENT, "vector")
    with pytest.raises(BackendError, match="not exact"):
        matmul.choose(None, SHAPES)
    assert matmul.choose("numpy", SHAPES)[0].name == "numpy"


@pytest.mark.usefixtures("broken_vector")
def test_without_any_exact_back_end_nothing_is_coded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(matmul._BACKENDS, "numpy", Saturating)
    with pytest.raises(BackendError, match="not exact"):
        matmul.choose(None, SHAPES)


def test_an_unknown_back_end_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(BackendError, match="vector, numpy, torch-int8, torch-float32"):
        matmul.choose("cuda", SHAPES)


@pytest.mark.skipif(not store.USABLE, reason="no code is kept here")
def test_kept_code_is_asked_until_it_has_given_the_answers_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(store.ENVIRONMENT, str(tmp_path))
    asked: list[tuple[int, ...]] = []

    def answer(_: object, *shape: int) -> bool:
        asked.append(shape)
        return len(asked) > 1

    monkeypatch.setattr(matmul, "known_answer", answer)
    found = []
    for _ in range(4):
        matmul._passes.cache_clear()
        found.append(matmul._passes("vector", (1, 64, 64)))
    assert found == [False, True, True, True]
    assert asked == [(1, 64, 64)] * 2
    matmul._passes.cache_clear()
    assert matmul._passes("numpy", (1, 64, 64))
    assert len(asked) == 3
    matmul._passes.cache_clear()
