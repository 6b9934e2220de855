"""Compiled functions by their entries: the same results as in Python and by numba, whatever the store holds."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from pixcodec.exact import ring, rounding, store
from pixcodec.exact.compiled import Kernel, compiled

pytestmark = pytest.mark.skipif(not store.USABLE, reason="there are no entries for this platform")


class Pair(NamedTuple):
    first: np.ndarray
    second: int


class Other(NamedTuple):
    second: int
    first: np.ndarray


def total(array, number, flag, fraction, small, few, pair, none):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
    result = 0.0
    for i in range(array.shape[0]):
        for j in range(array.shape[1]):
            result += 1.0 * array[i, j] * (i + 2 * j + 1)
    result += number * float(fraction) + float(small)
    for each in few[0]:
        result += each
    if none is not None:
        result = 0.0
    return result + float(pair.first[0]) * pair.second, (flag, few[1] - number), array.size


ARGUMENTS = (
    np.arange(12.0, dtype=np.float32).reshape(3, 4), -7, True, 0.5, np.int16(-300), ((1, 2, 3), 9),
    Pair(np.array([4], np.uint8), 6), None,
)  # fmt: skip


def by_numba(kernel: Kernel) -> bool:
    """Whether calls of a kernel have needed numba's own way."""
    return "_by_numba" in vars(kernel)


def with_one(place: int, value: object) -> tuple[Any, ...]:
    return (*ARGUMENTS[:place], value, *ARGUMENTS[place + 1 :])


KINDS = [
    ARGUMENTS,
    with_one(0, np.asfortranarray(ARGUMENTS[0])),
    with_one(0, np.arange(60, dtype=np.int64).reshape(6, 10)[::2, ::3]),
    with_one(0, np.frombuffer(bytes(range(30)), np.uint8).reshape(5, 6)),
    with_one(0, np.zeros((0, 4), np.uint64)),
    with_one(0, np.ones((2, 2), bool)),
    with_one(1, 0),
    with_one(1, (1 << 62) + 1),
    with_one(2, np.bool_(False)),
    with_one(3, np.float64(-0.25)),
    with_one(3, np.float32(0.125)),
    with_one(4, np.uint64((1 << 63) + 5)),
    with_one(4, np.uint8(200)),
    with_one(6, Other(6, np.array([4], np.uint8))),
]


@pytest.mark.parametrize("arguments", KINDS, ids=range(len(KINDS)))
def test_arguments_and_results_of_every_kind_are_python_s(arguments: tuple[Any, ...]) -> None:
    kernel = compiled()(total)
    expected = total(*arguments)
    kernel(*arguments)
    held = [each for each in arguments if isinstance(each, (np.ndarray, tuple))]
    counts = [sys.getrefcount(each) for each in held]
    for _ in range(3):
        found = kernel(*arguments)
        assert found == expected
        assert [type(each) for each in (*found, *found[1])] == [float, tuple, int, bool, int]
    assert [sys.getrefcount(each) for each in held] == counts
    assert not by_numba(kernel)


@compiled()
def _note(log, array, number, flag, fraction, small, few, pair, none):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    result, few, size = _total(array, number, flag, fraction, small, few, pair, none)
    log[0], log[1], log[2] = result, few[1], size


_total = compiled()(total)


@pytest.mark.parametrize("arguments", KINDS, ids=range(len(KINDS)))
def test_bound_calls_are_made_with_their_arguments(arguments: tuple[Any, ...]) -> None:
    log, calls = np.zeros(3), ring.ring()
    block = _note.bind(log, *arguments)
    assert block
    ring.post(calls, block, 0)
    ring.stop(calls)
    ring.serve(calls)
    result, (_, few), size = total(*arguments)
    assert log.tolist() == [float(each) for each in (result, few, size)]
    assert _note.bind(log, *arguments[:-1]) is None


def test_each_call_finds_the_entry_for_its_arguments() -> None:
    kernel = compiled()(total)
    for _ in range(2):
        for arguments in KINDS:
            assert kernel(*arguments) == total(*arguments)
    assert not by_numba(kernel)


