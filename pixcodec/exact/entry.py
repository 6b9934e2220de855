"""Machine code of a function that numba compiles, with entries that Python calls: it needs numba, its code does not.

An entry is emitted for the kinds of some arguments.  It looks into Python's and NumPy's objects where they lie
(`store`), makes numba's values of them, releases Python's lock while the function runs, and makes an object of what it
returns.  Arguments of other kinds go to another function, which is the first item of the entry's `self`; behind it are
the one that raises exceptions, and the classes that arguments must have.  A second entry only binds arguments to the
function, for another thread to call it (`ring`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import _FunctionCompiler  # type: ignore[attr-defined]
from numba.core.registry import cpu_target

from pixcodec.exact import store
from pixcodec.exact.emit import I8, I32, I64, Value

F64 = ir.DoubleType()
C_ORDER, F_ORDER, ALIGNED, WRITEABLE = 1, 2, 0x100, 0x400  # flags of NumPy's arrays
WORD = 8
FIRST_CLASS = 2  # in `self`
HEADER = 5 * WORD  # of what numba allocates: references, destructor, its argument, data, size
LARGEST = 1 << 62  # bytes: what is asked for beyond is not there
ELF_SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
)


class _OnlyFunction(_FunctionCompiler):  # type: ignore[misc]
    """Makes no wrappers, and no machine code as yet."""

    def _customize_flags(self, flags: Any) -> Any:
        flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
        flags.enable_pyobject = False
        return flags


def compiled_code(dispatcher: Any, arguments: tuple[Any, ...], symbol: str) -> tuple[store.Code, tuple[Any, ...]]:
    """Code of a function for arguments like these, and numba's types of them.

    Args:
        dispatcher: the function as numba's ``njit`` has it.
        arguments: see `store.describe`.
        symbol: the entry's name.

    Raises:
        OSError: numba compiles for another processor than `store` thinks, as it was used before; that says nothing
            about the function.
        NotImplementedError: it returns what an entry cannot make, or needs what only numba has (lists, BLAS) or only
            this process (addresses).
    """
    with global_compiler_lock:
        if tuple(cpu_target.target_context.codegen().magic_tuple()) != store.processor():
            raise OSError("numba's settings are not those of the environment")
        cpu_target.target_context.refresh()
        cpu_target.typing_context.refresh()
        kinds = tuple(dispatcher.typeof_pyval(each) for each in arguments)
        options = dispatcher.targetoptions
        compiler = _OnlyFunction(dispatcher.py_func, cpu_target, options, {}, pipeline_class=Compiler)
        result = compiler.compile(kinds, None)
        library = result.library
        module = library.create_ir_module(symbol)
        _Entry(cpu_target.target_context, module, symbol, result.fndesc).emit(arguments)
        _Entry(cpu_target.target_context, module, store.of_bound(symbol), result.fndesc).emit_bound(arguments)
        library.add_ir_module(module)
        elf = store.machine().emit_object(_linked(library, symbol))
    symbols = undefined(elf)
    if lost := store.missing(symbols):
        raise NotImplementedError(f"only numba has {', '.join(lost)}")
    return store.Code(symbols, elf), kinds


def _linked(library: Any, symbol: str) -> Any:
    """Numba's module with all that it needs, optimised by numba's passes; only the entries can be seen from outside."""
    module = library._final_module  # noqa: SLF001  what `library.finalize` does, but for the machine code
    for other in library._linking_libraries:  # noqa: SLF001
        module.link_in(other._get_module_for_linking(), preserve=True)  # noqa: SLF001
    library._optimize_final_module()  # noqa: SLF001
    module = library._final_module  # noqa: SLF001
    module.link_in(llvm.parse_assembly(str(_runtime(library.create_ir_module("runtime")))))
    for each in (*module.functions, *module.global_variables):
        seen = {symbol, store.of_bound(symbol)}
        if not each.is_declaration and each.name not in seen and not each.name.startswith("llvm."):
            each.linkage = "internal"
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    passes.run(module, llvm.create_pass_builder(store.machine(), options))
    if any(each.name.startswith("numba.dynamic.globals") for each in module.global_variables):
        raise NotImplementedError("the code holds addresses of this process")
    module.verify()
    return module


def undefined(elf: bytes) -> list[str]:
    """The names that an ELF object takes from elsewhere."""
    sections = {each.name(): each.data() for each in llvm.ObjectFileRef.from_data(elf).sections()}
    names = sections[b".strtab"]
    found = np.frombuffer(sections[b".symtab"], ELF_SYMBOL)
    places = found["name"][(found["section"] == 0) & (found["name"] != 0)]
    return sorted(names[place : names.index(b"\0", place)].decode() for place in places)


def _runtime(module: ir.Module) -> ir.Module:
    """What arrays inside of compiled functions need: numba's allocation, by the C library alone."""
    word = [I64]
    allocate = ir.Function(module, ir.FunctionType(I64, word), "malloc")
    release = ir.Function(module, ir.FunctionType(ir.VoidType(), word), "free")

    make = ir.Function(module, ir.FunctionType(I64, [I64, I32]), "NRT_MemInfo_alloc_aligned")
    builder = ir.IRBuilder(make.append_basic_block())
    size, align = (Value(builder, each) for each in make.args)
    align = align.to(I64, signed=False)
    whole = (size + align + HEADER).where(Value(builder, builder.icmp_unsigned("<", size.value, I64(LARGEST))), -1)
    start = Value(builder, builder.call(allocate, [whole.value]))
    with builder.if_then(start.equals(0).value):
        builder.ret(I64(0))
    data = (start + HEADER + align - 1) & (align * -1)
    for k, value in enumerate((start.of(1), start.of(0), start.of(0), data, size)):
        (start + WORD * k).store(value, WORD)
    builder.ret(start.value)

    drop = ir.Function(module, ir.FunctionType(ir.VoidType(), word), "NRT_MemInfo_call_dtor")
    builder = ir.IRBuilder(drop.append_basic_block())
    builder.call(release, drop.args)
    builder.ret_void()
    return module


