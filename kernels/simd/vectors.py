"""A small language for loops over vectors: read it as NumPy; Numba runs the same text once to write the instructions.

A function under @vector_code takes `vec` first and then what its caller hands over: flat numbers, and
arrays that are contiguous. It may say

    a.at(i, j)             the LANES neighbours that begin at a[i, j], as one vector
    a.all(i, j)            the number a[i, j] in all lanes; a[i, j] is the number itself
    a.put((i, j), value)   write a vector over the neighbours that begin at a[i, j]
    a.shaped(n, None)      a, which has n rows: so the processor need not be told at run time
    vec.total(start)       a sum that stays in a register; total.add(a, b) adds a * b, total.value is what it is now,
                           total.become(value) makes it another
    vec.range(n)           a loop of the processor: its body is written once and must not be left by break or return
    for k in some          a tuple of numbers that the caller made: its length is known, so the loop unrolls
    vec.where(c, a, b)     in each lane a or b;  vec.all(number), vec.byte(number): the same in all lanes
    vec.interleaved(a, b)  two vectors: the numbers a[0], b[0], a[1], b[1] ...
    + - * > == != >> & |   on numbers, on vectors lane by lane

while Python's own loops (over a list, over range) unroll: each turn writes its instructions. Called from a
compiled kernel the text writes LLVM's instructions; called from Python, or where nothing is compiled
(NUMBA_DISABLE_JIT=1, kernel.py_func), it computes by NumPy, and a debugger may walk through it. Both give the
same sums, but that the processor rounds a * b + c once and NumPy twice. Compiled, no index is checked.

What this leans on beside llvmlite.ir: Numba's low-level extension API (type_callable, lower_builtin,
create_struct_proxy), the names of an array's fields `data` and `shape`, and Numba's switches for the processor.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import lower_builtin, type_callable


def _processor() -> tuple[int, int]:
    """(float32 numbers in a vector register, such registers) of the processor that Numba compiles for."""
    if llvmlite.binding.get_default_triple().startswith(("aarch64", "arm64")):
        return 4, 32  # NEON
    named = getattr(config, "CPU_FEATURES", None)
    if named is not None:  # another processor than this one is meant
        has = set(named.split(","))
    else:
        has = {f"+{name}" for name, present in llvmlite.binding.get_host_cpu_features().items() if present}
    if not getattr(config, "ENABLE_AVX", True):
        return 4, 16
    return (16, 32) if "+avx512f" in has else (8, 16) if "+avx" in has else (4, 16)


LANES, REGISTERS = _processor()

F32, U8, I64, I32 = ir.FloatType(), ir.IntType(8), ir.IntType(64), ir.IntType(32)
KINDS = {types.float32: F32, types.uint8: U8, types.int64: I64}  # what arrays may hold
ALIGNED = {F32: 4, U8: 1, I64: 8}
WIDE = {kind: ir.VectorType(kind, LANES) for kind in (F32, U8)}


def _operator(whole: str, real: str | None = None, **options: str) -> Callable:
    """A method that writes this instruction of llvmlite, for whole numbers or for others."""

    def method(self, other):
        kind = self.without_plus.type
        other = other.llvm if isinstance(other, Value) else _constant(kind, other)
        name = whole if isinstance(getattr(kind, "element", kind), ir.IntType) else real
        return Value(self.builder, getattr(self.builder, name)(*options.values(), self.llvm, other))

    return method


class Value:
    """A number, or LANES of them, in the code that is being written; `plus` is a constant still to be added."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value, plus: int = 0):
        self.builder, self.without_plus, self.plus = builder, value, plus

    @property
    def llvm(self) -> ir.Value:
        """The value with its constant added."""
        value = self.without_plus
        return self.builder.add(value, value.type(self.plus)) if self.plus else value

    _added = _operator("add", "fadd")
    __sub__ = _operator("sub", "fsub")
    __mul__ = __rmul__ = _operator("mul", "fmul")
    __gt__ = _operator("icmp_signed", "fcmp_ordered", sign=">")
    __eq__ = _operator("icmp_signed", "fcmp_ordered", sign="==")
    __ne__ = _operator("icmp_signed", "fcmp_unordered", sign="!=")  # NaN differs from itself
    __rshift__, __and__, __or__ = _operator("lshr"), _operator("and_"), _operator("or_")

    def __add__(self, other: Any) -> "Value":
        if isinstance(other, int) and self.without_plus.type == I64:
            return Value(self.builder, self.without_plus, self.plus + other)
        return self._added(other)

    __radd__ = __add__


def _constant(kind, number):
    return ir.Constant(kind, [number] * LANES if isinstance(kind, ir.VectorType) else number)


