"""Vectors of 64 bytes (or a half) in Numba: one lane a sample, 16 in float32 and 8 in float64.

A *row* is one real number of all samples of a tile. ``load(array, r)`` reads row ``r``, that is the lanes
``array[r * T : (r + 1) * T]``. Python's ``+ - *`` on rows become vector instructions (contracted to fused
multiply-adds, otherwise IEEE: NaN and infinities pass through). LLVM splits them where registers are
narrower, so nothing here depends on the machine.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped, unused-ignore]
from numba import extending
from numba.core import cgutils, types
from numba.core.typing import templates
from numba.core.typing.templates import AbstractTemplate

from qhq.engine.kernels.jit import intrinsic

_extend: Any = extending
_templates: Any = templates
_codegen: Any = cgutils
# Any: Numba is typed in part.

ROW_BYTES = 64
"""Of a row in an array of one dimension; each dimension more halves it. Shapes say nothing else here."""
# The only one of LLVM's fast-math flags: with ``nnan`` or ``ninf`` a NaN would no longer reach the loss.
_FUSED = ("contract",)


class _RowType(types.Type):  # type: ignore[misc, unused-ignore]  # Numba may be untyped
    """The Numba type of a row of an array, by its element and its number of dimensions."""

    def __init__(self, array: Any) -> None:
        self.element = array.dtype
        self.bytes = ROW_BYTES >> (array.ndim - 1)
        self.count = self.bytes * 8 // self.element.bitwidth
        super().__init__(name=f"Row({self.element}, {self.count})")


def _model(manager: Any, row: _RowType) -> Any:
    element = manager[row.element].get_value_type()
    return _extend.models.PrimitiveModel(manager, row, ir.VectorType(element, row.count))


_extend.register_model(_RowType)(_model)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, step: int) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [builder.mul(index, ir.Constant(index.type, step))])


def _spread(builder: Any, value: Any, count: int) -> Any:
    vector = ir.VectorType(value.type, count)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


@intrinsic
def load(_typing: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
    """``load(array, r)``: row ``r``."""
    row = _RowType(array)

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, array, args[0], args[1], row.count)
        vector = ir.VectorType(context.get_value_type(row.element), row.count)
        # The alignment is a promise: with it LLVM picks the aligned move, which faults on any other address.
        return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=row.bytes)

    return row(array, types.int64), generate


@intrinsic
def store(_typing: Any, array: Any, index: Any, row: Any) -> Any:  # noqa: ARG001
    """``store(array, r, row)``."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, array, args[0], args[1], row.count)
        builder.store(args[2], builder.bitcast(pointer, args[2].type.as_pointer()), align=row.bytes)
        return context.get_dummy_value()

    return types.void(array, types.int64, row), generate


@intrinsic
def spread(_typing: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
    """``spread(array, k)``: a row whose lanes are all ``array[k]``."""
    row = _RowType(array)

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return _spread(
            builder, builder.load(_pointer(context, builder, array, args[0], args[1], 1)), row.count
        )

    return row(array, types.int64), generate


@intrinsic
def fill(_typing: Any, array: Any, value: Any) -> Any:
    """``fill(array, value)``: a row like those of ``array`` whose lanes are all ``value``."""
    row = _RowType(array)

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        cast = context.cast(builder, args[1], value, row.element)
        return _spread(builder, cast, row.count)

    return row(array, value), generate


@intrinsic
def total(_typing: Any, row: Any) -> Any:
    """``total(row)``: the sum of the lanes."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        element = args[0].type.element
        name = f"llvm.vector.reduce.fadd.v{row.count}f{row.element.bitwidth}"
        kind = ir.FunctionType(element, [element, args[0].type])
        # Summed in any order (reassoc), else one lane after the other; -0.0 is the neutral element of IEEE.
        reduce = _codegen.get_or_insert_function(builder.module, kind, name)
        return builder.call(reduce, [ir.Constant(element, -0.0), args[0]], fastmath=("reassoc",))

    return row.element(row), generate


@intrinsic
def lanes(_typing: Any, array: Any) -> Any:
    """``lanes(array)``: T, the lanes of a row of this array's type."""
    row = _RowType(array)

    def generate(_context: Any, _builder: Any, _signature: Any, _args: Any) -> Any:
        return ir.Constant(ir.IntType(64), row.count)

    return types.int64(array), generate


@intrinsic
def parity(_typing: Any, value: Any) -> Any:  # noqa: ARG001
    """``parity(bits)``: number of ones in ``bits``, modulo 2."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        # Population count is one instruction where the processor has it, and LLVM knows whether it has.
        return builder.and_(builder.ctpop(args[0]), ir.Constant(args[0].type, 1))

    return types.int64(types.int64), generate


def _register(symbol: Any, build: str) -> None:
    class Binary(AbstractTemplate):  # type: ignore[misc, unused-ignore]
        def generic(self, args: Any, kws: Any) -> Any:  # noqa: ARG002
            if len(args) == 2 and isinstance(args[0], _RowType) and args[0] == args[1]:
                return _templates.signature(args[0], *args)
            return None

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return getattr(builder, build)(*args, flags=_FUSED)

    _templates.infer_global(symbol)(Binary)
    _extend.lower_builtin(symbol, _RowType, _RowType)(generate)


for _symbol, _build in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _register(_symbol, _build)
    _register(getattr(operator, f"i{_symbol.__name__}"), _build)
