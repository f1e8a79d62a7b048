"""Entity keys to text: the names of the entities, then the canonical compact JSON of the typed parts.

`plane["N14228"]`, `airport_hour["EWR",7]`. Different keys are different text: numbers and truth values are JSON's own,
all else is a string, no part is glued to the next, and the entities' names keep equal ids of two entities apart.
Equal keys are equal text: decimals drop trailing zeros (`1.50` is `"1.5"`), UUIDs are lower case, times are whole
microseconds in UTC, and strings escape only what JSON must escape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from featurelayer.errors import CodecError
from featurelayer.online.codec import (
    Column,
    convert_each,
    iso_date,
    plain_text,
    timestamp_value,
    truth_value,
    uuid_text,
    value_types,
    whole_number,
)

if TYPE_CHECKING:
    from featurelayer.model import DType

_NORMAL = Context(prec=200)
_json = msgspec.json.Encoder().encode


def _key_decimal(value: Any) -> str:
    number = value if isinstance(value, Decimal) else Decimal(whole_number(value))
    if not number.is_finite():
        raise ValueError
    return format(_NORMAL.normalize(number), "f") if number else "0"


_KEYS: dict[str, Callable[[Any], Any]] = {
    "bool": truth_value, "int": whole_number, "uint": whole_number, "decimal": _key_decimal, "text": plain_text,
    "uuid": uuid_text, "date": iso_date,
    "timestamp": timestamp_value, "timestamptz": timestamp_value,
}  # fmt: skip


def encode_key_column(dtype: DType, values: Column, *, where: str) -> Column:
    """Return the JSON values of one part of many keys, NULLs kept.

    Raises:
        CodecError: a value is not of the key's type; text never stands for a number nor a number for text.
    """
    convert = key_encoder(dtype, where=where)
    as_is = str if dtype.kind == "text" else int if dtype.kind in ("int", "uint") else None
    if as_is is not None and value_types(values) <= {as_is}:
        return values
    return convert_each(values, convert, dtype, where)


def key_encoder(dtype: DType, *, where: str) -> Callable[[Any], Any]:
    """Return the encoder of a key's value.

    Raises:
        CodecError: values of the type can't be keys.
    """
    convert = _KEYS.get(dtype.kind)
    if convert is None:
        raise CodecError(f"{where}: {dtype} can't be a key, because equality of its values is not certain")
    return convert


def key_prefix(entities: Sequence[str]) -> str:
    """Return the prefix of a key's text: the names of the entities.

    Raises:
        CodecError: a name that could be mistaken for another key or a definition.
    """
    for name in entities:
        if not name or name.startswith("#") or any(mark in name for mark in ',["'):
            raise CodecError(f"entity '{name}': a name that is stored can't be empty, start with # or hold , [ or \"")
    return ",".join(entities)


def join_key(prefix: str, parts: Sequence[Any], *, where: str = "") -> str:
    """Return the text of an entity key from its encoded parts.

    >>> join_key("airport_hour", ["EWR", 7])
    'airport_hour["EWR",7]'
    """
    try:
        return prefix + _json(parts).decode()
    except UnicodeEncodeError:
        place = where or prefix
        raise CodecError(f"{place}: a text with half of a surrogate pair is not unicode and can't be a key") from None


def parse_key(dtype: DType, text: str, *, where: str) -> Any:
    """Return the key value that a person typed, in the key's type: `7` is 7 where the key is an integer.

    Raises:
        CodecError: the text is not a value of that type.
    """
    parse = _FROM_TEXT.get(dtype.kind, str)
    try:
        return parse(text)
    except (ValueError, KeyError, ArithmeticError) as error:
        raise CodecError(f"{where}: '{text}' is not of the key's type {dtype}") from error


_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": int, "uint": int, "decimal": Decimal, "uuid": UUID,
    "date": date.fromisoformat, "timestamp": datetime.fromisoformat, "timestamptz": datetime.fromisoformat,
}  # fmt: skip