def _all_lanes(builder, value):
    """A vector of LANES times this number."""
    none, lanes = ir.Constant(WIDE[value.type], ir.Undefined), ir.VectorType(I32, LANES)
    return builder.shuffle_vector(builder.insert_element(none, value, I32(0)), none, ir.Constant(lanes, None))


class Array:
    """A contiguous array of the code that is being written."""

    def __init__(self, builder: ir.IRBuilder, kind: ir.Type, data: ir.Value, shape: tuple[Value | int, ...]):
        self.builder, self.kind, self.data, self.shape = builder, kind, data, shape
        # How far apart in memory the neighbours along each axis are.
        self.pitches = [1]
        for size in shape[:0:-1]:
            self.pitches.insert(0, size * self.pitches[0])

    def shaped(self, *sizes: int | None) -> "Array":
        """This array, of which these sizes are known."""
        known = (shape if size is None else size for size, shape in zip(sizes, self.shape, strict=True))
        return Array(self.builder, self.kind, self.data, tuple(known))

    def _address(self, place, kind):
        offset, beside = Value(self.builder, I64(0)), Value(self.builder, I64(0))
        for index, pitch in zip(place if isinstance(place, tuple) else (place,), self.pitches, strict=True):
            if isinstance(index, Value):
                offset += Value(self.builder, index.without_plus) * pitch
                index = index.plus
            beside += pitch * index
        base = self.builder.gep(self.data, [offset.llvm])
        return self.builder.bitcast(self.builder.gep(base, [beside.llvm]), kind.as_pointer())

    def _load(self, place, kind):
        return self.builder.load(self._address(place, kind), align=ALIGNED[self.kind], typ=kind)

    def __getitem__(self, place: Any) -> Value:
        return Value(self.builder, self._load(place, self.kind))

    def all(self, *place: Any) -> Value:
        """The number at a place, in all lanes."""
        return Value(self.builder, _all_lanes(self.builder, self._load(place, self.kind)))

    def at(self, *place: Any) -> Value:
        """The LANES neighbours that begin at a place."""
        return Value(self.builder, self._load(place, WIDE[self.kind]))

    def put(self, place: Any, value: Any) -> None:
        """Write them."""
        self.builder.store(value.llvm, self._address(place, WIDE[self.kind]), align=ALIGNED[self.kind])


class Total:
    """A vector that LLVM keeps in a register from turn to turn of a loop, because its address is never taken."""

    def __init__(self, builder: ir.IRBuilder, start: ir.Value):
        self.builder, wide = builder, WIDE[F32]
        with builder.goto_entry_block():
            self.slot = builder.alloca(wide)
        builder.store(start, self.slot)
        # a * b + c, in one instruction where the processor has one
        name, kind = f"llvm.fmuladd.v{LANES}f32", ir.FunctionType(wide, [wide] * 3)
        self.fma = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)

    def add(self, a: Any, b: Any) -> None:
        """Add a * b."""
        self.builder.store(self.builder.call(self.fma, [a.llvm, b.llvm, self.value.llvm]), self.slot)

    def become(self, value: Any) -> None:
        """Be this from now on."""
        self.builder.store(value.llvm, self.slot)

    @property
    def value(self) -> Value:
        """What the sum is now."""
        return Value(self.builder, self.builder.load(self.slot, typ=WIDE[F32]))


