"""Compiled functions: numba makes them once a machine, `store` keeps their machine code, and later runs need no numba.

`compiled` is what numba's ``njit`` would be, but for when it works.  A `Kernel` is a promise: nothing is imported or
compiled until it is called with kinds of arguments whose code is not in the store.  Then everything that the function
names, other kernels and instructions that numba is to emit (`Lazy`), is made first; its code, with an entry that takes
Python's objects (`entry`), goes to the store; and it is loaded from there as in every later run.

Where there can be no such code (`store.USABLE`, arguments that an entry cannot take), numba runs the function as ever.
The logger "pixcodec" is told, at level INFO, before anything is compiled.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import cache, cached_property
from threading import RLock
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from pixcodec.exact import store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMPILING = "compiling for this machine, once; it takes up to a minute"
LOCK = RLock()
_LOG = logging.getLogger("pixcodec")
_OPTIONS = {"nogil": True, "error_model": "numpy"}


class Lazy:
    """What numba is to make, and makes when a function that names it is compiled.

    Args:
        make: makes it.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    @cached_property
    def made(self) -> Any:  # noqa: ANN401  numba's
        """It."""
        return self._make()


class Kernel(Lazy):
    """A compiled function; it takes arguments by position only.

    Args:
        function: what is compiled.
        name: by which its code is kept; no other kernel may have it.
        options: of numba's ``njit``.

    Attributes:
        function: what is compiled.
        name: of its code.
        types: numba's types of the arguments that it was compiled for in this process.
    """

    def __init__(self, function: Callable[..., Any], name: str, options: dict[str, Any]) -> None:
        super().__init__(lambda: self._dispatcher(no_cpython_wrapper=True, no_cfunc_wrapper=True))
        self.function, self.name, self._options = function, name, options
        self.types: list[tuple[Any, ...]] = []
        # Others may differ though they have one name, or depend on what the store does not look at.
        self._kept = function.__module__.startswith("pixcodec.") and function.__closure__ is None
        self._kinds: set[str] = set()
        self._entry: Callable[..., Any] = self._first
        self._binder: Callable[..., Any] = self._first_bound

    def __call__(self, *arguments: Any) -> Any:  # noqa: ANN401
        """Call it."""
        return self._entry(*arguments)

    def bind(self, *arguments: Any) -> int | None:  # noqa: ANN401
        """The address of a block that holds a call (`entry._Entry.emit_bound`); None where no entry takes these."""
        block: int | None = self._binder(*arguments)
        return block

    def _first_bound(self, *arguments: Any) -> Any:  # noqa: ANN401
        before = self._binder
        with LOCK:
            found = self._binder is not before or self._find(arguments)
        return self._binder(*arguments) if found else None

    def _first(self, *arguments: Any) -> Any:  # noqa: ANN401
        """A call with arguments that no entry takes, as yet or ever."""
        before = self._entry
        with LOCK:
            found = self._entry is not before or self._find(arguments)
        return self._entry(*arguments) if found else self._by_numba(*arguments)

    def _find(self, arguments: tuple[Any, ...]) -> bool:
        """Put an entry for arguments of these kinds before the others; False where there cannot be one."""
        described = store.describe(arguments)
        if not store.USABLE or described is None or described.kinds in self._kinds:
            return False
        self._kinds.add(described.kinds)
        with suppress(Exception):  # whatever stands in the way, numba has its own way
            key = store.Key(self.name, self._sources, described.kinds)
            code = (store.read(key) if self._kept else None) or self._compiled(key, arguments)
            if code.elf:
                others = self._entry, self._binder
                self._entry, self._binder = store.load(code, key.symbol, others, described.classes)
                return True
        return False

    def _compiled(self, key: store.Key, arguments: tuple[Any, ...]) -> store.Code:
        from pixcodec.exact.entry import compiled_code

        _LOG.info(COMPILING)
        try:
            code, types = compiled_code(self.made, arguments, key.symbol)
            self.types.append(types)
        except (MemoryError, OSError):
            raise
        except Exception:  # noqa: BLE001  of numba or LLVM, and another time it would be the same
            code = store.NO_CODE
        if self._kept:
            store.write(key, code)
        return code

    @property
    def _sources(self) -> str:
        return store.sources(self.function.__module__) if self._kept else ""

    @cached_property
    def _by_numba(self) -> Callable[..., Any]:
        function = self._dispatcher()
        with suppress(RuntimeError):  # there is no place to keep it
            function.enable_caching()
        return function

    def _dispatcher(self, **more: Any) -> Any:  # noqa: ANN401
        from numba import njit

        _set_up()
        name = f"{self.name}_{self._sources}"
        code = self.function.__code__
        replaced: dict[str, Any] = {"co_name": name}
        if hasattr(code, "co_qualname"):
            replaced["co_qualname"] = name
        copy = FunctionType(code.replace(**replaced), _made(self.function), name, closure=_made_cells(self.function))
        copy.__module__, copy.__qualname__ = self.function.__module__, name
        return njit(**self._options, **more)(copy)


@cache
def _set_up() -> None:
    """Have numba compile for the processor that the store says, LLVM read assembly and keep sums of addresses whole.

    LLVM would take one term of a sum for a pointer where it moves the sum.  It does so in numba's modules when machine
    code is made, and numba links these modules into others afterwards: a term that is 0 would be a null pointer there,
    and everything that it leads to would be taken for unreachable.
    """
    from llvmlite import binding
    from numba.core import config

    _, config.CPU_NAME, config.CPU_FEATURES = store.processor()
    binding.initialize_native_asmparser()
    binding.set_option("pixcodec", "-addr-sink-using-gep=0")


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Kernel]:  # noqa: ANN401
    """Decorate a function to be compiled: it lets other threads run, and divides as NumPy does.

    Args:
        options: more of numba's ``njit``.
    """

    def decorate(function: Callable[..., Any]) -> Kernel:
        name = f"{function.__module__.removeprefix('pixcodec.')}.{function.__qualname__}"
        return Kernel(function, name, _OPTIONS | options)

    return decorate


def specialise(function: Callable[..., Any], name: str, **names: Any) -> Kernel:  # noqa: ANN401
    """Compile `function` under `name`, with `names` as globals."""
    copy = FunctionType(function.__code__, {**function.__globals__, **names}, function.__name__)
    copy.__module__ = function.__module__
    return Kernel(copy, f"{function.__module__.removeprefix('pixcodec.')}.{name}", _OPTIONS)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _names(each)


def _made(function: Callable[..., Any]) -> dict[str, Any]:
    """The globals of a function, with what is lazy made if the function names it."""
    names, found = set(_names(function.__code__)), dict(function.__globals__)
    for name in names & found.keys():
        value = found[name]
        if isinstance(value, Lazy):
            found[name] = value.made
        elif isinstance(value, ModuleType) and value.__name__.startswith("pixcodec."):
            found[name] = copy = ModuleType(value.__name__)
            inside = {each: getattr(value, each) for each in names if hasattr(value, each)}
            copy.__dict__.update({k: v.made if isinstance(v, Lazy) else v for k, v in inside.items()})
    return found


def _made_cells(function: Callable[..., Any]) -> tuple[Any, ...] | None:
    """The same of what a function takes from those around it."""
    from types import CellType

    def made(cell: CellType) -> CellType:
        value = cell.cell_contents
        return CellType(value.made) if isinstance(value, Lazy) else cell

    return function.__closure__ and tuple(made(cell) for cell in function.__closure__)
