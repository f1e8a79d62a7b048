"""Values as JSON in Spark's SQL, exactly as the online store's codec writes them.

Spark prints doubles so that they read back bit for bit, and decimals plainly where casts are ANSI's. It escapes text as
JSON asks, with capital digits in control characters where the codec has small ones: no difference for a reader of
values, but keys are compared as text.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from featurelayer.model import DType, Kind
from featurelayer.sql.dialects._json import UNSTORABLE, check_time_range

_ELEMENT = "v"
_NEWLINE = (0x0D, 0x0A)
# Control characters that have a letter among their digits.
_SHOUTED = (0x0B, 0x0E, 0x0F, 0x1A, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F)


def json_text(value: exp.Expression, dtype: DType, *, key: bool) -> exp.Expression | None:
    """Return the JSON text of a value, `null` for NULL; None if the codec's Python must write it."""
    text = _key(value, dtype) if key else _value(value, dtype)
    return None if text is None else _call("COALESCE", text, exp.Literal.string("null"))


def _value(value: exp.Expression, dtype: DType) -> exp.Expression | None:
    match dtype.kind:
        case Kind.BOOL | Kind.INT | Kind.UINT:
            return _text(value)
        case Kind.FLOAT:
            return _float(value)
        case Kind.DECIMAL:
            return _quote(_text(value))
        case Kind.TEXT:
            return _escape(value)
        case Kind.BYTES:
            # Some versions cut the text into lines.
            return _quote(
                _call("TRANSLATE", _call("BASE64", value.copy()), _characters(_NEWLINE), exp.Literal.string(""))
            )
        case Kind.DATE:
            return _quote(_text(_check_range(value, "DATE")))
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            return _microseconds(value, dtype)
        case Kind.ARRAY:
            return _array(value, dtype)
    return None


def _key(value: exp.Expression, dtype: DType) -> exp.Expression | None:
    if dtype.kind is Kind.DECIMAL:
        return _quote(_strip_zeros(value) if dtype.scale else _text(value))
    if dtype.kind is Kind.TEXT:
        return _escape_in_lower_case(value)
    return _value(value, dtype) if dtype.is_key else None


def _call(name: str, *arguments: exp.Expression) -> exp.Expression:
    """Call a function by its Spark name."""
    return exp.Anonymous(this=name, expressions=list(arguments))


def _text(value: exp.Expression) -> exp.Expression:
    return exp.Cast(this=value.copy(), to=exp.DataType.build("STRING", dialect="spark"))


def _characters(codes: Sequence[int]) -> exp.Expression:
    """Build control characters that would be unsafe in a literal."""
    return _call("CONCAT", *(_call("CHR", exp.Literal.number(code)) for code in codes))


def _quote(text: exp.Expression) -> exp.Expression:
    quote = exp.Literal.string('"')
    return _call("CONCAT", quote, text, quote.copy())


def _float(value: exp.Expression) -> exp.Expression:
    """Write a FLOAT as the equal double, so that it reads back as the same FLOAT."""
    double = _text(exp.Cast(this=value.copy(), to=exp.DataType.build("DOUBLE")))
    words = [exp.Literal.string(word) for word in ("NaN", "Infinity", "-Infinity")]
    return exp.Case().when(exp.In(this=double, expressions=words), _quote(double.copy())).else_(double.copy())


def _check_range(value: exp.Expression, kind: str) -> exp.Expression:
    to = exp.DataType.build(kind)
    message = exp.Literal.string(f"a time {UNSTORABLE}")
    refused = exp.Cast(this=_call("RAISE_ERROR", message), to=to.copy())
    return check_time_range(value, to, refused, last="9999-12-31" if kind == "DATE" else "9999-12-31 23:59:59.999999")


def _microseconds(value: exp.Expression, dtype: DType) -> exp.Expression:
    """Return whole microseconds. A naive time becomes an instant in the session's zone, which is UTC."""
    bounded = _check_range(value, "TIMESTAMPTZ" if dtype.kind is Kind.TIMESTAMPTZ else "TIMESTAMP")
    return _text(_call("UNIX_MICROS", exp.Cast(this=bounded, to=exp.DataType.build("TIMESTAMPTZ"))))


def _array(value: exp.Expression, dtype: DType) -> exp.Expression | None:
    assert dtype.element is not None, "an array has an element"
    element = json_text(exp.column(_ELEMENT, quoted=True), dtype.element, key=False)
    if element is None or dtype.element.kind is Kind.ARRAY:
        return None
    to_json = exp.Lambda(this=element, expressions=[exp.to_identifier(_ELEMENT, quoted=True)])
    joined = _call("ARRAY_JOIN", _call("TRANSFORM", value.copy(), to_json), exp.Literal.string(","))
    return _call("CONCAT", exp.Literal.string("["), joined, exp.Literal.string("]"))


def _strip_zeros(value: exp.Expression) -> exp.Expression:
    """Strip a decimal's trailing zeros: `1.50` is the same key as `1.5`."""
    pattern = exp.Literal.string("[.]?0+$")
    return _call("REGEXP_REPLACE", _text(value), pattern, exp.Literal.string(""))


def _escape(value: exp.Expression) -> exp.Expression:
    """Escape text as the only element of an array, without the brackets; NULL becomes null."""
    listed = _call("TO_JSON", _call("ARRAY", _text(value)))
    length = exp.Sub(this=_call("CHAR_LENGTH", listed.copy()), expression=exp.Literal.number(2))
    return _call("SUBSTRING", listed, exp.Literal.number(2), length)


def _escape_in_lower_case(value: exp.Expression) -> exp.Expression:
    """Escape text with lower-case digits; only texts that hold such a character take the slow path."""
    plain = _escape(value)
    two, mark = exp.Literal.string("\\\\"), _call("CHR", exp.Literal.number(1))
    # A backslash in the text is doubled; a marker that JSON never holds keeps it from starting an escape.
    slow = _call("REPLACE", plain.copy(), two, mark)
    for code in _SHOUTED:
        escape = f"\\u{code:04X}"
        slow = _call("REPLACE", slow, exp.Literal.string(escape), exp.Literal.string(escape.lower()))
    slow = _call("REPLACE", slow, mark.copy(), two.copy())
    without = _call("TRANSLATE", _text(value), _characters(_SHOUTED), exp.Literal.string(""))
    rare = exp.NEQ(this=without, expression=_text(value))
    return exp.Case().when(rare, slow).else_(plain)
