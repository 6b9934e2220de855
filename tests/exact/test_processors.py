"""The same bits whatever processor numba compiles for."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import random_networks as nets

from pixcodec import codec
from pixcodec.exact import levels, store, torch_backend
from pixcodec.exact.predict import predictions

GOLDEN = Path(__file__).parent.parent / "golden"
TRIPLE, _, FEATURES = store.host()
HERE = levels.possible(TRIPLE, {each[1:] for each in FEATURES.split(",") if each.startswith("+")})
# Settings of numba, and the products that are chosen with them.
PROCESSORS = {"generic": ({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}, "plain")} | {
    name: ({"NUMBA_CPU_NAME": levels.LEVELS[name].processor, "NUMBA_CPU_FEATURES": levels.LEVELS[name].features}, kind)
    for name, kind in zip(levels.LEVELS, ("amx", "vnni512", "vnni256", "madd256"), strict=False)
    if name in HERE
}


def digests() -> list[str]:
    """Of predictions, logits and counts of pictures on which binary32 is easy and on which it breaks first."""
    found = []
    for parameters, output in ((nets.SMALL, "residual"), (nets.FAR, "logistics"), (nets.recipe("photo"), "logistics")):
        network = nets.random_network(parameters, features=16, blocks=2, extreme=True, output=output)
        backend = nets.back_end("vector", network)
        digest = hashlib.sha256()
        for kind in nets.KINDS:
            planes = nets.picture(kind, 21, 37, parameters.channels)
            guesses, logits = nets.wavefront_logits(network, planes, backend)
            centres = (guesses[..., 0].astype(np.int32).ravel() + 8) // 16
            rows = network.rows.room(centres.shape, network.classes)
            network.rows.make(logits.reshape(-1, logits.shape[-1]), centres, network.classes, 256, rows)
            counts = nets.symbol_counts(network, rows, centres)
            for array in (guesses, logits, counts):
                digest.update(array.tobytes())
        found.append(digest.hexdigest())
    files = (GOLDEN / f"{name}.pxc" for name in ("rgb_37x21_tiles_experts", "rgb_logistics_text_38x25_experts"))
    decoded = (codec.decode(each.read_bytes()).planes for each in files)  # which says if pixels are wrong
    return found + [hashlib.sha256(planes.tobytes()).hexdigest() for planes in decoded]


@pytest.mark.slow
@pytest.mark.skipif(platform.machine().lower() not in {"x86_64", "amd64"}, reason="the processors are x86 ones")
@pytest.mark.parametrize("name", PROCESSORS)
def test_other_processors_give_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, expected = PROCESSORS[name]
    monkeypatch.setenv("PIXCODEC_MODELS", str(GOLDEN))
    environment = {
        **os.environ,
        **settings,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    script = (
        "import test_processors as t; from pixcodec.exact import products; print(products.product_kind(), *t.digests())"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)
    kind, *found = done.stdout.split()
    assert kind == expected
    assert found == digests()


@pytest.mark.slow
def test_a_thousand_active_lanes_agree_with_torch() -> None:
    """Too many pixels for the reference: 1,040 lanes are active at once."""
    pytest.importorskip("torch")
    network = nets.random_network(nets.SMALL_GRAY, features=8, blocks=1, head=8)
    planes = nets.picture("smooth", 1040, 2100, 1)
    guesses, logits = nets.wavefront_logits(network, planes, nets.back_end("vector", network))
    np.testing.assert_array_equal(guesses, predictions(planes, network.parameters))
    for _, rows, part in torch_backend.strips(network, planes[None], guesses[None]):
        np.testing.assert_array_equal(logits[rows], part[0].numpy())
