"""Squares of numbers that change rows and columns on their way, for data whose symbols stand side by side in memory."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from hierlib._kernels.compiled.simd import (
    I32,
    I64,
    LINE,
    Builder,
    Context,
    Float,
    Integer,
    Lowered,
    Signature,
    Typing,
    Value,
    Values,
    Vector,
)


def _transposer(scattered: bool) -> Callable:
    """An intrinsic (real, rows, order, step, block, block_step): a square of numbers, as many each way as a line holds.

    Its rows stand at rows + order[i]·step, order being the address of int64, its columns at block + j·block_step.
    scattered: whether the rows are what is written, and not what is read.
    """

    @intrinsic
    def transpose(
        typing: Typing,
        real: Float,
        rows: Integer,
        order: Integer,
        step: Integer,
        block: Integer,
        block_step: Integer,
    ) -> Lowered:
        line = Vector(real, LINE)
        n, pointer = line.lanes, line.llvm.as_pointer()

        def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
            _, rows, order, step, block, block_step = args
            order = builder.inttoptr(order, I64.as_pointer())
            ends = [
                [
                    builder.add(rows, builder.mul(builder.load(builder.gep(order, [ir.Constant(I64, i)])), step))
                    for i in range(n)
                ],
                [builder.add(block, builder.mul(block_step, ir.Constant(I64, j))) for j in range(n)],
            ]
            sources, targets = reversed(ends) if scattered else ends
            x = [builder.load(builder.inttoptr(at, pointer), align=real.bitwidth // 8) for at in sources]
            half = n // 2
            while half:  # of each pair of rows so far apart, the squares off the diagonal change places
                low = [k if not k & half else n + k - half for k in range(n)]
                high = [k + half if not k & half else n + k for k in range(n)]
                for i in range(n):
                    if not i & half:
                        a, b = x[i], x[i + half]
                        masks = (ir.Constant(ir.VectorType(I32, n), mask) for mask in (low, high))
                        x[i], x[i + half] = (builder.shuffle_vector(a, b, mask) for mask in masks)
                half //= 2
            for row, at in zip(x, targets, strict=True):
                builder.store(row, builder.inttoptr(at, pointer), align=real.bitwidth // 8)
            return context.get_dummy_value()

        return types.void(real, *[types.intp] * 5), codegen

    return transpose


gather_transposed, scatter_transposed = _transposer(False), _transposer(True)
