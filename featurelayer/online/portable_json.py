"""Values as JSON for other programs, without loss, and back by their types.

    bool                        true, false
    int*, uint*                 a number; beyond 2^53 - 1, which a JSON number may not hold, its digits as text
    float*                      a number; "NaN", "Infinity", "-Infinity"
    decimal(p,s)                text with all s decimals, "1.50"
    text, json, uuid            text
    bytes                       base64
    date                        "2013-01-31"
    timestamp                   "2013-01-31T05:00:00.5", without a zone
    timestamptz                 "2013-01-31T05:00:00.5Z"
    array                       an array

NULL is null everywhere. This is not the format of stored items, which `codec` describes.
"""

from __future__ import annotations

import math
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from featurelayer.errors import CodecError
from featurelayer.online.codec import SPECIALS, encode_column, plain_text, truth_value, uuid_text

if TYPE_CHECKING:
    from featurelayer.model import DType

_LARGEST = 2**53 - 1
_DIGITS = re.compile(r"-?\d{1,80}")

_encode = msgspec.json.Encoder().encode


def write_json(columns: Iterable[str], values: Iterable[Any]) -> str:
    """Return a JSON object of values by column."""
    return _encode({column: _to_portable(value) for column, value in zip(columns, values, strict=True)}).decode()


def read_json(types: Mapping[str, DType], text: str | bytes) -> dict[str, Any]:
    """Return the values of a JSON object by column, exactly as they were written.

    Raises:
        CodecError: it is not JSON, lacks a column or has another, or a value is not of its type; names the column.
    """
    try:
        found = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise CodecError(f"not a JSON object of features: {error}") from error
    if found.keys() != types.keys():
        others = ", ".join(sorted(found.keys() ^ types.keys()))
        raise CodecError(f"the JSON object has not the service's features; they differ in {others}")
    return {column: _decode(dtype, found[column], column) for column, dtype in types.items()}


def _to_portable(value: Any) -> Any:
    kind = type(value)
    if kind is int:
        return value if -_LARGEST <= value <= _LARGEST else str(value)
    if kind is float:
        return value if math.isfinite(value) else "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if kind is Decimal:
        return format(value, "f")
    if kind is list:
        return [_to_portable(part) for part in value]
    return value  # msgspec writes the rest as described


def _decode(dtype: DType, value: Any, where: str) -> Any:
    if value is None:
        return None
    try:
        if dtype.kind == "array" and dtype.element is not None:
            if not isinstance(value, list):
                raise TypeError
            return [_decode(dtype.element, part, f"{where}[]") for part in value]
        read = _READERS[dtype.kind](value)
    except (TypeError, ValueError, ArithmeticError, KeyError) as error:
        raise CodecError(f"{where}: {value!r} is not of the type {dtype}") from error
    encode_column(dtype, [read], where=where)  # which refuses what the type can't hold
    return read


def _int(value: Any) -> int:
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if type(value) is not int:
        raise TypeError
    return value


def _float(value: Any) -> float:
    if isinstance(value, str):
        return SPECIALS[value]
    if type(value) not in (int, float):
        raise TypeError
    return float(value)


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(plain_text(value))
    return moment if moment.tzinfo is None else moment.astimezone(UTC)


_READERS: dict[str, Callable[[Any], Any]] = {
    "bool": truth_value, "int": _int, "uint": _int, "float": _float, "text": plain_text, "json": plain_text,
    "decimal": lambda value: Decimal(plain_text(value)), "uuid": uuid_text,
    "bytes": lambda value: b64decode(plain_text(value), validate=True),
    "date": lambda value: date.fromisoformat(plain_text(value)), "timestamp": _moment, "timestamptz": _moment,
}  # fmt: skip