@pytest.mark.parametrize(
    ("place", "value"),
    [(1, 1 << 63), (4, np.longlong(5)), (0, np.ones((2, 2)).view(np.matrix)), (5, ([1, 2], 3)), (0, [[1.0]])],
)
def test_what_no_entry_takes_is_as_with_numba_alone(place: int, value: Any) -> None:
    kernel = compiled()(total)
    assert kernel(*ARGUMENTS) == total(*ARGUMENTS)
    results = []
    for function in (kernel, kernel._by_numba):
        try:
            results.append(repr(function(*with_one(place, value))))
        except Exception as problem:  # noqa: BLE001
            results.append(type(problem).__name__)
    assert results[0] == results[1]
    assert kernel(*ARGUMENTS) == total(*ARGUMENTS)


def test_wrong_numbers_of_arguments_are_errors() -> None:
    kernel = compiled()(total)
    kernel(*ARGUMENTS)
    for arguments in ((), ARGUMENTS[:-1], (*ARGUMENTS, 1)):
        with pytest.raises(TypeError):
            kernel(*arguments)


@compiled()
def _checked(values, size):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    if size < 0:
        raise IndexError("a size below 0", 3)
    room = np.empty(size, np.uint8)
    room[:1] = 5
    values[0] = room[0]


def test_exceptions_are_those_of_the_function() -> None:
    values = np.zeros(3, np.int64)
    for _ in range(2):
        with pytest.raises(IndexError, match="a size below 0") as caught:
            _checked(values, -1)
        assert caught.value.args == ("a size below 0", 3)
        with pytest.raises(MemoryError):
            _checked(values, 1 << 60)
        _checked(values, 10)
        assert values[0] == 5
    assert not by_numba(_checked)


