"""Machine code of compiled functions on disk, and how a process takes it up without numba.

A folder holds the code for one state of what it depends on: the versions of Python, NumPy, numba and llvmlite, the
processor, numba's settings.  It lies in ``__pycache__`` beside the package or, where nothing can be written there, in
the user's cache folder; ``PIXCODEC_CACHE_DIR`` names another place.  What was compiled ahead (`pixcodec.ahead`) lies in
a folder of the package for each level of processors, and goes before all others; a process is then one of the best such
level that its processor has.  A file is one kernel for some kinds of arguments:

    bytes 0..15     BLAKE2b of what follows
    bytes 16..17    n, the length of the head, little endian
    bytes 18..18+n  the head, JSON: the key, and the names that the code takes from the process
    the rest        an ELF object

A file that is not whole, or of other sources, counts as none.  LLVM's linker puts the object into memory, and its entry
(`entry`) becomes a function of Python.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from importlib.machinery import PathFinder
from itertools import count
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any, NamedTuple

import llvmlite
import numpy as np
from llvmlite import binding as llvm

from pixcodec.exact import levels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENVIRONMENT = "PIXCODEC_CACHE_DIR"
FOLDERS_KEPT = 4  # the last ones written: of other processors, other settings
DIGEST, SHORT = 16, 8  # bytes
PACKAGE = Path(__file__).parents[1]
AHEAD = "kernels"  # folder of the package
NUMBERS = {np.dtype(name).type for name in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")}
WITHOUT_AVX = {"corei7-avx", "core-avx-i", "sandybridge", "ivybridge", "nocona"}  # numba does not trust them with it
OWN_SETTINGS = {"NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS"}  # those of numba that do not change code
_METH_FASTCALL = 0x80
_LIBRARIES = count()  # no two may have one name

# Where entries look into Python's and NumPy's objects: bytes from the start of an object of 64 bits.
TYPE, SIZE, SCALAR, ITEMS = 8, 16, 16, tuple.__basicsize__
DATA, DIMENSIONS, SHAPE, STRIDES, DESCRIPTION, FLAGS = 16, 24, 32, 40, 56, 64
BYTE_ORDER, NUMBER = 26, 28  # of a NumPy dtype


class Key(NamedTuple):
    """What code is kept by: the kernel's name, the digest of its sources, kinds of arguments in words (`describe`)."""

    name: str
    sources: str
    kinds: str

    @property
    def symbol(self) -> str:
        """The name of the entry."""
        return f"pixcodec_{blake2b(f'{self.name} {self.kinds}'.encode(), digest_size=DIGEST).hexdigest()}"


class Code(NamedTuple):
    """An ELF object, and the names that it takes from the process."""

    symbols: list[str]
    elf: bytes


NO_CODE = Code([], b"")  # of what is left to numba


class Described(NamedTuple):
    """Kinds of arguments in words, and their classes: each argument, and behind a tuple its items."""

    kinds: str
    classes: tuple[type, ...]


def _layout_is_known() -> bool:
    """Whether objects lie in memory as entries expect; a debug build's, or those without a global lock, do not."""
    if sys.implementation.name != "cpython" or object.__basicsize__ != 16 or sys.byteorder != "little":
        return False
    array, number, pair = np.arange(60, dtype=np.int16).reshape(6, 10)[:, ::2], np.int32(-12345), (number_ := 7.5, None)

    def at(value: object, place: int, kind: Any = ctypes.c_int64) -> Any:  # noqa: ANN401  of ctypes
        return kind.from_address(id(value) + place).value

    return (
        (at(array, TYPE), at(array, DATA)) == (id(np.ndarray), array.__array_interface__["data"][0])
        and at(array, DIMENSIONS, ctypes.c_int32) == array.ndim
        and tuple(ctypes.c_int64.from_address(at(array, SHAPE) + 8 * k).value for k in range(2)) == array.shape
        and tuple(ctypes.c_int64.from_address(at(array, STRIDES) + 8 * k).value for k in range(2)) == array.strides
        and at(array, DESCRIPTION) == id(array.dtype)
        and at(array, FLAGS, ctypes.c_int32) == array.flags.num
        and at(array.dtype, NUMBER, ctypes.c_int32) == array.dtype.num
        and at(array.dtype, BYTE_ORDER, ctypes.c_char) == array.dtype.byteorder.encode()
        and at(number, SCALAR, ctypes.c_int32) == int(number)
        and (at(pair, SIZE), at(pair, ITEMS), at(pair, ITEMS + 8)) == (2, id(number_), id(None))
    )


USABLE = sys.platform == "linux" and _layout_is_known()


