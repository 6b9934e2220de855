"""A network whose form the wavefront could not compute exactly is refused when it is built."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import random_networks as nets

from pixcodec.errors import ModelError
from pixcodec.exact.network import BOUND, Network
from pixcodec.exact.predict import Parameters


def parts() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A card and tensors from which `Network.build` makes a network."""
    network = nets.random_network(nets.SMALL, features=104, blocks=1, extreme=True)
    tensors: dict[str, np.ndarray] = {}
    for name, product in network.products().items():
        weight = product.weight if product.weight.shape[0] > 1 else product.weight[0]
        tensors |= {f"{name}.weight": weight, f"{name}.bias": product.bias, f"{name}.scale": product.scale}
    for c in range(3):
        weight = tensors.pop(f"heads.{c}.input.weight")
        tensors |= {f"heads.{c}.input.features": weight[:104], f"heads.{c}.input.codes": weight[104:]}
    tensors |= {"alpha": np.array([0.1], np.float32), "blocks.0.alpha": np.array([0.1], np.float32)}
    return network.card, {name: array.copy() for name, array in tensors.items()}


def test_the_parts_make_a_network_at_the_bound() -> None:
    card, tensors = parts()
    assert max(product.bound() for product in Network.build(card, tensors).products().values()) == BOUND - 1


@pytest.mark.parametrize("name", ["first", "blocks.0.conv", "blocks.0.pointwise", "heads.2.input", "heads.0.output"])
def test_a_sum_that_may_reach_two_to_the_24_is_refused(name: str) -> None:
    card, tensors = parts()
    bias = tensors[f"{name}.bias"]
    weights = [tensors[key] for key in tensors if key.startswith(name) and not key.endswith(("bias", "scale"))]
    sums = sum(256 * np.abs(w.astype(np.int64)).reshape(-1, bias.size).sum(axis=0) for w in weights)
    bias[0] = BOUND - 1 - sums[0]
    Network.build(card, tensors)
    bias[0] += 1
    with pytest.raises(ModelError, match=str(BOUND)):
        Network.build(card, tensors)


@pytest.mark.parametrize(
    ("which", "tap"),
    [("first_taps", [0, 0]), ("first_taps", [1, 2]), ("taps", [0, 1]), ("taps", [-1, -3]), ("taps", [5, 0])],
)
def test_a_tap_that_is_not_known_in_time_or_out_of_reach_is_refused(which: str, tap: list[int]) -> None:
    card, tensors = parts()
    form = {**card["network"], which: [tap, *card["network"][which][1:]]}
    with pytest.raises(ModelError, match="tap"):
        Network.build({**card, "network": form}, tensors)


@pytest.mark.parametrize("scale", [0, -1, np.nan, np.inf])
@pytest.mark.parametrize("name", ["alpha", "blocks.0.alpha", "first.scale", "heads.1.hidden.scale"])
def test_scales_must_be_positive_and_finite(name: str, scale: float) -> None:
    card, tensors = parts()
    tensors[name][-1] = scale
    with pytest.raises(ModelError, match="positive"):
        Network.build(card, tensors)


@pytest.mark.parametrize(
    "change",
    [
        {"edges": [20, 24, 28, 34, 42, 54, 70, 92]},  # two classes fewer
        {"edges": [21, 24, 28, 34, 42, 54, 92, 70]},
        {"edges": [21, 24, 28, 34, 42, 54, 70, 256]},
        {"edges": []},
        {"output": "raw"},
        {"output": "mixture"},
        {"classes": 58},
        {"blocks": 2},
        {"features": 100},
    ],
)
def test_a_card_that_does_not_fit_its_tensors_is_refused(change: dict[str, Any]) -> None:
    card, tensors = parts()
    with pytest.raises(ModelError, match="do not fit together"):
        Network.build({**card, "network": {**card["network"], **change}}, tensors)


def test_a_weight_of_minus_128_is_refused() -> None:
    card, tensors = parts()
    tensors["heads.0.hidden.weight"][:, 0] = 0
    tensors["heads.0.hidden.weight"][0, 0], tensors["heads.0.hidden.bias"][0] = -128, 0
    with pytest.raises(ModelError, match=r"heads\.0\.hidden"):
        Network.build(card, tensors)


@pytest.mark.parametrize(
    "change",
    [
        {"base": 4},  # the stack
        {"base": 6},
        {"centre": [4, 4, 6]},
        {"centre": [4, 4]},
        {"orders": [1, 3]},
        {"orders": [2, 1]},
        {"orders": []},
        {"neighbours": [[0, -1], [0, 0]]},
        {"neighbours": [[0, -1], [4, 0]]},
        {"neighbours": [[0, -1], [1, 2]]},
        {"memories": []},
        {"memories": [[0.5, 0.5, 1]]},
        {"memories": [[0.5, 0.4, 0]]},
        {"channels": 2},
    ],
)
def test_predictors_that_the_wavefront_cannot_compute_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"base|centre|order|neighbour|weights|channels"):
        Parameters.load({**nets.SMALL.save(), **change})
    assert Parameters.load(nets.SMALL.save()) == nets.SMALL
