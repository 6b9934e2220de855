"""Logits mean one distribution over the 256 symbols, whatever their classes."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pixcodec.exact.network import residual_classes as exact_classes  # noqa: E402 - after the skip
from pixcodec.exact.reference import logistics  # noqa: E402
from pixcodec.nets.heads import (  # noqa: E402
    BITS,
    EDGES,
    LEVELS,
    Head,
    Logistics,
    Outputs,
    Raw,
    Residual,
    multiplicities,
    residual_classes,
)

ALL_EDGES = pytest.mark.parametrize("edges", [EDGES, (1,), (255,), (1, 2, 3, 200), tuple(range(1, 256))])
CENTRES = torch.tensor([0, 1, 20, 21, 100, 128, 234, 235, 254, 255], dtype=torch.uint8)


def logits_for(outputs: Outputs, size: float = 4.0) -> torch.Tensor:
    return size * torch.randn(len(CENTRES), outputs.outputs, generator=torch.Generator().manual_seed(0))


@ALL_EDGES
def test_classes_are_those_of_the_exact_network(edges: tuple[int, ...]) -> None:
    form = {"output": "residual", "edges": list(edges)}
    np.testing.assert_array_equal(residual_classes(edges), exact_classes(form))


@ALL_EDGES
def test_multiplicities_count_the_possible_symbols_of_each_class(edges: tuple[int, ...]) -> None:
    classes, counts = residual_classes(edges), multiplicities(edges)
    assert (counts.sum(1) == LEVELS).all()
    for q in (0, 3, 128, 255):
        own = [classes[v - q + 255] for v in range(LEVELS)]
        assert counts[q].tolist() == [own.count(k) for k in range(counts.shape[1])]


@ALL_EDGES
def test_probabilities_of_the_symbols_sum_to_one(edges: tuple[int, ...]) -> None:
    outputs = Residual(edges)
    nats = outputs.symbol_nats(logits_for(outputs), CENTRES)
    assert nats.shape == (len(CENTRES), LEVELS)
    sums = (-nats.double()).exp().sum(1)
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-5, rtol=0)


@ALL_EDGES
def test_code_lengths_are_those_of_the_softmax_over_the_possible_symbols(edges: tuple[int, ...]) -> None:
    outputs, classes = Residual(edges), residual_classes(edges)
    logits = logits_for(outputs)
    every = outputs.symbol_nats(logits, CENTRES)
    values = torch.arange(LEVELS, dtype=torch.uint8)
    for m, q in enumerate(CENTRES.tolist()):
        l = logits[m].double().numpy()[[classes[v - q + 255] for v in range(LEVELS)]]
        expected = np.log(np.exp(l).sum()) - l
        np.testing.assert_allclose(every[m].double().numpy(), expected, atol=1e-5)
        ours = outputs.nats(logits[m].expand(LEVELS, -1), CENTRES[m].expand(LEVELS), values)
        torch.testing.assert_close(ours, every[m], atol=1e-4, rtol=1e-5)


@ALL_EDGES
def test_probabilities_of_three_logistics_sum_to_one(edges: tuple[int, ...]) -> None:
    outputs = Logistics(edges)
    nats = outputs.symbol_nats(logits_for(outputs, 2.0), CENTRES)
    sums = (-nats.double()).exp().sum(1)
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-4, rtol=0)


@ALL_EDGES
def test_three_logistics_are_those_of_exact_networks(edges: tuple[int, ...]) -> None:
    outputs, form = Logistics(edges), {"output": "logistics", "edges": list(edges)}
    assert outputs.number == int(exact_classes(form).max()) + 1
    integers = (logits_for(outputs, 1.0) / torch.tensor(outputs.units())).round()
    nats = outputs.symbol_nats(integers * torch.tensor(outputs.units()), CENTRES)
    for own, q, found in zip(integers.int().tolist(), CENTRES.tolist(), nats, strict=True):
        np.testing.assert_allclose((-found.double()).exp(), (logistics.counts(own, q) + 1) / 2**24, atol=2e-5)


def test_both_tails_of_three_logistics_are_as_exact() -> None:
    """A mean far below the value and one as far above give the same code length, and its gradient the other sign."""
    outputs = Logistics(EDGES)
    sides = []
    for sign in (1, -1):
        logits = torch.tensor([[0.0, -9, -9, sign * 0.01, 0, 0, 0, 0, 0]], requires_grad=True)
        value = torch.tensor([128 + sign * 20], dtype=torch.uint8)
        nats = outputs.nats(logits, torch.tensor([128], dtype=torch.uint8), value)
        nats.sum().backward()
        sides.append((nats.detach(), logits.grad[0, 3], logits.grad[0, 6]))
    torch.testing.assert_close(sides[0], (sides[1][0], -sides[1][1], sides[1][2]), rtol=1e-5, atol=0)
    assert float(sides[0][0]) > 10


@pytest.mark.parametrize("outputs", [Residual(EDGES), Logistics(EDGES), Raw()])
def test_what_does_not_matter_may_go(outputs: Outputs) -> None:
    logits = logits_for(outputs)
    less = outputs.needed(logits.T).T
    torch.testing.assert_close(outputs.symbol_nats(less, CENTRES), outputs.symbol_nats(logits, CENTRES))
    assert less[:, : outputs.logits].mean(1).abs().max() < 1e-5
    assert len(outputs.units()) == outputs.outputs


def test_symbols_of_a_far_class_have_one_probability_and_near_ones_their_own() -> None:
    outputs = Residual(EDGES)
    nats = outputs.symbol_nats(logits_for(outputs)[:1], torch.tensor([100], dtype=torch.uint8))[0]
    for low, high in zip(EDGES, (*EDGES[1:], LEVELS), strict=True):
        right = nats[100 + low : min(100 + high, LEVELS)]
        left = nats[max(100 - high + 1, 0) : 100 - low + 1]
        assert right.unique().numel() == 1
        assert left.unique().numel() == 1
        assert right[0] != left[0]
    assert nats[100 - EDGES[0] + 1 : 100 + EDGES[0]].unique().numel() == 2 * EDGES[0] - 1


def test_no_probability_is_spent_on_impossible_residuals() -> None:
    outputs = Residual(EDGES)
    logits = torch.zeros(1, outputs.outputs)
    logits[0, : outputs.outputs // 2] = 50.0  # nearly all on residuals below 0, of which a centre of 0 has none
    nats = outputs.symbol_nats(logits, torch.tensor([0], dtype=torch.uint8))
    torch.testing.assert_close(nats, torch.full((1, LEVELS), 8 / BITS), atol=1e-4, rtol=0)


def test_equal_logits_cost_eight_bits() -> None:
    for outputs in (Residual(EDGES), Raw()):
        logits = torch.zeros(len(CENTRES), outputs.outputs)
        bits = outputs.nats(logits, CENTRES, CENTRES.flip(0)) * BITS
        torch.testing.assert_close(bits, torch.full_like(bits, 8.0), atol=1e-4, rtol=0)


def test_a_common_constant_in_the_logits_does_not_matter() -> None:
    for outputs in (Residual(EDGES), Raw()):
        logits = logits_for(outputs)
        before, after = (outputs.symbol_nats(l, CENTRES) for l in (logits, logits + 7))
        torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-5)


def test_raw_logits_are_of_the_value_whatever_the_centre() -> None:
    outputs = Raw()
    logits, values = logits_for(outputs), CENTRES.flip(0)
    every = outputs.symbol_nats(logits, CENTRES)
    torch.testing.assert_close(every, -logits.log_softmax(1))
    ours = outputs.nats(logits, CENTRES, values)
    torch.testing.assert_close(ours, every.gather(1, values.long()[:, None])[:, 0])
    assert torch.equal(ours, outputs.nats(logits, torch.zeros_like(CENTRES), values))


def test_a_head_is_three_products_over_features_and_codes_side_by_side() -> None:
    generator = torch.Generator().manual_seed(5)
    head = Head(6, 4, 5, 9)
    features, codes = (torch.randn(2, 3, 4, n, generator=generator) for n in (6, 4))
    a = head.input(torch.cat([features, codes], 3)).relu()
    torch.testing.assert_close(head(features, codes), head.output(head.hidden(a).relu()))
