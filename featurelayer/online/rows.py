"""Stored rows to values, every one checked: what a store holds is not trusted to be what was written.

The formats are those of `codec`. A value comes back as the declared type has it, or not at all: text in a number's
place, a number beyond its bits or a time that no `datetime` can be are errors that name the item and the feature.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from featurelayer.errors import CodecError, CorruptItem
from featurelayer.online.codec import (
    EPOCH,
    EXACT,
    FIRST,
    LAST,
    MICROSECOND,
    SPECIALS,
    Column,
    decimal_bounds,
    encode_column,
    from_microseconds,
    join_rows,
)

if TYPE_CHECKING:
    from featurelayer.model import DType

_fragments = msgspec.json.Decoder(list[msgspec.Raw]).decode
_json = msgspec.json.Encoder().encode


class RowCodec:
    """Converts rows of typed values to JSON arrays and back. Values that do not have the declared type are rejected."""

    __slots__ = ("_convert", "_parse", "_special", "dtypes", "names")

    def __init__(self, features: Iterable[tuple[str, DType]]) -> None:
        features = tuple(features)
        self.names = tuple(name for name, _ in features)
        self.dtypes = tuple(dtype for _, dtype in features)
        readers = [_reader(dtype) for dtype in self.dtypes]
        # The JSON parser checks every type and makes most values exact, four times as fast; the rest is left to Python.
        self._parse = msgspec.json.Decoder(tuple[tuple(reader.plain for reader in readers)]).decode  # type: ignore[misc]
        self._special = msgspec.json.Decoder(tuple[tuple(reader.special for reader in readers)]).decode  # type: ignore[misc]
        self._convert = tuple(
            (position, reader.convert) for position, reader in enumerate(readers) if reader.convert is not None
        )

    def encode(self, values: Sequence[Any], *, where: str = "") -> str:
        """Return the JSON array of one row.

        Raises:
            CodecError: a value does not fit its type; names the feature.
        """
        columns = [
            encode_column(dtype, [value], where=f"{where}.{name}" if where else name)
            for name, dtype, value in zip(self.names, self.dtypes, values, strict=True)
        ]
        return join_rows(columns, 1, self.names, where=where)[0]

    def decode(self, text: str) -> Column:
        """Return the values of one row, exactly as they were encoded."""
        return list(self.row(text))

    def row(self, text: str, pk: str = "", sk: str = "") -> Sequence[Any]:
        """Return the same in whatever sequence is at hand; `pk` and `sk` name the item in errors.

        Raises:
            CorruptItem: the text is not a row of these types; names the feature.
        """
        try:
            parsed: Sequence[Any] = self._parse(text)
            if not self._convert:
                return parsed
            values = list(parsed)
            for position, convert in self._convert:
                value = values[position]
                if value is not None:
                    values[position] = convert(value)
        except (msgspec.DecodeError, ValueError, ArithmeticError, TypeError, RecursionError):
            return self._row_with_specials(text, pk, sk)
        return values

    def _row_with_specials(self, text: str, pk: str, sk: str) -> Column:
        """Return a row that may hold NaN and infinities, or raise with its problem."""
        with suppress(msgspec.DecodeError, ValueError, ArithmeticError, TypeError, RecursionError):
            return [
                value if value is None else _exact(dtype, value)
                for dtype, value in zip(self.dtypes, self._special(text), strict=True)
            ]
        raise self._corrupt(text, pk, sk)

    def _corrupt(self, text: str, pk: str, sk: str) -> CorruptItem:
        try:
            fragments = _fragments(text)
        except (msgspec.DecodeError, ValueError, TypeError, RecursionError):
            return CorruptItem("its values are not a JSON array", pk=pk, sk=sk)
        if len(fragments) != len(self.names):
            what = f"it holds {len(fragments)} values, its schema has {len(self.names)}"
            return CorruptItem(what, pk=pk, sk=sk)
        for name, dtype, fragment in zip(self.names, self.dtypes, fragments, strict=True):
            try:
                decode_json(dtype, fragment)
            except CodecError:
                return CorruptItem(f"is not a valid {dtype}", pk=pk, sk=sk, feature=name)
        return CorruptItem("its values are not those of its schema", pk=pk, sk=sk)


class _Reader(msgspec.Struct, frozen=True):
    """How a value of one type is read: the JSON type to parse, and what makes the parsed value exact, if anything.

    `special` is the type that also lets the names of NaN and the infinities through, which only floats have.
    """

    plain: Any
    special: Any
    convert: Callable[[Any], Any] | None = None


_BITS = frozenset({8, 16, 32, 64, 128, 256})
_MOMENT = Annotated[int, msgspec.Meta(ge=FIRST, le=LAST)]
_UUID = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")]


@functools.cache
def _reader(dtype: DType) -> _Reader:
    if dtype.kind == "array" and dtype.element is not None:
        element = _reader(dtype.element)
        plain, special, convert = element.plain, element.special, element.convert
        if convert is not None:
            convert = functools.partial(_convert_parts, convert)
        return _Reader(list[plain] | None, list[special] | None, convert)  # type: ignore[valid-type]
    parsed, convert = _json_type(dtype)
    special = float | Literal["NaN", "Infinity", "-Infinity"] | None if dtype.kind == "float" else parsed | None
    return _Reader(parsed | None, special, convert)


def _json_type(dtype: DType) -> tuple[Any, Callable[[Any], Any] | None]:
    """Return the JSON type that parses and checks a value, and the conversion to Python."""
    kind, bits = dtype.kind, dtype.bits or 64
    if bits not in _BITS or (dtype.precision or 0) > EXACT.prec or (dtype.scale or 0) > EXACT.prec:
        raise CodecError(f"there is no type {dtype}")  # and its bounds would take all memory
    if kind in ("int", "uint"):
        low, high = (0, 2**bits - 1) if kind == "uint" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        if high < 2**63:
            return Annotated[int, msgspec.Meta(ge=low, le=high)], None
        return int, functools.partial(_validate_range, low, high)  # more than the parser's bounds can say
    if kind == "decimal":
        return Decimal, functools.partial(_decimal, dtype)
    if kind not in _PARSED:
        raise CodecError(f"the online store can't hold {dtype}; cast it in the model or set `feature: false`")
    return _PARSED[kind]


def _validate_range(low: int, high: int, value: int) -> int:
    if not low <= value <= high:
        raise OverflowError
    return value


def _decimal(dtype: DType, value: Decimal) -> Decimal:
    step, limit = decimal_bounds(dtype)
    if not value.is_finite() or value.copy_abs() >= limit:
        raise OverflowError
    return value.quantize(step, context=EXACT)


def _decode_timestamp(value: int) -> datetime:
    return EPOCH + value * MICROSECOND


_PARSED: dict[str, tuple[Any, Callable[[Any], Any] | None]] = {
    "bool": (bool, None), "float": (float, None), "text": (str, None), "json": (str, None), "uuid": (_UUID, None),
    "bytes": (bytes, None), "date": (date, None),
    "timestamp": (_MOMENT, _decode_timestamp), "timestamptz": (_MOMENT, from_microseconds),
}  # fmt: skip


def _convert_parts(convert: Callable[[Any], Any], values: Column) -> Column:
    return [value if value is None else convert(value) for value in values]


def _exact(dtype: DType, value: Any) -> Any:
    """Return the exact value of what the parser read, the names of NaN and the infinities included."""
    if dtype.kind == "array" and dtype.element is not None:
        return [part if part is None else _exact(dtype.element, part) for part in value]
    if dtype.kind == "float":
        return SPECIALS[value] if type(value) is str else value
    convert = _reader(dtype).convert
    return value if convert is None else convert(value)


@functools.cache
def _special_decoder(dtype: DType) -> Callable[[Any], Any]:
    return msgspec.json.Decoder(_reader(dtype).special).decode


def decode_json(dtype: DType, text: str | bytes | msgspec.Raw) -> Any:
    """Return the exact value of a JSON text.

    Raises:
        CodecError: it is not a value of the type.
    """
    try:
        value = _special_decoder(dtype)(text)
        return value if value is None else _exact(dtype, value)
    except (msgspec.DecodeError, ValueError, ArithmeticError, TypeError, RecursionError) as error:
        raise CodecError(f"stored JSON is not a valid {dtype}") from error


def decode_value(dtype: DType, value: Any) -> Any:
    """Return the exact value of one JSON value, given as Python has it.

    Raises:
        CodecError: it is not a value of the type.
    """
    return decode_json(dtype, _json(value))
