"""The exponential function of vectors, and what else a softmax needs."""

from __future__ import annotations

import math

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from hierlib._kernels.compiled.simd import Builder, Context, Lowered, Signature, Typing, Value, Values, Vector


@intrinsic
def maximum(typing: Typing, x: Vector, y: Vector) -> Lowered:
    """The larger of two numbers of any sign, in each lane; y where x is NaN."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return x(x, x), codegen


@intrinsic
def exponential(typing: Typing, x: Vector) -> Lowered:
    """e^x for x ≤ 0, to the last digit or two; zero where it leaves the range of normal numbers.

    x = n·log 2 + r with whole n and |r| ≤ log(2)/2: the series of e^r, then n is added to the exponent.
    """

    def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        digits, lowest, terms = (23, -87.0, 8) if x.dtype == types.float32 else (52, -708.0, 14)

        def constant(number: float) -> ir.Constant:
            return ir.Constant(x.llvm, [number] * x.lanes)

        def call(name: str, *operands: Value) -> Value:
            kind = ir.FunctionType(x.llvm, [x.llvm] * len(operands))
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"{name}.{x.suffix}"), operands)

        in_range = builder.fcmp_ordered(">", args[0], constant(lowest))
        at = builder.select(in_range, args[0], constant(lowest))  # not NaN: its whole part would be undefined
        n = call("llvm.rint", builder.fmul(at, constant(1 / math.log(2))))
        r = call("llvm.fmuladd", n, constant(-0.693145751953125), at)  # log 2 in two parts, the first without rounding
        r = call("llvm.fmuladd", n, constant(-1.42860682030941723212e-6), r)
        y = constant(1 / math.factorial(terms))
        for k in reversed(range(terms)):
            y = call("llvm.fmuladd", y, r, constant(1 / math.factorial(k)))
        power = builder.shl(builder.fptosi(n, x.llvm_int), x.constant(digits))
        y = builder.bitcast(builder.add(builder.bitcast(y, x.llvm_int), power), x.llvm)
        return builder.select(in_range, y, constant(0.0))

    return x(x), codegen
