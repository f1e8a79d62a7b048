"""Converts declared defaults to exact values of their feature's type: YAML has fewer types than a warehouse."""

from __future__ import annotations

import json
import math
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from featurelayer.model import DType, Kind


def coerce(value: Any, dtype: DType) -> Any:
    """Convert a value to its type; None stays None.

    Raises:
        ValueError: the type can't hold it; the message names what it accepts.
    """
    if value is None:
        return None
    match dtype.kind:
        case Kind.BOOL if isinstance(value, bool):
            return value
        case Kind.INT | Kind.UINT if isinstance(value, int) and not isinstance(value, bool):
            return _whole(value, dtype)
        case Kind.FLOAT if isinstance(value, int | float | str) and not isinstance(value, bool):
            return _float(value)
        case Kind.DECIMAL if isinstance(value, int | float | str) and not isinstance(value, bool):
            return _decimal(value, dtype)
        case Kind.TEXT if isinstance(value, str):
            return value
        case Kind.DATE if isinstance(value, str):
            return _parse(date.fromisoformat, value, "a date such as '2026-01-31'")
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ if isinstance(value, str):
            return _timestamp(value, dtype)
        case Kind.UUID if isinstance(value, str):
            return str(_parse(uuid.UUID, value, "a UUID"))
        case Kind.JSON:
            return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
        case Kind.ARRAY if isinstance(value, list) and dtype.element is not None:
            return [coerce(item, dtype.element) for item in value]
    raise ValueError(f"{value!r} is no value of type {dtype}" + _hint(dtype))


def _hint(dtype: DType) -> str:
    match dtype.kind:
        case Kind.STRUCT | Kind.MAP | Kind.BYTES | Kind.TIME | Kind.INTERVAL | Kind.UNKNOWN:
            return "; a default can't be written for this type"
        case Kind.DECIMAL:
            return "; write a number, or text such as '12.50' for every digit"
        case _:
            return ""


def _whole(value: int, dtype: DType) -> int:
    bits = dtype.bits or 64
    low, high = (0, 2**bits - 1) if dtype.kind is Kind.UINT else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if not low <= value <= high:
        raise ValueError(f"{value} is outside of {dtype}, which holds {low} to {high}")
    return value


def _float(value: float | str) -> float:
    if isinstance(value, str) and value.strip().lower() not in ("nan", "inf", "-inf", "infinity", "-infinity"):
        raise ValueError(f"{value!r} is text; write a number, or 'NaN', 'Infinity' or '-Infinity'")
    return float(value)


def _decimal(value: float | str, dtype: DType) -> Decimal:
    precision, scale = dtype.precision or 38, dtype.scale or 0
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value!r} is no value of type {dtype}")
    try:
        number = Decimal(str(value))
        exact = number.quantize(Decimal(1).scaleb(-scale)) if number.is_finite() else None
    except InvalidOperation:
        number, exact = Decimal(0), None
    if exact is None or exact != number or len(exact.as_tuple().digits) > precision:
        raise ValueError(f"{value!r} does not fit {dtype} exactly")
    return exact


def _timestamp(value: str, dtype: DType) -> datetime:
    moment: datetime = _parse(datetime.fromisoformat, value, "a timestamp such as '2026-01-31 12:00:00'")
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware if dtype.kind is Kind.TIMESTAMPTZ else aware.replace(tzinfo=None)


def _parse(parse: Any, value: str, wanted: str) -> Any:
    try:
        return parse(value)
    except ValueError:
        raise ValueError(f"{value!r} is not {wanted}") from None
