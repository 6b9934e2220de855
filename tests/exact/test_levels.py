"""Kernels that were compiled ahead: which level of processors a process is of, and what it takes from there."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pixcodec import ahead
from pixcodec.exact import levels, store

if TYPE_CHECKING:
    from pathlib import Path

X86 = "x86_64-unknown-linux-gnu"
V3, V3_VNNI, V4_VNNI, V4_AMX = ("x86-64-v3", "x86-64-v3-vnni", "x86-64-v4-vnni", "x86-64-v4-amx")
HERE = levels.possible(store.host()[0], {each[1:] for each in store.host()[2].split(",") if each.startswith("+")})


@pytest.mark.parametrize(
    ("triple", "features", "there", "expected"),
    [
        (X86, levels.LEVELS[V4_AMX].needs | {"sha"}, levels.LEVELS, [V4_AMX, V4_VNNI, V3]),
        (X86, levels.LEVELS[V4_VNNI].needs | {"sha"}, levels.LEVELS, [V4_VNNI, V3]),
        (X86, levels.LEVELS[V4_VNNI].needs, [V3, "unknown"], [V3]),
        (X86, levels.LEVELS[V3_VNNI].needs, levels.LEVELS, [V3_VNNI, V3]),
        (X86, levels.LEVELS[V3].needs - {"avx2"}, levels.LEVELS, []),
        (X86, levels.LEVELS[V3].needs, [], []),
        ("aarch64-unknown-linux-gnu", {"neon", "fp-armv8", "dotprod"}, levels.LEVELS, ["aarch64"]),
        ("arm64-apple-darwin23", {"neon", "fp-armv8"}, levels.LEVELS, []),
    ],
)
def test_a_processor_is_of_the_levels_whose_instruction_sets_it_has(
    triple: str, features: set[str], there: list[str], expected: list[str]
) -> None:
    assert levels.possible(triple, features, there) == expected


def test_tiles_of_matrices_are_left_alone_where_the_system_forbids_them(monkeypatch: pytest.MonkeyPatch) -> None:
    store.host.cache_clear()
    monkeypatch.setenv("NUMBA_CPU_FEATURES", levels.LEVELS[V4_AMX].features)
    monkeypatch.setattr(levels, "tiles_permitted", lambda: False)
    try:
        own = {each[1:] for each in store.host()[2].split(",") if each.startswith("+")}
    finally:
        store.host.cache_clear()
    assert levels.possible(X86, own) == [V4_VNNI, V3]


SCRIPT = """
import logging, sys
from pathlib import Path
import numpy as np
from pixcodec.exact import store
from pixcodec.exact.range_coder import Encoder, put_rows
from pixcodec.exact.frequencies import class_table
said = []
logging.getLogger("pixcodec").addHandler(type("Kept", (logging.Handler,), {"emit": lambda _, record: said.append(1)})())
logging.getLogger("pixcodec").setLevel(logging.INFO)
store.PACKAGE = Path(sys.argv[1])
coder, costs = Encoder(), np.zeros(2)
counts = np.full((1, 512), 65535, np.int32)
zeros, sevens = np.zeros(1, np.int32), np.full(1, 7, np.int32)
put_rows(counts, zeros, class_table(np.arange(511)), sevens, coder.state, coder.words, costs)
numba = "numba" in sys.modules
if numba:
    from numba.core.registry import cpu_target
    assert tuple(cpu_target.target_context.codegen().magic_tuple()) == store.processor()
print(store.level(), store.processor()[1], bool(said), numba, costs[0])
"""


def run(package: Path, cache: Path, **environment: str) -> list[str]:
    """What the script says: level, processor, whether something was compiled, whether numba was there, bits."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")}
    everything = {**clean, store.ENVIRONMENT: str(cache), **environment}
    command = [sys.executable, "-c", SCRIPT, str(package)]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=everything).stdout.split()


@pytest.mark.skipif(not store.USABLE or not HERE, reason="this processor is of no level")
def test_what_was_compiled_ahead_is_taken_and_what_is_missing_is_compiled_for_the_same_level(tmp_path: Path) -> None:
    name = HERE[-1]
    kernels, cache = tmp_path / store.AHEAD / name, tmp_path / "cache"
    kernels.mkdir(parents=True)
    processor = levels.LEVELS[name].processor
    first = run(tmp_path, cache)
    assert first[:4] == [name, processor, "True", "True"]
    for path in cache.rglob("*.bin"):
        path.rename(kernels / path.name)
    assert run(tmp_path, tmp_path / "other") == [name, processor, "False", "False", first[4]]
    plain = run(tmp_path, tmp_path / "plain", NUMBA_OPT="2")  # who sets numba's ways gets them
    assert plain[:1] + plain[2:] == ["None", "True", "True", first[4]]
    (kernels / next(kernels.iterdir()).name).write_bytes(b"damaged")
    assert run(tmp_path, tmp_path / "anew")[2:] == ["True", "True", first[4]]


def test_levels_that_this_machine_has_not_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ahead.main([str(tmp_path / "kernels"), "z80"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
