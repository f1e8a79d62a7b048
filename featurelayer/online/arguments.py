"""Read the rows and keys that callers pass: mappings, data frames, Arrow tables, numpy values.

No data frame library is imported: what has a method of theirs is one of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from featurelayer.errors import PlanError, Problem

Row = Mapping[str, Any]

_NOT_ROWS = (str, bytes, bytearray, Mapping)
_MISSING = frozenset({"NAType", "NaTType"})  # of pandas, which it calls pd.NA and pd.NaT


def read_rows(given: Any, noun: str) -> Sequence[Row]:
    """Return rows from an iterable of mappings, a pandas or polars DataFrame, or an Arrow table or batch.

    Raises:
        PlanError: it is none of these, or rows of it are no mappings; names all of them.
    """
    if type(given) is list and set(map(type, given)) <= {dict}:
        return given
    rows = _frame_rows(given)
    if rows is None:
        if isinstance(given, _NOT_ROWS) or not isinstance(given, Iterable):
            raise PlanError([Problem(
                what=f"{noun}s is {_describe(given)}, not rows",
                fix=f"pass a list with one mapping per {noun}, a pandas or polars DataFrame, or an Arrow table",
            )])  # fmt: skip
        rows = [_as_mapping(row) for row in given]
    wrong = [(position, row) for position, row in enumerate(rows) if not isinstance(row, Mapping)]
    if wrong:
        raise PlanError(
            Problem(what=f"{noun} {position} is {_describe(row)}, not a mapping", fix="pass names with their values")
            for position, row in wrong
        )
    return rows


def validate_name(name: object, noun: str) -> str:
    """Return a name.

    Raises:
        PlanError: it is not text, or not Unicode.
    """
    if isinstance(name, str) and (name.isascii() or name.isprintable() or _is_unicode(name)):
        return name
    raise PlanError([Problem(what=f"the {noun} is {_describe(name)}, not text", fix=f"pass the {noun}'s name")])


def validate_names(names: object, noun: str) -> Iterable[str]:
    """Return names, each of which `check_name` has still to look at.

    Raises:
        PlanError: they are one text, or not iterable.
    """
    if isinstance(names, Iterable) and not isinstance(names, (str, bytes)):
        return names
    raise PlanError(
        [Problem(what=f"{noun}s is {_describe(names)}, not a list", fix=f"pass a list of names of {noun}s")]
    )


def validate_duration(length: object, name: str) -> None:
    """Raise PlanError unless an argument is a length of time."""
    if not isinstance(length, timedelta) or length < timedelta(0):
        raise PlanError([Problem(what=f"`{name}` is {_describe(length)}", fix="pass a timedelta that is not negative")])


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def validate_moment(moment: object) -> datetime:
    """Return a time.

    Raises:
        PlanError: it is not one; pandas has a datetime that is not a time.
    """
    if isinstance(moment, datetime) and type(moment).__name__ not in _MISSING:
        return moment
    raise PlanError(
        [Problem(what=f"now is {_describe(moment)}, not a datetime", fix="pass a datetime; a naive one is UTC")]
    )


def plain_keys(values: list[Any], *, whole: bool) -> list[Any]:
    """Return key values as Python's own, with None for what is missing: NaN, pd.NA and pd.NaT.

    Where keys are `whole` numbers, a float without a fraction is one: pandas turns integers with gaps into floats.
    """
    return [_plain_key(value, whole) for value in values]


def plain_value(value: Any) -> Any:
    """Return a feature's value as Python's own, with None for pd.NA and pd.NaT. NaN is a float's value and stays."""
    kind = type(value)
    if kind.__name__ in _MISSING:
        return None
    if kind.__module__ == "numpy" and hasattr(value, "item"):
        return _from_numpy(value)
    return value


def _plain_key(value: Any, whole: bool) -> Any:
    value = plain_value(value)
    if value is None or _is_nan(value):
        return None
    if whole and isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    return value


def _is_nan(value: Any) -> bool:
    try:
        return bool(value != value)
    except (TypeError, ValueError, ArithmeticError):  # an array, or Decimal's signalling NaN
        return False


def _from_numpy(value: Any) -> Any:
    if type(value).__name__ == "ndarray":
        return value.tolist()
    if type(value).__name__ != "datetime64":
        return value.item()
    if value != value:
        return None
    rounded = value.astype("datetime64[us]")
    return rounded.item() if rounded == value else value


def _frame_rows(given: Any) -> list[Any] | None:
    for name in ("to_pylist", "to_dicts"):
        method: Callable[[], list[Any]] | None = getattr(given, name, None)
        if callable(method):
            return list(method())
    if callable(getattr(given, "to_dict", None)) and hasattr(given, "columns"):
        return list(given.to_dict(orient="records"))
    return None


def _as_mapping(row: Any) -> Any:
    """Return a row of a data frame as a mapping, whatever else as it is."""
    if isinstance(row, Mapping) or not callable(getattr(row, "to_dict", None)) or hasattr(row, "columns"):
        return row
    return row.to_dict()


def _describe(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 (a class of the caller's)
        text = "a value"
    return f"{text if len(text) <= 60 else f'{text[:57]}...'} ({type(value).__name__})"
