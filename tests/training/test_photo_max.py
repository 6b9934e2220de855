"""The largest photo network: within its budget, frozen within the bound, and coding alike by every back end."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import random_networks as nets

torch = pytest.importorskip("torch")

from pixcodec import tiles  # noqa: E402 - after the skip
from pixcodec.exact import matmul  # noqa: E402
from pixcodec.exact.network import BOUND, Network  # noqa: E402
from pixcodec.exact.predict import predictions  # noqa: E402
from pixcodec.exact.reference import network as reference  # noqa: E402
from pixcodec.nets import photo  # noqa: E402
from pixcodec.training import checkpoint, data, freeze, quantise, session, tasks  # noqa: E402

if TYPE_CHECKING:
    from pixcodec.exact.predict import Parameters

RECIPE = checkpoint.load_recipe(Path(tasks.__file__).parent / "recipes" / "photo_max.json")
MOST_MULTIPLY_ADDS = 2_000_000


def parts() -> tuple[Parameters, photo.Configuration]:
    return tasks.parts(RECIPE)


@cache
def frozen() -> Network:
    """The network with its first random weights, frozen as a trained one is."""
    torch.manual_seed(4)
    parameters, configuration = parts()
    network = photo.PhotoNet(configuration)
    planes = nets.picture("smooth", 40, 48, 3)
    batch = data.codes(planes, predictions(planes, parameters), parameters, configuration)
    units = quantise.calibrate(network, [(torch.from_numpy(batch.trunk), torch.from_numpy(batch.heads))])
    card = {
        "channels": 3,
        "predictors": parameters.save(),
        "network": {**configuration.save(), "learning": freeze.LEARNING},
    }
    return Network.build(card, freeze.integers(quantise.Quantised(network, units)))


def at_the_bound() -> Network:
    """A random one of the same shape whose sums reach the bound."""
    parameters, c = parts()
    return nets.random_network(
        parameters, features=c.features, blocks=c.blocks, head=c.head, phases=c.phases, extreme=True, seed=3
    )


def test_it_is_within_its_budget() -> None:
    _, configuration = parts()
    assert 0.75 * MOST_MULTIPLY_ADDS < configuration.multiply_adds <= MOST_MULTIPLY_ADDS


def test_its_checkpoint_can_be_carried() -> None:
    """Weights in 32 bits, both moments and the running mean in 16: two files, and room for pictures beside them."""
    parameters = photo.parameter_count(photo.PhotoNet(parts()[1]))
    assert 10 * parameters < 2 * session.LARGEST_FILE
    assert 2 * parameters < session.LARGEST_FILE


def test_it_is_frozen_within_the_bound() -> None:
    products = frozen().products()
    assert max(product.weight.shape[0] * product.weight.shape[1] for product in products.values()) > 500
    assert all(product.bound() < BOUND for product in products.values())
    assert frozen().learns


@pytest.mark.parametrize("make", [frozen, at_the_bound])
@pytest.mark.parametrize("name", matmul.NAMES)
def test_every_back_end_agrees_with_the_reference(name: str, make: Any) -> None:
    network, planes = make(), nets.picture("smooth", 6, 9, 3)
    guesses, logits = nets.wavefront_logits(network, planes, nets.back_end(name, network))
    np.testing.assert_array_equal(logits, reference.logits(network, planes, guesses)[0])
    assert len(np.unique(logits)) > 50


@pytest.mark.parametrize("learning", [False, True])
def test_a_picture_has_the_same_bytes_and_comes_back_by_every_back_end(*, learning: bool) -> None:
    network, images = frozen(), nets.picture("smooth", 17, 12, 3)[None]
    tile, options = (17, 12), {"learning": learning, "threads": 1}
    expected, bits, _ = tiles.encode(images, network, tile, **options)  # type: ignore[arg-type]
    assert bits > images.size, "not by the counters alone"
    ways: list[dict[str, str]] = [*({"backend": name} for name in matmul.NAMES), {"device": "cpu"}]
    for way in ways:
        streams, _, _ = tiles.encode(images, network, tile, **options, **way)  # type: ignore[arg-type]
        assert streams == expected, way
        back, _ = tiles.decode(streams, images.shape, network, tile, **options, **way)  # type: ignore[arg-type]
        np.testing.assert_array_equal(back, images, err_msg=str(way))
