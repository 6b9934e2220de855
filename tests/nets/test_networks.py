"""The paper's networks: their sizes, what their outputs mean, and configurations that make none."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pixcodec.nets import autoregressive, multiscale, networks  # noqa: E402 - after the skip
from pixcodec.nets.autoregressive import KINDS, LARGEST, Configuration  # noqa: E402
from pixcodec.nets.photo import parameter_count  # noqa: E402

SMALL: dict[str, Any] = {"features": 6, "layers": 2, "hidden": 9}
OUTPUTS: dict[str, dict[str, Any]] = {
    "gray": {"channels": 1},
    "bilevel": {"channels": 1, "levels": 2},
    "colour": {"channels": 3},
    "bilevel colour": {"channels": 3, "levels": 2},
    "mixture": {"channels": 3, "output": "mixture", "components": 2},
    "gray mixture": {"channels": 1, "output": "mixture", "components": 2},
}


@pytest.mark.parametrize("name", [name for name in networks.PRESETS if multiscale.KIND not in name])
def test_a_preset_gives_each_pixel_its_outputs(name: str) -> None:
    configuration = networks.PRESETS[name]
    network = networks.make(replace(configuration, layers=1))  # all of them would take long to make
    with torch.no_grad():
        outputs = network(torch.zeros(2, configuration.channels, 4, 5))
    expected = 1 if name.startswith("mnist") else 3 * 256
    assert outputs.shape == (2, expected, 4, 5)
    assert configuration.kind in name


def millions(name: str) -> float:
    with torch.device("meta"):
        return parameter_count(networks.make(networks.PRESETS[name])) / 1e6


def test_presets_have_the_parameters_of_table_1() -> None:
    h, layers = 16, 7
    frame = 2 * h * 4 * 7 + 2 * h + (layers + 1) * (2 * h + 1) * 2 * h + 33 * 32 + 33 * 32 + 33
    block = (2 * h + 1) * h + (h * 2 * 3 + 1) * h + (h + 1) * 2 * h
    row = (2 * h * 3 + 1) * 4 * h + 3 * h * 4 * h + 2 * h + (h + 1) * 2 * h
    diagonal = 2 * ((2 * h + 1) * 4 * h + 2 * h * 4 * h + 2 * h) + (h + 1) * 2 * h
    for kind, layer in (("pixelcnn", block), ("row_lstm", row), ("diagonal_bilstm", diagonal)):
        assert millions(f"mnist_{kind}") * 1e6 == pytest.approx(frame + layers * layer)
    assert 2 < millions("cifar10_pixelcnn") < millions("cifar10_row_lstm") < 12
    assert millions("cifar10_row_lstm") == pytest.approx(millions("cifar10_diagonal_bilstm"), rel=0.3)
    assert millions("imagenet32_row_lstm") > 5 * millions("cifar10_row_lstm")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_a_networks_code_lengths_are_those_of_its_outputs(output: str, kind: str) -> None:
    torch.manual_seed(1)
    c = Configuration(kind, **{**SMALL, **OUTPUTS[output]})
    network = networks.make(c)
    values = torch.randint(0, c.levels, (2, c.channels, 4, 5)).to(torch.uint8)
    outputs = network(autoregressive.codes(values, c.levels))
    assert outputs.shape == (2, c.outputs, 4, 5)
    nats = network.nats(values)
    assert nats.shape == values.shape
    assert nats.dtype == torch.float32
    torch.testing.assert_close(nats, autoregressive.code_lengths(c, outputs, values))
    nats.mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_logits_are_channel_after_channel() -> None:
    c = Configuration("pixelcnn", 3, **SMALL)
    outputs = torch.randn(1, 768, 1, 1)
    values = torch.tensor([7, 200, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = [
        -outputs[0, 256 * k : 256 * k + 256, 0, 0].log_softmax(0)[value] for k, value in enumerate([7, 200, 255])
    ]
    torch.testing.assert_close(autoregressive.code_lengths(c, outputs, values)[0, :, 0, 0], torch.stack(expected))


def test_a_bilevel_networks_output_is_the_logit_of_1() -> None:
    c = Configuration("pixelcnn", 1, 2, **SMALL)
    outputs = torch.tensor([-2.0, 3.0]).view(1, 1, 1, 2)
    for value in (0, 1):
        values = torch.full((1, 1, 1, 2), value, dtype=torch.uint8)
        signs = outputs if value else -outputs
        torch.testing.assert_close(autoregressive.code_lengths(c, outputs, values), -signs.sigmoid().log())


def test_codes_are_around_zero() -> None:
    values = torch.tensor([0, 1, 128, 255], dtype=torch.uint8)
    assert autoregressive.codes(values, 256).tolist() == [-4.0, -127 / 32, 0.0, 127 / 32]
    assert autoregressive.codes(values[:2], 2).tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_hears_what_the_network_is_conditioned_on(kind: str) -> None:
    torch.manual_seed(2)
    c = Configuration(kind, 3, 2, context=4, **SMALL)
    network = networks.make(c).double()
    image, context = torch.randn(1, 3, 5, 6, dtype=torch.float64), torch.randn(1, 4, 5, 6, dtype=torch.float64)
    context.requires_grad_()
    outputs = network(image, context)
    (slope,) = torch.autograd.grad(outputs[0, :, 2, 3].sum(), context, retain_graph=True)
    assert slope[0, :, 2, 3].all()
    outputs.square().sum().backward()
    heard = {name.split(".")[1] for name, p in network.named_parameters() if "condition" in name and p.grad.any()}
    assert len(heard) == c.layers


@pytest.mark.parametrize("kind", KINDS)
def test_layers_of_zeros_add_nothing_with_residual_connections_and_leave_nothing_without(kind: str) -> None:
    c = Configuration(kind, 1, 2, **SMALL, skip=False)
    image = torch.randn(1, 1, 5, 6)
    ends = []
    for residual in (True, False):
        torch.manual_seed(3)
        network = networks.make(replace(c, residual=residual))
        with torch.no_grad():
            for layer in network.layers:
                layer.wide.weight.zero_()
                layer.wide.bias.zero_()
            for hidden in network.hidden:
                hidden.bias.zero_()
            ends.append(network(image) - network.output.bias.view(1, -1, 1, 1))
    assert ends[0].any()
    assert not ends[1].any()


def test_skip_connections_reach_the_output_from_every_layer() -> None:
    for skip, count in ((True, SMALL["layers"] + 1), (False, 0)):
        network = networks.make(Configuration("pixelcnn", 1, 2, **SMALL, skip=skip))
        assert len(network.skips) == count
        network.nats(torch.ones(1, 1, 4, 4, dtype=torch.uint8)).mean().backward()
        assert all(layer.weight.grad.any() for layer in network.skips)


def test_multiply_adds_are_the_weights_that_are_used() -> None:
    c = Configuration("row_lstm", 1, 2, features=4, layers=1, hidden=5)
    first = 8 * (3 * 7 + 3)
    layer = 16 * 8 * 2 + 3 * 4 * 16 + 8 * 4  # input to state two taps, state to state three, 1x1
    assert networks.multiply_adds(networks.make(c)) == first + layer + 2 * 8 * 8 + 5 * 8 + 5 * 5 + 5


@pytest.mark.parametrize("kind", KINDS)
def test_training_begins_near_a_uniform_guess_whatever_the_depth(kind: str) -> None:
    values = torch.randint(0, 256, (1, 1, 8, 8), generator=torch.Generator().manual_seed(4)).to(torch.uint8)
    for layers in (1, 12):
        torch.manual_seed(5)
        network = networks.make(Configuration(kind, 1, features=16, layers=layers, hidden=32))
        with torch.no_grad():
            assert float(network.nats(values).mean()) == pytest.approx(np.log(256), rel=0.15)


def test_a_configuration_comes_back_from_its_card() -> None:
    for configuration in networks.PRESETS.values():
        assert networks.load_shape(json.loads(json.dumps(configuration.save()))) == configuration
    assert Configuration.load({"kind": "pixelcnn"}) == Configuration("pixelcnn")


NONSENSE: dict[str, tuple[dict[str, Any], str]] = {
    "no such kind": ({"kind": "transformer"}, "kind must be one of pixelcnn, row_lstm"),
    "a word for a number": ({"features": "many"}, "features must be int, found 'many'"),
    "half a layer": ({"layers": 1.5}, "layers must be int, found 1.5"),
    "yes for a number": ({"layers": True}, "layers must be int, found True"),
    "a number for yes": ({"residual": 1}, "residual must be bool, found 1"),
    "a list of outputs": ({"output": ["softmax"]}, "output must be str"),
    "two channels": ({"channels": 2}, "1 or 3 channels"),
    "16 levels": ({"levels": 16}, "2 or 256 levels"),
    "no features": ({"features": 0}, "sizes must be positive"),
    "fewer features than colours": ({"features": 2}, "no feature map narrower than the channels"),
    "fewer hidden features than colours": ({"hidden": 2}, "no feature map narrower than the channels"),
    "fewer than no layers": ({"layers": -1}, "sizes must be positive"),
    "less than no context": ({"context": -1}, "sizes must be positive"),
    "no components": ({"output": "mixture", "components": 0}, "sizes must be positive"),
    "more features than memory": ({"features": LARGEST + 1}, "sizes must be 4096 at most"),
    "a kernel of even side": ({"kernel": 4}, "kernels must be of odd sides"),
    "a kernel of no side": ({"kernel": -1}, "kernels must be of odd sides"),
    "a huge kernel": ({"first": 11}, "kernels must be of odd sides up to 9"),
    "a first kernel that sees nothing": ({"first": 1}, "the first of 3 at least"),
    "no such output": ({"output": "categorical"}, "output must be"),
    "a mixture for two levels": ({"output": "mixture", "levels": 2}, "for 256 levels"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_a_configuration_of_nonsense_is_refused(name: str) -> None:
    change, reason = NONSENSE[name]
    with pytest.raises(ValueError, match=reason):
        Configuration.load({"kind": "pixelcnn", **change})


@pytest.mark.parametrize("card", [{}, {"kind": "pixelcnn", "flavour": "strong"}])
def test_a_card_with_other_entries_is_refused(card: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Configuration.load(card)


def test_what_is_small_but_makes_sense_is_accepted() -> None:
    for kind in KINDS:
        c = Configuration(kind, 3, features=3, layers=0, first=3, kernel=1, hidden=3, output="mixture", components=1)
        for layers in (0, 1):
            network = networks.make(replace(c, layers=layers))
            assert network(torch.zeros(1, 3, 1, 1)).shape == (1, 10, 1, 1)
