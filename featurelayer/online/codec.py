"""Feature values to JSON, exactly, by their declared types; `rows` reads them back.

The JSON of a value, by type:

    bool                        true, false
    int*, uint*                 a number, all 64 bits
    float*                      the shortest number that reads back to the same bits; "NaN", "Infinity", "-Infinity"
    decimal(p,s)                text with all s decimals, "1.50"
    text, json                  text
    uuid                        text, lower case with hyphens
    bytes                       base64
    date                        "2013-01-31"
    timestamp, timestamptz      whole microseconds since 1970 in UTC
    array                       an array

NULL is null everywhere. A row is an array in schema order.

Kinds are compared as text (`model.Kind` is a StrEnum) and `model` is imported where a type is first needed: it is half
of what importing this package would cost.
"""

from __future__ import annotations

import functools
import math
from array import array
from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal, InvalidOperation
from decimal import Inexact as _Inexact
from operator import index
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from featurelayer.errors import CodecError

if TYPE_CHECKING:
    from featurelayer.model import DType

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (naive on purpose: what a `timestamp` decodes to)
EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
FIRST = (datetime(1, 1, 1, tzinfo=UTC) - EPOCH_UTC) // MICROSECOND
LAST = (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC) - EPOCH_UTC) // MICROSECOND
SPECIALS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
# Wide enough for every decimal that a warehouse has (BigQuery: 76 digits); a rounding is an error.
EXACT = Context(prec=100, traps=[InvalidOperation, _Inexact])

_json = msgspec.json.Encoder().encode

Column = list[Any]


@functools.cache
def parse_dtype(text: str) -> DType:
    """Parse the canonical text of a type."""
    from featurelayer.model import DType

    return DType.parse(text)


# --- rows ---------------------------------------------------------------------------------------------------------


def join_rows(columns: Sequence[Column], rows: int, names: Sequence[str], *, where: str = "") -> list[str]:
    """Return one JSON array per row of encoded columns."""
    if not columns:
        return ["[]"] * rows
    try:
        return [_json(row).decode() for row in zip(*columns, strict=True)]
    except UnicodeEncodeError:
        bad = next(name for name, column in zip(names, columns, strict=True) if not _is_unicode(column))
        place = f"{where}.{bad}" if where else bad
        raise CodecError(f"{place}: a text with half of a surrogate pair is not unicode and can't be stored") from None


def _is_unicode(column: Column) -> bool:
    try:
        _json(column)
    except UnicodeEncodeError:
        return False
    return True


# --- encoding, a column at a time ---------------------------------------------------------------------------------


def encode_column(dtype: DType, values: Column, *, where: str) -> Column:
    """Return the JSON value of each value of a column, NULLs included.

    Raises:
        CodecError: a value does not fit the type; `where` names the column in the message.
    """
    return _ENCODERS[dtype.kind](dtype, values, where)


def value_types(values: Column) -> set[type]:
    """Return the Python types of the values in a column, except NULLs."""
    found = set(map(type, values))
    found.discard(type(None))
    return found


def convert_each(values: Column, convert: Callable[[Any], Any], dtype: DType, where: str) -> Column:
    """Convert values except NULLs; any exception of `convert` for a misfit becomes one clear error."""
    try:
        return [value if value is None else convert(value) for value in values]
    except (TypeError, ValueError, ArithmeticError, AttributeError):
        return [value if value is None else _convert_one(value, convert, dtype, where) for value in values]


def _convert_one(value: Any, convert: Callable[[Any], Any], dtype: DType, where: str) -> Any:
    try:
        return convert(value)
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."
        raise CodecError(f"{where}: {shown} ({type(value).__name__}) does not fit the declared type {dtype}") from error


def whole_number(value: Any) -> int:
    """Return an exact integer; no truth values, no fractions, nothing that merely looks like a number."""
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, Decimal):
        if value != value.to_integral_value():
            raise ValueError
        return int(value)
    return index(value)


