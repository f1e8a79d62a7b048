"""Differences between an item and the expected row, feature by feature, bit for bit by type."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from featurelayer.model import DType, Kind
from featurelayer.online.codec import moment_at, parse_dtype
from featurelayer.online.definitions import Schema
from featurelayer.online.rows import decode_value

_fragments = msgspec.json.Decoder(list[msgspec.Raw]).decode
_parse = msgspec.json.Decoder().decode
_QUARTER, _FURTHEST = timedelta(minutes=15), timedelta(hours=14)
_MOST_DECIMALS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A value of one feature, or of a row's own times (`is_time`), that is not the expected one.

    `online_type` is None if the item's schema lacks the feature.
    """

    feature: str
    dtype: DType
    online_type: DType | None
    expected: Any
    online: Any
    is_time: bool = False

    @property
    def offset(self) -> timedelta | None:
        """The shift of a time, if time zones can differ by it."""
        one, other = _as_naive(self.expected), _as_naive(self.online)
        if one is None or other is None:
            return None
        moved = other - one
        return moved if moved and abs(moved) <= _FURTHEST and not moved % _QUARTER else None

    def is_lossy(self, *, rounded: bool) -> bool:
        """Whether it is the same value after a loss of type or digits; `rounded` allows any rounding."""
        if self.online_type is None:
            return False
        return is_lossy_copy(self.expected, self.online, rounded=rounded or self.online_type != self.dtype)


def find_differences(expected: str, schema: Schema, online: str, followed: Schema) -> list[Difference]:
    """Return the features in which an item's array, by its own schema, differs from the expected one."""
    there = {
        name: (parse_dtype(text), raw)
        for (name, text), raw in zip(followed.features, _split_array(online), strict=True)
    }
    differences = []
    for (name, text), raw in zip(schema.features, _split_array(expected), strict=True):
        dtype, (kind, value) = parse_dtype(text), there.get(name, (None, None))
        if kind is None or value is None:
            differences.append(
                Difference(feature=name, dtype=dtype, online_type=None, expected=_decode(dtype, raw), online=None)
            )
        elif not is_readable_as(kind, dtype) or bytes(raw) != bytes(value):
            wanted, actual = _decode(dtype, raw), _decode(kind, value)
            if not is_readable_as(kind, dtype) or not is_identical(wanted, actual):
                differences.append(
                    Difference(feature=name, dtype=dtype, online_type=kind, expected=wanted, online=actual)
                )
    return differences


def time_difference(name: str, expected: int | None, online: int | None) -> Difference:
    """Return the difference between two times of a row, given in microseconds."""
    dtype = DType(kind=Kind.TIMESTAMPTZ)
    one, other = (None if micros is None else _format_moment(micros) for micros in (expected, online))
    return Difference(feature=name, dtype=dtype, online_type=dtype, expected=one, online=other, is_time=True)


def _format_moment(micros: int) -> datetime | str:
    """Return a time, or text if it is out of the range of datetime."""
    return moment_at(micros) or f"{micros} microseconds after 1970"


def is_readable_as(stored: DType, wanted: DType) -> bool:
    """Whether a reader of one type accepts a value of the other: they differ in size only."""
    if stored.kind is Kind.ARRAY and wanted.kind is Kind.ARRAY and stored.element and wanted.element:
        return is_readable_as(stored.element, wanted.element)
    return stored.kind is wanted.kind


def is_identical(one: Any, other: Any) -> bool:
    """Whether two values are identical bit for bit."""
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack("<d", one) == struct.pack("<d", other) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_identical, one, other))
    if isinstance(one, Decimal) and isinstance(other, Decimal):
        return one.as_tuple() == other.as_tuple()
    return type(one) is type(other) and bool(one == other)


def is_lossy_copy(one: Any, other: Any, *, rounded: bool) -> bool:
    """Whether two values are equal, or one is the other after a loss of type or digits."""
    if is_identical(one, other):
        return True
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            is_lossy_copy(a, b, rounded=rounded) for a, b in zip(one, other, strict=True)
        )
    if one is None or other is None:
        return any(isinstance(value, float) and math.isnan(value) for value in (one, other))
    if isinstance(one, datetime) and isinstance(other, datetime):
        return _is_coarser(one, other) or _is_coarser(other, one)
    a, b = _to_number(one), _to_number(other)
    if a is not None and b is not None:
        return _is_near(a, b, rounded=rounded or type(one) is not type(other))
    return isinstance(one, str) != isinstance(other, str) and str(one) == str(other)


def _is_near(one: Decimal, other: Decimal, *, rounded: bool) -> bool:
    if one == other or not (one.is_finite() and other.is_finite()):
        return one == other or (one.is_nan() and other.is_nan())
    if _to_float32(one) == float(other) or _to_float32(other) == float(one):
        return True
    return rounded and any(
        round(one, digits) == other or round(other, digits) == one or _is_truncation(one, other)
        for digits in range(_MOST_DECIMALS + 1)
    )


def _is_truncation(one: Decimal, other: Decimal) -> bool:
    return int(one) == other or int(other) == one


def _to_float32(value: Decimal) -> float | None:
    """Round a number to 32 bits."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", float(value)))[0])
    except OverflowError:
        return None


def _to_number(value: Any) -> Decimal | None:
    """Convert a number, or text that reads as one."""
    if isinstance(value, bool | int):
        return Decimal(int(value))
    if isinstance(value, float):
        return Decimal(value)
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str):
        try:
            return Decimal(value)
        except InvalidOperation:
            return None
    return None


def _is_coarser(whole: datetime, other: datetime) -> bool:
    """Whether `other` is `whole` without its microseconds or milliseconds."""
    one, two = whole.replace(tzinfo=None), other.replace(tzinfo=None)
    return any(one.replace(microsecond=one.microsecond // unit * unit) == two for unit in (1_000, 1_000_000))


def _as_naive(value: Any) -> datetime | None:
    return value.replace(tzinfo=None) if isinstance(value, datetime) else None


def _split_array(text: str) -> Sequence[msgspec.Raw]:
    elements: Sequence[msgspec.Raw] = _fragments(text)
    return elements


def _decode(dtype: DType, raw: msgspec.Raw) -> Any:
    return decode_value(dtype, _parse(raw))
