"""Files that were made to do harm: whatever their bytes, with all checksums right, they give pixels or our errors.

Compiled functions look at no bounds; the slow test has them look, for these files and for all golden ones.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from test_golden import GOLDEN, KNOWING

from pixcodec import archive, archive_codec, codec, container, models
from pixcodec.errors import PixcodecError
from pixcodec.exact import store

HERE = Path(__file__).parent
FILES = sorted(GOLDEN.rglob("*.pxc"))
PIXELS = 1 << 14  # what a changed file may say it has: others would only take longer
CASES = int(os.environ.get("PIXCODEC_HOSTILE", "400"))


class Right(int):
    """A checksum that is what it should be."""

    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


class Forger:
    """What takes the place of zlib."""

    decompress = staticmethod(zlib.decompress)

    @staticmethod
    def crc32(data: bytes) -> Right:
        return Right(zlib.crc32(data))


def changed(data: bytes, chance: random.Random) -> bytes:
    """With some bytes changed, put in, or taken out; half of the time in the header."""
    result = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        place = chance.randrange(len(result)) if chance.random() < 0.5 else chance.randrange(8, min(len(result), 140))
        few, what = chance.randrange(1, 6), chance.random()
        if what < 0.7:
            result[place] = chance.choice((0, 1, 127, 128, 255, result[place] ^ 1 << chance.randrange(8)))
        elif what < 0.8:
            del result[place : place + few]
        elif what < 0.9:
            result[place:place] = chance.randbytes(few)
        elif what < 0.95:
            del result[place:]
        else:
            result[place : place + 4] = chance.choice((b"\xff" * 4, b"\xff\xff\xff\x7f", bytes(4)))
        if len(result) < 9:
            return bytes(result)
    return bytes(result)


def samples(data: bytes) -> int:
    """What the file says it has."""
    if container.is_archive(data):
        return sum(block.samples for block in archive.read_header(data).blocks)
    header = container.read_header(data)
    return header.width * header.height


def test_any_bytes_with_right_checksums_give_pixels_or_our_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(models.ENVIRONMENT, str(GOLDEN))
    monkeypatch.setattr(models, "KNOWING", KNOWING)
    monkeypatch.setattr(container, "zlib", Forger)
    monkeypatch.setattr(archive, "zlib", Forger)
    chance, ends = random.Random(1), {"pixels": 0, "errors": 0}  # noqa: S311  tests repeat
    for _ in range(CASES):
        data = changed(chance.choice(FILES).read_bytes(), chance)
        try:
            if samples(data) <= PIXELS:
                decode = archive_codec.decode if container.is_archive(data) else codec.decode
                decode(data, threads=chance.choice((1, 2)))
                ends["pixels"] += 1
        except PixcodecError:
            ends["errors"] += 1
    assert min(ends.values()) > CASES // 50


@pytest.mark.slow
@pytest.mark.skipif(not store.USABLE, reason="numba alone compiles, and keeps what it has")
def test_compiled_functions_stay_within_their_arrays(tmp_path: Path) -> None:
    """Freed and new memory is overwritten besides, so that nothing can depend on what lies there."""
    environment = {
        **os.environ,
        "NUMBA_BOUNDSCHECK": "1",
        "PIXCODEC_HOSTILE": "4000",
        "PYTHONMALLOC": "malloc",
        "MALLOC_PERTURB_": "85",
        store.ENVIRONMENT: str(tmp_path),
    }
    tests = [str(HERE / name) for name in ("test_golden.py", "test_hostile.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=HERE.parent)
    assert done.returncode == 0, done.stdout[-3000:]
