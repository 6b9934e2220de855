"""The network by torch, step by step and whole pictures at once, gives the reference's bits or is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import random_networks as nets

torch = pytest.importorskip("torch")

from pixcodec.errors import BackendError  # noqa: E402 - after the skip
from pixcodec.exact import matmul, torch_backend  # noqa: E402
from pixcodec.exact.predict import predictions  # noqa: E402
from pixcodec.exact.reference import network as reference  # noqa: E402

PRODUCTS = ("float32", "int8")
SMALL = nets.random_network(nets.SMALL)
AT_THE_BOUND = nets.random_network(nets.SMALL, features=104, blocks=1, head=64, extreme=True, seed=2)
ODD = nets.random_network(nets.SMALL_GRAY, features=10, head=7, taps=((0, 0), (1, 2), (2, -3)), seed=3)


def exact_here(products: str, network: object) -> bool:
    """int8 products are not exact on every processor."""
    shapes = {product.weight.shape for product in network.products().values()}  # type: ignore[attr-defined]
    return all(matmul.known_answer(torch_backend.TorchBackend(products), *shape) for shape in shapes)


def batch(network: object, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two pictures, their predictions, and the reference's logits."""
    channels, parameters = network.channels, network.parameters  # type: ignore[attr-defined]
    planes = np.stack([nets.picture(kind, height, width, channels) for kind in ("random", "smooth")])
    guesses = np.stack([predictions(each, parameters) for each in planes])
    return (
        planes,
        guesses,
        np.stack([reference.logits(network, *pair)[0] for pair in zip(planes, guesses, strict=True)]),
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("products", PRODUCTS)
@pytest.mark.parametrize("network", [SMALL, AT_THE_BOUND, ODD], ids=["small", "at the bound", "odd"])
def test_whole_pictures_agree_with_the_reference(network: object, products: str) -> None:
    if not exact_here(products, network):
        pytest.skip(f"{products} products are not exact on this processor")
    for height, width in ((1, 1), (1, 7), (7, 1), (2, 3), (13, 9)):
        planes, guesses, expected = batch(network, height, width)
        result = torch_backend.logits(network, planes, guesses, products=products)  # type: ignore[arg-type]
        assert result.dtype == torch.int16
        np.testing.assert_array_equal(result.numpy(), expected)


@pytest.mark.parametrize("name", ["torch-float32", "torch-int8"])
@pytest.mark.parametrize("network", [SMALL, AT_THE_BOUND, ODD], ids=["small", "at the bound", "odd"])
def test_steps_agree_with_the_reference(network: object, name: str) -> None:
    if not exact_here(name.removeprefix("torch-"), network):
        pytest.skip(f"{name} is not exact on this processor")
    for height, width in ((1, 1), (7, 1), (9, 14)):
        planes = nets.picture("random", height, width, network.channels)  # type: ignore[attr-defined]
        guesses, logits = nets.wavefront_logits(network, planes, nets.back_end(name, network))  # type: ignore[arg-type]
        np.testing.assert_array_equal(logits, reference.logits(network, planes, guesses)[0])  # type: ignore[arg-type]


@pytest.mark.parametrize(("chunk", "parts"), [(1, 2 * 4), (13 * 60, 2), (2 * 13 * 60, 1)])
def test_strips_and_chunks_of_the_batch_do_not_change_a_bit(
    monkeypatch: pytest.MonkeyPatch, chunk: int, parts: int
) -> None:
    planes, guesses, expected = batch(SMALL, 60, 13)
    monkeypatch.setattr(torch_backend, "CHUNK_PIXELS", chunk)
    strips = list(torch_backend.strips(SMALL, planes, guesses))
    assert len(strips) == parts
    for images, rows, logits in strips:
        np.testing.assert_array_equal(logits.numpy(), expected[images, rows])
    assert sum(logits.shape[0] * logits.shape[1] for _, _, logits in strips) == 2 * 60


def test_tensors_are_taken_as_arrays_are() -> None:
    planes, guesses, expected = batch(SMALL, 3, 5)
    result = torch_backend.logits(SMALL, torch.from_numpy(planes), torch.from_numpy(guesses))
    np.testing.assert_array_equal(result.numpy(), expected)


def test_shortened_products_that_the_caller_allows_are_not_used_and_stay_allowed() -> None:
    planes, guesses, expected = batch(SMALL, 5, 6)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            result = torch_backend.logits(SMALL, planes, guesses)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(result.numpy(), expected)


def test_full_precision_lasts_until_its_last_user_is_done() -> None:
    precision = torch_backend._Precision()
    switches = precision._switches()
    if not switches:
        pytest.skip("this torch has one switch for all, which cannot be read by back end")
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = "tf32"
        with precision.full():
            with precision.full():
                assert {switch.fp32_precision for switch in switches} == {"ieee"}
            assert {switch.fp32_precision for switch in switches} == {"ieee"}
        assert {switch.fp32_precision for switch in switches} == {"tf32"}
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = value


def test_unknown_products_are_refused() -> None:
    planes, guesses, _ = batch(SMALL, 1, 1)
    with pytest.raises(BackendError, match="float16"):
        torch_backend.logits(SMALL, planes, guesses, products="float16")


def test_products_that_saturate_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `torch._int_mm` does on x86 without VNNI."""
    planes, guesses, _ = batch(SMALL, 1, 1)

    def saturating(a: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return (a.to(torch.int32) @ w.to(torch.int32)).clamp(-32768, 32767)

    form = torch_backend._FORMS["int8"]._replace(multiply=saturating)
    monkeypatch.setitem(torch_backend._FORMS, "int8", form)
    torch_backend._proved.cache_clear()
    with pytest.raises(BackendError, match="not exact"):
        torch_backend.logits(SMALL, planes, guesses, products="int8")
    torch_backend._proved.cache_clear()


_ON_OLDER_PROCESSORS = """
import numpy as np, random_networks as nets, torch
from pixcodec.errors import BackendError
from pixcodec.exact import matmul, torch_backend
from pixcodec.exact.predict import predictions
a, w = torch.full((8, 64), 127, dtype=torch.int8), torch.full((64, 64), 127, dtype=torch.int8)
print("saturates" if int(torch._int_mm(a, w)[0, 0]) != 64 * 127 * 127 else "exact")
network = nets.random_network(nets.SMALL)
planes = nets.picture("random", 5, 6, 3)
guesses = predictions(planes, nets.SMALL)
for attempt in (
    lambda: nets.wavefront_logits(network, planes, nets.back_end("torch-int8", network))[1],
    lambda: torch_backend.logits(network, planes[None], guesses[None], products="int8").numpy()[0],
):
    try:
        right = np.array_equal(attempt(), nets.wavefront_logits(network, planes, nets.back_end("numpy", network))[1])
        print("exact" if right else "WRONG")
    except BackendError:
        print("refused")
"""


@pytest.mark.parametrize("isa", ["AVX2", "DEFAULT"])
def test_int8_products_are_exact_or_refused_whatever_the_processor_has(isa: str) -> None:
    """oneDNN can be held to older instructions, which saturate at 16 bits."""
    environment = {
        **os.environ,
        "ONEDNN_MAX_CPU_ISA": isa,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    done = subprocess.run(
        [sys.executable, "-c", _ON_OLDER_PROCESSORS], check=True, capture_output=True, text=True, env=environment
    )
    library, *ours = done.stdout.split()
    assert ours == ["refused" if library == "saturates" else "exact"] * 2


def test_without_torch_one_line_says_what_to_install() -> None:
    script = """
import sys
sys.modules["torch"] = None
from pixcodec.errors import MissingDependencyError
from pixcodec.exact import arrays, matmul
for attempt in (
    lambda: matmul.choose("torch-int8", ()),
    lambda: matmul.choose("torch-float32", ()),
    lambda: arrays.choose(None, device="cpu"),
):
    try:
        attempt()
    except MissingDependencyError as problem:
        print(problem)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all("torch" in line and "pip install 'pixcodec[train]'" in line for line in lines)