def test_rooms_of_compiled_functions_are_given_back() -> None:
    values = np.zeros(3, np.int64)
    _checked(values, 1 << 24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(200):
        _checked(values, 1 << 24)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000


def test_functions_around_others_are_not_taken_for_each_other() -> None:
    def adding(number: int) -> Kernel:
        @compiled()
        def add(x):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
            return x + number

        return add

    assert [adding(number)(10) for number in (1, 2)] == [11, 12]


def test_threads_may_make_the_first_call_together() -> None:
    kernel, results = compiled()(total), []
    threads = [threading.Thread(target=lambda: results.append(kernel(*ARGUMENTS))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [total(*ARGUMENTS)] * 8
    assert not by_numba(kernel)


def test_code_that_needs_more_than_the_process_has_is_left_to_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_address", lambda name: None if name == "Py_BuildValue" else 1)
    kernel = compiled()(total)
    assert kernel(*ARGUMENTS) == total(*ARGUMENTS)
    assert by_numba(kernel)


def test_other_platforms_are_left_to_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "USABLE", False)
    kernel = compiled()(total)
    assert kernel(*ARGUMENTS) == total(*ARGUMENTS)
    assert by_numba(kernel)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store."""
    monkeypatch.setenv(store.ENVIRONMENT, str(tmp_path))
    return tmp_path


def rescaled_anew() -> Kernel:
    """A kernel of the package, as in a new process."""
    return Kernel(rounding.rescaled.function, "exact.rounding.rescaled", {"nogil": True, "error_model": "numpy"})


NUMBERS = (np.float32(1000), np.float32(0.0625), np.float32(-100), np.float32(50))


def test_code_is_kept_and_found_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rescaled_anew()(*NUMBERS) == 50
    (path,) = folder.rglob("*.bin")
    monkeypatch.setattr(Kernel, "_compiled", None)  # no call of it gets through
    kernel = rescaled_anew()
    assert kernel(*NUMBERS) == 50
    assert not by_numba(kernel)
    assert path.stat().st_mode & 0o044


@pytest.mark.parametrize("damage", ["empty", "cut", "head", "flipped", "folder"])
def test_damaged_code_is_compiled_anew(folder: Path, damage: str) -> None:
    rescaled_anew()(*NUMBERS)
    (path,) = folder.rglob("*.bin")
    data = path.read_bytes()
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        at = {"flipped": len(data) // 2, "head": 20}.get(damage, 0)
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        path.write_bytes({"empty": b"", "cut": data[:-1]}.get(damage, flipped))
    damaged = path.stat().st_ino
    kernel = rescaled_anew()
    assert kernel(*NUMBERS) == 50
    assert not by_numba(kernel)
    assert damage == "folder" or path.stat().st_ino != damaged


def test_code_of_other_sources_or_arguments_is_not_taken(folder: Path) -> None:
    key, code = store.Key("exact.x", "sources", "int"), store.Code(["malloc"], b"code")
    store.write(key, code)
    assert store.read(key) == code
    assert store.read(key._replace(sources="others")) is None
    (path,) = folder.rglob("*.bin")
    other = key._replace(kinds="float")
    path.rename(folder / "pixcodec" / store._file(other))
    assert store.read(other) is None
    store.write(key, store.Code(["no such name in any process"], b"code"))
    assert store.read(key) is None


def test_a_store_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(store.ENVIRONMENT, str(tmp_path / "file"))
    kernel = rescaled_anew()
    assert kernel(*NUMBERS) == 50
    assert not by_numba(kernel)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"NUMBA_CPU_NAME": "generic"},
        {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"},
        {"NUMBA_CPU_NAME": "nocona"},
        {"NUMBA_ENABLE_AVX": "0"},
    ],
    ids=str,
)
def test_numba_compiles_for_the_processor_of_the_store(settings: dict[str, str]) -> None:
    script = (
        "from numba.core.registry import cpu_target as t; from pixcodec.exact import store\n"
        "assert tuple(t.target_context.codegen().magic_tuple()) == store.processor(); print(store.state())"
    )
    environment = {**os.environ, **settings, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)
    assert (done.stdout.strip() == store.state()) is (settings == {})


def test_the_store_does_not_grow_for_ever(folder: Path) -> None:
    for number in range(9):
        old = folder / "pixcodec" / f"kernels-{number}"
        old.mkdir(parents=True)
        os.utime(old, (number, number))
    store.write(store.Key("exact.x", "sources", "int"), store.Code([], b""))
    left = sorted(path.name for path in (folder / "pixcodec").iterdir())
    assert left == sorted([f"kernels-{store.state()}", *(f"kernels-{number}" for number in (6, 7, 8))])


@pytest.mark.parametrize("perturbed", [0, 255])
def test_a_process_that_has_used_entries_ends_well(perturbed: int) -> None:
    """Python looks into the definitions of functions when it gives them up; freed memory is overwritten here."""
    code = "import numpy as np\nfrom pixcodec.exact import ring\nring.post(ring.ring(), 0, 0)"
    environment = os.environ | {"PYTHONMALLOC": "malloc", "MALLOC_PERTURB_": str(perturbed)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@compiled()
def _with_a_list(count):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    return sum([k * k for k in range(count)])


def test_what_only_numba_can_run_is_compiled_for_an_entry_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def anew() -> Kernel:
        kernel = Kernel(_with_a_list.function, "exact.listed", {})
        monkeypatch.setattr(kernel, "_kept", True)
        monkeypatch.setattr(Kernel, "_sources", "none")
        return kernel

    assert anew()(5) == 30
    (path,) = folder.rglob("*.bin")
    assert path.stat().st_size < 1000
    monkeypatch.setattr(Kernel, "_compiled", None)
    kernel = anew()
    assert kernel(5) == 30
    assert by_numba(kernel)


WITHOUT_NUMBA = """
import sys
import pytest
if sys.argv[1] == "without":
    sys.modules["numba"] = None
chosen = "(decodes or written and not jpeg) and not reference"  # the search for a JPEG's levels needs numba's BLAS
sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-k", chosen, sys.argv[2]]))
"""


@pytest.mark.parametrize("how", ["with", "without"])
def test_golden_files_are_written_and_read_without_numba(how: str) -> None:
    """The first time what is not in the store is compiled, the second time nothing can be."""
    command = [sys.executable, "-c", WITHOUT_NUMBA, how, str(Path(__file__).parents[1] / "test_golden.py")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