class _Entry:
    """``PyObject *entry(PyObject *self, PyObject *const *arguments, Py_ssize_t count)``; addresses are integers."""

    def __init__(self, context: Any, module: ir.Module, symbol: str, function: Any) -> None:
        self.context, self.module, self.described = context, module, function
        self.entry = ir.Function(module, ir.FunctionType(I64, [I64] * 3), symbol)
        self.builder = ir.IRBuilder(self.entry.append_basic_block())
        self.refused = self.entry.append_basic_block()
        own, self.arguments, self.count = (Value(self.builder, each) for each in self.entry.args)
        self.items = own + store.ITEMS
        self.classes = 0  # so many nodes were looked at

    def emit(self, arguments: tuple[Any, ...]) -> None:
        """All of it, for arguments like these."""
        b, result_kind = self.builder, self.described.restype
        values = self.natives(arguments)
        thread = self.call("PyEval_SaveThread")
        status, result = self.run(b, values)
        self.call("PyEval_RestoreThread", thread, result=ir.VoidType())
        with b.if_then(status.is_error, likely=False):
            with b.if_then(status.is_python_exc):
                b.ret(I64(0))
            problem = b.load(status.excinfoptr)
            text, size = (b.extract_value(problem, k) for k in range(2))
            pickled = self.call("PyBytes_FromStringAndSize", Value(b, b.ptrtoint(text, I64)), Value(b, size).to(I64))
            b.ret(self.python((self.items + WORD).load(I64), [pickled]).value)
        form, parts = self.boxed(result, result_kind)
        built = ir.FunctionType(I64, [cgutils.voidptr_t], var_arg=True)
        build = cgutils.get_or_insert_function(self.module, built, "Py_BuildValue")
        b.ret(b.call(build, [self.context.insert_const_string(self.module, form), *parts]))
        b.position_at_end(self.refused)
        b.ret(self.refuse().value)

    def emit_bound(self, arguments: tuple[Any, ...]) -> None:
        """The same, but a call is not made: its arguments go to a block of memory, whose address is returned.

        At its start is the address of a function that takes the block's, makes the call, gives the block back unless
        the next word says that it is kept, and returns 1 where the call has failed, else 0.  It needs neither Python
        nor its lock.  Then come the arguments: the first ones, if they are ints, a word each.
        """
        b, values = self.builder, self.natives(arguments)
        kind = ir.LiteralStructType([I64, I64, *(value.type for value in values)])
        run = ir.Function(self.module, ir.FunctionType(I64, [I64]), f"{self.entry.name}_run")
        block = self.call("malloc", self.count.of(self.context.get_abi_sizeof(kind)))
        with b.if_then(block.equals(0).value, likely=False):
            b.ret(self.call("PyErr_NoMemory").value)
        for k, value in enumerate((b.ptrtoint(run, I64), I64(0), *values)):
            b.store(value, b.gep(b.inttoptr(block.value, kind.as_pointer()), [I32(0), I32(k)]))
        b.ret(self.call("PyLong_FromLongLong", block).value)
        b.position_at_end(self.refused)
        b.ret(self.refuse().value)
        b = ir.IRBuilder(run.append_basic_block())
        own = b.inttoptr(run.args[0], kind.as_pointer())
        status, _ = self.run(b, [b.load(b.gep(own, [I32(0), I32(k + 2)])) for k in range(len(values))])
        release = cgutils.get_or_insert_function(self.module, ir.FunctionType(ir.VoidType(), [I64]), "free")
        with b.if_then(Value(b, b.load(b.gep(own, [I32(0), I32(1)]))).equals(0).value):
            b.call(release, run.args)
        b.ret(b.zext(status.is_error, I64))

    def natives(self, arguments: tuple[Any, ...]) -> list[ir.Value]:
        """Numba's values of the arguments of a call, which must be like these."""
        self.demand(self.count.equals(len(arguments)))
        return [
            self.native((self.arguments + WORD * k).load(I64), value, kind)
            for k, (value, kind) in enumerate(zip(arguments, self.described.argtypes, strict=True))
        ]

    def run(self, builder: ir.IRBuilder, values: list[ir.Value]) -> Any:
        """Status and result of the function."""
        kinds, result, convention = self.described.argtypes, self.described.restype, self.context.call_conv
        kind = convention.get_function_type(result, kinds)
        function = cgutils.get_or_insert_function(self.module, kind, self.described.llvm_func_name)
        return convention.call_function(builder, function, result, kinds, values, attrs=("noinline",))

    def refuse(self) -> Value:
        """The other function's result of all arguments, however many they are."""
        b = self.builder
        every = self.call("PyTuple_New", self.count)
        with b.if_then(every.equals(0).value):
            b.ret(I64(0))
        with cgutils.for_range(b, self.count.value, intp=I64) as step:
            each = (self.arguments + Value(b, step.index) * WORD).load(I64)
            self.call("Py_IncRef", each, result=ir.VoidType())
            self.call("PyTuple_SetItem", every, Value(b, step.index), each, result=I32)
        result = self.call("PyObject_Call", self.items.load(I64), every, self.count.of(0))
        self.call("Py_DecRef", every, result=ir.VoidType())
        return result

    def python(self, function: Value, arguments: list[Value]) -> Value:
        """The result of a function of Python, which takes the references to its arguments; 0 where one is 0."""
        b = self.builder
        every = self.call("PyTuple_New", self.count.of(len(arguments)))
        for k, each in enumerate(arguments):
            with b.if_then((every.equals(0) | each.equals(0)).value):
                b.ret(I64(0))
            self.call("PyTuple_SetItem", every, self.count.of(k), each, result=I32)
        result = self.call("PyObject_Call", function, every, self.count.of(0))
        self.call("Py_DecRef", every, result=ir.VoidType())
        return result

    def call(self, name: str, *arguments: Value, result: ir.Type = I64) -> Value:
        """A function of Python's interface by its name."""
        kind = ir.FunctionType(result, [each.type for each in arguments])
        function = cgutils.get_or_insert_function(self.module, kind, name)
        return Value(self.builder, self.builder.call(function, [each.value for each in arguments]))

    def demand(self, condition: Value) -> None:
        """Go on only with this."""
        go_on = self.entry.append_basic_block()
        self.builder.cbranch(condition.value, go_on, self.refused)
        self.builder.position_at_end(go_on)

    def native(self, place: Value, value: Any, kind: Any) -> ir.Value:
        """Numba's value of the object at an address, which must be of the kind of `value`."""
        own = (self.items + WORD * (FIRST_CLASS + self.classes)).load(I64)
        self.classes += 1
        self.demand(own.equals((place + store.TYPE).load(I64)))
        if isinstance(value, np.ndarray):
            return self.array(place, kind, value.dtype)
        if isinstance(value, tuple):
            self.demand((place + store.SIZE).load(I64).equals(len(value)))
            places = [(place + (store.ITEMS + WORD * k)).load(I64) for k in range(len(value))]
            parts = [self.native(*each) for each in zip(places, value, kind, strict=True)]
            return self.context.make_tuple(self.builder, kind, parts)
        if value is None:
            return self.context.get_dummy_value()
        if isinstance(value, np.generic):
            stored = self.context.get_data_type(kind)
            return self.context.data_model_manager[kind].from_data(
                self.builder, (place + store.SCALAR).load(stored).value
            )
        return self.number(place, value)

    def number(self, place: Value, value: Any) -> ir.Value:
        """One of Python's."""
        b = self.builder
        if isinstance(value, bool):
            return place.equals(self.address("_Py_TrueStruct")).value
        if isinstance(value, float):
            return self.call("PyFloat_AsDouble", place, result=F64).value
        found = self.call("PyLong_AsLongLong", place)
        with b.if_then(found.equals(-1).value, likely=False):
            problem = self.call("PyErr_Occurred")
            with b.if_then((problem > 0).value):
                self.call("PyErr_Clear", result=ir.VoidType())
                b.branch(self.refused)
        return found.value

    def address(self, name: str) -> Value:
        """Where one of Python's objects lies."""
        known = self.module.globals.get(name)
        if known is None:
            known = ir.GlobalVariable(self.module, I8, name)
        return Value(self.builder, self.builder.ptrtoint(known, I64))

    def array(self, place: Value, kind: Any, dtype: np.dtype) -> ir.Value:
        """An array of this type."""
        b, size = self.builder, kind.ndim
        order = {"C": C_ORDER, "F": F_ORDER, "A": 0}[kind.layout]
        asked = (C_ORDER if kind.layout == "C" else C_ORDER | F_ORDER) | ALIGNED | WRITEABLE
        flags = (place + store.FLAGS).load(I32) & asked
        description = (place + store.DESCRIPTION).load(I64)
        self.demand(
            flags.equals(order | ALIGNED | (WRITEABLE if kind.mutable else 0))
            & (place + store.DIMENSIONS).load(I32).equals(size)
            & (description + store.NUMBER).load(I32).equals(dtype.num)
            & (description + store.BYTE_ORDER).load(I8).equals(ord(dtype.byteorder))
        )
        shape, strides = (
            [((place + where).load(I64) + WORD * k).load(I64) for k in range(size)]
            for where in (store.SHAPE, store.STRIDES)
        )
        count = shape[0]
        for each in shape[1:]:
            count = count * each
        array = self.context.make_array(kind)(self.context, b)
        array.meminfo, array.parent = (cgutils.get_null_value(each.type) for each in (array.meminfo, array.parent))
        array.nitems, array.itemsize = count.value, ir.Constant(array.itemsize.type, dtype.itemsize)
        array.data = b.inttoptr((place + store.DATA).load(I64).value, array.data.type)
        array.shape, array.strides = (cgutils.pack_array(b, [each.value for each in of]) for of in (shape, strides))
        return array._getvalue()  # noqa: SLF001  so does numba everywhere

    def boxed(self, value: ir.Value, kind: Any) -> tuple[str, list[ir.Value]]:
        """The form of a result and its parts, as ``Py_BuildValue`` takes them."""
        b = self.builder
        if kind == types.none:
            return "", []
        if isinstance(kind, types.BaseTuple):
            if len(kind) == 0 or isinstance(kind, types.BaseNamedTuple):
                raise NotImplementedError(str(kind))
            each = [self.boxed(b.extract_value(value, k), own) for k, own in enumerate(kind)]
            return f"({''.join(form for form, _ in each)})", [part for _, parts in each for part in parts]
        if isinstance(kind, types.Boolean):
            yes, no = self.address("_Py_TrueStruct"), self.address("_Py_FalseStruct")
            return "O", [b.select(value, yes.value, no.value)]
        if isinstance(kind, types.Integer):
            return ("L" if kind.signed else "K"), [Value(b, value).to(I64, signed=kind.signed).value]
        if isinstance(kind, types.Float):
            return "d", [value if value.type == F64 else b.fpext(value, F64)]
        raise NotImplementedError(str(kind))
