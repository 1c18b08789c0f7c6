"""Vectors for numba: what the CPU kernel needs of SIMD, as a type whose lanes LLVM keeps in registers.

A vector is LANE_BYTES bytes of float32 or float64, one lane a datum. LLVM splits it into whatever registers the
machine has, so the same source serves AVX-512, AVX2 and NEON. Memory is addressed by plain integers, which cost
neither reference counts nor tests for negative indices; `real`, a number of the floating type, says which type.

How many bytes a vector has is a matter of speed alone. To try another width, set HIERLIB_LANE_BYTES in the environment
before the import, to a power of two from 64 on.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Sequence

import llvmlite.binding as llvm
from llvmlite import ir
from llvmlite.ir import IRBuilder as Builder
from llvmlite.ir import Value
from numba.core import cgutils, types
from numba.core.base import BaseContext as Context
from numba.core.datamodel import DataModelManager
from numba.core.types import Float, Integer, Type
from numba.core.typing import BaseContext as Typing
from numba.core.typing import Signature
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from hierlib._kernels.memory import ALIGNMENT
from hierlib._kernels.precision import spread

LINE = ALIGNMENT  # bytes of a cache line, to which the workspace and the results are aligned
# Of a line each; more at once hide latency.
REGISTERS = 4 if llvm.get_host_cpu_features().get("avx512f") else 1
LANE_BYTES = int(os.environ.get("HIERLIB_LANE_BYTES", REGISTERS * LINE))
Values = Sequence[Value]
Lowered = tuple[Signature, Callable[[Context, Builder, Signature, Values], Value]]  # what an intrinsic returns
I32, I64 = ir.IntType(32), ir.IntType(64)


class Vector(types.Type):
    """Bytes of a floating type: LANE_BYTES of them, or a cache line."""

    def __init__(self, dtype: Float, nbytes: int = LANE_BYTES) -> None:
        self.dtype = dtype
        self.lanes = nbytes * 8 // dtype.bitwidth
        super().__init__(f"Vector({dtype} x {self.lanes})")

    @property
    def llvm(self) -> ir.VectorType:
        return ir.VectorType(ir.FloatType() if self.dtype == types.float32 else ir.DoubleType(), self.lanes)

    @property
    def suffix(self) -> str:
        """Its name in the names of LLVM's functions."""
        return f"v{self.lanes}f{self.dtype.bitwidth}"

    def constant(self, bits: int) -> ir.Constant:
        """The same integer in every lane."""
        return ir.Constant(self.llvm_int, [bits] * self.lanes)

    @property
    def llvm_int(self) -> ir.VectorType:
        return ir.VectorType(ir.IntType(self.dtype.bitwidth), self.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: DataModelManager, vector: Vector) -> None:
        super().__init__(manager, vector, vector.llvm)


def _reader(
    result_of: Callable[[Float], Type], llvm_type: Callable[[Float], ir.Type], align: Callable[[Float], int]
) -> Callable:
    """An intrinsic (real, address) → what stands there."""

    @intrinsic
    def read(typing: Typing, real: Float, address: Integer) -> Lowered:
        result = result_of(real)

        def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
            pointer = builder.inttoptr(args[1], llvm_type(real).as_pointer())
            return builder.load(pointer, align=align(real))

        return result(real, types.intp), codegen

    return read


def _doubles(vector: Vector) -> Vector:
    return Vector(types.float64, 8 * vector.lanes)


def _scalar(real: Float) -> ir.Type:
    return Vector(real).llvm.element


def _bytes(real: Float) -> int:
    return real.bitwidth // 8


load = _reader(Vector, lambda real: Vector(real).llvm, lambda real: LINE)  # aligned, as the workspace is
load_anywhere = _reader(Vector, lambda real: Vector(real).llvm, _bytes)
get = _reader(lambda real: real, _scalar, _bytes)
load_line = _reader(lambda real: Vector(real, LINE), lambda real: Vector(real, LINE).llvm, lambda real: LINE)
load_doubles = _reader(  # as many as a line has numbers
    lambda real: _doubles(Vector(real, LINE)), lambda real: _doubles(Vector(real, LINE)).llvm, lambda real: 8
)


def _integer_reader(bits: int) -> Callable:
    @intrinsic
    def read(typing: Typing, address: Integer, i: Integer) -> Lowered:
        def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
            pointer = builder.gep(builder.inttoptr(args[0], ir.IntType(bits).as_pointer()), [args[1]])
            return builder.zext(builder.load(pointer), I64) if bits < 64 else builder.load(pointer)

        return types.intp(types.intp, types.intp), codegen

    return read


offset_at = _integer_reader(32)  # the i-th number of a uint32 table at an address
int_at = _integer_reader(64)


