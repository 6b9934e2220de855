"""Levels of processors: what kernels are compiled for ahead, when the package is built (`pixcodec.ahead`).

Each is a name of LLVM's for a processor and the instruction sets that must be there, of which code uses no more.
"""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet


class Level(NamedTuple):
    """A level: the start of LLVM's triple, its name for a processor, instruction sets, and settings of LLVM's."""

    machine: str
    processor: str
    needs: frozenset[str]
    settings: str = ""

    @property
    def features(self) -> str:
        """As numba takes them."""
        return ",".join([*(f"+{each}" for each in sorted(self.needs)), *filter(None, [self.settings])])


_X86_64_V3 = frozenset(
    {
        *("64bit", "avx", "avx2", "bmi", "bmi2", "cmov", "crc32", "cx16", "cx8", "f16c", "fma", "fxsr", "lzcnt", "mmx"),
        *("movbe", "popcnt", "sahf", "sse", "sse2", "sse3", "sse4.1", "sse4.2", "ssse3", "xsave"),
    }
)
AMX = "amx-int8"
_VNNI = _X86_64_V3 | {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl", "avx512vnni"}

# The best first.  Names are those of folders.
LEVELS = {
    # Vectors of 512 bits are what our kernels are written in; LLVM would rather have two halves on some processors.
    "x86-64-v4-amx": Level("x86_64", "x86-64-v4", _VNNI | {AMX, "amx-tile"}, "-prefer-256-bit"),
    "x86-64-v4-vnni": Level("x86_64", "x86-64-v4", _VNNI, "-prefer-256-bit"),
    "x86-64-v3-vnni": Level("x86_64", "x86-64-v3", _X86_64_V3 | {"avxvnni"}),
    "x86-64-v3": Level("x86_64", "x86-64-v3", _X86_64_V3),
    "aarch64": Level("aarch64", "generic", frozenset({"fp-armv8", "neon"})),
}


_SYSTEM_CALL, _ASK, _TILES = 158, 0x1023, 18  # arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA of Linux on x86-64


def tiles_permitted() -> bool:
    """Ask Linux that this process may use tiles of matrices: their registers are saved only for those who asked."""
    return sys.platform == "linux" and ctypes.CDLL(None).syscall(_SYSTEM_CALL, _ASK, _TILES) == 0


def possible(triple: str, features: AbstractSet[str], names: Iterable[str] = LEVELS) -> list[str]:
    """Those of `names` that a processor with these instruction sets has, the best first."""
    chosen = set(names)
    return [
        name
        for name, level in LEVELS.items()
        if name in chosen and triple.startswith(level.machine) and level.needs <= features
    ]
