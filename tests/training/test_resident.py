"""Crops and codes that a device makes are those of `data`, bit for bit, whatever picture, place and predictors."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import random_networks as nets
import tiny_training as tiny

torch = pytest.importorskip("torch")

from pixcodec.exact.predict import LIMIT, predictions  # noqa: E402 - after the skip
from pixcodec.nets.photo import Configuration  # noqa: E402
from pixcodec.training import data, loop, resident  # noqa: E402
from pixcodec.training.evaluate import tensors  # noqa: E402
from pixcodec.training.sources import Picture  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pixcodec.exact.predict import Parameters

CPU = torch.device("cpu")


def same(made: resident.Batch, expected: data.Batch) -> None:
    for name in resident.Batch._fields:
        ours, theirs = getattr(made, name).numpy(), getattr(expected, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def network(parameters: Parameters, phases: int) -> Configuration:
    taps = nets.KNOWN_TAPS if parameters.known else ()
    return Configuration(parameters.channels, parameters.count, phases=phases, known=parameters.known, known_taps=taps)


def both(
    planes: np.ndarray, predicted: np.ndarray, parameters: Parameters, phases: int, place: tuple[int, int]
) -> None:
    on_device, form = (torch.from_numpy(each)[None] for each in (planes, predicted)), network(parameters, phases)
    made = resident.codes(*on_device, parameters, form, torch.tensor([place]))
    same(made, data.codes(planes, predicted, parameters, form, place))


@pytest.mark.parametrize("phases", [0, 1, 3])
@pytest.mark.parametrize("name", ["small", "gray", "photo"])
def test_codes_are_those_of_data(name: str, phases: int) -> None:
    parameters = {"small": nets.SMALL, "gray": nets.SMALL_GRAY, "photo": nets.recipe("photo")}[name]
    for n, kind in enumerate(nets.KINDS):
        planes = nets.picture(kind, 11, 17, parameters.channels)
        both(planes, predictions(planes, parameters), parameters, phases, (n, 3 * n))


def test_codes_are_those_of_data_for_any_predictions() -> None:
    random = np.random.default_rng(1)
    parameters = nets.recipe("photo")
    planes = random.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    predicted = random.integers(0, LIMIT + 1, (40, 50, 3, parameters.count), dtype=np.int16)
    predicted[:5], predicted[5:10] = 0, LIMIT
    both(planes, predicted, parameters, 3, (5, 6))


def batches(items: Sequence[data.Item], phases: int = 2, **settings: object) -> resident.Batches:
    training = [item for item in items if not item.version.picture.validates]
    form = network(tiny.PARAMETERS, phases)
    return resident.Batches(training, tiny.PARAMETERS, tiny.RECIPE["data"] | settings, form, CPU)


def test_batches_are_crops_of_the_pictures_at_the_places_that_were_drawn(items: Sequence[data.Item]) -> None:
    made = batches(items, batch=40)
    seen = set()
    for number in range(3):
        batch = made.make(number)
        crops, places = made.draw(number)
        for n, ((chosen, top, left), place) in enumerate(zip(crops.tolist(), places.tolist(), strict=True)):
            item, side = made.items[chosen], tiny.CROP
            part = slice(top, top + side), slice(left, left + side)
            planes, predicted = (np.ascontiguousarray(each[part]) for each in (item.planes, item.predictions))
            assert planes.shape == (side, side, 3)
            expected = data.codes(planes, predicted, tiny.PARAMETERS, network(tiny.PARAMETERS, 2), tuple(place))
            same(resident.Batch(*(each[n : n + 1] for each in batch)), expected)
            seen.add((chosen, top, left, *place))
    assert {chosen for chosen, *_ in seen} == set(range(len(made.items)))
    assert len(seen) > 100, "crops differ"


def test_crops_of_pictures_with_known_planes_are_those_of_data() -> None:
    parameters, form = nets.SMALL_LUMA, network(nets.SMALL_LUMA, 1)
    items = []
    for n, size in enumerate([(12, 19), (23, 11), (10, 10)]):
        planes = nets.picture("random", *size, 3)
        version = data.Version(Picture(Path(), f"{n}", "", "", validates=False, scale=1), 0, 0)
        items.append(data.Item(version, planes, predictions(planes, parameters)))
    made = resident.Batches(items, parameters, {"crop": 10, "batch": 50}, form, CPU)
    batch, (crops, places) = made.make(3), made.draw(3)
    for n, ((chosen, top, left), place) in enumerate(zip(crops.tolist(), places.tolist(), strict=True)):
        part, item = (slice(top, top + 10), slice(left, left + 10)), items[chosen]
        expected = data._empty(1, 10, 10, parameters, form)
        predicted = np.ascontiguousarray(item.predictions[part])
        data._fill(expected, 0, item.planes, part, predicted, parameters, form, tuple(place))
        same(resident.Batch(*(each[n : n + 1] for each in batch)), expected)


def test_batches_are_numbered_and_follow_the_seed(items: Sequence[data.Item]) -> None:
    made, other = batches(items), batches(items, seed=6)
    third = list(zip(range(4), made.run(0), strict=False))[3][1]
    for again in (made.make(3), next(made.run(3))):
        assert all(map(torch.equal, again, third))
    assert not torch.equal(made.make(4).values, third.values)
    assert not torch.equal(other.make(3).values, third.values)


def test_items_are_drawn_as_often_as_data_draws_them(items: Sequence[data.Item]) -> None:
    made = batches(items, batch=5000)
    crops, places = made.draw(0)
    share = np.bincount(crops[:, 0], minlength=len(made.items)) / 5000
    np.testing.assert_allclose(share, data.weights(made.items, {}), atol=0.03)
    np.testing.assert_allclose(np.bincount((places - crops[:, 1:] & 7).ravel(), minlength=8) / 10000, 1 / 8, atol=0.02)
    for chosen in range(len(made.items)):
        limits = np.array(made.items[chosen].planes.shape[:2]) - tiny.CROP
        own = crops[crops[:, 0] == chosen, 1:]
        assert (own.min(0) == 0).all()
        assert (own.max(0) == limits).all(), "every place is possible"


@pytest.mark.usefixtures("quick")
def test_a_step_on_a_device_is_the_step_of_the_loop(items: Sequence[data.Item]) -> None:
    """The same batch gives the same weights by both ways."""
    recipe = tiny.recipe()
    plain = loop.Trainer(recipe, CPU)
    ours = loop.Trainer(recipe, CPU, make=lambda given: resident.Task(given, CPU))
    assert isinstance(ours.task, resident.Task)
    training = [item for item in items if not item.version.picture.validates]
    for number in range(3):
        batch = data.Batches(training, tiny.PARAMETERS, recipe["data"]).make(number)
        plain.step(batch)
        ours.step(resident.Batch(*tensors(batch, CPU)))
    for one, two in zip(plain.network.parameters(), ours.network.parameters(), strict=True):
        assert torch.equal(one, two)


def compiled(items: Sequence[data.Item], monkeypatch: pytest.MonkeyPatch, compiler: object) -> tuple[bool, str]:
    """Whether a task then uses what `compiler` gave it, and what it said."""
    task, said = resident.Task(tiny.RECIPE, CPU), []
    monkeypatch.setattr(torch, "compile", compiler)
    task.compile(batches(items, 0).make(0), said.append)
    assert all(parameter.grad is None for parameter in task.network.parameters())
    assert task.nats(batches(items, 0).make(1), CPU).shape == (3, tiny.BATCH, tiny.CROP, tiny.CROP)
    (line,) = said
    return task._lengths != task.network.nats, line


def test_a_network_that_does_not_compile_is_trained_as_it_is(
    items: Sequence[data.Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    def compiler(function: object) -> object:
        del function

        def fail(*_: object) -> object:
            raise RuntimeError("no compiler\nand a long trace")

        return fail

    assert compiled(items, monkeypatch, compiler) == (False, "not compiled: no compiler")


@pytest.mark.parametrize("slower", [True, False])
def test_a_network_that_compiles_is_used_where_it_is_faster(
    items: Sequence[data.Item], monkeypatch: pytest.MonkeyPatch, *, slower: bool
) -> None:
    race = resident.Task._race

    def timed(task: resident.Task, lengths: object, batch: resident.Batch) -> float:
        assert race(task, lengths, batch) > 0  # type: ignore[arg-type]
        return 2.0 if lengths == task.network.nats else 3.0 if slower else 1.0

    monkeypatch.setattr(resident.Task, "_race", timed)
    used, line = compiled(items, monkeypatch, partial)
    assert used != slower
    assert "M pixels a second" in line
