"""Three logistics: the fast path gives the reference's counts and errors, and both mean what they should."""

from __future__ import annotations

import numpy as np
import pytest
import random_networks as nets
from hypothesis import given, settings
from hypothesis import strategies as st

from pixcodec.exact import logistics as fast
from pixcodec.exact.frequencies import TOTAL, class_table
from pixcodec.exact.network import residual_classes
from pixcodec.exact.reference import logistics as reference
from pixcodec.exact.rows import MIXTURES

LIMIT = 32767


def drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs int16[n, 9] as of networks and far from it, centres and symbols int32[n]."""
    random = np.random.default_rng(seed)
    outputs = random.normal([0, 0, 0, 0, 0, 0, -300, -300, -300], [*[300] * 3, *[600] * 3, *[400] * 3], (n, 9))
    outputs[: n // 4] *= random.choice([1, 10, 100], (n // 4, 1))
    outputs[: n // 8] = random.choice([-LIMIT, LIMIT, 0, 1], (n // 8, 9))
    centres = random.choice([0, 1, 2, 20, 128, 254, 255, *range(256)], n)
    symbols = np.clip(np.rint(centres + random.standard_t(2, n) * 4), 0, 255)
    return np.clip(np.rint(outputs), -LIMIT, LIMIT).astype(np.int16), centres.astype(np.int32), symbols.astype(np.int32)


TABLE = class_table(residual_classes({"output": "logistics", "edges": list(nets.EDGES)}))  # which nothing here asks


def counts_of(outputs: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """float32[n, 256] from outputs int16[n, 9]."""
    rows, counts = MIXTURES.room(centres.shape, TABLE), np.full((len(outputs), 256), -1, np.float32)
    MIXTURES.make(outputs, centres, TABLE, 256, rows)
    MIXTURES.symbol_counts(rows, centres, TABLE, counts)
    return counts


def test_counts_agree_with_the_reference_and_fill_the_total() -> None:
    outputs, centres, symbols = drawn(300)
    counts = counts_of(outputs, centres)
    for own, q, found in zip(outputs.tolist(), centres.tolist(), counts, strict=True):
        expected = reference.counts(own, q)
        np.testing.assert_array_equal(found, expected)
        assert expected.sum() == TOTAL
        assert expected.min() >= 0
    rows = MIXTURES.room(centres.shape, TABLE)
    MIXTURES.make(outputs, centres, TABLE, 256, rows)
    bits = MIXTURES.code_length(rows, centres, TABLE, symbols)
    own = counts[np.arange(len(symbols)), symbols].astype(np.float64) + 1
    assert bits == pytest.approx((24 - np.log2(own)).sum(), rel=1e-12)


def errors_of(outputs: np.ndarray, centres: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    """int16[n, 16] from outputs int16[n, 9]."""
    room = np.full((len(outputs), 64), 77, np.int16)  # what lies behind the outputs does not matter
    room[:, :9] = outputs
    rows, errors = MIXTURES.room(centres.shape, TABLE), np.zeros((len(outputs), 16), np.int16)
    MIXTURES.make(room[:, :9], centres, TABLE, 256, rows)
    fast.logistic_errors(room[:, :9], rows, centres, symbols, TABLE, errors)
    return errors


def test_errors_agree_with_the_reference() -> None:
    outputs, centres, symbols = drawn(300, 1)
    errors = errors_of(outputs, centres, symbols)
    for own, q, symbol, found in zip(outputs.tolist(), centres.tolist(), symbols.tolist(), errors, strict=True):
        np.testing.assert_array_equal(found, [*reference.errors(own, symbol, q), *[0] * 7])


@settings(max_examples=60)
@given(st.lists(st.integers(-LIMIT, LIMIT), min_size=9, max_size=9), st.integers(0, 255), st.integers(0, 255))
def test_whatever_the_outputs(outputs: list[int], q: int, symbol: int) -> None:
    own, centre = np.array([outputs], np.int16), np.array([q], np.int32)
    np.testing.assert_array_equal(counts_of(own, centre)[0], reference.counts(outputs, q))
    errors = errors_of(own, centre, np.array([symbol], np.int32))
    np.testing.assert_array_equal(errors[0, :9], reference.errors(outputs, symbol, q))


def shares(outputs: np.ndarray, q: int) -> np.ndarray:
    """Probabilities of the symbols by the formula, in binary64."""
    logits, means, scales = outputs.astype(float).reshape(3, 3) / 256
    weights = np.exp2(logits - logits.max())
    weights /= weights.sum()
    edges = np.arange(257)[:, None] - q - 0.5
    with np.errstate(over="ignore"):
        below = (weights / (1 + np.exp2((means - edges) * np.exp2(-np.clip(scales, -7, 7))))).sum(1)
    below[[0, -1]] = 0, 1
    return np.diff(below)


def test_counts_are_the_logistics_shares() -> None:
    outputs, centres, _ = drawn(200, 2)
    for own, q in zip(outputs, centres.tolist(), strict=True):
        below, counts = reference.sums(own.tolist(), q), reference.counts(own.tolist(), q)
        below[[0, -1]] = 0, TOTAL
        np.testing.assert_allclose(np.diff(below) / TOTAL, shares(own, q), atol=1e-5)
        kept = 256 / TOTAL  # each half keeps 1 for every symbol in it
        np.testing.assert_allclose(counts / TOTAL, shares(own, q), atol=1e-5 + kept)


def test_errors_are_the_derivatives_of_the_code_length() -> None:
    outputs, centres, symbols = drawn(400, 3)
    step, unit = 1e-3, 1024 * 256 / np.log(2)
    compared = 0
    for own, q, symbol in zip(outputs[100:], centres[100:].tolist(), symbols[100:].tolist(), strict=True):
        found = reference.errors(own.tolist(), symbol, q)
        if np.abs(own[6:]).max() > 7 * 256 or shares(own, q)[symbol] < 2.0**-18:
            continue  # the limits of scales and of counts are no functions that have a derivative
        for k in range(9):
            lower, upper = own.astype(float), own.astype(float)
            lower[k], upper[k] = lower[k] - step, upper[k] + step
            ends = [-np.log(shares(each, q)[symbol] + 2.0**-24) for each in (lower, upper)]
            expected = np.clip(unit * (ends[1] - ends[0]) / (2 * step), -4095, 4095)
            assert found[k] == pytest.approx(expected, abs=3 + 0.02 * abs(expected))
            compared += abs(expected) > 20
    assert compared > 500


def test_a_mean_and_a_scale_are_where_they_say() -> None:
    """One component of half a level's scale, 10 levels above the centre."""
    outputs = [0, -LIMIT, -LIMIT, 10 * 256, 0, 0, -256, 0, 0]
    counts = reference.counts(outputs, 100) / TOTAL
    assert counts.argmax() == 110
    assert counts[110] == pytest.approx(1 / (1 + 0.5) - 1 / (1 + 2), abs=1e-4)
    assert counts[:111].sum() == pytest.approx(1 / (1 + 0.5), abs=1e-4)