def _settings() -> list[tuple[str, str]]:
    """Those of numba in the environment that change code."""
    return sorted(each for each in os.environ.items() if each[0].startswith("NUMBA_") and each[0] not in OWN_SETTINGS)


@cache
def level() -> str | None:
    """The level of processors whose kernels were compiled ahead and are used; none where numba was given settings."""
    if _settings():
        return None
    triple, _, features = host()
    own = {each[1:] for each in features.split(",") if each.startswith("+")}
    there = [path.name for path in (PACKAGE / AHEAD).glob("*")]
    return next(iter(levels.possible(triple, own, there)), None)


@cache
def processor() -> tuple[str, str, str]:
    """Triple, name and features of the processor that kernels are compiled for."""
    chosen = level()
    if chosen is None:
        return host()
    return llvm.get_process_triple(), levels.LEVELS[chosen].processor, levels.LEVELS[chosen].features


@cache
def host() -> tuple[str, str, str]:
    """The same of the processor that numba compiles for, as its settings in the environment say."""
    name = os.environ.get("NUMBA_CPU_NAME")
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if features is None and (name or "").lower() == "generic":
        features = ""
    if features is None:
        try:
            known = llvm.get_host_cpu_features()
        except RuntimeError:  # LLVM does not know them here
            known = llvm.FeatureMap()
        asked = os.environ.get("NUMBA_ENABLE_AVX")
        if asked == "0" or (asked is None and (name or llvm.get_host_cpu_name()) in WITHOUT_AVX):
            known.update({each: False for each in known if each.startswith("avx")})
        features = known.flatten()
    if f"+{levels.AMX}" in features and not levels.tiles_permitted():
        features = ",".join(each for each in features.split(",") if not each.startswith("+amx"))
    return llvm.get_process_triple(), name or llvm.get_host_cpu_name(), features


@cache
def _digest(folder: Path) -> bytes:
    digest = blake2b(digest_size=SHORT)
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()


@cache
def sources(module: str) -> str:
    """Digest of what compiled functions of a module are made of: its own file, those beside it, and those of `exact`.

    Modules of the package itself take nothing from each other.
    """
    path = PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    own = path.read_bytes() if path.parent == PACKAGE else _digest(path.parent)
    return blake2b(own + _digest(Path(__file__).parent), digest_size=SHORT).hexdigest()


@cache
def state() -> str:
    """Digest of all that code depends on but the kernel and its arguments."""
    numba = PathFinder.find_spec("numba")  # not imported: its version is in a file
    version = Path(numba.origin or "").with_name("_version.py").read_bytes() if numba else b""
    parts = (sys.version, np.__version__, llvmlite.__version__, version, processor(), _settings())
    return blake2b(repr(parts).encode(), digest_size=SHORT).hexdigest()


def folders() -> Iterator[Path]:
    """Where code may lie, the best place first."""
    own = os.environ.get(ENVIRONMENT) or os.environ.get("NUMBA_CACHE_DIR")
    if own:
        yield Path(own) / "pixcodec"
        return
    yield PACKAGE / "__pycache__"
    with suppress(RuntimeError):  # nobody's home
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pixcodec"


def _file(key: Key) -> str:
    return f"{key.name}-{key.symbol[-2 * SHORT :]}.bin"


def _places() -> Iterator[Path]:
    """Folders in which to look for code, the best first."""
    chosen = level()
    if chosen is not None:
        yield PACKAGE / AHEAD / chosen
    for folder in folders():
        yield folder / f"kernels-{state()}"


def _parsed(data: bytes, key: Key) -> Code | None:
    """What a file holds; None where it is damaged or for another key."""
    digest, rest = data[:DIGEST], data[DIGEST:]
    if blake2b(rest, digest_size=DIGEST).digest() != digest:
        return None
    start = 2 + int.from_bytes(rest[:2], "little")
    head = json.loads(rest[2:start])
    return Code(head["symbols"], rest[start:]) if head["key"] == list(key) else None


def read(key: Key) -> Code | None:
    """The code of a kernel, or None where there is none that can be used."""
    for folder in _places():
        with suppress(OSError):
            code = _parsed((folder / _file(key)).read_bytes(), key)
            if code is not None and not missing(code.symbols):
                return code
    return None


def write(key: Key, code: Code) -> None:
    """Keep code where it can be kept; what other sources gave is overwritten."""
    head = json.dumps({"key": key, "symbols": code.symbols}).encode()
    rest = len(head).to_bytes(2, "little") + head + code.elf
    for folder in folders():
        path = folder / f"kernels-{state()}" / _file(key)
        with suppress(OSError):
            if not path.parent.exists():
                path.parent.mkdir(parents=True)
                _tidy(folder)
            unfinished = path.with_suffix(f".{os.getpid()}")  # so that other processes see all of it or nothing
            unfinished.write_bytes(blake2b(rest, digest_size=DIGEST).digest() + rest)
            unfinished.replace(path)
            return


