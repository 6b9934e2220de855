"""Optimisers are the recipe's, and only weights of products decay."""

from __future__ import annotations

import pytest
import tiny_training as tiny

torch = pytest.importorskip("torch")

from pixcodec.errors import TrainingError  # noqa: E402 - after the skip
from pixcodec.nets import autoregressive, networks  # noqa: E402
from pixcodec.nets.photo import Configuration, PhotoNet  # noqa: E402
from pixcodec.training import optimisers, tasks  # noqa: E402

NAMES = ("adamw", "muon", "rmsprop")


@pytest.mark.parametrize("name", NAMES)
def test_only_weights_of_products_decay(name: str) -> None:
    network = PhotoNet(Configuration(1, 3, 4, 1, 4))
    optimiser = optimisers.make(network, {"name": name, "rate": 0.0, "weight_decay": 0.3})
    for parameter in network.parameters():
        parameter.data.fill_(1.0)
        parameter.grad = torch.zeros_like(parameter)
    for group in optimiser.param_groups:
        group["lr"] = 0.5
    optimiser.step()
    for parameter in network.parameters():
        moved = 1 - parameter.detach()
        assert bool((moved > 0.1 if parameter.dim() > 1 else moved == 0).all())


def test_the_optimiser_is_the_recipes() -> None:
    network = PhotoNet(Configuration(1, 3, 4, 1, 4))
    settings = {"rate": 0.1, "weight_decay": 0.3}
    kinds = (torch.optim.AdamW, optimisers.Muon, torch.optim.RMSprop)
    for name, kind in zip(NAMES, kinds, strict=True):
        optimiser = optimisers.make(network, {**settings, "name": name})
        assert type(optimiser) is kind
        assert {group["lr"] for group in optimiser.param_groups} == {0.1}
        if name == "muon":  # which has matrices of its own in their place, products before all else
            products, others = ([p for p in network.parameters() if (p.dim() > 1) == many] for many in (True, False))
            own = [group["weight_decay"] for group in optimiser.param_groups for _ in group["params"]]
            assert own == [0.3] * len(products) + [0.0] * len(others)
            continue
        decays = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
        assert decays == {id(p): 0.3 if p.dim() > 1 else 0.0 for p in network.parameters()}
    adamw = optimisers.make(network, {**settings, "name": "adamw", "betas": [0.5, 0.6]})
    assert adamw.param_groups[0]["betas"] == (0.5, 0.6)
    muon = optimisers.make(network, {**settings, "name": "muon", "betas": [0.5, 0.6], "momentum": 0.8})
    assert muon.param_groups[0]["momentum"] == 0.8
    assert muon.param_groups[1]["betas"] == (0.5, 0.6)
    with pytest.raises(TrainingError, match='must be "adamw", "muon" or "rmsprop", found \'sgd\''):
        optimisers.make(network, {**settings, "name": "sgd"})


@pytest.mark.parametrize("kind", ["row_lstm", "diagonal_bilstm"])
def test_learned_first_states_of_recurrences_do_not_decay(kind: str) -> None:
    network = networks.make(autoregressive.Configuration(kind, features=4, layers=1, hidden=4))
    optimiser = optimisers.make(network, {"name": "adamw", "rate": 0.1, "weight_decay": 0.3})
    decays = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    assert len(decays) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        keeps = parameter.dim() <= 1 or name.endswith("initial")
        assert decays[id(parameter)] == (0.0 if keeps else 0.3), name
    assert any(name.endswith("initial") for name, _ in network.named_parameters())


def test_muon_moves_a_weight_alike_in_all_directions_that_its_gradient_has() -> None:
    """As a matrix, in any memory format, by 0.2 sqrt(the larger side) times the rate."""
    network = tasks.make(tiny.RECIPE).network.to(memory_format=torch.channels_last)
    optimiser = optimisers.make(network, {"name": "muon", "rate": 0.01})
    before = [parameter.detach().clone() for parameter in network.parameters()]
    generator = torch.Generator().manual_seed(3)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimiser.step()
    for old, parameter in zip(before, network.parameters(), strict=True):
        moved = (old - parameter.detach()).flatten(1) if old.dim() > 1 else old - parameter.detach()
        if old.dim() == 1:  # AdamW's first step
            assert torch.allclose(moved.abs(), torch.full_like(moved, 0.01), rtol=1e-3)
            continue
        u, _, v = torch.linalg.svd(parameter.grad.flatten(1), full_matrices=False)
        along = (u.T @ moved @ v.T) / (0.01 * 0.2 * max(moved.shape) ** 0.5)
        assert 0.5 < float(along.diag().min()) <= float(along.diag().max()) < 1.5
        assert float((along - along.diag().diag()).abs().max()) < 0.1  # bfloat16
