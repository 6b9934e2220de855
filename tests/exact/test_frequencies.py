"""Frequencies: the fast path gives the reference's counts, and every row of counts is one the coder takes."""

from __future__ import annotations

import hashlib
from decimal import Decimal, localcontext

import numpy as np
import pytest
import random_networks as nets

from pixcodec.exact.compiled import compiled
from pixcodec.exact.frequencies import (
    EXP2,
    MOST_CLASSES,
    TOTAL,
    Classes,
    begin,
    below,
    class_counts,
    class_intervals,
    class_table,
    counts_of_logits,
    row_size,
    symbol_counts,
)
from pixcodec.exact.network import residual_classes
from pixcodec.exact.reference import frequencies as reference

LIMIT = 32767
FORMS = {
    "photo": {"output": "residual", "edges": list(nets.EDGES)},
    "three classes": {"output": "residual", "edges": [1]},
    "no bins but the last": {"output": "residual", "edges": [255]},
    "a class each": {"output": "residual", "edges": list(range(1, 256))},
    "wide": {"output": "residual", "edges": [2, 3, 128]},
    "raw": {"output": "raw", "edges": list(nets.EDGES)},
}


def fast(form: dict[str, object], logits: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Counts float32[n, 256] into memory that holds something else."""
    counts = np.full((len(logits), 256), -1, np.float32)
    counts_of_logits(logits, centres, class_table(residual_classes(form)), counts)
    return counts


def rows(classes: int) -> np.ndarray:
    """Logits int16[n, classes]: random ones of all widths, and the most extreme."""
    random = np.random.default_rng(classes)
    spread = [np.rint(random.normal(0, size, classes)) for size in (1, 300, 3000, 9000, 30000, 1e6)]
    flat = [np.full(classes, level) for level in (-LIMIT, 0, LIMIT)]
    ends = [
        random.choice([-LIMIT, LIMIT], classes),
        np.linspace(-LIMIT, LIMIT, classes),
        np.linspace(LIMIT, -LIMIT, classes),
    ]
    peaks = []
    for place in (0, classes // 2, classes - 1):
        for low, high in ((-LIMIT, LIMIT), (LIMIT, -LIMIT), (0, 1)):
            peaks.append(np.full(classes, low))
            peaks[-1][place] = high
    return np.clip(np.array([*spread, *flat, *ends, *peaks]), -LIMIT, LIMIT).astype(np.int16)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_counts_agree_with_the_reference_and_fill_the_total(form: dict[str, object]) -> None:
    logits = rows(int(residual_classes(form).max()) + 1)
    centres = (
        np.array([0, 1, 2, 20, 21, 127, 128, 200, 234, 254, 255]) if form["output"] == "residual" else np.array([0])
    )
    for q in centres.tolist():
        counts = fast(form, logits, np.full(len(logits), q))
        classes = reference.symbol_classes(form, q)
        np.testing.assert_array_equal(counts, [reference.counts(row.tolist(), classes) for row in logits])
        assert (counts.astype(np.int64).sum(axis=1) == TOTAL).all()
        assert (counts >= 0).all()


def test_all_centres_agree_with_the_reference() -> None:
    form, centres = FORMS["photo"], np.arange(256)
    random = np.random.default_rng(0)
    logits = np.clip(np.rint(random.normal(0, 6000, (256, 57))), -LIMIT, LIMIT).astype(np.int16)
    expected = [
        reference.counts(row.tolist(), reference.symbol_classes(form, q))
        for row, q in zip(logits, centres.tolist(), strict=True)
    ]
    np.testing.assert_array_equal(fast(form, logits, centres), expected)


def test_a_row_does_not_depend_on_the_others() -> None:
    logits, form = rows(57), FORMS["photo"]
    together = fast(form, logits, np.full(len(logits), 99))
    for i in range(len(logits)):
        np.testing.assert_array_equal(together[i], fast(form, logits[i : i + 1], np.array([99]))[0])


@pytest.mark.parametrize("symbols", [2, 256])
def test_nothing_is_written_beside_the_rows(symbols: int) -> None:
    """Rows are made four at a time: those behind the last one must stay."""
    classes = class_table(residual_classes(FORMS["raw"]), symbols)
    for n in range(20):
        room = np.full((n + 24, row_size(symbols)), -1, np.int32)
        rows_of, counts = room[8 : 8 + n], np.empty((n, symbols), np.float32)
        logits, centres = np.arange(n * symbols, dtype=np.int16).reshape(n, symbols), np.zeros(n, np.int32)
        class_counts(logits, centres, classes, symbols, rows_of)
        symbol_counts(rows_of, centres, classes, counts)
        assert (room[:8] == -1).all()
        assert (room[8 + n :] == -1).all()
        expected = [reference.counts(row.tolist(), list(range(symbols))) for row in logits]
        np.testing.assert_array_equal(counts, np.reshape(expected, (n, symbols)))


@compiled()
def sums(rows: np.ndarray, centres: np.ndarray, classes: Classes, found: np.ndarray) -> None:
    """What `below` says of all symbols: int64[n, 256]."""
    bases = np.empty(MOST_CLASSES, np.int32)
    for i in range(found.shape[0]):
        begin(rows[i], np.int64(centres[i]), classes, bases)
        for v in range(256):
            found[i, v] = below(rows[i], np.int64(centres[i]), classes, bases, np.int64(v))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_sums_of_classes_are_those_of_symbols(form: dict[str, object]) -> None:
    classes = class_table(residual_classes(form))
    logits = rows(classes.number)
    for q in (0, 1, 21, 128, 234, 255) if form["output"] == "residual" else (0,):
        centres, own = np.full(len(logits), q, np.int32), np.empty((len(logits), row_size(classes.number)), np.int32)
        class_counts(logits, centres, classes, 256, own)
        found, counts = np.empty((len(logits), 256), np.int64), fast(form, logits, centres).astype(np.int64) + 1
        sums(own, centres, classes, found)
        np.testing.assert_array_equal(found, np.cumsum(counts, axis=1) - counts)


def test_what_is_missing_goes_to_the_largest_count_and_the_lowest_symbol() -> None:
    flat = reference.counts([0] * 57, reference.symbol_classes(FORMS["photo"], 128))
    assert (flat[1:] == TOTAL // 256).all()
    assert flat[0] == TOTAL - 255 * (TOTAL // 256)
    peak = [0] * 57
    peak[28] = 1  # the class of residual 0
    counts = reference.counts(peak, reference.symbol_classes(FORMS["photo"], 128))
    assert counts.argmax() == 128
    assert set(np.delete(counts, 128)) == {counts[0]}


def test_impossible_classes_do_not_matter() -> None:
    form = FORMS["photo"]
    logits = np.zeros((1, 57), np.int16)
    before = fast(form, logits, np.array([0]))
    logits[0, :28] = LIMIT  # residuals below 0, which a centre of 0 does not allow
    np.testing.assert_array_equal(fast(form, logits, np.array([0])), before)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_classes_are_those_of_the_reference_and_every_class_has_a_residual(form: dict[str, object]) -> None:
    classes = residual_classes(form)
    if form["output"] == "raw":
        assert classes[255:].tolist() == list(range(256))
    else:
        assert classes.tolist() == [reference.residual_class(r, form["edges"]) for r in range(-255, 256)]  # type: ignore[arg-type]
    starts, ends = class_intervals(classes)
    assert (starts <= ends).all()
    assert (starts[1:] == ends[:-1] + 1).all()
    assert (starts[0], ends[-1]) == (-255, 255)


def test_exp2_is_the_pinned_table() -> None:
    assert (
        hashlib.sha256(EXP2.astype("<i8").tobytes()).hexdigest()
        == "c64639391bcb7f63dfc298fe83040b9baa50e57a822d5ece7943ff94c94f0d60"
    )


def test_exp2_is_the_rounded_power_of_two() -> None:
    with localcontext() as context:
        context.prec = 60
        expected = [round(Decimal(2) ** (24 - Decimal(f) / 256)) for f in range(256)]
    assert EXP2.tolist() == expected
