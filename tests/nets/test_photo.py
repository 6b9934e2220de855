"""PhotoNet: what its logits may depend on, its configuration, its size."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
import random_networks as nets

torch = pytest.importorskip("torch")

from pixcodec.exact.predict import Parameters, predictions  # noqa: E402 - after the skip
from pixcodec.nets.masked import FIRST_TAPS, TAPS, Taps  # noqa: E402
from pixcodec.nets.photo import Configuration, PhotoNet, parameter_count  # noqa: E402
from pixcodec.training.data import codes  # noqa: E402
from pixcodec.training.evaluate import tensors  # noqa: E402

if TYPE_CHECKING:
    import numpy as np

FREE_TAPS: Taps = ((0, 0), (1, 2), (0, -3), (2, 4))
HEIGHT, WIDTH = 9, 11
Place = tuple[int, int]


def network(parameters: Parameters, **options: Any) -> PhotoNet:
    """A small one with weights large enough for every dependence to show."""
    torch.manual_seed(1)
    form = {"features": 12, "blocks": 2, "head": 9, **options}
    made = PhotoNet(Configuration(parameters.channels, parameters.count, **form))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(2)
    return made


def reached(configuration: Configuration, place: Place) -> set[Place]:
    """Every pixel whose codes can reach the features at a place; no way leads through what lies outside."""
    places = {place}
    every = [configuration.first_taps] + [configuration.taps] * configuration.blocks
    for taps in every[::-1]:
        through = {(y - dy, x + dx) for y, x in places for dy, dx in taps}
        places = {(y, x) for y, x in through if y >= 0 and 0 <= x < WIDTH}
    return places


def before_in_raster_order(a: Place, b: Place) -> bool:
    return a < b


def before_in_the_wavefront(a: Place, b: Place) -> bool:
    return a[1] + 2 * a[0] < b[1] + 2 * b[0]


@pytest.mark.parametrize("taps", [TAPS, FREE_TAPS], ids=["usual", "same step"])
def test_features_depend_on_all_earlier_pixels_in_reach_and_on_no_other(taps: Taps) -> None:
    made = network(nets.SMALL, taps=taps)
    y, x = 7, 6
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.abs_()  # with inputs above 0 no ReLU closes a way, and no two ways cancel
    inputs = torch.ones(1, HEIGHT, WIDTH, made.configuration.trunk_codes, requires_grad=True)
    made.trunk(inputs)[0, y, x].sum().backward()
    places = {(int(i), int(j)) for i, j in inputs.grad[0].abs().sum(-1).nonzero()}
    assert places == reached(made.configuration, (y, x))
    assert all(before_in_raster_order(place, (y, x)) and before_in_the_wavefront(place, (y, x)) for place in places)


@pytest.mark.parametrize("taps", [TAPS, FREE_TAPS], ids=["usual", "same step"])
@pytest.mark.parametrize("place", [(0, 0), (3, 5), (4, 0), (4, WIDTH - 1), (HEIGHT - 1, 3)])
def test_a_pixels_codes_change_no_feature_before_it_in_either_order(taps: Taps, place: Place) -> None:
    made = network(nets.SMALL, taps=taps)
    shape = (1, HEIGHT, WIDTH, made.configuration.trunk_codes)
    inputs = torch.randint(-127, 128, shape, generator=torch.Generator().manual_seed(9)).to(torch.int8)
    other = inputs.clone()
    other[0, place[0], place[1]] = -other[0, place[0], place[1]]
    with torch.no_grad():
        changed = (made.trunk(inputs) != made.trunk(other))[0].any(-1)
    after = {(int(y), int(x)) for y, x in changed.nonzero()}
    assert all(before_in_raster_order(place, pixel) and before_in_the_wavefront(place, pixel) for pixel in after)
    assert bool(after) == (place != (HEIGHT - 1, WIDTH - 1))


def logits_of(made: PhotoNet, planes: np.ndarray, parameters: Parameters) -> list[torch.Tensor]:
    """Logits [H, W, outputs] of each channel of a picture, through its predictions and codes."""
    batch = codes(planes, predictions(planes, parameters), parameters)
    with torch.no_grad():
        return [l[0] for l in made(*tensors(batch, "cpu")[:2])]


@pytest.mark.parametrize("parameters", [nets.SMALL, nets.SMALL_GRAY], ids=["RGB", "gray"])
@pytest.mark.parametrize("place", [(0, 0), (4, 5), (5, 0), (HEIGHT - 1, WIDTH - 1)])
def test_a_pixel_changes_no_logit_before_it(parameters: Parameters, place: Place) -> None:
    made = network(parameters)
    planes = nets.picture("smooth", HEIGHT, WIDTH, parameters.channels)
    before = logits_of(made, planes, parameters)
    y, x = place
    for c in range(parameters.channels):
        other = planes.copy()
        other[y, x, c] ^= 0x55
        for k, (l, m) in enumerate(zip(before, logits_of(made, other, parameters), strict=True)):
            after = {(int(i), int(j)) for i, j in (l != m).any(-1).nonzero()}
            assert (place in after) == (k > c), "a head sees the channels before its own, and no other"
            after.discard(place)
            assert all(before_in_raster_order(place, p) and before_in_the_wavefront(place, p) for p in after)


def test_each_head_sees_its_own_codes_only() -> None:
    made = network(nets.SMALL)
    configuration = made.configuration
    trunk = torch.zeros(1, 3, 4, configuration.trunk_codes, dtype=torch.int8)
    heads = torch.zeros(1, 3, 4, sum(configuration.head_codes), dtype=torch.int8)
    with torch.no_grad():
        before = made(trunk, heads)
        at = 0
        for c, count in enumerate(configuration.head_codes):
            other = heads.clone()
            other[..., at : at + count] = 90
            at += count
            after = made(trunk, other)
            assert [not torch.equal(l, m) for l, m in zip(before, after, strict=True)] == [k == c for k in range(3)]


@pytest.mark.parametrize("output", ["residual", "raw"])
def test_code_lengths_come_from_each_channels_logits(output: str) -> None:
    made = network(nets.SMALL, output=output)
    planes = nets.picture("random", 5, 6, 3)
    batch = tensors(codes(planes, predictions(planes, nets.SMALL), nets.SMALL), "cpu")
    with torch.no_grad():
        lengths, logits = made.nats(*batch), made(*batch[:2])
    assert lengths.shape == (3, 1, 5, 6)
    for c, l in enumerate(logits):
        every = made.outputs.symbol_nats(l.reshape(30, -1), batch[2][..., c].reshape(-1))
        own = every.gather(1, batch[3][..., c].reshape(-1, 1).long()).reshape(1, 5, 6)
        torch.testing.assert_close(lengths[c], own, atol=1e-4, rtol=1e-5)


def test_a_configuration_survives_its_card() -> None:
    for configuration in (
        Configuration(3, 11),
        Configuration(1, 4, 24, 0, 8, "raw"),
        Configuration(3, 5, 10, 3, 7, edges=(3, 9), first_taps=((0, -1), (3, -2)), taps=FREE_TAPS),
    ):
        card = json.loads(json.dumps(configuration.save()))
        assert Configuration.load(card, configuration.channels, configuration.predictions) == configuration
        assert card["classes"] == configuration.outputs.outputs


def test_a_recipe_needs_to_say_only_what_differs() -> None:
    assert Configuration.load({}, 3, 11) == Configuration(3, 11)
    assert Configuration.load({"blocks": 2, "unknown": 1}, 3, 11) == Configuration(3, 11, blocks=2)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"output": "mixture"}, "must be one of residual, logistics, raw"),
        ({"features": 0}, "positive sizes"),
        ({"head": -1}, "positive sizes"),
        ({"blocks": -1}, "positive sizes"),
        ({"edges": [9, 3]}, "edges must ascend"),
        ({"edges": [3, 3]}, "edges must ascend"),
        ({"edges": [0, 3]}, "edges must ascend"),
        ({"edges": [3, 256]}, "edges must ascend"),
        ({"first_taps": [[0, 0]]}, "not causal"),
        ({"first_taps": [[1, 2]]}, "not causal"),
        ({"first_taps": []}, "different ones"),
        ({"taps": [[0, 1]]}, "not causal"),
        ({"taps": [[0, 0], [0, 0]]}, "different ones"),
        ({"edges": []}, "edges must ascend"),
    ],
)
def test_what_makes_no_network_is_refused(card: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Configuration.load(card, 3, 11)


@pytest.mark.parametrize(("channels", "predicted"), [(2, 11), (0, 11), (4, 11), (3, 0)])
def test_channels_and_predictions_must_make_sense(channels: int, predicted: int) -> None:
    with pytest.raises(ValueError, match="1 or 3 channels"):
        Configuration.load({}, channels, predicted)


@pytest.mark.parametrize(
    "configuration",
    [Configuration(3, 11), Configuration(1, 4, 10, 0, 6, "raw"), Configuration(3, 6, 8, 3, 5, taps=FREE_TAPS)],
)
def test_multiply_adds_are_the_weights_that_are_not_masked(configuration: Configuration) -> None:
    made = PhotoNet(configuration)
    weights = 0
    for name, parameter in made.named_parameters():
        if parameter.dim() > 1:
            module = made.get_submodule(name.rpartition(".")[0])
            masked = getattr(module, "mask", None)
            weights += int(torch.count_nonzero(torch.ones_like(parameter) * (1 if masked is None else masked)))
    assert configuration.multiply_adds == weights


def test_parameters_are_counted_by_part() -> None:
    made = network(nets.SMALL)
    parts = [parameter_count(made, [part]) for part in ("first", "blocks", "heads")]
    assert sum(parts) == parameter_count(made) == sum(p.numel() for p in made.parameters())
    assert parts[1] == 2 * (12 * 12 * 6 + 12 + 12 * 12 + 12)  # kernels of 2 x 3, masked or not, and pointwise ones


def test_more_blocks_do_not_make_the_stream_larger() -> None:
    inputs = torch.randint(-60, 61, (1, 24, 24, 18), generator=torch.Generator().manual_seed(0)).to(torch.int8)
    sizes = []
    for blocks in (1, 16):
        torch.manual_seed(2)
        with torch.no_grad():
            sizes.append(float(PhotoNet(Configuration(3, 5, 32, blocks)).trunk(inputs).square().mean()))
    assert sizes[1] < 3 * sizes[0]


def test_taps_of_the_default_are_those_of_the_exact_networks_in_the_tests() -> None:
    default = Configuration(3, 11)
    assert set(default.first_taps) == set(FIRST_TAPS) == set(nets.FIRST_TAPS)
    assert set(default.taps) == set(TAPS) == set(nets.TAPS)
    assert default.edges == nets.EDGES
    assert dataclasses.replace(default, blocks=0).multiply_adds < default.multiply_adds
