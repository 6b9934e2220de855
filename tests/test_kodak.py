"""All Kodak photographs, encoded once, decode to their pixels in fresh processes of every kind (`make check`)."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pixcodec import codec, container, image

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

X86 = platform.machine().lower() in {"x86_64", "amd64"}
DECODE = """
import json, sys
from pathlib import Path
from pixcodec import codec
options = json.loads(sys.argv[1])
for name in sys.argv[2:]:
    codec.decode(Path(name).read_bytes(), **options)  # which proves the digest of the pixels
    print(name)
"""
VARIANTS = {
    "one thread": ('{"threads": 1}', {}),
    "two threads": ('{"threads": 2}', {}),
    "numpy": ('{"backend": "numpy"}', {"OPENBLAS_NUM_THREADS": "1"}),  # more would only wait for each other
    "torch-float32": ('{"backend": "torch-float32"}', {}),
    "torch-int8": ('{"backend": "torch-int8"}', {}),
    "torch-float32 by AVX2": (
        '{"backend": "torch-float32"}',
        {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    ),
    "haswell": ("{}", {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"}),
    "generic": ("{}", {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}),
}


@pytest.fixture(scope="module")
def files(kodak: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every photograph's file, its digest proved to be the original's."""
    folder, made = tmp_path_factory.mktemp("kodak"), []
    for path in sorted(kodak.glob("*.png")):
        picture = image.read(path)
        data = codec.encode(picture.planes, picture.mode).data
        assert container.read_header(data).digest == container.digest(picture.planes, picture.mode)
        made.append(folder / f"{path.stem}.pxc")
        made[-1].write_bytes(data)
    assert len(made) == 24
    return made


@pytest.mark.parametrize("variant", VARIANTS)
def test_all_decode_in_a_fresh_process(files: list[Path], variant: str) -> None:
    options, environment = VARIANTS[variant]
    if not X86 and environment.keys() & {"NUMBA_CPU_NAME", "ONEDNN_MAX_CPU_ISA"}:
        pytest.skip("these processors are x86 ones")
    done = subprocess.run(
        [sys.executable, "-c", DECODE, options, *map(str, files)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    if "torch-int8" in variant and "not exact" in done.stderr:
        pytest.skip("torch's int8 products are not exact on this processor, and are refused")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(map(str, files))


def test_whole_pictures_at_once_in_another_order_give_the_same_files(kodak: Path, files: list[Path]) -> None:
    for path in reversed(files):
        picture = image.read(kodak / f"{path.stem}.png")
        assert codec.encode(picture.planes, picture.mode, device="cpu").data == path.read_bytes(), path.stem