@intrinsic
def two_offsets_at(typing: Typing, address: Integer) -> Lowered:
    """Two numbers of a uint32 table, in one load."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        both = builder.load(builder.inttoptr(args[0], I64.as_pointer()), align=4)
        ends = builder.and_(both, ir.Constant(I64, 2**32 - 1)), builder.lshr(both, ir.Constant(I64, 32))
        return context.make_tuple(builder, signature.return_type, ends)

    return types.UniTuple(types.intp, 2)(types.intp), codegen


@intrinsic
def put(typing: Typing, address: Integer, x: Type) -> Lowered:
    """Write a number or a vector, aligned to its elements."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        pointer = builder.inttoptr(args[0], args[1].type.as_pointer())
        builder.store(args[1], pointer, align=8 if isinstance(x, types.Integer) else _bytes(getattr(x, "dtype", x)))
        return context.get_dummy_value()

    return types.void(types.intp, x), codegen


@intrinsic
def stream(typing: Typing, address: Integer, x: Vector) -> Lowered:
    """Write a vector to an aligned address, past the caches: nothing here will read it again."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        pointer = builder.inttoptr(args[0], args[1].type.as_pointer())
        written = builder.store(args[1], pointer, align=LINE)
        written.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(I32, 1)]))
        return context.get_dummy_value()

    return types.void(types.intp, x), codegen


@intrinsic
def prefetch(typing: Typing, address: Integer) -> Lowered:
    """Begin to fetch the vector at an address to the cache."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        for line in range(0, LANE_BYTES, LINE):
            pointer = builder.inttoptr(builder.add(args[0], ir.Constant(I64, line)), byte)
            builder.call(function, [pointer, *(ir.Constant(I32, x) for x in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(types.intp), codegen


def _first_lanes(builder: Builder, vector: Vector, count: Value) -> Value:
    """One bit a lane: set for the first ones."""
    index = ir.VectorType(I32, vector.lanes)
    one = builder.insert_element(ir.Constant(index, ir.Undefined), builder.trunc(count, I32), ir.Constant(I32, 0))
    counts = builder.shuffle_vector(one, ir.Constant(index, ir.Undefined), ir.Constant(index, None))
    return builder.icmp_signed("<", ir.Constant(index, list(range(vector.lanes))), counts)


@intrinsic
def load_some(typing: Typing, real: Float, address: Integer, count: Integer, other: Vector) -> Lowered:
    """The first lanes of the vector at an address, and the other lanes of `other`: only those are read."""
    vector, bits = other, ir.VectorType(ir.IntType(1), other.lanes)

    def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        pointer = builder.inttoptr(args[1], vector.llvm.as_pointer())
        kind = ir.FunctionType(vector.llvm, [pointer.type, I32, bits, vector.llvm])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.{vector.suffix}.p0")
        mask = _first_lanes(builder, vector, args[2])
        return builder.call(function, [pointer, ir.Constant(I32, _bytes(real)), mask, args[3]])

    return vector(real, types.intp, types.intp, vector), codegen


@intrinsic
def put_some(typing: Typing, address: Integer, x: Vector, count: Integer) -> Lowered:
    """Write the first lanes of x to an address."""
    bits = ir.VectorType(ir.IntType(1), x.lanes)

    def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        pointer = builder.inttoptr(args[0], x.llvm.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [x.llvm, pointer.type, I32, bits])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.store.{x.suffix}.p0")
        mask = _first_lanes(builder, x, args[2])
        builder.call(function, [args[1], pointer, ir.Constant(I32, _bytes(x.dtype)), mask])
        return context.get_dummy_value()

    return types.void(types.intp, x, types.intp), codegen


@intrinsic
def rounded(typing: Typing, real: Float, x: Float) -> Lowered:
    """A number of the floating type."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        return context.cast(builder, args[1], x, real)

    return real(real, x), codegen


@intrinsic
def itemsize(typing: Typing, real: Float) -> Lowered:
    """Bytes of a number."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        return ir.Constant(I64, _bytes(real))

    return types.intp(real), codegen


def _splat(nbytes: int) -> Callable:
    """An intrinsic (real, x) → a vector of so many bytes with the number x in every lane."""

    @intrinsic
    def repeat(typing: Typing, real: Float, x: types.Number) -> Lowered:
        def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
            number = context.cast(builder, args[1], x, real)
            kind = signature.return_type.llvm
            one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(I32, 0))
            zeros = ir.Constant(ir.VectorType(I32, kind.count), None)
            return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)

        return Vector(real, nbytes)(real, x), codegen

    return repeat


splat, splat_line = _splat(LANE_BYTES), _splat(LINE)


def _operator(symbol: Callable, instruction: str) -> None:
    @infer_global(symbol)
    class Typing(AbstractTemplate):
        def generic(self, args: tuple[Type, ...], kws: dict[str, Type]) -> Signature | None:
            if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
                return signature(args[0], *args)
            return None

    @lower_builtin(symbol, Vector, Vector)
    def lower(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        return getattr(builder, instruction)(*args)


_operator(operator.add, "fadd")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")


@intrinsic
def fma(typing: Typing, x: Vector, y: Vector, z: Vector) -> Lowered:
    """x·y + z, in one instruction where there is one."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        name = f"llvm.fmuladd.{x.suffix}"
        kind = ir.FunctionType(x.llvm, [x.llvm] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)

    return x(x, x, x), codegen


def _extreme(order: str) -> Callable:
    @intrinsic
    def apply(typing: Typing, x: Vector, y: Vector) -> Lowered:
        def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
            a, b = (builder.bitcast(arg, x.llvm_int) for arg in args)
            return builder.bitcast(builder.select(builder.icmp_unsigned(order, a, b), a, b), x.llvm)

        return x(x, x), codegen

    return apply


# Compared as unsigned integers, non-negative floats keep their order, and infinity, NaN and all negative numbers
# are larger than every finite number: one maximum finds the scale and what is no evidence.
largest = _extreme(">")
smallest = _extreme("<")


@intrinsic
def power_of_two(typing: Typing, x: Vector) -> Lowered:
    """The largest power of two up to x, in each lane, but at most an eighth of the largest there is."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        digits, top = (23, 252) if x.dtype == types.float32 else (52, 2044)
        bits = builder.and_(builder.bitcast(args[0], x.llvm_int), x.constant(top + 3 << digits))
        cap = x.constant(top << digits)
        return builder.bitcast(builder.select(builder.icmp_unsigned("<", bits, cap), bits, cap), x.llvm)

    return x(x), codegen


@intrinsic
def inverse_power(typing: Typing, x: Vector) -> Lowered:
    """A power of two between 1/x and 2/x, in each lane, of a positive normal x; 0 where that is too small."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        digits, one = (23, 127) if x.dtype == types.float32 else (52, 1023)
        exponent = builder.and_(builder.bitcast(args[0], x.llvm_int), x.constant(2 * one + 1 << digits))
        return builder.bitcast(builder.sub(x.constant(2 * one << digits), exponent), x.llvm)

    return x(x), codegen


def _is_moderate(builder: Builder, family: types.UniTuple, vector: Vector, x: Value) -> Value:
    """One bit a lane: set where it lies between 2^-n and 2^n, where n is `spread` of as many as are in the family."""
    near, (digits, one) = spread(family.count), (23, 127) if vector.dtype == types.float32 else (52, 1023)
    bits = builder.bitcast(x, vector.llvm_int)
    low = builder.icmp_unsigned(">=", bits, vector.constant(one - near << digits))
    high = builder.icmp_unsigned("<=", bits, vector.constant(one + near << digits))
    return builder.and_(low, high)


@intrinsic
def moderate(typing: Typing, family: types.UniTuple, x: Vector) -> Lowered:
    """Whether every lane is moderate, as `_is_moderate` says."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        lanes = ir.IntType(x.lanes)
        bits = builder.bitcast(_is_moderate(builder, family, x, args[1]), lanes)
        return builder.icmp_unsigned("==", bits, ir.Constant(lanes, -1))

    return types.boolean(family, x), codegen


@intrinsic
def where_moderate(typing: Typing, family: types.UniTuple, x: Vector, yes: Vector, no: Vector) -> Lowered:
    """The lanes of one vector where x is moderate, those of another elsewhere."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        return builder.select(_is_moderate(builder, family, x, args[1]), args[2], args[3])

    return x(family, x, x, x), codegen


@intrinsic
def multiply_log(typing: Typing, mantissa: Integer, exponent: Integer, x: Vector) -> Lowered:
    """Multiply running products, float64 in [1, 2) and int64 powers of two at two addresses, by the lanes of x > 0."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        wide = _doubles(x)
        m_at = builder.inttoptr(args[0], wide.llvm.as_pointer())
        e_at = builder.inttoptr(args[1], wide.llvm_int.as_pointer())
        m, e = builder.load(m_at, align=8), builder.load(e_at, align=8)
        for result, there in zip(_multiplied(builder, x, m, e, args[2]), (m_at, e_at), strict=True):
            builder.store(result, there, align=8)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, x), codegen


@intrinsic
def multiplied(typing: Typing, mantissa: Vector, exponent: Vector, x: Vector) -> Lowered:
    """What `multiply_log` makes of products that are no longer in memory; the integers pass as the bits of doubles."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        m, e, factor = args
        m, e = _multiplied(builder, x, m, builder.bitcast(e, mantissa.llvm_int), factor)
        return context.make_tuple(builder, signature.return_type, (m, builder.bitcast(e, mantissa.llvm)))

    return types.UniTuple(mantissa, 2)(mantissa, mantissa, x), codegen


def _multiplied(builder: Builder, vector: Vector, mantissa: Value, exponent: Value, x: Value) -> tuple[Value, Value]:
    wide = _doubles(vector)
    factor = x if vector.dtype == types.float64 else builder.fpext(x, wide.llvm)
    bits = builder.bitcast(builder.fmul(mantissa, factor), wide.llvm_int)
    power = builder.sub(builder.lshr(bits, wide.constant(52)), wide.constant(1023))
    fraction = builder.or_(builder.and_(bits, wide.constant(2**52 - 1)), wide.constant(1023 << 52))
    return builder.bitcast(fraction, wide.llvm), builder.add(exponent, power)