def _tidy(folder: Path) -> None:
    """Remove all but the last folders of code."""
    found = sorted(folder.glob("kernels-*"), key=lambda each: each.stat().st_mtime, reverse=True)
    for each in found[FOLDERS_KEPT:]:
        rmtree(each, ignore_errors=True)


@cache
def _address(name: str) -> int | None:
    """Of what the process itself has by a name: Python's, the C library's."""
    with suppress(AttributeError):
        return ctypes.cast(getattr(process(), name), ctypes.c_void_p).value
    return None


@cache
def process() -> ctypes.CDLL:
    """All that the process itself has."""
    return ctypes.CDLL(None)


def missing(symbols: list[str]) -> list[str]:
    """Those that the process does not have: LLVM ends a process that asks for them."""
    return [each for each in symbols if _address(each) is None]


def machine() -> Any:  # noqa: ANN401  llvmlite's
    """LLVM's target, as numba sets it up."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple, name, features = processor()
    fixed = "static" if triple.startswith(("x86", "i")) else "default"
    options: dict[str, Any] = {"cpu": name, "features": features, "opt": 3, "reloc": fixed, "codemodel": "jitdefault"}
    return llvm.Target.from_triple(triple).create_target_machine(**options, jit=True)


@cache
def linker() -> Any:  # noqa: ANN401  llvmlite's
    """LLVM's linker, one for all objects: each is a library of its own, which the others do not see."""
    return llvm.create_lljit_compiler(machine(), suppress_errors=True)


class _MethodDefinition(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def of_bound(symbol: str) -> str:
    """The name of the entry that binds arguments, from that of the one that calls."""
    return f"{symbol}_bound"


def load(
    code: Code, symbol: str, others: tuple[Callable[..., Any], Callable[..., Any]], classes: tuple[type, ...]
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Functions of Python that are the code's entries: one calls, the other binds arguments.

    Args:
        code: of a kernel.
        symbol: the name of the first.
        others: what is called instead of each with arguments that it does not take.
        classes: of the arguments, see `describe`.
    """
    library = llvm.JITLibraryBuilder().add_object_img(code.elf)
    for each in code.symbols:
        library.import_symbol(each, _address(each))
    library.export_symbol(symbol).export_symbol(of_bound(symbol))
    linked = library.link(linker(), f"{symbol}_{next(_LIBRARIES)}")
    linked.detach()  # it is never given back: threads may be in it until the process ends
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.argtypes, make.restype = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p], ctypes.py_object

    def function(name: str, other: Callable[..., Any]) -> Callable[..., Any]:
        method = _MethodDefinition(name.encode(), linked[name], _METH_FASTCALL, None)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(method))  # for ever: Python reads it when the function goes
        made: Callable[..., Any] = make(ctypes.addressof(method), (other, fail, *classes), None)
        return made

    return function(symbol, others[0]), function(of_bound(symbol), others[1])


def fail(pickled: bytes) -> None:
    """Raise what a compiled function raised: numba keeps class, arguments and place."""
    import pickle

    kind, arguments, _ = pickle.loads(pickled)  # noqa: S301  of the code that was just run
    raise kind(*arguments)


def describe(arguments: tuple[Any, ...]) -> Described | None:
    """Kinds and classes of arguments; None if there is one that no entry takes."""
    classes: list[type] = []
    try:
        kinds = ", ".join(_kind(each, classes) for each in arguments)
    except TypeError:
        return None
    return Described(kinds, tuple(classes))


def _kind(value: Any, classes: list[type]) -> str:  # noqa: ANN401  of any kind
    kind = type(value)
    classes.append(kind)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if kind is np.ndarray:
        own = value.dtype, value.flags
        if not own[0].isnative or own[0].type not in NUMBERS or not own[1].aligned or not value.ndim:
            raise TypeError(name)
        layout = "C" if own[1].c_contiguous else "F" if own[1].f_contiguous else "A"
        return f"{own[0].name}/{own[0].num}[{value.ndim}{layout}{'' if own[1].writeable else ', read only'}]"
    if isinstance(value, tuple):
        return f"{name}({', '.join(_kind(each, classes) for each in value)})"
    if kind is int and -(1 << 63) <= value < 1 << 63:
        return "int"
    if kind in {bool, float, type(None)} or kind in NUMBERS:
        return name
    raise TypeError(name)
