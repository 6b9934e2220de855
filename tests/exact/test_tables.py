"""The tables of sigmoid, tanh and the logistic function are the correctly rounded ones, on every machine."""

from __future__ import annotations

import hashlib
from decimal import ROUND_HALF_UP, Decimal, localcontext

import numpy as np
import pytest

from pixcodec.exact import mixture
from pixcodec.exact.tables import (
    CELL_LIMIT,
    CELL_UNIT,
    GATE_LIMIT,
    GATE_UNIT,
    LOG2,
    LOG_UNIT,
    OPEN,
    SQUASH,
    SQUASH_OCTAVES,
    SQUASH_STEPS,
    sigmoid_gate,
    tanh_cell,
    tanh_gate,
)

SIGMOID, TANH = sigmoid_gate(), tanh_gate()
LOGISTIC, TANH_CELL = mixture.table(), tanh_cell()
TABLES = {"SIGMOID": SIGMOID, "TANH": TANH, "TANH_CELL": TANH_CELL, "LOGISTIC": LOGISTIC}
DIGESTS = {
    "SIGMOID": "7cea95159728c8c4c811c69b03dfd49abafafbe3121b5b9c7f378a8e2b65ac3e",
    "TANH": "e5ca1c9e80e02d64d54fcde593bdc74073d3bd780ab82fd0fbef2c04b5426d6b",
    "TANH_CELL": "369c782928b589cd2e7ea39a0641310621f0b0851d9b3f55ec9aa5911102e78e",
    "LOGISTIC": "f9ee49b70d95e41c0630bfd214e6e5455ba337f12b13825312dccf66572696d9",
}

LOGARITHMS = {
    "LOG2": "49d2788eb090a1e1c582910e5b91b75b159d4a372cca10cceeabc328fdaa1f8b",
    "SQUASH": "d9a79bbcf627ee40b7ddf75cd16a2633e92ce93654da307318eedd2c1426866e",
}


def _rounded(value: Decimal) -> int:
    return int(value.quantize(Decimal(1), ROUND_HALF_UP))


def sigmoid(x: int, unit: int, top: int) -> int:
    """By decimal arithmetic of 50 digits."""
    with localcontext() as context:
        context.prec = 50
        return _rounded(top / (1 + (-Decimal(x) / unit).exp()))


def tanh(x: int, unit: int) -> int:
    """By decimal arithmetic of 50 digits."""
    with localcontext() as context:
        context.prec = 50
        square = (2 * Decimal(x) / unit).exp()
        return _rounded(OPEN * (square - 1) / (square + 1))


def test_the_gates_tables_are_correctly_rounded_at_every_entry() -> None:
    inputs = range(-GATE_LIMIT, GATE_LIMIT + 1)
    assert SIGMOID.tolist() == [sigmoid(x, GATE_UNIT, OPEN) for x in inputs]
    assert TANH.tolist() == [tanh(x, GATE_UNIT) for x in inputs]


def test_the_cells_table_is_correctly_rounded() -> None:
    inputs = [*range(-CELL_LIMIT, CELL_LIMIT + 1, 7), CELL_LIMIT]
    assert [int(TANH_CELL[x + CELL_LIMIT]) for x in inputs] == [tanh(x, CELL_UNIT) for x in inputs]


def test_the_logistic_table_is_correctly_rounded() -> None:
    limit = 65536
    inputs = [*range(-limit, limit + 1, 61), limit]
    assert [int(LOGISTIC[x + limit]) for x in inputs] == [sigmoid(x, 4096, 1 << 24) for x in inputs]


def test_the_logarithms_are_correctly_rounded() -> None:
    with localcontext() as context:
        context.prec = 40
        two = Decimal(2).ln()
        expected = [_rounded(LOG_UNIT * (1 + Decimal(i) / 2048).ln() / two) for i in range(2048)]
    assert LOG2.tolist() == expected


def test_the_probabilities_of_odds_are_correctly_rounded() -> None:
    with localcontext() as context:
        context.prec = 50
        points = [Decimal(k) / SQUASH_STEPS - SQUASH_OCTAVES for k in range(SQUASH.size)]
        exact = [_rounded((1 << 24) / (1 + Decimal(2) ** -x)) for x in points]
    assert SQUASH.tolist() == [min(max(p, 1), (1 << 24) - 1) for p in exact]


@pytest.mark.parametrize("name", ["LOG2", "SQUASH"])
def test_tables_of_logarithms_are_pinned(name: str) -> None:
    table = {"LOG2": LOG2, "SQUASH": SQUASH}[name]
    assert hashlib.sha256(table.astype("<i4").tobytes()).hexdigest() == LOGARITHMS[name]


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_pinned(name: str) -> None:
    assert hashlib.sha256(TABLES[name].astype("<i4").tobytes()).hexdigest() == DIGESTS[name]


@pytest.mark.parametrize("name", TABLES)
def test_tables_ascend_and_are_odd_around_their_middle(name: str) -> None:
    table = TABLES[name]
    assert (np.diff(table) >= 0).all()
    assert (table + table[::-1] == 2 * table[table.size // 2]).all()
