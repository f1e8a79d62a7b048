"""Compare two columns row by row, bit for bit: they have the same checksum exactly if no row differs.

NaN equals NaN, 0.0 is not -0.0, NULL equals only NULL, and what lies under a NULL does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from featurelayer.warehouse.digest import is_list, is_text, plain

_BITS = {8: pa.uint8(), 16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64(), 128: pa.binary(16), 256: pa.binary(32)}


def differing(one: pa.Array, other: pa.Array) -> pa.BooleanArray:
    """Return for each row of two equally long arrays whether they differ; all do if the types are unlike."""
    one, other = plain(one), plain(other)
    present = pc.xor(pc.is_valid(one), pc.is_valid(other))
    if pa.types.is_null(one.type) or pa.types.is_null(other.type):
        return present if one.type == other.type else _all(len(one))
    if is_text(one.type) and is_text(other.type):
        values = _unequal(pc.cast(one, pa.large_binary()), pc.cast(other, pa.large_binary()))
    elif is_list(one.type) and is_list(other.type):
        values = _differing_lists(one, other)
    elif pa.types.is_struct(one.type) and pa.types.is_struct(other.type):
        values = _differing_structs(one, other)
    else:
        bits = _bits(one), _bits(other)
        if bits[0] is None or bits[1] is None or bits[0].type != bits[1].type:
            return _all(len(one))
        values = _unequal(*bits)
    return pc.or_(present, values)


def side_by_side(
    one: Iterable[pa.RecordBatch], other: Iterable[pa.RecordBatch]
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """Yield two streams of equal row count in pieces of equal length, whatever their batch sizes."""
    right, start = iter(other), 0
    there: pa.RecordBatch | None = None
    for here in one:
        offset = 0
        while offset < here.num_rows:
            if there is None or start == there.num_rows:
                there, start = next(right), 0
                continue
            size = min(here.num_rows - offset, there.num_rows - start)
            yield here.slice(offset, size), there.slice(start, size)
            offset, start = offset + size, start + size


def _all(rows: int) -> pa.BooleanArray:
    return pa.repeat(pa.scalar(True), rows)


def _unequal(one: pa.Array, other: pa.Array) -> pa.BooleanArray:
    return pc.fill_null(pc.not_equal(one, other), False)


def _bits(array: pa.Array) -> pa.Array | None:
    """View the values of a fixed-width array as raw memory."""
    if pa.types.is_boolean(array.type):
        return pc.cast(array, pa.uint8())
    if pa.types.is_fixed_size_binary(array.type):
        return array
    try:
        return array.view(_BITS[array.type.bit_width])
    except (ValueError, KeyError):  # nested, or of a width that no integer type has
        return None


def _differing_lists(one: pa.Array, other: pa.Array) -> pa.BooleanArray:
    lengths = [pc.list_value_length(array) for array in (one, other)]
    unequal = _unequal(*(pc.cast(length, pa.int64()) for length in lengths))
    both = pc.and_(pc.is_valid(one), pc.is_valid(other))
    rows = pc.indices_nonzero(pc.and_not(both, unequal))
    one, other = one.take(rows), other.take(rows)
    inside = differing(pc.list_flatten(one), pc.list_flatten(other))
    found = rows.take(pc.unique(pc.list_parent_indices(one).filter(inside)))
    return pc.or_(unequal, pc.is_in(pa.array(range(len(both)), rows.type), value_set=found))


def _differing_structs(one: pa.StructArray, other: pa.StructArray) -> pa.BooleanArray:
    names = [[field.name for field in array.type] for array in (one, other)]
    if names[0] != names[1]:
        return _all(len(one))
    fields = (differing(*pair) for pair in zip(one.flatten(), other.flatten(), strict=True))
    return reduce(pc.or_, fields, pa.repeat(pa.scalar(False), len(one)))