def _encode_int(dtype: DType, values: Column, where: str) -> Column:
    bits = dtype.bits or 64
    low, high = (0, 2**bits - 1) if dtype.kind == "uint" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)

    def validate_bounds(value: Any) -> int:
        number = whole_number(value)
        if not low <= number <= high:
            raise OverflowError
        return number

    if value_types(values) <= {int}:
        numbers = [value for value in values if value is not None]
        if not numbers or (low <= min(numbers) and max(numbers) <= high):
            return values
    return convert_each(values, validate_bounds, dtype, where)


def _float(value: Any) -> float:
    if isinstance(value, bool | str | bytes):
        raise TypeError
    number = float(value)
    if isinstance(value, int) and int(number) != value:
        raise ValueError
    return number


def _encode_float(dtype: DType, values: Column, where: str) -> Column:
    if not value_types(values) <= {float}:
        values = convert_each(values, _float, dtype, where)
    if dtype.bits is not None and dtype.bits < 64:
        values = _as_float32(values, dtype, where)
    # A sum is finite only where every part is: one pass in C clears the usual column.
    if math.isfinite(sum(filter(None, values))):
        return values
    return [value if value is None or math.isfinite(value) else _special(value) for value in values]


def _special(value: float) -> str:
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _as_float32(values: Column, dtype: DType, where: str) -> Column:
    rounded = array("f", [0.0 if value is None else value for value in values]).tolist()
    for value, small in zip(values, rounded, strict=True):
        if math.isinf(small) and not math.isinf(value):
            raise CodecError(f"{where}: {value!r} (float) does not fit the declared type {dtype}")
    return [None if value is None else small for value, small in zip(values, rounded, strict=True)]


def _encode_bool(dtype: DType, values: Column, where: str) -> Column:
    return values if value_types(values) <= {bool} else convert_each(values, truth_value, dtype, where)


def truth_value(value: Any) -> bool:
    """Return a bool, and nothing that merely counts as one."""
    if isinstance(value, bool):
        return value
    raise TypeError


@functools.cache
def decimal_bounds(dtype: DType) -> tuple[Decimal, Decimal]:
    """Return the last decimal of a type, and the first number too large for it."""
    scale = dtype.scale or 0
    return Decimal(1).scaleb(-scale), Decimal(10) ** ((dtype.precision or 38) - scale)


def _encode_decimal(dtype: DType, values: Column, where: str) -> Column:
    step, limit = decimal_bounds(dtype)

    def text(value: Any) -> str:
        number = value if type(value) is Decimal else Decimal(whole_number(value))
        if not number.is_finite() or number.copy_abs() >= limit:
            raise OverflowError
        return format(number.quantize(step, context=EXACT), "f")

    return convert_each(values, text, dtype, where)


def _encode_text(dtype: DType, values: Column, where: str) -> Column:
    return values if value_types(values) <= {str} else convert_each(values, plain_text, dtype, where)


def plain_text(value: Any) -> str:
    """Return a str, and nothing that merely prints as one."""
    if isinstance(value, str):
        return str(value)
    raise TypeError


def uuid_text(value: Any) -> str:
    """Return a UUID's canonical text."""
    return str(value if isinstance(value, UUID) else UUID(plain_text(value)))


def _encode_uuid(dtype: DType, values: Column, where: str) -> Column:
    return convert_each(values, uuid_text, dtype, where)


def _encode_bytes(dtype: DType, values: Column, where: str) -> Column:
    return convert_each(values, lambda value: b64encode(value).decode("ascii"), dtype, where)


def iso_date(value: Any) -> str:
    """Return a date as ISO text; a datetime is refused."""
    if not isinstance(value, date) or isinstance(value, datetime):
        raise TypeError
    return value.isoformat()


def _encode_date(dtype: DType, values: Column, where: str) -> Column:
    return convert_each(values, iso_date, dtype, where)