class Writer:
    """`vec` where instructions are written."""

    def __init__(self, builder: ir.IRBuilder):
        self.builder = builder

    def range(self, start: Any, stop: Any = None) -> Iterator[Value]:
        """A loop of the processor."""
        first, last = (0, start) if stop is None else (start, stop)
        check, body, after = (self.builder.append_basic_block(name) for name in ("check", "body", "after"))
        before = self.builder.block
        self.builder.branch(check)
        self.builder.position_at_end(check)
        index = self.builder.phi(I64)
        index.add_incoming(self._number(first), before)
        self.builder.cbranch(self.builder.icmp_signed("<", index, self._number(last)), body, after)
        self.builder.position_at_end(body)
        yield Value(self.builder, index)  # here the loop of the text writes its body
        following = self.builder.add(index, I64(1))
        index.add_incoming(following, self.builder.block)
        self.builder.branch(check)
        self.builder.position_at_end(after)

    def _number(self, number):
        return number.llvm if isinstance(number, Value) else I64(number)

    def total(self, start: Any = None) -> Total:
        """A sum that begins at a vector, or at 0."""
        return Total(self.builder, _constant(WIDE[F32], 0) if start is None else start.llvm)

    def all(self, number: Any) -> Value:
        """A number in all lanes."""
        known = not isinstance(number, Value)
        return Value(self.builder, _constant(WIDE[F32], number) if known else _all_lanes(self.builder, number.llvm))

    def byte(self, number: Any) -> Value:
        """A constant in all lanes, as bytes."""
        return Value(self.builder, _constant(WIDE[U8], number))

    def where(self, condition: Value, a: Any, b: Any) -> Value:
        """In each lane a or b."""
        return Value(self.builder, self.builder.select(condition.llvm, a.llvm, b.llvm))

    def interleaved(self, a: Value, b: Value) -> list[Value]:
        """Two vectors of the numbers of a and b by turns."""
        turns, kind = [k // 2 + k % 2 * LANES for k in range(2 * LANES)], ir.VectorType(I32, LANES)
        orders = (ir.Constant(kind, some) for some in (turns[:LANES], turns[LANES:]))
        return [Value(self.builder, self.builder.shuffle_vector(a.llvm, b.llvm, order)) for order in orders]


def vector_code(text: Callable[..., None]) -> Callable[..., None]:
    """Decorator: a function of `vec` and its arguments, to be called without `vec` from kernels and from Python."""
    signature = inspect.signature(text)
    outside = signature.replace(parameters=list(signature.parameters.values())[1:])

    @functools.wraps(text)
    def by_numpy(*args, **kwargs):
        given = outside.bind(*args, **kwargs).args
        text(NumPyVectors, *(NumPyArray(value) if isinstance(value, np.ndarray) else value for value in given))

    vars(by_numpy)["__signature__"] = outside  # what help() shows

    @type_callable(by_numpy)
    def typing(context):
        def returns(*arguments):
            return types.void if all(map(_is_known, arguments)) else None

        vars(returns)["pysig"] = outside  # so that a kernel may name the arguments
        return returns

    @lower_builtin(by_numpy, types.VarArg(types.Any))
    def writing(context, builder, signature, args):
        pairs = zip(signature.args, args, strict=True)
        text(Writer(builder), *(_argument(context, builder, kind, value) for kind, value in pairs))
        return context.get_dummy_value()

    return by_numpy


def _is_known(kind) -> bool:
    """Whether vector code may be given this: a float32, a number of 64 bits, a tuple of such, a contiguous array."""
    if isinstance(kind, types.Array):
        return kind.layout == "C" and kind.dtype in KINDS
    if isinstance(kind, types.UniTuple):
        return kind.dtype == types.int64
    return kind in (types.float32, types.int64, types.uint64)


def _argument(context, builder, kind, value) -> Any:
    if isinstance(kind, types.UniTuple):
        return tuple(Value(builder, number) for number in cgutils.unpack_tuple(builder, value, kind.count))
    if not isinstance(kind, types.Array):
        return Value(builder, value)
    array, number = cgutils.create_struct_proxy(kind)(context, builder, value=value), KINDS[kind.dtype]
    shape = tuple(Value(builder, builder.extract_value(array.shape, axis)) for axis in range(kind.ndim))
    return Array(builder, number, builder.bitcast(array.data, number.as_pointer()), shape)


# ---- the same words by NumPy


class NumPyArray:
    """An array as Array has it, of which every index is checked."""

    def __init__(self, array: np.ndarray):
        self.array, self.shape = array, array.shape

    def shaped(self, *sizes: int | None) -> "NumPyArray":
        """This array. Raises ValueError for other sizes."""
        if len(sizes) != len(self.shape) or any(n not in (None, m) for n, m in zip(sizes, self.shape, strict=True)):
            raise ValueError(f"an array of shape {self.shape} where {sizes} was expected")
        return self

    def _neighbours(self, place):
        *outer, first = place
        if min(place) < 0 or first + LANES > self.shape[-1]:
            raise IndexError(f"{place}: no {LANES} neighbours there in an array of shape {self.shape}")
        return self.array[(*outer, slice(first, first + LANES))]

    def __getitem__(self, place: Any) -> Any:
        return self.array[place]

    def all(self, *place: Any) -> Any:
        """The number at a place."""
        return self.array[place]

    def at(self, *place: Any) -> np.ndarray:
        """The LANES neighbours that begin at a place. Raises IndexError beside the array."""
        return self._neighbours(place).copy()

    def put(self, place: Any, value: Any) -> None:
        """Write them."""
        self._neighbours(place)[:] = value


class NumPyTotal:
    """A sum as Total has it."""

    def __init__(self, start: Any):
        self.value = start

    def add(self, a: Any, b: Any) -> None:
        """Add a * b."""
        self.value = self.value + a * b

    def become(self, value: Any) -> None:
        """Be this from now on."""
        self.value = value


class NumPyVectors:
    """`vec` where the text computes."""

    range, where, all, byte = range, np.where, np.float32, np.uint8

    @staticmethod
    def interleaved(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Two vectors of the numbers of a and b by turns."""
        return np.stack([a, b], axis=1).reshape(2, LANES)

    @staticmethod
    def total(start: Any = None) -> NumPyTotal:
        """A sum that begins at a vector, or at 0."""
        return NumPyTotal(np.zeros(LANES, np.float32) if start is None else start)
