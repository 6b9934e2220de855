"""The predictors' fast path gives the reference's bits, where binary32 is easy and where it breaks first."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import random_networks as nets
from numba import njit

from pixcodec.exact import predict, store
from pixcodec.exact.compiled import Kernel, compiled
from pixcodec.exact.emit import FLOATS, INTP, LANES, emitted
from pixcodec.exact.predict import COMPAND, LIMIT, Parameters, Predictors, predictions
from pixcodec.exact.reference import predict as reference

PARAMETERS = {
    "photo": nets.recipe("photo"),
    "photo_gray": nets.recipe("photo_gray"),
    "small": nets.SMALL,
    "small_gray": nets.SMALL_GRAY,
    "small_luma": nets.SMALL_LUMA,
    "small_chroma": nets.SMALL_CHROMA,
    "far": nets.FAR,
    "far_colour": nets.FAR_COLOUR,
}
SHAPES = ((1, 1), (1, 2), (2, 1), (3, 1), (2, 3), (4, 2), (1, 70), (70, 1), (17, 5), (6, 19))


def agree(planes: np.ndarray, parameters: Parameters) -> None:
    np.testing.assert_array_equal(predictions(planes, parameters), reference.predictions(planes, parameters))


@pytest.mark.parametrize("kind", nets.KINDS)
@pytest.mark.parametrize("name", PARAMETERS)
def test_the_fast_path_agrees_with_the_reference_on_every_shape(name: str, kind: str) -> None:
    for height, width in SHAPES:
        agree(nets.picture(kind, height, width, PARAMETERS[name].planes), PARAMETERS[name])


@pytest.mark.parametrize("kind", ["random", "smooth", "stripes"])
@pytest.mark.parametrize("name", PARAMETERS)
def test_the_fast_path_agrees_with_the_reference_on_a_larger_picture(name: str, kind: str) -> None:
    agree(nets.picture(kind, 33, 40, PARAMETERS[name].planes), PARAMETERS[name])


@pytest.mark.parametrize(("height", "width"), [(1037, 2), (1025, 1)])
def test_a_thousand_lanes_agree_with_the_reference(height: int, width: int) -> None:
    agree(nets.picture("smooth", height, width, 1), nets.SMALL_GRAY)


def test_predictions_use_what_is_known_and_nothing_else() -> None:
    planes = nets.picture("random", 6, 9, 3)
    before = reference.predictions(planes, nets.SMALL)
    y, x, c = 3, 4, 1
    planes[y, x, c] ^= 255
    changed = (reference.predictions(planes, nets.SMALL) != before).any(axis=-1)
    rows, columns, channels = np.indices(planes.shape)
    later = columns + 2 * rows > x + 2 * y
    own = (rows == y) & (columns == x) & (channels > c)
    assert not changed[~later & ~own].any()
    assert changed[later].any()
    assert changed[own].all()


def test_values_outside_the_picture_follow_the_rules() -> None:
    channel = np.arange(20, dtype=np.uint8).reshape(4, 5)  # channel[y, x] = 5 y + x
    expected = {
        (2, 7): 14,  # right: the row's last
        (0, -1): 128,  # left of the first row
        (1, -1): 1,  # left: (0, 1), the pixel of the same time above
        (2, -2): 5,  # left: (1, 0)
        (3, -3): 6,  # left twice: (2, -1), then (1, 1)
        (2, -5): 128,  # left until the first row's left
        (-1, 3): 1,  # above: (0, 1)
        (-2, 3): 128,  # above: (0, -1)
        (-1, 9): 4,  # above and right: (0, 7), its last
    }
    assert {place: reference.value(channel, *place) for place in expected} == expected
    narrow = channel[:, :1]
    assert reference.value(narrow, 2, -1) == 5  # (1, 1), whose row's last is (1, 0)


_emitted = emitted([INTP] * 2, lambda value, out: out.store(predict._stored(value.load(FLOATS))))


@compiled()
def _store(values, stored):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    _emitted(values.ctypes.data, stored.ctypes.data)


@pytest.mark.parametrize(
    ("value", "sixteenths"),
    [
        (np.nan, 0), (np.inf, 4080), (-np.inf, 0), (-0.0, 0), (1e-40, 0), (255.01, 4080), (254.97, 4080), (3e38, 4080),
        (0.5 / 16, 0), (1.5 / 16, 2), (2.5 / 16, 2), (4078.5 / 16, 4078), (4079.5 / 16, 4080), (100.25, 1604),
    ],
)  # fmt: skip
def test_predictions_are_clamped_nan_too_and_rounded_half_to_even(value: float, sixteenths: int) -> None:
    stored = np.empty(LANES, np.int16)
    _store(np.full(LANES, value, np.float32), stored)
    assert (stored == sixteenths).all()
    assert reference.fixed(np.float32(value)) == sixteenths


def test_statistics_that_fade_become_zero_not_denormal() -> None:
    planes = nets.picture("white", 2, 300, 1)
    parameters = nets.card(
        1, [(0, -1), (1, -1)], [2], memories=[[0.1, 0.1, 1e-3]], stack=[0.1, 0.1, 1e-3], base=0, centre=[1]
    )
    predictors = Predictors(parameters, *planes.shape[:2])
    for step in range(300):
        first, last = predictors.begin(step)
        predictors.predict(0)
        rows = np.arange(first, last + 1)
        predictors.know(0, planes[rows, step - 2 * rows, 0])
        predictors.learn()
        state, least = np.abs(predictors.statistics), 0.99 * 0.1 * 1e-20  # of P, which is 0.1 S
        assert ((state == 0) | (state > np.float32(least))).all()
        if step == 1:
            assert state.any()
    assert not state[:, 1, :, 0].any()
    agree(planes, parameters)


def test_flushing_zeroes_what_is_tiny_or_no_number() -> None:
    before = np.array([[1e-20, -1.1e-20], [np.nan, 2]], np.float32)
    after = reference.learned(before, np.zeros(2, np.float32))
    np.testing.assert_array_equal(after, np.array([[0, -1.1e-20], [0, 2]], np.float32))


@pytest.mark.parametrize(("pivot", "used"), [(0.6, 0.6), (0.5, 1), (-3, 1), (0, 1), (np.nan, 1), (np.inf, np.inf)])
def test_pivots_not_above_half_the_ridge_become_the_ridge(pivot: float, used: float) -> None:
    one = np.float32(1)
    assert reference.inverse_pivot(np.float32(pivot), one) == one / np.float32(used)


def test_the_regression_is_a_least_squares() -> None:
    random = np.random.default_rng(1)
    samples = random.normal(size=(40, 7))  # 4 features, 3 values
    statistics, f = samples.T @ samples, random.normal(size=4)
    known = [np.float32(0.3), np.float32(-0.7)]
    ridge = np.float32(1e-3)
    for order, regression in zip(
        (2, 4), reference.regressions(statistics.astype(np.float32), ridge, f.astype(np.float32), (2, 4)), strict=True
    ):
        for c in range(3):
            inputs = [*range(order), *range(4, 4 + c)]
            gram = statistics[np.ix_(inputs, inputs)] + ridge * np.eye(len(inputs))
            seen = np.concatenate([f[:order], known[:c]])
            exact = statistics[4 + c, inputs] @ np.linalg.solve(gram, seen)
            assert regression.prediction(known[:c]) == pytest.approx(exact, abs=1e-4)


def test_compand_is_the_pinned_table() -> None:
    digest = hashlib.sha256(COMPAND.tobytes()).hexdigest()
    assert digest == "63bb96b7d8e13761fef566d5a153097773fa9d651c0ec81eabfbd51fdd708ed6"
    assert COMPAND.dtype == np.int8
    assert COMPAND.shape == (2 * LIMIT + 1,)


def test_compand_has_sixteen_codes_an_octave() -> None:
    codes = COMPAND.astype(int)
    np.testing.assert_array_equal(codes, -codes[::-1])
    assert codes[LIMIT : LIMIT + 17].tolist() == list(range(17))
    # The code at which each code starts: 16 steps of 2^s from 16 (2^s - 1) on.
    starts = [2**s * (16 + step) - 16 for s in range(8) for step in range(16)]
    positive = codes[LIMIT:]
    expected = np.minimum(np.searchsorted(starts, np.arange(LIMIT + 1), side="right") - 1, 127)
    np.testing.assert_array_equal(positive, expected)


def assembly_of(kernel: Kernel) -> str:
    """The assembly of a kernel that was compiled in this process; what comes from the store has no types."""
    options = {name: value for name, value in kernel.made.targetoptions.items() if name != "nopython"}
    fresh = njit(**options)(kernel.made.py_func)
    for types in kernel.types:
        fresh.compile(types)
    return "\n".join(fresh.inspect_asm().values())


def fused(assembly: str) -> list[str]:
    """Fused multiply-adds of x86 and of ARM."""
    names = ("vfmadd", "vfmsub", "vfnmadd", "vfnmsub", "fmla", "fmls", "fmadd", "fmsub", "fnmadd", "fnmsub")
    return [line for line in assembly.splitlines() if line.strip().startswith(names)]


@njit(fastmath=True)
def _fusable(a, b, c):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    return a * b + c


def test_nothing_is_fused_in_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    _fusable(np.float32(1), np.float32(2), np.float32(3))
    if not fused("\n".join(_fusable.inspect_asm().values())):
        pytest.skip("the processor that numba compiles for has no fused multiply-add")
    parameters = nets.SMALL
    predict._kernels.cache_clear()
    monkeypatch.setattr(store, "read", lambda *_: None)
    predictions(nets.picture("random", 3, 3, 3), parameters)
    for kernel in predict._kernels(6, 3, (3, 6), 4):
        assembly = assembly_of(kernel)
        assert "mul" in assembly, kernel
        assert not fused(assembly), kernel
