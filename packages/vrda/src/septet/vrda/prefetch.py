"""Ask the processor for memory before it is read, where it cannot guess: short rows in random order, hash tables."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from septet.compiled import compiled


def _code(typing_context: Any, array: Any, at: Any) -> Any:
    """Machine code that asks for the cache line of ``array[at]``; a hint, which reads nothing and changes nothing."""
    insert: Any = cgutils.get_or_insert_function

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = insert(builder.module, kind, "llvm.prefetch.p0i8")
        read, keep, of_data = (ir.Constant(number, value) for value in (0, 3, 1))
        address = builder.bitcast(builder.gep(data, [args[1]]), byte)
        builder.call(function, [address, read, keep, of_data])
        return context.get_dummy_value()

    return types.void(array, types.uint64), generate


prefetch: Any = intrinsic(_code)
"""``prefetch(array, at)`` for use in compiled code."""


@compiled()
def prefetch_row(row: int, indptr: Any, indices: Any, data: Any) -> None:
    """Ask for a sparse row: one request for each cache line of 64 bytes."""
    a, b = np.uint64(indptr[row]), np.uint64(indptr[row + 1])
    for p in range(a, b, np.uint64(64 // indices.itemsize)):
        prefetch(indices, p)
    for p in range(a, b, np.uint64(64 // data.itemsize)):
        prefetch(data, p)