def to_microseconds(moment: datetime) -> int:
    """Return a point in time as microseconds since 1970 in UTC; a naive one is UTC."""
    return (moment - (EPOCH if moment.tzinfo is None else EPOCH_UTC)) // MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """Return an aware UTC datetime."""
    return EPOCH_UTC + microseconds * MICROSECOND


def moment_at(microseconds: int) -> datetime | None:
    """Return an aware UTC datetime; None before year 1 and after 9999, which no datetime can be."""
    return from_microseconds(microseconds) if FIRST <= microseconds <= LAST else None


def timestamp_value(value: Any) -> int:
    """Return a datetime as microseconds; a part below the microsecond is refused."""
    if not isinstance(value, datetime) or getattr(value, "nanosecond", None):
        raise TypeError
    return to_microseconds(value)


def _encode_timestamp(dtype: DType, values: Column, where: str) -> Column:
    return convert_each(values, timestamp_value, dtype, where)


def encode_microseconds(values: Column, *, where: str) -> Column:
    """Return a column of timestamps that already are microseconds, checked to be a year from 1 to 9999."""
    known = [value for value in values if value is not None]
    if known and (min(known) < FIRST or max(known) > LAST):
        raise CodecError(f"{where}: a timestamp before year 1 or after 9999 can't be stored; bound it in the model")
    return values


def _encode_array(dtype: DType, values: Column, where: str) -> Column:
    element = dtype.element
    assert element is not None, "an array has an element"

    def encode_elements(value: Any) -> Column:
        if isinstance(value, str | bytes | dict) or not hasattr(value, "__iter__"):
            raise TypeError
        return encode_column(element, list(value), where=f"{where}[]")

    return convert_each(values, encode_elements, dtype, where)


def _encode_unstorable(dtype: DType, _values: Column, where: str) -> Column:
    raise CodecError(f"{where}: the online store can't hold {dtype}; cast it in the model or set `feature: false`")


_ENCODERS: dict[str, Callable[[DType, Column, str], Column]] = {
    "bool": _encode_bool, "int": _encode_int, "uint": _encode_int, "float": _encode_float, "decimal": _encode_decimal,
    "text": _encode_text, "json": _encode_text, "uuid": _encode_uuid, "bytes": _encode_bytes, "date": _encode_date,
    "timestamp": _encode_timestamp, "timestamptz": _encode_timestamp, "array": _encode_array,
    "time": _encode_unstorable, "interval": _encode_unstorable, "struct": _encode_unstorable, "map": _encode_unstorable,
    "unknown": _encode_unstorable,
}  # fmt: skip


# --- defaults -----------------------------------------------------------------------------------------------------


def encode_default(dtype: DType, value: Any, *, where: str) -> Any:
    """Return JSON's value of a default as YAML gives it: a decimal may be written as a number, a time as text."""
    if value is None:
        return None
    if dtype.kind == "array" and isinstance(value, list | tuple) and dtype.element is not None:
        return [encode_default(dtype.element, part, where=where) for part in value]
    from_text = _DEFAULTS.get(dtype.kind)
    if from_text is not None:
        try:
            value = from_text(value)
        except (ValueError, InvalidOperation) as error:
            raise CodecError(f"{where}: the default {value!r} is not of the declared type {dtype}") from error
    return encode_column(dtype, [value], where=f"{where} (default)")[0]


_DEFAULTS: dict[str, Callable[[Any], Any]] = {
    "float": lambda value: SPECIALS.get(value, value) if isinstance(value, str) else value,
    "decimal": lambda value: Decimal(str(value)) if isinstance(value, float | str) else value,
    "date": lambda value: date.fromisoformat(value) if isinstance(value, str) else value,
    "timestamp": lambda value: _moment(value),
    "timestamptz": lambda value: _moment(value),
    "bytes": lambda value: value.encode() if isinstance(value, str) else value,
}


def _moment(value: Any) -> Any:
    if isinstance(value, str):
        return datetime.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time())
    return value
